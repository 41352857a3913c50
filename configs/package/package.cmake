# Included by CMakeLists.txt for the packages of dist.sh: libraries that become part of the program, and the .deb.
option(STATIC_LIBRARIES "Libraries become part of lorac where they have a .a file (make dist)" OFF)
set(GLIBC_ROOT "" CACHE PATH "With STATIC_LIBRARIES: the C library to link with, in the folders of a Debian system")
if(STATIC_LIBRARIES)
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a .so)
  # The CUDA modules, which are C++, need libstdc++ as NVIDIA's libraries do: those of the compiler want its glibc.
  add_link_options(LINKER:--as-needed $<$<LINK_LANGUAGE:C>:-static-libgcc>)
  if(GLIBC_ROOT) # a folder with an older C library to link with (old_libc.sh), in which these are libraries of their own
    set(libc ${GLIBC_ROOT}/usr/lib/${CMAKE_LIBRARY_ARCHITECTURE})
    add_link_options(--sysroot=${GLIBC_ROOT} -B${libc} -L${libc})
    set(CMAKE_C_STANDARD_LIBRARIES "-lpthread -ldl")
  endif()
  set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib/lorac") # cJSON, which has no .a in Debian
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "lorac maintainers <maintainers@lorac.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "fine-tune language models with LoRA adapters")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Trains LoRA adapters of a base model in a Hugging Face folder or a GGUF file
 on your own data, evaluates them, chats with them and merges them. One native
 program; the same seed and data give the same adapter, bit for bit.")
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/debian_files.cmake)
include(CPack)
