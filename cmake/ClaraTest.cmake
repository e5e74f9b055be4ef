# add_clara_test(NAME [CORE] SOURCES ...): one GoogleTest program; every suite of it becomes one ctest.
include(GoogleTest)
find_package(GTest QUIET)
if(NOT GTest_FOUND)
  clara_missing("GoogleTest" "libgtest-dev libgmock-dev")
endif()

# g++ 12 at -O3 sees overflows in concatenated std::strings that are not there (GCC bug 105329); tests concatenate a lot.
function(clara_relax_string_warnings target)
  target_compile_options(${target} PRIVATE
    $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow -Wno-array-bounds -Wno-stringop-overread>)
endfunction()

function(add_clara_test name)
  cmake_parse_arguments(ARG "CORE" "" "SOURCES;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  clara_set_warnings(${name})
  clara_relax_string_warnings(${name})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(${name} PRIVATE CLARA_SOURCE_DIR="${PROJECT_SOURCE_DIR}" CLARA_BINARY_DIR="${PROJECT_BINARY_DIR}")
  if(ARG_CORE)
    target_link_libraries(${name} PRIVATE clara_core)
  else()
    target_link_libraries(${name} PRIVATE clara_clara)
    target_precompile_headers(${name} REUSE_FROM clara_test_pch)
  endif()
  target_link_libraries(${name} PRIVATE clara_dependency_json GTest::gmock GTest::gtest GTest::gtest_main)
  # Programs for CUDA may be built where they cannot run.
  set(discovery POST_BUILD)
  if(CLARA_WITH_CUDA)
    set(discovery PRE_TEST)
  endif()
  gtest_discover_tests(${name} DISCOVERY_MODE ${discovery} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 900 LABELS "${ARG_LABELS}")
endfunction()
