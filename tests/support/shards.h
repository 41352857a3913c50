// shards: .tar archives written by hand, so that they can be invalid in any way; compressed files.
#pragma once

#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base.h"
#include "test.h"

// One ustar header; size as claimed, whatever follows.
static inline void tar_header(StrBuf *tar, const char *name, char type, const char *link, uint64_t size) {
    char h[512] = {0};
    snprintf(h, 100, "%s", name);
    snprintf(h + 100, 8, "%07o", 0644);
    snprintf(h + 108, 8, "%07o", 0);
    snprintf(h + 116, 8, "%07o", 0);
    snprintf(h + 124, 12, "%011llo", (unsigned long long)size & 077777777777);
    snprintf(h + 136, 12, "%011o", 0);
    h[156] = type;
    snprintf(h + 157, 100, "%s", link);
    memcpy(h + 257, "ustar\00000", 8);
    memset(h + 148, ' ', 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; i++) sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    str_add(tar, h, sizeof h);
}

static inline void tar_bytes(StrBuf *tar, const char *bytes, size_t n) {
    static const char zeros[512];
    str_add(tar, bytes, n);
    str_add(tar, zeros, (size_t)(-n & 511));
}

static inline void tar_file(StrBuf *tar, const char *name, const char *content) {
    tar_header(tar, name, '0', "", strlen(content));
    tar_bytes(tar, content, strlen(content));
}

static inline void tar_end(StrBuf *tar) {
    static const char zeros[1024];
    str_add(tar, zeros, sizeof zeros);
}

static inline void gzip_bytes(StrBuf *out, const void *data, size_t n) {
    z_stream z = {0};
    char buf[4096];
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)data;
    z.avail_in = (uInt)n;
    int rc;
    do {
        z.next_out = (Bytef *)buf;
        z.avail_out = sizeof buf;
        rc = deflate(&z, Z_FINISH);
        str_add(out, buf, sizeof buf - z.avail_out);
    } while (rc == Z_OK);
    assert_int_equal(rc, Z_STREAM_END);
    deflateEnd(&z);
}

static inline void zstd_bytes(StrBuf *out, const void *data, size_t n) {
    size_t bound = ZSTD_compressBound(n);
    char *buf = mem_alloc(bound, 1);
    size_t size = ZSTD_compress(buf, bound, data, n, 3);
    assert_false(ZSTD_isError(size));
    str_add(out, buf, size);
    mem_free(buf);
}
