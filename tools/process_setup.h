// What every program does before its first allocation: a heap that keeps its memory, in large pages
// for large tensors (performance: on virtual machines a freshly touched page is dear, and training
// touches the same sizes again and again).
#pragma once

#include <cstdlib>

#include <malloc.h>

namespace clara::tools {

inline void keep_heap_memory() {
  // LibTorch's allocator then asks for large pages; a setting of the user's stays.
  ::setenv("THP_MEM_ALLOC_ENABLE", "1", /*overwrite=*/0);
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);  // never
  mallopt(M_TOP_PAD, 64 << 20);
  mallopt(M_ARENA_MAX, 1);
#endif
}

}  // namespace clara::tools
