#include "byte_kind.h"

// Hexadecimal digits are kinds of their own; so is what ends words, sentences, lines and strings.
int byte_kind(uint8_t b) {
    if (b >= 0x80) return 0;
    if (b >= 'a' && b <= 'z') return b <= 'f' ? 1 : 2;
    if (b >= 'A' && b <= 'Z') return b <= 'F' ? 3 : 4;
    if (b >= '0' && b <= '9') return 5;
    switch (b) {
    case '_': return 6;
    case ' ': return 7;
    case '-': return 8;
    case '.': return 9;
    case ',': return 10;
    case '"': return 11;
    case '\\': return 12;
    case '\n': return 13;
    default: return b < 0x20 || b == 0x7F ? 14 : 15;
    }
}
