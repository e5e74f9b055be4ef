# clara_set_warnings(TARGET): the project's warnings, errors where CLARA_WARNINGS_AS_ERRORS is on.
function(clara_set_warnings target)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
    # g++ 12 sees overlaps in std::string that are not there (GCC bug 105329).
    $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
    $<$<BOOL:${CLARA_WARNINGS_AS_ERRORS}>:-Werror>)
endfunction()
