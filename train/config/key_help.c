// key_help: the reference of a table's keys as text.
#include <string.h>

#include "keys_internal.h"
#include "say.h"

enum { NAME_COLUMNS = 32, COLUMNS = 112 };

// Breaks lines between words; the cursor is at column `indent`.
static void print_wrapped(const char *text, int indent, FILE *out) {
    int column = indent;
    for (const char *at = text; *at;) {
        int n = (int)strcspn(at, " ");
        if (column > indent && column + 1 + n > COLUMNS) {
            say_to(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            column += say_to(out, " ");
        }
        column += say_to(out, "%.*s", n, at);
        at += n;
        at += strspn(at, " ");
    }
    say_to(out, "\n");
}

static void add_range(StrBuf *s, const Key *k) {
    if (k->min == 0 && k->max == 0) return;
    bool above = k->min == ABOVE_0;
    str_printf(s, above ? " above %g" : " from %.10g", above ? 0 : k->min);
    if (k->max < 1e9) str_printf(s, above ? ", at most %.10g" : " to %.10g", k->max);
}

void key_describe(StrBuf *s, const Key *k, bool option) {
    char alias[64];
    const char *aliases = k->aliases, *separator = "; also ";
    str_printf(s, "%s (%s", k->help, key_forms[k->type].name);
    if (k->type == KEY_INT || k->type == KEY_FLOAT || k->type == KEY_INTS || k->type == KEY_FLOATS) add_range(s, k);
    const char *standard = k->standard ? k->standard : "[]";
    bool quoted = *standard == '"';
    if (!is_among(standard, strlen(standard), "[] {} \"\""))
        str_printf(s, "; default %.*s", (int)strlen(standard) - 2 * quoted, standard + quoted);
    for (; aliases && text_next_word(&aliases, alias, sizeof alias); separator = ", ")
        str_printf(s, "%s%s%s", separator, option && !alias[1] ? "-" : "", alias);
    str_puts(s, ")");
}

static void print_words(const EnumWord *words, FILE *out) {
    for (const EnumWord *w = words; w && w->word; w++) {
        int width = strlen(w->word) < 24 ? 24 : (int)strlen(w->word) + 1;
        int column = say_to(out, "%*s%-*s", NAME_COLUMNS + 2, "", w->help ? width : 0, w->word);
        if (w->help)
            print_wrapped(w->help, column, out);
        else
            say_to(out, "\n");
    }
}

void keys_print_help(const KeyTable *t, const char *prefix, FILE *out) {
    for (const Key *k = t->keys; k < t->keys + t->count; k++) {
        AUTO_STR StrBuf text = {0};
        if (k->section) say_to(out, "\n%s\n", k->section);
        int column = say_to(out, "  %s%s ", prefix, k->name);
        say_to(out, "%*s", column < NAME_COLUMNS ? NAME_COLUMNS - column : 0, "");
        key_describe(&text, k, *prefix);
        print_wrapped(text.data, NAME_COLUMNS, out);
        print_words(k->words, out);
    }
}
