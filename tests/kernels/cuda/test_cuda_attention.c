// Attention by cuDNN, of which the emulated device has a stand-in: when it is used, what the backend puts around it,
// and that it is a choice of the run. (The own kernels go through the op cases: test_cuda_ops.c.)
#include <math.h>
#include <string.h>

#include "emulated.h"
#include "model.h"
#include "opcheck.h"
#include "planned.h"
#include "scratch.h"
#include "test.h"
#include "tiny_model.h"

static Backend *open_device(DType activation, bool cudnn) {
    Err err;
    Backend *b = NULL;
    emulated_set_memory((size_t)512 << 20);
    emulated_set_cudnn(cudnn);
    ASSERT_OK(emulated_open(&b, activation, &err), &err);
    return b;
}

static char *choices_of(Backend *b) {
    StrBuf json = {0};
    b->k->choices_get(b, &json);
    return json.data;
}

// What the rule leaves to cuDNN: every token of a sample asks, no soft cap, heads that it has (the stand-in: to 128).
static bool is_for_cudnn(const OpSize *s) {
    return (s->layout == OP_ONE_SAMPLE || s->layout == OP_PACKED) && s->softcap == 0 && s->d % 16 == 0 && s->d <= 128;
}

static int choices_of_cudnn(Backend *b) {
    int n = 0;
    char *choices = choices_of(b);
    for (const char *p = choices; (p = strstr(p, "\"cudnn stand-in\"")); p++) n++;
    mem_free(choices);
    return n;
}

static void check_cases(Backend *ref, DType type, int64_t gap) {
    Backend *b = open_device(type, true);
    for (const OpCase *c = op_cases_attention; c->name; c++)
        for (int i = 0; starts_with(c->name, "attention") && i < c->n_sizes; i++) {
            const OpSize *s = c->sizes + i;
            if (s->t > (type == DTYPE_BF16 && i % 2 ? 130 : 40)) continue;
            OpSetup setup = {.poison = -1, .activation = type, .gap = gap};
            int chosen = choices_of_cudnn(b);
            OpRun *want = op_run(c, s, ref, setup), *got = op_run(c, s, b, setup);
            char message[512], sizes[256];
            op_size_text(s, sizes, sizeof sizes);
            if (!op_agree(want, got, OP_WITHIN_TOLERANCE, message, sizeof message))
                fail_msg("%s, gap %lld: %s\n  %s", c->name, (long long)gap, message, sizes);
            if ((choices_of_cudnn(b) > chosen) != (is_for_cudnn(s) && gap == 0))
                fail_msg("%s, gap %lld: not the kind that the rule says\n  %s", c->name, (long long)gap, sizes);
            op_run_free(want);
            op_run_free(got);
        }
    backend_close(b);
}

static void test_cudnn_matches_reference(void **state) {
    (void)state;
    Err err;
    Backend *ref = NULL;
    ASSERT_OK(backend_open(&ref, "ref", 1, &err), &err);
    check_cases(ref, DTYPE_BF16, 0);
    check_cases(ref, DTYPE_F16, 0);
    check_cases(ref, DTYPE_F16, 3); // out and dout do not lie back to back
    backend_close(ref);
}

// ---- padding: samples of 5, 0 and 9 tokens, and tokens in no sample ----

enum { TOKENS = 20, USED = 14, HEADS = 2, SIZE = 16, COLS = HEADS * SIZE, MATS = 8 };

typedef struct Padded {
    Backend *b;
    Mat mat[MATS]; // q, k, v, dout, out, dq, dk, dv: columns of rows of twice the width
    float *lse;
} Padded;

static void *copy_of(Backend *b, const void *host, size_t bytes) {
    void *p = b->k->alloc(b, bytes);
    b->k->upload(b, p, host, bytes);
    return p;
}

static Padded run_padded(Backend *b) {
    static const int32_t start[] = {0, 5, 5, 14}, length[] = {5, 0, 9};
    static const int32_t pos[TOKENS] = {0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8};
    uint16_t host[TOKENS * 2 * COLS];
    Padded p = {.b = b};
    for (int m = 0; m < MATS; m++) {
        for (int i = 0; i < TOKENS * 2 * COLS; i++)
            host[i] = m < 4 ? f32_to_bf16(sinf((float)(i * (m + 3)))) : f32_to_bf16(NAN);
        int64_t stride = m == 3 || m == 4 ? COLS : 2 * COLS; // as a decoder has them
        p.mat[m] = (Mat){copy_of(b, host, sizeof host), DTYPE_BF16, TOKENS, COLS, stride};
    }
    AttentionShape s = {
        .heads = HEADS, .kv_heads = HEADS, .head_size = SIZE, .samples = 3, .scale = 0.5f, .longest = 9};
    s.q_start = s.k_start = copy_of(b, start, sizeof start);
    s.k_len = copy_of(b, length, sizeof length);
    s.q_pos = copy_of(b, pos, sizeof pos);
    p.lse = b->k->alloc(b, TOKENS * HEADS * sizeof(float));
    Mat lse = mat_of(p.lse, DTYPE_F32, TOKENS, HEADS), *m = p.mat;
    void *ws = b->k->alloc(b, b->k->attention_workspace(b, &s, m[0], m[1], true) + 65536);
    AttentionCall c = {&s, m[0], m[1], m[2], m[4], lse, m[3], m[5], m[6], m[7], ws};
    b->k->attention_forward(b, &c);
    b->k->attention_backward(b, &c);
    return p;
}

// What lies where matrix m begins, rows of twice the width.
typedef struct Elements {
    uint16_t bits[TOKENS * 2 * COLS];
} Elements;

static Elements elements_of(const Padded *p, int m) {
    Elements e;
    p->b->k->download(p->b, e.bits, p->mat[m].data, sizeof e.bits);
    return e;
}

static float element(const Elements *e, const Padded *p, int m, int row, int col) {
    return bf16_to_f32(e->bits[row * p->mat[m].stride + col]);
}

static void test_cudnn_leaves_padding_empty(void **state) {
    (void)state;
    Padded own = run_padded(open_device(DTYPE_BF16, false)), cudnn = run_padded(open_device(DTYPE_BF16, true));
    char *choices = choices_of(cudnn.b);
    assert_non_null(strstr(choices, "attention_backward"));
    mem_free(choices);
    for (int m = 4; m < MATS; m++) {
        Elements a = elements_of(&own, m), b = elements_of(&cudnn, m);
        for (int row = 0; row < TOKENS; row++)
            for (int col = 0; col < COLS; col++) {
                float want = element(&a, &own, m, row, col), got = element(&b, &cudnn, m, row, col);
                if (row >= USED && (want != 0 || got != 0)) fail_msg("padding: %g, %g", (double)want, (double)got);
                if (!(fabsf(want - got) <= 0.03f)) fail_msg("matrix %d: %g, %g", m, (double)want, (double)got);
                if (m > 4 && !isnan(element(&b, &cudnn, m, row, COLS + col))) fail_msg("written beside row %d", row);
            }
    }
    float lse[TOKENS * HEADS];
    cudnn.b->k->download(cudnn.b, lse, cudnn.lse, sizeof lse);
    for (int i = 0; i < TOKENS * HEADS; i++) assert_true(i < USED * HEADS ? isfinite(lse[i]) : lse[i] == -INFINITY);
    backend_close(own.b);
    backend_close(cudnn.b);
}

// ---- the choice ----

static void test_cudnn_is_a_choice_of_the_run(void **state) {
    (void)state;
    Err err;
    Backend *with = run_padded(open_device(DTYPE_BF16, true)).b;
    char *choices = choices_of(with);
    Backend *without = open_device(DTYPE_BF16, false), *again = open_device(DTYPE_BF16, true);
    assert_int_equal(without->k->choices_set(without, choices, &err), -1);
    assert_non_null(strstr(err.msg, "cudnn stand-in"));
    ASSERT_OK(again->k->choices_set(again, choices, &err), &err);
    // A run whose own kernels were faster keeps them.
    char *own = mem_strdup(choices), *at;
    while ((at = strstr(own, "cudnn stand-in"))) memmove(at, "own", 3), memmove(at + 3, at + 14, strlen(at + 14) + 1);
    ASSERT_OK(again->k->choices_set(again, own, &err), &err);
    run_padded(again);
    char *after = choices_of(again);
    assert_string_equal(after, own);
    mem_free(after);
    mem_free(own);
    mem_free(choices);
    backend_close(with);
    backend_close(without);
    backend_close(again);
}

// deterministic: false asks cuDNN for another backward pass, which is a choice of its own.
static void test_cudnn_may_add_in_any_order(void **state) {
    (void)state;
    Backend *b = open_device(DTYPE_BF16, true);
    b->nondeterministic = true;
    char *choices = choices_of(run_padded(b).b), *at = strstr(choices, " nondeterministic\"");
    if (!at || strstr(at + 2, "nondeterministic")) fail_msg("of the backward pass alone; %s", choices);
    while (*at != '\n') at--;
    assert_non_null(strstr(at, "attention_backward"));
    mem_free(choices);
    backend_close(b);
}

// More than is kept for cuDNN: the own kernels compute all shapes, and the run keeps that.
static void test_cudnn_needs_no_more_than_its_bound(void **state) {
    (void)state;
    emulated_set_cudnn_workspace((size_t)1 << 20);
    Padded p = run_padded(open_device(DTYPE_BF16, true));
    emulated_set_cudnn_workspace(1000);
    char *choices = choices_of(p.b);
    assert_int_equal(choices_of_cudnn(p.b), 0);
    assert_non_null(strstr(choices, "\"own\""));
    assert_int_equal(p.b->library_shapes, 0);
    mem_free(choices);
    backend_close(p.b);
}

// `plan` for a GPU that is not here reserves what the GPU reserves, to the byte.
static void test_cudnn_workspace_is_as_planned(void **state) {
    (void)state;
    Err err;
    static const PlannedDevice device = {.name = "planned", .capability = 90, .memory = (size_t)512 << 20};
    static const BackendOptions options = {.device = "cuda", .activation = DTYPE_BF16};
    Backend *planned, *cudnn = open_device(DTYPE_BF16, true), *own = open_device(DTYPE_BF16, false);
    ASSERT_OK(backend_open_planned(&planned, &device, &options, &err), &err);
    AttentionShape s = {.heads = 8, .kv_heads = 2, .head_size = 64, .samples = 3, .scale = 1, .longest = 200};
    Mat q = mat_of(NULL, DTYPE_BF16, 512, 512), k = mat_of(NULL, DTYPE_BF16, 512, 128);
    for (int backward = 0; backward < 2; backward++) {
        size_t want = planned->k->attention_workspace(planned, &s, q, k, backward);
        assert_int_equal(cudnn->k->attention_workspace(cudnn, &s, q, k, backward), want);
        assert_true(own->k->attention_workspace(own, &s, q, k, backward) < want);
        planned->nondeterministic = cudnn->nondeterministic = true; // without dS
        size_t any_order = planned->k->attention_workspace(planned, &s, q, k, backward);
        assert_int_equal(cudnn->k->attention_workspace(cudnn, &s, q, k, backward), any_order);
        assert_true(backward ? any_order < want : any_order == want);
        planned->nondeterministic = cudnn->nondeterministic = false;
    }
    s.samples = 1;
    s.longest = q.rows = k.rows = 1 << 20; // beyond the bound: the own kernels, for which no more is reserved
    assert_int_equal(cudnn->k->attention_workspace(cudnn, &s, q, k, true), (size_t)(q.rows * s.heads) * sizeof(float));
    assert_int_equal(planned->k->attention_workspace(planned, &s, q, k, true),
                     (size_t)(q.rows * s.heads) * sizeof(float));
    backend_close(planned);
    backend_close(cudnn);
    backend_close(own);
}

// The own kernels end there too, and so does the device.
static void test_wide_heads_are_refused(void **state) {
    (void)state;
    TinyModel tiny = TINY_MODEL;
    tiny.hidden = DEVICE_MAX_HEAD_SIZE + 8;
    tiny.heads = tiny.kv_heads = 1;
    tiny_model_write("wide.gguf", &tiny);
    Backend *b = open_device(DTYPE_BF16, false);
    Model *m = NULL;
    Err err;
    ASSERT_REFUSED(model_load(&m, "wide.gguf", b, NULL, &err), &err, "attention heads of size 264");
    backend_close(b);
}

TEST_MAIN(TEST(test_cudnn_matches_reference), TEST(test_cudnn_leaves_padding_empty),
          TEST(test_cudnn_is_a_choice_of_the_run), TEST(test_cudnn_may_add_in_any_order),
          TEST(test_cudnn_needs_no_more_than_its_bound), TEST(test_cudnn_workspace_is_as_planned),
          SCRATCH_TEST(test_wide_heads_are_refused))
