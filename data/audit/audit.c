// audit: records in parallel batches, merged in their order; then the duplicates.
#include "audit.h"

#include <string.h>

#include "dataset_build.h"
#include "duplicates.h"
#include "embedding_record.h"
#include "tagged.h"

enum { BATCH_RECORDS = 512, BATCH_BYTES = 8 << 20 };

typedef struct AuditFile {
    char *name;
    size_t end;   // of its entries
    bool archive; // its records have no lines
} AuditFile;

typedef struct Labels { // of one part
    LabelTable *table;  // NULL: none so far
    int64_t *counts;    // by the ids of the table
    size_t n, capacity;
    Problem problem; // of the last record
} Labels;

struct Audit {
    AuditOptions options;
    MinHashFamily family;
    AuditFile *files;
    size_t n_files, files_capacity;
    AuditEntry *entries;
    size_t count, capacity;
    size_t part_begin[AUDIT_PARTS]; // index of its first entry
    AuditCounts counts[AUDIT_PARTS];
    Labels labels[AUDIT_PARTS];
    AuditRecord *batch; // [BATCH_RECORDS]
    size_t n_batch;
};

Audit *audit_new(const AuditOptions *o) {
    Audit *a = mem_calloc(1, sizeof *a);
    a->options = *o;
    a->batch = mem_calloc(BATCH_RECORDS, sizeof *a->batch);
    minhash_family(&a->family);
    return a;
}

static void clear_findings(AuditFindings *f) {
    for (size_t i = 0; i < f->shown; i++) mem_free(f->places[i]);
}

void audit_free(Audit *a) {
    if (!a) return;
    for (int p = 0; p < AUDIT_PARTS; p++) {
        label_table_free(a->labels[p].table);
        mem_free(a->labels[p].counts);
        AuditCounts *c = &a->counts[p];
        AuditFindings *const all[] = {&c->refused, &c->empty, &c->exact, &c->near, &c->leaked, &c->leaked_near};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) clear_findings(all[i]);
        for (int k = 0; k < SECRET_KINDS; k++) clear_findings(&c->secrets[k]);
        key_counts_clear(&c->used);
        key_counts_clear(&c->of_turns);
        key_counts_clear(&c->unread);
    }
    for (size_t i = 0; i < a->n_files; i++) mem_free(a->files[i].name);
    mem_free(a->files);
    mem_free(a->entries);
    mem_free(a->batch);
    mem_free(a);
}

// ---- findings ----

// One finding; place: taken, NULL where enough are named.
static void add_finding(AuditFindings *f, char *place) {
    f->count++;
    if (place && f->shown < AUDIT_SHOWN)
        f->places[f->shown++] = place;
    else
        mem_free(place);
}

static char *place_of(const AuditFindings *f, RecordSpan s) {
    return f->shown < AUDIT_SHOWN ? mem_printf("%s:%zu", s.name, s.line) : NULL;
}

static void add_secrets(AuditCounts *c, const AuditRecord *r) {
    for (int k = 0; k < SECRET_KINDS; k++) {
        AuditFindings *f = &c->secrets[k];
        f->records += r->secrets[k] != 0;
        for (int64_t i = 0; i < r->secrets[k]; i++)
            add_finding(f, i < AUDIT_SHOWN && f->shown < AUDIT_SHOWN
                               ? mem_printf("%s:%zu (%s)", r->span.name, r->lines[k][i], r->masked[k][i])
                               : NULL);
    }
}

// ---- reading ----

static void count_label(Labels *l, uint32_t id) {
    MEM_GROW(l->counts, l->capacity, (size_t)id + 1);
    for (; l->n <= id; l->n++) l->counts[l->n] = 0;
    l->counts[id]++;
}

// A label of another kind than those before it makes the record unreadable.
static void add_labels(Labels *l, AuditRecord *r) {
    if (!l->table) l->table = label_table_new(NULL);
    l->problem = r->labels.problem;
    for (size_t i = 0; i < r->labels.count; i++) {
        uint32_t id;
        if (label_table_add(l->table, r->labels.names[i], r->labels.kind, &id, &r->why)) {
            err_context(&r->why, "%s:%zu", r->span.name, r->span.line);
            r->readable = r->comparable = false;
            return;
        }
        count_label(l, id);
    }
}

static void add_record(Audit *a, AuditPart part, AuditRecord *r) {
    AuditCounts *c = &a->counts[part];
    size_t bytes = r->span.file_bytes ? r->span.file_bytes : r->span.len;
    if (r->readable && r->labels.names) add_labels(&a->labels[part], r);
    MEM_GROW(a->entries, a->capacity, a->count + 1);
    AuditEntry *e = &a->entries[a->count++];
    *e = (AuditEntry){.hash = r->hash, .readable = r->readable, .comparable = r->comparable};
    e->line = r->span.line < UINT32_MAX ? (uint32_t)r->span.line : UINT32_MAX;
    e->validation = part == AUDIT_VALIDATION;
    memcpy(e->signature, r->signature, sizeof e->signature);
    c->records++;
    c->bytes += (int64_t)bytes;
    c->longest = max64(c->longest, (int64_t)bytes);
    if (r->empty) add_finding(&c->empty, place_of(&c->empty, r->span));
    if (!r->readable) {
        add_finding(&c->refused, c->refused.shown < AUDIT_SHOWN ? mem_strdup(r->why.msg) : NULL);
        return;
    }
    key_counts_add(&c->used, &r->used);
    key_counts_add(&c->of_turns, &r->of_turns);
    key_counts_add(&c->unread, &r->unread);
    script_counts_join(&c->scripts, &r->scripts);
    add_secrets(c, r);
}

// An answer with a label, as for KTO.
static bool is_labelled(const Json *record) {
    AUTO_CALL(dialog_clear) Dialog d = {.preference = PREFERENCE_LABELS};
    return dialog_read(&d, record, FORMAT_PREFERENCE, true, false, NULL) == 0;
}

static DatasetFormat format_of(const Json *record, bool any_task) {
    if (any_task && (dialog_is_pair(record) || is_labelled(record))) return FORMAT_PREFERENCE;
    if (any_task && tagged_fits(record)) return FORMAT_TOKEN_CLASSIFICATION;
    if (any_task && classify_fits(record)) return FORMAT_CLASSIFICATION;
    DatasetFormat f = dialog_detect(record, NULL);
    return f == FORMAT_AUTO && any_task && embedding_kind(record) ? FORMAT_EMBEDDING : f;
}

// The format of the file: of its first record that has one.
static void detect(Audit *a, RecordPlace *place) {
    for (size_t i = 0; i < a->n_batch && place->format == FORMAT_AUTO; i++) {
        RecordSpan s = a->batch[i].span;
        AUTO_JSON JsonDoc *doc = NULL;
        AUTO_CALL(json_pool_clear) JsonPool pool = {0};
        if (record_parse(&doc, s, NULL)) continue;
        Json record = *json_root(doc);
        if (place->rule && file_rule_rename(&record, place->rule, &pool, NULL)) continue;
        place->format = format_of(&record, a->options.any_task);
        place->detected = true;
    }
}

static void run_batch(Audit *a, AuditPart part, RecordPlace *place) {
    if (!place->is_text && !a->options.classification) detect(a, place);
#pragma omp parallel for schedule(dynamic, 4)
    for (size_t i = 0; i < a->n_batch; i++) {
        RecordPlace at = *place;
        at.number += (int64_t)i;
        audit_record(&a->batch[i], &a->options, &a->family, &at);
    }
    for (size_t i = 0; i < a->n_batch; i++) {
        add_record(a, part, &a->batch[i]);
        audit_record_clear(&a->batch[i]);
    }
    place->number += (int64_t)a->n_batch;
    a->n_batch = 0;
}

// *archive: the names of records are not the file's.
static int read_records(Audit *a, AuditPart part, RecordReader *r, RecordPlace *place, bool *archive, RecordRange range,
                        Err *err) {
    RecordSpan span;
    size_t bytes = 0;
    int more = 0;
    int64_t n = 0;
    for (; n < range.to && (more = records_next(r, &span, err)) == 1; n++) {
        if (n < range.from) {
            if (n % BATCH_RECORDS == 0) records_release(r);
            continue;
        }
        if (a->count + a->n_batch >= DUPLICATE_RECORDS_MAX)
            return err_input(err, "%s: found more than %u records", place->path, DUPLICATE_RECORDS_MAX);
        a->batch[a->n_batch++] = (AuditRecord){.span = span};
        bytes += span.len;
        *archive |= strcmp(span.name, place->path) != 0;
        if (a->n_batch < BATCH_RECORDS && bytes < BATCH_BYTES) continue;
        run_batch(a, part, place);
        records_release(r);
        bytes = 0;
    }
    run_batch(a, part, place);
    if (more == 0 && n > 0 && n <= range.from) return dataset_fail_slice(place->path, place->rule, n, err);
    return more == 0 && n == 0 ? records_fail_empty(r, err) : more < 0 ? -1 : 0;
}

int audit_read(Audit *a, AuditPart part, const char *path, const FileRule *rule, Err *err) {
    AUTO(records_close) RecordReader *r = NULL;
    RecordRange range;
    if (dataset_record_range(&range, path, rule, err) || records_open(&r, path, err)) return -1;
    RecordPlace place = {.path = path, .number = range.from + 1, .is_text = records_are_text(r), .rule = rule};
    place.format = rule && rule->format != FORMAT_AUTO ? rule->format : a->options.format;
    bool tokens = a->options.problem == PROBLEM_TOKENS;
    if (a->options.classification) place.format = tokens ? FORMAT_TOKEN_CLASSIFICATION : FORMAT_CLASSIFICATION;
    if (a->options.preference) place.format = FORMAT_PREFERENCE;
    if (a->options.embedding) place.format = FORMAT_EMBEDDING;
    if (place.is_text) place.format = FORMAT_TEXT;
    if (!a->counts[part].records) a->part_begin[part] = a->count;
    bool archive = false;
    int rc = read_records(a, part, r, &place, &archive, range, err);
    a->counts[part].ignored += records_ignored(r);
    MEM_GROW(a->files, a->files_capacity, a->n_files + 1);
    a->files[a->n_files++] = (AuditFile){mem_strdup(path), a->count, archive};
    if (a->counts[part].format == FORMAT_AUTO) a->counts[part].format = place.format;
    return rc;
}

// ---- results ----

const AuditCounts *audit_counts(const Audit *a, AuditPart part) { return &a->counts[part]; }

Problem audit_problem(const Audit *a, AuditPart part) { return a->labels[part].problem; }

int audit_labels(LabelList *list, int64_t **counts, const Audit *a, AuditPart part, Err *err) {
    AUTO_FREE uint32_t *place = NULL;
    const Labels *l = &a->labels[part];
    *list = (LabelList){0};
    *counts = NULL;
    if (!l->table) return 0;
    int rc = label_table_finish(l->table, label_least(l->problem), list, &place, err);
    *counts = mem_calloc(l->n + 1, sizeof **counts);
    for (size_t i = 0; i < l->n && !rc; i++) (*counts)[place[i]] = l->counts[i];
    return rc;
}

static size_t file_of(const Audit *a, size_t entry) {
    size_t low = 0, high = a->n_files; // the first file that ends after the entry
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (a->files[middle].end <= entry)
            low = middle + 1;
        else
            high = middle;
    }
    CHECK(low < a->n_files, "record %zu", entry);
    return low;
}

// from: an entry of the same file needs no name; or SIZE_MAX.
static void put_place(StrBuf *out, const Audit *a, size_t entry, size_t from) {
    size_t file = file_of(a, entry);
    const AuditFile *f = &a->files[file];
    bool named = from == SIZE_MAX || file_of(a, from) != file;
    if (f->archive)
        str_printf(out, "%s%srecord %zu", named ? f->name : "", named ? " " : "",
                   entry - (file ? a->files[file - 1].end : 0) + 1);
    else
        str_printf(out, "%s%s%u", named ? f->name : "line", named ? ":" : " ", a->entries[entry].line);
}

void audit_place(StrBuf *out, const Audit *a, AuditPart part, int64_t record) {
    put_place(out, a, a->part_begin[part] + (size_t)record, SIZE_MAX);
}

void audit_hold_out(Audit *a, int64_t record) {
    if (record >= 0 && (size_t)record < a->count) a->entries[record].validation = true;
}

// A record that repeats another one.
static void add_pair(AuditFindings *f, const Audit *a, size_t entry, uint32_t other, bool near) {
    AUTO_STR StrBuf place = {0};
    if (other == DUPLICATE_NONE) return;
    f->records++;
    if (f->shown < AUDIT_SHOWN) {
        put_place(&place, a, entry, SIZE_MAX);
        str_puts(&place, " (");
        if (near)
            str_printf(&place, "%.2f, ", minhash_similarity(a->entries[entry].signature, a->entries[other].signature));
        put_place(&place, a, other, entry);
        str_puts(&place, ")");
    }
    add_finding(f, mem_take(&place.data));
}

void audit_compare(Audit *a) {
    AUTO_CALL(duplicates_clear) Duplicates d = {0};
    duplicates_find(&d, a->entries, a->count);
    for (size_t i = 0; i < a->count; i++) {
        AuditCounts *c = &a->counts[a->entries[i].validation ? AUDIT_VALIDATION : AUDIT_TRAIN];
        add_pair(&c->exact, a, i, d.exact[i], false);
        add_pair(&c->near, a, i, d.near[i], true);
        add_pair(&c->leaked, a, i, d.leaked[i], false);
        add_pair(&c->leaked_near, a, i, d.leaked_near[i], true);
    }
}
