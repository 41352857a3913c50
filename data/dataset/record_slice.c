#include "record_slice.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// "-?digits%?" at *p, which moves past it.
static int parse_bound(const char **p, int64_t *n, bool *given, bool *percent) {
    const char *digits = *p + (**p == '-');
    size_t len = strspn(digits, "0123456789");
    *given = len > 0;
    if (!len) return digits == *p ? 0 : -1;
    if (len > 15) return -1;
    *n = strtol(*p, NULL, 10);
    *p = digits + len;
    if (**p == '%') {
        ++*p;
        *percent = true;
    }
    return 0;
}

int record_slice_parse(RecordSlice *s, const char *split, size_t *name_len) {
    bool percents[2] = {0};
    *s = (RecordSlice){0};
    const char *p = split;
    while (isalnum((unsigned char)*p) || *p == '_' || *p == '-' || *p == '.') p++;
    *name_len = (size_t)(p - split);
    if (!*name_len || (*p && *p != '[')) return -1;
    if (!*p) return 0;
    p++;
    if (parse_bound(&p, &s->from, &s->has_from, &percents[0]) || *p++ != ':' ||
        parse_bound(&p, &s->to, &s->has_to, &percents[1]) || strcmp(p, "]") != 0)
        return -1;
    s->percent = percents[0] || percents[1];
    if (s->percent && ((s->has_from && !percents[0]) || (s->has_to && !percents[1]))) return -1;
    return s->percent && (llabs(s->from) > 100 || llabs(s->to) > 100) ? -1 : 0;
}

static int64_t bound(const RecordSlice *s, int64_t at, int64_t n) {
    if (s->percent) at = (int64_t)rint((double)at * (double)n / 100.0);
    if (at < 0) at = n + at > 0 ? n + at : 0;
    return at < n ? at : n;
}

void record_slice_bounds(const RecordSlice *s, int64_t n, int64_t *from, int64_t *to) {
    *from = s->has_from ? bound(s, s->from, n) : 0;
    *to = s->has_to ? bound(s, s->to, n) : n;
}
