// shared: the shared memory of the block that runs: its dynamic part first, then each array of SHARED at its first use,
// with a gap between them. All is NaN (-1 as an integer) when a block begins, so that reads before writes show; writes
// into a gap are found when the block ends, or at once under AddressSanitizer.
#include <cstring>
#include <sys/mman.h>
#include <vector>

#include "emu.h"

#include "emulation.h"
#include "fiber.h"

namespace emu {
namespace {
enum { GAP = 128, SPACE = 4 * SHARED_LIMIT };
const size_t MAP = LANES_KEEP_FIBERS ? (size_t)256 << 20 : (size_t)SPACE;

struct Array {
    const void *key;
    const char *name;
    size_t offset, bytes;
};

// What the address space is used for next may be touched.
void give_back(char *memory) {
    forbid(memory, MAP, false);
    munmap(memory, MAP);
}

struct Arena {
    char *memory = nullptr;
    size_t start = 0; // of the block's part
    size_t used = 0, bytes_of_arrays = 0;
    std::vector<Array> arrays; // [0] is the dynamic part
    ~Arena() {
        if (memory) give_back(memory);
    }
};
thread_local Arena arena;

size_t round_up(size_t n, size_t align) { return (n + align - 1) / align * align; }

char *add(const void *key, const char *name, size_t bytes, size_t align) {
    size_t offset = round_up(arena.used, align > GAP ? align : (size_t)GAP);
    arena.bytes_of_arrays = round_up(arena.bytes_of_arrays, align) + bytes;
    if (arena.bytes_of_arrays > SHARED_LIMIT || offset + bytes + GAP > SPACE)
        fault("shared memory of a block is full: %zu bytes with array %s, a block has %d", arena.bytes_of_arrays, name,
              (int)SHARED_LIMIT);
    arena.used = offset + bytes + GAP;
    arena.arrays.push_back({key, name, offset, bytes});
    char *p = arena.memory + arena.start + offset;
    forbid(p, bytes + GAP, false);
    poison(p, bytes + GAP);
    forbid(p + bytes, GAP, true);
    return p;
}
} // namespace

void shared_begin(size_t dynamic) {
    RaceOrder::hide_begin();
    if (LANES_KEEP_FIBERS) arena.start += round_up(arena.used, GAP); // blocks do not order each other: fresh memory
    if (arena.memory && arena.start + SPACE > MAP) {
        give_back(arena.memory);
        arena.memory = nullptr;
        arena.start = 0;
    }
    if (!arena.memory) {
        void *p = mmap(nullptr, MAP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) fault("no memory for the shared memory of a block");
        arena.memory = (char *)p;
        forbid(arena.memory, MAP, true);
    }
    arena.used = arena.bytes_of_arrays = 0;
    arena.arrays.clear();
    add(nullptr, "of the launch", dynamic, 1024);
    RaceOrder::hide_end();
}

void shared_end() {
    for (const Array &a : arena.arrays) {
        const unsigned char *gap = (const unsigned char *)arena.memory + arena.start + a.offset + a.bytes;
        forbid(gap, GAP, false);
        for (int i = 0; i < GAP; i++)
            if (gap[i] != POISON)
                fault("shared array %s of %zu bytes: something was written %d bytes beyond its end", a.name, a.bytes,
                      i);
        forbid(arena.memory + arena.start + a.offset, a.bytes + GAP, true);
    }
}

void *shared_array(const void *key, const char *name, size_t bytes, size_t align) {
    for (const Array &a : arena.arrays)
        if (a.key == key) return arena.memory + arena.start + a.offset;
    RaceOrder::hide_begin();
    void *p = add(key, name, bytes, align);
    RaceOrder::hide_end();
    return p;
}

void *shared_dynamic(size_t) { return arena.memory + arena.start + arena.arrays[0].offset; }
} // namespace emu
