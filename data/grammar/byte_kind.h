// byte_kind: bytes in sixteen kinds, of which the classes of usual patterns are made. A set of kinds is a bit for each.
#pragma once

#include <stdint.h>

enum { BYTE_KINDS = 16 };
typedef uint16_t ByteKinds;

int byte_kind(uint8_t byte);
static inline ByteKinds byte_kind_bit(uint8_t byte) { return (ByteKinds)(1u << byte_kind(byte)); }
