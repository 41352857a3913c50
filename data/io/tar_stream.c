// tar_stream: blocks of 512 bytes: headers, and content that is padded to whole blocks.
#include "tar_stream.h"

#include <string.h>

#include "byte_stream.h"

enum { BLOCK = 512, READ_BYTES = 64 << 10, EXTENSION_MAX = 1 << 20 };

// Fields of a header: offset and bytes.
enum {
    NAME = 0,
    NAME_SIZE = 100,
    SIZE = 124,
    CHECKSUM = 148,
    TYPE = 156,
    MAGIC = 257,
    PREFIX = 345,
    PREFIX_SIZE = 155
};
enum { SIZE_SIZE = 12, CHECKSUM_SIZE = 8 };

struct TarStream {
    char *path;
    ByteStream *bytes;
    char buf[READ_BYTES];
    size_t at, filled;  // buf[at .. filled) is read, but not used
    int64_t position;   // of buf[at] in the archive
    int64_t content;    // bytes of the member that are not read yet
    size_t padding;     // bytes from its end to the next header
    StrBuf name;        // of the member; an extension's, until its header is read
    int64_t pax_size;   // from the extension; -1: none
    bool pax, extended; // the member has a pax header; any extension
    bool end_mark;      // the last block was one of zeros
};

static int refuse_damage(const TarStream *t, const char *found, Err *err) {
    return err_input(err, "%s: found a damaged .tar archive: %s (before byte %ld)", t->path, found, t->position);
}

// ---- bytes ----

int tar_stream_open(TarStream **stream, const char *path, Err *err) {
    TarStream *t = mem_calloc(1, sizeof *t);
    *stream = t;
    t->path = mem_strdup(path);
    return byte_stream_open(&t->bytes, path, err);
}

void tar_stream_close(TarStream *t) {
    if (!t) return;
    byte_stream_close(t->bytes);
    str_clear(&t->name);
    mem_free(t->path);
    mem_free(t);
}

// Uses up to `most` bytes; *n is 0 only at the end of the file. They stay valid until the next call.
static int take(TarStream *t, size_t most, const char **p, size_t *n, Err *err) {
    if (t->at == t->filled) {
        t->at = 0;
        if (byte_stream_read(t->bytes, t->buf, sizeof t->buf, &t->filled, err)) return -1;
    }
    size_t left = t->filled - t->at;
    *n = left < most ? left : most;
    *p = t->buf + t->at;
    t->at += *n;
    t->position += (int64_t)*n;
    return 0;
}

// *n < size only at the end of the file.
static int take_all(TarStream *t, char *to, size_t size, size_t *n, Err *err) {
    size_t part = 1;
    for (*n = 0; *n < size && part; *n += part) {
        const char *p;
        if (take(t, size - *n, &p, &part, err)) return -1;
        memcpy(to + *n, p, part);
    }
    return 0;
}

int tar_stream_read(TarStream *t, void *buf, size_t size, size_t *n, Err *err) {
    const char *p;
    *n = 0;
    if (!t->content) return 0;
    if (take(t, t->content < (int64_t)size ? (size_t)t->content : size, &p, n, err)) return -1;
    if (!*n) return refuse_damage(t, "the end of the file inside a member; is it cut off?", err);
    memcpy(buf, p, *n);
    t->content -= (int64_t)*n;
    return 0;
}

static int skip_rest(TarStream *t, Err *err) {
    char block[4096];
    size_t n = 1;
    while (n)
        if (tar_stream_read(t, block, sizeof block, &n, err)) return -1;
    if (take_all(t, block, t->padding, &n, err)) return -1;
    if (n < t->padding) return refuse_damage(t, "the end of the file inside a member; is it cut off?", err);
    t->padding = 0;
    return 0;
}

// ---- headers ----

// Octal text, or in base 256 if the first bit is set. -1: neither, negative, or 2^62 and more.
static int64_t number_of(const char *field, size_t size) {
    int64_t v = *field & 0x7F;
    if (*field & 0x80) {
        for (size_t i = 1; i < size; i++) {
            if (v >> 54) return -1;
            v = v << 8 | (uint8_t)field[i];
        }
        return v;
    }
    size_t i = 0;
    v = 0;
    while (i < size && field[i] == ' ') i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) v = v * 8 + (field[i] - '0');
    return i == size || field[i] == ' ' || !field[i] ? v : -1;
}

// The sum of the header's bytes, its own field as spaces. Old programs added signed bytes.
static bool checksum_is_right(const char *header) {
    int64_t plain = 0, with_sign = 0, want = number_of(header + CHECKSUM, CHECKSUM_SIZE);
    for (int i = 0; i < BLOCK; i++) {
        char c = i >= CHECKSUM && i < CHECKSUM + CHECKSUM_SIZE ? ' ' : header[i];
        plain += (uint8_t)c;
        with_sign += (int8_t)c;
    }
    return want == plain || (want >= 0 && want == with_sign);
}

// The next block that is not zeros: 1, 0 at the end of the file, -1.
static int next_header(TarStream *t, char *header, Err *err) {
    static const char zeros[BLOCK];
    size_t n;
    if (skip_rest(t, err)) return -1;
    for (;;) {
        if (take_all(t, header, BLOCK, &n, err)) return -1;
        if (n && n < BLOCK) return refuse_damage(t, "the end of the file inside a header; is it cut off?", err);
        if (!n && t->end_mark) return 0;
        if (!n)
            return err_input(err,
                             "%s: found no end mark (a block of zeros) at the end of the archive; is the file cut off?",
                             t->path);
        t->end_mark = memcmp(header, zeros, BLOCK) == 0;
        if (t->end_mark && t->extended) return refuse_damage(t, "an extension without a member", err);
        if (t->end_mark) continue;
        return checksum_is_right(header) ? 1 : refuse_damage(t, "a header with a wrong checksum", err);
    }
}

static void add_field(StrBuf *s, const char *field, size_t size) { str_add(s, field, strnlen(field, size)); }

static void add_name(StrBuf *s, const char *header) {
    bool ustar = memcmp(header + MAGIC, "ustar", 6) == 0; // with its NUL; GNU tar has other fields there
    if (ustar && header[PREFIX]) {
        add_field(s, header + PREFIX, PREFIX_SIZE);
        str_puts(s, "/");
    }
    add_field(s, header + NAME, NAME_SIZE);
}

static void set_content(TarStream *t, int64_t size) {
    t->content = size;
    t->padding = (size_t)(-size & (BLOCK - 1));
}

// ---- extensions: members that describe the one after them ----

static int read_extension(TarStream *t, StrBuf *out, Err *err) {
    char buf[4096];
    size_t n = 1;
    str_puts(out, "");
    if (t->content > EXTENSION_MAX) return refuse_damage(t, "an extension of more than 1 MiB", err);
    while (n) {
        if (tar_stream_read(t, buf, sizeof buf, &n, err)) return -1;
        str_add(out, buf, n);
    }
    return 0;
}

static int read_long_name(TarStream *t, Err *err) {
    AUTO_STR StrBuf text = {0};
    if (read_extension(t, &text, err)) return -1;
    str_clear(&t->name);
    add_field(&t->name, text.data, text.len);
    return 0;
}

static bool is_text(const char *p, size_t n, const char *text) { return n == strlen(text) && memcmp(p, text, n) == 0; }

static int use_pax_record(TarStream *t, const char *record, size_t key, const char *value, size_t size, Err *err) {
    if (key >= 11 && memcmp(record, "GNU.sparse.", 11) == 0)
        return err_input(err, "%s: found a sparse member; expected an archive that was written without tar --sparse",
                         t->path);
    if (is_text(record, key, "path")) {
        if (memchr(value, 0, size)) return refuse_damage(t, "a path with byte 0x00", err);
        str_clear(&t->name);
        str_add(&t->name, value, size);
    } else if (is_text(record, key, "size")) {
        if (!size || size > 18 || strspn(value, "0123456789") < size)
            return refuse_damage(t, "a pax header whose size is no number", err);
        t->pax_size = 0;
        for (size_t i = 0; i < size; i++) t->pax_size = t->pax_size * 10 + (value[i] - '0');
    }
    return 0;
}

// Records "LENGTH KEY=VALUE\n"; LENGTH is that of the whole record.
static int read_pax(TarStream *t, Err *err) {
    static const char malformed[] = "a malformed pax header";
    AUTO_STR StrBuf text = {0};
    if (read_extension(t, &text, err)) return -1;
    for (const char *p = text.data, *end = p + text.len; p < end;) {
        size_t len = 0;
        const char *key = p;
        for (; key < end && *key >= '0' && *key <= '9' && len <= EXTENSION_MAX; key++)
            len = len * 10 + (size_t)(*key - '0');
        if (key == end || *key != ' ' || len > (size_t)(end - p) || len < (size_t)(key - p) + 2 || p[len - 1] != '\n')
            return refuse_damage(t, malformed, err);
        key++;
        const char *last = p + len - 1, *equals = memchr(key, '=', (size_t)(last - key));
        if (!equals) return refuse_damage(t, malformed, err);
        if (use_pax_record(t, key, (size_t)(equals - key), equals + 1, (size_t)(last - equals - 1), err)) return -1;
        p += len;
    }
    return 0;
}

// For all members after it; git archive writes a comment.
static int read_global_pax(TarStream *t, Err *err) {
    size_t name = t->name.len;
    int64_t size = t->pax_size;
    if (read_pax(t, err)) return -1;
    if (t->name.len == name && t->pax_size == size) return 0;
    return refuse_damage(t, "a global pax header with the path or the size of one member", err);
}

// ---- members ----

static int read_member(TarStream *t, TarMember *m, const char *header, Err *err) {
    char type = header[TYPE];
    if (!t->name.len) add_name(&t->name, header);
    if (t->pax_size >= 0) set_content(t, t->pax_size);
    if (type == 'S' || type == 'M')
        return err_input(err, "%s/%s: found a %s; expected an archive that was written without tar --%s", t->path,
                         t->name.data, type == 'S' ? "sparse member" : "part of a member",
                         type == 'S' ? "sparse" : "multi-volume");
    bool named_folder = t->name.len && t->name.data[t->name.len - 1] == '/';
    m->kind = type >= '1' && type <= '6' && type != '5'    ? TAR_OTHER
              : type == '5' || type == 'D' || named_folder ? TAR_FOLDER
                                                           : TAR_FILE;
    // These have no content, whatever their size is; only pax may store that of a hard link.
    if (type >= '1' && type <= '6' && !(type == '1' && t->pax)) set_content(t, 0);
    m->name = t->name.data;
    m->size = t->content;
    return 1;
}

// 1: a member; 0: an extension; -1.
static int read_header(TarStream *t, TarMember *m, const char *header, Err *err) {
    int64_t size = number_of(header + SIZE, SIZE_SIZE);
    if (size < 0) return refuse_damage(t, "a header whose size is no number", err);
    set_content(t, size);
    switch (header[TYPE]) {
    case 'g': return read_global_pax(t, err);
    case 'V': return 0; // the label of a volume
    case 'X':           // Solaris
    case 'x': t->extended = t->pax = true; return read_pax(t, err);
    case 'L': t->extended = true; return read_long_name(t, err);
    case 'K': // the target of a link
    case 'A': // Solaris: access rights
        t->extended = true;
        return 0;
    default: t->extended = false; return read_member(t, m, header, err);
    }
}

int tar_stream_next(TarStream *t, TarMember *m, Err *err) {
    char header[BLOCK];
    int rc = 0;
    str_clear(&t->name);
    t->pax_size = -1;
    t->pax = false;
    while (rc == 0) {
        int more = next_header(t, header, err);
        if (more <= 0) return more;
        rc = read_header(t, m, header, err);
    }
    return rc;
}
