# cuDNN, cudnn-frontend and NCCL: those of fetch_nvidia.py, else the system's. Sets NAME_INCLUDE, NAME_LIBRARY and
# NAME_VERSION for NAME in CUDNN, CUDNN_FRONTEND (no library) and NCCL, "" where something is not found.
# `hints`: folders of the CUDA Toolkit, whose libraries may lie with it.
set(NVIDIA_FETCHED ${CMAKE_SOURCE_DIR}/third_party/nvidia)
# attention/cudnn_attention.cpp; cuDNN itself is checked when it is opened, because the GPU decides.
set(CUDNN_FRONTEND_OLDEST 1.32)
set(CUDNN_OLDEST_HOPPER 9.25)

# VERSION of the macros PREFIX_MAJOR, PREFIX_MINOR and last in a header.
function(header_version variable header major minor last)
  set(${variable} "" PARENT_SCOPE)
  if(NOT EXISTS ${header})
    return()
  endif()
  file(STRINGS ${header} lines REGEX "define[ ]+(${major}|${minor}|${last})[ ]+[0-9]+")
  foreach(part ${major} ${minor} ${last})
    if(NOT "${lines}" MATCHES "define[ ]+${part}[ ]+([0-9]+)")
      return()
    endif()
    list(APPEND numbers ${CMAKE_MATCH_1})
  endforeach()
  list(JOIN numbers . version)
  set(${variable} ${version} PARENT_SCOPE)
endfunction()

# Fetched after the system's was found: that is still in the cache.
macro(prefer_fetched name)
  if(EXISTS ${NVIDIA_FETCHED}/${name}/version)
    foreach(variable ${ARGN})
      if(NOT "${${variable}}" MATCHES "^${NVIDIA_FETCHED}/")
        unset(${variable} CACHE)
      endif()
    endforeach()
  endif()
endmacro()

macro(find_nvidia hints)
  prefer_fetched(cudnn CUDNN_INCLUDE CUDNN_LIBRARY)
  prefer_fetched(frontend CUDNN_FRONTEND_INCLUDE)
  prefer_fetched(nccl NCCL_INCLUDE NCCL_LIBRARY)
  set(CUDNN_FOUND_IN ${NVIDIA_FETCHED}/cudnn ENV CUDNN_HOME ${hints})
  find_path(CUDNN_INCLUDE cudnn_version.h HINTS ${CUDNN_FOUND_IN} PATH_SUFFIXES include)
  find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9 NAMES_PER_DIR HINTS ${CUDNN_FOUND_IN} PATH_SUFFIXES lib lib64)
  header_version(CUDNN_VERSION ${CUDNN_INCLUDE}/cudnn_version.h CUDNN_MAJOR CUDNN_MINOR CUDNN_PATCHLEVEL)
  find_path(CUDNN_FRONTEND_INCLUDE cudnn_frontend.h HINTS ${NVIDIA_FETCHED}/frontend ENV CUDNN_FRONTEND_HOME ${hints}
    PATH_SUFFIXES include)
  header_version(CUDNN_FRONTEND_VERSION ${CUDNN_FRONTEND_INCLUDE}/cudnn_frontend_version.h CUDNN_FRONTEND_MAJOR_VERSION
    CUDNN_FRONTEND_MINOR_VERSION CUDNN_FRONTEND_PATCH_VERSION)
  find_path(NCCL_INCLUDE nccl.h HINTS ${NVIDIA_FETCHED}/nccl ENV NCCL_HOME ${hints} PATH_SUFFIXES include)
  find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2 NAMES_PER_DIR HINTS ${NVIDIA_FETCHED}/nccl ENV NCCL_HOME ${hints}
    PATH_SUFFIXES lib lib64)
  header_version(NCCL_VERSION ${NCCL_INCLUDE}/nccl.h NCCL_MAJOR NCCL_MINOR NCCL_PATCH)
  # Why lorac-cudnn.so cannot be built; "": it can.
  set(CUDNN_MISSING "")
  if(NOT CUDNN_VERSION OR NOT CUDNN_LIBRARY)
    set(CUDNN_MISSING "cuDNN not found")
  elseif(NOT CUDNN_FRONTEND_VERSION)
    set(CUDNN_MISSING "cudnn-frontend not found")
  elseif(CUDNN_FRONTEND_VERSION VERSION_LESS CUDNN_FRONTEND_OLDEST)
    set(CUDNN_MISSING "cudnn-frontend ${CUDNN_FRONTEND_VERSION} is too old, expected ${CUDNN_FRONTEND_OLDEST} or later")
  endif()
endmacro()
