// Google Benchmark's own options (--benchmark_filter=..., --benchmark_out=...), with the heap that
// the programs use.
#include "tools/process_setup.h"
#include <benchmark/benchmark.h>

int main(int argc, char** argv) {
  clara::tools::keep_heap_memory();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
