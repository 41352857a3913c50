// table_cpu: the op table of the fast CPU backend, one copy per instruction set.
#include "cpu.h"
#include "ref.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)

const Kernels CPU_FN(kernels) = {
    .name = "cpu-" STRING(CPU_ISA),
    .alloc = host_alloc,
    .free = host_free,
    .upload = host_upload,
    .download = host_download,
    .zero = host_zero,
    .sync = host_sync,
    .weight_finite = CPU_FN(weight_finite),
    .expand = CPU_FN(expand),
    .embed_forward = ref_embed_forward,
    .neftune = ref_neftune,
    .rmsnorm_forward = ref_rmsnorm_forward,
    .rmsnorm_backward = ref_rmsnorm_backward,
    .linear_workspace = CPU_FN(linear_workspace),
    .linear_forward = CPU_FN(linear_forward),
    .linear_backward = CPU_FN(linear_backward),
    .lora_workspace = CPU_FN(lora_workspace),
    .lora_forward = CPU_FN(lora_forward),
    .lora_backward = CPU_FN(lora_backward),
    .rope = ref_rope,
    .attention_workspace = CPU_FN(attention_workspace),
    .attention_forward = CPU_FN(attention_forward),
    .attention_backward = CPU_FN(attention_backward),
    .glu_forward = ref_glu_forward,
    .glu_backward = ref_glu_backward,
    .gather_rows_forward = ref_gather_rows_forward,
    .gather_rows_backward = ref_gather_rows_backward,
    .scatter_rows = ref_scatter_rows,
    .add = ref_add,
    .head_loss_workspace = CPU_FN(head_loss_workspace),
    .head_loss = CPU_FN(head_loss),
    .argmax = ref_argmax,
    .fixed_add = ref_fixed_add,
    .fixed_to_f32 = ref_fixed_to_f32,
    .sqnorm = ref_sqnorm,
    .adamw = ref_adamw,
};
