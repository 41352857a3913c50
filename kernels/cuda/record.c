// record: recorded passes as CUDA graphs: one call replays the work that was queued between record and record_end.
//
// A graph holds addresses and arguments, so all memory of a pass must stay in place: arenas, weights, workspace, tiles,
// pinned memory. Code that moves one calls forget. The most recently used passes are kept, as many as MOST_RECORDS and
// CudaScratch.recorded_bytes allow. A run with more shapes than that would record all the time: it may drop a pass for
// another only while recording takes at most 1/TIME_SHARE of its time. Recording is an optimisation: where it fails or
// is not wanted (LORAC_CUDA_GRAPHS=0), passes are queued call by call, with the same bits.
#include <stdio.h>

#include "cuda.h"
#include "records.h"

enum { MOST_RECORDS = 32, TIME_SHARE = 20 };

typedef struct Record {
    uint64_t key, used; // `used`: the clock when it was replayed last
    cudaGraphExec_t graph;
    size_t bytes; // of the device
} Record;

struct CudaRecords {
    Record list[MOST_RECORDS];
    int n;
    uint64_t clock, key; // of the pass being recorded
    RecordCounts counts;
    double first, begun; // time of the first recording, and of the one under way
};

int cuda_records_open(Backend *b, Err *err) {
    cuda_state(b)->records = mem_calloc(1, sizeof(CudaRecords));
    return 0;
}

RecordCounts cuda_record_counts(const Backend *b) { return cuda_state(b)->records->counts; }

// Where there were more shapes than are kept.
static void report(const RecordCounts *c) {
    if (!c->dropped && !c->refused) return;
    log_warn("passes have more shapes than are kept as CUDA graphs: %ld replayed, %ld recorded in %.1f s, of these %ld "
             "dropped for others, %ld run unrecorded; packing or a larger max_seq_length gives fewer shapes",
             c->replayed, c->recorded, c->seconds, c->dropped, c->refused);
}

void cuda_records_close(Backend *b) {
    CudaRecords *r = cuda_state(b)->records;
    if (!r) return;
    for (int i = 0; i < r->n; i++) cudaGraphExecDestroy(r->list[i].graph);
    report(&r->counts);
    mem_free(r);
}

static void launch(Backend *b, Record *record) {
    CudaState *s = cuda_state(b);
    record->used = ++s->records->clock;
    s->epoch++;
    cuda_state(b)->records->counts.replayed++;
    cuda_check(b, cudaGraphLaunch(record->graph, s->stream), "replaying a pass");
}

bool cuda_replay(Backend *b, uint64_t key) {
    CudaState *s = cuda_state(b);
    CHECK(!s->recording, "replay in a recording");
    if (cuda_failed(b)) return true;
    for (int i = 0; i < s->records->n; i++) {
        if (s->records->list[i].key != key) continue;
        cuda_settle(b); // a graph does not depend on transfers outside of it
        launch(b, &s->records->list[i]);
        return true;
    }
    return false;
}

static size_t largest(const CudaRecords *r) {
    size_t most = 0;
    for (int i = 0; i < r->n; i++) most = r->list[i].bytes > most ? r->list[i].bytes : most;
    return most;
}

static bool may_record(Backend *b) {
    CudaState *s = cuda_state(b);
    CudaRecords *r = s->records;
    double now = time_now();
    if (!cuda_state(b)->records->counts.recorded) r->first = now;
    r->begun = now;
    if (r->n < MOST_RECORDS && cuda_state(b)->records->counts.bytes + largest(r) <= s->scratch.recorded_bytes)
        return true;
    if (cuda_state(b)->records->counts.seconds * TIME_SHARE <= now - r->first) return true;
    cuda_state(b)->records->counts.refused++;
    return false;
}

static void give_up(Backend *b, const char *why) {
    cudaGetLastError(); // clears it
    log_warn("passes are not recorded as CUDA graphs, which is slower where a pass is short: %s", why);
    cuda_state(b)->graphs = false;
}

void cuda_record(Backend *b, uint64_t key) {
    CudaState *s = cuda_state(b);
    CHECK(!s->recording, "recording in a recording");
    if (!s->graphs || cuda_failed(b) || !may_record(b)) return;
    cuda_settle(b); // events from outside cannot be waited for inside
    // Thread-local: other threads may use their devices meanwhile.
    cudaError_t error = cudaStreamBeginCapture(s->stream, cudaStreamCaptureModeThreadLocal);
    if (error != cudaSuccess) {
        give_up(b, cudaGetErrorString(error));
        return;
    }
    s->recording = true;
    s->epoch++;
    s->records->key = key;
}

static void drop_oldest(Backend *b) {
    CudaRecords *r = cuda_state(b)->records;
    Record *oldest = r->list;
    for (Record *i = r->list; i < r->list + r->n; i++)
        if (i->used < oldest->used) oldest = i;
    cuda_sync(b); // it may still run
    cudaGraphExecDestroy(oldest->graph);
    cuda_state(b)->records->counts.bytes -= oldest->bytes;
    cuda_state(b)->records->counts.dropped++;
    *oldest = r->list[--r->n];
}

// Keeps a pass and runs it. One that is larger than all may be together runs once.
static void keep(Backend *b, cudaGraphExec_t graph, size_t bytes) {
    CudaState *s = cuda_state(b);
    CudaRecords *r = s->records;
    size_t most = s->scratch.recorded_bytes;
    while (r->n && (r->n == MOST_RECORDS || cuda_state(b)->records->counts.bytes + bytes > most)) drop_oldest(b);
    Record *record = &r->list[r->n++];
    *record = (Record){.key = r->key, .graph = graph, .bytes = bytes};
    cuda_state(b)->records->counts.bytes += bytes;
    cuda_state(b)->records->counts.recorded++;
    cuda_state(b)->records->counts.seconds += time_now() - r->begun;
    launch(b, record);
    cuda_state(b)->records->counts.replayed--;
    if (bytes <= most) return;
    drop_oldest(b);
    char why[128];
    snprintf(why, sizeof why, "one takes %.1f MB of the device, all may take %.1f MB", (double)bytes / 1e6,
             (double)most / 1e6);
    give_up(b, why);
}

static size_t free_bytes(void) {
    size_t free = 0, total = 0;
    return cudaMemGetInfo(&free, &total) == cudaSuccess ? free : 0;
}

// What was captured, ready to be launched; its memory, *bytes, is taken here, so that the launch does not fail. NULL:
// *error.
static cudaGraphExec_t end_capture(CudaState *s, size_t *bytes, cudaError_t *error) {
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    *error = cudaStreamEndCapture(s->stream, &graph); // also after a fault: the stream must leave capture mode
    size_t before = free_bytes();
    if (*error == cudaSuccess) *error = cudaGraphInstantiate(&exec, graph, 0);
    if (*error == cudaSuccess) *error = cudaGraphUpload(exec, s->stream);
    size_t after = free_bytes();
    *bytes = after < before ? before - after : 0;
    if (graph) cudaGraphDestroy(graph);
    if (exec && *error != cudaSuccess) cudaGraphExecDestroy(exec);
    return *error == cudaSuccess ? exec : NULL;
}

// After a recording that failed: a call that cannot be captured is no fault of the device. False: the device has
// failed.
static bool is_well(Backend *b, cudaError_t error) {
    CudaState *s = cuda_state(b);
    Err fault = s->fault;
    s->fault = (Err){.kind = ERR_NONE};
    cudaGetLastError(); // clears it
    cuda_sync(b);
    if (cuda_failed(b)) {
        if (fault.kind != ERR_NONE) s->fault = fault; // the first one
        return false;
    }
    give_up(b, fault.kind != ERR_NONE ? fault.msg : cudaGetErrorString(error));
    return true;
}

bool cuda_record_end(Backend *b) {
    CudaState *s = cuda_state(b);
    if (!s->recording) return true; // the calls were queued
    cuda_settle(b);                 // the transfer stream is part of the capture and must join it
    cudaError_t error;
    size_t bytes;
    cudaGraphExec_t exec = end_capture(s, &bytes, &error);
    s->recording = false;
    s->epoch++;
    if (exec && !cuda_failed(b)) {
        keep(b, exec, bytes);
        return true;
    }
    if (exec) cudaGraphExecDestroy(exec);
    return !is_well(b, error);
}

void cuda_forget(Backend *b) {
    CudaRecords *r = cuda_state(b)->records;
    if (!r->n) return;
    cuda_sync(b);
    for (int i = 0; i < r->n; i++) cudaGraphExecDestroy(r->list[i].graph);
    r->n = 0;
    cuda_state(b)->records->counts.bytes = 0;
}
