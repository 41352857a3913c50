// transfer: device memory, pinned host memory, and copies between them.
//
// Uploads go through a ring of pinned chunks, so that the caller may reuse its memory at once and the host runs ahead
// of the device. Several uploads fill a chunk, then an event marks when the device has read it; the host waits only
// when the ring returns to a chunk that is not read yet. Downloads land in pinned memory too: a copy to other memory
// waits in the driver, where nobody notices that another rank is gone. Offloads and reloads run on a second stream
// between two events: they wait for earlier ops, and ops after settle() wait for them.

#include <string.h>

#include "cuda_ranks.h"

enum { CHUNKS = 4, CHUNK_BYTES = 4 << 20, UPLOAD_ALIGN = 64 };

// What alloc returns when out of memory: aligned, so that checks of alignment pass and status() is reached.
static _Alignas(256) const char nowhere[256];
#define NOWHERE ((void *)nowhere)

struct CudaTransfer {
    char *ring;    // CHUNKS * CHUNK_BYTES, pinned
    char *landing; // CHUNK_BYTES, pinned: of downloads
    cudaEvent_t read[CHUNKS];
    int chunk;   // being filled
    size_t used; // of it
    cudaStream_t stream;
    cudaEvent_t before, after; // the ops before an offload or reload; the last of them
    bool moving;               // some have begun since the last settle
};

static CudaTransfer *transfer(Backend *b) { return cuda_state(b)->transfer; }

int cuda_transfer_open(Backend *b, Err *err) {
    CudaTransfer *t = cuda_state(b)->transfer = mem_calloc(1, sizeof *t);
    t->ring = cuda_host_alloc(b, (size_t)CHUNKS * CHUNK_BYTES);
    t->landing = cuda_host_alloc(b, CHUNK_BYTES);
    for (int i = 0; i < CHUNKS; i++) t->read[i] = cuda_new_event(b, false);
    t->before = cuda_new_event(b, false);
    t->after = cuda_new_event(b, false);
    cuda_check(b, cudaStreamCreateWithFlags(&t->stream, cudaStreamNonBlocking), "creating a stream");
    return 0;
}

void cuda_transfer_close(Backend *b) {
    CudaTransfer *t = transfer(b);
    if (!t) return;
    if (t->stream) cudaStreamSynchronize(t->stream), cudaStreamDestroy(t->stream);
    if (t->before) cudaEventDestroy(t->before);
    if (t->after) cudaEventDestroy(t->after);
    for (int i = 0; i < CHUNKS; i++)
        if (t->read[i]) cudaEventDestroy(t->read[i]);
    cuda_host_free(b, t->ring, (size_t)CHUNKS * CHUNK_BYTES);
    cuda_host_free(b, t->landing, CHUNK_BYTES);
    mem_free(t);
}

// ---- memory ----

static void report_no_room(Backend *b, const char *where, size_t bytes) {
    size_t free = 0, total = 0;
    cudaGetLastError(); // clears it: not a fault of the device
    cudaMemGetInfo(&free, &total);
    cuda_fail(b, ERR_MEMORY, "out of memory: %zu MiB more %s were asked for; %zu of %zu MiB of the device are free",
              bytes >> 20, where, free >> 20, total >> 20);
}

void *cuda_alloc(Backend *b, size_t bytes) {
    void *p = NULL;
    size_t size = cuda_align(bytes ? bytes : 1);
    if (cuda_failed(b)) return NOWHERE;
    cudaError_t error = cudaMalloc(&p, size);
    if (error == cudaErrorMemoryAllocation) report_no_room(b, "on the device", size);
    if (!p || !cuda_check(b, error, "allocating memory")) return NOWHERE;
    cuda_state(b)->used_bytes += size;
    cuda_zero(b, p, size);
    return p;
}

void cuda_free(Backend *b, void *p, size_t bytes) {
    if (!p || p == NOWHERE) return;
    cuda_check(b, cudaFree(p), "freeing memory");
    cuda_state(b)->used_bytes -= cuda_align(bytes ? bytes : 1);
}

void *cuda_host_alloc(Backend *b, size_t bytes) {
    void *p = NULL;
    if (cuda_failed(b)) return NOWHERE;
    cudaError_t error = cudaMallocHost(&p, bytes ? bytes : 1);
    if (error == cudaErrorMemoryAllocation) report_no_room(b, "of pinned host memory", bytes);
    return p && cuda_check(b, error, "allocating pinned memory") ? p : NOWHERE;
}

void cuda_host_free(Backend *b, void *p, size_t bytes) {
    if (p && p != NOWHERE) cuda_check(b, cudaFreeHost(p), "freeing pinned memory");
}

// ---- copies in the order of the ops ----

// Room for up to `bytes` in the chunk being filled: *got of them.
static char *ring_room(Backend *b, size_t bytes, size_t *got) {
    CudaTransfer *t = transfer(b);
    if (t->used == CHUNK_BYTES) {
        cuda_check(b, cudaEventRecord(t->read[t->chunk], cuda_stream(b)), "uploading");
        t->chunk = (t->chunk + 1) % CHUNKS;
        t->used = 0;
        cuda_check(b, cudaEventSynchronize(t->read[t->chunk]), "uploading"); // returns at once if never recorded
    }
    char *room = t->ring + (size_t)t->chunk * CHUNK_BYTES + t->used;
    size_t left = CHUNK_BYTES - t->used;
    *got = bytes < left ? bytes : left;
    t->used += (*got + UPLOAD_ALIGN - 1) / UPLOAD_ALIGN * UPLOAD_ALIGN;
    return room;
}

static void send(Backend *b, void *dst, const char *room, size_t bytes) {
    if (bytes) cuda_check(b, cudaMemcpyAsync(dst, room, bytes, cudaMemcpyHostToDevice, cuda_stream(b)), "uploading");
}

void cuda_upload(Backend *b, void *dst, const void *host, size_t bytes) {
    CHECK(!cuda_state(b)->recording, "upload in a recording");
    for (size_t done = 0; done < bytes && !cuda_failed(b);) {
        size_t n;
        char *room = ring_room(b, bytes - done, &n);
        memcpy(room, (const char *)host + done, n);
        send(b, (char *)dst + done, room, n);
        done += n;
    }
}

// Fills room in the ring with whole rows; a chunk's last bytes, fewer than a row, stay empty.
static void upload_mapped(Backend *b, char *dst, const char *src, size_t row_bytes, const int32_t *map, int64_t n) {
    for (int64_t done = 0; done < n && !cuda_failed(b);) {
        size_t got;
        char *room = ring_room(b, (size_t)(n - done) * row_bytes, &got);
        int64_t rows = (int64_t)(got / row_bytes);
        for (int64_t i = 0; i < rows; i++)
            memcpy(room + (size_t)i * row_bytes, src + (size_t)map[done + i] * row_bytes, row_bytes);
        send(b, dst + (size_t)done * row_bytes, room, (size_t)rows * row_bytes);
        done += rows;
    }
}

void cuda_upload_rows(Backend *b, void *dst, const void *src, size_t row_bytes, const int32_t *map, int64_t row,
                      int64_t n) {
    const char *rows = (const char *)src;
    if (!map) {
        cuda_upload(b, dst, rows + (size_t)row * row_bytes, (size_t)n * row_bytes);
    } else if (row_bytes <= CHUNK_BYTES) {
        CHECK(!cuda_state(b)->recording, "upload in a recording");
        upload_mapped(b, dst, rows, row_bytes, map + row, n);
    } else {
        for (int64_t i = 0; i < n; i++)
            cuda_upload(b, (char *)dst + (size_t)i * row_bytes, rows + (size_t)map[row + i] * row_bytes, row_bytes);
    }
}

void cuda_download(Backend *b, void *host, const void *src, size_t bytes) {
    CHECK(!cuda_state(b)->recording, "download in a recording");
    CudaTransfer *t = transfer(b);
    for (size_t done = 0; done < bytes; done += CHUNK_BYTES) {
        size_t n = bytes - done < CHUNK_BYTES ? bytes - done : CHUNK_BYTES;
        char *to = (char *)host + done;
        const char *from = (const char *)src + done;
        if (!cuda_failed(b))
            cuda_check(b, cudaMemcpyAsync(t->landing, from, n, cudaMemcpyDeviceToHost, cuda_stream(b)), "downloading");
        cuda_sync(b);
        if (cuda_failed(b))
            memset(to, 0, n);
        else
            memcpy(to, t->landing, n);
    }
}

void cuda_copy(Backend *b, void *dst, const void *src, size_t bytes) {
    if (!bytes || cuda_failed(b)) return;
    cuda_check(b, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, cuda_stream(b)), "copying");
}

void cuda_zero(Backend *b, void *dst, size_t bytes) {
    if (!bytes || cuda_failed(b)) return;
    cuda_check(b, cudaMemsetAsync(dst, 0, bytes, cuda_stream(b)), "zeroing");
}

void cuda_sync(Backend *b) {
    CHECK(!cuda_state(b)->recording, "wait in a recording");
    if (!cuda_failed(b)) cuda_ranks_wait(b);
}

// ---- concurrently with the ops ----

static void move(Backend *b, void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind, const char *what) {
    CudaTransfer *t = transfer(b);
    if (!bytes || cuda_failed(b)) return;
    cuda_check(b, cudaEventRecord(t->before, cuda_stream(b)), what);
    cuda_check(b, cudaStreamWaitEvent(t->stream, t->before, 0), what);
    cuda_check(b, cudaMemcpyAsync(dst, src, bytes, kind, t->stream), what);
    t->moving = true;
}

void cuda_offload(Backend *b, void *host, const void *src, size_t bytes) {
    move(b, host, src, bytes, cudaMemcpyDeviceToHost, "offloading");
}

void cuda_reload(Backend *b, void *dst, const void *host, size_t bytes) {
    move(b, dst, host, bytes, cudaMemcpyHostToDevice, "reloading");
}

void cuda_settle(Backend *b) {
    CudaTransfer *t = transfer(b);
    if (!t->moving || cuda_failed(b)) return;
    cuda_check(b, cudaEventRecord(t->after, t->stream), "offloading");
    cuda_check(b, cudaStreamWaitEvent(cuda_stream(b), t->after, 0), "offloading");
    t->moving = false;
}
