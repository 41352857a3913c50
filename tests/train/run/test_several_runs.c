// Several runs over one base model, as a process: each equals the same run alone, killed and stopped ones resume, one
// that fails leaves the others alone; a list of learning rates; what is refused; the report and the plan of all.
#include "test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "train_process.h"

// Runs that differ in all that runs may differ in; b ends first.
static const char *const runs[] = {
    "{\"run_name\": \"a\", \"learning_rate\": 2e-2, \"lora_dropout\": 0.1, \"neftune_noise_alpha\": 5}",
    "{\"run_name\": \"b\", \"train_file\": \"DIR/half.jsonl\", \"lora_r\": 3, \"use_dora\": true, "
    "\"lora_target_modules\": \"all-linear\", "
    "\"max_seq_length\": 30, \"gradient_accumulation_steps\": 3, \"num_train_epochs\": 2, \"weight_decay\": 0.1}",
    "{\"run_name\": \"c\", \"lora_target_modules\": [\"o_proj\"], \"layers_to_transform\": [1], \"packing\": false, "
    "\"per_device_train_batch_size\": 2, \"val_set_size\": 6, \"eval_strategy\": \"steps\", \"eval_steps\": 3, "
    "\"load_best_model_at_end\": true, \"seed\": 3}"};
enum { RUNS = sizeof runs / sizeof *runs };

// Half of the data, in tiny_dir/half.jsonl.
static void write_half(void) {
    char *from = in_dir("data.jsonl"), *to = in_dir("half.jsonl"), *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, from, 1 << 20, &err), &err);
    for (size_t i = 0, lines = 0; i < size; i++)
        if (text[i] == '\n' && ++lines == 12) size = i + 1;
    ASSERT_OK(file_write_whole(to, text, size, NULL, &err), &err);
    mem_free(from);
    mem_free(to);
    mem_free(text);
}

// tiny_dir/several.json: all of `list` into tiny_dir/out, with more members.
static void write_config(const char *out, const char *members, const char *const *list, int n) {
    AUTO_STR StrBuf text = {0};
    Err err;
    char *path = in_dir("several.json");
    str_printf(&text,
               "{\"model\": \"%s/tiny.gguf\", \"train_file\": \"%s/data.jsonl\", \"output_dir\": \"%s/%s\",\n"
               "\"max_seq_length\": 48, \"save_steps\": 3, \"num_train_epochs\": 4, \"learning_rate\": 1e-2, "
               "\"gradient_accumulation_steps\": 2%s,\n\"runs\": [",
               tiny_dir, tiny_dir, tiny_dir, out, members);
    for (int i = 0; i < n; i++) {
        const char *dir = strstr(list[i], "DIR");
        str_puts(&text, i ? ",\n" : "");
        if (dir)
            str_printf(&text, "%.*s%s%s", (int)(dir - list[i]), list[i], tiny_dir, dir + 3);
        else
            str_puts(&text, list[i]);
    }
    str_puts(&text, "]}\n");
    unlink(path);
    ASSERT_OK(file_write_whole(path, text.data, text.len, NULL, &err), &err);
    mem_free(path);
}

// Starts lorac with these words, of which the first is the verb; its output goes to tiny_dir/log.
static pid_t start_words(const char *const *words) {
    char *log = in_dir("log"), *args[MAX_ARGS] = {"lorac"};
    int n = 1;
    unlink(log);
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        for (; *words; words++) args[n++] = (char *)*words;
        int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
        execv(LORAC, args);
        _exit(127);
    }
    mem_free(log);
    return pid;
}

static pid_t start_several(const char *word) {
    char *config = in_dir("several.json");
    pid_t pid = start_words((const char *const[]){"train", config, word, NULL});
    mem_free(config);
    return pid;
}

static void expect_status(pid_t pid, int want) {
    int status = wait_for(pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != want) show_log();
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), want);
}

// Run `name` of `out`, alone from its own config.json, into alone_NAME; the same adapter and log.
static void same_alone(const char *out, const char *name) {
    char *config = mem_printf("%s/%s/%s/config.json", tiny_dir, out, name), *alone = mem_printf("alone_%s", name);
    char *word = mem_printf("--output_dir=%s/%s", tiny_dir, alone), *folder = mem_printf("%s/%s", out, name);
    expect_status(start_words((const char *const[]){"train", config, word, NULL}), 0);
    same_result(folder, alone);
    begin_anew(alone);
    mem_free(config);
    mem_free(alone);
    mem_free(word);
    mem_free(folder);
}

static void test_several_runs_equal_each_alone(void **state) {
    (void)state;
    write_half();
    write_config("whole", "", runs, RUNS);
    expect_status(start_several(NULL), 0);
    expect_in_log("[a] step ");
    expect_in_log("[c] largest logit difference PEFT - GGUF");
    for (int i = 0; i < RUNS; i++) same_alone("whole", (const char *const[]){"a", "b", "c"}[i]);
}

// Lines of steps in the log of all runs.
static int several_logged(void) {
    char *path = in_dir("log"), *text;
    size_t size;
    int n = 0;
    if (file_read(&text, &size, path, 1 << 20, NULL) == 0) {
        for (const char *at = text; (at = strstr(at, "] step ")); at++) n++;
        mem_free(text);
    }
    mem_free(path);
    return n;
}

static void wait_for_several(pid_t pid, int n) {
    siginfo_t info = {0};
    while (several_logged() < n) {
        assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
        if (info.si_pid == pid) return;
        sleep_for(0.002);
    }
}

static void same_as_whole(const char *out) {
    for (int i = 0; i < RUNS; i++) {
        char *whole = mem_printf("whole/%c", 'a' + i), *other = mem_printf("%s/%c", out, 'a' + i);
        same_result(whole, other);
        mem_free(whole);
        mem_free(other);
    }
}

static void test_several_runs_survive_kill_9(void **state) {
    (void)state;
    int killed = 0;
    write_config("killed", "", runs, RUNS);
    for (int i = 0; i < 8; i++) {
        pid_t pid = start_several(NULL);
        wait_for_several(pid, 3 + i * 7 % 10);
        kill(pid, SIGKILL);
        killed += WIFSIGNALED(wait_for(pid));
    }
    assert_true(killed > 0);
    expect_status(start_several(NULL), 0);
    same_as_whole("killed");
}

static void expect_in_file(const char *name, const char *part) {
    char *path = in_dir(name), *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 22, &err), &err);
    if (!strstr(text, part)) fail_msg("%s lacks \"%s\"", name, part);
    mem_free(path);
    mem_free(text);
}

static void test_several_runs_stop_on_a_signal(void **state) {
    (void)state;
    write_config("stopped", "", runs, RUNS);
    pid_t pid = start_several(NULL);
    wait_for_several(pid, 4);
    kill(pid, SIGTERM);
    expect_status(pid, EXIT_INTERRUPTED);
    expect_in_log("[a] stopped by a signal after step");
    expect_in_file("stopped/report.html", "<td>stopped by a signal</td>");
    expect_in_file("stopped/a/report.html", ": stopped by a signal</span>");
    expect_status(start_several(NULL), 0);
    expect_in_log("resuming from");
    expect_in_file("stopped/report.html", "<td>done</td>");
    same_as_whole("stopped");
}

// The run that diverges fails alone, again when the command is repeated; the others are as without it.
static void test_a_run_that_diverges_fails_alone(void **state) {
    (void)state;
    const char *const list[] = {runs[0],
                                "{\"run_name\": \"bad\", \"learning_rate\": 1000, \"lora_alpha\": 1e9, "
                                "\"max_grad_norm\": 0, \"lr_scheduler_type\": \"constant\"}",
                                runs[2]};
    write_config("diverges", "", list, 3);
    for (int i = 0; i < 2; i++) {
        expect_status(start_several(NULL), EXIT_RUNTIME);
        expect_in_log("[bad] lorac: the run has failed: step 3: 3 steps in a row had a gradient that is not finite");
        expect_in_log("lorac: 1 of 3 runs failed: run bad: step 3");
    }
    same_result("whole/a", "diverges/a");
    same_result("whole/c", "diverges/c");
}

// A list of learning rates is one run for each, with a report of all.
static void test_learning_rates_are_swept(void **state) {
    (void)state;
    char *model = mem_printf("--model=%s/tiny.gguf", tiny_dir),
         *data = mem_printf("--train_file=%s/data.jsonl", tiny_dir);
    char *out = mem_printf("--output_dir=%s/sweep", tiny_dir), *one = mem_printf("--output_dir=%s/one", tiny_dir);
    expect_status(start_words((const char *const[]){"train", model, data, out, "--max_steps=6", "--max_seq_length=48",
                                                    "--learning_rate", "1e-3,3e-2", NULL}),
                  0);
    expect_status(start_words((const char *const[]){"train", model, data, one, "--max_steps=6", "--max_seq_length=48",
                                                    "--learning_rate", "3e-2", "--run_name=lr-3e-2", NULL}),
                  0);
    expect_status(start_words((const char *const[]){"train", model, data, out, "--max_steps=6", "--max_seq_length=48",
                                                    "--learning_rate", "1e-3,3e-2,0.001", NULL}),
                  EXIT_INPUT);
    expect_in_log("command line: learning_rate: 1e-3 and 0.001 are the same; expected different ones");
    same_result("sweep/lr-3e-2", "one");
    same_alone("sweep", "lr-1e-3");
    expect_in_file("sweep/report.html", "<td>lr-1e-3</td><td>0.001</td>");
    expect_in_file("sweep/report.html", "<title>sweep</title>");
    expect_in_file("sweep/lr-3e-2/report.html", "<title>lr-3e-2</title>");
    mem_free(model);
    mem_free(data);
    mem_free(out);
    mem_free(one);
}

static void test_several_runs_refuse(void **state) {
    (void)state;
    static const struct {
        const char *members, *run, *word, *part; // run: the second one
    } cases[] = {
        {"", "{\"device\": \"cuda\"}", NULL,
         "several.json:4: runs[1]: device: \"cuda\" in this run, \"auto\" in the config"},
        {"", "{\"lora_rr\": 4}", NULL,
         "several.json:4: runs[1]: unknown key \"lora_rr\"; the nearest known key is \"lora_r\""},
        {"", "{\"lora_r\": 0}", NULL, "several.json:4: runs[1]: lora_r: 0; expected 1 to 65536"},
        {"", "{\"lora_r\": 4, \"r\": 5}", NULL, "runs[1]: \"r\" is another name of lora_r, which this run has set"},
        {"", "{\"runs\": [{}]}", NULL, "runs[1]: runs: found in a run"},
        {"", "{\"run_name\": \"../x\"}", NULL, "runs[1]: run_name: \"../x\"; expected the name of a folder"},
        {"", "{\"run_name\": \"a\"}", NULL, "runs: a and a have the same output_dir"},
        {"", "{\"eval_strategy\": \"steps\"}", NULL, "run run-2: several.json:4: eval_strategy: needs validation_file"},
        {"", "{\"lora_r\": 4}", "--lora_r=8", "runs[1]: lora_r: is set on the command line, too"},
        {"", "{}", "--learning_rate=1e-3,1e-4",
         "learning_rate: \"1e-3,1e-4\", one run for each, and the config has runs"},
        {"", "{\"lora_target_modules\": [\"no\"]}", NULL,
         "run run-2: lora_target_modules: \"no\": this model has no such"},
        {"", "{\"train_file\": \"none.jsonl\"}", NULL, "run run-2: none.jsonl: "},
        {", \"profile\": true", "{}", NULL, "profile: true, with runs"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const list[] = {"{\"run_name\": \"a\"}", cases[i].run};
        write_config("refused", cases[i].members, list, 2);
        char *config = in_dir("several.json"), *wanted = mem_printf("%s", cases[i].part);
        expect_status(start_several(cases[i].word), EXIT_INPUT);
        const char *name = strstr(cases[i].part, "several.json:");
        if (name) {
            mem_free(wanted);
            wanted = mem_printf("%.*s%s%s", (int)(name - cases[i].part), cases[i].part, config, name + 12);
        }
        expect_in_log(wanted);
        mem_free(wanted);
        mem_free(config);
    }
    write_config("refused", "", runs, 1);
    char *config = in_dir("several.json");
    expect_status(start_words((const char *const[]){"inspect", config, NULL}), EXIT_INPUT);
    expect_in_log("runs: several runs are trained or planned together");
    mem_free(config);
}

// The memory of all runs; too little is refused before a step.
static void test_several_runs_share_max_memory(void **state) {
    (void)state;
    char *config = in_dir("several.json");
    write_config("planned", "", runs, RUNS);
    expect_status(start_words((const char *const[]){"plan", config, NULL}), 0);
    expect_in_log("(run b)");
    expect_status(start_words((const char *const[]){"plan", config, "--max_memory=8MB", NULL}), EXIT_NO_FIT);
    expect_status(start_words((const char *const[]){"train", config, "--max_memory=8MB", NULL}), EXIT_NO_FIT);
    expect_in_log("of all runs together, needs");
    mem_free(config);
}

TEST_MAIN_WITH(tiny_dir_setup, tiny_dir_teardown, TEST(test_several_runs_equal_each_alone),
               TEST(test_several_runs_survive_kill_9), TEST(test_several_runs_stop_on_a_signal),
               TEST(test_a_run_that_diverges_fails_alone), TEST(test_learning_rates_are_swept),
               TEST(test_several_runs_refuse), TEST(test_several_runs_share_max_memory))
