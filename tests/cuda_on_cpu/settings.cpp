#include "settings.h"

#include <cstdlib>
#include <cstring>

#include "emulated.h"
#include "emulation.h"

namespace emu {
namespace {
Order order_from(const char *name) {
    if (!strcmp(name, "ascending")) return Order::ascending;
    if (!strcmp(name, "descending")) return Order::descending;
    if (!strcmp(name, "shuffled")) return Order::shuffled;
    fault("LORAC_EMULATED_ORDER is '%s'; expected ascending, descending or shuffled", name);
}

struct FromEnvironment : Settings {
    FromEnvironment() {
        if (const char *s = getenv("LORAC_EMULATED_MEMORY")) memory = strtoull(s, nullptr, 10);
        if (const char *s = getenv("LORAC_EMULATED_DEVICES")) devices = atoi(s);
        if (const char *s = getenv("LORAC_EMULATED_FIRST_DEVICE")) first_device = atoi(s);
        cudnn = getenv("LORAC_EMULATED_CUDNN") != nullptr;
        if (const char *s = getenv("LORAC_EMULATED_FAIL_LAUNCH")) fail_at = strtoull(s, nullptr, 10);
        if (const char *s = getenv("LORAC_EMULATED_FAIL_RECORDING")) fail_recording = atoi(s);
        if (const char *s = getenv("LORAC_EMULATED_ORDER")) order = order_from(s);
    }
};
} // namespace

Settings &settings() {
    static FromEnvironment s;
    return s;
}

bool recording_fails(int where) { return settings().fail_recording.compare_exchange_strong(where, EMULATED_RECORDS); }
} // namespace emu

void emulated_set_memory(size_t bytes) { emu::settings().memory = bytes ? bytes : (size_t)1 << 30; }
void emulated_set_devices(int n) { emu::settings().devices = n; }
void emulated_set_order(EmulatedOrder order) { emu::settings().order = (emu::Order)order; }
void emulated_set_capability(int major, int minor) {
    emu::settings().major = major;
    emu::settings().minor = minor;
}
void emulated_set_cudnn(bool there) { emu::settings().cudnn = there; }
void emulated_set_cudnn_workspace(size_t bytes) { emu::settings().cudnn_workspace = bytes; }
void emulated_fail_launch(uint64_t n) {
    emu::Settings &s = emu::settings();
    s.fail_at = n ? s.launches + n : 0;
}
void emulated_fail_recording(EmulatedRecording where) { emu::settings().fail_recording = where; }
uint64_t emulated_launches(void) { return emu::settings().launches; }
