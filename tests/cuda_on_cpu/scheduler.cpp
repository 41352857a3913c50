// scheduler: runs the blocks of a grid one after the other, the threads of a block as fibers of the calling thread.
//
// A thread runs until it waits: for its block (__syncthreads) or for lanes of its warp (shuffles, votes, __syncwarp).
// The last thread to arrive puts all waiting threads into the queue, in ascending, descending or shuffled order, so
// that a missing barrier shows in one order or another. When nobody can go on, the block hangs as it would on a GPU (or
// is undefined there), and the report names the barrier at which each thread waits. Threads that never wait share one
// fiber.
#include "emu.h"

#include "emulation.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "fiber.h"
#include "settings.h"

namespace emu {
__thread Place *here; // not thread_local: its wrapper confuses UndefinedBehaviorSanitizer

namespace {
enum State { READY, AT_WARP, AT_BLOCK, DONE };

struct Lane {
    Place place; // first: `here` points to it
    unsigned number;
    State state;
    Fiber *fiber;
    Site site;
    unsigned mask;
    Exchange *exchange;
};

struct Block {
    const Grid *grid;
    uint3 index;
    std::vector<Lane> lanes;
    std::vector<unsigned> waiting; // per warp: lanes in an exchange
    std::vector<Lane *> queue;     // ring of lanes that can run
    size_t head, queued;
    unsigned at_barrier, done;
    bool odd = false; // every other block
    int votes;        // predicates that were not 0
    Lane *current;
    Fibers fibers;
    RaceOrder races;
    uint64_t random = 1;
};
thread_local Block *block; // of this host thread, kept from grid to grid

uint64_t next_random(Block &b) { // xorshift64
    b.random ^= b.random << 13, b.random ^= b.random >> 7, b.random ^= b.random << 17;
    return b.random;
}

// Calls f(i) for i in [0, n) in the order that the test asked for.
template <class F> void in_order(Block &b, unsigned n, F f) {
    Order order = settings().order;
    if (order == Order::ascending)
        for (unsigned i = 0; i < n; i++) f(i);
    else if (order == Order::descending)
        for (unsigned i = n; i-- > 0;) f(i);
    else {
        std::vector<unsigned> p(n);
        for (unsigned i = 0; i < n; i++) p[i] = i;
        for (unsigned i = n; i > 1; i--) std::swap(p[i - 1], p[next_random(b) % i]);
        for (unsigned i : p) f(i);
    }
}

void push(Block &b, Lane *l) {
    size_t at = b.head + b.queued++;
    l->state = READY;
    b.queue[at < b.queue.size() ? at : at - b.queue.size()] = l;
}

std::string place_text(const Block &b, const Lane &l) {
    char text[160];
    snprintf(text, sizeof text, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u)", b.grid->name, b.index.x, b.index.y,
             b.index.z, l.place.thread.x, l.place.thread.y, l.place.thread.z);
    return text;
}

// Who waits where, when nobody can go on.
[[noreturn]] void report_hang(const Block &b) {
    struct Group {
        unsigned count, first;
    };
    std::map<std::string, Group> groups;
    for (const Lane &l : b.lanes) {
        std::string where = "returned";
        if (l.state != DONE) {
            where = "wait in " + std::string(l.site.what) + " at " + l.site.file + ":" + std::to_string(l.site.line);
            char mask[32];
            snprintf(mask, sizeof mask, " (mask 0x%08x)", l.mask);
            if (l.state == AT_WARP) where += mask;
        }
        auto at = groups.insert({where, {0, l.number}}).first;
        at->second.count++;
    }
    std::string text;
    for (auto &g : groups)
        text += (text.empty() ? "" : "; ") + std::to_string(g.second.count) + " threads " + g.first +
                " (first: thread " + std::to_string(g.second.first) + ")";
    fault("kernel %s, block (%u,%u,%u): divergent barrier, nobody can go on: %s", b.grid->name, b.index.x, b.index.y,
          b.index.z, text.c_str());
}

bool same_site(const Site &a, const Site &b) {
    return a.line == b.line && (a.file == b.file || !strcmp(a.file, b.file)) &&
           (a.what == b.what || !strcmp(a.what, b.what));
}
void check_same_site(const Block &b, const Lane &mine, const Lane &other) {
    if (!same_site(mine.site, other.site))
        fault("%s: divergent barrier: this thread is in %s at %s:%d, thread %u in %s at %s:%d",
              place_text(b, mine).c_str(), mine.site.what, mine.site.file, mine.site.line, other.number,
              other.site.what, other.site.file, other.site.line);
}

// The next thread that can go on; NULL: the block is through.
Lane *next_lane(Block &b) {
    if (!b.queued) {
        if (b.done < b.lanes.size()) report_hang(b);
        return nullptr;
    }
    Lane *l = b.queue[b.head];
    if (++b.head == b.queue.size()) b.head = 0;
    b.queued--;
    return l;
}

void select(Block &b, Lane *l) {
    b.current = l;
    here = l ? &l->place : nullptr;
}

// With a fiber for each thread, neighbouring blocks have different ones.
unsigned fiber_of(const Block &b, const Lane &l) { return l.number + (b.odd ? (unsigned)b.lanes.size() : 0); }

// The current thread waits: another one runs until a third puts this one back into the queue.
void wait(Block &b) {
    Lane *mine = b.current, *l = next_lane(b);
    select(b, l);
    if (l == mine) return;
    if (!l->fiber) l->fiber = b.fibers.take(fiber_of(b, *l));
    b.fibers.switch_to(mine->fiber, l->fiber);
}

void run_lanes(void *argument); // what a fiber does

void fiber_loop(Block &b) {
    RaceOrder::hide_begin();
    for (;;) {
        Lane *mine = b.current;
        Fiber *fiber = mine->fiber;
        b.races.lane_begins();
        RaceOrder::hide_end();
        (*b.grid->body)();
        RaceOrder::hide_begin();
        b.races.lane_ends();
        mine->state = DONE;
        mine->fiber = nullptr;
        b.done++;
        Lane *l = next_lane(b);
        select(b, l);
        if (l && !l->fiber && !LANES_KEEP_FIBERS) {
            l->fiber = fiber; // not begun yet: it can have this fiber
            continue;
        }
        if (l && !l->fiber) l->fiber = b.fibers.take(fiber_of(b, *l));
        b.fibers.give_back(fiber);
        RaceOrder::hide_end(); // a fiber may stay here for good
        if (l)
            b.fibers.switch_to(fiber, l->fiber);
        else
            b.fibers.switch_to_main(fiber);
        RaceOrder::hide_begin();
    }
}
void run_lanes(void *) { fiber_loop(*block); }

void prepare(Block &b, const Grid &g) {
    unsigned n = g.block.x * g.block.y * g.block.z;
    b.grid = &g;
    b.lanes.assign(n, Lane{});
    b.waiting.assign((n + WARP - 1) / WARP, 0);
    b.queue.assign(n, nullptr);
    for (unsigned i = 0; i < n; i++) {
        Lane &l = b.lanes[i];
        l.number = i;
        l.place.thread = {i % g.block.x, i / g.block.x % g.block.y, i / (g.block.x * g.block.y)};
        l.place.block = &b.index;
        l.place.block_dim = &g.block;
        l.place.grid_dim = &g.grid;
    }
}

void run_block(Block &b) {
    b.head = b.queued = 0;
    b.odd = !b.odd;
    b.at_barrier = b.done = 0;
    b.votes = 0;
    shared_begin(b.grid->shared);
    in_order(b, (unsigned)b.lanes.size(), [&](unsigned i) { push(b, &b.lanes[i]); });
    Lane *first = next_lane(b);
    first->fiber = b.fibers.take(fiber_of(b, *first));
    select(b, first);
    b.fibers.switch_from_main(first->fiber);
    select(b, nullptr);
    shared_end();
}

// A barrier of the block; the last to arrive lets all go on. Returns the votes of this generation.
int arrive(Site site, int predicate) {
    RaceOrder::hide_begin();
    Block &b = *block;
    Lane *mine = b.current;
    static thread_local int result; // read by each thread before the next barrier can complete
    mine->site = site;
    void *meeting = b.races.meet(-1, 0);
    b.votes += predicate != 0;
    mine->state = AT_BLOCK;
    if (++b.at_barrier == b.lanes.size()) {
        for (Lane &l : b.lanes) check_same_site(b, *mine, l);
        result = b.votes;
        b.votes = 0;
        b.at_barrier = 0;
        b.races.complete(-1, 0);
        in_order(b, (unsigned)b.lanes.size(), [&](unsigned i) { push(b, &b.lanes[i]); });
    }
    wait(b);
    b.races.met(meeting);
    RaceOrder::hide_end();
    return result;
}
} // namespace

void run_grid(const Grid &g) {
    static thread_local std::unique_ptr<Block> owner;
    if (!owner) owner.reset(new Block);
    block = owner.get();
    Block &b = *block;
    if (!b.fibers.ready()) b.fibers.start(run_lanes);
    prepare(b, g);
    b.fibers.prepare(2 * (unsigned)b.lanes.size());
    b.races.grid_begins();
    uint64_t n = (uint64_t)g.grid.x * g.grid.y * g.grid.z;
    in_order(b, (unsigned)n, [&](unsigned i) {
        b.index = {i % g.grid.x, i / g.grid.x % g.grid.y, (unsigned)(i / ((uint64_t)g.grid.x * g.grid.y))};
        run_block(b);
    });
    b.races.grid_ends();
    check_red_zones(g.name);
}

void barrier(Site site) { arrive(site, 0); }
int barrier_vote(Site site, int predicate, Vote vote) {
    int n = (int)block->lanes.size(), votes = arrive(site, predicate);
    return vote == VOTE_COUNT ? votes : vote == VOTE_AND ? votes == n : votes > 0;
}

unsigned lane_index() { return block->current->number % WARP; }

void copy_from_lane(Exchange *const *lanes, unsigned mask) {
    for (int i = 0; i < WARP; i++) {
        if (!(mask >> i & 1)) continue;
        int from = lanes[i]->argument;
        if (!(mask >> from & 1))
            fault("%s: a shuffle at %s:%d reads lane %d, which is not in the mask 0x%08x",
                  place_text(*block, *block->current).c_str(), block->current->site.file, block->current->site.line,
                  from, mask);
        memcpy(lanes[i]->out, lanes[from]->in, (size_t)lanes[i]->size);
    }
}

void exchange(Site site, unsigned mask, Exchange *mine, Combine combine) {
    RaceOrder::hide_begin();
    Block &b = *block;
    Lane *l = b.current;
    unsigned warp = l->number / WARP, bit = 1u << l->number % WARP;
    l->site = site;
    l->mask = mask;
    l->exchange = mine;
    l->state = AT_WARP;
    if (!(mask & bit))
        fault("%s: %s at %s:%d with mask 0x%08x, which does not name the thread itself", place_text(b, *l).c_str(),
              site.what, site.file, site.line, mask);
    void *meeting = combine ? nullptr : b.races.meet((int)warp, mask); // only __syncwarp orders memory
    if (((b.waiting[warp] |= bit) & mask) == mask) {
        Lane *lanes = &b.lanes[(size_t)warp * WARP];
        Exchange *all[WARP] = {};
        for (int i = 0; i < WARP; i++) {
            if (!(mask >> i & 1)) continue;
            check_same_site(b, *l, lanes[i]);
            if (lanes[i].mask != mask)
                fault("%s: %s at %s:%d with mask 0x%08x, lane %d came with 0x%08x", place_text(b, *l).c_str(),
                      site.what, site.file, site.line, mask, i, lanes[i].mask);
            all[i] = lanes[i].exchange;
        }
        if (combine)
            combine(all, mask);
        else
            b.races.complete((int)warp, mask);
        b.waiting[warp] &= ~mask;
        in_order(b, WARP, [&](unsigned i) {
            if (mask >> i & 1) push(b, &lanes[i]);
        });
    }
    wait(b);
    if (!combine) b.races.met(meeting);
    RaceOrder::hide_end();
}
} // namespace emu
