// bert_text: see bert_text.h. Categories are utf8proc's; the tables say where Hugging Face tokenizers has older ones.
#include "bert_text.h"

#include <utf8proc.h>

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

static void put(MappedText *out, int32_t c, const TextView *in, size_t at, size_t len) {
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char(c, bytes);
    mapped_text_add(out, (const char *)bytes, (size_t)n, in, at, len);
}

void bert_clean(const TextView *in, bool clean_text, bool ideographs, MappedText *out) {
    for (size_t at = 0, len; at < in->len; at += len) {
        int32_t c = utf8_decode(in->text + at, in->len - at, &len);
        if (clean_text && is_dropped(c)) continue;
        if (clean_text && unicode_is_space(c)) c = ' ';
        bool apart = ideographs && IN(c, IDEOGRAPHS);
        if (apart) mapped_text_add(out, " ", 1, in, at, len);
        put(out, c, in, at, len);
        if (apart) mapped_text_add(out, " ", 1, in, at + len - 1, 1);
    }
}

void bert_drop_marks(const TextView *in, MappedText *out) {
    for (size_t at = 0, len; at < in->len; at += len) {
        int32_t c = utf8_decode(in->text + at, in->len - at, &len);
        if (!is_nonspacing_mark(c)) mapped_text_add(out, in->text + at, len, in, at, len);
    }
}
