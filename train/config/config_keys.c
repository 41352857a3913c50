// The one table of config keys. Order is that of the help and of the printed config.
#include "config_internal.h"

#include <float.h>
#include <string.h>

#include "words.h"

#define FIELD(f) offsetof(Config, f)
#define BELOW_1 0.999999
#define ABOVE_0 DBL_MIN
#define BIG 1e9

const ConfigKey config_keys[] = {
    // ---- model and data ----
    {"model_name_or_path", "base_model model", KEY_PATH, FIELD(model_name_or_path), "null", 0, 0, NULL, NULL, BY_RANK,
     "the base model: a Hugging Face folder or a .gguf file"},
    {"adapter_name_or_path", "", KEY_PATH, FIELD(adapter_name_or_path), "null", 0, 0, NULL, NULL, BY_RANK,
     "start from this adapter (PEFT folder or .gguf); r, alpha and targets come from it"},
    {"output_dir", "", KEY_PATH, FIELD(output_dir), "null", 0, 0, NULL, NULL, AT_RESUME | BY_RANK,
     "where everything is written"},
    {"train_file", "dataset", KEY_FILES, FIELD(train_file), "[]", ABOVE_0, 1000, NULL, NULL, BY_RANK,
     "training data: one path or a list of paths and {\"path\", \"weight\"}; \"lorac help inspect\" has the kinds"},
    {"validation_file", "", KEY_PATH, FIELD(validation_file), "null", 0, 0, NULL, NULL, BY_RANK, "data to evaluate on"},
    {"val_set_size", "", KEY_FLOAT, FIELD(val_set_size), "0", 0, BIG, NULL, NULL, FIXED,
     "take this fraction (below 1) or number of training samples for evaluation"},
    {"dataset_format", "", KEY_CHOICE, FIELD(dataset_format), "\"auto\"", 0, 0,
     "auto messages sharegpt alpaca prompt_completion text input_ids classification", NULL, FIXED,
     "format of the records"},
    {"chat_template", "", KEY_PATH, FIELD(chat_template), "null", 0, 0, NULL, NULL, BY_RANK,
     "a .jinja file instead of the model's own chat template"},
    {"train_on_inputs", "train_on_prompt", KEY_BOOL, FIELD(train_on_inputs), "false", 0, 0, NULL, NULL, FIXED,
     "learn from the prompts too, not only from the answers"},
    {"unrendered", "", KEY_CHOICE, FIELD(unrendered), "\"error\"", 0, 0, "error warn", NULL, FIXED,
     "when the chat template leaves out text of a message (tool calls, reasoning, ...) or an answer is empty"},
    {"parse_special", "", KEY_CHOICE, FIELD(parse_special), "\"auto\"", 0, 0, "auto true false", NULL, FIXED,
     "control tokens written in data; auto: are tokens in text and raw prompts; true: in classified texts too; never "
     "in messages"},
    {"max_seq_length", "cutoff_len sequence_len max_length", KEY_INT, FIELD(max_seq_length), "2048", 2, 1 << 24, NULL,
     NULL, FIXED, "longest row in tokens"},
    {"truncation", "excess_length_strategy", KEY_CHOICE, FIELD(truncation), "\"drop\"", 0, 0, "drop truncate error",
     NULL, FIXED, "what happens to longer samples"},
    {"packing", "sample_packing", KEY_BOOL, FIELD(packing), "true", 0, 0, NULL, NULL, FIXED,
     "several samples in a row; no sample sees another"},
    {"shuffle", "", KEY_BOOL, FIELD(shuffle), "true", 0, 0, NULL, NULL, FIXED, "another order of rows in each epoch"},
    // ---- adapter ----
    {"lora_r", "lora_rank r", KEY_INT, FIELD(lora_r), "16", 1, 65536, NULL, NULL, FIXED, "rank of the adapter"},
    {"lora_alpha", "", KEY_FLOAT, FIELD(lora_alpha), "32", ABOVE_0, BIG, NULL, NULL, FIXED,
     "the adapter is scaled by alpha / r"},
    {"lora_dropout", "", KEY_FLOAT, FIELD(lora_dropout), "0", 0, BELOW_1, NULL, NULL, FIXED,
     "dropout on the adapter's input"},
    {"lora_target_modules", "target_modules lora_target", KEY_STRINGS, FIELD(lora_target_modules),
     "[\"q_proj\",\"v_proj\"]", 0, 0, NULL, NULL, FIXED,
     "projections that get an adapter: q,k,v,o,gate,up,down_proj, the model's own names, or all-linear"},
    {"use_rslora", "", KEY_BOOL, FIELD(use_rslora), "false", 0, 0, NULL, NULL, FIXED, "scale by alpha / sqrt(r)"},
    {"loraplus_lr_ratio", "", KEY_FLOAT, FIELD(loraplus_lr_ratio), "1", ABOVE_0, BIG, NULL, NULL, FIXED,
     "learning rate of B relative to A (LoRA+)"},
    {"layers_to_transform", "", KEY_INTS, FIELD(layers_to_transform), "null", 0, 100000, NULL, NULL, FIXED,
     "only these layers get an adapter"},
    // ---- steps ----
    {"per_device_train_batch_size", "micro_batch_size", KEY_INT, FIELD(per_device_train_batch_size), "1", 1, 1 << 20,
     NULL, NULL, AT_RESUME, "rows per micro-batch"},
    {"per_device_eval_batch_size", "", KEY_INT, FIELD(per_device_eval_batch_size), "null", 1, 1 << 20, NULL, NULL,
     AT_RESUME, "rows per evaluation batch; as in training unless set"},
    {"gradient_accumulation_steps", "", KEY_INT, FIELD(gradient_accumulation_steps), "1", 1, 1 << 20, NULL, NULL,
     AT_RESUME, "micro-batches per optimizer step"},
    {"num_train_epochs", "num_epochs", KEY_FLOAT, FIELD(num_train_epochs), "3", ABOVE_0, 1e6, NULL, NULL, AT_RESUME,
     "passes over the data; more for a finished run: where the learning rate of its steps stays (a constant one)"},
    {"max_steps", "", KEY_INT, FIELD(max_steps), "-1", -1, BIG, NULL, NULL, AT_RESUME,
     "optimizer steps; above 0 it beats num_train_epochs"},
    {"learning_rate", "", KEY_FLOAT, FIELD(learning_rate), "2e-4", 0, 1e3, NULL, NULL, FIXED, "peak learning rate"},
    {"lr_scheduler_type", "lr_scheduler", KEY_CHOICE, FIELD(lr_scheduler_type), "\"cosine\"", 0, 0,
     "cosine linear constant constant_with_warmup cosine_with_min_lr wsd inverse_sqrt", NULL, FIXED,
     "shape of the learning rate"},
    {"min_lr_ratio", "", KEY_FLOAT, FIELD(min_lr_ratio), "0", 0, 1, NULL, NULL, FIXED,
     "lowest learning rate of cosine_with_min_lr and wsd, relative to the peak"},
    {"warmup_steps", "", KEY_FLOAT, FIELD(warmup_steps), "0", 0, BIG, NULL, NULL, FIXED,
     "steps of linear warm-up, below 1: fraction of the run"},
    {"warmup_ratio", "", KEY_FLOAT, FIELD(warmup_ratio), "0.03", 0, 1, NULL, NULL, FIXED,
     "warm-up as a fraction of the run; warmup_steps wins where set"},
    {"adam_beta1", "", KEY_FLOAT, FIELD(adam_beta1), "0.9", 0, BELOW_1, NULL, NULL, FIXED, "AdamW"},
    {"adam_beta2", "", KEY_FLOAT, FIELD(adam_beta2), "0.999", 0, BELOW_1, NULL, NULL, FIXED, "AdamW"},
    {"adam_epsilon", "", KEY_FLOAT, FIELD(adam_epsilon), "1e-8", ABOVE_0, 1, NULL, NULL, FIXED, "AdamW"},
    {"weight_decay", "", KEY_FLOAT, FIELD(weight_decay), "0", 0, 1e3, NULL, NULL, FIXED, "AdamW, decoupled"},
    {"max_grad_norm", "", KEY_FLOAT, FIELD(max_grad_norm), "1.0", 0, BIG, NULL, NULL, FIXED,
     "gradients are clipped to this norm; 0: never"},
    {"neftune_noise_alpha", "", KEY_FLOAT, FIELD(neftune_noise_alpha), "0", 0, BIG, NULL, NULL, FIXED,
     "noise on the embeddings (NEFTune)"},
    {"label_smoothing_factor", "", KEY_FLOAT, FIELD(label_smoothing_factor), "0", 0, BELOW_1, NULL, NULL, FIXED,
     "label smoothing in training"},
    // ---- machine ----
    {"gradient_checkpointing", "", KEY_CHOICE, FIELD(gradient_checkpointing), "\"auto\"", 0, 0,
     "auto true false ffn blocks offload", NULL, AT_RESUME | BY_RANK,
     "what is computed again instead of kept: ffn: part of each block, blocks (true): each block, offload: and "
     "block inputs leave the GPU; auto: the least that fits"},
    {"max_memory", "", KEY_BYTES, FIELD(max_memory), "null", 0, 0, NULL, NULL, AT_RESUME | BY_RANK,
     "bytes or \"6GiB\"; without it 90% of what is free"},
    {"device", "", KEY_STRING, FIELD(device), "\"auto\"", 0, 0, NULL, NULL, AT_RESUME | BY_RANK,
     "where to compute: cpu, cuda or cuda:N; auto: a GPU where there is one"},
    {"num_gpus", "", KEY_INT, FIELD(num_gpus), "1", 1, 1024, "all", NULL, AT_RESUME | BY_RANK,
     "GPUs of this machine to train on, a process each: a number or all; a launcher's ranks have one each"},
    {"dtype", "torch_dtype", KEY_CHOICE, FIELD(dtype), "\"auto\"", 0, 0, "auto f32 tf32 bf16 f16 fp8", NULL, AT_RESUME,
     "type of the activations; auto: bf16 on a GPU, f32 on the CPU; fp8: bf16, frozen weights in 8 bits"},
    {"quantize_base", "load_in_4bit=nf4 load_in_8bit=int8", KEY_CHOICE, FIELD(quantize_base), "\"none\"", 0, 0,
     "none int8 nf4", NULL, FIXED, "keep a dense base in fewer bits; one that is quantised keeps its own blocks"},
    {"rope_scaling_type", "", KEY_CHOICE, FIELD(rope_scaling_type), "\"model\"", 0, 0, "model linear yarn", "dynamic",
     FIXED, "longer contexts than the model's own, by rope_scaling_factor; model: as it is"},
    {"rope_scaling_factor", "", KEY_FLOAT, FIELD(rope_scaling_factor), "1", 1, 1024, NULL, NULL, FIXED,
     "how many times the model's context"},
    // ---- logging, evaluation, saving ----
    {"logging_steps", "", KEY_INT, FIELD(logging_steps), "1", 1, BIG, NULL, NULL, AT_RESUME | BY_RANK,
     "log each n-th step"},
    {"eval_strategy", "evaluation_strategy", KEY_CHOICE, FIELD(eval_strategy), "\"no\"", 0, 0, "no steps epoch", NULL,
     AT_RESUME, "when to evaluate; no: once at the end"},
    {"eval_steps", "", KEY_FLOAT, FIELD(eval_steps), "null", ABOVE_0, BIG, NULL, NULL, AT_RESUME,
     "evaluate each n-th step, below 1: fraction of the run; as save_steps unless set"},
    {"save_steps", "", KEY_FLOAT, FIELD(save_steps), "0.1", ABOVE_0, BIG, NULL, NULL, AT_RESUME,
     "snapshot each n-th step, below 1: fraction of the run"},
    {"save_total_limit", "", KEY_INT, FIELD(save_total_limit), "2", 1, BIG, NULL, NULL, AT_RESUME | BY_RANK,
     "snapshots kept (never fewer than two)"},
    {"resume_from_checkpoint", "", KEY_PATH, FIELD(resume_from_checkpoint), "\"auto\"", 0, 0, "auto true false", NULL,
     AT_RESUME | BY_RANK, "auto: the newest valid snapshot in output_dir; false; or a path"},
    {"early_stopping_patience", "", KEY_INT, FIELD(early_stopping_patience), "0", 0, BIG, NULL, NULL, FIXED,
     "stop after so many evaluations without a better loss; 0: never"},
    {"load_best_model_at_end", "", KEY_BOOL, FIELD(load_best_model_at_end), "false", 0, 0, NULL, NULL, FIXED,
     "the adapter written at the end is the one with the best evaluation loss"},
    {"seed", "", KEY_INT, FIELD(seed), "42", 0, 9007199254740991.0, NULL, NULL, FIXED, "of everything random"},
    {"report_to", "", KEY_STRINGS, FIELD(report_to), "[\"html\"]", 0, 0, NULL, NULL, AT_RESUME | BY_RANK,
     "html: write report.html; none"},
    {"run_name", "", KEY_STRING, FIELD(run_name), "null", 0, 0, NULL, NULL, AT_RESUME | BY_RANK, "name in the report"},
    // ---- later versions ----
    {"dashboard", "", KEY_STRING, FIELD(dashboard), "null", 0, 0, NULL, "*", AT_RESUME | BY_RANK,
     "live page at address:port"},
    {"hot_swap_url", "", KEY_STRING, FIELD(hot_swap_url), "null", 0, 0, NULL, "*", AT_RESUME | BY_RANK,
     "server that loads each snapshot's adapter"},
    {"task", "", KEY_CHOICE, FIELD(task), "\"causal_lm\"", 0, 0, "causal_lm classification", NULL, FIXED,
     "what to learn: the next token, or the label of a text"},
    {"runs", "", KEY_STRING, FIELD(runs), "null", 0, 0, NULL, "*", FIXED, "several adapters over one base"},
    {"ddp_timeout", "", KEY_INT, FIELD(ddp_timeout), "120", 1, BIG, NULL, NULL, AT_RESUME,
     "seconds after which all ranks have ended when one of them is gone or hangs"},
    {"log_on_each_rank", "", KEY_BOOL, FIELD(log_on_each_rank), "false", 0, 0, NULL, NULL, AT_RESUME | BY_RANK,
     "ranks other than 0 print too, with their number in front of each line"},
};

size_t config_key_count(void) {
    _Static_assert(sizeof config_keys / sizeof *config_keys <= CONFIG_MAX_KEYS, "raise CONFIG_MAX_KEYS");
    return sizeof config_keys / sizeof *config_keys;
}

// The next word of a list separated by spaces, copied to buf; false at the end.
static bool next_word(const char **list, char *buf, size_t size) {
    *list += strspn(*list, " ");
    size_t n = strcspn(*list, " ");
    if (n == 0) return false;
    CHECK(n < size);
    memcpy(buf, *list, n);
    buf[n] = 0;
    *list += n;
    return true;
}

bool config_word_in(const char *word, const char *list, int *index) {
    char buf[WORD_MAX_KEY];
    for (int i = 0; list && next_word(&list, buf, sizeof buf); i++) {
        if (strcmp(buf, word) == 0) {
            if (index) *index = i;
            return true;
        }
    }
    return false;
}

// True when `name` is one of the key's aliases; an alias "name=value" yields the value.
static bool has_alias(const ConfigKey *k, const char *name, const char **implied) {
    size_t n = strlen(name);
    for (const char *a = k->aliases; (a = strstr(a, name)); a += n) {
        bool starts = a == k->aliases || a[-1] == ' ';
        if (starts && (a[n] == 0 || a[n] == ' ')) return true;
        if (starts && a[n] == '=') {
            *implied = a + n + 1;
            return true;
        }
    }
    return false;
}

const ConfigKey *config_key_find(const char *name, const char **implied) {
    *implied = NULL;
    if (!*name) return NULL;
    for (size_t i = 0; i < config_key_count(); i++) {
        const ConfigKey *k = &config_keys[i];
        if (strcmp(k->name, name) == 0 || has_alias(k, name, implied)) return k;
    }
    return NULL;
}

const char *config_key_nearest(const char *name) {
    char best[WORD_MAX_KEY], alias[WORD_MAX_KEY];
    const char *found = NULL;
    Nearest near = nearest_start(name);
    for (size_t i = 0; i < config_key_count(); i++) {
        const char *aliases = config_keys[i].aliases;
        nearest_try(&near, config_keys[i].name);
        if (near.name == config_keys[i].name) found = near.name;
        while (next_word(&aliases, alias, sizeof alias)) {
            alias[strcspn(alias, "=")] = 0;
            nearest_try(&near, alias);
            if (near.name != alias) continue;
            found = config_keys[i].name; // offered by its own name
            near.name = memcpy(best, alias, strlen(alias) + 1);
        }
    }
    return found;
}
