// A function marked CLARA_CPU_CLONES is compiled once for each instruction set, and the processor
// picks its own; what it calls must be inlined into it (CLARA_INLINE). CLARA_FMA_CLONES is for
// products in float32: they need fused multiply-add, which the set "avx2" does not promise.
// Where there is AVX-512 it is that of x86-64-v4: "avx512f" alone has no 16-bit integers in 512
// bits, and loops over bfloat16 were left scalar.
//
// CLARA_X86_V4, where it is defined, marks a function of another shape for AVX-512 alone, which has
// twice the registers and twice their width; it may be called where has_x86_v4() says so.
#pragma once

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLARA_CPU_CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#define CLARA_FMA_CLONES __attribute__((target_clones("arch=x86-64-v4", "fma", "default")))
#define CLARA_X86_V4 __attribute__((target("arch=x86-64-v4")))
#else
#define CLARA_CPU_CLONES
#define CLARA_FMA_CLONES
#endif
#define CLARA_INLINE inline __attribute__((always_inline))

namespace clara::cpu {

inline bool has_x86_v4() {
#ifdef CLARA_X86_V4
  return __builtin_cpu_supports("x86-64-v4") != 0;
#else
  return false;
#endif
}

}  // namespace clara::cpu
