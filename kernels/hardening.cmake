# Flags against memory faults, for every program and module, gcc and clang, C, C++ and nvcc's host code:
# stack protector, checked libc calls, addresses that differ from start to start, tables of pointers that are read-only
# once the program is loaded, no executable stack, and (x86) targets of indirect jumps that are marked.
# tests/hardening.sh reads them back from what was linked.
include(CheckCSourceCompiles)

# First of all flags: the -fPIC that CMake gives shared code comes later and wins there.
string(PREPEND CMAKE_C_FLAGS "-fPIE ")
string(PREPEND CMAKE_CXX_FLAGS "-fPIE ")
string(APPEND CMAKE_EXE_LINKER_FLAGS " -pie")
add_link_options(LINKER:-z,relro,-z,now,-z,noexecstack)

set(hardening -fstack-protector-strong)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND hardening -fcf-protection)
endif()
# Checked libc calls need optimisation, and the sanitizers have their own checks. Level 3 (glibc 2.34, gcc 12, clang
# 9) also checks sizes that are known only at run time.
if(NOT SANITIZE AND NOT FUZZ AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  set(CMAKE_REQUIRED_FLAGS "-O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3")
  check_c_source_compiles("#include <string.h>
    #if __USE_FORTIFY_LEVEL < 3
    #error unknown
    #endif
    int main(void) { return 0; }" FORTIFY_LEVEL_3)
  unset(CMAKE_REQUIRED_FLAGS)
  if(FORTIFY_LEVEL_3)
    list(APPEND hardening -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
  else()
    list(APPEND hardening -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  endif()
endif()
foreach(flag IN LISTS hardening)
  add_compile_options($<$<COMPILE_LANGUAGE:C,CXX>:${flag}> $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${flag}>)
endforeach()
