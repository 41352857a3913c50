// file_rule_explain: messages about a record whose keys have other names in the file.
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "dialog.h"
#include "file_rule.h"

// The column among [from, to) whose name the n bytes at `text` are; `to`: none that the file names otherwise.
static RecordKey column_at(const FileRule *r, const char *text, size_t n, RecordKey from, RecordKey to) {
    RecordKey c = from;
    while (c < to && !(r->columns[c] && strlen(column_name(c)) == n && memcmp(column_name(c), text, n) == 0)) c++;
    return c;
}

// The place that begins a message, "completion" or "messages[1].content", with the names of the file. False: there is
// none.
static bool put_place(StrBuf *out, const FileRule *r, const char **message) {
    const char *p = *message;
    size_t n = strcspn(p, ":[. ");
    RecordKey c = column_at(r, p, n, 0, COLUMN_ROLE);
    bool turns = p[n] == '[', renamed = c < COLUMN_ROLE;
    if (p[n] != ':' && p[n] != '[' && p[n] != '.') return false;
    str_printf(out, "%.*s", renamed ? 0 : (int)n, p);
    if (renamed) str_puts(out, r->columns[c]);
    p += n;
    n = turns ? strcspn(p, ".: ") : 0;
    str_add(out, p, n);
    p += n;
    if (turns && *p == '.') {
        n = strcspn(++p, ":[. ");
        c = column_at(r, p, n, COLUMN_ROLE, RECORD_KEYS);
        renamed |= c < RECORD_KEYS;
        str_puts(out, ".");
        if (c < RECORD_KEYS)
            str_puts(out, r->columns[c]);
        else
            str_add(out, p, n);
        p += n;
    }
    *message = p;
    return renamed;
}

// "... {antwort, prompt} ..." to the keys of the file, and how the rule reads them.
static bool put_keys(StrBuf *out, const Json *root, const FileRule *r, const char **message) {
    const char *open = strstr(*message, "with the keys {"), *close = open ? strchr(open, '}') : NULL;
    const char *comma = "; columns: ";
    if (!close || root->type != JSON_OBJECT) return false;
    str_add(out, *message, (size_t)(strchr(open, '{') + 1 - *message));
    dialog_list_keys(out, root);
    str_puts(out, "}");
    for (RecordKey c = 0; c < RECORD_KEYS; c++) {
        if (!r->columns[c]) continue;
        str_printf(out, "%s%s is %.64s", comma, column_name(c), r->columns[c]);
        comma = ", ";
    }
    *message = close + 1;
    return true;
}

int file_rule_explain(const Json *root, const FileRule *r, Err *err) {
    AUTO_STR StrBuf out = {0};
    if (!r || !err || !file_rule_has_columns(r)) return -1;
    const char *p = err->msg;
    size_t number = strncmp(p, "record ", 7) == 0 ? 7 : 0;
    while (number && isdigit((unsigned char)p[number])) number++;
    if (number && strncmp(p + number, ": ", 2) == 0) p += number + 2;
    str_add(&out, err->msg, (size_t)(p - err->msg));
    size_t begin = out.len;
    if (!put_place(&out, r, &p)) {
        out.len = begin;
        p = err->msg + begin;
        if (!put_keys(&out, root, r, &p)) return -1;
    }
    str_puts(&out, p);
    snprintf(err->msg, sizeof err->msg, "%s", out.data);
    return -1;
}
