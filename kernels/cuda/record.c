// record: recorded passes as CUDA graphs: one call replays the work that was queued between record and record_end.
//
// A graph holds addresses and arguments, so all memory of a pass must stay in place: arenas, weights, workspace, tiles,
// pinned memory. Code that moves one calls forget. The MOST_RECORDS most recently used passes are kept.
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

void cuda_record(Backend *b, uint64_t key) {
    CudaState *s = cuda_state(b);
    CHECK(!s->recording, "recording in a recording");
    cuda_settle(b); // events from outside cannot be waited for inside
    s->recording = true;
    s->epoch++;
    s->records->key = key;
    // Thread-local: other threads may use their devices meanwhile.
    if (!cuda_failed(b))
        cuda_check(b, cudaStreamBeginCapture(s->stream, cudaStreamCaptureModeThreadLocal), "recording");
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

void cuda_record_end(Backend *b) {
    CudaState *s = cuda_state(b);
    CHECK(s->recording, "the end of no recording");
    cuda_settle(b); // the transfer stream is part of the capture and must join it
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    cudaError_t error =
        cudaStreamEndCapture(s->stream, &graph); // also after a fault: the stream must leave capture mode
    s->recording = false;
    s->epoch++;
    if (!cuda_failed(b) && cuda_check(b, error, "recording") &&
        cuda_check(b, cudaGraphInstantiate(&exec, graph, 0), "recording")) {
        Record *record = room(b);
        *record = (Record){.key = s->records->key, .graph = exec};
        launch(b, record);
    }
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError(); // of the calls that only clean up after a fault
}

void cuda_forget(Backend *b) {
    CudaRecords *r = cuda_state(b)->records;
    if (!r->n) return;
    cuda_sync(b);
    for (int i = 0; i < r->n; i++) cudaGraphExecDestroy(r->list[i].graph);
    r->n = 0;
}
