// tar_stream: the members of a .tar archive in order, decompressed while reading (byte_stream.h).
//
// Formats: v7, ustar, GNU (long names, sizes in base 256) and pax (path, size). Several archives in a row are one, as
// `cat a.tar b.tar` makes it. Refused: a header that is damaged (its checksum is verified), an archive that ends inside
// a member or without its end mark (a block of zeros), sparse members, and parts of a member (multi-volume archives).
// Format: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".
#pragma once

#include "base.h"

typedef enum { TAR_FILE, TAR_FOLDER, TAR_OTHER } TarKind; // other: a link, a device, a pipe

typedef struct TarMember {
    const char *name; // until the next member; any bytes but NUL
    TarKind kind;
    int64_t size; // bytes of content
} TarMember;

typedef struct TarStream TarStream;
// *t is the caller's to close, after a failure too.
int tar_stream_open(TarStream **t, const char *path, Err *err);
void tar_stream_close(TarStream *t);                       // NULL is allowed
int tar_stream_next(TarStream *t, TarMember *m, Err *err); // 1, 0 at the end, -1
// Up to `size` bytes of the member's content (size > 0); *n is 0 only at its end. What is not read is skipped.
int tar_stream_read(TarStream *t, void *buf, size_t size, size_t *n, Err *err);
