// token_stream: byte by byte through a UTF-8 state of at most 3 bytes.
#include "token_stream.h"

#include "unicode.h"

static void replace(StrBuf *out) {
    str_puts(out, "\xEF\xBF\xBD"); // U+FFFD
}

// Can `byte` follow the pending bytes of a character? The second byte has a narrower range after some lead bytes.
static bool continues(const TokenStream *s, uint8_t byte) {
    if (s->n_pending > 1) return byte >= 0x80 && byte <= 0xBF;
    uint8_t least = 0x80, most = 0xBF;
    switch (s->pending[0]) {
    case 0xE0:
        least = 0xA0;
        break; // no overlong forms
    case 0xED:
        most = 0x9F;
        break; // no surrogates
    case 0xF0:
        least = 0x90;
        break;
    case 0xF4:
        most = 0x8F;
        break; // at most U+10FFFF
    default:
        break;
    }
    return byte >= least && byte <= most;
}

static void add_byte(TokenStream *s, uint8_t byte, StrBuf *out) {
    if (s->n_pending > 0 && !continues(s, byte)) token_stream_end(s, out);
    if (s->n_pending == 0 && !utf8_char_len(byte)) {
        replace(out);
        return;
    }
    s->pending[s->n_pending++] = byte;
    if (s->n_pending == utf8_char_len(s->pending[0])) {
        str_add(out, (const char *)s->pending, (size_t)s->n_pending);
        s->n_pending = 0;
    }
}

void token_stream_add(TokenStream *s, const Tokenizer *t, int32_t id, StrBuf *out) {
    if (tokenizer_is_control(t, id)) return;
    StrBuf piece = {0};
    tokenizer_decode_next(t, &s->state, id, &piece);
    for (size_t i = 0; i < piece.len; i++) add_byte(s, (uint8_t)piece.data[i], out);
    str_clear(&piece);
}

void token_stream_end(TokenStream *s, StrBuf *out) {
    if (s->n_pending > 0) replace(out);
    s->n_pending = 0;
}
