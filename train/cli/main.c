// main: finds the verb, runs it, prints the one line of an error, returns the exit status.
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signals.h"
#include "words.h"

const Verb *const verbs[] = {
    &verb_train,  &verb_pull,     &verb_plan,   &verb_bench, &verb_inspect, &verb_tokenize, &verb_eval,   &verb_predict,
    &verb_embed,  &verb_generate, &verb_chat,   &verb_serve, &verb_logits,  &verb_verify,   &verb_export, &verb_merge,
    &verb_report, &verb_swap,     &verb_doctor, &verb_help,  &verb_version, NULL,
};

const Verb *verb_find(const char *name) {
    for (size_t i = 0; verbs[i]; i++) {
        if (strcmp(verbs[i]->name, name) == 0) return verbs[i];
    }
    return NULL;
}

static int unknown_verb(const char *name, Err *err) {
    Nearest near = nearest_start(name);
    for (size_t i = 0; verbs[i]; i++) nearest_try(&near, verbs[i]->name);
    if (near.name) return err_input(err, "%s: unknown verb; did you mean \"lorac %s\"?", name, near.name);
    return err_input(err, "%s: unknown verb; \"lorac help\" lists them", name);
}

static const Verb *choose(int *argc, char ***argv, Err *err) {
    if (*argc < 2) {
        err_input(err, "no verb; \"lorac help\" lists them");
        return NULL;
    }
    const char *name = (*argv)[1];
    *argc -= 2;
    *argv += 2;
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) return &verb_help;
    if (strcmp(name, "--version") == 0) return &verb_version;
    const Verb *v = verb_find(name);
    if (!v) {
        unknown_verb(name, err);
    } else if (*argc > 0 && (strcmp((*argv)[0], "--help") == 0 || strcmp((*argv)[0], "-h") == 0)) {
        *argc = 1; // `lorac train --help` is `lorac help train`
        (*argv)[0] = (char *)v->name;
        return &verb_help;
    }
    return v;
}

// libgomp's threads spin for milliseconds at every barrier before they sleep; with one busy neighbour on two cores that
// makes a training step 2.3 times slower. Its setting is read from the environment before main, so the process executes
// itself again.
static void spin_shortly(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    if (setenv("GOMP_SPINCOUNT", "4000", 1) == 0) execv("/proc/self/exe", argv);
}

// A file that is opened later must not get the descriptor of a closed standard stream. Opened for reading only, so that
// writing to such a stream still fails.
static void occupy_standard_streams(void) {
    int fd;
    do fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO) close(fd);
}

// Lost output is a failure, except for the log of a training run.
static int check_output(const Verb *v, int rc, Err *err) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return rc;
    const char *why = errno ? strerror(errno) : "cannot be written";
    if (v == &verb_train)
        log_warn("standard output: %s; what the run printed there is incomplete", why);
    else if (!rc)
        rc = err_runtime(err, "standard output: %s; what was printed is incomplete", why);
    return rc;
}

static int run_verb(const Verb *v, int argc, char **argv, Err *err) {
    AUTO_FREE void *options = mem_calloc(v->size + 1, 1);
    int rc = options_read(v, options, &argc, argv, err);
    if (!rc) rc = v->run(options, argc, argv, err);
    keys_clear(&v->options, options);
    return rc;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "train") == 0) signals_block();
    mallopt(M_MMAP_THRESHOLD, 4 << 20); // fixed: what is freed leaves memory, so that plans hold
    spin_shortly(argv);                 // if this fails, only the spinning is longer
    occupy_standard_streams();
    Err err = {0};
    hooks_install();
    (void)signal(SIGPIPE, SIG_IGN); // a closed pipe must not end a training run
    (void)signal(SIGXFSZ, SIG_IGN); // nor a limit of file sizes: the write fails with EFBIG
    const Verb *v = choose(&argc, &argv, &err);
    int rc = v ? run_verb(v, argc, argv, &err) : -1;
    rc = check_output(v, rc, &err); // before the error, so that the error is the last line
    if (rc < 0 && err.msg[0]) fprintf(stderr, "lorac: %s\n", err.msg);
    return rc < 0 ? err_exit_status(err.kind) : rc;
}
