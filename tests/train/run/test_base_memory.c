// base_memory: a base that is read a layer at a time, from its files on the CPU and from main memory on a GPU (the
// emulated one), gives the bits of one that is in memory; what does not fit is streamed; the memory is bounded.
#include <sys/resource.h>

#include "cli_runner.h"
#include "tiny_model.h"

enum { MB = 1000000 };

static void put_model(int64_t layers, int64_t hidden) {
    TinyModel m = TINY_MODEL;
    m.layers = layers;
    m.hidden = hidden;
    m.ffn = 4 * hidden;
    tiny_model_write("tiny.gguf", &m);
    put_questions("data.jsonl", 12);
    put("pairs.jsonl", "{\"prompt\":\"q\",\"chosen\":\"yes\",\"rejected\":\"no\"}\n"
                       "{\"prompt\":\"r\",\"chosen\":\"aye\",\"rejected\":\"nay\"}\n");
    setenv("LORAC_MODULES", EMULATED_MODULES, 1);
}

static char *train(const char *out, const char *words, int status) {
    AUTO_FREE char *line =
        mem_printf("train model=tiny.gguf max_steps=2 max_seq_length=64 learning_rate=1e-2 lora_dropout=0.1 "
                   "train_file=%s output_dir=%s %s",
                   strstr(words, "task=") ? "pairs.jsonl" : "data.jsonl", out, words);
    return run(line, status);
}

// A run with the base in memory and streamed, each in a directory of its own. line: of the streamed one's output.
static void check_run(const char *device, const char *streamed, const char *words, const char *line) {
    AUTO_FREE char *whole = mem_printf("device=%s base_memory=device %s", device, words);
    AUTO_FREE char *parts = mem_printf("device=%s base_memory=%s %s", device, streamed, words);
    AUTO_FREE char *first = train("whole", whole, 0), *second = train("parts", parts, 0);
    assert_null(strstr(first, line));
    check_parts(second, &line, 1);
    assert_same_file("whole/adapter/adapter_model.safetensors", "parts/adapter/adapter_model.safetensors");
    Err err;
    ASSERT_OK(dir_remove("whole", &err), &err);
    ASSERT_OK(dir_remove("parts", &err), &err);
}

// Of three layers the first and the last share a place on the device, where preferences go from the last to the first.
#define PAIRS "task=preference per_device_train_batch_size=2 use_dora=true "

static void test_base_memory_disk_has_the_same_bits(void **state) {
    (void)state;
    static const char line[] = "two layers of the base at a time, from disk";
    put_model(3, 32);
    check_run("cpu", "disk", PAIRS, line);
    check_run("cpu", "disk", "gradient_checkpointing=blocks val_set_size=4 eval_strategy=steps eval_steps=1", line);
}

static void test_base_memory_host_has_the_same_bits(void **state) {
    (void)state;
    put_model(3, 32);
    check_run("cuda", "host", PAIRS "gradient_checkpointing=offload",
              "two layers of the base at a time, from main memory");
}

static double number_behind(const char *text, const char *key) {
    const char *at = strstr(text, key);
    if (!at) fail_msg("no %s in \"%s\"", key, text);
    return strtod(at + strlen(key), NULL);
}

// Without a word a base that does not fit is streamed: planned so, and within the limit.
static void test_base_memory_streams_what_does_not_fit(void **state) {
    (void)state;
    put_model(12, 256); // 47 MB in F32, 4 MB a layer
    static const char config[] = "plan --json model=tiny.gguf train_file=data.jsonl output_dir=out device=cpu "
                                 "gradient_checkpointing=none max_seq_length=64";
    AUTO_FREE char *plan = run(config, 0);
    double base = number_behind(plan, "\"base_bytes\": "), total = number_behind(plan, "\"total_bytes\": ");
    assert_true(base > 40 * MB);
    int64_t limit = (int64_t)(total - base / 2);
    AUTO_FREE char *words = mem_printf("device=cpu gradient_checkpointing=none max_memory=%ld", limit);
    AUTO_FREE char *line = mem_printf("%s max_memory=%ld", config, limit);
    AUTO_FREE char *streamed = run(line, 0), *out = train("out", words, 0);
    fprintf(stderr, "%s\n%s\n%ld\n", plan, streamed, limit);
    assert_true(number_behind(streamed, "\"base_bytes\": ") < base / 4);
    static const char *const parts[] = {"two layers of the base at a time, from disk", "step 2/2"};
    CHECK_PARTS(out, parts);
    struct rusage use;
    assert_int_equal(getrusage(RUSAGE_CHILDREN, &use), 0);
#ifndef __SANITIZE_ADDRESS__
    assert_true(use.ru_maxrss * 1024 < (int64_t)total);
#endif
    AUTO_FREE char *all = mem_printf("%s base_memory=device", words), *refused = train("all", all, 3);
    static const char *const why[] = {"expected at most", "max_memory"};
    CHECK_PARTS(refused, why);
}

static void test_base_memory_refuses(void **state) {
    (void)state;
    put_model(3, 64);
    static const char *const converted[] = {"base_memory disk: the matrices of tiny.gguf are converted"};
    AUTO_FREE char *quantized = train("out", "device=cpu base_memory=disk quantize_base=nf4", 2);
    CHECK_PARTS(quantized, converted);
    static const char *const gpu[] = {"base_memory disk: on a GPU; expected device or host there, or --device cpu"};
    AUTO_FREE char *disk = train("out", "device=cuda base_memory=disk", 2);
    CHECK_PARTS(disk, gpu);
    mem_free(train("cpu", "device=cpu base_memory=host", 0)); // main memory is where it is anyway
}

TEST_MAIN(SCRATCH_TEST(test_base_memory_disk_has_the_same_bits), SCRATCH_TEST(test_base_memory_host_has_the_same_bits),
          SCRATCH_TEST(test_base_memory_streams_what_does_not_fit), SCRATCH_TEST(test_base_memory_refuses))
