#include "answer_form.h"

#include <string.h>

#include "fileio.h"

enum { MAX_BYTES = 1 << 20 };

// A file's text, or the option itself where it is one.
static int read_text(char **text, size_t *size, const char *option, bool itself, Err *err) {
    if (!itself) return file_read(text, size, option, MAX_BYTES, err);
    *text = mem_strdup(option);
    *size = strlen(option);
    return 0;
}

static int compile(AnswerForm *f, ConstraintKind kind, const char *option, bool itself, Err *err) {
    AUTO_FREE char *text = NULL;
    size_t size;
    const char *source = itself ? f->name : option;
    if (read_text(&text, &size, option, itself, err)) return -1;
    if (constraint_new(&f->constraint, f->tokens, kind, (JsonStr){text, size}, err))
        return err_context(err, "%s%.200s", itself ? "--" : "", source);
    return 0;
}

int answer_form_open(AnswerForm *f, const FormOptions *o, const Tokenizer *t, Err *err) {
    int given = (o->json_schema != NULL) + (o->regex != NULL) + (o->grammar != NULL);
    if (given == 0) return 0;
    if (given > 1) return err_input(err, "expected one of --json_schema, --regex and --grammar");
    f->tokens = token_trie_new(t);
    if (o->json_schema) {
        f->name = "json_schema";
        return compile(f, CONSTRAINT_SCHEMA, o->json_schema, *o->json_schema == '{', err);
    }
    f->name = o->regex ? "regex" : "grammar";
    if (o->regex) return compile(f, CONSTRAINT_REGEX, o->regex, true, err);
    return compile(f, CONSTRAINT_GRAMMAR, o->grammar, strstr(o->grammar, "::=") != NULL, err);
}

void answer_form_note(const AnswerForm *f, const Generation *g) {
    if (!f->constraint || g->stopped || g->complete) return;
    log_warn("the answer is cut off after %ld token%s, before it fits --%s (--max_new_tokens)", g->count,
             plural(g->count), f->name);
}

void answer_form_close(AnswerForm *f) {
    constraint_free(f->constraint);
    token_trie_free(f->tokens);
    *f = (AnswerForm){0};
}
