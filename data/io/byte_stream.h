// byte_stream: a file's bytes in order, decompressed on the way: gzip (.gz, .tgz), Zstandard (.zst), else as they are.
//
// Memory is bounded by the decoder's window (at most 128 MB for Zstandard's largest). The end is only reported where
// the compressed data says so: checksums are right, nothing is cut off, nothing else stands behind it (several gzip
// members or Zstandard frames in a row are one stream). Everything else is an error naming the file.
#pragma once

#include "base.h"

typedef struct ByteStream ByteStream;
int byte_stream_open(ByteStream **s, const char *path, Err *err);
void byte_stream_close(ByteStream *s);
// Reads up to `size` bytes (size > 0); *n is 0 only at the end.
int byte_stream_read(ByteStream *s, void *buf, size_t size, size_t *n, Err *err);
// True for a name with a suffix of compression; *len: the name without it ("a.jsonl.gz": of "a.jsonl", "a.tgz": of
// "a", which counts as .tar).
bool byte_stream_is_compressed(const char *path, size_t *len);
