// lorac help [VERB], lorac version
#include "cli.h"

#include <stdio.h>
#include <string.h>

#include "config.h"
#include "say.h"

static void print_overview(void) {
    say("lorac fine-tunes language models with LoRA adapters.\n\n");
    for (size_t i = 0; verbs[i]; i++) say("  lorac %-10s %s\n", verbs[i]->name, verbs[i]->summary);
    say("\n\"lorac help VERB\" says more; \"lorac help config\" lists the keys of a config file.\n");
}

static int run_help(int argc, char **argv, Err *err) {
    if (argc == 0) {
        print_overview();
        return 0;
    }
    if (strcmp(argv[0], "config") == 0) {
        bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
        (json ? config_print_schema : config_print_help)(stdout);
        return 0;
    }
    const Verb *v = verb_find(argv[0]);
    if (!v) return err_input(err, "help: \"%s\" is no verb; \"lorac help\" lists them", argv[0]);
    say("usage: %s\n\n%s.\n%s%s", v->usage, v->summary, v->help[0] ? "\n" : "", v->help);
    return 0;
}

static int run_version(int argc, char **argv, Err *err) {
    if (argc > 0) return err_input(err, "version: takes no words, got \"%s\"", argv[0]);
    say("lorac %s\n", LORAC_VERSION);
    return 0;
}

const Verb verb_help = {
    .name = "help",
    .usage = "lorac help [VERB | config]",
    .summary = "What there is, and how to use it",
    .help = "",
    .run = run_help,
};

const Verb verb_version = {
    .name = "version",
    .usage = "lorac version",
    .summary = "The version of this binary",
    .help = "",
    .run = run_version,
};
