// record: recorded passes as CUDA graphs: one call replays the work that was queued between record and record_end.
//
// A graph holds addresses and arguments, so all memory of a pass must stay in place: arenas, weights, workspace, tiles,
// pinned memory. Code that moves one calls forget. The MOST_RECORDS most recently used passes are kept. Recording is
// an optimisation: where it fails or is not wanted (LORAC_CUDA_GRAPHS=0), passes are queued call by call.
#include "cuda.h"

enum { MOST_RECORDS = 32 };

typedef struct Record {
    uint64_t key, used; // `used`: the clock when it was replayed last
    cudaGraphExec_t graph;
} Record;

struct CudaRecords {
    Record list[MOST_RECORDS];
    int n;
    uint64_t clock, key; // of the pass being recorded
};

int cuda_records_open(Backend *b, Err *err) {
    cuda_state(b)->records = mem_calloc(1, sizeof(CudaRecords));
    return 0;
}

void cuda_records_close(Backend *b) {
    CudaRecords *r = cuda_state(b)->records;
    if (!r) return;
    for (int i = 0; i < r->n; i++) cudaGraphExecDestroy(r->list[i].graph);
    mem_free(r);
}

static void launch(Backend *b, Record *record) {
    CudaState *s = cuda_state(b);
    record->used = ++s->records->clock;
    s->epoch++;
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

static void give_up(Backend *b, const char *why) {
    cudaGetLastError(); // clears it
    log_warn("passes are not recorded as CUDA graphs, which is slower where a pass is short: %s", why);
    cuda_state(b)->graphs = false;
}

void cuda_record(Backend *b, uint64_t key) {
    CudaState *s = cuda_state(b);
    CHECK(!s->recording, "recording in a recording");
    if (!s->graphs || cuda_failed(b)) return;
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

// A free entry, or the least recently used one.
static Record *room(Backend *b) {
    CudaRecords *r = cuda_state(b)->records;
    if (r->n < MOST_RECORDS) return &r->list[r->n++];
    Record *oldest = r->list;
    for (Record *i = r->list; i < r->list + r->n; i++)
        if (i->used < oldest->used) oldest = i;
    cuda_sync(b); // it may still run
    cudaGraphExecDestroy(oldest->graph);
    return oldest;
}

// What was captured, ready to be launched; its memory is taken here, so that the launch does not fail. NULL: *error.
static cudaGraphExec_t end_capture(CudaState *s, cudaError_t *error) {
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    *error = cudaStreamEndCapture(s->stream, &graph); // also after a fault: the stream must leave capture mode
    if (*error == cudaSuccess) *error = cudaGraphInstantiate(&exec, graph, 0);
    if (*error == cudaSuccess) *error = cudaGraphUpload(exec, s->stream);
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
    cudaGraphExec_t exec = end_capture(s, &error);
    s->recording = false;
    s->epoch++;
    if (exec && !cuda_failed(b)) {
        Record *record = room(b);
        *record = (Record){.key = s->records->key, .graph = exec};
        launch(b, record);
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
}
