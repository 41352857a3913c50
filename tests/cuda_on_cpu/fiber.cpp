#include "fiber.h"

#include <cstdint>
#include <sys/mman.h>
#include <unistd.h>

#include "emulation.h"

#ifdef EMU_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef EMU_TSAN
#include <sanitizer/tsan_interface.h>
extern "C" { // dynamic annotations of ThreadSanitizer's run-time library
void AnnotateIgnoreReadsBegin(const char *, int);
void AnnotateIgnoreReadsEnd(const char *, int);
void AnnotateIgnoreWritesBegin(const char *, int);
void AnnotateIgnoreWritesEnd(const char *, int);
}
#endif
#if !defined __x86_64__ && !defined EMU_UCONTEXT
#define EMU_UCONTEXT // works everywhere, ten times slower
#endif
#ifdef EMU_UCONTEXT
#include <ucontext.h>
#endif

namespace emu {
#ifdef EMU_ASAN
constexpr size_t STACK = 512 * 1024;
#else
constexpr size_t STACK = 256 * 1024; // only touched pages count; a page without access lies below
#endif

struct Fiber {
    char *stack = nullptr; // NULL: the host thread's own
    size_t bytes = 0;
#ifdef EMU_UCONTEXT
    ucontext_t context;
#else
    void *sp = nullptr;
#endif
    void *fake_stack = nullptr;       // AddressSanitizer's
    const void *asan_stack = nullptr; // bounds, for AddressSanitizer
    void *tsan = nullptr;
};

#ifndef EMU_UCONTEXT
// emu_switch(&old stack pointer, new stack pointer): saves what a call must preserve, on the stack that is left.
extern "C" void emu_switch(void **save, void *load);
__asm__(".text\n"
        ".type emu_switch, @function\n"
        "emu_switch:\n"
        "    pushq %rbp\n    pushq %rbx\n    pushq %r12\n    pushq %r13\n    pushq %r14\n    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n    popq %r14\n    popq %r13\n    popq %r12\n    popq %rbx\n    popq %rbp\n"
        "    ret\n"
        ".size emu_switch, .-emu_switch\n");
#endif

namespace {
thread_local void (*entry)(void *);
#ifdef EMU_ASAN
thread_local Fiber *left; // the fiber that was switched away from
#endif

// First thing on a stack that was just switched to.
void arrived(Fiber *me) {
    (void)me;
#ifdef EMU_ASAN
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(me->fake_stack, &bottom, &size);
    if (left && !left->stack) left->asan_stack = bottom, left->bytes = size; // the host thread's own bounds
#endif
}

void first_frame() {
#ifdef EMU_ASAN
    Fiber fresh;
    arrived(&fresh);
#endif
    entry(nullptr);
    __builtin_trap(); // `run` never returns
}

void switch_stacks(Fiber *from, Fiber *to) {
#ifdef EMU_ASAN
    left = from;
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack ? to->stack : to->asan_stack, to->bytes);
#endif
#ifdef EMU_TSAN
    __tsan_switch_to_fiber(to->tsan, __tsan_switch_to_fiber_no_sync);
#endif
#ifdef EMU_UCONTEXT
    swapcontext(&from->context, &to->context);
#else
    emu_switch(&from->sp, to->sp);
#endif
    arrived(from);
}
} // namespace

Fibers::Fibers() : main_(new Fiber) {
#ifdef EMU_TSAN
    main_->tsan = __tsan_get_current_fiber();
#endif
}

Fibers::~Fibers() {
    for (auto &f : all_) {
#ifdef EMU_TSAN
        __tsan_destroy_fiber(f->tsan);
#endif
        munmap(f->stack, f->bytes);
    }
}

Fiber *Fibers::make() {
    std::unique_ptr<Fiber> f(new Fiber);
    f->bytes = STACK;
    void *p = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) fault("no memory for the stacks of a block");
    f->stack = (char *)p;
    mprotect(f->stack, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE);
#ifdef EMU_UCONTEXT
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK;
    makecontext(&f->context, first_frame, 0);
#else
    // Six registers, then the address that `ret` takes; at entry the stack pointer is 8 modulo 16, as after a call.
    void **top = (void **)(f->stack + STACK) - 2;
    *top = (void *)first_frame;
    f->sp = top - 6;
#endif
#ifdef EMU_TSAN
    f->tsan = __tsan_create_fiber(0);
#endif
    all_.push_back(std::move(f));
    return all_.back().get();
}

// What makes a fiber orders what it did before the fiber's life: so all are made before a grid begins.
void Fibers::prepare(unsigned n) {
    while (LANES_KEEP_FIBERS && all_.size() < n) make();
}

Fiber *Fibers::take(unsigned i) {
    entry = run_;
    if (LANES_KEEP_FIBERS) return all_[i].get();
    if (idle_.empty()) return make();
    Fiber *f = idle_.back();
    idle_.pop_back();
    return f;
}

void Fibers::give_back(Fiber *f) {
    if (!LANES_KEEP_FIBERS) idle_.push_back(f);
}

void Fibers::switch_to(Fiber *from, Fiber *to) { switch_stacks(from, to); }
void Fibers::switch_from_main(Fiber *to) { switch_stacks(main_.get(), to); }
void Fibers::switch_to_main(Fiber *from) { switch_stacks(from, main_.get()); }

#ifdef EMU_TSAN
void RaceOrder::grid_begins() {
    meetings_.clear();
    __tsan_release(&grid_[0]);
}
void RaceOrder::grid_ends() { __tsan_acquire(&grid_[1]); }
void RaceOrder::lane_begins() { __tsan_acquire(&grid_[0]); }
void RaceOrder::lane_ends() { __tsan_release(&grid_[1]); }
RaceOrder::Meeting &RaceOrder::find(int warp, unsigned mask) {
    for (Meeting &m : meetings_)
        if (m.warp == warp && m.mask == mask) return m;
    meetings_.push_back({warp, mask, false, {0, 0}});
    return meetings_.back();
}
void *RaceOrder::meet(int warp, unsigned mask) {
    Meeting &m = find(warp, mask);
    __tsan_release(&m.object[m.odd]);
    return &m.object[m.odd];
}
void RaceOrder::complete(int warp, unsigned mask) {
    Meeting &m = find(warp, mask);
    m.odd = !m.odd;
}
void RaceOrder::met(void *object) { __tsan_acquire(object); }
void RaceOrder::hide_begin() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
}
void RaceOrder::hide_end() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
}
#endif
} // namespace emu
