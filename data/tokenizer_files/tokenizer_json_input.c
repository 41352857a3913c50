// tokenizer_json_input: the components of tokenizer.json that prepare text for the model: normalizer, pre_tokenizer.
#include <string.h>

#include "tokenizer_hf_internal.h"

#define GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

// ---- normalizer ----

static int read_replace(JsonTokenizer *t, const Json *v) {
    NormalizeStep s = {.kind = NORMALIZE_REPLACE};
    JsonStr pattern, content;
    bool literal;
    if (component_keys(v, "pattern content", t->err) || component_pattern(&pattern, &literal, v, t->err) ||
        component_content(&content, v, t->err))
        return -1;
    s.text = content.data;
    s.text_len = content.len;
    if (literal) {
        s.from = pattern.data;
        s.from_len = pattern.len;
    } else if (regex_new(&s.pattern, pattern.data, pattern.len, t->err)) {
        return -1;
    }
    normalizer_add(t->parts->normalizer, &s);
    return 0;
}

static int read_prepend(JsonTokenizer *t, const Json *v) {
    JsonStr text;
    if (component_keys(v, "prepend", t->err) || component_text(&text, v, "prepend", t->err)) return -1;
    normalizer_add(t->parts->normalizer,
                   &(NormalizeStep){.kind = NORMALIZE_PREPEND, .text = text.data, .text_len = text.len});
    return 0;
}

static int read_strip(JsonTokenizer *t, const Json *v) {
    NormalizeStep s = {.kind = NORMALIZE_STRIP};
    if (component_keys(v, "strip_left strip_right", t->err) || component_flag(&s.left, v, "strip_left", true, t->err) ||
        component_flag(&s.right, v, "strip_right", true, t->err))
        return -1;
    normalizer_add(t->parts->normalizer, &s);
    return 0;
}

static int read_bert(JsonTokenizer *t, const Json *v) {
    BertNormalizer b;
    const Json *config = t->named->bert;
    if (component_keys(v, "clean_text handle_chinese_chars strip_accents lowercase", t->err) ||
        component_flag(&b.clean_text, v, "clean_text", true, t->err) ||
        component_flag(&b.handle_chinese_chars, v, "handle_chinese_chars", true, t->err) ||
        component_flag(&b.lowercase, v, "lowercase", true, t->err) ||
        component_flag(&b.lowercase, config, "do_lower_case", b.lowercase, t->err) ||
        component_flag(&b.strip_accents, v, "strip_accents", b.lowercase, t->err) ||
        component_flag(&b.strip_accents, config, "strip_accents", b.strip_accents, t->err) ||
        component_flag(&b.handle_chinese_chars, config, "tokenize_chinese_chars", b.handle_chinese_chars, t->err))
        return -1;
    normalizer_add_bert(t->parts->normalizer, &b);
    return 0;
}

static int read_form(JsonTokenizer *t, const Json *v, NormalizeStep step) {
    if (component_keys(v, "", t->err)) return -1;
    normalizer_add(t->parts->normalizer, &step);
    return 0;
}

static int read_nfc(JsonTokenizer *t, const Json *v) {
    return read_form(t, v, (NormalizeStep){.kind = NORMALIZE_FORM, .form = NORMAL_NFC});
}

static int read_nfd(JsonTokenizer *t, const Json *v) {
    return read_form(t, v, (NormalizeStep){.kind = NORMALIZE_FORM, .form = NORMAL_NFD});
}

static int read_lowercase(JsonTokenizer *t, const Json *v) {
    return read_form(t, v, (NormalizeStep){.kind = NORMALIZE_LOWERCASE});
}

int tokenizer_json_normalizer(JsonTokenizer *t, const Json *v) {
    static const ComponentType types[] = {{"BertNormalizer", .read = read_bert},
                                          {"Lowercase", .read = read_lowercase},
                                          {"NFC", .read = read_nfc},
                                          {"NFD", .read = read_nfd},
                                          {"Prepend", .read = read_prepend},
                                          {"Replace", .read = read_replace},
                                          {"Strip", .read = read_strip},
                                          {"Sequence", .list = "normalizers"}};
    return component_read(t, v, &(ComponentKind){"normalizer", types, sizeof types / sizeof *types, NULL, NULL});
}

// ---- pre_tokenizer ----

static int cut_behavior(CutBehavior *out, JsonStr name, Err *err) {
    static const char *const names[] = {"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    for (int i = 0; i < 5; i++) {
        *out = (CutBehavior)i;
        if (json_str_is(name, names[i])) return 0;
    }
    return err_input(err,
                     "behavior: found \"%.64s\"; expected Isolated, Removed, MergedWithPrevious, MergedWithNext or "
                     "Contiguous",
                     name.data);
}

// A literal as an expression.
static void escape_literal(StrBuf *out, JsonStr s) {
    for (size_t i = 0; i < s.len; i++) {
        if (strchr("\\^$.|?*+()[]{}-#&~", s.data[i])) str_puts(out, "\\");
        str_add(out, s.data + i, 1);
    }
}

static int add_pattern(JsonTokenizer *t, JsonStr pattern, bool literal, CutBehavior behavior, bool invert) {
    StrBuf escaped = {0};
    Regex *r;
    if (literal) {
        escape_literal(&escaped, pattern);
        pattern = (JsonStr){escaped.data, escaped.len};
    }
    int rc = regex_new(&r, pattern.data, pattern.len, t->err);
    if (!rc) pretokenizer_add_split(t->parts->pre, r, behavior, invert);
    str_clear(&escaped);
    return rc;
}

static int read_split(JsonTokenizer *t, const Json *v) {
    JsonStr pattern, name;
    CutBehavior behavior;
    bool literal, invert;
    if (component_keys(v, "pattern behavior invert", t->err) || component_pattern(&pattern, &literal, v, t->err) ||
        component_text(&name, v, "behavior", t->err) || cut_behavior(&behavior, name, t->err) ||
        component_flag(&invert, v, "invert", false, t->err))
        return -1;
    return add_pattern(t, pattern, literal, behavior, invert);
}

static int read_byte_level(JsonTokenizer *t, const Json *v) {
    bool prefix, trim, regex;
    if (component_keys(v, "add_prefix_space trim_offsets use_regex", t->err) ||
        component_flag(&prefix, v, "add_prefix_space", true, t->err) ||
        component_flag(&trim, v, "trim_offsets", true, t->err) || component_flag(&regex, v, "use_regex", true, t->err))
        return -1;
    if (prefix) pretokenizer_add_prefix_space(t->parts->pre);
    t->byte_level = true;
    return regex ? pretokenizer_add_pattern(t->parts->pre, GPT2_PATTERN, CUT_ISOLATED, false, t->err) : 0;
}

// One character, as UTF-8.
static int read_replacement(JsonStr *out, const Json *v, Err *err) {
    if (component_text(out, v, "replacement", err)) return -1;
    if (out->len == 0 || (size_t)utf8_char_len((uint8_t)out->data[0]) != out->len || out->data[0] == 0)
        return err_input(err, "replacement: found \"%.64s\"; expected one character", out->data);
    return 0;
}

static int read_scheme(PrependScheme *scheme, const Json *v, Err *err) {
    static const char *const names[] = {"never", "first", "always"}; // as in PrependScheme
    bool always;
    if (!json_given(v, "prepend_scheme")) { // before 2024
        if (component_flag(&always, v, "add_prefix_space", true, err)) return -1;
        *scheme = always ? PREPEND_ALWAYS : PREPEND_NEVER;
        return 0;
    }
    JsonStr name;
    if (component_text(&name, v, "prepend_scheme", err)) return -1;
    for (int i = 0; i < 3; i++) {
        *scheme = (PrependScheme)i;
        if (json_str_is(name, names[i])) return 0;
    }
    return err_input(err, "prepend_scheme: found \"%.64s\"; expected first, always or never", name.data);
}

static int read_metaspace(JsonTokenizer *t, const Json *v) {
    JsonStr replacement;
    PrependScheme scheme;
    bool split;
    if (component_keys(v, "replacement str_rep add_prefix_space prepend_scheme split", t->err) ||
        read_replacement(&replacement, v, t->err) || read_scheme(&scheme, v, t->err) ||
        component_flag(&split, v, "split", true, t->err))
        return -1;
    pretokenizer_add_metaspace(t->parts->pre, replacement.data, scheme, split);
    return 0;
}

static int read_digits(JsonTokenizer *t, const Json *v) {
    bool single;
    if (component_keys(v, "individual_digits", t->err) ||
        component_flag(&single, v, "individual_digits", false, t->err))
        return -1;
    return pretokenizer_add_pattern(t->parts->pre, "\\p{is_numeric}", single ? CUT_ISOLATED : CUT_CONTIGUOUS, false,
                                    t->err);
}

static int read_punctuation(JsonTokenizer *t, const Json *v) {
    CutBehavior behavior = CUT_ISOLATED;
    JsonStr name;
    if (component_keys(v, "behavior", t->err)) return -1;
    if (json_given(v, "behavior") &&
        (component_text(&name, v, "behavior", t->err) || cut_behavior(&behavior, name, t->err)))
        return -1;
    return pretokenizer_add_pattern(t->parts->pre, "\\p{is_punctuation}", behavior, false, t->err);
}

static int read_cut(JsonTokenizer *t, const Json *v, const char *pattern, bool invert) {
    if (component_keys(v, "", t->err)) return -1;
    return pretokenizer_add_pattern(t->parts->pre, pattern, CUT_REMOVED, invert, t->err);
}

static int read_whitespace(JsonTokenizer *t, const Json *v) {
    return read_cut(t, v, "[\\p{is_word}]+|[^\\p{is_word}\\s]+", true);
}

static int read_whitespace_split(JsonTokenizer *t, const Json *v) {
    return read_cut(t, v, "\\s", false);
}

static int read_bert_words(JsonTokenizer *t, const Json *v) {
    return component_keys(v, "", t->err) ? -1 : pretokenizer_add_bert(t->parts->pre, t->err);
}

static bool has_byte_level(const JsonTokenizer *t) {
    return t->byte_level;
}

int tokenizer_json_pre_tokenizer(JsonTokenizer *t, const Json *v) {
    static const ComponentType types[] = {{"BertPreTokenizer", .read = read_bert_words},
                                          {"ByteLevel", .read = read_byte_level},
                                          {"Digits", .read = read_digits},
                                          {"Metaspace", .read = read_metaspace},
                                          {"Punctuation", .read = read_punctuation},
                                          {"Split", .read = read_split},
                                          {"Whitespace", .read = read_whitespace},
                                          {"WhitespaceSplit", .read = read_whitespace_split},
                                          {"Sequence", .list = "pretokenizers"}};
    return component_read(t, v,
                          &(ComponentKind){"pre_tokenizer", types, sizeof types / sizeof *types, has_byte_level,
                                           "follows ByteLevel; expected ByteLevel last"});
}
