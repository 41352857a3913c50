// event_record: the records of a TensorBoard event file: tensorboard/compat/proto/{event,summary,tensor}.proto, in
// tfrecord's frame: length (8 bytes), its masked CRC32C, the bytes, their masked CRC32C; all little endian.
#pragma once

#include "base.h"

uint32_t crc32c(const void *data, size_t size);
void record_add(StrBuf *out, const void *data, size_t size); // in its frame
// The record at data[0, size). Bytes of it with its frame; 0: it is cut or damaged.
size_t record_read(const uint8_t *data, size_t size, const uint8_t **record, size_t *record_size);

// ---- protocol buffers ----

void pb_varint(StrBuf *out, int field, uint64_t value);
void pb_double(StrBuf *out, int field, double value);
void pb_float(StrBuf *out, int field, float value);
void pb_bytes(StrBuf *out, int field, const void *data, size_t size);
void pb_text(StrBuf *out, int field, const char *text);
void pb_message(StrBuf *out, int field, StrBuf *message); // and clears it

typedef struct PbField {
    int field;
    uint64_t number;     // of a varint or fixed-size field
    const uint8_t *data; // of a field of bytes, else NULL
    size_t size;
} PbField;
// Takes the next field from [*at, end). False: the end, or a fault.
bool pb_next(PbField *f, const uint8_t **at, const uint8_t *end);
