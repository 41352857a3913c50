// cudnn_attention: CudnnLibrary over cuDNN's fused attention (SDPA), whose graphs cudnn-frontend builds. The samples
// are packed one after the other ("ragged", THD): each matrix is a tensor [batch, heads, longest, head size] whose
// sample i begins at offset[i], with the samples' lengths as a padding mask. The log of the sums of exponentials is
// ragged too, so that it is [rows, heads], as ours is.
#include "cudnn_attention.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

// From 1.32 on the frontend offers an ordered sum of dQ on Hopper, in memory that is linear in the tokens.
static_assert(CUDNN_FRONTEND_VERSION >= 13200, "cudnn-frontend 1.32 or later: kernels/cuda/fetch_nvidia.py");

namespace fe = cudnn_frontend;
using fe::graph::Tensor_attributes;
typedef std::shared_ptr<Tensor_attributes> Tensor;

namespace {

// Ids of tensors: a matrix has its number + MAT, its offsets the number + OFFSET.
enum : int64_t { MAT = 1, OFFSET = 101, LENGTH_Q = 201, LENGTH_K = 202 };

struct Cudnn {
    cudnnHandle_t handle; // nullptr: of a GPU that is not here
    std::shared_ptr<fe::DeviceProperties> properties;
    int capability;
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
    fe::graph::Graph &graph;
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
        t.set_ragged_offset(small_integers(graph, "offset", OFFSET + m, s.batch + 1, fe::DataType_t::INT64));
    }
    Tensor input(CudnnMat m, const char *name) const {
        Tensor_attributes t;
        t.set_name(name);
        place(t, m);
        return graph.tensor(t);
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
            .set_seq_len_q(small_integers(graph, "length_q", LENGTH_Q, s.batch, fe::DataType_t::INT32))
            .set_seq_len_kv(small_integers(graph, "length_kv", LENGTH_K, s.batch, fe::DataType_t::INT32));
        if (!s.causal) return;
        a.set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT).set_diagonal_band_right_bound(0);
        if (s.window) a.set_diagonal_band_left_bound((int)s.window);
    }

    void forward() const {
        fe::graph::SDPA_attributes a;
        a.set_name("attention").set_generate_stats(true);
        describe(a);
        auto outputs = graph.sdpa(input(CUDNN_Q, "q"), input(CUDNN_K, "k"), input(CUDNN_V, "v"), a); // out, statistics
        output(outputs[0], CUDNN_OUT);
        output(outputs[1], CUDNN_LSE);
    }

    // max_total: sizes the sums that cuDNN keeps in its workspace by the rows, not by batch times longest.
    void backward() const {
        fe::graph::SDPA_backward_attributes a;
        a.set_name("attention_backward")
            .set_deterministic_algorithm(s.deterministic)
            .set_max_total_seq_len_q(s.rows)
            .set_max_total_seq_len_kv(s.rows);
        describe(a);
        auto outputs =
            graph.sdpa_backward(input(CUDNN_Q, "q"), input(CUDNN_K, "k"), input(CUDNN_V, "v"), input(CUDNN_OUT, "out"),
                                input(CUDNN_DOUT, "dout"), input(CUDNN_LSE, "lse"), a);
        output(outputs[0], CUDNN_DQ);
        output(outputs[1], CUDNN_DK);
        output(outputs[2], CUDNN_DV);
    }

    void build() const {
        graph.set_io_data_type(type())
            .set_intermediate_data_type(fe::DataType_t::FLOAT)
            .set_compute_data_type(fe::DataType_t::FLOAT);
        if (s.backward)
            backward();
        else
            forward();
    }
};

// The oldest cuDNN that serves a GPU: 9.25 has the ordered sum on Hopper; before 9.18 the packed backward pass may give
// NaN.
size_t oldest_version(int capability) { return capability / 10 == 9 ? 92500 : 91800; }

int check_version(int capability, Err *err) {
    size_t n = cudnnGetVersion(), oldest = oldest_version(capability);
    if (n >= oldest) return 0;
    return err_runtime(err, "cuDNN %zu.%zu.%zu is too old for this GPU, expected %zu.%zu or later", n / 10000,
                       n / 100 % 100, n % 100, oldest / 10000, oldest / 100 % 100);
}

// The frontend takes its limit of dS from the environment, at each graph; the user's own value counts.
void limit_ds() { setenv("CUDNN_FRONTEND_ATTN_DP_WORKSPACE_LIMIT", std::to_string(CUDNN_DS_BYTES).c_str(), false); }

int open(void **cudnn, char *version, size_t size, int capability, Err *err) {
    if (check_version(capability, err)) return -1;
    size_t n = cudnnGetVersion();
    snprintf(version, size, "%zu.%zu.%zu", n / 10000, n / 100 % 100, n % 100);
    limit_ds();
    cudnnHandle_t handle;
    cudnnStatus_t status = cudnnCreate(&handle);
    if (status != CUDNN_STATUS_SUCCESS) return err_runtime(err, "cuDNN: %s", cudnnGetErrorString(status));
    *cudnn = new Cudnn{handle, nullptr, capability};
    return 0;
}

int open_absent(void **cudnn, const char *json, int capability, Err *err) {
    if (check_version(capability, err)) return -1;
    limit_ds();
    auto properties = std::make_shared<fe::DeviceProperties>();
    fe::error_t e = properties->deserialize(std::vector<uint8_t>(json, json + strlen(json)));
    if (e.is_bad()) return failed(e, err);
    *cudnn = new Cudnn{nullptr, properties, capability};
    return 0;
}

void close(void *cudnn) {
    Cudnn *c = static_cast<Cudnn *>(cudnn);
    if (c->handle) cudnnDestroy(c->handle);
    delete c;
}

int make_plan(void *cudnn, void **plan, size_t *workspace, const CudnnShape *shape, Err *err) {
    const Cudnn *c = static_cast<Cudnn *>(cudnn);
    auto made = std::make_unique<Plan>();
    fe::graph::Graph &graph = made->graph;
    made->backward = shape->backward;
    if (c->properties) graph.set_device_properties(c->properties).set_sm_version(c->capability); // before the nodes
    Builder{graph, *shape}.build();
    fe::error_t e = c->handle ? graph.build(c->handle, {fe::HeurMode_t::A}) : graph.build({fe::HeurMode_t::A});
    if (e.is_bad()) return failed(e, err);
    int64_t bytes = 0;
    e = graph.get_workspace_size(bytes);
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
        [](void **cudnn, char *version, size_t size, int capability, Err *err) {
            return guarded(err, [&] { return open(cudnn, version, size, capability, err); });
        },
        [](void **cudnn, const char *json, int capability, Err *err) {
            return guarded(err, [&] { return open_absent(cudnn, json, capability, err); });
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
