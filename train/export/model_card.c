// model_card: README.md of an adapter folder (declared in export.h).
#include <string.h>

#include "export.h"
#include "json.h"
#include "path.h"
#include "unicode.h"

static const char *base_of(const Model *m) { return m->repository ? m->repository : m->path; }

// A JSON string is a YAML string too.
static void front_matter(StrBuf *out, const Model *m, const Adapter *a) {
    str_puts(out, "---\nbase_model: ");
    json_quote(out, base_of(m), strlen(base_of(m)));
    str_printf(out, "\nlibrary_name: peft\npipeline_tag: %s\ntags:\n- lora\n- lorac\n---\n\n",
               a->config.problem == PROBLEM_TOKENS ? "token-classification"
               : a->config.labels                  ? "text-classification"
               : adapter_generates(a)              ? "text-generation"
                                                   : "fill-mask");
}

static bool is_like(const AdapterSegment *s, const AdapterSegment *like) {
    return s->kind == SEGMENT_A && s->rows == like->rows && s->alpha == like->alpha;
}

// Modules with the rank and alpha of `like`: "mlp.up_proj, self_attn.q_proj (layers 0 2)".
static void list_modules(StrBuf *out, const Adapter *a, const AdapterSegment *like) {
    const char *before = "";
    for (const Module *module = a->model->arch->hf.modules; module->name; module++) {
        int64_t same = 0;
        AUTO_STR StrBuf layers = {0};
        for (int64_t i = 0; i < a->n_segments; i++) {
            const AdapterSegment *s = &a->segments[i];
            if (s->module != module || s->expert || !is_like(s, like)) continue;
            same++;
            str_printf(&layers, " %ld", s->layer);
        }
        AUTO_FREE char *name = module_name(module, -1);
        if (same) str_printf(out, "%s%s", before, name);
        if (same && same < a->model->layers) str_printf(out, " (layers%s)", layers.data);
        if (same) before = ", ";
    }
}

// A line for each pair of rank and alpha.
static void describe_ranks(StrBuf *out, const Adapter *a) {
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        bool before = s->kind != SEGMENT_A;
        for (int64_t j = 0; j < i && !before; j++) before = is_like(&a->segments[j], s);
        if (before) continue;
        str_printf(out, "| rank %ld, alpha %g | ", s->rows, (double)s->alpha);
        list_modules(out, a, s);
        str_puts(out, " |\n");
    }
}

static void describe_adapter(StrBuf *out, const Model *m, const Adapter *a) {
    const AdapterConfig *c = &a->config;
    str_printf(out, "A LoRA adapter for `%s` (%s), trained with lorac.\n\n", base_of(m), m->name);
    str_printf(out, "| | |\n|---|---|\n| rank | %ld |\n| alpha | %g |\n| dropout | %g |\n", c->rank, (double)c->alpha,
               (double)c->dropout);
    if (c->each) describe_ranks(out, a);
    if (c->rslora)
        str_puts(out, "| scaling | alpha / sqrt(rank) (rsLoRA); as `lora_alpha` / `r` in adapter_config.json |\n");
    if (c->was_rank)
        str_printf(out,
                   "| initialisation | rank %ld of the base's weights (PiSSA or OLoRA); converted to LoRA of twice the "
                   "rank, for the unchanged base |\n",
                   c->was_rank);
    if (c->dora) str_puts(out, "| DoRA | a magnitude for each row (`use_dora`) |\n");
    const char *kind = c->problem == PROBLEM_REGRESSION ? "numbers" : "classes";
    if (c->labels) str_printf(out, "| %s | %ld (labels.json has their names) |\n", kind, c->labels);
    str_puts(out, "| modules |");
    for (Projection p = 0; p < PROJ_COUNT; p++)
        if (c->projections >> p & 1 && !projection_shares_name(p)) str_printf(out, " %s", projection_name(p));
    str_puts(out, " |\n");
    if (c->layers) {
        str_puts(out, "| layers |");
        for (int64_t i = 0; i < c->n_layers; i++) str_printf(out, " %ld", c->layers[i]);
        str_puts(out, " |\n");
    }
}

static void describe_run(StrBuf *out, const RunFacts *run) {
    // The card is published: names without the folders of this machine.
    for (size_t i = 0; i < run->n_data_files; i++) str_printf(out, "| data | `%s` |\n", path_name(run->data_files[i]));
    if (run->steps) str_printf(out, "| optimizer steps | %ld |\n", run->steps);
    if (run->tokens) str_printf(out, "| tokens | %ld |\n", run->tokens);
    if (run->supervised_tokens) str_printf(out, "| supervised tokens | %ld |\n", run->supervised_tokens);
    if (run->learning_rate > 0) str_printf(out, "| learning rate | %g |\n", run->learning_rate);
    if (run->loss > 0) str_printf(out, "| training loss | %.4f |\n", run->loss);
    if (run->eval_loss > 0) str_printf(out, "| evaluation loss | %.4f |\n", run->eval_loss);
}

// A JSON string is a Python string too. The caller frees.
static char *base_in_python(const Model *m) {
    StrBuf out = {0};
    const char *base = m->repository || !m->is_gguf ? base_of(m) : "path/to/the/base/model";
    json_quote(&out, base, strlen(base));
    return out.data;
}

static void describe_use(StrBuf *out, const Model *m, const Adapter *a) {
    bool classifies = a->config.labels > 0;
    const char *class = a->config.problem == PROBLEM_TOKENS ? "AutoModelForTokenClassification"
                        : classifies                        ? "AutoModelForSequenceClassification"
                        : adapter_generates(a)              ? "AutoModelForCausalLM"
                                                            : "AutoModelForMaskedLM";
    AUTO_FREE char *base = base_in_python(m);
    str_printf(out,
               "\n## Use\n\nWith transformers and PEFT%s:\n\n"
               "```python\nfrom peft import PeftModel\nfrom transformers import %s\n\nmodel = %s.from_pretrained(%s",
               classifies ? "; `labels.json` has the names of the classes" : "", class, class, base);
    if (m->revision) {
        str_puts(out, ", revision=");
        json_quote(out, m->revision, strlen(m->revision));
    }
    if (classifies) str_printf(out, ", num_labels=%ld", a->config.labels);
    if (problem_is_each(a->config.problem)) str_printf(out, ", problem_type=\"%s\"", problem_name(a->config.problem));
    str_puts(out, ")\nmodel = PeftModel.from_pretrained(model, \"path/to/this/folder\")\n```\n");
    if (!adapter_generates(a)) return;
    if (a->config.dora) {
        str_puts(out, "\nvLLM, SGLang and llama.cpp do not compute DoRA. For them the adapter is merged into the base "
                      "model:\n\n```sh\nlorac merge path/to/this/folder --out merged\n```\n");
        return;
    }
    str_printf(
        out,
        "\nWith llama.cpp, over the GGUF file of the base model%s and the `adapter.gguf` next to this folder:\n\n"
        "```sh\nllama-server -m base.gguf --lora adapter.gguf\n```\n",
        m->is_gguf ? "" : " (from its `convert_hf_to_gguf.py`)");
    if (adapter_has_patterns(a))
        str_puts(out, "\nModules differ in rank or alpha (`rank_pattern`, `alpha_pattern`). SGLang ignores these keys: "
                      "it scales all modules by `lora_alpha` / `r`, which gives wrong results.\n");
}

// What another program must be told to compute the base as it was computed in training.
static void describe_rope(StrBuf *out, const ModelConfig *c) {
    const RopeConfig *r = &c->rope;
    const char *type = ENUM_WORDS(ROPE_SCALINGS)[r->scaling].word;
    bool dynamic = r->scaling == ROPE_DYNAMIC;
    str_printf(
        out,
        "\n## RoPE scaling\n\nThe adapter was trained for longer texts, with `%s` RoPE scaling by %g. Neither its "
        "`adapter_config.json` nor its GGUF\nfile can hold that: set it in the program that loads the adapter. "
        "In the `config.json` of the base model, or in vLLM's\n`--hf-overrides`:\n\n"
        "```json\n{\"max_position_embeddings\": %ld,\n \"rope_parameters\": {\"rope_type\": \"%s\", "
        "\"rope_theta\": %.9g, \"factor\": %.9g",
        type, (double)r->factor, dynamic ? r->original_context : c->context, type, (double)r->base, (double)r->factor);
    if (r->scaling == ROPE_LLAMA3)
        str_printf(out, ", \"low_freq_factor\": %g, \"high_freq_factor\": %g", (double)r->low_freq_factor,
                   (double)r->high_freq_factor);
    if (r->scaling == ROPE_LLAMA3 || r->scaling == ROPE_YARN)
        str_printf(out, ", \"original_max_position_embeddings\": %ld", r->original_context);
    str_puts(out,
             "}}\n```\n\n`rope_parameters` is the name in transformers 5; before it: `rope_theta`, and the rest in "
             "`rope_scaling`. ");
    if (r->scaling == ROPE_LINEAR || r->scaling == ROPE_YARN)
        str_printf(out, "llama.cpp: `--rope-scaling %s --rope-scale %g --yarn-orig-ctx %ld`.\n", type,
                   (double)r->factor, r->original_context);
    else
        str_printf(out, "llama.cpp has no option for `%s`.\n", type);
    if (dynamic)
        str_puts(out,
                 "vLLM computes texts of all lengths as the longest: short ones differ from transformers, and from "
                 "training.\n");
}

char *model_card_text(const Model *m, const Adapter *a, const char *name, const RunFacts *run) {
    AUTO_STR StrBuf out = {0};
    front_matter(&out, m, a);
    str_printf(&out, "# %s\n\n", name);
    describe_adapter(&out, m, a);
    if (run) describe_run(&out, run);
    describe_use(&out, m, a);
    if (a->chat_template)
        str_puts(&out, "\nIt was trained with `chat_template.jinja` of this folder in place of the base model's own "
                       "chat template: give it to the\ntokenizer (`tokenizer.chat_template`), to `vllm serve "
                       "--chat-template` or to `llama-server --jinja --chat-template-file`.\n");
    if (m->config.rope.of_run) describe_rope(&out, &m->config);
    AUTO_FREE char *text = utf8_replaced(out.data); // of paths
    return adapter_card_marked(text);
}
