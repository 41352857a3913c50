// inspect_audit: what an audit has found, as lines of `lorac inspect`.
#include "inspect.h"

#include "say.h"

void inspect_print_refused(const AuditCounts *c) {
    const AuditFindings *f = &c->refused;
    for (size_t i = 1; i < f->shown; i++) say("            %s\n", f->places[i]);
    if (f->count > (int64_t)f->shown) say("            and %ld more\n", f->count - (int64_t)f->shown);
}

static void print_line(const char *title, const AuditFindings *f, const char *what) {
    say("  %-9s %ld %s: ", title, f->count, what);
    for (size_t i = 0; i < f->shown; i++) say("%s%s", i ? ", " : "", f->places[i]);
    say("%s\n", f->count > (int64_t)f->shown ? ", ..." : "");
}

// One record or several.
static void print_records(const char *title, const AuditFindings *f, bool validation, const char *one,
                          const char *several) {
    AUTO_FREE char *what = mem_printf("%srecord%s", validation ? "validation " : "", f->count == 1 ? one : several);
    if (f->count) print_line(title, f, what);
}

static void print_secrets(const AuditCounts *c, SecretKind k) {
    const AuditFindings *f = &c->secrets[k];
    const EnumWord *w = &ENUM_WORDS(SECRETS)[k];
    AUTO_FREE char *what = mem_printf("%s%s in %ld record%s", w->help,
                                      f->count == 1       ? ""
                                      : k == SECRET_EMAIL ? "es"
                                                          : "s",
                                      f->records, plural(f->records));
    if (f->count) print_line(w->word, f, what);
}

static void print_duplicates(const Audit *a, AuditPart part) {
    const AuditCounts *c = audit_counts(a, part);
    bool v = part == AUDIT_VALIDATION;
    print_records("repeated", &c->exact, v, " repeats an earlier one", "s repeat an earlier one");
    print_records("similar", &c->near, v, " is similar to an earlier one (at least 0.8)",
                  "s are similar to an earlier one (at least 0.8)");
    print_records("leaked", &c->leaked, v, " is in the training data", "s are in the training data");
    print_records("leaked", &c->leaked_near, v, " is similar to one of the training data (at least 0.8)",
                  "s are similar to one of the training data (at least 0.8)");
}

static void add_name(StrBuf *names, const AuditFindings *f, const char *name) {
    if (!f->count) str_printf(names, "%s%s", names->len ? ", " : "", name);
}

void inspect_print_findings(const Audit *a, AuditPart part, bool splits) {
    const AuditCounts *c = audit_counts(a, part), *v = audit_counts(a, AUDIT_VALIDATION);
    AUTO_STR StrBuf absent = {0};
    print_duplicates(a, part);
    if (splits) print_duplicates(a, AUDIT_VALIDATION);
    if (c->empty.count) print_line("empty", &c->empty, c->empty.count == 1 ? "answer or text" : "answers or texts");
    for (int k = 0; k < SECRET_KINDS; k++) print_secrets(c, (SecretKind)k);
    add_name(&absent, &c->exact, "repeated records");
    add_name(&absent, &c->near, "similar records");
    if ((splits || part == AUDIT_VALIDATION) && !v->leaked.count)
        add_name(&absent, &v->leaked_near, "validation records in the training data");
    add_name(&absent, &c->empty, "empty answers");
    add_name(&absent, &c->secrets[SECRET_EMAIL], "e-mail addresses");
    add_name(&absent, &c->secrets[SECRET_KEY], "keys");
    add_name(&absent, &c->secrets[SECRET_PHONE], "phone numbers");
    if (absent.len) say("  not found %s\n", absent.data);
}

void inspect_print_scripts(const ScriptCounts *c, const char *of) {
    AUTO_STR StrBuf shares = {0};
    script_counts_show(&shares, c);
    if (shares.len) say("  scripts   %s of the %s\n", shares.data, of);
}
