# lorac-mpi.so: the group of ranks over MPI, as a module that the binary loads when a launcher's environment is seen.
#
# Like the CUDA modules (kernels/cuda/module.cmake) it has its own copies of what it needs and hides the rest.

set(mpi_missing "")
if(WITH_MPI STREQUAL "OFF" OR FUZZ)
  set(mpi_missing "not asked for")
else()
  find_package(MPI QUIET COMPONENTS C)
  if(NOT MPI_C_FOUND)
    set(mpi_missing "no MPI (Debian: libopenmpi-dev)")
  endif()
endif()
if(mpi_missing)
  if(WITH_MPI STREQUAL "ON")
    message(FATAL_ERROR "WITH_MPI=ON: ${mpi_missing}")
  endif()
  message(STATUS "lorac-mpi.so: not built: ${mpi_missing}")
  return()
endif()

function(mpi_module name)
  add_library(${name} MODULE
    train/ranks/mpi/group_mpi.c
    kernels/base.c
    kernels/say.c
    kernels/group.c
    $<TARGET_OBJECTS:module_interface>
  )
  set_target_properties(${name} PROPERTIES PREFIX "" C_VISIBILITY_PRESET hidden INSTALL_RPATH_USE_LINK_PATH ON
    BUILD_WITH_INSTALL_RPATH ON) # CMake fills up the other path, with an empty entry: the working directory
  target_include_directories(${name} PRIVATE kernels)
  target_link_libraries(${name} PRIVATE MPI::MPI_C)
  if(NOT SANITIZE) # clang leaves the sanitizers' functions to the program
    target_link_options(${name} PRIVATE -Wl,-z,defs)
  endif()
endfunction()
mpi_module(lorac-mpi)
install(TARGETS lorac-mpi LIBRARY DESTINATION lib/lorac)

# Adds up, sends and gathers in pieces of 1000, as the module does with more than 2^30.
mpi_module(lorac-mpi-pieces)
target_compile_definitions(lorac-mpi-pieces PRIVATE MPI_PIECE=1000)
set_target_properties(lorac-mpi-pieces PROPERTIES OUTPUT_NAME lorac-mpi
  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/modules/mpi_pieces)
