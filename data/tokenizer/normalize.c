#include "normalize.h"

#include <string.h>
#include <utf8proc.h>

struct Normalizer {
    NormalizeStep *steps;
    size_t count, capacity;
};

Normalizer *normalizer_new(void) { return mem_calloc(1, sizeof(Normalizer)); }

void normalizer_add(Normalizer *n, const NormalizeStep *step) {
    MEM_GROW(n->steps, n->capacity, n->count + 1);
    NormalizeStep *s = &n->steps[n->count++];
    *s = *step;
    s->from.data = mem_strndup(s->from.data, s->from.len);
    s->text.data = mem_strndup(s->text.data, s->text.len);
}

void normalizer_add_bert(Normalizer *n, const BertNormalizer *bert) {
    normalizer_add(n, &(NormalizeStep){.kind = NORMALIZE_BERT_CLEAN,
                                       .clean_text = bert->clean_text,
                                       .ideographs = bert->handle_chinese_chars});
    if (bert->strip_accents) {
        normalizer_add(n, &(NormalizeStep){.kind = NORMALIZE_FORM, .form = NORMAL_NFD});
        normalizer_add(n, &(NormalizeStep){.kind = NORMALIZE_BERT_MARKS});
    }
    if (bert->lowercase) normalizer_add(n, &(NormalizeStep){.kind = NORMALIZE_LOWERCASE});
}

void normalizer_free(Normalizer *n) {
    if (!n) return;
    for (size_t i = 0; i < n->count; i++) {
        regex_free(n->steps[i].pattern);
        charsmap_free(n->steps[i].charsmap);
        mem_free((char *)n->steps[i].from.data);
        mem_free((char *)n->steps[i].text.data);
    }
    mem_free(n->steps);
    mem_free(n);
}

bool normalizer_is_empty(const Normalizer *n) { return n->count == 0; }

bool normalizer_is_form(const Normalizer *n, NormalForm form) {
    return n->count == 1 && n->steps[0].kind == NORMALIZE_FORM && n->steps[0].form == form;
}

void normalizer_hash(const Normalizer *n, Fingerprint *f) {
    fingerprint_number(f, (int64_t)n->count);
    for (size_t i = 0; i < n->count; i++) {
        const NormalizeStep *s = &n->steps[i];
        const char *pattern = s->pattern ? regex_pattern(s->pattern) : "";
        fingerprint_number(f, s->kind | s->form << 8 | s->left << 16 | s->right << 17 | s->clean_text << 18 |
                                  s->ideographs << 19);
        fingerprint_text(f, pattern, strlen(pattern));
        fingerprint_text(f, s->from.data, s->from.len);
        fingerprint_text(f, s->text.data, s->text.len);
        if (s->charsmap) fingerprint_text(f, charsmap_table(s->charsmap).data, charsmap_table(s->charsmap).len);
    }
}

void normalize_work_clear(NormalizeWork *w) {
    mapped_text_clear(&w->texts[0]);
    mapped_text_clear(&w->texts[1]);
    regex_walk_clear(&w->walk);
}

// ---- steps: false when the text stays as it is (or was refused), else *out holds the new one ----

static void keep(MappedText *out, const TextView *in, size_t from, size_t end) {
    mapped_text_add(out, in->text + from, end - from, in, from, end - from);
}

// Puts a text in place of in->text[at, at + len); false when the result grows too large.
static bool put_text(JsonStr text, NormalizeWork *w, const TextView *in, size_t at, size_t len, MappedText *out) {
    if (text.len > w->limit || out->text.len > w->limit - text.len) w->refused = TEXT_GROWS;
    if (!w->refused) mapped_text_add(out, text.data, text.len, in, at, len);
    return !w->refused;
}

static bool put(const NormalizeStep *s, NormalizeWork *w, const TextView *in, size_t at, size_t len, MappedText *out) {
    return put_text(s->text, w, in, at, len, out);
}

static bool prepend(const NormalizeStep *s, NormalizeWork *w, const TextView *in, MappedText *out) {
    if (in->len == 0 || !put(s, w, in, 0, 0, out)) return false;
    keep(out, in, 0, in->len);
    return true;
}

// The next match of the step's pattern or literal from `at` on.
static bool next_match(const NormalizeStep *s, NormalizeWork *w, const TextView *in, size_t at, size_t *begin,
                       size_t *end) {
    if (s->pattern) return regex_walk_next(&w->walk, begin, end);
    const char *hit = s->from.len ? memmem(in->text + at, in->len - at, s->from.data, s->from.len) : NULL;
    if (!hit) return false;
    *begin = (size_t)(hit - in->text);
    *end = *begin + s->from.len;
    return true;
}

static bool replace(const NormalizeStep *s, NormalizeWork *w, const TextView *in, MappedText *out) {
    size_t at = 0;
    bool changed = false;
    if (s->pattern) regex_walk_begin(&w->walk, s->pattern, in->text, in->len);
    for (size_t begin, end; next_match(s, w, in, at, &begin, &end); at = end) {
        keep(out, in, at, begin);
        if (!put(s, w, in, begin, end - begin, out)) return false;
        changed = true;
    }
    if (s->pattern && w->walk.failed) w->refused = REGEX_FAILED;
    if (changed) keep(out, in, at, in->len);
    return changed;
}

// ---- a precompiled charsmap, as Hugging Face tokenizers applies it: a grapheme cluster of at most 5 bytes is replaced
// as a whole by what its beginning maps to; of others each character by itself ----

// Characters that extend a cluster and are newer than utf8proc's tables.
static bool extends_cluster(int32_t c) {
    static const int32_t newer[][2] = {{0x897, 0x897},     {0xCF3, 0xCF3},     {0xECE, 0xECE},
                                       {0x1ACF, 0x1ADD},   {0x1AE0, 0x1AEB},   {0x10EFC, 0x10EFF},
                                       {0x1611E, 0x1611E}, {0x1E4EF, 0x1E4EF}, {0x1E5EE, 0x1E5EE}};
    for (size_t i = 0; i < sizeof newer / sizeof *newer; i++)
        if (c >= newer[i][0] && c <= newer[i][1]) return true;
    return false;
}

static size_t cluster_end(const TextView *in, size_t at) {
    utf8proc_int32_t state = 0;
    size_t n;
    int32_t before = utf8_decode(in->text + at, in->len - at, &n);
    for (at += n; at < in->len; at += n) {
        int32_t c = utf8_decode(in->text + at, in->len - at, &n);
        bool ends = utf8proc_grapheme_break_stateful(before, c, &state);
        if (ends && !extends_cluster(c)) break;
        before = c;
    }
    return at;
}

// Replaces in->text[at, end) if the table has its beginning.
static bool map_part(const NormalizeStep *s, NormalizeWork *w, const TextView *in, size_t at, size_t end,
                     MappedText *out) {
    JsonStr text;
    bool broken = false, found = charsmap_find(s->charsmap, in->text + at, end - at, &text, &broken);
    if (broken) w->refused = "the tokenizer's precompiled_charsmap points outside itself";
    return found && put_text(text, w, in, at, end - at, out);
}

static bool map_characters(const NormalizeStep *s, NormalizeWork *w, const TextView *in, MappedText *out) {
    enum { WHOLE = 5 };
    bool changed = false;
    for (size_t at = 0, end, n; at < in->len && !w->refused; at = end) {
        end = cluster_end(in, at);
        if (end - at <= WHOLE && map_part(s, w, in, at, end, out)) {
            changed = true;
            continue;
        }
        for (size_t i = at; i < end && !w->refused; i += n) {
            utf8_decode(in->text + i, end - i, &n);
            if (map_part(s, w, in, i, i + n, out))
                changed = true;
            else
                keep(out, in, i, i + n);
        }
    }
    return changed;
}

static bool strip(const NormalizeStep *s, const TextView *in, MappedText *out) {
    size_t begin = 0, end = in->len, n;
    while (s->left && begin < end && unicode_is_space(utf8_decode(in->text + begin, end - begin, &n))) begin += n;
    while (s->right && end > begin) {
        size_t last = end - 1;
        while (last > begin && ((uint8_t)in->text[last] & 0xC0) == 0x80) last--;
        if (!unicode_is_space(utf8_decode(in->text + last, end - last, &n))) break;
        end = last;
    }
    if (end - begin == in->len) return false;
    keep(out, in, begin, end);
    return true;
}

// Lower case of what came after utf8proc's tables (Unicode 14 in 2.8), up to Unicode 17.
static int32_t newer_lowercase(int32_t c) {
    static const int32_t one_above[] = {0x1C89, 0xA7CC, 0xA7CE, 0xA7D2, 0xA7D4, 0xA7DA};
    for (size_t i = 0; i < sizeof one_above / sizeof *one_above; i++)
        if (c == one_above[i]) return c + 1;
    if (c == 0xA7CB) return 0x264;
    if (c == 0xA7DC) return 0x19B;
    if (c >= 0x10D50 && c <= 0x10D65) return c + 0x20;
    return c >= 0x16EA0 && c <= 0x16EB8 ? c + 0x1B : c;
}

// Of one character at a time, and so without the two forms of sigma; U+0130 is the only one that becomes two.
static bool lowercase(const TextView *in, MappedText *out) {
    bool changed = false;
    for (size_t at = 0, n; at < in->len; at += n) {
        int32_t c = utf8_decode(in->text + at, in->len - at, &n), lower = utf8proc_tolower(c);
        char text[8] = "i\xCC\x87";
        size_t len = 3;
        if (lower == c) lower = newer_lowercase(c);
        if (c != 0x130) len = (size_t)utf8proc_encode_char(lower, (utf8proc_uint8_t *)text);
        changed = changed || lower != c;
        mapped_text_add(out, text, len, in, at, n);
    }
    return changed;
}

// ---- what BERT's normalizer knows about characters, as Hugging Face tokenizers 0.23: old tables (about Unicode 8)
// ----

typedef struct Range {
    int32_t first, last;
} Range;

// Marks and format characters of utf8proc that are newer than the tables of Hugging Face tokenizers, where they are
// neither.
static const Range NEWER_MARKS[] = {{0x7FD, 0x7FD},     {0x898, 0x8E1},     {0x9FE, 0x9FE},     {0xAFA, 0xAFF},
                                    {0xB55, 0xB55},     {0xC04, 0xC3C},     {0xD00, 0xD00},     {0xD3B, 0xD3C},
                                    {0xD81, 0xD81},     {0xEBA, 0xEBA},     {0xECE, 0xECE},     {0x180F, 0x1886},
                                    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFB},   {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},
                                    {0xA8FF, 0xA8FF},   {0xA9BD, 0xA9BD},   {0x10D24, 0x10F85}, {0x11070, 0x11074},
                                    {0x110C2, 0x110C2}, {0x111C9, 0x111C9}, {0x111CF, 0x111CF}, {0x1123E, 0x11241},
                                    {0x1133B, 0x1133B}, {0x11438, 0x1145E}, {0x1182F, 0x13455}, {0x16F4F, 0x16F4F},
                                    {0x16FE4, 0x16FE4}, {0x1CF00, 0x1CF46}, {0x1E000, 0x1E4EF}, {0x1E944, 0x1E94A}};
static const Range NEWER_FORMATS[] = {{0x890, 0x8E2}, {0x110CD, 0x1343F}};
static const Range IDEOGRAPHS[] = {{0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xF900, 0xFAFF},  {0x20000, 0x2A6DF},
                                   {0x2A700, 0x2B81F}, {0x2B920, 0x2CEAF}, {0x2F800, 0x2FA1F}};
#define IN(c, ranges) in_ranges(c, ranges, sizeof(ranges) / sizeof(ranges)[0])

static bool in_ranges(int32_t c, const Range *ranges, size_t n) {
    for (size_t i = 0; i < n && ranges[i].first <= c; i++)
        if (c <= ranges[i].last) return true;
    return false;
}

static bool is_nonspacing_mark(int32_t c) {
    if (c < 0x300) return false;
    return c == 0x1734 || (utf8proc_category(c) == UTF8PROC_CATEGORY_MN && !IN(c, NEWER_MARKS));
}

static bool is_dropped(int32_t c) {
    if (c == 0 || c == 0xFFFD) return true;
    if (c == '\t' || c == '\n' || c == '\r') return false;
    utf8proc_category_t category = utf8proc_category(c);
    if (category == UTF8PROC_CATEGORY_CF) return !IN(c, NEWER_FORMATS);
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CO;
}

static void put_char(MappedText *out, int32_t c, const TextView *in, size_t at, size_t len) {
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char(c, bytes);
    mapped_text_add(out, (const char *)bytes, (size_t)n, in, at, len);
}

// clean_text: control characters are removed, white space becomes a space. ideographs: spaces around CJK ideographs.
static void bert_clean(const TextView *in, bool clean_text, bool ideographs, MappedText *out) {
    for (size_t at = 0, len; at < in->len; at += len) {
        int32_t c = utf8_decode(in->text + at, in->len - at, &len);
        if (clean_text && is_dropped(c)) continue;
        if (clean_text && unicode_is_space(c)) c = ' ';
        bool apart = ideographs && IN(c, IDEOGRAPHS);
        if (apart) mapped_text_add(out, " ", 1, in, at, len);
        put_char(out, c, in, at, len);
        if (apart) mapped_text_add(out, " ", 1, in, at + len - 1, 1);
    }
}

// "strip_accents" is this after NFD. (Hugging Face tokenizers leaves U+11938 whole; here it is decomposed as Unicode
// specifies.)
static void bert_drop_marks(const TextView *in, MappedText *out) {
    for (size_t at = 0, len; at < in->len; at += len) {
        int32_t c = utf8_decode(in->text + at, in->len - at, &len);
        if (!is_nonspacing_mark(c)) mapped_text_add(out, in->text + at, len, in, at, len);
    }
}

static bool run_step(const NormalizeStep *s, NormalizeWork *w, const TextView *in, MappedText *out, bool continues) {
    out->text.len = 0;
    switch (s->kind) {
    case NORMALIZE_FORM: return unicode_normalize(in, s->form, out);
    case NORMALIZE_LOWERCASE: return lowercase(in, out);
    case NORMALIZE_PREPEND: return !continues && prepend(s, w, in, out);
    case NORMALIZE_REPLACE: return replace(s, w, in, out);
    case NORMALIZE_CHARSMAP: return map_characters(s, w, in, out);
    case NORMALIZE_STRIP: return strip(s, in, out);
    case NORMALIZE_BERT_CLEAN: bert_clean(in, s->clean_text, s->ideographs, out); return true;
    case NORMALIZE_BERT_MARKS: bert_drop_marks(in, out); return out->text.len != in->len;
    }
    CHECK(false, "normalizer step %d", s->kind);
    return false;
}

void normalizer_run(const Normalizer *n, NormalizeWork *w, TextView *view, bool continues) {
    w->refused = NULL;
    for (size_t i = 0; i < n->count && !w->refused; i++) {
        MappedText *out = &w->texts[w->turn];
        if (!run_step(&n->steps[i], w, view, out, continues)) continue;
        *view = mapped_text_view(out);
        w->turn = !w->turn;
        if (view->len > w->limit) w->refused = TEXT_GROWS;
    }
}
