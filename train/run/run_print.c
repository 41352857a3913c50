// run_print: the lines before the first step: device, model, adapter, memory, data, steps (train_run_internal.h).
#include "train_run_internal.h"

#include <stdio.h>

#include "data_files.h"
#include "data_notes.h"
#include "model_config.h"
#include "quantize.h"
#include "run_device.h"
#include "say.h"

void run_print_device(Backend *b, const Err *note) {
    AUTO_STR StrBuf text = {0};
    run_device_describe(&text, b);
    say("device   %s%s%s%s\n", text.data, note->msg[0] ? " (" : "", note->msg, note->msg[0] ? ")" : "");
    fflush(stdout);
}

static void print_hint(BatchHint h) {
    AUTO_STR StrBuf text = {0};
    batch_hint_print(&text, &h);
    if (h.batch) say("hint     %s\n", text.data);
}

static void print_model(const Trainer *t) {
    const TrainerInputs *in = trainer_inputs(t);
    const Model *m = in->model;
    QuantizeKind quantize = in->config->quantize_base;
    say("model    %s: %ld layer%s, hidden %ld, vocabulary %ld; %.1f MB%s%s\n", m->name, m->config.layers,
        plural(m->config.layers), m->config.hidden, m->config.vocab, (double)m->weight_bytes / 1e6,
        quantize ? ", layers in " : "", quantize ? ENUM_WORDS(QUANTIZE_KINDS)[quantize].word : "");
    AUTO_STR StrBuf rank = {0};
    bool head = in->adapter->config.labels > 0;
    adapter_print_range(&rank, in->adapter, ADAPTER_RANK);
    say("adapter  r %s, %ld parameter%s%s%s\n", rank.data, in->adapter->count, plural(in->adapter->count),
        head ? " with the head " : "", head ? in->adapter->class_head.name : "");
    say("memory   %.0f MB planned%s, gradient_checkpointing %s", (double)trainer_planned_bytes(t) / 1e6,
        m->backend->host_memory ? "" : " on the GPU", recompute_name(trainer_recompute(t)));
    if (trainer_kept_bytes(t)) say(", %.0f MB of it for copies of weights", (double)trainer_kept_bytes(t) / 1e6);
    if (m->stream) say(", two layers of the base at a time, from %s", m->backend->host_memory ? "disk" : "main memory");
    say("\n");
    AUTO_STR StrBuf noise = {0};
    Err ignored; // the file could be read when the model was loaded
    if (model_config_hf_training_noise(&noise, m->path, &ignored) == 0 && noise.len)
        log_warn("%s: config.json has %s; transformers applies that in training, lorac does not: the base computes as "
                 "at inference (lora_dropout applies to the adapter)",
                 m->path, noise.data);
}

// What of the tokens is learnt.
static void print_learnt(int64_t supervised, int64_t texts) {
    if (texts)
        say(" in %ld texts", texts);
    else
        say(", %ld supervised", supervised);
}

// What folders and patterns name.
static void print_files(const FileList *files) {
    for (size_t i = 0; i < files->count; i++) {
        AUTO_STR StrBuf text = {0};
        data_files_show(&text, run_data_name(files, i));
        if (text.len) say("files    %s\n", text.data);
    }
}

static void print_evaluation(const RunData *d) {
    int64_t tokens = 0, supervised = 0, texts = 0;
    if (!d->eval_rows) return;
    for (int64_t i = 0; i < d->eval_rows->count; i++) {
        tokens += d->eval_rows->sizes[i].tokens;
        supervised += d->eval_rows->sizes[i].supervised;
        texts += d->eval_set && d->eval_set->embedding ? d->eval_rows->sizes[i].samples : 0;
    }
    say("eval     %ld sample%s%s, %ld token%s", d->eval_samples, plural(d->eval_samples),
        d->held_out ? " of these are held out" : "", tokens, plural(tokens));
    print_learnt(supervised, texts);
    if (d->validation) {
        const DatasetStats *s = &d->validation->stats;
        say("; %ld dropped, %ld truncated, %ld without %stokens", s->dropped_long, s->truncated,
            s->skipped_unsupervised, texts ? "" : "supervised ");
    }
    say("\n");
}

static void print_data(const RunData *d, const Config *c, const Tokenizer *t) {
    const DatasetStats *s = &d->train->stats;
    print_files(&c->train_file);
    print_files(&c->validation_file);
    DataLines lines = {.width = 8};
    bool texts = d->train->embedding;
    say("data     %ld sample%s (%s), %ld token%s", d->held_out ? d->train->count : d->train_samples,
        plural(d->held_out ? d->train->count : d->train_samples), dataset_format_name(s->format), s->tokens,
        plural(s->tokens));
    print_learnt(s->supervised, texts ? dataset_texts(d->train) : 0);
    say("; %ld dropped, %ld truncated, %ld without %stokens\n", s->dropped_long, s->truncated, s->skipped_unsupervised,
        texts ? "" : "supervised ");
    print_evaluation(d);
    data_notes_print_labels(d->train->problem, d->train->labels, d->train->label_counts, &lines);
    data_notes_print(d->train, t, &lines);
    lines.note = " in the validation data";
    if (d->validation) data_notes_print(d->validation, t, &lines);
    if (s->left_out_bytes)
        log_warn(
            "%ld byte%s of the data are characters without a token in the model's vocabulary; it cannot learn them",
            s->left_out_bytes, plural(s->left_out_bytes));
    if (s->ignored_members)
        log_warn("%ld member%s of the data's archives not read: links, or neither .json, .txt nor .cls",
                 s->ignored_members, plural(s->ignored_members));
}

static void print_teacher(const TrainerInputs *in) {
    const Teacher *t = in->teacher;
    const Config *c = in->config;
    if (!t) return;
    const char *model = t->model ? t->model->name : "the base model", *adapter = t->adapter ? c->teacher_adapter : NULL;
    say("teacher  %s%s%s; %ld token%s at a position, temperature %g, %g ce + %g kd\n",
        t->file ? c->teacher_logits : model, adapter ? " with " : "", adapter ? adapter : "", t->pass.loss.k,
        plural(t->pass.loss.k), c->kd_temperature, c->kd_ce_alpha, c->kd_alpha);
}

static void print_ranks(const RankContext *r, const TrainerPlan *p) {
    const Group *g = r->group;
    int pipelines = ranks_pipelines(r), stages = ranks_stages(r);
    int64_t passes = (p->rows_per_step + p->rows_per_pass - 1) / p->rows_per_pass, rows = p->rows_per_pass;
    int64_t least = passes / pipelines * rows, most = (passes + pipelines - 1) / pipelines * rows;
    if (g->ranks == 1) return;
    say("ranks    %d on %d machine%s (%s): %ld row%s per step, ", g->ranks, g->nodes, plural(g->nodes), g->calls->name,
        p->rows_per_step, plural(p->rows_per_step));
    if (least == most)
        say("%ld on each\n", least);
    else
        say("%ld to %ld on each\n", least, most);
    if (stages > 1)
        say("stages   %d in %d pipeline%s; a step of %ld rows waits for %.0f%% of its time for the first and last "
            "ones\n",
            stages, pipelines, plural(pipelines), most, 100.0 * (stages - 1) / (double)(most + stages - 1));
    if (most > p->rows_per_step || least == 0)
        log_warn("%d %s%s for %ld rows per step: some have no rows", pipelines, stages > 1 ? "pipeline" : "rank",
                 plural(pipelines), p->rows_per_step);
}

void run_print_plan(const Trainer *t) {
    const TrainerInputs *in = trainer_inputs(t);
    const TrainerPlan *p = trainer_plan(t);
    print_model(t);
    print_data(in->data, in->config, in->model->tokenizer);
    print_teacher(in);
    say("steps    %ld, batch size %ld (%ld row%s, %ld step%s per epoch)\n", p->total_steps, p->rows_per_step,
        in->data->rows->count, plural(in->data->rows->count), p->steps_per_epoch, plural(p->steps_per_epoch));
    print_ranks(in->ranks, p);
    print_hint(trainer_hint(t));
    fflush(stdout);
}
