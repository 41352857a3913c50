# test_cudnn_plans: the real cuDNN over a stub of the driver. It needs cuDNN, cudnn-frontend, nvrtc and the CUDA runtime:
# of the system and the toolkit, or fetched.
include(${CMAKE_SOURCE_DIR}/kernels/cuda/find_nvidia.cmake)
set(toolkit "")
if(NVCC)
  get_filename_component(toolkit ${NVCC} REALPATH)
  get_filename_component(toolkit ${toolkit} DIRECTORY)
  get_filename_component(toolkit ${toolkit} DIRECTORY)
endif()
find_nvidia("${toolkit}")
find_path(CUDNN_CUDA_H cuda.h HINTS ${toolkit} ${NVIDIA_FETCHED}/runtime PATHS /usr/local/cuda PATH_SUFFIXES include)
find_path(CUDNN_NVRTC_H nvrtc.h HINTS ${toolkit} ${NVIDIA_FETCHED}/nvrtc PATHS /usr/local/cuda PATH_SUFFIXES include)
find_library(CUDNN_CUDART NAMES cudart libcudart.so.13 libcudart.so.12 NAMES_PER_DIR HINTS ${toolkit} ${NVIDIA_FETCHED}/runtime
  PATHS /usr/local/cuda PATH_SUFFIXES lib lib64)
find_library(CUDNN_NVRTC NAMES nvrtc libnvrtc.so.13 libnvrtc.so.12 NAMES_PER_DIR HINTS ${toolkit} ${NVIDIA_FETCHED}/nvrtc
  PATHS /usr/local/cuda PATH_SUFFIXES lib lib64)
set(missing "${CUDNN_MISSING}")
if(NOT missing AND CUDNN_VERSION VERSION_LESS CUDNN_OLDEST_HOPPER)
  set(missing "cuDNN ${CUDNN_VERSION} is too old, expected ${CUDNN_OLDEST_HOPPER} or later")
elseif(NOT missing AND NOT (CUDNN_CUDA_H AND CUDNN_NVRTC_H AND CUDNN_CUDART AND CUDNN_NVRTC))
  set(missing "no nvrtc or CUDA runtime")
elseif(SANITIZE)
  set(missing "NVIDIA's libraries are not sanitized")
endif()
if(missing)
  add_test(NAME test_cudnn_plans COMMAND sh -c "echo \"tests of cuDNN's plans skipped: ${missing}: \
python3 kernels/cuda/fetch_nvidia.py cudnn frontend nvrtc runtime\"; exit 77")
  set_tests_properties(test_cudnn_plans PROPERTIES SKIP_RETURN_CODE 77)
  return()
endif()
add_library(driver_stub SHARED ${TESTS}/cuda_on_cpu/driver_stub.c)
set_target_properties(driver_stub PROPERTIES OUTPUT_NAME cuda VERSION 1 SOVERSION 1
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/driver_stub)
set(module ${CMAKE_SOURCE_DIR}/kernels/cuda)
lorac_test(NAME test_cudnn_plans SOURCES test_cudnn_plans.c ${module}/attention/cudnn_attention.cpp
  ${module}/attention/cudnn_shape.c USES kernels NO_CASE)
# Folders of quoted includes only: <cuda.h> is NVIDIA's. Compiled once and run once: -O0, else it takes a minute.
target_compile_options(test_cudnn_plans PRIVATE -iquote ${module} $<$<COMPILE_LANGUAGE:CXX>:-O0> -g0)
target_include_directories(test_cudnn_plans SYSTEM PRIVATE ${CUDNN_INCLUDE} ${CUDNN_FRONTEND_INCLUDE}
  ${CUDNN_CUDA_H} ${CUDNN_NVRTC_H})
target_link_libraries(test_cudnn_plans PRIVATE ${CUDNN_LIBRARY} ${CUDNN_CUDART} ${CUDNN_NVRTC} -Wl,--no-as-needed
  driver_stub ${CMAKE_DL_LIBS})
set_target_properties(test_cudnn_plans PROPERTIES CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON)
lorac_case(NAME test_cudnn_plans PROGRAM test_cudnn_plans ARGUMENTS "*a_few*")
lorac_case(NAME test_cudnn_plans_all PROGRAM test_cudnn_plans ARGUMENTS "*every*" LABELS slow TIMEOUT 1800)
