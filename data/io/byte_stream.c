#include "byte_stream.h"

#include <string.h>

#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "fileio.h"

typedef enum { PLAIN, GZIP, ZSTANDARD } Kind;

struct ByteStream {
    FileMap map;
    size_t at, released; // bytes read; pages below `released` are dropped
    Kind kind;
    z_stream gzip;
    ZSTD_DCtx *zstd;
    bool inside; // of a member or frame: the file must not end here
};

static const struct {
    const char *suffix;
    Kind kind;
} suffixes[] = {{".gz", GZIP}, {".tgz", GZIP}, {".zst", ZSTANDARD}, {".tzst", ZSTANDARD}};

static Kind kind_of(const char *path, size_t *len) {
    *len = strlen(path);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        if (!ends_with_nocase(path, *len, suffixes[i].suffix)) continue;
        *len -= strlen(suffixes[i].suffix);
        return suffixes[i].kind;
    }
    return PLAIN;
}

bool byte_stream_is_compressed(const char *path, size_t *len) { return kind_of(path, len) != PLAIN; }

static void *zlib_alloc(void *unused, uInt count, uInt size) { return mem_alloc(count, size); }

static void zlib_free(void *unused, void *p) { mem_free(p); }

static int check_magic(const ByteStream *s, Err *err) {
    if (!s->map.size) return err_input(err, "%s: found an empty file; expected compressed data", s->map.path);
    static const char magic[][4] = {[GZIP] = "\x1F\x8B", [ZSTANDARD] = "\x28\xB5\x2F"}; // also skippable frames
    bool skippable = s->kind == ZSTANDARD && s->map.size > 3 && (s->map.data[0] & 0xF0) == 0x50;
    size_t n = strlen(magic[s->kind]);
    if (s->map.size < n || skippable || memcmp(s->map.data, magic[s->kind], n) == 0) return 0;
    return err_input(err, "%s: found damaged compressed data: its first bytes are not those of %s; is it uncompressed?",
                     s->map.path, s->kind == GZIP ? "gzip" : "Zstandard");
}

int byte_stream_open(ByteStream **stream, const char *path, Err *err) {
    enum { GZIP_ONLY = 16 + MAX_WBITS };
    size_t unused;
    AUTO(byte_stream_close) ByteStream *s = mem_calloc(1, sizeof *s);
    *stream = NULL;
    if (file_map(&s->map, path, err)) return -1;
    s->kind = kind_of(path, &unused);
    s->gzip.zalloc = zlib_alloc;
    s->gzip.zfree = zlib_free;
    if (s->kind == GZIP) CHECK(inflateInit2(&s->gzip, GZIP_ONLY) == Z_OK, "zlib cannot start");
    if (s->kind == ZSTANDARD) s->zstd = mem_checked(ZSTD_createDCtx());
    int rc = s->kind != PLAIN
                 ? check_magic(s, err)
                 : fault_in_file(path, (const char *)s->map.data, s->map.size < 64 ? s->map.size : 64, false, err);
    if (!rc) *stream = mem_take(&s);
    return rc;
}

void byte_stream_close(ByteStream *s) {
    if (!s) return;
    if (s->kind == GZIP) inflateEnd(&s->gzip);
    ZSTD_freeDCtx(s->zstd); // NULL is allowed
    file_unmap(&s->map);
    mem_free(s);
}

// Advances by n bytes and drops the pages of what was read.
static void advance(ByteStream *s, size_t n) {
    enum { PIECE = 4 << 20 };
    s->at += n;
    if (s->at - s->released < PIECE) return;
    file_map_drop(&s->map, s->released, s->at - s->released);
    s->released = s->at;
}

static int damaged(const ByteStream *s, const char *what, Err *err) {
    return err_input(err, "%s: found damaged compressed data at byte %zu: %s", s->map.path, s->at, what);
}

// Input for one call of a decoder: their sizes have 32 bits.
static size_t input_size(const ByteStream *s) {
    size_t left = s->map.size - s->at;
    return left < (1 << 20) ? left : 1 << 20;
}

static int read_gzip(ByteStream *s, void *buf, size_t size, size_t *n, Err *err) {
    z_stream *z = &s->gzip;
    size_t in = input_size(s);
    z->next_in = (Bytef *)(s->map.data + s->at);
    z->avail_in = (uInt)in;
    z->next_out = buf;
    z->avail_out = (uInt)size;
    int rc = inflate(z, Z_NO_FLUSH);
    advance(s, in - z->avail_in);
    *n = size - z->avail_out;
    s->inside = rc != Z_STREAM_END;
    if (rc == Z_STREAM_END) return inflateReset(z) == Z_OK ? 0 : damaged(s, "zlib cannot be reset", err);
    if (rc == Z_OK || rc == Z_BUF_ERROR) return 0;
    return damaged(s, rc == Z_DATA_ERROR && z->msg ? z->msg : "expected gzip", err);
}

static int read_zstd(ByteStream *s, void *buf, size_t size, size_t *n, Err *err) {
    ZSTD_inBuffer in = {s->map.data + s->at, input_size(s), 0};
    ZSTD_outBuffer out = {buf, size, 0};
    size_t rc = ZSTD_decompressStream(s->zstd, &out, &in);
    advance(s, in.pos);
    *n = out.pos;
    if (ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation) mem_exhausted(0);
    if (ZSTD_isError(rc)) return damaged(s, ZSTD_getErrorName(rc), err);
    s->inside = rc != 0;
    return 0;
}

static void read_plain(ByteStream *s, void *buf, size_t size, size_t *n) {
    *n = s->map.size - s->at < size ? s->map.size - s->at : size;
    if (*n) memcpy(buf, s->map.data + s->at, *n);
    advance(s, *n);
}

int byte_stream_read(ByteStream *s, void *buf, size_t size, size_t *n, Err *err) {
    *n = 0;
    if (size > 1 << 20) size = 1 << 20;
    if (s->kind == PLAIN) {
        read_plain(s, buf, size, n);
        return 0;
    }
    while (!*n) {
        size_t before = s->at;
        if (s->at == s->map.size && !s->inside) return 0;
        if (s->kind == GZIP ? read_gzip(s, buf, size, n, err) : read_zstd(s, buf, size, n, err)) return -1;
        if (!*n && s->at == before && s->inside) return damaged(s, "the file ends too early", err);
    }
    return 0;
}
