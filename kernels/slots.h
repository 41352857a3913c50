// slots: every slot of struct Kernels (kernels.h), once: tables, declarations and the check for empty slots are
// generated from these lists. OP_SLOTS compute, DEVICE_SLOTS do not.
#pragma once

// clang-format off
#define DEVICE_SLOTS(X) \
    X(close) X(status) X(describe) X(memory) X(alloc) X(free) X(upload) X(download) X(copy) X(zero) X(sync) X(stamp) \
    X(host_alloc) X(host_free) X(offload) X(reload) X(settle) X(replay) X(record) X(record_end) X(forget) \
    X(connect) X(all_reduce) X(choices_get) X(choices_set) X(weight_bytes) X(weight_place)
#define OP_SLOTS(X) \
    X(weight_keep) X(weight_finite) X(expand) X(pack) X(embed_forward) X(neftune) \
    X(rmsnorm_forward) X(rmsnorm_backward) X(layernorm_forward) X(layernorm_backward) \
    X(linear_workspace) X(linear_forward) X(linear_backward) X(linears_forward) X(linears_backward) \
    X(lora_workspace) X(lora_forward) X(lora_backward) \
    X(dora_workspace) X(dora_norm) X(dora_forward) X(dora_backward) \
    X(rope) X(attention_workspace) X(attention_forward) X(attention_backward) \
    X(short_conv_forward) X(short_conv_backward) X(glu_forward) X(glu_backward) \
    X(activation_forward) X(activation_backward) X(gather_rows_forward) X(gather_rows_backward) X(scatter_rows) X(add) \
    X(moe_route_forward) X(moe_route_backward) X(moe_gather) X(moe_combine) X(moe_scale_forward) \
    X(moe_scale_backward) X(moe_bias_forward) X(moe_bias_backward) \
    X(grouped_linear_workspace) X(grouped_linear_forward) X(grouped_linear_backward) \
    X(head_loss_workspace) X(head_loss) X(softcap) X(class_loss_workspace) X(class_loss) X(dense_gradients) \
    X(preference_loss_workspace) X(preference_loss) X(pool_forward) X(pool_backward) \
    X(embedding_loss_workspace) X(embedding_loss) X(argmax) X(top_k) \
    X(tally) X(fixed_add) X(fixed_to_f32) X(sqnorm) X(adamw)
// clang-format on
