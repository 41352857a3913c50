// `lorac train --profile`: the same bits, a table that adds up, files that can be read.
#include <math.h>
#include <string.h>

#include "json.h"
#include "profile.h"
#include "train_process.h"
#include "trainer_internal.h"

static JsonDoc *read_output(const char *out, const char *name) {
    char *dir = in_dir(out), *path = path_join(dir, name), *text;
    size_t size;
    JsonDoc *doc;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 26, &err), &err);
    ASSERT_OK(json_parse(&doc, text, size, path, 1, &err), &err);
    mem_free(text);
    mem_free(path);
    mem_free(dir);
    return doc;
}

static double number(const Json *object, const char *key) {
    const Json *v = json_get(object, key);
    if (!v || (v->type != JSON_INT && v->type != JSON_FLOAT)) fail_msg("%s is missing, or no number", key);
    return v->number;
}

static void write_output(const char *out, const char *name, const char *text) {
    char *dir = in_dir(out), *path = path_join(dir, name);
    Err err;
    ASSERT_OK(dir_make_parents(dir, &err), &err);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    mem_free(path);
    mem_free(dir);
}

static const Json *row_named(const Json *rows, const char *name) {
    for (size_t i = 0; i < rows->count; i++)
        if (json_is_string(json_get(&rows->items[i], "name"), name)) return &rows->items[i];
    fail_msg("no row %s", name);
    return NULL;
}

// The rows of the steps add up to the steps; each op of the model is among them.
static void check_table(const char *out, double steps) {
    static const char *const ops[] = {"linear_forward",
                                      "linear_backward",
                                      "lora_forward",
                                      "lora_backward",
                                      "attention_forward",
                                      "rmsnorm_forward",
                                      "rmsnorm_backward",
                                      "glu_forward",
                                      "glu_backward",
                                      "head_loss",
                                      "rope",
                                      "adamw",
                                      "step",
                                      "data",
                                      "graph",
                                      "evaluation",
                                      "snapshot",
                                      "log"};
    JsonDoc *doc = read_output(out, "profile.json");
    const Json *root = json_root(doc), *rows = json_get(root, "rows");
    double sum = 0, share = 0;
    assert_non_null(rows);
    for (size_t i = 0; i < rows->count; i++) {
        const Json *row = &rows->items[i];
        assert_true(number(row, "flop") >= 0 && number(row, "bytes") >= 0 && number(row, "calls") >= 0);
        if (json_get(row, "in_steps")->type != JSON_TRUE) continue;
        sum += number(row, "seconds");
        share += number(row, "share");
    }
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) assert_true(number(row_named(rows, ops[i]), "seconds") > 0);
    assert_true(fabs(sum - number(root, "step_seconds")) < 1e-6 && fabs(share - 1) < 1e-4);
    assert_true(number(root, "serial_seconds") > 0 && number(root, "serial_seconds") < sum);
    assert_true(number(root, "steps") == steps && number(row_named(rows, "adamw"), "calls") == steps);
    assert_true(number(root, "tokens") > 0 && number(row_named(rows, "linear_forward"), "flop") > 0);
    json_free(doc);
}

// The trace event format: an object with traceEvents, complete events with times in microseconds.
static void check_trace(const char *out) {
    JsonDoc *doc = read_output(out, "trace.json"), *table = read_output(out, "profile.json");
    const Json *events = json_get(json_root(doc), "traceEvents");
    assert_non_null(events);
    assert_true(events->type == JSON_ARRAY && events->count > 100);
    assert_true((double)events->count == number(json_root(table), "events"));
    int steps = 0;
    for (size_t i = 0; i < events->count; i++) {
        const Json *e = &events->items[i];
        assert_true(json_get(e, "name")->type == JSON_STRING && json_get(e, "cat")->type == JSON_STRING);
        assert_true(json_is_string(json_get(e, "ph"), "X"));
        assert_true(number(e, "ts") >= 0 && number(e, "dur") >= 0 && number(e, "pid") == 0 && number(e, "tid") == 0);
        steps += json_is_string(json_get(e, "name"), "step");
    }
    assert_true((double)steps == number(json_root(table), "steps"));
    json_free(table);
    json_free(doc);
}

static void test_profile_changes_no_bit(void **state) {
    (void)state;
    must_run("plain");
    assert_int_equal(run("profiled", "--profile"), 0);
    same_result("plain", "profiled");
    expect_in_log("linear_forward");
    expect_in_log("all steps ");
    expect_in_log("/trace.json");
    JsonDoc *doc = read_output("profiled", "profile.json");
    double steps = number(json_root(doc), "steps");
    json_free(doc);
    check_table("profiled", steps);
    check_trace("profiled");
}

// A run with more steps replaces the files of the first one, and measures only its own steps.
static void test_profile_of_a_resumed_run(void **state) {
    (void)state;
    const char *some = "profile=true lr_scheduler_type=constant warmup_ratio=0 max_steps=4",
               *more = "profile=true lr_scheduler_type=constant warmup_ratio=0 max_steps=7";
    assert_int_equal(run("resumed", some), 0);
    check_table("resumed", 4);
    assert_int_equal(run("resumed", more), 0);
    check_table("resumed", 3);
    check_trace("resumed");
}

static void test_profile_replaces_no_foreign_file(void **state) {
    (void)state;
    write_output("foreign", "trace.json", "{\"traceEvents\":[]}");
    assert_int_equal(run("foreign", "profile=true"), EXIT_INPUT);
    expect_in_log("expected a trace.json that lorac wrote");
    write_output("other", "profile.json", "{}");
    assert_int_equal(run("other", "profile=true"), EXIT_INPUT);
    expect_in_log("expected a profile.json that lorac wrote");
}

static void test_profile_refuses_a_gpu(void **state) {
    (void)state;
    if (!*EMULATED_MODULES) skip();
    setenv("LORAC_MODULES", EMULATED_MODULES, 1);
    assert_int_equal(run("gpu", "profile=true device=cuda"), EXIT_INPUT);
    unsetenv("LORAC_MODULES");
    expect_in_log("profile: true, with device cuda; expected device cpu");
}

// The slots count the FLOP that the tape has planned.
static void test_profile_counts_the_flop_of_the_tape(void **state) {
    (void)state;
    static const char *const levels[] = {"--gradient_checkpointing=false", "--gradient_checkpointing=blocks"};
    static const ProfileRow products[] = {PROFILE_linear_forward, PROFILE_linear_backward, PROFILE_lora_forward,
                                          PROFILE_lora_backward, PROFILE_head_loss};
    for (int i = 0; i < 2; i++) {
        TinyRun r;
        tiny_run_open(&r, 1, &levels[i], 1);
        profile_start(r.backend);
        tiny_run_steps(&r, 1, NULL);
        TapeStats tape = tape_stats(r.trainer->runner->tape);
        double flop = 0;
        for (size_t j = 0; j < sizeof products / sizeof *products; j++)
            flop += profile_of(r.backend)->rows[products[j]].flop;
        double want = tape.forward_flops + tape.recompute_flops + tape.backward_flops;
        if (fabs(flop - want) > 1e-9 * want) fail_msg("%s: %g FLOP measured, %g planned", levels[i], flop, want);
        tiny_run_close(&r);
    }
}

TEST_MAIN_WITH(tiny_dir_setup, tiny_dir_teardown, TEST(test_profile_changes_no_bit),
               TEST(test_profile_of_a_resumed_run), TEST(test_profile_replaces_no_foreign_file),
               TEST(test_profile_refuses_a_gpu), TEST(test_profile_counts_the_flop_of_the_tape))
