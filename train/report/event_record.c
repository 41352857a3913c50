#include "event_record.h"

#include <endian.h>
#include <string.h>

// Castagnoli's polynomial, reflected; bit by bit: records are short.
uint32_t crc32c(const void *data, size_t size) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= ((const uint8_t *)data)[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

static uint32_t masked(const void *data, size_t size) {
    uint32_t crc = crc32c(data, size);
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

static void add32(StrBuf *out, uint32_t value) {
    uint32_t bytes = htole32(value);
    str_add(out, (const char *)&bytes, sizeof bytes);
}

static void add64(StrBuf *out, uint64_t value) {
    uint64_t bytes = htole64(value);
    str_add(out, (const char *)&bytes, sizeof bytes);
}

static uint64_t read_fixed(const uint8_t *data, size_t size) {
    uint64_t value = 0;
    memcpy(&value, data, size);
    return le64toh(value);
}

void record_add(StrBuf *out, const void *data, size_t size) {
    uint64_t length = htole64(size);
    add64(out, size);
    add32(out, masked(&length, sizeof length));
    str_add(out, data, size);
    add32(out, masked(data, size));
}

size_t record_read(const uint8_t *data, size_t size, const uint8_t **record, size_t *record_size) {
    enum { HEAD = 12, TAIL = 4 };
    if (size < HEAD + TAIL || read_fixed(data + 8, 4) != masked(data, 8)) return 0;
    uint64_t length = read_fixed(data, 8);
    if (length > size - HEAD - TAIL || read_fixed(data + HEAD + length, 4) != masked(data + HEAD, length)) return 0;
    *record = data + HEAD;
    *record_size = length;
    return HEAD + length + TAIL;
}

// ---- protocol buffers ----

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void add_varint(StrBuf *out, uint64_t value) {
    do {
        char byte = (char)((value & 0x7F) | (value > 0x7F ? 0x80 : 0));
        str_add(out, &byte, 1);
    } while (value >>= 7);
}

static void add_key(StrBuf *out, int field, int type) { add_varint(out, (uint64_t)field << 3 | (uint64_t)type); }

void pb_varint(StrBuf *out, int field, uint64_t value) {
    add_key(out, field, VARINT);
    add_varint(out, value);
}

void pb_double(StrBuf *out, int field, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    add_key(out, field, FIXED64);
    add64(out, bits);
}

void pb_float(StrBuf *out, int field, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    add_key(out, field, FIXED32);
    add32(out, bits);
}

void pb_bytes(StrBuf *out, int field, const void *data, size_t size) {
    add_key(out, field, BYTES);
    add_varint(out, size);
    str_add(out, data ? data : "", size);
}

void pb_text(StrBuf *out, int field, const char *text) { pb_bytes(out, field, text, strlen(text)); }

void pb_message(StrBuf *out, int field, StrBuf *message) {
    pb_bytes(out, field, message->data, message->len);
    str_clear(message);
}

static bool read_varint(uint64_t *value, const uint8_t **at, const uint8_t *end) {
    *value = 0;
    for (int shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) return true;
    }
    return false;
}

bool pb_next(PbField *f, const uint8_t **at, const uint8_t *end) {
    uint64_t key, size;
    *f = (PbField){0};
    if (*at >= end || !read_varint(&key, at, end) || key >> 3 > 1 << 20) return false;
    f->field = (int)(key >> 3);
    switch (key & 7) {
    case VARINT: return read_varint(&f->number, at, end);
    case FIXED64: size = 8; break;
    case FIXED32: size = 4; break;
    case BYTES:
        if (!read_varint(&size, at, end)) return false;
        break;
    default: return false;
    }
    if (size > (uint64_t)(end - *at)) return false;
    if ((key & 7) == BYTES)
        f->data = *at, f->size = size;
    else
        f->number = read_fixed(*at, size);
    *at += size;
    return true;
}
