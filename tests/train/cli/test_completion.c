// What the program writes for an installation: the manual page and completion, each by the tool that reads it.
#include "cli_runner.h"

static bool has(const char *program) {
    AUTO_FREE char *command = mem_printf("command -v %s >/dev/null", program);
    return system(command) == 0;
}

static void test_man_page_renders_without_warnings(void **state) {
    (void)state;
    if (!has("groff")) skip();
    AUTO_FREE char *text = command_output(
        "'" LORAC "' help --man >lorac.1 && groff -ww -man -Tutf8 -P-bcou lorac.1 2>&1 >text && cat text", 0);
    AUTO_FREE char *warnings = command_output("groff -ww -man -Tutf8 lorac.1 2>&1 >/dev/null", 0);
    assert_string_equal(warnings, "");
    static const char *const parts[] = {"NAME", "lorac train", "lora_r", "EXIT STATUS", "75"};
    CHECK_PARTS(text, parts);
}

// The words of the command line, the last one to be completed; and what is offered for it, a word each.
static void check_bash(const char *line, const char *want) {
    AUTO_FREE char *command =
        mem_printf("bash -c '. ./lorac.bash; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _lorac; "
                   "echo \"${COMPREPLY[*]}\"' 2>&1",
                   line);
    AUTO_FREE char *got = command_output(command, 0), *expected = mem_printf("%s\n", want);
    if (strcmp(got, expected) != 0) fail_msg("%s: completed as \"%s\"; expected \"%s\"", line, got, expected);
}

static void test_bash_completes_verbs_options_and_files(void **state) {
    (void)state;
    if (!has("bash")) skip();
    mem_free(command_output("'" LORAC "' help --completion bash >lorac.bash", 0));
    put("my data.jsonl", "");
    check_bash("lorac tr", "train");
    check_bash("lorac x", "");
    check_bash("lorac help conf", "config");
    check_bash("lorac train --lora_dro", "--lora_dropout"); // a key of a config
    check_bash("lorac doctor --lora_dro", "");
    check_bash("lorac export --form", "--format");
    check_bash("lorac export --format \"\"", "peft gguf");
    check_bash("lorac merge --dtype q8", "q8_0");
    check_bash("lorac train --lr_scheduler_type = wa", "");
    check_bash("lorac train --lr_scheduler_type = ws", "wsd");
    check_bash("lorac train --train_file my", "my data.jsonl");
    check_bash("lorac inspect my", "my data.jsonl");
}

static void test_zsh_and_fish_read_their_scripts(void **state) {
    (void)state;
    if (!has("zsh") || !has("fish")) skip();
    mem_free(command_output("'" LORAC "' help --completion zsh >_lorac && zsh -n _lorac", 0));
    mem_free(command_output("'" LORAC "' help --completion fish >lorac.fish", 0));
    AUTO_FREE char *got =
        command_output("HOME=$PWD fish -c 'source lorac.fish; complete -C \"lorac export --format p\"'", 0);
    if (!strstr(got, "peft")) fail_msg("fish offers \"%s\"; expected peft", got);
}

TEST_MAIN(SCRATCH_TEST(test_man_page_renders_without_warnings),
          SCRATCH_TEST(test_bash_completes_verbs_options_and_files), SCRATCH_TEST(test_zsh_and_fish_read_their_scripts))
