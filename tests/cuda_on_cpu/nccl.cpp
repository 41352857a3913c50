// nccl: NCCL over the emulated devices: ranks are processes of one machine. The unique id names a socket that rank 0,
// which made it, listens on; a sum goes to rank 0 and back. What real failures look like is not emulated beyond this: a
// rank that is gone, and one that never comes.
#include <nccl.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <thread>
#include <unistd.h>

#include "cuda_ranks.h"
#include "emulation.h"

struct ncclComm {
    int rank = 0, ranks = 1;
    std::vector<int> sockets; // rank 0: to each other rank; others: [0] to rank 0
    std::atomic<int> state{ncclInProgress};
    std::atomic<bool> aborted{false};
    std::thread joining;
    cudaStream_t held = nullptr; // by a sum that never ends
};

namespace {
std::mutex lock;
std::map<std::string, int> listening; // of ids that this process made

sockaddr_un address(const ncclUniqueId &id) { // an abstract socket of Linux: no file remains
    sockaddr_un a = sockaddr_un();
    a.sun_family = AF_UNIX;
    snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "%.80s", id.internal);
    return a;
}

bool send_all(int fd, const void *data, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t got = send(fd, (const char *)data + done, n - done, MSG_NOSIGNAL);
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}
bool receive_all(int fd, void *data, size_t n) {
    for (size_t done = 0; done < n;) {
        ssize_t got = recv(fd, (char *)data + done, n - done, 0);
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

// Something to read or to accept; false: the group was given up meanwhile.
bool wait_for(const ncclComm *c, int fd) {
    pollfd p = {fd, POLLIN, 0};
    while (!c->aborted && poll(&p, 1, 5) == 0) {
    }
    return !c->aborted;
}

// Rank 0: takes the others in, in any order.
bool accept_others(ncclComm *c, int listener) {
    c->sockets.assign((size_t)c->ranks, -1);
    for (int n = 1; n < c->ranks; n++) {
        int rank, fd = wait_for(c, listener) ? accept4(listener, nullptr, nullptr, SOCK_CLOEXEC) : -1;
        if (fd < 0) return false;
        if (!wait_for(c, fd) || !receive_all(fd, &rank, sizeof rank) || rank < 1 || rank >= c->ranks ||
            c->sockets[(size_t)rank] >= 0) {
            close(fd);
            return false;
        }
        c->sockets[(size_t)rank] = fd;
    }
    for (int n = 1; n < c->ranks; n++)
        if (!send_all(c->sockets[(size_t)n], "", 1)) return false; // all are here
    return true;
}

bool join_rank_0(ncclComm *c, const ncclUniqueId &id) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un a = address(id);
    c->sockets.assign(1, fd);
    char here;
    while (connect(fd, (sockaddr *)&a, sizeof a)) {
        if (c->aborted) return false;
        usleep(1000);
    }
    return send_all(fd, &c->rank, sizeof c->rank) && wait_for(c, fd) && receive_all(fd, &here, 1);
}

void join_group(ncclComm *c, ncclUniqueId id) {
    bool good;
    if (c->rank == 0) {
        int fd;
        {
            std::lock_guard<std::mutex> hold(lock);
            fd = listening.count(id.internal) ? listening[id.internal] : -1;
        }
        good = fd >= 0 && accept_others(c, fd);
        std::lock_guard<std::mutex> hold(lock);
        listening.erase(id.internal);
        if (fd >= 0) close(fd);
    } else
        good = join_rank_0(c, id);
    c->state = good ? ncclSuccess : ncclRemoteError;
}

void add(int64_t *sum, const int64_t *x, size_t n) {
    for (size_t i = 0; i < n; i++) sum[i] = (int64_t)((uint64_t)sum[i] + (uint64_t)x[i]);
}

bool sum_over_ranks(ncclComm *c, int64_t *data, size_t n) {
    size_t bytes = n * sizeof *data;
    if (c->rank) return send_all(c->sockets[0], data, bytes) && receive_all(c->sockets[0], data, bytes);
    std::vector<int64_t> other(n);
    for (int r = 1; r < c->ranks; r++) {
        if (!receive_all(c->sockets[(size_t)r], other.data(), bytes)) return false;
        add(data, other.data(), n);
    }
    for (int r = 1; r < c->ranks; r++)
        if (!send_all(c->sockets[(size_t)r], data, bytes)) return false;
    return true;
}

ncclResult_t leave(ncclComm *c) {
    if (!c) return ncclSuccess;
    c->aborted = true;
    if (c->joining.joinable()) c->joining.join();
    if (c->held) emu::let_go(c->held);
    for (int fd : c->sockets)
        if (fd >= 0) close(fd);
    delete c;
    return ncclSuccess;
}
} // namespace

ncclResult_t ncclGetVersion(int *version) {
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}
const char *ncclGetErrorString(ncclResult_t r) {
    return r == ncclSuccess       ? "no error"
           : r == ncclRemoteError ? "a remote process exited"
                                  : "an error of the emulated NCCL";
}
const char *ncclGetLastError(ncclComm_t) { return ""; }

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    static std::atomic<unsigned> number;
    memset(id, 0, sizeof *id);
    snprintf(id->internal, sizeof id->internal, "emulated-nccl-%ld-%u", (long)getpid(), number++);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un a = address(*id);
    if (fd < 0 || bind(fd, (sockaddr *)&a, sizeof a) || listen(fd, 64)) return ncclSystemError;
    std::lock_guard<std::mutex> hold(lock);
    listening[id->internal] = fd;
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config) {
    if (ranks < 1 || rank < 0 || rank >= ranks) return ncclInvalidArgument;
    ncclComm *c = *comm = new ncclComm;
    c->rank = rank;
    c->ranks = ranks;
    if (config && config->blocking == 0) {
        c->joining = std::thread(join_group, c, id);
        return ncclInProgress;
    }
    join_group(c, id);
    return (ncclResult_t)c->state.load();
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *state) {
    *state = (ncclResult_t)c->state.load();
    return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t c) { return (ncclResult_t)c->state.load(); }
ncclResult_t ncclCommDestroy(ncclComm_t c) { return leave(c); }
ncclResult_t ncclCommAbort(ncclComm_t c) { return leave(c); }

ncclResult_t ncclAllReduce(const void *from, void *to, size_t n, ncclDataType_t type, ncclRedOp_t op, ncclComm_t c,
                           cudaStream_t stream) {
    if (type != ncclInt64 || op != ncclSum || from != to) return ncclInvalidUsage; // what nobody here needs
    if (c->state != ncclSuccess) return (ncclResult_t)c->state.load();
    emu::check_range("ncclAllReduce", to, n * sizeof(int64_t));
    emu::enqueue(stream, [=] {
        if (sum_over_ranks(c, (int64_t *)to, n)) return;
        c->state = ncclRemoteError;
        c->held = stream;
        emu::hang(); // as the real one does
    });
    return ncclSuccess;
}

const bool cuda_emulated = true;

// Where the product loads lorac-nccl.so: its source is compiled into the emulation.
const RanksLibrary *cuda_ranks_library(Err *) { return lorac_nccl(); }
