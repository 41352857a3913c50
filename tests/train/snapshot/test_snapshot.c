// Snapshots: what is restored, what damage is noticed, what a failing disk leaves behind. Linked with --wrap for the
// system calls that write, so that each of them can fail once.
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fileio.h"
#include "hash.h"
#include "path.h"
#include "snapshot.h"
#include "tiny_run.h"

static const char *const words[] = {"gradient_accumulation_steps=2", "learning_rate=1e-2", "lora_dropout=0.1",
                                    "num_train_epochs=4"};
enum { N_WORDS = sizeof words / sizeof *words };

static char *out;

static int make_out(void **state) {
    tiny_dir_setup(state);
    out = path_join(tiny_dir, "out");
    return dir_make_parents(out, NULL);
}
static int remove_out(void **state) {
    mem_free(out);
    return tiny_dir_teardown(state);
}
static int empty_out(void **state) {
    (void)state;
    return dir_remove(out, NULL) || dir_make_parents(out, NULL);
}

// ---- system calls that fail on demand ----

static int fail_at, calls; // the fail_at-th call from now on fails; 0: none

static bool fails(int error) {
    if (!fail_at || ++calls != fail_at) return false;
    errno = error;
    return true;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fails(EMFILE) ? -1 : __real_open(path, flags, mode);
}
ssize_t __real_write(int fd, const void *data, size_t n);
ssize_t __wrap_write(int fd, const void *data, size_t n);
ssize_t __wrap_write(int fd, const void *data, size_t n) { return fails(ENOSPC) ? -1 : __real_write(fd, data, n); }
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) { return fails(EIO) ? -1 : __real_fsync(fd); }
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to) { return fails(EIO) ? -1 : __real_rename(from, to); }
int __real_renameat2(int a, const char *from, int b, const char *to, unsigned flags);
int __wrap_renameat2(int a, const char *from, int b, const char *to, unsigned flags);
int __wrap_renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    return fails(EIO) ? -1 : __real_renameat2(a, from, b, to, flags);
}
DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path) { return fails(EIO) ? NULL : __real_opendir(path); }
int __real_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode) { return fails(EROFS) ? -1 : __real_mkdir(path, mode); }

// ---- helpers ----

static void open_run(TinyRun *r, int64_t steps) {
    tiny_run_open(r, 1, words, N_WORDS);
    tiny_run_steps(r, steps, NULL);
}

static int save(TinyRun *r, Err *err) { return snapshot_save(r->trainer, out, err); }

static int resume(TinyRun *r, const char *request, char **from, Err *err) {
    return snapshot_resume(r->trainer, out, request, from, err);
}

static void must_save(TinyRun *r) {
    Err err = {0};
    ASSERT_OK(save(r, &err), &err);
}

// Flips a bit of the byte at `offset` of a file (from its end when negative), or cuts the file there.
static void damage(const char *path, long offset, bool cut) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, offset, offset < 0 ? SEEK_END : SEEK_SET), 0);
    long at = ftell(f);
    int c = fgetc(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    fputc(c ^ 4, f);
    fclose(f);
    if (cut) assert_int_equal(truncate(path, at), 0);
}

// ---- tests ----

static void test_snapshot_goes_on_bit_for_bit(void **state) {
    (void)state;
    TinyRun whole, first, second;
    Err err = {0};
    char *from;
    open_run(&whole, 12);
    open_run(&first, 5);
    must_save(&first);
    open_run(&second, 0);
    ASSERT_OK(resume(&second, "auto", &from, &err), &err);
    assert_non_null(strstr(from, "checkpoint-000005"));
    tiny_run_steps(&second, 7, NULL);
    size_t bytes = (size_t)whole.adapter->count * sizeof(float);
    assert_memory_equal(whole.adapter->params, second.adapter->params, bytes);
    assert_memory_equal(whole.trainer->optimizer->m, second.trainer->optimizer->m, bytes);
    assert_memory_equal(whole.trainer->optimizer->v, second.trainer->optimizer->v, bytes);
    assert_int_equal(whole.trainer->state.tokens, second.trainer->state.tokens);
    assert_int_equal(whole.trainer->state.updates, second.trainer->state.updates);
    mem_free(from);
    tiny_run_close(&whole);
    tiny_run_close(&first);
    tiny_run_close(&second);
}

static void test_snapshot_of_step_0_can_be_written(void **state) {
    (void)state;
    TinyRun r;
    open_run(&r, 0); // B is 0: the adapter alone would be refused
    must_save(&r);
    char *from;
    Err err = {0};
    ASSERT_OK(resume(&r, "auto", &from, &err), &err);
    assert_non_null(from);
    mem_free(from);
    tiny_run_close(&r);
}

// Whatever is done to any file: the newest snapshot is refused and the older one taken.
static void expect_fallback(TinyRun *r) {
    char *from;
    Err err = {0};
    ASSERT_OK(resume(r, "auto", &from, &err), &err);
    assert_non_null(strstr(from, "checkpoint-000002"));
    assert_int_equal(r->trainer->state.step, 2);
    mem_free(from);
}

static void restore(TinyRun *r) {
    r->trainer->state.step = 4;
    r->trainer->state.updates = 4;
    must_save(r);
}

static void test_snapshot_notices_damage(void **state) {
    (void)state;
    static const char *const names[] = {"optimizer.safetensors", "adapter/adapter_model.safetensors",
                                        "adapter/adapter_config.json", "adapter/README.md", "manifest.json"};
    static const long offsets[] = {0, 9, 40, 300, -1, -9};
    TinyRun r;
    open_run(&r, 2);
    must_save(&r);
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        for (size_t i = 0; i < 2 * sizeof offsets / sizeof *offsets; i++) {
            restore(&r);
            char *snapshot = snapshot_path(out, 4), *path = path_join(snapshot, names[n]);
            struct stat st;
            assert_int_equal(stat(path, &st), 0);
            if (offsets[i / 2] < st.st_size) {
                damage(path, offsets[i / 2], i % 2);
                expect_fallback(&r);
            }
            unlink(path); // and a missing one
            if (i == 0) expect_fallback(&r);
            mem_free(path);
            mem_free(snapshot);
        }
    }
    tiny_run_close(&r);
}

static void test_snapshot_notices_every_byte_of_the_manifest(void **state) {
    (void)state;
    TinyRun r;
    Err err;
    open_run(&r, 2);
    must_save(&r);
    char *snapshot = snapshot_path(out, 2), *path = path_join(snapshot, "manifest.json");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    for (long i = 0; i < st.st_size; i++) {
        damage(path, i, false);
        if (snapshot_restore(r.trainer, snapshot, NULL, &err) == 0) fail_msg("byte %ld of the manifest", i);
        damage(path, i, false); // back
    }
    ASSERT_OK(snapshot_restore(r.trainer, snapshot, NULL, &err), &err);
    mem_free(path);
    mem_free(snapshot);
    tiny_run_close(&r);
}

static void test_snapshot_resume_rules(void **state) {
    (void)state;
    TinyRun r, other;
    char *from;
    Err err = {0};
    open_run(&r, 2);
    ASSERT_OK(resume(&r, "auto", &from, &err), &err);
    assert_null(from);
    ASSERT_OK(resume(&r, "false", &from, &err), &err);
    must_save(&r);
    ASSERT_REFUSED(resume(&r, "false", &from, &err), &err, "resume_from_checkpoint: false, but");
    assert_int_equal(err.kind, ERR_INPUT);
    ASSERT_REFUSED(resume(&r, "/nowhere", &from, &err), &err, "/nowhere: found nothing there; expected a snapshot");
    char *path = snapshot_path(out, 2), *adapter = path_join(path, "adapter"), *file = path_join(path, "device.json");
    ASSERT_REFUSED(resume(&r, out, &from, &err), &err, "found a folder with 1 snapshot; expected one of them, e.g. ");
    ASSERT_REFUSED(resume(&r, adapter, &from, &err), &err, "adapter: found a folder without manifest.json");
    ASSERT_REFUSED(resume(&r, file, &from, &err), &err, "device.json: found a file; expected a snapshot");
    mem_free(adapter);
    mem_free(file);
    ASSERT_OK(resume(&r, path, &from, &err), &err);
    mem_free(from);
    const char *const changed[] = {"gradient_accumulation_steps=2", "lora_r=8", "lora_target_modules=q_proj"};
    tiny_run_open(&other, 1, changed, 3);
    ASSERT_REFUSED(resume(&other, "auto", &from, &err), &err,
                   "rank was 16, now 8; targets was q_proj,v_proj, now q_proj");
    assert_int_equal(err.kind, ERR_INPUT);
    char *manifest = path_join(path, "manifest.json");
    unlink(manifest);
    ASSERT_REFUSED(resume(&r, "auto", &from, &err), &err, "has 1 snapshot, of which none can be read");
    mem_free(manifest);
    mem_free(path);
    tiny_run_close(&r);
    tiny_run_close(&other);
}

// Whole, but of a version of lorac that writes another format: no older snapshot is taken in its place.
static void test_snapshot_refuses_another_format(void **state) {
    (void)state;
    static const char own_hash[] = "\n  \"xxh3\"";
    TinyRun r;
    char *from, *text, hash[33];
    size_t size;
    Err err;
    open_run(&r, 2);
    must_save(&r);
    tiny_run_steps(&r, 1, NULL);
    must_save(&r);
    char *path = snapshot_path(out, 3), *manifest = path_join(path, "manifest.json");
    ASSERT_OK(file_read(&text, &size, manifest, 1 << 20, &err), &err);
    char *digit = strpbrk(strstr(text, "\"format\":"), "0123456789"), *end = strstr(text, own_hash);
    assert_non_null(end++);
    *digit = '9';
    char *tail = strstr(end, ": \"") + strlen(": \"");
    hash_bytes(hash, text, (size_t)(end - text));
    memcpy(tail, hash, 32);
    FILE *f = fopen(manifest, "w");
    assert_int_equal(fwrite(text, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    ASSERT_REFUSED(resume(&r, "auto", &from, &err), &err, "checkpoint-000003: manifest.json: format version 9, this");
    assert_int_equal(err.kind, ERR_INPUT);
    mem_free(text);
    mem_free(manifest);
    mem_free(path);
    tiny_run_close(&r);
}

// The bits of a run depend on the instruction set: another machine must not go on with it silently.
static void test_snapshot_refuses_other_instructions(void **state) {
    (void)state;
    TinyRun r;
    Err err;
    bool other;
    setenv("LORAC_ISA", "base", 1);
    open_run(&r, 2);
    must_save(&r);
    tiny_run_close(&r);
    unsetenv("LORAC_ISA");
    if (strcmp(kernels_cpu(DTYPE_F32, PRECISION_HIGHEST, NULL)->name, "cpu-base") == 0)
        return; // this machine has no other
    open_run(&r, 0);
    char *path = snapshot_path(out, 2);
    ASSERT_REFUSED(snapshot_restore(r.trainer, path, &other, &err), &err, "device was cpu-base, now cpu-v");
    assert_true(other);
    mem_free(path);
    tiny_run_close(&r);
}

static int open_high(Backend **b, void *user, Err *err) {
    (void)user;
    BackendOptions o = {.device = "cpu", .precision = PRECISION_HIGH, .threads = 1};
    return backend_open_with(b, &o, err);
}

// A run in float32 resumes neither with products of another precision, nor the other way.
static void test_snapshot_refuses_other_precision(void **state) {
    (void)state;
    TinyRun r;
    Err err;
    bool other;
    if (!kernels_cpu(DTYPE_F32, PRECISION_HIGH, NULL)) {
        printf("this CPU has no bf16 products\n");
        skip();
    }
    char *path = snapshot_path(out, 2);
    const char *high = kernels_cpu(DTYPE_F32, PRECISION_HIGH, NULL)->name; // of avx512_bf16 or amx
    for (int to_high = 0; to_high < 2; to_high++) {
        AUTO_FREE char *want = to_high ? mem_printf("now %s; dtype was f32, now tf32", high)
                                       : mem_printf("device was %s, now cpu-v4; dtype was tf32, now f32", high);
        tiny_run_open_on(&r, to_high ? tiny_open_cpu : open_high, &(int){1}, words, N_WORDS);
        tiny_run_steps(&r, 2, NULL);
        must_save(&r);
        tiny_run_close(&r);
        tiny_run_open_on(&r, to_high ? open_high : tiny_open_cpu, &(int){1}, words, N_WORDS);
        ASSERT_REFUSED(snapshot_restore(r.trainer, path, &other, &err), &err, want);
        assert_true(other);
        tiny_run_close(&r);
        assert_int_equal(dir_remove(path, NULL), 0);
    }
    mem_free(path);
}

static void test_snapshot_refuses_other_data_and_base(void **state) {
    (void)state;
    static const char *const names[] = {"base", "data"};
    TinyRun r;
    Err err;
    bool other;
    open_run(&r, 2);
    must_save(&r);
    char *path = snapshot_path(out, 2);
    for (int n = 0; n < 2; n++) {
        char *was = mem_printf("a snapshot of another run: %s was ", names[n]);
        char *fingerprint = n == 0 ? r.model->fingerprint : r.data.fingerprint;
        fingerprint[0] ^= 1;
        ASSERT_REFUSED(snapshot_restore(r.trainer, path, &other, &err), &err, was);
        fingerprint[0] ^= 1;
        assert_true(other);
        mem_free(was);
    }
    mem_free(path);
    tiny_run_close(&r);
}

// A clock that jumped back between two snapshots, or a copy that gave them other times.
static void test_snapshot_order_is_by_step(void **state) {
    (void)state;
    TinyRun r;
    char *from;
    Err err;
    open_run(&r, 0);
    for (int step = 1; step <= 3; step++) {
        tiny_run_steps(&r, 1, NULL);
        must_save(&r);
        char *path = snapshot_path(out, step), *manifest = path_join(path, "manifest.json");
        const struct timespec backwards[2] = {{.tv_sec = 2000000000 - 86400 * step},
                                              {.tv_sec = 2000000000 - 86400 * step}};
        assert_int_equal(utimensat(AT_FDCWD, path, backwards, 0), 0);
        assert_int_equal(utimensat(AT_FDCWD, manifest, backwards, 0), 0);
        mem_free(path);
        mem_free(manifest);
    }
    ASSERT_OK(resume(&r, "auto", &from, &err), &err);
    char *newest = snapshot_path(out, 3), *oldest = snapshot_path(out, 1);
    assert_string_equal(from, newest);
    snapshot_prune(out, 2, -1);
    assert_true(path_exists(newest));
    assert_false(path_exists(oldest));
    mem_free(newest);
    mem_free(oldest);
    mem_free(from);
    tiny_run_close(&r);
}

static void test_snapshot_prune_keeps_the_last_two_and_the_best(void **state) {
    (void)state;
    TinyRun r;
    size_t count;
    open_run(&r, 0);
    for (int step = 1; step <= 6; step++) {
        tiny_run_steps(&r, 1, NULL);
        must_save(&r);
    }
    char *leftover = path_join(out, "checkpoint-000009.tmp-00000001-0000000000000001"),
         *damaged = path_join(out, "checkpoint-000006/manifest.json");
    assert_int_equal(dir_make_parents(leftover, NULL), 0);
    assert_int_equal(unlink(damaged), 0);
    snapshot_prune(out, 1, 2);
    int64_t *steps;
    assert_int_equal(snapshot_list(&steps, &count, out, NULL), 0);
    assert_int_equal(count, 4); // 6 cannot be read: it does not count as one of the two
    assert_true(steps[0] == 2 && steps[1] == 4 && steps[2] == 5 && steps[3] == 6);
    assert_false(path_exists(leftover));
    mem_free(steps);
    mem_free(leftover);
    mem_free(damaged);
    tiny_run_close(&r);
}

static int count_temporary(void) {
    int n = 0;
    DIR *d = opendir(out);
    for (struct dirent *e; (e = readdir(d));) n += strstr(e->d_name, ".tmp-") != NULL;
    closedir(d);
    return n;
}

// Every call that can fail fails once: the save says so, the older snapshot is as it was, nothing half-written is left.
static void test_snapshot_survives_each_failing_call(void **state) {
    (void)state;
    TinyRun r;
    Err err = {0};
    open_run(&r, 2);
    must_save(&r);
    tiny_run_steps(&r, 2, NULL);
    char *old = snapshot_path(out, 2), *new = snapshot_path(out, 4);
    int failed = 0;
    for (int n = 1; n < 1000; n++) {
        fail_at = n;
        calls = 0;
        int status = save(&r, &err);
        bool reached = calls >= n;
        fail_at = 0;
        if (!reached) break;
        failed += status != 0;
        if (status) assert_true(err.msg[0] && err.kind == ERR_RUNTIME);
        assert_int_equal(count_temporary(), 0);
        TrainerState now = r.trainer->state;
        ASSERT_OK(snapshot_restore(r.trainer, old, NULL, &err), &err);
        r.trainer->state = now;
        if (path_exists(new)) ASSERT_OK(snapshot_restore(r.trainer, new, NULL, &err), &err);
        dir_remove(new, NULL);
    }
    assert_true(failed > 20);
    mem_free(old);
    mem_free(new);
    tiny_run_close(&r);
}

// A directory that cannot be read has not lost its snapshots: nothing begins anew over them.
static void test_snapshot_directory_that_cannot_be_listed(void **state) {
    (void)state;
    TinyRun r;
    Err err = {0};
    open_run(&r, 2);
    must_save(&r);
    static const char *const requests[] = {"auto", "false"};
    for (size_t i = 0; i < 2; i++) {
        char *from;
        fail_at = 1;
        calls = 0;
        ASSERT_REFUSED(snapshot_resume(r.trainer, out, requests[i], &from, &err), &err, "cannot be listed");
        fail_at = 0;
        assert_int_equal(err.kind, ERR_RUNTIME);
        assert_null(from);
    }
    tiny_run_close(&r);
}

#define ONE(f) cmocka_unit_test_setup(f, empty_out)
TEST_MAIN_WITH(make_out, remove_out, ONE(test_snapshot_goes_on_bit_for_bit),
               ONE(test_snapshot_of_step_0_can_be_written), ONE(test_snapshot_notices_damage),
               ONE(test_snapshot_notices_every_byte_of_the_manifest), ONE(test_snapshot_resume_rules),
               ONE(test_snapshot_order_is_by_step), ONE(test_snapshot_refuses_another_format),
               ONE(test_snapshot_refuses_other_instructions), ONE(test_snapshot_refuses_other_precision),
               ONE(test_snapshot_refuses_other_data_and_base), ONE(test_snapshot_prune_keeps_the_last_two_and_the_best),
               ONE(test_snapshot_directory_that_cannot_be_listed), ONE(test_snapshot_survives_each_failing_call))
