// foreign_preference: preference training in other tools' configs: which loss, and what they take where nothing is
// given.
#include <string.h>

#include "foreign.h"

// The word of preference_loss for another tool's; NULL: none.
static const char *loss_of(const Json *v, const char *words) {
    if (!json_is_text(v) || !is_among(v->str.data, v->str.len, words)) return NULL;
    return json_str_is(v->str, "sigmoid") ? "dpo" : v->str.data;
}

static void set_loss(const Foreign *f, const char *loss) {
    AUTO_FREE char *json = mem_printf("\"%s\"", loss);
    foreign_set_text(f, CONFIG_preference_loss, json);
}

// LLaMA-Factory: stage says that it is preference training.
void map_pref_loss(const Foreign *f, const Json *v) {
    const char *loss = loss_of(v, "sigmoid ipo orpo simpo");
    if (loss)
        set_loss(f, loss);
    else
        foreign_refuse(f, v, "expected sigmoid, ipo, orpo or simpo");
}

void map_rl(const Foreign *f, const Json *v) {
    const char *loss = loss_of(v, "dpo ipo orpo simpo kto");
    if (foreign_is_off(v)) return;
    if (!loss) {
        foreign_refuse(f, v, "expected dpo, ipo, orpo, simpo or kto");
        return;
    }
    foreign_set_text(f, CONFIG_task, "\"preference\"");
    set_loss(f, loss);
}

// TRL: a word, or a list of them, whose sum is the loss.
void map_loss_type(const Foreign *f, const Json *v) {
    const Json *word = v->type == JSON_ARRAY && v->count == 1 ? &v->items[0] : v;
    const char *loss = loss_of(word, "sigmoid ipo simpo kto");
    if (json_is_string(word, "nll") || json_is_string(word, "chunked_nll")) return;
    if (!loss) {
        foreign_refuse(f, v,
                       "expected nll, sigmoid, ipo, simpo or kto; rpo_alpha adds the loss of the chosen completion");
        return;
    }
    foreign_set_text(f, CONFIG_task, "\"preference\"");
    set_loss(f, loss);
}

// TRL has one config class for each kind of training; beta is in those of preferences alone. CPOTrainer, which both
// tools use for simpo, adds the chosen completion's loss unless cpo_alpha is 0.
void foreign_preference_defaults(Loading *l) {
    const Config *c = l->c;
    if (c->tool == TRL && config_is_set(c, CONFIG_beta)) foreign_set_default(l, CONFIG_task, "\"preference\"");
    if (c->task != TASK_PREFERENCE) return;
    if (c->tool != LLAMA_FACTORY && c->preference_loss == LOSS_SIMPO) foreign_set_default(l, CONFIG_rpo_alpha, "1");
    if (c->tool != TRL) return;
    foreign_set_default(l, CONFIG_learning_rate, "1e-6");
    foreign_set_default(l, CONFIG_lora_dropout, "0");
    foreign_set_default(l, CONFIG_train_on_inputs, "false");
}
