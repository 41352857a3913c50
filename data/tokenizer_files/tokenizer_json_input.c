// tokenizer_json_input: the components of tokenizer.json that prepare text for the model: normalizer, pre_tokenizer.
#include <string.h>

#include "tokenizer_hf_internal.h"

#define GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

// ---- normalizer ----

static int read_replace(JsonTokenizer *t, const JsonReader *r, int variant) {
    NormalizeStep s = {.kind = NORMALIZE_REPLACE};
    JsonStr pattern, content;
    bool literal;
    if (component_keys(r, "pattern content") || component_pattern(&pattern, &literal, r) ||
        component_content(&content, r))
        return -1;
    s.text = content;
    if (literal)
        s.from = pattern;
    else if (regex_new(&s.pattern, pattern.data, pattern.len, t->err))
        return -1;
    normalizer_add(t->out->normalizer, &s);
    return 0;
}

static int read_prepend(JsonTokenizer *t, const JsonReader *r, int variant) {
    NormalizeStep s = {.kind = NORMALIZE_PREPEND};
    if (component_keys(r, "prepend") || json_read_text(r, "prepend", &s.text)) return -1;
    normalizer_add(t->out->normalizer, &s);
    return 0;
}

static int read_strip(JsonTokenizer *t, const JsonReader *r, int variant) {
    NormalizeStep s = {.kind = NORMALIZE_STRIP};
    if (component_keys(r, "strip_left strip_right") || json_read_flag(r, "strip_left", true, &s.left) ||
        json_read_flag(r, "strip_right", true, &s.right))
        return -1;
    normalizer_add(t->out->normalizer, &s);
    return 0;
}

static int read_bert(JsonTokenizer *t, const JsonReader *r, int variant) {
    BertNormalizer b;
    const JsonReader config = {t->named->bert, NULL, "tokenizer_config.json: ", t->err};
    if (component_keys(r, "clean_text handle_chinese_chars strip_accents lowercase") ||
        json_read_flag(r, "clean_text", true, &b.clean_text) ||
        json_read_flag(r, "handle_chinese_chars", true, &b.handle_chinese_chars) ||
        json_read_flag(r, "lowercase", true, &b.lowercase) ||
        json_read_flag(&config, "do_lower_case", b.lowercase, &b.lowercase) ||
        json_read_flag(r, "strip_accents", b.lowercase, &b.strip_accents) ||
        json_read_flag(&config, "strip_accents", b.strip_accents, &b.strip_accents) ||
        json_read_flag(&config, "tokenize_chinese_chars", b.handle_chinese_chars, &b.handle_chinese_chars))
        return -1;
    normalizer_add_bert(t->out->normalizer, &b);
    return 0;
}

static int read_form(JsonTokenizer *t, const JsonReader *r, int form) {
    if (component_keys(r, "")) return -1;
    normalizer_add(t->out->normalizer, &(NormalizeStep){.kind = NORMALIZE_FORM, .form = (NormalForm)form});
    return 0;
}

static int read_lowercase(JsonTokenizer *t, const JsonReader *r, int variant) {
    if (component_keys(r, "")) return -1;
    normalizer_add(t->out->normalizer, &(NormalizeStep){.kind = NORMALIZE_LOWERCASE});
    return 0;
}

static int read_precompiled(JsonTokenizer *t, const JsonReader *r, int variant) {
    NormalizeStep s = {.kind = NORMALIZE_CHARSMAP};
    JsonStr base64;
    if (component_keys(r, "precompiled_charsmap") || json_read_text(r, "precompiled_charsmap", &base64)) return -1;
    if (charsmap_new(&s.charsmap, base64, t->err)) return err_context(t->err, "precompiled_charsmap");
    normalizer_add(t->out->normalizer, &s);
    return 0;
}

int tokenizer_json_normalizer(JsonTokenizer *t, const Json *v) {
    static const ComponentType types[] = {{"BertNormalizer", .read = read_bert},
                                          {"Lowercase", .read = read_lowercase},
                                          {"NFC", .read = read_form, .variant = NORMAL_NFC},
                                          {"NFD", .read = read_form, .variant = NORMAL_NFD},
                                          {"NFKC", .read = read_form, .variant = NORMAL_NFKC},
                                          {"NFKD", .read = read_form, .variant = NORMAL_NFKD},
                                          {"Precompiled", .read = read_precompiled},
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

static int read_split(JsonTokenizer *t, const JsonReader *r, int variant) {
    JsonStr pattern, name;
    CutBehavior behavior;
    bool literal, invert;
    if (component_keys(r, "pattern behavior invert") || component_pattern(&pattern, &literal, r) ||
        json_read_text(r, "behavior", &name) || cut_behavior(&behavior, name, t->err) ||
        json_read_flag(r, "invert", false, &invert))
        return -1;
    AUTO_STR StrBuf escaped = {0};
    if (literal) {
        escape_literal(&escaped, pattern);
        pattern = (JsonStr){escaped.data, escaped.len};
    }
    Regex *regex;
    if (regex_new(&regex, pattern.data, pattern.len, t->err)) return -1;
    pretokenizer_add_split(t->out->pre, regex, behavior, invert);
    return 0;
}

static int read_byte_level(JsonTokenizer *t, const JsonReader *r, int variant) {
    bool prefix, trim, regex;
    if (component_keys(r, "add_prefix_space trim_offsets use_regex") ||
        json_read_flag(r, "add_prefix_space", true, &prefix) || json_read_flag(r, "trim_offsets", true, &trim) ||
        json_read_flag(r, "use_regex", true, &regex))
        return -1;
    if (prefix) pretokenizer_add_prefix_space(t->out->pre);
    t->byte_level = true;
    return regex ? pretokenizer_add_pattern(t->out->pre, GPT2_PATTERN, CUT_ISOLATED, false, t->err) : 0;
}

// One character, as UTF-8.
static int read_replacement(JsonStr *out, const JsonReader *r) {
    if (json_read_text(r, "replacement", out)) return -1;
    if (out->len == 0 || (size_t)utf8_char_len((uint8_t)out->data[0]) != out->len || out->data[0] == 0)
        return err_input(r->err, "replacement: found \"%.64s\"; expected one character", out->data);
    return 0;
}

static int read_scheme(PrependScheme *scheme, const JsonReader *r) {
    static const char *const names[] = {"never", "first", "always"}; // as in PrependScheme
    bool always;
    if (!json_given(r->object, "prepend_scheme")) { // before 2024
        if (json_read_flag(r, "add_prefix_space", true, &always)) return -1;
        *scheme = always ? PREPEND_ALWAYS : PREPEND_NEVER;
        return 0;
    }
    JsonStr name;
    if (json_read_text(r, "prepend_scheme", &name)) return -1;
    for (int i = 0; i < 3; i++) {
        *scheme = (PrependScheme)i;
        if (json_str_is(name, names[i])) return 0;
    }
    return err_input(r->err, "prepend_scheme: found \"%.64s\"; expected first, always or never", name.data);
}

static int read_metaspace(JsonTokenizer *t, const JsonReader *r, int variant) {
    JsonStr replacement;
    PrependScheme scheme;
    bool split;
    if (component_keys(r, "replacement str_rep add_prefix_space prepend_scheme split") ||
        read_replacement(&replacement, r) || read_scheme(&scheme, r) || json_read_flag(r, "split", true, &split))
        return -1;
    pretokenizer_add_metaspace(t->out->pre, replacement.data, scheme, split);
    return 0;
}

static int read_digits(JsonTokenizer *t, const JsonReader *r, int variant) {
    bool single;
    if (component_keys(r, "individual_digits") || json_read_flag(r, "individual_digits", false, &single)) return -1;
    return pretokenizer_add_pattern(t->out->pre, "\\p{is_numeric}", single ? CUT_ISOLATED : CUT_CONTIGUOUS, false,
                                    t->err);
}

static int read_punctuation(JsonTokenizer *t, const JsonReader *r, int variant) {
    CutBehavior behavior = CUT_ISOLATED;
    JsonStr name;
    if (component_keys(r, "behavior")) return -1;
    if (json_given(r->object, "behavior") &&
        (json_read_text(r, "behavior", &name) || cut_behavior(&behavior, name, t->err)))
        return -1;
    return pretokenizer_add_pattern(t->out->pre, "\\p{is_punctuation}", behavior, false, t->err);
}

static int read_whitespace(JsonTokenizer *t, const JsonReader *r, int is_split) {
    if (component_keys(r, "")) return -1;
    const char *pattern = is_split ? "\\s" : "[\\p{is_word}]+|[^\\p{is_word}\\s]+";
    return pretokenizer_add_pattern(t->out->pre, pattern, CUT_REMOVED, !is_split, t->err);
}

static int read_bert_words(JsonTokenizer *t, const JsonReader *r, int variant) {
    return component_keys(r, "") ? -1 : pretokenizer_add_bert(t->out->pre, t->err);
}

static bool has_byte_level(const JsonTokenizer *t) { return t->byte_level; }

int tokenizer_json_pre_tokenizer(JsonTokenizer *t, const Json *v) {
    static const ComponentType types[] = {{"BertPreTokenizer", .read = read_bert_words},
                                          {"ByteLevel", .read = read_byte_level},
                                          {"Digits", .read = read_digits},
                                          {"Metaspace", .read = read_metaspace},
                                          {"Punctuation", .read = read_punctuation},
                                          {"Split", .read = read_split},
                                          {"Whitespace", .read = read_whitespace},
                                          {"WhitespaceSplit", .read = read_whitespace, .variant = true},
                                          {"Sequence", .list = "pretokenizers"}};
    return component_read(t, v,
                          &(ComponentKind){"pre_tokenizer", types, sizeof types / sizeof *types, has_byte_level,
                                           "follows ByteLevel; expected ByteLevel last"});
}
