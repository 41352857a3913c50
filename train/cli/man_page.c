// man_page: lorac(1) in the man macros of troff, from the tables of verbs, options and keys.
#include "completion.h"

#include <string.h>

#include "cli.h"
#include "config.h"
#include "say.h"
#include "unicode.h"

// Text whose lines begin no request; lines that begin with a space are not joined to the one before. Characters beyond
// ASCII have their name in groff.
static void say_text(const char *text) {
    for (const char *p = text; *p;) {
        size_t n;
        int32_t c = utf8_decode(p, strlen(p), &n);
        if ((p == text || p[-1] == '\n') && (*p == '.' || *p == '\'')) say("\\&");
        say(c >= 0x80   ? "\\[u%04X]"
            : c == '\\' ? "\\e"
            : c == '-'  ? "\\-"
            : c == '^'  ? "\\(ha"
            : c == '~'  ? "\\(ti"
                        : "%c",
            c);
        p += n;
    }
}

static void say_keys(const KeyTable *t, const char *dashes) {
    for (const Key *k = t->keys; k < t->keys + t->count; k++) {
        AUTO_STR StrBuf text = {0};
        if (k->section) {
            say(".SS ");
            say_text(k->section);
            say("\n");
        }
        say(".TP\n\\fB%s", dashes);
        say_text(k->name);
        say("\\fR\n");
        key_describe(&text, k, *dashes);
        say_text(text.data);
        say("\n");
        for (const EnumWord *w = k->words; w && w->word; w++) {
            say(".br\n\\fI");
            say_text(w->word);
            say("\\fR%s", w->help ? ": " : "");
            say_text(w->help ? w->help : "");
            say("\n");
        }
    }
}

static void say_verb(const Verb *v) {
    say(".SS lorac %s\n\\fB", v->name);
    say_text(v->usage);
    say("\\fR\n.PP\n");
    say_text(v->summary);
    say(".\n");
    if (v->help) {
        say(".PP\n");
        say_text(v->help);
        say("\n");
    }
    if (v->takes_config) say(".PP\nAll keys of a config are options, too.\n");
    say_keys(&v->options, "\\-\\-");
    if (v->example) {
        say(".PP\n  ");
        say_text(v->example);
        say("\n");
    }
}

void man_page_print(void) {
    say(".TH LORAC 1 \"\" \"lorac %s\" \"User Commands\"\n"
        ".SH NAME\nlorac \\- fine\\-tune language models with LoRA adapters\n"
        ".SH SYNOPSIS\n.B lorac\n.I VERB\n[\\fICONFIG\\fR | \\fIRUN\\fR | \\fIPATH\\fR]\n"
        "[\\fB\\-\\-\\fIoption value\\fR]...\n"
        ".SH DESCRIPTION\n"
        "Trains LoRA adapters of a base model in a Hugging Face folder or a GGUF file on your own data, and uses "
        "them.\n"
        "The same seed and data give the same adapter, bit for bit.\n"
        ".SH VERBS\n",
        LORAC_VERSION);
    for (size_t i = 0; verbs[i]; i++) say_verb(verbs[i]);
    say(".SH KEYS OF A CONFIG\n"
        "A config is YAML, or one JSON object with // comments. The keys are also options on the command line\n"
        "(\\-\\-key value, \\-\\-key=value or key=value).\n");
    say_keys(&config_table, "");
    static const struct {
        int status;
        const char *meaning;
    } statuses[] = {
        {0, "done"},
        {EXIT_RUNTIME, "failed while running, or the output could not be written"},
        {EXIT_INPUT, "bad command line, config or input file"},
        {EXIT_NO_FIT, "does not fit into memory"},
        {EXIT_INTERRUPTED, "stopped by a signal, state saved"},
    };
    say(".SH EXIT STATUS\n");
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        say(".TP\n%d\n%s\n", statuses[i].status, statuses[i].meaning);
}
