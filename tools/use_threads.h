// How many threads LibTorch computes with.
#pragma once

#include <algorithm>
#include <thread>

#include <ATen/Parallel.h>

namespace clara::tools {

/// 0 = as many as there are cores.
inline void use_threads(int num_threads) {
  at::set_num_threads(num_threads > 0
                          ? num_threads
                          : static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
}

}  // namespace clara::tools
