// What every program does before its first allocation: a heap that keeps its memory (performance:
// on virtual machines a freshly touched page is dear, and training touches the same sizes again and
// again).
#pragma once

#include <malloc.h>

namespace clara::tools {

inline void keep_heap_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);  // never
  mallopt(M_TOP_PAD, 64 << 20);
  mallopt(M_ARENA_MAX, 1);
#endif
}

}  // namespace clara::tools
