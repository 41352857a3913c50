#include "scripts.h"

#include "unicode.h"

typedef struct ScriptRange {
    int32_t first, last;
    Script script;
} ScriptRange;

// Unicode 14, as PCRE2 10.42 has it (its \p{sc:Latin} and others; a test compares); code points that were not assigned
// then and lie inside a script's range count to it.
static const ScriptRange ranges[] = {
    {0x41, 0x5A, SCRIPT_LATIN},           {0x61, 0x7A, SCRIPT_LATIN},          {0xAA, 0xAA, SCRIPT_LATIN},
    {0xBA, 0xBA, SCRIPT_LATIN},           {0xC0, 0xD6, SCRIPT_LATIN},          {0xD8, 0xF6, SCRIPT_LATIN},
    {0xF8, 0x2B8, SCRIPT_LATIN},          {0x2E0, 0x2E4, SCRIPT_LATIN},        {0x2EA, 0x2EB, SCRIPT_BOPOMOFO},
    {0x370, 0x373, SCRIPT_GREEK},         {0x375, 0x37D, SCRIPT_GREEK},        {0x37F, 0x384, SCRIPT_GREEK},
    {0x386, 0x386, SCRIPT_GREEK},         {0x388, 0x3E1, SCRIPT_GREEK},        {0x3E2, 0x3EF, SCRIPT_OTHER},
    {0x3F0, 0x3FF, SCRIPT_GREEK},         {0x400, 0x484, SCRIPT_CYRILLIC},     {0x487, 0x52F, SCRIPT_CYRILLIC},
    {0x531, 0x58F, SCRIPT_ARMENIAN},      {0x591, 0x5F4, SCRIPT_HEBREW},       {0x600, 0x604, SCRIPT_ARABIC},
    {0x606, 0x60B, SCRIPT_ARABIC},        {0x60D, 0x61A, SCRIPT_ARABIC},       {0x61C, 0x61E, SCRIPT_ARABIC},
    {0x620, 0x63F, SCRIPT_ARABIC},        {0x641, 0x64A, SCRIPT_ARABIC},       {0x656, 0x66F, SCRIPT_ARABIC},
    {0x671, 0x6DC, SCRIPT_ARABIC},        {0x6DE, 0x6FF, SCRIPT_ARABIC},       {0x700, 0x74F, SCRIPT_OTHER},
    {0x750, 0x77F, SCRIPT_ARABIC},        {0x780, 0x86A, SCRIPT_OTHER},        {0x870, 0x8E1, SCRIPT_ARABIC},
    {0x8E3, 0x8FF, SCRIPT_ARABIC},        {0x900, 0x950, SCRIPT_DEVANAGARI},   {0x955, 0x963, SCRIPT_DEVANAGARI},
    {0x966, 0x97F, SCRIPT_DEVANAGARI},    {0x980, 0x9FE, SCRIPT_BENGALI},      {0xA01, 0xA76, SCRIPT_GURMUKHI},
    {0xA81, 0xAFF, SCRIPT_GUJARATI},      {0xB01, 0xB77, SCRIPT_ORIYA},        {0xB82, 0xBFA, SCRIPT_TAMIL},
    {0xC00, 0xC7F, SCRIPT_TELUGU},        {0xC80, 0xCF2, SCRIPT_KANNADA},      {0xD00, 0xD7F, SCRIPT_MALAYALAM},
    {0xD81, 0xDF4, SCRIPT_SINHALA},       {0xE01, 0xE3A, SCRIPT_THAI},         {0xE40, 0xE5B, SCRIPT_THAI},
    {0xE81, 0xEDF, SCRIPT_LAO},           {0xF00, 0xFD4, SCRIPT_TIBETAN},      {0xFD9, 0xFDA, SCRIPT_TIBETAN},
    {0x1000, 0x109F, SCRIPT_MYANMAR},     {0x10A0, 0x10FA, SCRIPT_GEORGIAN},   {0x10FC, 0x10FF, SCRIPT_GEORGIAN},
    {0x1100, 0x11FF, SCRIPT_HANGUL},      {0x1200, 0x1399, SCRIPT_ETHIOPIC},   {0x13A0, 0x16EA, SCRIPT_OTHER},
    {0x16EE, 0x1734, SCRIPT_OTHER},       {0x1740, 0x1773, SCRIPT_OTHER},      {0x1780, 0x17F9, SCRIPT_KHMER},
    {0x1800, 0x1801, SCRIPT_MONGOLIAN},   {0x1804, 0x1804, SCRIPT_MONGOLIAN},  {0x1806, 0x18AA, SCRIPT_MONGOLIAN},
    {0x18B0, 0x19DF, SCRIPT_OTHER},       {0x19E0, 0x19FF, SCRIPT_KHMER},      {0x1A00, 0x1AAD, SCRIPT_OTHER},
    {0x1B00, 0x1C7F, SCRIPT_OTHER},       {0x1C80, 0x1C88, SCRIPT_CYRILLIC},   {0x1C90, 0x1CBF, SCRIPT_GEORGIAN},
    {0x1CC0, 0x1CC7, SCRIPT_OTHER},       {0x1D00, 0x1D25, SCRIPT_LATIN},      {0x1D26, 0x1D2A, SCRIPT_GREEK},
    {0x1D2B, 0x1D2B, SCRIPT_CYRILLIC},    {0x1D2C, 0x1D5C, SCRIPT_LATIN},      {0x1D5D, 0x1D61, SCRIPT_GREEK},
    {0x1D62, 0x1D65, SCRIPT_LATIN},       {0x1D66, 0x1D6A, SCRIPT_GREEK},      {0x1D6B, 0x1D77, SCRIPT_LATIN},
    {0x1D78, 0x1D78, SCRIPT_CYRILLIC},    {0x1D79, 0x1DBE, SCRIPT_LATIN},      {0x1DBF, 0x1DBF, SCRIPT_GREEK},
    {0x1E00, 0x1EFF, SCRIPT_LATIN},       {0x1F00, 0x1FFE, SCRIPT_GREEK},      {0x2071, 0x2071, SCRIPT_LATIN},
    {0x207F, 0x207F, SCRIPT_LATIN},       {0x2090, 0x209C, SCRIPT_LATIN},      {0x2126, 0x2126, SCRIPT_GREEK},
    {0x212A, 0x212B, SCRIPT_LATIN},       {0x2132, 0x2132, SCRIPT_LATIN},      {0x214E, 0x214E, SCRIPT_LATIN},
    {0x2160, 0x2188, SCRIPT_LATIN},       {0x2800, 0x28FF, SCRIPT_OTHER},      {0x2C00, 0x2C5F, SCRIPT_OTHER},
    {0x2C60, 0x2C7F, SCRIPT_LATIN},       {0x2C80, 0x2CFF, SCRIPT_OTHER},      {0x2D00, 0x2D2D, SCRIPT_GEORGIAN},
    {0x2D30, 0x2D7F, SCRIPT_OTHER},       {0x2D80, 0x2DDE, SCRIPT_ETHIOPIC},   {0x2DE0, 0x2DFF, SCRIPT_CYRILLIC},
    {0x2E80, 0x2FD5, SCRIPT_HAN},         {0x3005, 0x3005, SCRIPT_HAN},        {0x3007, 0x3007, SCRIPT_HAN},
    {0x3021, 0x3029, SCRIPT_HAN},         {0x302E, 0x302F, SCRIPT_HANGUL},     {0x3038, 0x303B, SCRIPT_HAN},
    {0x3041, 0x3096, SCRIPT_HIRAGANA},    {0x309D, 0x309F, SCRIPT_HIRAGANA},   {0x30A1, 0x30FA, SCRIPT_KATAKANA},
    {0x30FD, 0x30FF, SCRIPT_KATAKANA},    {0x3105, 0x312F, SCRIPT_BOPOMOFO},   {0x3131, 0x318E, SCRIPT_HANGUL},
    {0x31A0, 0x31BF, SCRIPT_BOPOMOFO},    {0x31F0, 0x31FF, SCRIPT_KATAKANA},   {0x3200, 0x321E, SCRIPT_HANGUL},
    {0x3260, 0x327E, SCRIPT_HANGUL},      {0x32D0, 0x32FE, SCRIPT_KATAKANA},   {0x3300, 0x3357, SCRIPT_KATAKANA},
    {0x3400, 0x4DBF, SCRIPT_HAN},         {0x4E00, 0x9FFF, SCRIPT_HAN},        {0xA000, 0xA62B, SCRIPT_OTHER},
    {0xA640, 0xA69F, SCRIPT_CYRILLIC},    {0xA6A0, 0xA6F7, SCRIPT_OTHER},      {0xA722, 0xA787, SCRIPT_LATIN},
    {0xA78B, 0xA7FF, SCRIPT_LATIN},       {0xA800, 0xA82C, SCRIPT_OTHER},      {0xA840, 0xA8D9, SCRIPT_OTHER},
    {0xA8E0, 0xA8FF, SCRIPT_DEVANAGARI},  {0xA900, 0xA92D, SCRIPT_OTHER},      {0xA92F, 0xA95F, SCRIPT_OTHER},
    {0xA960, 0xA97C, SCRIPT_HANGUL},      {0xA980, 0xA9CD, SCRIPT_OTHER},      {0xA9D0, 0xA9DF, SCRIPT_OTHER},
    {0xA9E0, 0xA9FE, SCRIPT_MYANMAR},     {0xAA00, 0xAA5F, SCRIPT_OTHER},      {0xAA60, 0xAA7F, SCRIPT_MYANMAR},
    {0xAA80, 0xAAF6, SCRIPT_OTHER},       {0xAB01, 0xAB2E, SCRIPT_ETHIOPIC},   {0xAB30, 0xAB5A, SCRIPT_LATIN},
    {0xAB5C, 0xAB64, SCRIPT_LATIN},       {0xAB65, 0xAB65, SCRIPT_GREEK},      {0xAB66, 0xAB69, SCRIPT_LATIN},
    {0xAB70, 0xABF9, SCRIPT_OTHER},       {0xAC00, 0xD7FB, SCRIPT_HANGUL},     {0xF900, 0xFAD9, SCRIPT_HAN},
    {0xFB00, 0xFB06, SCRIPT_LATIN},       {0xFB13, 0xFB17, SCRIPT_ARMENIAN},   {0xFB1D, 0xFB4F, SCRIPT_HEBREW},
    {0xFB50, 0xFD3D, SCRIPT_ARABIC},      {0xFD40, 0xFDFF, SCRIPT_ARABIC},     {0xFE2E, 0xFE2F, SCRIPT_CYRILLIC},
    {0xFE70, 0xFEFC, SCRIPT_ARABIC},      {0xFF21, 0xFF3A, SCRIPT_LATIN},      {0xFF41, 0xFF5A, SCRIPT_LATIN},
    {0xFF66, 0xFF6F, SCRIPT_KATAKANA},    {0xFF71, 0xFF9D, SCRIPT_KATAKANA},   {0xFFA0, 0xFFDC, SCRIPT_HANGUL},
    {0x10000, 0x100FA, SCRIPT_OTHER},     {0x10140, 0x1018E, SCRIPT_GREEK},    {0x101A0, 0x101A0, SCRIPT_GREEK},
    {0x10280, 0x102D0, SCRIPT_OTHER},     {0x10300, 0x10767, SCRIPT_OTHER},    {0x10780, 0x107BA, SCRIPT_LATIN},
    {0x10800, 0x10D39, SCRIPT_OTHER},     {0x10E60, 0x10E7E, SCRIPT_ARABIC},   {0x10E80, 0x111DF, SCRIPT_OTHER},
    {0x111E1, 0x111F4, SCRIPT_SINHALA},   {0x11200, 0x11339, SCRIPT_OTHER},    {0x1133C, 0x11659, SCRIPT_OTHER},
    {0x11660, 0x1166C, SCRIPT_MONGOLIAN}, {0x11680, 0x11FB0, SCRIPT_OTHER},    {0x11FC0, 0x11FFF, SCRIPT_TAMIL},
    {0x12000, 0x16FE1, SCRIPT_OTHER},     {0x16FE2, 0x16FE3, SCRIPT_HAN},      {0x16FE4, 0x16FE4, SCRIPT_OTHER},
    {0x16FF0, 0x16FF1, SCRIPT_HAN},       {0x17000, 0x18D08, SCRIPT_OTHER},    {0x1AFF0, 0x1B000, SCRIPT_KATAKANA},
    {0x1B001, 0x1B11F, SCRIPT_HIRAGANA},  {0x1B120, 0x1B122, SCRIPT_KATAKANA}, {0x1B150, 0x1B152, SCRIPT_HIRAGANA},
    {0x1B164, 0x1B167, SCRIPT_KATAKANA},  {0x1B170, 0x1BC9F, SCRIPT_OTHER},    {0x1D200, 0x1D245, SCRIPT_GREEK},
    {0x1D800, 0x1DAAF, SCRIPT_OTHER},     {0x1DF00, 0x1DF1E, SCRIPT_LATIN},    {0x1E000, 0x1E2FF, SCRIPT_OTHER},
    {0x1E7E0, 0x1E7FE, SCRIPT_ETHIOPIC},  {0x1E800, 0x1E95F, SCRIPT_OTHER},    {0x1EE00, 0x1EEF1, SCRIPT_ARABIC},
    {0x1F200, 0x1F200, SCRIPT_HIRAGANA},  {0x20000, 0x3134A, SCRIPT_HAN},
};
enum { RANGES = sizeof ranges / sizeof *ranges, SCRIPT_PART = SCRIPT_COUNT + 1 }; // of a token: a part of a character

const char *script_name(Script s) { return ENUM_WORDS(SCRIPTS)[s].word; }

Script script_of(int32_t c) {
    if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? SCRIPT_LATIN : SCRIPT_NONE;
    size_t low = 0, high = RANGES; // the first range that does not end before c is in [low, high]
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < RANGES && ranges[low].first <= c ? ranges[low].script : SCRIPT_NONE;
}

bool script_is_unspaced(Script s) {
    return s == SCRIPT_HAN || s == SCRIPT_HIRAGANA || s == SCRIPT_KATAKANA || s == SCRIPT_THAI || s == SCRIPT_LAO ||
           s == SCRIPT_KHMER || s == SCRIPT_MYANMAR || s == SCRIPT_TIBETAN;
}

void script_counts_add(ScriptCounts *c, const char *text, size_t len) {
    for (size_t i = 0, n; i < len; i += n) {
        Script s;
        n = 1;
        if ((unsigned char)text[i] < 0x80)
            s = script_of(text[i]);
        else
            s = script_of(utf8_decode(text + i, len - i, &n));
        if (s != SCRIPT_NONE) c->n[s]++;
    }
}

void script_counts_join(ScriptCounts *c, const ScriptCounts *more) {
    for (int s = 0; s < SCRIPT_COUNT; s++) c->n[s] += more->n[s];
}

static Script largest(const ScriptCounts *c) {
    int best = 0;
    for (int s = 1; s < SCRIPT_COUNT; s++)
        if (c->n[s] > c->n[best]) best = s;
    return c->n[best] ? (Script)best : SCRIPT_NONE;
}

// ids: tokens of which the first ones are parts of characters. Counts those that make whole characters together;
// returns how many tokens these are.
static int64_t add_parts(ScriptCounts *c, const int32_t *ids, int64_t n, const uint8_t *script, const Tokenizer *t) {
    AUTO_STR StrBuf text = {0};
    for (int64_t k = 0; k < n && k < 16 && script[ids[k]] == SCRIPT_PART; k++) {
        size_t len;
        const char *piece = tokenizer_piece(t, ids[k], &len);
        str_add(&text, piece, len);
        size_t valid = utf8_valid_prefix(text.data, text.len);
        if (text.len - valid > 3) return 1; // no character has as many bytes left
        if (valid < text.len) continue;
        ScriptCounts of_text = {0};
        script_counts_add(&of_text, text.data, text.len);
        Script s = largest(&of_text);
        if (s != SCRIPT_NONE) c->n[s] += k + 1;
        return k + 1;
    }
    return 1;
}

void script_counts_add_tokens(ScriptCounts *c, const Dataset *d, const Tokenizer *t) {
    enum { RELEASED = 4096 }; // samples
    AUTO_FREE uint8_t *script = mem_alloc((size_t)t->vocab_size, 1);
    for (int32_t id = 0; id < t->vocab_size; id++) {
        ScriptCounts of_token = {0};
        size_t len;
        const char *piece = tokenizer_piece(t, id, &len);
        if (!tokenizer_is_control(t, id) && utf8_valid_prefix(piece, len) == len)
            script_counts_add(&of_token, piece, len);
        else if (!tokenizer_is_control(t, id)) {
            script[id] = SCRIPT_PART;
            continue;
        }
        script[id] = (uint8_t)largest(&of_token);
    }
    for (int64_t i = 0; i < d->count; i++) {
        Sample s = dataset_sample(d, i);
        for (int64_t k = 0, n; k < s.count; k += n) {
            uint8_t of_token = script[s.ids[k]];
            n = of_token == SCRIPT_PART ? add_parts(c, s.ids + k, s.count - k, script, t) : 1;
            if (of_token < SCRIPT_COUNT) c->n[of_token]++;
        }
        if (i % RELEASED == RELEASED - 1) dataset_release(d);
    }
    dataset_release(d);
}

void script_counts_show(StrBuf *out, const ScriptCounts *c) {
    ScriptCounts left = *c;
    int64_t sum = 0;
    for (int s = 0; s < SCRIPT_COUNT; s++) sum += c->n[s];
    for (Script s; (s = largest(&left)) != SCRIPT_NONE; left.n[s] = 0) {
        double percent = 100 * (double)c->n[s] / (double)sum;
        str_printf(out, "%s%s ", out->len ? ", " : "", script_name(s));
        if (percent < 0.05)
            str_puts(out, "< 0.1%");
        else
            str_printf(out, "%.1f%%", percent);
    }
}
