# What the CUDA backend is made of: compiled by nvcc for the module lorac-cuda.so, and as host code for the tests over
# an emulated device (tests/cuda_on_cpu).
set(CUDA_KERNEL_SOURCES
  kernels/cuda/activation.cu
  kernels/cuda/device.c
  kernels/cuda/expand.cu
  kernels/cuda/fp8.cu
  kernels/cuda/linear.c
  kernels/cuda/lora.cu
  kernels/cuda/matmul.c
  kernels/cuda/norm.cu
  kernels/cuda/optim.cu
  kernels/cuda/pointwise.cu
  kernels/cuda/rope.cu
  kernels/cuda/rows.cu
  kernels/cuda/table.c
  kernels/cuda/tiles.c
  kernels/cuda/transfer.c
)
