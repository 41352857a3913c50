// cudnn_attention: CudnnLibrary over cuDNN's fused attention (SDPA), whose graphs cudnn-frontend builds. The samples
// are packed one after the other ("ragged", THD): each matrix is a tensor [batch, heads, longest, head size] whose
// sample i begins at offset[i], with the samples' lengths as a padding mask. The log of the sums of exponentials is
// ragged too, so that it is [rows, heads], as ours is.
#include "cudnn_attention.h"

#include <stdio.h>

#include <memory>
#include <unordered_map>
#include <vector>

#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

namespace fe = cudnn_frontend;
using fe::graph::Tensor_attributes;
typedef std::shared_ptr<Tensor_attributes> Tensor;

namespace {

// Ragged tensors with 64-bit offsets, grouped heads and packed statistics work from 9.6 on.
constexpr size_t OLDEST_VERSION = 90600;
// Names of tensors: a matrix has its number + MAT, its offsets the number + OFFSET.
enum : int64_t { MAT = 1, OFFSET = 101, LENGTH_Q = 201, LENGTH_K = 202 };

struct Cudnn {
    cudnnHandle_t handle;
};

struct Plan {
    fe::graph::Graph graph;
    bool backward;
};

int failed(fe::error_t e, Err *err) { return err_runtime(err, "cuDNN: %s", e.get_message().c_str()); }

Tensor small_integers(fe::graph::Graph &g, const char *name, int64_t uid, int64_t n, fe::DataType_t type) {
    return g.tensor(Tensor_attributes()
                        .set_name(name)
                        .set_uid(uid)
                        .set_dim({n, 1, 1, 1})
                        .set_stride({1, 1, 1, 1})
                        .set_data_type(type));
}

struct Builder {
    Plan &plan;
    const CudnnShape &s;

    int64_t heads_of(CudnnMat m) const {
        return m == CUDNN_K || m == CUDNN_V || m == CUDNN_DK || m == CUDNN_DV ? s.kv_heads : s.heads;
    }

    // The layout of matrix m: rows are its stride apart, heads the head size (lse: one element). The batch stride is
    // not used: ragged offsets replace it.
    void place(Tensor_attributes &t, CudnnMat m) const {
        int64_t d = m == CUDNN_LSE ? 1 : s.head_size;
        t.set_uid(MAT + m)
            .set_dim({s.batch, heads_of(m), s.longest, d})
            .set_stride({s.stride[m] * s.longest, d, s.stride[m], 1})
            .set_data_type(m == CUDNN_LSE ? fe::DataType_t::FLOAT : type());
        t.set_ragged_offset(small_integers(plan.graph, "offset", OFFSET + m, s.batch + 1, fe::DataType_t::INT64));
    }
    Tensor input(CudnnMat m, const char *name) const {
        Tensor_attributes t;
        t.set_name(name);
        place(t, m);
        return plan.graph.tensor(t);
    }
    void output(const Tensor &t, CudnnMat m) const {
        t->set_output(true);
        place(*t, m);
    }

    fe::DataType_t type() const { return s.type == DTYPE_F16 ? fe::DataType_t::HALF : fe::DataType_t::BFLOAT16; }

    // Attributes of both passes. The window includes the query's own key, as ours does.
    template <class Attributes> void describe(Attributes &a) const {
        a.set_attn_scale(s.scale)
            .set_padding_mask(true)
            .set_seq_len_q(small_integers(plan.graph, "length_q", LENGTH_Q, s.batch, fe::DataType_t::INT32))
            .set_seq_len_kv(small_integers(plan.graph, "length_kv", LENGTH_K, s.batch, fe::DataType_t::INT32));
        if (!s.causal) return;
        a.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT).set_diagonal_band_right_bound(0);
        if (s.window) a.set_diagonal_band_left_bound((int)s.window);
    }

    void forward() const {
        fe::graph::SDPA_attributes a;
        a.set_name("attention").set_generate_stats(true);
        describe(a);
        auto outputs =
            plan.graph.sdpa(input(CUDNN_Q, "q"), input(CUDNN_K, "k"), input(CUDNN_V, "v"), a); // out, statistics
        output(outputs[0], CUDNN_OUT);
        output(outputs[1], CUDNN_LSE);
    }

    // max_total: sizes the sums that cuDNN keeps in its workspace by the rows, not by batch times longest.
    void backward() const {
        fe::graph::SDPA_backward_attributes a;
        a.set_name("attention_backward")
            .set_deterministic_algorithm(true)
            .set_max_total_seq_len_q(s.rows)
            .set_max_total_seq_len_kv(s.rows);
        describe(a);
        auto outputs =
            plan.graph.sdpa_backward(input(CUDNN_Q, "q"), input(CUDNN_K, "k"), input(CUDNN_V, "v"),
                                     input(CUDNN_OUT, "out"), input(CUDNN_DOUT, "dout"), input(CUDNN_LSE, "lse"), a);
        output(outputs[0], CUDNN_DQ);
        output(outputs[1], CUDNN_DK);
        output(outputs[2], CUDNN_DV);
    }

    void build() const {
        plan.graph.set_io_data_type(type())
            .set_intermediate_data_type(fe::DataType_t::FLOAT)
            .set_compute_data_type(fe::DataType_t::FLOAT);
        if (s.backward)
            backward();
        else
            forward();
    }
};

int open(void **cudnn, char *version, size_t size, Err *err) {
    size_t n = cudnnGetVersion();
    snprintf(version, size, "%zu.%zu.%zu", n / 10000, n / 100 % 100, n % 100);
    if (n < OLDEST_VERSION) return err_runtime(err, "cuDNN %s is too old, expected 9.6 or later", version);
    cudnnHandle_t handle;
    cudnnStatus_t status = cudnnCreate(&handle);
    if (status != CUDNN_STATUS_SUCCESS) return err_runtime(err, "cuDNN: %s", cudnnGetErrorString(status));
    *cudnn = new Cudnn{handle};
    return 0;
}

void close(void *cudnn) {
    Cudnn *c = static_cast<Cudnn *>(cudnn);
    cudnnDestroy(c->handle);
    delete c;
}

int make_plan(void *cudnn, void **plan, size_t *workspace, const CudnnShape *shape, Err *err) {
    auto made = std::make_unique<Plan>();
    made->backward = shape->backward;
    Builder{*made, *shape}.build();
    fe::error_t e = made->graph.build(static_cast<Cudnn *>(cudnn)->handle, {fe::HeurMode_t::A});
    if (e.is_bad()) return failed(e, err);
    int64_t bytes = 0;
    e = made->graph.get_workspace_size(bytes);
    if (e.is_bad()) return failed(e, err);
    *workspace = static_cast<size_t>(bytes);
    *plan = made.release();
    return 0;
}

void plan_free(void *plan) { delete static_cast<Plan *>(plan); }

int run(void *cudnn, void *plan, const CudnnCall *call, Err *err) {
    const Plan *p = static_cast<const Plan *>(plan);
    cudnnHandle_t handle = static_cast<Cudnn *>(cudnn)->handle;
    cudnnStatus_t status = cudnnSetStream(handle, call->stream);
    if (status != CUDNN_STATUS_SUCCESS) return err_runtime(err, "cuDNN: %s", cudnnGetErrorString(status));
    std::unordered_map<int64_t, void *> pack = {{LENGTH_Q, call->length}, {LENGTH_K, call->length}};
    for (int m = 0; m < (p->backward ? CUDNN_MATS : CUDNN_LSE + 1); m++) {
        pack[MAT + m] = call->data[m];
        pack[OFFSET + m] = call->offset[m];
    }
    fe::error_t e = p->graph.execute(handle, pack, call->workspace);
    return e.is_bad() ? failed(e, err) : 0;
}

// No C++ exception crosses into C.
template <class F> int guarded(Err *err, F f) {
    try {
        return f();
    } catch (const std::exception &e) {
        return err_runtime(err, "cuDNN: %s", e.what());
    }
}

} // namespace

const CudnnLibrary *lorac_cudnn(void) {
    static const CudnnLibrary library = {
        [](void **cudnn, char *version, size_t size, Err *err) {
            return guarded(err, [&] { return open(cudnn, version, size, err); });
        },
        close,
        [](void *cudnn, void **plan, size_t *workspace, const CudnnShape *shape, Err *err) {
            return guarded(err, [&] { return make_plan(cudnn, plan, workspace, shape, err); });
        },
        plan_free,
        [](void *cudnn, void *plan, const CudnnCall *call, Err *err) {
            return guarded(err, [&] { return run(cudnn, plan, call, err); });
        },
    };
    return &library;
}
