# Sources of the CUDA backend: compiled by nvcc for the module lorac-cuda.so, and as host code for the tests over
# an emulated device (tests/cuda_on_cpu). Absolute paths.
set(CUDA_KERNEL_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/activation.cu
  ${CMAKE_CURRENT_LIST_DIR}/attention.c
  ${CMAKE_CURRENT_LIST_DIR}/attention_cudnn.c
  ${CMAKE_CURRENT_LIST_DIR}/attention_plain.cu
  ${CMAKE_CURRENT_LIST_DIR}/attention_prepare.cu
  ${CMAKE_CURRENT_LIST_DIR}/attention_ragged.cu
  ${CMAKE_CURRENT_LIST_DIR}/choices.c
  ${CMAKE_CURRENT_LIST_DIR}/class_loss.cu
  ${CMAKE_CURRENT_LIST_DIR}/cross_entropy.cu
  ${CMAKE_CURRENT_LIST_DIR}/device.c
  ${CMAKE_CURRENT_LIST_DIR}/expand.cu
  ${CMAKE_CURRENT_LIST_DIR}/flash_backward.cu
  ${CMAKE_CURRENT_LIST_DIR}/flash_forward.cu
  ${CMAKE_CURRENT_LIST_DIR}/fp8.cu
  ${CMAKE_CURRENT_LIST_DIR}/grouped.cu
  ${CMAKE_CURRENT_LIST_DIR}/linear.c
  ${CMAKE_CURRENT_LIST_DIR}/lora.cu
  ${CMAKE_CURRENT_LIST_DIR}/loss.c
  ${CMAKE_CURRENT_LIST_DIR}/matmul.c
  ${CMAKE_CURRENT_LIST_DIR}/moe.cu
  ${CMAKE_CURRENT_LIST_DIR}/norm.cu
  ${CMAKE_CURRENT_LIST_DIR}/optim.cu
  ${CMAKE_CURRENT_LIST_DIR}/place.cu
  ${CMAKE_CURRENT_LIST_DIR}/pointwise.cu
  ${CMAKE_CURRENT_LIST_DIR}/cuda_ranks.c
  ${CMAKE_CURRENT_LIST_DIR}/record.c
  ${CMAKE_CURRENT_LIST_DIR}/rope.cu
  ${CMAKE_CURRENT_LIST_DIR}/rows.cu
  ${CMAKE_CURRENT_LIST_DIR}/table.c
  ${CMAKE_CURRENT_LIST_DIR}/tiles.c
  ${CMAKE_CURRENT_LIST_DIR}/transfer.c
  ${CMAKE_SOURCE_DIR}/kernels/planned/sizes.c
)
# The module lorac-nccl.so, and load.c, which finds it; the emulation has its own cuda_ranks_library instead of load.c.
set(CUDA_LOAD_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/load.c
  ${CMAKE_SOURCE_DIR}/kernels/module.c
)
set(CUDA_NCCL_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/nccl.c
)
# The module lorac-cudnn.so.
set(CUDA_CUDNN_SOURCES
  ${CMAKE_CURRENT_LIST_DIR}/cudnn_attention.cpp
)
