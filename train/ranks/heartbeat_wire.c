#include "heartbeat_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint32_t MAGIC = 0x74616542; // "Beat" in little-endian order

_Static_assert(offsetof(HeartbeatFrame, text) == FRAME_HEAD, "the head has no padding");

void wire_flush(HeartbeatWire *w) {
    while (w->out_size > 0) {
        ssize_t n = send(w->fd, w->out, w->out_size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        w->out_size -= (size_t)n;
        memmove(w->out, w->out + n, w->out_size);
    }
}

void wire_put(HeartbeatWire *w, const HeartbeatFrame *f) {
    HeartbeatFrame frame = *f;
    frame.magic = MAGIC;
    size_t size = FRAME_HEAD + frame.text_size;
    CHECK(frame.text_size <= FRAME_MAX_TEXT, "a text of %u bytes", frame.text_size);
    if (w->fd < 0) return;
    wire_flush(w);
    bool beat = frame.kind == FRAME_BEAT;
    if (w->out_size > (beat ? 0 : sizeof w->out - size))
        return; // full: a peer that reads nothing is detected by silence
    memcpy(w->out + w->out_size, &frame, size);
    w->out_size += size;
    wire_flush(w);
}

void wire_put_text(HeartbeatWire *w, FrameKind kind, int status, const char *text) {
    HeartbeatFrame f = {.kind = (uint8_t)kind, .status = (uint8_t)status};
    if (text) f.text_size = (uint32_t)strnlen(text, FRAME_MAX_TEXT);
    if (text) memcpy(f.text, text, f.text_size);
    wire_put(w, &f);
}

// Removes the first frame from the received bytes.
static WireEvent take(HeartbeatWire *w, HeartbeatFrame *f) {
    if (w->in_size < FRAME_HEAD) return WIRE_NOTHING;
    memcpy(f, w->in, FRAME_HEAD);
    if (f->magic != MAGIC || f->kind < FRAME_BEAT || f->kind > FRAME_ALARM || f->text_size > FRAME_MAX_TEXT)
        return WIRE_GARBAGE;
    size_t size = FRAME_HEAD + f->text_size;
    if (w->in_size < size) return WIRE_NOTHING;
    memcpy(f->text, w->in + FRAME_HEAD, f->text_size);
    f->text[f->text_size] = 0;
    w->in_size -= size;
    memmove(w->in, w->in + size, w->in_size);
    return WIRE_FRAME;
}

WireEvent wire_get(HeartbeatWire *w, HeartbeatFrame *f) {
    if (w->fd < 0) return WIRE_NOTHING;
    for (;;) {
        WireEvent e = take(w, f);
        if (e != WIRE_NOTHING) return e;
        ssize_t n = recv(w->fd, w->in + w->in_size, sizeof w->in - w->in_size, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return WIRE_NOTHING;
        if (n <= 0) return WIRE_ENDED; // reset and timed-out connections included
        w->in_size += (size_t)n;
    }
}

void wire_close(HeartbeatWire *w) {
    if (w->fd >= 0) close(w->fd);
    w->fd = -1;
    w->in_size = w->out_size = 0;
}
