// test_event_file: the event file for TensorBoard, byte for byte as the package tensorboard writes it
// (golden/make_tensorboard_golden.py), and in runs that resume.
#include <math.h>
#include <time.h>

#include "cli_runner.h"
#include "event_file.h"
#include "event_record.h"
#include "fileio.h"
#include "tiny_run.h"

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t) {
    if (clock != CLOCK_REALTIME) return __real_clock_gettime(clock, t);
    *t = (struct timespec){1, 500000000};
    return 0;
}

static char *bytes_of(const char *path, size_t *size) {
    char *data;
    Err err;
    ASSERT_OK(file_read(&data, size, path, 1 << 24, &err), &err);
    return data;
}

static void frames_records(void **state) {
    static const uint8_t zeros[32];
    AUTO_STR StrBuf out = {0};
    const uint8_t *record;
    size_t n;
    assert_int_equal(crc32c("123456789", 9), 0xE3069283); // RFC 3720, B.4
    assert_int_equal(crc32c(zeros, sizeof zeros), 0x8A9136AA);
    record_add(&out, "abc", 3);
    record_add(&out, "", 0);
    const uint8_t *data = (const uint8_t *)out.data;
    assert_int_equal(record_read(data, out.len, &record, &n), 19);
    assert_true(n == 3 && memcmp(record, "abc", 3) == 0);
    assert_int_equal(record_read(data + 19, out.len - 19, &record, &n), 16);
    for (size_t size = 0; size < 19; size++) assert_int_equal(record_read(data, size, &record, &n), 0);
    for (size_t i = 0; i < 19; i++) { // any damage is seen
        out.data[i] ^= 0x10;
        assert_int_equal(record_read(data, out.len, &record, &n), 0);
        out.data[i] ^= 0x10;
    }
    const uint8_t cut[] = {0x0A, 0x05, 'a'}, *at = cut;
    PbField f;
    assert_false(pb_next(&f, &at, cut + sizeof cut));
}

static void writes_as_tensorboard(void **state) {
    const char *const words[] = {"report_to=tensorboard", "output_dir=out"};
    StepReport step = {.step = 1,
                       .loss = 2.5,
                       .learning_rate = 1e-3,
                       .grad_norm = INFINITY,
                       .epoch = 0.25,
                       .tokens = 400,
                       .seconds = 2};
    EvalResult eval = {.loss = 1.25, .accuracy = 0.5, .perplexity = 3.5},
               classes = {.loss = 0.75, .accuracy = 1, .classes = {.accuracy = 1, .macro_f1 = 0.875}, .labels = 2};
    Answers answers = {.count = 1, .items = {{"Say <b>hi</b>\n**twice**", "hi\nhi \xE2\x82\xAC", "", "hi hi"}}};
    TinyRun r;
    EventFile *e;
    Err err;
    const uint8_t *record;
    size_t size, n;
    tiny_run_open(&r, 1, words, 2);
    ASSERT_OK(event_file_open(&e, &r.config, trainer_state(r.trainer), false, &err), &err);
    event_file_step(e, &step, 3000000000u);
    event_file_eval(e, 1, &eval);
    event_file_eval(e, 300, &classes);
    assert_false(event_file_has_end(e));
    event_file_end(e, 300, &answers);
    assert_true(event_file_has_end(e));
    event_file_close(e);
    AUTO_FREE char *path = mem_printf("%s/" EVENT_FILE, r.config.output_dir), *got = bytes_of(path, &size);
    tiny_run_close(&r);
    AUTO_FREE char *want = bytes_of(TEST_DIR "/golden/tensorboard/events", &n);
    const uint8_t *head;
    size_t head_size, version = record_read((uint8_t *)want, n, &head, &head_size);
    assert_memory_equal(got, want, version);
    // the config is not in the golden file: it has the paths of this machine
    size_t config = record_read((uint8_t *)got + version, size - version, &record, &head_size);
    assert_true(memmem(record, head_size, "\"lora_r\"", 8) && memmem(record, head_size, "session_start_info", 18));
    assert_int_equal(size - config, n);
    assert_memory_equal(got + version + config, want + version, n - version);
}

// ---- runs ----

#define RUN                                                                                                            \
    "train --model tiny.gguf --train_file data.jsonl --validation_file data.jsonl --eval_strategy steps "              \
    "--eval_steps 1 --max_seq_length 48 --save_steps 1 --report_to tensorboard --output_dir out "

// "s1 e1 s2 e2 end2": what the file has, in its order.
static char *events_of(const char *path) {
    StrBuf list = {0};
    size_t size, n, length;
    const uint8_t *record;
    AUTO_FREE char *data = bytes_of(path, &size);
    str_puts(&list, "");
    for (size_t at = 0; at < size; at += length) {
        PbField f;
        length = record_read((uint8_t *)data + at, size - at, &record, &n);
        assert_true(length > 0);
        const uint8_t *field = record;
        uint64_t step = 0;
        while (pb_next(&f, &field, record + n))
            if (f.field == 2) step = f.number;
        const char *kind = memmem(record, n, "train/loss", 10)           ? "s"
                           : memmem(record, n, "eval/loss", 9)           ? "e"
                           : memmem(record, n, "session_end_info", 16)   ? "end"
                           : memmem(record, n, "session_start_info", 18) ? "start"
                                                                         : "version";
        str_printf(&list, "%s%s%lu", at ? " " : "", kind, step);
    }
    return list.data;
}

static void check_events(const char *want) {
    AUTO_FREE char *got = events_of("out/" EVENT_FILE);
    assert_string_equal(got, want);
}

static int start(void **state) { return tiny_dir_setup(state) || chdir(tiny_dir); }
static int end(void **state) { return chdir("/") || tiny_dir_teardown(state); }

static void continues_after_a_kill(void **state) {
    mem_free(run(RUN "--max_steps 3", 0));
    check_events("version0 start0 s1 e1 s2 e2 s3 e3 end3");
    mem_free(run(RUN "--max_steps 3", 0)); // nothing to do: nothing changes
    check_events("version0 start0 s1 e1 s2 e2 s3 e3 end3");
    mem_free(command_output("rm -r out/checkpoint-000003 && printf 'half a record' >>out/" EVENT_FILE, 0));
    mem_free(run(RUN "--max_steps 3", 0));
    check_events("version0 start0 s1 e1 s2 e2 s3 e3 end3");
    mem_free(run(RUN "--max_steps 4", 0)); // grows
    check_events("version0 start0 s1 e1 s2 e2 s3 e3 s4 e4 end4");
    put("out/" EVENT_FILE, "mine");
    check_has(RUN "--max_steps 5", 2, "expected an event file for TensorBoard that lorac wrote");
}

static void does_not_change_the_run(void **state) {
    mem_free(run("train --model tiny.gguf --train_file data.jsonl --max_seq_length 48 --max_steps 2 --report_to "
                 "html,tensorboard --run_name r --output_dir with",
                 0));
    mem_free(run("train --model tiny.gguf --train_file data.jsonl --max_seq_length 48 --max_steps 2 --report_to "
                 "none --run_name r --output_dir without",
                 0));
    assert_true(tiny_same_adapter("with", "without"));
}

static void each_run_of_several_has_one(void **state) {
    mem_free(run("train --model tiny.gguf --train_file data.jsonl --max_seq_length 48 --max_steps 2 --report_to "
                 "tensorboard --learning_rate 1e-3,2e-3 --output_dir several",
                 0));
    AUTO_FREE char *count = command_output("ls several/*/" EVENT_FILE " | wc -l", 0);
    assert_int_equal(atoi(count), 2);
}

TEST_MAIN_WITH(start, end, TEST(frames_records), TEST(writes_as_tensorboard), TEST(continues_after_a_kill),
               TEST(does_not_change_the_run), TEST(each_run_of_several_has_one))
