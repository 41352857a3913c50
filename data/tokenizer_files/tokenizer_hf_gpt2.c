// tokenizer_hf_gpt2: vocab.json and merges.txt, GPT-2's own files, as the tokenizer.json that transformers makes of
// them. Other models with such files have other pre-tokenizers, so the class must be GPT-2's.
#include <string.h>

#include "tokenizer_hf_internal.h"

int tokenizer_gpt2_check(const Json *tokenizer_config, const Json *model_config, Err *err) {
    const Json *class = json_given(tokenizer_config, "tokenizer_class"), *type = json_get(model_config, "model_type");
    if (json_is_string(class, "GPT2Tokenizer") || json_is_string(class, "GPT2TokenizerFast")) return 0;
    if (!class && json_is_string(type, "gpt2")) return 0;
    return err_input(err,
                     "found vocab.json and merges.txt of another model than GPT-2, but no tokenizer.json; expected the "
                     "latter (AutoTokenizer.from_pretrained(...).save_pretrained(...) writes it)");
}

// The lines of merges.txt as a list of strings, without its first one ("#version: 0.2").
static void add_merges(StrBuf *out, const char *text, size_t len) {
    const char *end = text + len, *comma = "";
    for (const char *line = text, *next; line < end; line = next) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        next = stop ? stop + 1 : end;
        if (!stop) stop = end;
        if (stop > line && stop[-1] == '\r') stop--;
        if (stop == line || (line == text && stop - line > 8 && memcmp(line, "#version", 8) == 0)) continue;
        str_puts(out, comma);
        json_quote(out, line, (size_t)(stop - line));
        comma = ",";
    }
}

int tokenizer_gpt2_json(StrBuf *out, const Json *vocab, const char *vocab_text, size_t vocab_len, const char *merges,
                        size_t merges_len, Err *err) {
    static const char end[] = "<|endoftext|>";
    const Json *id = json_get(vocab, end);
    if (utf8_valid_prefix(merges, merges_len) != merges_len)
        return err_input(err, "merges.txt is not valid UTF-8; expected lines \"left right\"");
    if (!id || id->type != JSON_INT) return err_input(err, "vocab.json has no token %s; expected GPT-2's", end);
    str_printf(out, "{\"added_tokens\":[{\"id\":%s,\"content\":\"%s\",\"special\":true}],", id->str.data, end);
    str_puts(out, "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},"
                  "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"vocab\":");
    str_add(out, vocab_text, vocab_len);
    str_puts(out, ",\"merges\":[");
    add_merges(out, merges, merges_len);
    str_puts(out, "]}}");
    return 0;
}
