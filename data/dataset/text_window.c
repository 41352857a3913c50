// text_window: the part of a data file that is being cut into records.
#include "records_internal.h"

#include <string.h>

#include "byte_stream.h"

typedef struct TextBlock {
    struct TextBlock *next;
    size_t capacity;
    char bytes[];
} TextBlock;

enum { BLOCK_BYTES = 1 << 20, RELEASE_BYTES = 1 << 20 }; // of a map: less is not worth a system call

int window_open(TextWindow *w, const char *path, Err *err) {
    size_t unused;
    *w = (TextWindow){0};
    if (byte_stream_is_compressed(path, &unused)) return byte_stream_open(&w->stream, path, err);
    if (file_map(&w->map, path, err)) return -1;
    w->p = w->released = (const char *)w->map.data;
    w->end = w->p + w->map.size;
    return 0;
}

static void free_blocks(TextBlock *b) {
    while (b) {
        TextBlock *next = b->next;
        mem_free(b);
        b = next;
    }
}

void window_close(TextWindow *w) {
    free_blocks(w->blocks);
    byte_stream_close(w->stream);
    file_unmap(&w->map);
    *w = (TextWindow){0};
}

// Moves the rest [p, end) to the front of a block with room after it: the same block if no record points into it.
static void make_room(TextWindow *w) {
    TextBlock *b = w->blocks;
    size_t rest = (size_t)(w->end - w->p), capacity = rest * 2 > BLOCK_BYTES ? rest * 2 : BLOCK_BYTES;
    if (b && w->end < b->bytes + b->capacity) return;
    if (!b || w->held) {
        TextBlock *fresh = mem_alloc(1, sizeof *fresh + capacity);
        *fresh = (TextBlock){.next = b, .capacity = capacity};
        if (rest) memcpy(fresh->bytes, w->p, rest);
        w->blocks = fresh;
        w->held = false;
    } else {
        memmove(b->bytes, w->p, rest);
        if (capacity > b->capacity) {
            b = w->blocks = mem_realloc(b, 1, sizeof *b + capacity);
            b->capacity = capacity;
        }
    }
    w->p = w->blocks->bytes;
    w->end = w->p + rest;
}

int window_more(TextWindow *w, Err *err) {
    if (!w->stream) return 0;
    make_room(w);
    TextBlock *b = w->blocks;
    char *end = b->bytes + (w->end - b->bytes);
    size_t n;
    if (byte_stream_read(w->stream, end, (size_t)(b->bytes + b->capacity - end), &n, err)) return -1;
    w->end += n;
    return n > 0;
}

void window_release(TextWindow *w) {
    w->held = false;
    if (w->blocks) {
        free_blocks(w->blocks->next);
        w->blocks->next = NULL;
    }
    if (w->stream || w->p - w->released < RELEASE_BYTES) return;
    file_map_drop(&w->map, (size_t)(w->released - (const char *)w->map.data), (size_t)(w->p - w->released));
    w->released = w->p;
}
