// Bytes as what a peer sends over the connection of the heartbeat (heartbeat_wire.h), in pieces whose lengths the first
// byte chooses.
#include <sys/socket.h>

#include "fuzz.h"
#include "heartbeat_wire.h"

// What has come is read; false: the connection is over.
static bool read_frames(HeartbeatWire *w) {
    HeartbeatFrame f;
    for (;;) {
        WireEvent e = wire_get(w, &f);
        if (e == WIRE_NOTHING) return true;
        if (e != WIRE_FRAME) return false;
        CHECK(f.kind >= FRAME_BEAT && f.kind <= FRAME_ALARM && f.text_size <= FRAME_MAX_TEXT);
        CHECK(f.text[f.text_size] == 0);
        fuzz_touch(f.text, f.text_size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fds[2];
    if (!size) return 0;
    size_t piece = (size_t)data[0] * 16 + 1;
    HeartbeatWire *w = mem_calloc(1, sizeof *w);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    w->fd = fds[0];
    bool open = true;
    for (size_t at = 1; at < size && open; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        CHECK(write(fds[1], data + at, n) == (ssize_t)n);
        open = read_frames(w);
    }
    close(fds[1]);
    CHECK(!read_frames(w));
    wire_close(w);
    mem_free(w);
    return 0;
}
