# What the CUDA backend is made of: compiled by nvcc for the module lorac-cuda.so, and as host code for the tests over
# an emulated device (tests/cuda_on_cpu).
set(CUDA_KERNEL_SOURCES
  kernels/cuda/activation.cu
  kernels/cuda/attention.c
  kernels/cuda/attention_cudnn.c
  kernels/cuda/attention_plain.cu
  kernels/cuda/attention_prepare.cu
  kernels/cuda/attention_ragged.cu
  kernels/cuda/choices.c
  kernels/cuda/class_loss.cu
  kernels/cuda/cross_entropy.cu
  kernels/cuda/device.c
  kernels/cuda/expand.cu
  kernels/cuda/flash_backward.cu
  kernels/cuda/flash_forward.cu
  kernels/cuda/fp8.cu
  kernels/cuda/grouped.cu
  kernels/cuda/linear.c
  kernels/cuda/lora.cu
  kernels/cuda/loss.c
  kernels/cuda/matmul.c
  kernels/cuda/moe.cu
  kernels/cuda/norm.cu
  kernels/cuda/optim.cu
  kernels/cuda/place.cu
  kernels/cuda/pointwise.cu
  kernels/cuda/cuda_ranks.c
  kernels/cuda/record.c
  kernels/cuda/rope.cu
  kernels/cuda/rows.cu
  kernels/cuda/table.c
  kernels/cuda/tiles.c
  kernels/cuda/transfer.c
)
# The module lorac-nccl.so, and what looks for it: the emulation puts its own cuda_ranks_library in the place of load.c.
set(CUDA_LOAD_SOURCES
  kernels/cuda/load.c
  kernels/module.c
)
set(CUDA_NCCL_SOURCES
  kernels/cuda/nccl.c
)
# The module lorac-cudnn.so.
set(CUDA_CUDNN_SOURCES
  kernels/cuda/cudnn_attention.cpp
)
