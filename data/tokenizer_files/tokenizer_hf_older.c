// tokenizer_hf_older: the vocabulary files of before tokenizer.json, as the tokenizer.json that transformers makes of
// them: BERT's vocab.txt, and GPT-2's vocab.json and merges.txt. Other models with files of these names have other
// pre-tokenizers, so the class must be BERT's or GPT-2's.
#include <string.h>

#include "tokenizer_hf_internal.h"

// Without its end, also "\r\n"; false at the end of the text.
static bool next_line(JsonStr *line, JsonStr *rest) {
    if (!rest->len) return false;
    const char *end = memchr(rest->data, '\n', rest->len);
    line->data = rest->data;
    line->len = end ? (size_t)(end - rest->data) : rest->len;
    size_t used = line->len + (end != NULL);
    rest->data += used;
    rest->len -= used;
    if (line->len > 1 && line->data[line->len - 1] == '\r') line->len--;
    return true;
}

// ---- BERT ----

// The special tokens and their roles in tokenizer_config.json; the first three are required.
enum { UNKNOWN, SEPARATOR, CLASS, N_REQUIRED, PADDING = N_REQUIRED, MASK, N_SPECIAL };
static const struct {
    const char *role, *text;
} SPECIAL[N_SPECIAL] = {[UNKNOWN] = {"unk_token", "[UNK]"},
                        [SEPARATOR] = {"sep_token", "[SEP]"},
                        [CLASS] = {"cls_token", "[CLS]"},
                        [PADDING] = {"pad_token", "[PAD]"},
                        [MASK] = {"mask_token", "[MASK]"}};

static int check_bert_class(const Json *config, Err *err) {
    static const char *const known[] = {"BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer",
                                        "DistilBertTokenizerFast"};
    const Json *name = json_given(config, "tokenizer_class");
    if (!name) return 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (json_is_string(name, known[i])) return 0;
    return err_input(err,
                     "tokenizer_class: found %s; expected BertTokenizer or DistilBertTokenizer, or a tokenizer.json",
                     name->type == JSON_STRING ? name->str.data : json_type_name(name));
}

static JsonStr special_text(const Json *config, int which) {
    const Json *v = json_get(config, SPECIAL[which].role);
    if (v && v->type == JSON_OBJECT) v = json_get(v, "content");
    return v && v->type == JSON_STRING ? v->str : (JsonStr){SPECIAL[which].text, strlen(SPECIAL[which].text)};
}

// The number of the line that is the token; -1: none is.
static long line_of(JsonStr vocab, JsonStr token) {
    JsonStr line;
    for (long n = 0; next_line(&line, &vocab); n++)
        if (json_str_equal(line, token)) return n;
    return -1;
}

static int put_special(StrBuf *out, JsonStr vocab, const Json *config, Err *err) {
    for (int i = 0; i < N_SPECIAL; i++) {
        JsonStr text = special_text(config, i);
        long id = line_of(vocab, text);
        if (id < 0 && i < N_REQUIRED)
            return err_input(err, "%s \"%.*s\" is not a line of it", SPECIAL[i].role, (int)text.len, text.data);
        if (id < 0) continue;
        str_printf(out, "%s{\"id\":%ld,\"special\":true,\"content\":", i ? "," : "", id);
        json_quote(out, text.data, text.len);
        str_puts(out, "}");
    }
    return 0;
}

static void put_pair(StrBuf *out, const char *key, JsonStr vocab, JsonStr token) {
    str_printf(out, ",\"%s\":[", key);
    json_quote(out, token.data, token.len);
    str_printf(out, ",%ld]", line_of(vocab, token));
}

int tokenizer_vocab_txt_json(StrBuf *out, JsonStr vocab, const Json *config, const NamedTokens *named, Err *err) {
    if (check_bert_class(config, err)) return -1;
    if (utf8_valid_prefix(vocab.data, vocab.len) != vocab.len)
        return err_input(err, "found a token that is not valid UTF-8; expected text");
    str_puts(out, "{\"added_tokens\":[");
    if (put_special(out, vocab, config, err)) return -1;
    for (size_t i = 0; i < named->n_added; i++) // adding it would give another tokenizer
        if (line_of(vocab, named->added[i].content) < 0)
            return err_input(err, "token \"%.64s\" of %s is not a line of it; expected a tokenizer.json that has it",
                             named->added[i].content.data, named->added[i].file);
    str_puts(out, "],\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
                  "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\"},"
                  "\"post_processor\":{\"type\":\"BertProcessing\"");
    put_pair(out, "cls", vocab, special_text(config, CLASS));
    put_pair(out, "sep", vocab, special_text(config, SEPARATOR));
    str_puts(out, "},\"model\":{\"type\":\"WordPiece\",\"continuing_subword_prefix\":\"##\",\"unk_token\":");
    json_quote(out, special_text(config, UNKNOWN).data, special_text(config, UNKNOWN).len);
    str_puts(out, ",\"vocab\":{");
    JsonStr line;
    for (long n = 0; next_line(&line, &vocab); n++) {
        str_puts(out, n ? ",\n" : ""); // a line each, so that messages of the JSON reader name the line of vocab.txt
        json_quote(out, line.data, line.len);
        str_printf(out, ":%ld", n);
    }
    str_puts(out, "}}}");
    return 0;
}

// ---- GPT-2 ----

int tokenizer_gpt2_check(const Json *tokenizer_config, const Json *model_config, Err *err) {
    const Json *class = json_given(tokenizer_config, "tokenizer_class"), *type = json_get(model_config, "model_type");
    if (json_is_string(class, "GPT2Tokenizer") || json_is_string(class, "GPT2TokenizerFast")) return 0;
    if (!class && json_is_string(type, "gpt2")) return 0;
    return err_input(err,
                     "found vocab.json and merges.txt of another model than GPT-2, but no tokenizer.json; expected the "
                     "latter (AutoTokenizer.from_pretrained(...).save_pretrained(...) writes it)");
}

int tokenizer_gpt2_json(StrBuf *out, const Json *vocab, JsonStr vocab_text, JsonStr merges, Err *err) {
    static const char end[] = "<|endoftext|>";
    const Json *id = json_get(vocab, end);
    if (utf8_valid_prefix(merges.data, merges.len) != merges.len)
        return err_input(err, "merges.txt is not valid UTF-8; expected lines \"left right\"");
    if (!id || id->type != JSON_INT) return err_input(err, "vocab.json has no token %s; expected GPT-2's", end);
    str_printf(out, "{\"added_tokens\":[{\"id\":%s,\"content\":\"%s\",\"special\":true}],", id->str.data, end);
    str_puts(out, "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
                  "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":");
    str_add(out, vocab_text.data, vocab_text.len);
    str_puts(out, ",\"merges\":[");
    const char *comma = "";
    JsonStr line;
    for (bool first = true; next_line(&line, &merges); first = false) {
        if (!line.len || (first && line.len > 8 && memcmp(line.data, "#version", 8) == 0)) continue;
        str_puts(out, comma);
        json_quote(out, line.data, line.len);
        comma = ",";
    }
    str_puts(out, "]}}");
    return 0;
}
