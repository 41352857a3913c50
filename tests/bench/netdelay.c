// netdelay: a switch with slow cables, in user space, for kernels without netem.
// usage: netdelay MILLISECONDS MBIT NAME...: makes a TAP device of each name, prints "ready" and passes frames on, each
// so much later and no faster than so many Mbit/s (0: as fast as it can), until it is killed. The devices may be moved
// into other network namespaces meanwhile.
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base.h"

enum { MAX_PORTS = 16, MAX_FRAME = 65536, MAX_WAITING = 1 << 12, MAC_BYTES = 6 };

typedef struct Frame {
    double due;
    size_t n;
    unsigned char *bytes;
} Frame;

// One cable: frames on their way out, oldest first.
typedef struct Port {
    int fd;
    unsigned char mac[MAC_BYTES]; // of who is at the other end, learnt from what it sends
    Frame waiting[MAX_WAITING];   // a ring
    unsigned first, end;          // count up for ever
    double free_at;               // when the cable has sent what it was given
} Port;

typedef struct Switch {
    Port *ports;
    int n;
    double delay, bytes_per_second; // 0: any
} Switch;

static int open_tap(const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request)) {
        fprintf(stderr, "netdelay: %s: %s\n", name, strerror(errno));
        exit(1);
    }
    return fd;
}

// A full queue drops the frame, as switches do.
static void put(const Switch *s, Port *to, const unsigned char *bytes, size_t n) {
    if (to->end - to->first == MAX_WAITING) return;
    double now = time_now(), start = to->free_at > now ? to->free_at : now;
    to->free_at = start + (s->bytes_per_second > 0 ? (double)n / s->bytes_per_second : 0);
    Frame *f = &to->waiting[to->end++ % MAX_WAITING];
    *f = (Frame){.due = to->free_at + s->delay, .n = n, .bytes = mem_alloc(n, 1)};
    memcpy(f->bytes, bytes, n);
}

static void pass_on(const Switch *s, Port *from, const unsigned char *bytes, size_t n) {
    Port *known = NULL;
    memcpy(from->mac, bytes + MAC_BYTES, MAC_BYTES);
    for (int i = 0; i < s->n; i++)
        if (!memcmp(s->ports[i].mac, bytes, MAC_BYTES)) known = &s->ports[i];
    for (int i = 0; i < s->n; i++)
        if (&s->ports[i] != from && (!known || known == &s->ports[i])) put(s, &s->ports[i], bytes, n);
}

static void take(const Switch *s, Port *from) {
    unsigned char frame[MAX_FRAME];
    for (ssize_t n; (n = read(from->fd, frame, sizeof frame)) > 0;)
        if (n >= 2 * MAC_BYTES) pass_on(s, from, frame, (size_t)n);
}

// Sends what is due; returns when the next frame is.
static double deliver(Port *p, double now) {
    for (; p->first != p->end; p->first++) {
        Frame *f = &p->waiting[p->first % MAX_WAITING];
        if (f->due > now) return f->due;
        ssize_t written = write(p->fd, f->bytes, f->n); // a device that is down loses it
        (void)written;
        mem_free(f->bytes);
    }
    return now + 1;
}

int main(int argc, char **argv) {
    struct pollfd polls[MAX_PORTS];
    if (argc < 5 || argc - 3 > MAX_PORTS) {
        fprintf(stderr, "usage: netdelay MILLISECONDS MBIT NAME NAME...\n");
        return 2;
    }
    Switch s = {.n = argc - 3, .delay = atof(argv[1]) / 1e3, .bytes_per_second = atof(argv[2]) * 1e6 / 8};
    s.ports = mem_calloc((size_t)s.n, sizeof *s.ports);
    for (int i = 0; i < s.n; i++) {
        s.ports[i].fd = open_tap(argv[3 + i]);
        polls[i] = (struct pollfd){.fd = s.ports[i].fd, .events = POLLIN};
    }
    prctl(PR_SET_TIMERSLACK, 1);
    puts("ready");
    fflush(stdout);
    for (;;) {
        double now = time_now(), next = now + 1;
        for (int i = 0; i < s.n; i++) {
            double due = deliver(&s.ports[i], now);
            if (due < next) next = due;
        }
        double wait = next - time_now();
        struct timespec time = {.tv_nsec = wait <= 0 ? 0 : wait >= 0.999 ? 999000000 : (long)(wait * 1e9)};
        if (ppoll(polls, (nfds_t)s.n, &time, NULL) <= 0) continue;
        for (int i = 0; i < s.n; i++)
            if (polls[i].revents & POLLIN) take(&s, &s.ports[i]);
    }
}
