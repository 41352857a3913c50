// byte_stream: the bytes of a file in order, decompressed while reading: gzip (.gz, .tgz), Zstandard (.zst, .tzst),
// else unchanged.
//
// Memory is bounded by the decoder's window (at most 128 MB for Zstandard's largest). The end is reported only if the
// compressed data ends correctly: checksums match, nothing is truncated, no other data follows (several gzip members or
// Zstandard frames in a row are one stream). Anything else is an error that names the file.
#pragma once

#include "base.h"

typedef struct ByteStream ByteStream;
int byte_stream_open(ByteStream **s, const char *path, Err *err);
void byte_stream_close(ByteStream *s);
DEFINE_AUTO(ByteStream, byte_stream_close)
// Reads up to `size` bytes (size > 0); *n is 0 only at the end.
int byte_stream_read(ByteStream *s, void *buf, size_t size, size_t *n, Err *err);
// True for a name with a compression suffix; *len: the length of the name without it ("a.jsonl.gz": of "a.jsonl";
// "a.tgz": of "a", a .tar).
bool byte_stream_is_compressed(const char *path, size_t *len);
