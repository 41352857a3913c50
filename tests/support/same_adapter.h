// same_adapter: adapters of runs with the same bits; a run on two ranks.
#pragma once

#include <unistd.h>

#include "cli_runner.h"
#include "sockets.h"

static inline char *adapter_hash(const char *dir) {
    AUTO_FREE char *command = mem_printf("sha256sum < %s/adapter/adapter_model.safetensors", dir);
    return command_output(command, 0);
}

static inline void check_same(const char *a, const char *b) {
    AUTO_FREE char *first = adapter_hash(a), *second = adapter_hash(b);
    assert_string_equal(first, second);
}

// The words on two ranks of this machine.
static inline void run_two_ranks(const char *words) {
    int fd, port = 0;
    Err err;
    ASSERT_OK(socket_listen(&fd, &port, "127.0.0.1", &err), &err);
    close(fd);
    AUTO_FREE char *command = mem_printf(
        "export XDG_CACHE_HOME=$PWD/cache WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 "
        "MASTER_PORT=%d; RANK=1 LOCAL_RANK=1 '%s' %s >rank1 2>&1 & RANK=0 LOCAL_RANK=0 '%s' %s 2>&1; wait $!",
        port, LORAC, words, LORAC, words);
    mem_free(command_output(command, 0));
}
