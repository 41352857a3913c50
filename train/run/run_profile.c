#include "run_profile.h"

#include "profile_report.h"

int run_profile_check(const Run *r, Err *err) {
    if (!r->config->profile || r->backend->host_memory) return 0;
    return err_input(err,
                     "profile: true, with device %s; expected device cpu (on a GPU passes are recorded and replayed "
                     "as a whole: Nsight Systems shows their kernels)",
                     r->backend->k->name);
}

void run_profile_start(Run *r) {
    if (!r->config->profile || !run_is_rank_0(r)) return;
    r->tokens_before = trainer_state(r->trainer)->tokens;
    profile_start(r->backend);
}

void run_profile_end(const Run *r) {
    if (!profile_of(r->backend) || !r->did_steps) return;
    ProfileRun profile = {r->backend, trainer_state(r->trainer)->tokens - r->tokens_before};
    Err err;
    profile_print(&profile);
    if (profile_write(&profile, r->dir.path, &err)) log_warn("%s", err.msg);
}
