# lorac-cuda.so: the CUDA backend as a module that the binary loads when it is asked for.
#
# The module compiles its own copies of the few files of kernels/ that it needs and hides every symbol but its entry:
# so it can be loaded by any program, whether that exports its symbols or not, and nothing is interposed.
# Sanitized builds do without: what can be sanitized runs over the emulated device.

set(cuda_missing "")
if(WITH_CUDA STREQUAL "OFF" OR SANITIZE OR FUZZ)
  set(cuda_missing "not asked for")
else()
  find_program(NVCC nvcc HINTS ENV CUDACXX ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(NVCC)
    get_filename_component(cuda_root ${NVCC} REALPATH)
    get_filename_component(cuda_root ${cuda_root} DIRECTORY)
    get_filename_component(cuda_root ${cuda_root} DIRECTORY)
    set(CUDAToolkit_ROOT ${cuda_root})
    find_package(CUDAToolkit QUIET)
    if(NOT TARGET CUDA::cudart OR NOT TARGET CUDA::cublasLt)
      set(cuda_missing "no cudart or cuBLASLt beside ${NVCC}")
    endif()
  else()
    set(cuda_missing "no nvcc")
  endif()
endif()
if(cuda_missing)
  if(WITH_CUDA STREQUAL "ON")
    message(FATAL_ERROR "WITH_CUDA=ON: ${cuda_missing}")
  endif()
  message(STATUS "lorac-cuda.so: not built: ${cuda_missing}")
  return()
endif()

# What it is compiled for: this machine's GPU; where none shows, Hopper, and PTX from which a driver makes code for any
# other at the first start. `make cuda-release`: every generation from Ampere on, and PTX for those to come.
# It takes minutes: with AUTO, a machine without a GPU builds it only when the target is asked for.
set(cuda_on_request OFF)
set(CUDA_ARCHS native CACHE STRING "GPUs that lorac-cuda.so is compiled for: native, all, or a list such as 86;90")
set(CMAKE_CUDA_ARCHITECTURES ${CUDA_ARCHS})
if(CUDA_ARCHS STREQUAL "all")
  set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90-real 100-real 120-real 120-virtual)
elseif(CUDA_ARCHS STREQUAL "native")
  set(CMAKE_CUDA_ARCHITECTURES 90-real 80-virtual)
  find_program(NVIDIA_SMI nvidia-smi)
  if(NVIDIA_SMI)
    execute_process(COMMAND ${NVIDIA_SMI} --query-gpu=compute_cap --format=csv,noheader OUTPUT_VARIABLE capabilities
      ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    string(REGEX MATCHALL "([89]|1[0-9])\\.[0-9]" capabilities "${capabilities}")
    list(REMOVE_DUPLICATES capabilities)
    if(capabilities)
      string(REGEX REPLACE "([0-9]+)\\.([0-9])" "\\1\\2-real" CMAKE_CUDA_ARCHITECTURES "${capabilities}")
    endif()
  endif()
  if(NOT capabilities AND WITH_CUDA STREQUAL "AUTO")
    set(cuda_on_request ON)
    message(STATUS "lorac-cuda.so: no GPU here: not part of the build (WITH_CUDA=ON, or --target cuda_modules)")
  endif()
endif()
set(CMAKE_CUDA_COMPILER ${NVCC})
enable_language(CUDA)
message(STATUS "lorac-cuda.so: CUDA ${CMAKE_CUDA_COMPILER_VERSION}, for ${CMAKE_CUDA_ARCHITECTURES}")

# -Wpedantic stays out of the .cu files: what nvcc generates from them cannot meet it.
set(CUDA_WARNINGS -Xcompiler=-Wall,-Wextra -Werror=cross-execution-space-call)
add_library(lorac-cuda MODULE
  ${CUDA_KERNEL_SOURCES}
  ${CUDA_LOAD_SOURCES}
  kernels/base.c
  kernels/cuda/sizes.c
  kernels/dtype.c
  kernels/group.c
  $<TARGET_OBJECTS:module_interface>
  kernels/rng.c
  kernels/say.c
)
set_target_properties(lorac-cuda PROPERTIES PREFIX "" CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON
  CUDA_RUNTIME_LIBRARY Shared C_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON
  INSTALL_RPATH_USE_LINK_PATH ON BUILD_WITH_INSTALL_RPATH ON EXCLUDE_FROM_ALL ${cuda_on_request})
target_compile_options(lorac-cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:${CUDA_WARNINGS}>)
target_link_options(lorac-cuda PRIVATE -Wl,-z,defs)
target_link_libraries(lorac-cuda PRIVATE CUDA::cudart CUDA::cublasLt ${CMAKE_DL_LIBS} m)
install(TARGETS lorac-cuda LIBRARY DESTINATION lib/lorac OPTIONAL)
add_custom_target(cuda_modules DEPENDS lorac-cuda)

# lorac-nccl.so: several ranks; not part of the toolkit, and not needed by one device.
find_path(NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV NCCL_HOME PATH_SUFFIXES include)
find_library(NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR} ENV NCCL_HOME PATH_SUFFIXES lib lib64)
if(NCCL_INCLUDE AND NCCL_LIBRARY)
  add_library(lorac-nccl MODULE
    ${CUDA_NCCL_SOURCES}
    kernels/base.c
    kernels/say.c
    $<TARGET_OBJECTS:module_interface>
  )
  set_target_properties(lorac-nccl PROPERTIES PREFIX "" C_VISIBILITY_PRESET hidden INSTALL_RPATH_USE_LINK_PATH ON
      BUILD_WITH_INSTALL_RPATH ON
    EXCLUDE_FROM_ALL ${cuda_on_request})
  target_include_directories(lorac-nccl SYSTEM PRIVATE ${NCCL_INCLUDE})
  target_link_options(lorac-nccl PRIVATE -Wl,-z,defs)
  target_link_libraries(lorac-nccl PRIVATE ${NCCL_LIBRARY} CUDA::cudart)
  install(TARGETS lorac-nccl LIBRARY DESTINATION lib/lorac OPTIONAL)
  add_dependencies(cuda_modules lorac-nccl)
else()
  message(STATUS "lorac-nccl.so: not built: NCCL not found; one GPU works without it")
endif()

# lorac-cudnn.so: attention by cuDNN beside the own kernels. cudnn-frontend is headers only: the system's, or
# kernels/cuda/fetch_cudnn_frontend.sh.
find_path(CUDNN_INCLUDE cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV CUDNN_HOME PATH_SUFFIXES include)
find_library(CUDNN_LIBRARY cudnn HINTS ${CUDAToolkit_LIBRARY_DIR} ENV CUDNN_HOME PATH_SUFFIXES lib lib64)
find_path(CUDNN_FRONTEND_INCLUDE cudnn_frontend.h HINTS ${CMAKE_SOURCE_DIR}/third_party/cudnn-frontend
  ENV CUDNN_FRONTEND_HOME PATH_SUFFIXES include)
if(CUDNN_INCLUDE AND CUDNN_LIBRARY AND CUDNN_FRONTEND_INCLUDE AND TARGET CUDA::nvrtc)
  enable_language(CXX)
  add_library(lorac-cudnn MODULE
    ${CUDA_CUDNN_SOURCES}
    kernels/base.c
    kernels/say.c
    $<TARGET_OBJECTS:module_interface>
  )
  set_target_properties(lorac-cudnn PROPERTIES PREFIX "" CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    INSTALL_RPATH_USE_LINK_PATH ON BUILD_WITH_INSTALL_RPATH ON EXCLUDE_FROM_ALL ${cuda_on_request})
  target_include_directories(lorac-cudnn SYSTEM PRIVATE ${CUDNN_INCLUDE} ${CUDNN_FRONTEND_INCLUDE})
  target_link_libraries(lorac-cudnn PRIVATE ${CUDNN_LIBRARY} CUDA::cudart CUDA::nvrtc ${CMAKE_DL_LIBS})
  target_link_options(lorac-cudnn PRIVATE -Wl,-z,defs)
  install(TARGETS lorac-cudnn LIBRARY DESTINATION lib/lorac OPTIONAL)
  add_dependencies(cuda_modules lorac-cudnn)
else()
  message(STATUS "lorac-cudnn.so: not built: cuDNN or cudnn-frontend not found; attention has own kernels")
endif()
