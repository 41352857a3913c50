// settings: what a test sets on the emulated devices (emulated.h), read by every part.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace emu {
enum class Order { ascending, descending, shuffled };

struct Settings {
    Order order = Order::ascending;
    size_t memory = (size_t)1 << 30; // bytes of each device
    int devices = 1;
    int first_device = 0; // of the machine's, that this process sees
    int major = 9, minor = 0;
    bool cudnn = false;                 // there is one
    size_t cudnn_workspace = 1000;      // of its plans
    std::atomic<int> fail_recording{0}; // EmulatedRecording
    std::atomic<uint64_t> launches{0};
    std::atomic<uint64_t> fail_at{0}; // number of the launch that fails; 0: none
};
Settings &settings();            // from the environment at first
bool recording_fails(int where); // an EmulatedRecording: once, where emulated_fail_recording says
} // namespace emu
