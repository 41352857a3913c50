#include "verb_model.h"

#include <stdio.h>
#include <string.h>

#include "decode_batch.h"
#include "dialog.h"
#include "fileio.h"
#include "json.h"
#include "memory_use.h"
#include "records.h"
#include "run_data.h"
#include "run_model.h"
#include "say.h"

int loaded_refuse_classifier(const Adapter *a, const char *path, Err *err) {
    AUTO_STR StrBuf head = {0};
    if (!a->config.labels) return 0;
    adapter_print_head(&head, a);
    return err_input(err, "%s: %s; expected an adapter that generates text", path, head.data);
}

static int run_base_options(ModelOptions *o, const Loaded *l, const char *model, Err *err) {
    Config c = l->run; // borrowed
    ModelOptions of_run;
    int64_t max_tokens;
    if (!c.model_name_or_path) return 0;
    c.model_name_or_path = (char *)model;
    if (run_model_options(&of_run, &c, &max_tokens, err)) return -1;
    o->rope_scaling = of_run.rope_scaling;
    o->rope_factor = of_run.rope_factor;
    o->quantize = of_run.quantize;
    o->quantize_head = of_run.quantize_head;
    o->eos_token = of_run.eos_token;
    if (strcmp(l->run.model_name_or_path, model) == 0) o->revision = of_run.revision;
    return 0;
}

int load_options_dtype(const LoadOptions *load, DtypeWord *dtype, Err *err) {
    *dtype = load->dtype;
    int rc = run_device_set_precision(dtype, load->float32_matmul_precision, err);
    return rc ? err_context(err, "--float32_matmul_precision") : 0;
}

int loaded_open(Loaded *l, const LoadOptions *load, const ModelOptions *options, Err *err) {
    const char *adapter = load->adapter_name_or_path;
    DtypeWord dtype;
    ModelOptions o = options ? *options : (ModelOptions){0};
    if (run_base_options(&o, l, load->model_name_or_path, err)) return -1;
    if (load_options_dtype(load, &dtype, err) || run_device_open(&l->backend, load->device, dtype, NULL, err) ||
        model_load(&l->model, load->model_name_or_path, l->backend, &o, err))
        return -1;
    if (adapter && adapter_load(&l->adapter, l->model, adapter, false, err)) return -1;
    if (run_device_check(l->backend, err)) return -1;
    bool classifier = options && options->classifier;
    return l->adapter && !classifier ? loaded_refuse_classifier(l->adapter, adapter, err) : 0;
}

int loaded_check(const Loaded *l, Err *err) { return l->backend->k->status(l->backend, err); }

void loaded_close(Loaded *l) {
    adapter_free(l->adapter);
    model_free(l->model);
    backend_close(l->backend);
    config_clear(&l->run);
    mem_free(l->run_adapter);
    *l = (Loaded){0};
}

// ---- the file of --messages ----

enum { MAX_BYTES = 1 << 30 };

static int tokenize(ChatTokens *out, const ChatTemplate *chat, const MessagesFile *f, const Json *root, Err *err) {
    AUTO_CALL(dialog_clear) Dialog d = {.template = chat ? chat_template_source(chat) : NULL};
    Json record = *root;
    if (root->type == JSON_ARRAY) record = json_with(&d.pool, NULL, "messages", *root);
    const Json *prompt = json_given(&record, "add_generation_prompt");
    int rc = dialog_read(&d, &record, FORMAT_MESSAGES, chat != NULL, false, err);
    if (!rc && prompt && prompt->type != JSON_TRUE && prompt->type != JSON_FALSE)
        rc = err_input(err, "add_generation_prompt: found %s; expected true or false", json_type_name(prompt));
    ChatInput in = {.messages = &d.messages,
                    .tools = d.tools,
                    .extra = d.extra,
                    .add_generation_prompt = prompt ? prompt->type == JSON_TRUE : f->add_generation_prompt,
                    .train_on_inputs = f->train_on_inputs};
    if (!rc) rc = chat_tokenize(out, chat, f->tokenizer, &in, err);
    if (!rc && *out->unrendered)
        log_warn("%s: %s%s: the chat template leaves out its text", f->path, *out->unrendered == '[' ? "messages" : "",
                 out->unrendered);
    return rc ? err_context(err, "%s", f->path) : 0;
}

int messages_file_tokenize(ChatTokens *out, ChatTemplate **chat, const MessagesFile *f, Err *err) {
    const Config c = {.chat_template = (char *)f->template_path};
    AUTO_FREE char *text = NULL;
    size_t size;
    AUTO_JSON JsonDoc *doc = NULL;
    bool is_text = *f->path == '[' || *f->path == '{';
    const char *name = is_text ? "--messages" : f->path;
    *chat = NULL;
    bool own = !f->template_path && f->own_template;
    if (own ? chat_template_new(chat, f->tokenizer, f->own_template, err)
            : run_chat_template(&c, f->tokenizer, chat, err))
        return -1;
    if (is_text)
        text = mem_strdup(f->path), size = strlen(text);
    else if (file_read(&text, &size, f->path, MAX_BYTES, err))
        return -1;
    if (fault_in_file(name, text, size, true, err)) return -1;
    const char *json = text_skip_mark(text, &size);
    if (json_parse_data(&doc, json, size, name, 1, err)) return -1;
    MessagesFile named = *f;
    named.path = name;
    return tokenize(out, *chat, &named, json_root(doc), err);
}

// ---- generated tokens ----

GenerateOptions sampling_generate_options(const SamplingOptions *o) {
    return (GenerateOptions){.max_new_tokens = o->max_new_tokens,
                             .temperature = (float)o->temperature,
                             .top_p = (float)o->top_p,
                             .seed = (uint64_t)o->seed,
                             .batch = 1};
}

static void print_from(const TokenPrinter *p, size_t start) {
    if (p->text.len > start) say_generated(p->text.data + start, p->text.len - start, p->raw);
}

int token_printer_add(void *printer, int64_t prompt, int32_t id) {
    TokenPrinter *p = printer;
    size_t start = p->text.len;
    token_stream_add(&p->stream, p->tokenizer, id, &p->text);
    print_from(p, start);
    return 0;
}

void token_printer_end(TokenPrinter *p) {
    size_t start = p->text.len;
    token_stream_end(&p->stream, &p->text);
    print_from(p, start);
    say("\n");
    fflush(stdout);
}

void token_printer_clear(TokenPrinter *p) { str_clear(&p->text); }

int choose_context(int64_t *context, const Model *m, int64_t slots, const ContextOptions *o, Err *err) {
    enum { DEFAULT_CONTEXT = 8192, LEAST_CONTEXT = 256 };
    int64_t most = m->max_positions, wanted = o->max_seq_length ? o->max_seq_length : min64(most, DEFAULT_CONTEXT);
    if (wanted < 1 || wanted > most)
        return err_input(err, "--max_seq_length: %ld; expected 1 to %ld, the context of %s", wanted, most, m->path);
    size_t room = memory_room(m->backend, o->max_memory), bytes = decode_batch_bytes(m, slots, wanted, slots);
    int64_t least = o->max_seq_length ? wanted : min64(wanted, LEAST_CONTEXT);
    while (bytes > room && wanted > least) { // grows linearly with the tokens
        wanted = max64(wanted / 2, least);
        bytes = decode_batch_bytes(m, slots, wanted, slots);
    }
    *context = wanted;
    if (bytes <= room) return 0;
    AUTO_FREE char *each = slots > 1 ? mem_printf(" for each of %ld requests", slots) : mem_strdup("");
    return err_no_fit(
        err, "a context of %ld token%s%s takes %.1f MB in addition to the model; expected at most %.1f MB (%s)", wanted,
        plural(wanted), each, (double)bytes / 1e6, (double)room / 1e6,
        o->max_memory ? "--max_memory" : "90% of what is free");
}
