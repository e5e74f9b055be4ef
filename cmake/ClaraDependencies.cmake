# Every outside library, each behind an imported target clara_dependency_* or clara_torch. Nothing is downloaded here; what is
# missing is named with the Debian package that provides it (scripts/install_deps.sh installs them all).
include(CMakePushCheckState)

function(clara_missing what package)
  message(FATAL_ERROR "${what} was not found. Debian package: ${package}. "
                      "scripts/install_deps.sh installs everything the project needs.")
endfunction()

find_package(Threads REQUIRED)
find_package(PkgConfig)
if(NOT PkgConfig_FOUND)
  clara_missing("pkg-config" "pkg-config")
endif()

# clara_pkg(NAME MODULE PACKAGE): an interface target clara_dependency_NAME of a pkg-config module.
function(clara_pkg name module package)
  pkg_check_modules(CLARA_PKG_${name} QUIET IMPORTED_TARGET GLOBAL ${module})
  if(NOT CLARA_PKG_${name}_FOUND)
    clara_missing("${module}" "${package}")
  endif()
  add_library(clara_dependency_${name} ALIAS PkgConfig::CLARA_PKG_${name})
endfunction()

clara_pkg(yaml yaml-cpp libyaml-cpp-dev)
clara_pkg(pcre2 libpcre2-8 libpcre2-dev)
clara_pkg(utf8proc libutf8proc libutf8proc-dev)
clara_pkg(zlib zlib zlib1g-dev)
clara_pkg(sentencepiece sentencepiece libsentencepiece-dev)
clara_pkg(xxhash libxxhash libxxhash-dev)
clara_pkg(simdjson simdjson libsimdjson-dev)
clara_pkg(curl libcurl libcurl4-openssl-dev)

find_package(nlohmann_json 3.11 QUIET)
if(NOT nlohmann_json_FOUND)
  clara_missing("nlohmann_json" "nlohmann-json3-dev")
endif()
add_library(clara_dependency_json ALIAS nlohmann_json::nlohmann_json)

find_package(CLI11 2.1 QUIET)
if(NOT CLI11_FOUND AND CLARA_BUILD_TOOLS)
  clara_missing("CLI11" "libcli11-dev")
endif()

# Debian has FAISS as a static library only, without a file for pkg-config. It wants BLAS and LAPACK: most of their symbols
# are in libtorch_cpu.so (MKL), which stands before these two on every link line and so is what LibTorch and FAISS both call.
find_path(CLARA_FAISS_INCLUDE faiss/IndexIVFPQ.h)
find_library(CLARA_FAISS_LIBRARY faiss)
if(NOT CLARA_FAISS_INCLUDE OR NOT CLARA_FAISS_LIBRARY)
  clara_missing("FAISS (faiss/IndexIVFPQ.h, libfaiss)" "libfaiss-dev")
endif()
find_library(CLARA_LAPACK_LIBRARY lapack)
find_library(CLARA_BLAS_LIBRARY blas)
if(NOT CLARA_LAPACK_LIBRARY OR NOT CLARA_BLAS_LIBRARY)
  clara_missing("LAPACK or BLAS, which FAISS needs," "liblapack-dev libblas-dev")
endif()
add_library(clara_dependency_faiss INTERFACE IMPORTED GLOBAL)
target_include_directories(clara_dependency_faiss SYSTEM INTERFACE ${CLARA_FAISS_INCLUDE})
target_link_libraries(clara_dependency_faiss INTERFACE ${CLARA_FAISS_LIBRARY} ${CLARA_LAPACK_LIBRARY} ${CLARA_BLAS_LIBRARY})

# Headers only: LibTorch carries gloo itself, but not its headers, which c10d's own include.
find_path(CLARA_GLOO_INCLUDE gloo/config.h)
if(NOT CLARA_GLOO_INCLUDE)
  clara_missing("gloo/config.h" "libgloo-dev")
endif()

include(ClaraTorch)
