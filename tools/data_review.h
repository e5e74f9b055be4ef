// clara-data inspect --sample: rows for a check by eye.
#pragma once

#include <cstdint>
#include <string>

namespace clara::tools {

struct ReviewArguments {
  std::string data;
  std::int64_t num_rows = 0;
  std::uint64_t seed = 17;
  bool asks = false;     ///< for a verdict on each row
  std::string verdicts;  ///< file; empty: <data>.verdicts.jsonl
};

/// Shows the sampled rows on standard output; where it asks, answers come from standard input and
/// rows that were judged before are passed over. Returns the exit code.
int review_rows(const ReviewArguments& arguments);

}  // namespace clara::tools
