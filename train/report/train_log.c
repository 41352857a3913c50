#include "train_log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fileio.h"
#include "json.h"

enum { MAX_LOG_BYTES = 1 << 30, MAX_LINE = 1024 };

struct TrainLog {
    FILE *file;
    char *path;
    bool failed; // said once
};

// Calls `use` for each line that is one JSON object with a step.
typedef void (*LineUse)(void *user, const Json *object, const char *line, size_t length);
static void each_line(const char *text, size_t size, LineUse use, void *user) {
    for (const char *line = text; line < text + size;) {
        const char *end = memchr(line, '\n', (size_t)(text + size - line));
        if (!end) return; // a line without an end was being written when the process died
        JsonDoc *doc;
        if (json_parse(&doc, line, (size_t)(end - line), "", 0, NULL) == 0) {
            const Json *step = json_get(json_root(doc), "step");
            if (step && step->type == JSON_INT) use(user, json_root(doc), line, (size_t)(end + 1 - line));
            json_free(doc);
        }
        line = end + 1;
    }
}

typedef struct Cut {
    StrBuf kept;
    int64_t step, evaluated_step;
} Cut;

static void keep_line(void *user, const Json *object, const char *line, size_t length) {
    Cut *cut = user;
    int64_t last = json_get(object, "eval_loss") ? cut->evaluated_step : cut->step;
    if (json_get(object, "step")->integer <= last) str_add(&cut->kept, line, length);
}

// Whether a line, or the beginning of one that was being written, is one of ours.
static bool is_own_line(const char *line, size_t n) {
    static const char begin[] = "{\"step\": ", step[] = ", \"epoch\": ", eval[] = ", \"eval_loss\": ";
    size_t at = sizeof begin - 1;
    if (n < at) return memcmp(line, begin, n) == 0;
    if (memcmp(line, begin, at) != 0) return false;
    while (at < n && line[at] >= '0' && line[at] <= '9') at++;
    size_t left = n - at;
    return memcmp(line + at, step, left < sizeof step - 1 ? left : sizeof step - 1) == 0 ||
           memcmp(line + at, eval, left < sizeof eval - 1 ? left : sizeof eval - 1) == 0;
}

int train_log_own(const char *path, Err *err) {
    char *text;
    size_t size;
    bool own = file_read(&text, &size, path, MAX_LOG_BYTES, NULL) == 0;
    if (!own) return overwrite_refuse(path, "a train_log.jsonl that lorac wrote", err);
    for (const char *line = text; own && line < text + size;) {
        size_t left = (size_t)(text + size - line);
        const char *end = memchr(line, '\n', left);
        own = (!end && !*line) || is_own_line(line, end ? (size_t)(end - line) : left); // a power cut leaves zeros
        line = end ? end + 1 : text + size;
    }
    mem_free(text);
    return own ? 0 : overwrite_refuse(path, "a train_log.jsonl that lorac wrote", err);
}

static int cut_back(const char *path, const RunState *s, Err *err) {
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode)) return 0; // none yet, or a pipe, which has no past
    if (train_log_own(path, err)) return -1;
    char *text;
    size_t size;
    if (file_read(&text, &size, path, MAX_LOG_BYTES, err)) return -1;
    Cut cut = {.step = s->step, .evaluated_step = s->evaluated_step};
    each_line(text, size, keep_line, &cut);
    int status = cut.kept.len == size ? 0 : file_write_whole(path, cut.kept.data, cut.kept.len, train_log_own, err);
    str_clear(&cut.kept);
    mem_free(text);
    return status;
}

// O_NONBLOCK is for the opening alone: a pipe that nobody reads would be waited for, and no signal would end that.
static FILE *open_to_append(const char *path) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0666);
    int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);
    FILE *file = flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) != 0 ? NULL : fdopen(fd, "a");
    int why = errno;
    if (!file && fd >= 0) close(fd);
    errno = why;
    return file;
}

int train_log_open(TrainLog **log, const char *path, const RunState *s, Err *err) {
    *log = NULL;
    if (cut_back(path, s, err)) return -1;
    FILE *file = open_to_append(path);
    if (!file && errno == ENXIO)
        return err_input(err, "%s: found a pipe that nobody reads; expected a reader, or a file", path);
    if (!file) return err_runtime(err, "%s: %s; expected a file that can be written", path, strerror(errno));
    *log = mem_calloc(1, sizeof **log);
    (*log)->file = file;
    (*log)->path = mem_strdup(path);
    return 0;
}

void train_log_close(TrainLog *log) {
    if (!log) return;
    if (fclose(log->file) != 0 && !log->failed)
        log_warn("%s: cannot be closed: %s; its end may be missing", log->path, strerror(errno));
    mem_free(log->path);
    mem_free(log);
}

// A number as JSON; null where JSON has none for it.
static const char *number(char buf[32], double x) {
    if (!isfinite(x)) return "null";
    snprintf(buf, 32, "%.9g", x);
    return buf;
}

// Removed or moved away: what comes now goes to a new file of that name.
static void follow_path(TrainLog *log) {
    struct stat open_file, there;
    if (fstat(fileno(log->file), &open_file) != 0) return;
    if (stat(log->path, &there) == 0 && there.st_dev == open_file.st_dev && there.st_ino == open_file.st_ino) return;
    FILE *file = open_to_append(log->path);
    if (!file) {
        if (!log->failed) log_warn("%s: was removed, and cannot be made again: %s", log->path, strerror(errno));
        log->failed = true;
        return;
    }
    log_warn("%s: was removed or moved away; it begins anew", log->path);
    (void)fclose(log->file);
    log->file = file;
    log->failed = false;
}

static void write_line(TrainLog *log, const char *line) {
    follow_path(log);
    bool ok = fputs(line, log->file) >= 0;
    ok = fflush(log->file) == 0 && ok;
    if (ok || log->failed) return;
    log->failed = true;
    log_warn("%s: %s; training goes on without it", log->path, strerror(errno));
    clearerr(log->file);
}

// What only some runs have: a device, a loss scale, several ranks. Times of other ranks are not known in the first
// step.
static void put_beside(char *text, size_t size, const StepReport *r, size_t host, size_t device) {
    int n = snprintf(text, size, "%s", "");
    if (device) n += snprintf(text + n, size - (size_t)n, ", \"host_memory_bytes\": %zu", host);
    if (r->loss_scale > 1) n += snprintf(text + n, size - (size_t)n, ", \"loss_scale\": %g", r->loss_scale);
    if (r->ranks > 1) n += snprintf(text + n, size - (size_t)n, ", \"ranks\": %d", r->ranks);
    if (r->ranks > 1 && r->compute > 0)
        snprintf(text + n, size - (size_t)n,
                 ", \"compute_seconds\": %.6f, \"reduce_seconds\": %.6f, \"data_seconds\": %.6f, \"slowest_rank\": %d",
                 r->compute, r->reduce, r->data, r->slowest_rank);
}

void train_log_step(TrainLog *log, const StepReport *r, double elapsed, size_t host, size_t device) {
    char line[MAX_LINE], n[5][32], beside[MAX_LINE / 2];
    put_beside(beside, sizeof beside, r, host, device);
    snprintf(line, sizeof line,
             "{\"step\": %" PRId64 ", \"epoch\": %s, \"loss\": %s, \"learning_rate\": %s, \"grad_norm\": %s, "
             "\"tokens\": %" PRId64 ", \"supervised_tokens\": %" PRId64 ", \"tokens_per_second\": %.1f, "
             "\"elapsed_seconds\": %.3f, \"peak_memory_bytes\": %zu%s%s}\n",
             r->step, number(n[0], r->epoch), number(n[1], r->loss), number(n[2], r->learning_rate),
             number(n[3], r->grad_norm), r->tokens, r->supervised, (double)r->tokens / fmax(r->seconds, 1e-9), elapsed,
             device ? device : host, beside, r->skipped || !isfinite(r->loss) ? ", \"nonfinite\": true" : "");
    write_line(log, line);
}

void train_log_eval(TrainLog *log, int64_t step, const EvalResult *r) {
    char line[MAX_LINE], n[3][32];
    const char *flaw = isfinite(r->loss) ? "" : ", \"nonfinite\": true";
    if (r->labels)
        snprintf(line, sizeof line,
                 "{\"step\": %" PRId64 ", \"eval_loss\": %s, \"eval_accuracy\": %s, \"eval_macro_f1\": %s%s}\n", step,
                 number(n[0], r->loss), number(n[1], r->accuracy), number(n[2], r->macro_f1), flaw);
    else
        snprintf(line, sizeof line,
                 "{\"step\": %" PRId64 ", \"eval_loss\": %s, \"eval_perplexity\": %s, \"eval_token_accuracy\": %s%s}\n",
                 step, number(n[0], r->loss), number(n[1], r->perplexity), number(n[2], r->accuracy), flaw);
    write_line(log, line);
}

void train_log_sync(TrainLog *log) {
    if (fsync(fileno(log->file)) && !log->failed) {
        log->failed = true;
        log_warn("%s: %s", log->path, strerror(errno));
    }
}

// ---- reading back ----

typedef struct Points {
    LogPoint *items;
    size_t count, capacity;
} Points;

static double value(const Json *object, const char *key) {
    const Json *v = json_get(object, key);
    return v && (v->type == JSON_INT || v->type == JSON_FLOAT) ? v->number : NAN;
}

static void add_point(void *user, const Json *o, const char *line, size_t length) {
    (void)line, (void)length;
    Points *p = user;
    bool is_class = json_get(o, "eval_accuracy") != NULL, is_eval = is_class || json_get(o, "eval_token_accuracy");
    MEM_GROW(p->items, p->capacity, p->count + 1);
    p->items[p->count++] = (LogPoint){.is_eval = is_eval,
                                      .step = value(o, "step"),
                                      .loss = value(o, is_eval ? "eval_loss" : "loss"),
                                      .learning_rate = value(o, "learning_rate"),
                                      .grad_norm = value(o, "grad_norm"),
                                      .tokens_per_second = value(o, "tokens_per_second"),
                                      .memory = value(o, "peak_memory_bytes"),
                                      .accuracy = value(o, is_class ? "eval_accuracy" : "eval_token_accuracy"),
                                      .macro_f1 = value(o, "eval_macro_f1")};
}

LogPoint *train_log_read(const char *path, size_t *count) {
    char *text;
    size_t size;
    Points points = {0};
    if (file_read(&text, &size, path, MAX_LOG_BYTES, NULL) == 0) {
        each_line(text, size, add_point, &points);
        mem_free(text);
    }
    *count = points.count;
    return points.items;
}
