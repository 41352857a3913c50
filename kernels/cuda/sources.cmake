# Sources of the CUDA backend: compiled by nvcc for the module lorac-cuda.so, and as host code for the tests over
# an emulated device (tests/cuda_on_cpu). Absolute paths.
set(CUDA_KERNEL_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/attention/attention.c
  ${CMAKE_CURRENT_LIST_DIR}/attention/attention_cudnn.c
  ${CMAKE_CURRENT_LIST_DIR}/attention/attention_plain.cu
  ${CMAKE_CURRENT_LIST_DIR}/attention/attention_prepare.cu
  ${CMAKE_CURRENT_LIST_DIR}/attention/attention_ragged.cu
  ${CMAKE_CURRENT_LIST_DIR}/attention/cudnn_shape.c
  ${CMAKE_CURRENT_LIST_DIR}/attention/flash_backward.cu
  ${CMAKE_CURRENT_LIST_DIR}/attention/flash_forward.cu
  ${CMAKE_CURRENT_LIST_DIR}/choices.c
  ${CMAKE_CURRENT_LIST_DIR}/cuda_ranks.c
  ${CMAKE_CURRENT_LIST_DIR}/device.c
  ${CMAKE_CURRENT_LIST_DIR}/environment.c
  ${CMAKE_CURRENT_LIST_DIR}/ops/activation.cu
  ${CMAKE_CURRENT_LIST_DIR}/ops/moe.cu
  ${CMAKE_CURRENT_LIST_DIR}/ops/norm.cu
  ${CMAKE_CURRENT_LIST_DIR}/ops/optim.cu
  ${CMAKE_CURRENT_LIST_DIR}/ops/pointwise.cu
  ${CMAKE_CURRENT_LIST_DIR}/ops/rope.cu
  ${CMAKE_CURRENT_LIST_DIR}/ops/rows.cu
  ${CMAKE_CURRENT_LIST_DIR}/products/class_loss.cu
  ${CMAKE_CURRENT_LIST_DIR}/products/cross_entropy.cu
  ${CMAKE_CURRENT_LIST_DIR}/products/expand.cu
  ${CMAKE_CURRENT_LIST_DIR}/products/fp8.cu
  ${CMAKE_CURRENT_LIST_DIR}/products/grouped.cu
  ${CMAKE_CURRENT_LIST_DIR}/products/linear.c
  ${CMAKE_CURRENT_LIST_DIR}/products/lora.cu
  ${CMAKE_CURRENT_LIST_DIR}/products/loss.c
  ${CMAKE_CURRENT_LIST_DIR}/products/matmul.c
  ${CMAKE_CURRENT_LIST_DIR}/products/place.cu
  ${CMAKE_CURRENT_LIST_DIR}/products/tiles.c
  ${CMAKE_CURRENT_LIST_DIR}/record.c
  ${CMAKE_CURRENT_LIST_DIR}/transfer.c
  ${CMAKE_SOURCE_DIR}/kernels/planned/attention_sizes.c
  ${CMAKE_SOURCE_DIR}/kernels/planned/sizes.c
)
# load.c finds the optional modules; the emulation has its own functions instead. Then the module lorac-nccl.so.
set(CUDA_LOAD_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/load.c
  ${CMAKE_SOURCE_DIR}/kernels/module.c
)
set(CUDA_NCCL_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/nccl.c
)
# The module lorac-cudnn.so.
set(CUDA_CUDNN_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/attention/cudnn_attention.cpp
)
# Their include path. products, attention and ops see kernels/cuda and planned, and not each other.
set(CUDA_INCLUDE
  ${CMAKE_SOURCE_DIR}/kernels/planned
  ${CMAKE_CURRENT_LIST_DIR}
  ${CMAKE_CURRENT_LIST_DIR}/attention
  ${CMAKE_CURRENT_LIST_DIR}/ops
  ${CMAKE_CURRENT_LIST_DIR}/products
)
