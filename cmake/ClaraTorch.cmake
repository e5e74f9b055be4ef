# clara_torch: LibTorch of the PyPI wheel as an imported target of our own.
#
# find_package(Torch) of the wheel demands a CUDA toolkit even for a CPU build; headers and libraries are all that is needed.
# The wheel finds its CUDA runtime and CUPTI through its own RPATH (../../nvidia/...).
set(clara_torch_candidates ${CLARA_TORCH_DIR})
if(NOT CLARA_TORCH_DIR)
  file(GLOB clara_torch_candidates
       ${CMAKE_CURRENT_LIST_DIR}/../.venv/lib/python3.*/site-packages/torch
       ${CMAKE_CURRENT_LIST_DIR}/../../../../.venv/lib/python3.*/site-packages/torch)
endif()
find_path(CLARA_TORCH_ROOT include/ATen/ATen.h PATHS ${clara_torch_candidates} NO_DEFAULT_PATH)
if(NOT CLARA_TORCH_ROOT)
  message(FATAL_ERROR "LibTorch was not found (looked in: ${clara_torch_candidates}). Run scripts/install_deps.sh, "
                      "or give the torch folder of an installed PyPI wheel with -DCLARA_TORCH_DIR=.../site-packages/torch.")
endif()
file(STRINGS ${CLARA_TORCH_ROOT}/version.py clara_torch_version_line REGEX "^__version__")
string(REGEX MATCH "[0-9]+\\.[0-9]+" CLARA_TORCH_VERSION "${clara_torch_version_line}")
if(CLARA_TORCH_VERSION VERSION_LESS 2.11 OR CLARA_TORCH_VERSION VERSION_GREATER 2.15)
  message(WARNING "torch ${CLARA_TORCH_VERSION} is outside the supported range 2.11 to 2.15")
endif()

add_library(clara_torch INTERFACE IMPORTED GLOBAL)
target_include_directories(clara_torch SYSTEM INTERFACE
  ${CLARA_TORCH_ROOT}/include ${CLARA_TORCH_ROOT}/include/torch/csrc/api/include)
target_compile_definitions(clara_torch INTERFACE USE_DISTRIBUTED USE_C10D_GLOO)
# -fopenmp: at::parallel_for is a header template; the wheel carries the same libgomp.so.1 that g++ links.
target_compile_options(clara_torch INTERFACE -fopenmp)
set(clara_torch_lib ${CLARA_TORCH_ROOT}/lib)
target_link_options(clara_torch INTERFACE -Wl,--allow-shlib-undefined -Wl,-rpath,${clara_torch_lib})
target_link_libraries(clara_torch INTERFACE
  ${clara_torch_lib}/libtorch_cpu.so ${clara_torch_lib}/libc10.so ${clara_torch_lib}/libgomp.so.1 Threads::Threads)

if(CLARA_WITH_CUDA)
  find_package(CUDAToolkit 13.0 QUIET)
  if(NOT CUDAToolkit_FOUND)
    message(FATAL_ERROR "CLARA_WITH_CUDA=ON needs the CUDA toolkit 13 (nvcc, headers): install it, or configure with "
                        "-DCLARA_WITH_CUDA=OFF")
  endif()
  find_path(CLARA_NCCL_INCLUDE nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS} /usr/include)
  if(NOT CLARA_NCCL_INCLUDE)
    message(FATAL_ERROR "nccl.h was not found. Package: libnccl-dev of the CUDA repository, or -DCLARA_NCCL_INCLUDE=DIR")
  endif()
  target_include_directories(clara_torch SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS} ${CLARA_NCCL_INCLUDE})
  target_compile_definitions(clara_torch INTERFACE CLARA_WITH_CUDA USE_C10D_NCCL)
  target_link_libraries(clara_torch INTERFACE
    -Wl,--no-as-needed ${clara_torch_lib}/libtorch_cuda.so ${clara_torch_lib}/libc10_cuda.so ${clara_torch_lib}/libtorch.so
    -Wl,--as-needed)
endif()
