#include "event_file.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "event_record.h"
#include "fileio.h"
#include "log_file.h"
#include "path.h"

enum { MAX_FILE_BYTES = 1 << 30 };
// Fields of event.proto, summary.proto, tensor.proto and the plugins' plugin_data.proto.
enum { EVENT_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_FLOAT = 2, VALUE_TENSOR = 8, VALUE_METADATA = 9 };
enum { METADATA_PLUGIN = 1, METADATA_CLASS = 4, PLUGIN_NAME = 1, PLUGIN_CONTENT = 2, CLASS_TENSOR = 2 };
enum { TENSOR_TYPE = 1, TENSOR_SHAPE = 2, TENSOR_FLOAT = 5, TENSOR_STRING = 8, TYPE_FLOAT = 1, TYPE_STRING = 7 };
enum { SHAPE_DIM = 2, DIM_SIZE = 1 };
enum { HPARAMS_START = 3, HPARAMS_END = 4, START_HPARAMS = 1, START_TIME = 5, END_STATUS = 1, END_TIME = 2 };
enum { MAP_KEY = 1, MAP_VALUE = 2, JSON_NUMBER = 2, JSON_TEXT = 3, JSON_BOOL = 4, STATUS_SUCCESS = 1 };

static const char VERSION[] = "brain.Event:2", EVAL[] = "eval/", END_TAG[] = "_hparams_/session_end_info";

struct EventFile {
    LogFile file;
    StrBuf head; // of a new file: the version
    bool has_end;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool event_file_wanted(const Config *c) { return report_has(c, "tensorboard"); }

// ---- writing ----

// A record of the summary, which is cleared.
static void add_event(EventFile *e, int64_t step, StrBuf *summary) {
    AUTO_STR StrBuf event = {0}, record = {0};
    pb_double(&event, EVENT_TIME, now());
    pb_varint(&event, EVENT_STEP, (uint64_t)step);
    pb_message(&event, EVENT_SUMMARY, summary);
    record_add(&record, event.data, event.len);
    log_file_add(&e->file, record.data, record.len);
}

static void add_scalar(StrBuf *summary, const char *tag, double number) {
    StrBuf value = {0};
    pb_text(&value, VALUE_TAG, tag);
    pb_float(&value, VALUE_FLOAT, (float)number);
    pb_message(summary, SUMMARY_VALUE, &value);
}

static void add_metadata(StrBuf *value, const char *plugin, const StrBuf *content) {
    StrBuf data = {0}, metadata = {0};
    pb_text(&data, PLUGIN_NAME, plugin);
    if (content) pb_bytes(&data, PLUGIN_CONTENT, content->data, content->len);
    pb_message(&metadata, METADATA_PLUGIN, &data);
    pb_varint(&metadata, METADATA_CLASS, CLASS_TENSOR);
    pb_message(value, VALUE_METADATA, &metadata);
}

// text: Markdown.
static void add_text(StrBuf *summary, const char *tag, const StrBuf *text) {
    StrBuf value = {0}, tensor = {0}, shape = {0}, dim = {0};
    pb_text(&value, VALUE_TAG, tag);
    pb_varint(&dim, DIM_SIZE, 1);
    pb_message(&shape, SHAPE_DIM, &dim);
    pb_varint(&tensor, TENSOR_TYPE, TYPE_STRING);
    pb_message(&tensor, TENSOR_SHAPE, &shape);
    pb_bytes(&tensor, TENSOR_STRING, text->data, text->len);
    pb_message(&value, VALUE_TENSOR, &tensor);
    add_metadata(&value, "text", NULL);
    pb_message(summary, SUMMARY_VALUE, &value);
}

// message: of SessionStartInfo or SessionEndInfo, cleared.
static void add_hparams(StrBuf *summary, const char *tag, int field, StrBuf *message) {
    AUTO_STR StrBuf data = {0};
    StrBuf value = {0}, tensor = {0}, shape = {0};
    pb_message(&data, field, message);
    pb_text(&value, VALUE_TAG, tag);
    pb_varint(&tensor, TENSOR_TYPE, TYPE_FLOAT);
    pb_message(&tensor, TENSOR_SHAPE, &shape);
    pb_bytes(&tensor, TENSOR_FLOAT, &(float){0}, sizeof(float)); // packed
    pb_message(&value, VALUE_TENSOR, &tensor);
    add_metadata(&value, "hparams", &data);
    pb_message(summary, SUMMARY_VALUE, &value);
}

// A block of code, which Markdown shows as it is.
static void add_block(StrBuf *out, const char *title, const char *text) {
    str_printf(out, "**%s**\n\n    ", title);
    for (const char *c = text; *c; c++) str_puts(out, *c == '\n' ? "\n    " : (char[]){*c, 0});
    str_puts(out, "\n\n");
}

static void add_hparam(StrBuf *start, const cJSON *key) {
    StrBuf value = {0}, entry = {0};
    if (cJSON_IsNumber(key))
        pb_double(&value, JSON_NUMBER, key->valuedouble);
    else if (cJSON_IsBool(key))
        pb_varint(&value, JSON_BOOL, cJSON_IsTrue(key));
    else if (cJSON_IsString(key))
        pb_text(&value, JSON_TEXT, key->valuestring);
    else
        return;
    pb_text(&entry, MAP_KEY, key->string);
    pb_message(&entry, MAP_VALUE, &value);
    pb_message(start, START_HPARAMS, &entry);
}

static void add_config(EventFile *e, const Config *c) {
    AUTO_FREE char *text = config_json(c);
    AUTO_STR StrBuf block = {0};
    StrBuf start = {0}, summary = {0};
    cJSON *root = cJSON_Parse(text);
    for (const cJSON *key = root ? root->child : NULL; key; key = key->next) add_hparam(&start, key);
    cJSON_Delete(root);
    pb_double(&start, START_TIME, now());
    add_hparams(&summary, "_hparams_/session_start_info", HPARAMS_START, &start);
    add_block(&block, "config.json", text);
    add_text(&summary, "config", &block);
    add_event(e, 0, &summary);
}

// Tags as TRL's.
static void add_preference(StrBuf *summary, const char *kind, const PreferenceReport *p) {
    static const char *const names[] = {"chosen", "rejected", "margins", "accuracies"};
    const double values[] = {p->reward_chosen, p->reward_rejected, p->reward_chosen - p->reward_rejected, p->accuracy};
    size_t n = sizeof names / sizeof *names - !p->paired;
    for (size_t i = 0; i < n && p->samples; i++) {
        if (!p->paired && isnan(values[i])) continue;
        AUTO_FREE char *tag = mem_printf("%s/rewards/%s", kind, names[i]);
        add_scalar(summary, tag, values[i]);
    }
}

static void add_teacher(StrBuf *summary, const char *kind, const TeacherReport *t) {
    AUTO_FREE char *hard = mem_printf("%s/ce_loss", kind), *soft = mem_printf("%s/kd_loss", kind);
    if (!t->given) return;
    add_scalar(summary, hard, t->hard);
    add_scalar(summary, soft, t->soft);
}

void event_file_step(EventFile *e, const StepReport *r, size_t peak_memory) {
    StrBuf summary = {0};
    if (!e) return;
    add_scalar(&summary, "train/loss", r->loss);
    add_scalar(&summary, "train/learning_rate", r->learning_rate);
    add_scalar(&summary, "train/grad_norm", r->grad_norm);
    add_scalar(&summary, "train/epoch", r->epoch);
    add_scalar(&summary, "train/tokens_per_second", (double)r->tokens / fmax(r->seconds, 1e-9));
    add_scalar(&summary, "train/peak_memory_bytes", (double)peak_memory);
    add_preference(&summary, "train", &r->preference);
    add_teacher(&summary, "train", &r->teacher);
    add_event(e, r->step, &summary);
}

static void add_classes(StrBuf *summary, const EvalResult *r) {
    ClassMetric list[CLASS_METRICS_MAX];
    int n = class_metrics_list(list, r->problem, &r->classes);
    for (int i = 0; i < n; i++) {
        AUTO_FREE char *tag = mem_printf("eval/%s", list[i].name);
        add_scalar(summary, tag, list[i].value);
    }
}

// The first tag of an event tells whether it is of an evaluation: event_file_open.
void event_file_eval(EventFile *e, int64_t step, const EvalResult *r) {
    StrBuf summary = {0};
    if (!e) return;
    add_scalar(&summary, "eval/loss", r->loss);
    const VectorReport *v = &r->vectors;
    bool tokens = !r->labels && !r->preference.samples && !v->records;
    if (v->records)
        add_scalar(&summary, v->ranked ? "eval/accuracy" : "eval/spearman", v->ranked ? v->accuracy : v->spearman);
    if (tokens) add_scalar(&summary, "eval/token_accuracy", r->accuracy);
    if (tokens) add_scalar(&summary, "eval/perplexity", r->perplexity);
    if (r->labels) add_classes(&summary, r);
    add_preference(&summary, "eval", &r->preference);
    add_teacher(&summary, "eval", &r->teacher);
    add_event(e, step, &summary);
}

static void add_answers(StrBuf *summary, const Answers *a) {
    for (int i = 0; i < a->count; i++) {
        AUTO_STR StrBuf text = {0};
        AUTO_FREE char *tag = mem_printf("answers/%d", i + 1);
        add_block(&text, "prompt", a->items[i].prompt);
        add_block(&text, "before", a->items[i].before);
        add_block(&text, "after", a->items[i].after);
        add_block(&text, "reference", a->items[i].reference);
        add_text(summary, tag, &text);
    }
}

// One event: it is there as a whole or not at all.
void event_file_end(EventFile *e, int64_t step, const Answers *a) {
    StrBuf summary = {0}, end = {0};
    if (!e) return;
    pb_varint(&end, END_STATUS, STATUS_SUCCESS);
    pb_double(&end, END_TIME, now());
    add_hparams(&summary, END_TAG, HPARAMS_END, &end);
    add_answers(&summary, a);
    add_event(e, step, &summary);
    e->has_end = true;
}

bool event_file_has_end(const EventFile *e) { return e->has_end; }

void event_file_sync(EventFile *e) {
    if (e) log_file_sync(&e->file);
}

// ---- reading back ----

typedef struct Event {
    bool version;
    int64_t step;
    char tag[40]; // the beginning of the first one
} Event;

static PbField find(int field, const uint8_t *data, size_t size) {
    const uint8_t *at = data;
    PbField f;
    while (pb_next(&f, &at, data + size))
        if (f.field == field) return f;
    return (PbField){0};
}

static Event read_event(const uint8_t *data, size_t size) {
    PbField version = find(EVENT_VERSION, data, size), summary = find(EVENT_SUMMARY, data, size);
    Event e = {.version = version.size == sizeof VERSION - 1 && memcmp(version.data, VERSION, version.size) == 0,
               .step = (int64_t)find(EVENT_STEP, data, size).number};
    if (!summary.data) return e;
    PbField value = find(SUMMARY_VALUE, summary.data, summary.size);
    if (!value.data) return e;
    PbField tag = find(VALUE_TAG, value.data, value.size);
    size_t n = tag.size < sizeof e.tag - 1 ? tag.size : sizeof e.tag - 1;
    if (tag.data) memcpy(e.tag, tag.data, n);
    return e;
}

int event_file_own(const char *path, Err *err) {
    AUTO_FREE char *text = NULL;
    size_t size, n;
    const uint8_t *record;
    bool own = file_read(&text, &size, path, MAX_FILE_BYTES, NULL) == 0;
    own = own && (!size || (record_read((const uint8_t *)text, size, &record, &n) && read_event(record, n).version));
    return own ? 0 : overwrite_refuse(path, "an event file for TensorBoard that lorac wrote", err);
}

typedef struct Kept {
    StrBuf bytes;
    bool any, end; // any: events besides the version
} Kept;

static void keep_event(Kept *k, const Event *e, const uint8_t *bytes, size_t size, const TrainerState *s) {
    if (!e->version && e->step > (starts_with(e->tag, EVAL) ? s->evaluated_step : s->step)) return;
    str_add(&k->bytes, (const char *)bytes, size);
    k->any = k->any || !e->version;
    k->end = k->end || strcmp(e->tag, END_TAG) == 0;
}

// A last record that was being written when the process died is dropped. done: the end is kept.
static int cut_back(Kept *k, const char *path, const TrainerState *s, bool done, Err *err) {
    AUTO_FREE char *text = NULL;
    size_t size, n;
    if (!path_exists(path)) return 0;
    if (event_file_own(path, err) || file_read(&text, &size, path, MAX_FILE_BYTES, err)) return -1;
    const uint8_t *data = (const uint8_t *)text, *record;
    size_t at = 0;
    for (size_t length; (length = record_read(data + at, size - at, &record, &n)); at += length) {
        Event e = read_event(record, n);
        if (done || strcmp(e.tag, END_TAG) != 0) keep_event(k, &e, data + at, length, s);
    }
    str_puts(&k->bytes, "");
    return k->bytes.len == size ? 0 : file_write_whole(path, k->bytes.data, k->bytes.len, event_file_own, err);
}

static EventFile *new_file(bool has_end) {
    EventFile *e = mem_calloc(1, sizeof *e);
    AUTO_STR StrBuf version = {0};
    pb_double(&version, EVENT_TIME, now());
    pb_text(&version, EVENT_VERSION, VERSION);
    record_add(&e->head, version.data, version.len);
    e->has_end = has_end;
    return e;
}

int event_file_open(EventFile **out, const Config *c, const TrainerState *s, bool done, Err *err) {
    *out = NULL;
    if (!event_file_wanted(c)) return 0;
    AUTO_FREE char *path = path_join(c->output_dir, EVENT_FILE), *folder = path_parent(path);
    Kept kept = {0};
    int rc = cut_back(&kept, path, s, done, err) || dir_make_parents(folder, err) ? -1 : 0;
    str_clear(&kept.bytes);
    if (rc) return -1;
    EventFile *e = new_file(kept.end);
    if (log_file_open(&e->file, path, e->head.data, e->head.len, err)) {
        event_file_close(e);
        return -1;
    }
    if (!kept.any) add_config(e, c);
    *out = e;
    return 0;
}

void event_file_close(EventFile *e) {
    if (!e) return;
    log_file_close(&e->file);
    str_clear(&e->head);
    mem_free(e);
}
