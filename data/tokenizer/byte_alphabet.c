// byte_alphabet: see byte_alphabet.h. Both directions by arithmetic: the 68 characters are the bytes 0x00 to 0x20, 0x7F
// to 0xA0 and 0xAD.
#include "byte_alphabet.h"

enum { FIRST = 0x100, N_LOW = 0x21, N_MIDDLE = 0x22, N_OTHERS = N_LOW + N_MIDDLE + 1 };

static bool is_itself(uint32_t c) {
    return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

static uint32_t char_of(uint8_t byte) {
    if (is_itself(byte)) return byte;
    if (byte < N_LOW) return FIRST + (uint32_t)byte;
    return byte == 0xAD ? FIRST + N_OTHERS - 1 : FIRST + N_LOW + (uint32_t)byte - 0x7F;
}

static int byte_of(uint32_t c) { // -1: not of the alphabet
    if (is_itself(c)) return (int)c;
    if (c < FIRST || c >= FIRST + N_OTHERS) return -1;
    uint32_t i = c - FIRST;
    if (i < N_LOW) return (int)i;
    return i == N_OTHERS - 1 ? 0xAD : (int)(0x7F + i - N_LOW);
}

int byte_spell(uint8_t byte, char out[2]) {
    uint32_t c = char_of(byte);
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xC0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3F));
    return 2;
}

void bytes_spell(const char *bytes, size_t len, StrBuf *out) {
    for (size_t i = 0; i < len; i++) {
        char spelled[2];
        int n = byte_spell((uint8_t)bytes[i], spelled);
        str_add(out, spelled, (size_t)n);
    }
}

bool bytes_unspell(const char *text, size_t len, StrBuf *out) {
    size_t before = out->len;
    for (size_t i = 0; i < len;) {
        uint32_t lead = (uint8_t)text[i], c = lead;
        if (lead >= 0x80) c = lead < 0xE0 ? (lead & 0x1Fu) << 6 | ((uint8_t)text[i + 1] & 0x3Fu) : UINT32_MAX;
        int byte = byte_of(c);
        if (byte < 0) {
            out->len = before;
            return false;
        }
        char one = (char)byte;
        str_add(out, &one, 1);
        i += lead < 0x80 ? 1 : 2;
    }
    return true;
}
