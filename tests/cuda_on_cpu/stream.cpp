// stream: streams, events and graphs of the emulated devices. Work is put off until somebody waits for it, so that a
// missing wait shows: a host that reads too early sees old bytes, a stream that does not wait for another's event runs
// before it. Work of one stream runs in order, on the thread that waits. A graph is the list of captured work in the
// order of its calls.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <mutex>

#include "emulated.h"
#include "emulation.h"
#include "settings.h"

using namespace emu;

// A graph while it is captured, and afterwards.
struct CUgraph_st {
    std::vector<Work> work;
    cudaStream_t origin = nullptr;
    std::vector<cudaStream_t> streams; // all that take part
    bool invalid = false;
};
struct CUgraphExec_st {
    std::shared_ptr<std::vector<Work>> work;
    int device;
    size_t bytes() const { return work->size() * GRAPH_NODE_BYTES; }
};
struct CUstream_st {
    int device = 0;
    bool blocking = true; // waits for the legacy default stream
    std::recursive_mutex lock;
    std::deque<Work> queue;
    uint64_t submitted = 0, done = 0;
    bool hung = false; // its first work never ends
    cudaGraph_t capture = nullptr;
    bool forked_work = false; // captured work that the origin has not waited for
};
struct CUevent_st {
    cudaStream_t stream = nullptr; // NULL: never recorded
    uint64_t at = 0;
    cudaGraph_t capture = nullptr; // recorded in this capture
    std::chrono::steady_clock::time_point time;
};

namespace emu {
namespace {
std::mutex &registry_lock() {
    static std::mutex lock;
    return lock;
}
std::vector<cudaStream_t> &registry() {
    static auto *all = new std::vector<cudaStream_t>;
    return *all;
}
thread_local cudaStream_t running; // whose work this thread does
thread_local int captures;         // that this thread has begun

// The legacy default stream of the thread's device.
cudaStream_t resolve(cudaStream_t s) {
    if (s) return s;
    static std::mutex lock;
    static auto &defaults = *new std::vector<CUstream_st *>; // kept to the end: nothing leaks
    std::lock_guard<std::mutex> hold(lock);
    size_t device = (size_t)current_device();
    while (defaults.size() <= device) defaults.push_back(nullptr);
    if (!defaults[device]) {
        defaults[device] = new CUstream_st;
        defaults[device]->device = (int)device;
    }
    return defaults[device];
}

void finish_until(cudaStream_t s, uint64_t at) {
    std::lock_guard<std::recursive_mutex> hold(s->lock);
    if (s->done >= at) return;
    MemoryScope scope;
    while (s->done < at && !s->queue.empty() && !s->hung) {
        Work work = std::move(s->queue.front());
        s->queue.pop_front();
        cudaStream_t outer = running;
        running = s;
        if (!sticky()) work(); // after a fault nothing runs
        running = outer;
        s->done++;
    }
}

void invalidate(cudaGraph_t g) { g->invalid = true; }

// Calls that wait are errors on a stream that is captured, and make the capture invalid.
bool refuse_wait(cudaStream_t s) {
    if (s->capture) invalidate(s->capture);
    return s->capture != nullptr;
}
} // namespace

void hang() { running->hung = true; }
void let_go(cudaStream_t s) { resolve(s)->hung = false; }

bool capturing(cudaStream_t s) { return resolve(s)->capture != nullptr; }
bool any_capture() { return captures > 0; }

void enqueue(cudaStream_t stream, Work work) {
    cudaStream_t s = resolve(stream);
    if (s->capture) {
        if (recording_fails(EMULATED_NO_CALL)) {
            invalidate(s->capture);
            fail(cudaErrorStreamCaptureUnsupported);
        }
        s->capture->work.push_back(std::move(work));
        s->forked_work = true;
        return;
    }
    if (!stream) finish_all(); // the legacy default stream waits for the others, and they for it
    {
        std::lock_guard<std::recursive_mutex> hold(s->lock);
        s->queue.push_back(std::move(work));
        s->submitted++;
    }
    if (!stream) finish(s);
}

void finish(cudaStream_t stream) {
    cudaStream_t s = resolve(stream);
    finish_until(s, s->submitted);
}

void finish_all() {
    std::vector<cudaStream_t> all;
    {
        std::lock_guard<std::mutex> hold(registry_lock());
        all = registry();
    }
    for (cudaStream_t s : all)
        if (s->device == current_device() && !s->capture) finish_until(s, s->submitted);
}
} // namespace emu

// ---- streams ----

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags) {
    if (sticky()) return sticky();
    *s = new CUstream_st;
    (*s)->device = current_device();
    (*s)->blocking = !(flags & cudaStreamNonBlocking);
    std::lock_guard<std::mutex> hold(registry_lock());
    registry().push_back(*s);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithFlags(s, cudaStreamDefault); }
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int) {
    return cudaStreamCreateWithFlags(s, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
    finish(s);
    static auto *graves = new std::vector<cudaStream_t>; // events may still name it
    std::lock_guard<std::mutex> hold(registry_lock());
    registry().erase(std::find(registry().begin(), registry().end(), s));
    graves->push_back(s);
    return sticky();
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
    if (refuse_wait(resolve(s))) return fail(cudaErrorStreamCaptureUnsupported);
    finish(s);
    if (resolve(s)->hung) fault("a wait for a stream that hangs: another rank is gone");
    return sticky();
}
cudaError_t cudaStreamQuery(cudaStream_t s) {
    if (refuse_wait(resolve(s))) return fail(cudaErrorStreamCaptureUnsupported);
    finish(s);
    return resolve(s)->hung ? cudaErrorNotReady : sticky();
}
cudaError_t cudaDeviceSynchronize(void) {
    if (any_capture()) return fail(cudaErrorStreamCaptureUnsupported);
    finish_all();
    return sticky();
}
cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void *data) {
    enqueue(s, [f, data] { f(data); });
    return sticky();
}

// ---- events ----

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned) {
    if (sticky()) return sticky();
    *e = new CUevent_st;
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t e) {
    if (e->stream && !e->capture) finish_until(e->stream, e->at); // the queue may still write its time
    delete e;
    return sticky();
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t stream) {
    cudaStream_t s = resolve(stream);
    e->stream = s;
    e->capture = s->capture;
    if (s->capture) return sticky();
    enqueue(stream, [e] { e->time = std::chrono::steady_clock::now(); });
    e->at = s->submitted;
    return sticky();
}
cudaError_t cudaEventSynchronize(cudaEvent_t e) {
    if (e->capture) return fail(cudaErrorCapturedEvent);
    if (e->stream) finish_until(e->stream, e->at);
    return sticky();
}
cudaError_t cudaEventQuery(cudaEvent_t e) { return cudaEventSynchronize(e); }
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
    if (!from->stream || !to->stream) return fail(cudaErrorInvalidResourceHandle);
    *ms = std::chrono::duration<float, std::milli>(to->time - from->time).count();
    return sticky();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t e, unsigned) {
    cudaStream_t s = resolve(stream);
    if (!e->stream) return sticky();
    if (e->capture) { // the stream joins the capture, or comes back to its origin
        if (s->capture && s->capture != e->capture) return fail(cudaErrorStreamCaptureMerge);
        if (!s->capture) {
            s->capture = e->capture;
            s->forked_work = false;
            e->capture->streams.push_back(s);
        }
        if (s == e->capture->origin) e->stream->forked_work = false;
        return sticky();
    }
    if (s->capture) {
        invalidate(s->capture);
        return fail(cudaErrorStreamCaptureIsolation);
    }
    cudaStream_t other = e->stream;
    uint64_t at = e->at;
    if (other != s) enqueue(stream, [other, at] { finish_until(other, at); });
    return sticky();
}

// ---- graphs ----

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode) {
    if (sticky()) return sticky();
    if (!s) return fail(cudaErrorStreamCaptureUnsupported);
    if (s->capture) return fail(cudaErrorIllegalState);
    if (recording_fails(EMULATED_NO_BEGIN)) return fail(cudaErrorStreamCaptureUnsupported);
    s->capture = new CUgraph_st;
    s->capture->origin = s;
    s->capture->streams = {s};
    captures++;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g) {
    *g = nullptr;
    if (!s->capture || s->capture->origin != s) return fail(cudaErrorIllegalState);
    cudaGraph_t graph = s->capture;
    bool joined = true;
    if (recording_fails(EMULATED_NO_END)) invalidate(graph);
    for (cudaStream_t part : graph->streams) {
        if (part != s && part->forked_work) joined = false;
        part->capture = nullptr;
    }
    captures--;
    if (joined && !graph->invalid) {
        *g = graph;
        return sticky();
    }
    cudaError_t e = graph->invalid ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnjoined;
    delete graph;
    return fail(e);
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *status) {
    *status = capturing(s) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return sticky();
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *x, cudaGraph_t g, unsigned long long) {
    if (sticky()) return sticky();
    if (recording_fails(EMULATED_NO_GRAPH)) return fail(cudaErrorMemoryAllocation);
    *x = new CUgraphExec_st{std::make_shared<std::vector<Work>>(g->work), current_device()};
    take_hidden((*x)->device, (ptrdiff_t)(*x)->bytes());
    return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return sticky(); }
cudaError_t cudaGraphLaunch(cudaGraphExec_t x, cudaStream_t s) {
    std::shared_ptr<std::vector<Work>> all = x->work;
    enqueue(s, [all] {
        for (const Work &work : *all)
            if (!sticky()) work();
    });
    return sticky();
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t x) {
    take_hidden(x->device, -(ptrdiff_t)x->bytes());
    delete x;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
    delete g;
    return cudaSuccess;
}

// ---- copies ----

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t s) {
    if (sticky()) return sticky();
    if (!bytes) return cudaSuccess;
    bool from_host = !on_device(src), to_host = !on_device(dst);
    if (kind != cudaMemcpyDefault && (from_host != (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyHostToHost) ||
                                      to_host != (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyHostToHost)))
        return fail(cudaErrorInvalidMemcpyDirection);
    check_range("cudaMemcpy to", dst, bytes);
    check_range("cudaMemcpy from", src, bytes);
    bool staged = from_host && !pinned(src), waits = to_host && !pinned(dst);
    if ((staged || waits) && capturing(s)) {
        invalidate(resolve(s)->capture);
        return fail(cudaErrorStreamCaptureUnsupported);
    }
    if (staged) { // read before the call returns
        auto copy = std::make_shared<std::vector<char>>((const char *)src, (const char *)src + bytes);
        enqueue(s, [dst, copy] { memcpy(dst, copy->data(), copy->size()); });
    } else
        enqueue(s, [dst, src, bytes] { memmove(dst, src, bytes); });
    return waits ? cudaStreamSynchronize(s) : sticky(); // of memory that is not pinned: the call waits in the driver
}
cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, enum cudaMemcpyKind kind) {
    if (any_capture()) return fail(cudaErrorStreamCaptureImplicit);
    cudaError_t e = cudaMemcpyAsync(dst, src, bytes, kind, nullptr);
    return e ? e : cudaStreamSynchronize(nullptr);
}
cudaError_t cudaMemcpy2DAsync(void *dst, size_t dst_pitch, const void *src, size_t src_pitch, size_t width,
                              size_t height, enum cudaMemcpyKind kind, cudaStream_t s) {
    if (width > dst_pitch || width > src_pitch) return fail(cudaErrorInvalidPitchValue);
    for (size_t i = 0; i < height; i++) {
        cudaError_t e = cudaMemcpyAsync((char *)dst + i * dst_pitch, (const char *)src + i * src_pitch, width, kind, s);
        if (e) return e;
    }
    return sticky();
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s) {
    if (sticky()) return sticky();
    if (!bytes) return cudaSuccess;
    if (!on_device(p)) return fail(cudaErrorInvalidValue);
    check_range("cudaMemset", p, bytes);
    enqueue(s, [p, value, bytes] { memset(p, value, bytes); });
    return sticky();
}
cudaError_t cudaMemset(void *p, int value, size_t bytes) {
    if (any_capture()) return fail(cudaErrorStreamCaptureImplicit);
    return cudaMemsetAsync(p, value, bytes, nullptr);
}
