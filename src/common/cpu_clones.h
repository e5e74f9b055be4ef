// A function marked CLARA_CPU_CLONES is compiled once for each instruction set, and the processor
// picks its own; what it calls must be inlined into it (CLARA_INLINE). CLARA_FMA_CLONES is for
// products of float32: they need fused multiply-add, which the set "avx2" does not promise.
#pragma once

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CLARA_CPU_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#define CLARA_FMA_CLONES __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define CLARA_CPU_CLONES
#define CLARA_FMA_CLONES
#endif
#define CLARA_INLINE inline __attribute__((always_inline))
