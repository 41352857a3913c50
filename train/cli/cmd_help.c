// lorac help [VERB | config [--tools | --json]] [--man | --completion SHELL], lorac version
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "completion.h"
#include "config.h"
#include "say.h"

typedef struct Options {
    bool json, tools, man;
    Shell completion;
} Options;

static const Key options[] = {
    OPTION(BOOL, tools, .help = "With config: the keys of Axolotl, LLaMA-Factory and TRL that are read."),
    OPTION(BOOL, json, .help = "With config: print a JSON Schema of the keys."),
    OPTION(BOOL, man, .help = "Print the manual page, for man."),
    OPTION_CHOICE(completion, SHELLS, .standard = "\"none\"",
                  .help = "Print a script that completes lorac's arguments in this shell."),
};

static void print_overview(void) {
    say("lorac fine-tunes language models with LoRA adapters.\n\n");
    for (size_t i = 0; verbs[i]; i++) say("  lorac %-10s %s\n", verbs[i]->name, verbs[i]->summary);
    say("\n\"lorac help VERB\" describes a verb, \"lorac help config\" the keys of a config file.\n");
}

static void print_verb(const Verb *v) {
    say("usage: %s\n\n%s.\n", v->usage, v->summary);
    if (v->help) say("\n%s\n", v->help);
    if (v->options.count) say("\nOptions\n");
    keys_print_help(&v->options, "--", stdout);
    if (v->takes_config) say("\nAll keys of a config are options, too: \"lorac help config\" lists them.\n");
    if (v->example) say("\n  %s\n", v->example);
}

static int run_help(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    bool config = argc && strcmp(argv[0], "config") == 0;
    if ((argc != 0) + o->man + (o->completion != SHELL_NONE) > 1)
        return err_input(err, "help: expected one of VERB, --man and --completion");
    if (o->json && !config) return err_input(err, "--json: expected \"lorac help config --json\"");
    if (o->tools && (!config || o->json)) return err_input(err, "--tools: expected \"lorac help config --tools\"");
    const Verb *v = argc && !config ? verb_find(argv[0]) : NULL;
    if (argc && !config && !v) return err_input(err, "help: \"%s\" is not a verb; \"lorac help\" lists them", argv[0]);
    if (config)
        (o->json ? config_print_schema : o->tools ? foreign_print_help : config_print_help)(stdout);
    else if (v)
        print_verb(v);
    else if (o->man)
        man_page_print();
    else if (o->completion)
        completion_print(o->completion);
    else
        print_overview();
    return 0;
}

static int run_version(const void *given, int argc, char **argv, Err *err) {
    say("lorac %s\n", LORAC_VERSION);
    return 0;
}

const Verb verb_help = {
    .name = "help",
    .usage = "lorac help [VERB | config [--tools | --json] | --man | --completion SHELL]",
    .summary = "Describe a verb, or the keys of a config",
    OPTIONS(options),
    .operand = "[VERB]",
    .run = run_help,
};

const Verb verb_version = {
    .name = "version",
    .usage = "lorac version",
    .summary = "Print the version of this binary",
    .run = run_version,
};
