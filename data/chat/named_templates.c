#include "named_templates.h"

#include <string.h>

#define CHATML_HEADER "<|im_start|>assistant\n"
#define CHATML_TURN "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
#define PROMPT(text) "{% if add_generation_prompt %}{{ '" text "' }}{% endif %}"
#define QWEN_SYSTEM "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
#define ALPACA_SYSTEM                                                                                                  \
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
#define VICUNA_SYSTEM                                                                                                  \
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "  \
    "and polite answers to the user\\'s questions."
// The system message goes into the first turn: `first` is what that turn has before its text.
#define FIRST_TURN(before, after)                                                                                      \
    "{% set first = '' %}{% set turns = messages %}{% if messages[0].role == 'system' %}{% set first = '" before       \
    "' + messages[0].content | trim + '" after "' %}{% set turns = messages[1:] %}{% endif %}{% for m in turns %}"     \
    "{% set text = (first if loop.first else '') + m.content %}"
// The system message, or another.
#define SYSTEM_OR(standard)                                                                                            \
    "{% set system = '" standard "' %}{% set turns = messages %}{% if messages[0].role == 'system' %}"                 \
    "{% set system = messages[0].content %}{% set turns = messages[1:] %}{% endif %}"

static const struct {
    const char *others; // names
    const char *tokens; // that the tokenizer must have
    bool plain;         // begins with BOS where the tokenizer puts it before texts
    const char *text;
} templates[] = {
    [TEMPLATE_CHATML] = {"chatml yi", "<|im_start|> <|im_end|>", false,
                         "{% for m in messages %}" CHATML_TURN "{% endfor %}" PROMPT(CHATML_HEADER)},
    [TEMPLATE_QWEN] = {"qwen qwen2.5 qwen25 qwen_25 qwen2_5", "<|im_start|> <|im_end|>", false,
                       SYSTEM_OR(QWEN_SYSTEM) "{{ '<|im_start|>system\n' + system + '<|im_end|>\n' }}"
                                              "{% for m in turns %}" CHATML_TURN "{% endfor %}" PROMPT(CHATML_HEADER)},
    [TEMPLATE_QWEN3] = {"qwen3", "<|im_start|> <|im_end|>", false,
                        "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}"
                        "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}"
                        "{% if m.role == 'assistant' and loop.index0 > ns.last %}"
                        "{{ '<|im_start|>assistant\n<think>\n' + (m.reasoning_content or '') | trim + "
                        "'\n</think>\n\n' + m.content + '<|im_end|>\n' }}{% else %}" CHATML_TURN
                        "{% endif %}{% endfor %}" PROMPT(CHATML_HEADER)},
    [TEMPLATE_LLAMA3] = {"llama3 llama-3", "<|start_header_id|> <|end_header_id|> <|eot_id|>", false,
                         "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + "
                         "'<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}" PROMPT(
                             "<|start_header_id|>assistant<|end_header_id|>\n\n")},
    [TEMPLATE_LLAMA2] = {"llama2", "", false,
                         FIRST_TURN("<<SYS>>\n",
                                    "\n<</SYS>>\n\n") "{% if m.role == 'user' %}{{ bos_token + '[INST] ' + text | trim "
                                                      "+ ' [/INST]' }}{% elif m.role == 'assistant' %}"
                                                      "{{ ' ' + m.content | trim + ' ' + eos_token }}{% endif %}"
                                                      "{% endfor %}"},
    [TEMPLATE_MISTRAL] = {"mistral mistral_v2v3", "", false,
                          "{{ bos_token }}" FIRST_TURN(
                              "", "\n\n") "{% if m.role == 'user' %}{{ '[INST] ' + text + '[/INST]' }}"
                                          "{% elif m.role == 'assistant' %}{{ ' ' + m.content | trim + eos_token }}"
                                          "{% endif %}{% endfor %}"},
    [TEMPLATE_MISTRAL_V1] = {"mistral_v1", "", false,
                             "{{ bos_token }}" FIRST_TURN(
                                 "", "\n\n") "{% if m.role == 'user' %}{{ '[INST] ' + text + ' [/INST]' }}"
                                             "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
                                             "{% endif %}{% endfor %}"},
    [TEMPLATE_GEMMA] = {"gemma gemma2 gemma3", "<start_of_turn> <end_of_turn>", false,
                        "{{ bos_token }}" FIRST_TURN(
                            "", "\n\n") "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' "
                                        "+ text | trim + '<end_of_turn>\n' }}{% endfor %}" PROMPT(
                                            "<start_of_turn>model\n")},
    [TEMPLATE_PHI3] = {"phi3 phi_3 phi phi_35", "<|system|> <|user|> <|assistant|> <|end|>", false,
                       "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
                       "{{ '<|assistant|>\n' if add_generation_prompt else eos_token }}"},
    [TEMPLATE_PHI4] = {"phi4 phi_4", "<|im_start|> <|im_sep|> <|im_end|>", false,
                       "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}"
                       "{% endfor %}" PROMPT("<|im_start|>assistant<|im_sep|>")},
    [TEMPLATE_DEEPSEEK] = {"deepseek deepseek_v2", "", false,
                           "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
                           "{{ 'User: ' + m.content + '\n\n' }}{% elif m.role == 'assistant' %}"
                           "{{ 'Assistant: ' + m.content + eos_token }}{% elif m.role == 'system' %}"
                           "{{ m.content + '\n\n' }}{% endif %}{% endfor %}" PROMPT("Assistant:")},
    [TEMPLATE_DEEPSEEK3] = {"deepseek3 deepseek_v3 deepseekr1", "<\uff5cUser\uff5c> <\uff5cAssistant\uff5c>", false,
                            "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
                            "{{ '<\uff5cUser\uff5c>' + m.content }}{% elif m.role == 'assistant' %}"
                            "{{ '<\uff5cAssistant\uff5c>' + m.content + eos_token }}{% elif m.role == 'system' %}"
                            "{{ m.content }}{% endif %}{% endfor %}" PROMPT("<\uff5cAssistant\uff5c>")},
    [TEMPLATE_COMMAND_R] = {"command_r cohere",
                            "<|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|> <|SYSTEM_TOKEN|> <|USER_TOKEN|> "
                            "<|CHATBOT_TOKEN|>",
                            false,
                            "{{ bos_token }}{% set names = {'system': '<|SYSTEM_TOKEN|>', 'user': '<|USER_TOKEN|>', "
                            "'assistant': '<|CHATBOT_TOKEN|>'} %}{% for m in messages %}{{ '<|START_OF_TURN_TOKEN|>' + "
                            "names[m.role] + m.content | trim + '<|END_OF_TURN_TOKEN|>' }}{% endfor %}" PROMPT(
                                "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>")},
    [TEMPLATE_GRANITE] = {"granite granite3", "<|start_of_role|> <|end_of_role|>", false,
                          "{% for m in messages %}{{ '<|start_of_role|>' + m.role + '<|end_of_role|>' + m.content + "
                          "eos_token + '\n' }}{% endfor %}" PROMPT("<|start_of_role|>assistant<|end_of_role|>")},
    [TEMPLATE_ZEPHYR] = {"zephyr", "", true,
                         "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + eos_token + '\n' }}"
                         "{% endfor %}" PROMPT("<|assistant|>\n")},
    [TEMPLATE_ALPACA] = {"alpaca", "", true,
                         SYSTEM_OR(ALPACA_SYSTEM) "{{ system + '\n\n' }}{% for m in turns %}{% if m.role == 'user' %}"
                                                  "{{ '### Instruction:\n' + m.content + '\n\n### Response:\n' }}"
                                                  "{% elif m.role == 'assistant' %}{{ m.content + eos_token + '\n\n' }}"
                                                  "{% endif %}{% endfor %}"},
    [TEMPLATE_VICUNA] = {"vicuna", "", true,
                         SYSTEM_OR(VICUNA_SYSTEM) "{{ system }}{% for m in turns %}{% if m.role == 'user' %}"
                                                  "{{ ' USER: ' + m.content + ' ASSISTANT:' }}"
                                                  "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
                                                  "{% endif %}{% endfor %}"},
};
_Static_assert(sizeof templates / sizeof *templates == NAMED_TEMPLATE_COUNT, "each name has a text");

int named_template_find(const char *name) {
    for (int n = 0; n < NAMED_TEMPLATE_COUNT; n++)
        if (is_among(name, strlen(name), templates[n].others)) return n;
    return -1;
}

int named_template_source(char **source, NamedTemplate n, const Tokenizer *t, Err *err) {
    const char *name = ENUM_WORDS(NAMED_TEMPLATES)[n].word, *text = templates[n].text;
    for (const char *p = templates[n].tokens; *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        AUTO_FREE char *token = mem_strndup(p, len);
        if (tokenizer_find(t, token) < 0)
            return err_input(err,
                             "chat template %s: %s is not a token of the model; expected a template whose tokens it "
                             "has, or one of plain text (alpaca, vicuna)",
                             name, token);
        p += len;
    }
    if (strstr(text, "eos_token") && t->eos < 0)
        return err_input(err, "chat template %s: the model has no end token, which closes an answer in it", name);
    if (strstr(text, "bos_token") && t->bos < 0)
        return err_input(err, "chat template %s: the model has no BOS token, with which it begins", name);
    *source = mem_printf("%s%s", templates[n].plain && t->add_bos && t->bos >= 0 ? "{{ bos_token }}" : "", text);
    return 0;
}
