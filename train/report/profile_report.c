#include "profile_report.h"

#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "json_save.h"
#include "path.h"
#include "run_device.h"
#include "say.h"

static double seconds(const ProfileTotal *t) { return (double)t->ns * 1e-9; }

static bool is_in_steps(ProfileRow row) {
    return row < PROFILE_OTHER || row == PROFILE_STEP || row == PROFILE_DATA || row == PROFILE_GRAPH;
}

// Of the steps: seconds in all, and in rows outside parallel regions. Serial parts of the others show in the profiles
// of two numbers of threads (tests/bench/bench_report.py).
typedef struct StepTime {
    double all, serial;
} StepTime;

static StepTime step_time(const Profile *p) {
    StepTime t = {0};
    for (ProfileRow i = 0; i < PROFILE_ROWS; i++) {
        if (!is_in_steps(i)) continue;
        t.all += seconds(&p->rows[i]);
        if (!profile_row_is_parallel(i)) t.serial += seconds(&p->rows[i]);
    }
    return t;
}

// The rows of the steps that have time, the longest first. Returns their number.
static int sorted_rows(const Profile *p, ProfileRow rows[PROFILE_ROWS]) {
    int n = 0;
    for (ProfileRow row = 0; row < PROFILE_ROWS; row++) {
        if (!is_in_steps(row) || !p->rows[row].calls) continue;
        int at = n++;
        for (; at > 0 && p->rows[rows[at - 1]].ns < p->rows[row].ns; at--) rows[at] = rows[at - 1];
        rows[at] = row;
    }
    return n;
}

// ---- as text ----

static void print_amount(double amount, double unit, double time, int width) {
    if (amount > 0)
        say(" %*.1f %8.1f", width, amount / unit, time > 0 ? amount / 1e9 / time : 0);
    else
        say(" %*s %8s", width, "-", "-");
}

static void print_row(ProfileRow row, const ProfileTotal *t, double all) {
    double time = seconds(t);
    say("%-22s %8ld %9.3f %6.1f%%", profile_row_name(row), t->calls, time, 100 * time / all);
    print_amount(t->flop, 1e9, time, 10);
    print_amount(t->bytes, 1e6, time, 10);
    say("\n");
}

void profile_print(const ProfileRun *r) {
    const Profile *p = profile_of(r->backend);
    ProfileRow rows[PROFILE_ROWS];
    StepTime t = step_time(p);
    AUTO_STR StrBuf device = {0};
    int n = sorted_rows(p, rows);
    run_device_describe(&device, r->backend);
    say("profile  %ld step%s, %ld token%s, %.0f tokens/s; %s\n", p->rows[PROFILE_STEP].calls,
        plural(p->rows[PROFILE_STEP].calls), r->tokens, plural(r->tokens), (double)r->tokens / t.all, device.data);
    say("%-22s %8s %9s %7s %10s %8s %10s %8s\n", "op", "calls", "seconds", "share", "GFLOP", "GFLOP/s", "MB", "GB/s");
    for (int i = 0; i < n; i++) print_row(rows[i], &p->rows[rows[i]], t.all);
    say("all steps %.3f s; ops and parts that always use one thread %.3f s, %.2f%%\n", t.all, t.serial,
        100 * t.serial / t.all);
    say("not in steps: ");
    for (ProfileRow row = PROFILE_OTHER; row < PROFILE_ROWS; row++)
        if (!is_in_steps(row))
            say("%s%s %.3f s", row == PROFILE_OTHER ? "" : ", ", profile_row_name(row), seconds(&p->rows[row]));
    say("\n");
}

// ---- profile.json ----

#define WRITER "lorac train --profile"

static cJSON *row_json(ProfileRow row, const ProfileTotal *t, double all) {
    cJSON *o = cJSON_CreateObject();
    double time = seconds(t);
    cJSON_AddStringToObject(o, "name", profile_row_name(row));
    cJSON_AddBoolToObject(o, "parallel", profile_row_is_parallel(row));
    cJSON_AddBoolToObject(o, "in_steps", is_in_steps(row));
    json_add_int(o, "calls", t->calls);
    json_add_number(o, "seconds", 9, time);
    if (is_in_steps(row)) json_add_number(o, "share", 6, time / all);
    json_add_number(o, "flop", 17, t->flop);
    json_add_number(o, "bytes", 17, t->bytes);
    return o;
}

static cJSON *profile_json(const ProfileRun *r) {
    const Profile *p = profile_of(r->backend);
    StepTime t = step_time(p);
    AUTO_STR StrBuf kind = {0};
    backend_kind(&kind, r->backend);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "writer", WRITER);
    cJSON_AddStringToObject(o, "backend", kind.data);
    cJSON_AddStringToObject(o, "dtype", run_device_dtype(r->backend));
    json_add_int(o, "threads", r->backend->threads);
    json_add_int(o, "steps", p->rows[PROFILE_STEP].calls);
    json_add_int(o, "tokens", r->tokens);
    json_add_number(o, "step_seconds", 9, t.all);
    json_add_number(o, "serial_seconds", 9, t.serial);
    json_add_int(o, "events", (int64_t)p->n_events);
    json_add_int(o, "lost_events", (int64_t)p->lost_events);
    cJSON *rows = cJSON_AddArrayToObject(o, "rows");
    for (ProfileRow row = 0; row < PROFILE_ROWS; row++)
        if (p->rows[row].calls || row == PROFILE_OTHER) cJSON_AddItemToArray(rows, row_json(row, &p->rows[row], t.all));
    return o;
}

// ---- trace.json: the trace event format, complete events ("X"), times in microseconds ----

#define TRACE_HEAD "{\"otherData\":{\"writer\":\"" WRITER "\"},\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"

static void add_event(StrBuf *out, const ProfileEvent *e) {
    ProfileRow row = (ProfileRow)e->row;
    str_printf(out, "{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":0,\"tid\":0,\"ts\":%.3f,\"dur\":%.3f",
               profile_row_name(row), row < PROFILE_OTHER ? "op" : "part", (double)e->start * 1e-3,
               (double)e->ns * 1e-3);
    if (e->cost.bytes > 0)
        str_printf(out, ",\"args\":{\"MFLOP\":%.6g,\"MB\":%.6g}", e->cost.flop * 1e-6, e->cost.bytes * 1e-6);
    str_puts(out, "}");
}

static int write_events(FileWriter *w, const Profile *p, Err *err) {
    enum { PIECE = 1 << 16 };
    AUTO_STR StrBuf text = {0};
    int rc = 0;
    str_puts(&text, TRACE_HEAD);
    for (size_t i = 0; i < p->n_events && !rc; i++) {
        if (i) str_puts(&text, ",\n");
        add_event(&text, &p->events[i]);
        if (text.len < PIECE) continue;
        rc = file_write(w, text.data, text.len, err);
        text.len = 0;
    }
    str_puts(&text, "\n]}\n");
    return rc ? rc : file_write(w, text.data, text.len, err);
}

static int write_trace(const Profile *p, const char *path, Err *err) {
    FileWriter *w;
    if (file_create(&w, path, trace_own, err)) return -1;
    if (write_events(w, p, err) == 0) return file_commit(w, err);
    file_abandon(w);
    return -1;
}

// ---- the files ----

static int check_head(const char *path, const char *head, const char *expected, Err *err) {
    char found[128] = {0};
    AUTO_FILE FILE *f = fopen(path, "r");
    size_t n = f ? fread(found, 1, strlen(head), f) : 0;
    return n == strlen(head) && strcmp(found, head) == 0 ? 0 : overwrite_refuse(path, expected, err);
}

int profile_own(const char *path, Err *err) {
    return check_head(path, "{\n\t\"writer\":\t\"" WRITER "\"", "a profile.json that lorac wrote", err);
}

int trace_own(const char *path, Err *err) { return check_head(path, TRACE_HEAD, "a trace.json that lorac wrote", err); }

int profile_write(const ProfileRun *r, const char *output_dir, Err *err) {
    const Profile *p = profile_of(r->backend);
    AUTO_FREE char *table = path_join(output_dir, "profile.json");
    AUTO_FREE char *trace = path_join(output_dir, "trace.json");
    if (json_save(table, profile_json(r), profile_own, err) || write_trace(p, trace, err)) return -1;
    say("profile: %s; the first %zu calls for chrome://tracing or ui.perfetto.dev: %s", table, p->n_events, trace);
    if (p->lost_events) say(" (%zu later ones are in the table only)", p->lost_events);
    say("\n");
    return 0;
}
