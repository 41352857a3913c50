// heartbeat_wire: the heartbeat's messages over one connection, in both directions, non-blocking.
//
//   bytes 0-3   magic, in native byte order, which all ranks of a run share
//   4-7         kind, phase, exit status, 0
//   8-11        length of the text
//   12-15       0
//   16-31       step, progress
//   32-         the text, at most FRAME_MAX_TEXT bytes
// Anything else is garbage.
#pragma once

#include "base.h"

typedef enum {
    FRAME_BEAT = 1, // phase, step, progress
    FRAME_STOP,     // save and stop
    FRAME_GOODBYE,  // exits, its work is done
    FRAME_FAILED,   // exits with `status` and the message in `text`
    FRAME_ALARM,    // rank 0: the run has ended; `text`: the reason
} FrameKind;

enum { FRAME_HEAD = 32, FRAME_MAX_TEXT = 1536, FRAME_MAX = FRAME_HEAD + FRAME_MAX_TEXT };

typedef struct HeartbeatFrame {
    uint32_t magic; // set by wire_put
    uint8_t kind, phase, status, zero;
    uint32_t text_size, zeros;
    int64_t step, progress;
    char text[FRAME_MAX_TEXT + 1]; // NUL-terminated, the NUL is not sent
} HeartbeatFrame;

typedef struct HeartbeatWire {
    int fd; // -1: closed
    size_t in_size, out_size;
    unsigned char in[FRAME_MAX], out[2 * FRAME_MAX];
} HeartbeatWire;

// Sends, or queues what the connection does not accept now. A beat is dropped while something is queued.
// wire_get reports errors.
void wire_put(HeartbeatWire *w, const HeartbeatFrame *f);
void wire_flush(HeartbeatWire *w);
// text may be NULL.
void wire_put_text(HeartbeatWire *w, FrameKind kind, int status, const char *text);

typedef enum { WIRE_NOTHING, WIRE_FRAME, WIRE_ENDED, WIRE_GARBAGE } WireEvent;
WireEvent wire_get(HeartbeatWire *w, HeartbeatFrame *f);
void wire_close(HeartbeatWire *w);
