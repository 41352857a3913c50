// config_hf_noise: what transformers does to a base model while it trains. lorac trains the model that inference
// engines run: no dropout inside the base, whatever its config.json contains; lora_dropout is separate.
#include "config_hf_internal.h"
#include "weight_source.h"

#include <string.h>

// absent: the default of the configuration class where the key is absent.
static const struct {
    const char *model_type, *key; // model_type NULL: any
    double absent;
} noises[] = {
    {NULL, "attention_dropout", 0},
    {"gpt2", "attn_pdrop", 0.1},
    {"gpt2", "embd_pdrop", 0.1},
    {"gpt2", "resid_pdrop", 0.1},
    {"phi3", "embd_pdrop", 0},
    {"phi3", "resid_pdrop", 0},
    {"bert", "attention_probs_dropout_prob", 0.1},
    {"bert", "hidden_dropout_prob", 0.1},
    {"mixtral", "router_jitter_noise", 0},
};

static void list_noises(StrBuf *out, const Json *config) {
    const Json *text = json_get(config, "text_config");
    if (text && text->type == JSON_OBJECT) config = text;
    for (size_t i = 0; i < sizeof noises / sizeof *noises; i++) {
        if (noises[i].model_type && !json_is_string(json_get(config, "model_type"), noises[i].model_type)) continue;
        const Json *v = json_get(config, noises[i].key);
        double p = !v || v->type == JSON_NULL                     ? noises[i].absent
                   : v->type == JSON_INT || v->type == JSON_FLOAT ? v->number
                                                                  : 0;
        if (p > 0) str_printf(out, "%s%s %g", out->len ? ", " : "", noises[i].key, p);
    }
}

int config_hf_training_noise(StrBuf *out, const char *path, Err *err) {
    char *dir = weight_source_folder(path), *config;
    JsonDoc *doc;
    int rc = dir ? hf_config_open(&doc, &config, dir, err) : 0;
    if (dir && !rc) {
        list_noises(out, json_root(doc));
        json_free(doc);
        mem_free(config);
    }
    mem_free(dir);
    return rc;
}
