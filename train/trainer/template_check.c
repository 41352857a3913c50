#include "template_check.h"

#include <string.h>

// The token or words that every template of a family writes; the first name that a config's name begins with counts.
static const struct {
    const char *name, *mark;
} families[] = {
    {"llama4", "<|header_start|>"},
    {"llama3", "<|start_header_id|>"},
    {"llama-3", "<|start_header_id|>"},
    {"llama2", "[INST]"},
    {"mistral", "[INST]"},
    {"ministral", "[INST]"},
    {"mixtral", "[INST]"},
    {"devstral", "[INST]"},
    {"magistral", "[INST]"},
    {"pixtral", "[INST]"},
    {"gemma4", "<|turn>"},
    {"gemma", "<start_of_turn>"},
    {"qwen", "<|im_start|>"},
    {"chatml", "<|im_start|>"},
    {"smollm", "<|im_start|>"},
    {"falcon_h1", "<|im_start|>"},
    {"falcon-h1", "<|im_start|>"},
    {"yi", "<|im_start|>"},
    {"phi4_mini", "<|user|>"},
    {"phi_4", "<|im_start|>"},
    {"phi4", "<|im_start|>"},
    {"phi", "<|user|>"},
    {"zephyr", "<|user|>"},
    {"glm", "<|user|>"},
    {"deepseek", "User"},
    {"exaone", "[|user|]"},
    {"cohere", "<|START_OF_TURN_TOKEN|>"},
    {"command", "<|START_OF_TURN_TOKEN|>"},
    {"aya", "<|START_OF_TURN_TOKEN|>"},
    {"granite", "<|start_of_role|>"},
    {"gpt_oss", "<|start|>"},
    {"gpt", "<|start|>"},
    {"vicuna", "USER:"},
    {"alpaca", "### Instruction:"},
};

static int check_template(const Config *c, const char *source, Err *err) {
    size_t i = 0, n = sizeof families / sizeof *families;
    while (i < n && !starts_with(c->template, families[i].name)) i++;
    if (i == n)
        return err_input(err,
                         "template: \"%.64s\" is not known; leave it out, for the model's own chat template, or set "
                         "chat_template to a .jinja file",
                         c->template);
    if (source && strstr(source, families[i].mark)) return 0;
    return err_input(
        err, "template: %.64s writes %s; %s; leave template out, or set chat_template to a .jinja file or a name",
        c->template, families[i].mark,
        source ? "the model's chat template does not" : "the model has no chat template");
}

int template_check(const Config *c, const ChatTemplate *chat, Err *err) {
    return c->template ? check_template(c, chat ? chat_template_source(chat) : NULL, err) : 0;
}
