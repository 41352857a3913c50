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
    .weight_finite = ref_weight_finite,
    .expand = ref_expand,
    .embed_forward = ref_embed_forward,
    .neftune = ref_neftune,
    .rmsnorm_forward = ref_rmsnorm_forward,
    .rmsnorm_backward = ref_rmsnorm_backward,
    .linear_workspace = ref_linear_workspace,
    .linear_forward = ref_linear_forward,
    .linear_backward = ref_linear_backward,
    .lora_workspace = ref_lora_workspace,
    .lora_forward = ref_lora_forward,
    .lora_backward = ref_lora_backward,
    .rope = ref_rope,
    .attention_workspace = ref_attention_workspace,
    .attention_forward = ref_attention_forward,
    .attention_backward = ref_attention_backward,
    .glu_forward = ref_glu_forward,
    .glu_backward = ref_glu_backward,
    .gather_rows_forward = ref_gather_rows_forward,
    .gather_rows_backward = ref_gather_rows_backward,
    .scatter_rows = ref_scatter_rows,
    .add = ref_add,
    .head_loss_workspace = ref_head_loss_workspace,
    .head_loss = ref_head_loss,
    .argmax = ref_argmax,
    .fixed_add = ref_fixed_add,
    .fixed_to_f32 = ref_fixed_to_f32,
    .sqnorm = ref_sqnorm,
    .adamw = ref_adamw,
};
