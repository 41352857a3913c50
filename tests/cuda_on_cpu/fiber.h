// fiber: stacks that a host thread switches between, with the notes that AddressSanitizer and ThreadSanitizer need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace emu {
// Built for ThreadSanitizer (EMU_TSAN; this folder's own code is then not instrumented, the kernels are): a fiber of
// its own for every thread of a block, so that it sees each as a thread.
#ifdef EMU_TSAN
constexpr bool LANES_KEEP_FIBERS = true;
#else
constexpr bool LANES_KEEP_FIBERS = false;
#endif

struct Fiber;

class Fibers {
  public:
    Fibers();
    ~Fibers();
    bool ready() const { return run_ != nullptr; }
    void start(void (*run)(void *)) { run_ = run; } // what every fiber does; it never returns
    void prepare(unsigned n);                       // makes the first n where threads keep their fibers
    Fiber *take(unsigned i);                        // one that nobody uses; number i where threads keep theirs
    void give_back(Fiber *f);                       // may still run until it switches
    void switch_to(Fiber *from, Fiber *to);
    void switch_from_main(Fiber *to); // returns after switch_to_main
    void switch_to_main(Fiber *from);

  private:
    Fiber *make();
    void (*run_)(void *) = nullptr;
    std::unique_ptr<Fiber> main_;
    std::vector<std::unique_ptr<Fiber>> all_;
    std::vector<Fiber *> idle_;
};

// What orders the threads of a block, told to ThreadSanitizer: the begin and end of a grid, __syncthreads, __syncwarp.
// Shuffles and votes order no memory, and blocks do not order each other. Nothing without EMU_TSAN.
class RaceOrder {
  public:
    void grid_begins(); // on the host's stack
    void grid_ends();
    void lane_begins();
    void lane_ends();
    // A meeting of all lanes that name `mask` of `warp` (warp -1: of the block). The object that came from `meet` is
    // given to `met` once all have come; `complete` is called by the last one.
    void *meet(int warp, unsigned mask);
    void complete(int warp, unsigned mask);
    void met(void *object);
    static void hide_begin(); // accesses until hide_end are not the kernel's
    static void hide_end();

  private:
#ifdef EMU_TSAN
    struct Meeting {
        int warp;
        unsigned mask;
        bool odd;
        int64_t object[2]; // in turn, so that a thread that is early at the next barrier does not join this one
    };
    Meeting &find(int warp, unsigned mask);
    std::deque<Meeting> meetings_;
    int64_t grid_[2];
#endif
};
#ifndef EMU_TSAN
inline void RaceOrder::grid_begins() {}
inline void RaceOrder::grid_ends() {}
inline void RaceOrder::lane_begins() {}
inline void RaceOrder::lane_ends() {}
inline void *RaceOrder::meet(int, unsigned) { return nullptr; }
inline void RaceOrder::complete(int, unsigned) {}
inline void RaceOrder::met(void *) {}
inline void RaceOrder::hide_begin() {}
inline void RaceOrder::hide_end() {}
#endif
} // namespace emu
