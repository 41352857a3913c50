// cudnn: a stand-in for cuDNN's attention (CudnnLibrary): a plain loop over what the plan and the offsets say, in
// double, queued on the stream as a kernel is. Only where a test asks for it (emulated_set_cudnn).
#include <cmath>
#include <cstdio>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cudnn_attention.h"
#include "emulated.h"
#include "emulation.h"
#include "settings.h"

namespace {

struct Job {
    CudnnShape s;
    CudnnCall c;

    double read(CudnnMat m, int64_t i) const {
        if (m == CUDNN_LSE) return ((const float *)c.data[m])[i];
        return s.type == DTYPE_F16 ? (double)__half2float(((const __half *)c.data[m])[i])
                                   : (double)__bfloat162float(((const __nv_bfloat16 *)c.data[m])[i]);
    }
    void write(CudnnMat m, int64_t i, double x) const {
        if (m == CUDNN_LSE)
            ((float *)c.data[m])[i] = (float)x;
        else if (s.type == DTYPE_F16)
            ((__half *)c.data[m])[i] = __float2half_rn((float)x);
        else
            ((__nv_bfloat16 *)c.data[m])[i] = __float2bfloat16_rn((float)x);
    }
    // First element of a head of row `row` of a sample.
    int64_t at(CudnnMat m, int64_t sample, int64_t row, int64_t head) const {
        return c.offset[m][sample] + row * s.stride[m] + head * (m == CUDNN_LSE ? 1 : s.head_size);
    }
    double dot(CudnnMat a, int64_t i, CudnnMat b, int64_t j) const {
        double sum = 0;
        for (int64_t d = 0; d < s.head_size; d++) sum += read(a, i + d) * read(b, j + d);
        return sum;
    }
    bool sees(int64_t query, int64_t key) const {
        return !s.causal || (key <= query && (!s.window || key > query - s.window));
    }

    void forward_row(int64_t sample, int64_t n, int64_t row, int64_t head) const {
        int64_t kv = head / (s.heads / s.kv_heads), q = at(CUDNN_Q, sample, row, head);
        std::vector<double> p((size_t)n), out((size_t)s.head_size);
        double max = -INFINITY, sum = 0;
        for (int64_t key = 0; key < n; key++) {
            p[key] = sees(row, key) ? s.scale * dot(CUDNN_Q, q, CUDNN_K, at(CUDNN_K, sample, key, kv)) : -INFINITY;
            if (!(p[key] <= max)) max = p[key];
        }
        for (int64_t key = 0; key < n; key++) {
            double w = exp(p[key] - max);
            sum += w;
            for (int64_t d = 0; d < s.head_size && w != 0; d++)
                out[d] += w * read(CUDNN_V, at(CUDNN_V, sample, key, kv) + d);
        }
        for (int64_t d = 0; d < s.head_size; d++) write(CUDNN_OUT, at(CUDNN_OUT, sample, row, head) + d, out[d] / sum);
        write(CUDNN_LSE, at(CUDNN_LSE, sample, row, head), max + log(sum));
    }

    // Of one sample and key head: the sums of its group.
    void backward_group(int64_t sample, int64_t n, int64_t kv) const {
        int64_t size = s.head_size, group = s.heads / s.kv_heads;
        std::vector<double> dk((size_t)(n * size)), dv((size_t)(n * size));
        for (int64_t head = kv * group; head < (kv + 1) * group; head++)
            for (int64_t row = 0; row < n; row++) {
                std::vector<double> dq((size_t)size);
                int64_t q = at(CUDNN_Q, sample, row, head), dout = at(CUDNN_DOUT, sample, row, head);
                double delta = dot(CUDNN_DOUT, dout, CUDNN_OUT, at(CUDNN_OUT, sample, row, head));
                double lse = read(CUDNN_LSE, at(CUDNN_LSE, sample, row, head));
                for (int64_t key = 0; key < n; key++) {
                    if (!sees(row, key)) continue;
                    int64_t k = at(CUDNN_K, sample, key, kv);
                    double p = exp(s.scale * dot(CUDNN_Q, q, CUDNN_K, k) - lse);
                    double ds = p * (dot(CUDNN_DOUT, dout, CUDNN_V, at(CUDNN_V, sample, key, kv)) - delta) * s.scale;
                    for (int64_t d = 0; d < size; d++) {
                        dq[d] += ds * read(CUDNN_K, k + d);
                        dk[key * size + d] += ds * read(CUDNN_Q, q + d);
                        dv[key * size + d] += p * read(CUDNN_DOUT, dout + d);
                    }
                }
                for (int64_t d = 0; d < size; d++) write(CUDNN_DQ, at(CUDNN_DQ, sample, row, head) + d, dq[d]);
            }
        for (int64_t i = 0; i < n * size; i++) {
            write(CUDNN_DK, at(CUDNN_DK, sample, i / size, kv) + i % size, dk[i]);
            write(CUDNN_DV, at(CUDNN_DV, sample, i / size, kv) + i % size, dv[i]);
        }
    }

    void work() const {
        for (int64_t sample = 0; sample < s.batch; sample++) {
            int64_t n = c.length[sample];
            if (n < 0 || n > s.longest)
                emu::fault("cuDNN: sample %lld of %lld tokens, at most %lld", (long long)sample, (long long)n,
                           (long long)s.longest);
            if (s.backward)
                for (int64_t kv = 0; kv < s.kv_heads; kv++) backward_group(sample, n, kv);
            else
                for (int64_t i = 0; i < n * s.heads; i++) forward_row(sample, n, i / s.heads, i % s.heads);
        }
    }
};

int open(void **cudnn, char *version, size_t size, int, Err *) {
    *cudnn = &emu::settings();
    snprintf(version, size, "stand-in");
    return 0;
}
void close(void *) {}

int make_plan(void *, void **plan, size_t *workspace, const CudnnShape *shape, Err *err) {
    if (shape->head_size > 128) return err_runtime(err, "cuDNN: heads of up to 128");
    *plan = new CudnnShape(*shape);
    *workspace = emu::settings().cudnn_workspace;
    return 0;
}
void plan_free(void *plan) { delete (CudnnShape *)plan; }
int run(void *, void *plan, const CudnnCall *call, Err *) {
    Job job = {*(const CudnnShape *)plan, *call};
    emu::check_range("cuDNN's workspace", call->workspace, emu::settings().cudnn_workspace);
    emu::enqueue(call->stream, [job] { job.work(); });
    return 0;
}

} // namespace

const CudnnLibrary *cuda_cudnn_library(Err *err) {
    static const CudnnLibrary library = {open, nullptr, close, make_plan, plan_free, run};
    if (emu::settings().cudnn) return &library;
    err_runtime(err, "no cuDNN");
    return nullptr;
}
