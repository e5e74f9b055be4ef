// By gathering texts on every rank.
#include "trainer/rank_agreement.h"

#include <sstream>
#include <vector>

#include "clara/common/error.h"
#include "clara/common/weights_digest.h"

namespace clara {

void check_same_on_all_ranks(const std::string& lines, Communicator& communicator) {
  const std::vector<std::string> all = communicator.gather(lines);
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    std::istringstream first(all[0]), other(all[rank]);
    std::string expected, found;
    while (std::getline(first, expected) && std::getline(other, found) && expected == found) {
    }
    throw DataError("the ranks must work on the same: expected \"" + expected +
                    "\" as on rank 0, found \"" + found + "\" on rank " + std::to_string(rank));
  }
}

std::string data_fingerprint_lines(const std::map<std::string, std::string>& fingerprints) {
  std::string lines;
  for (const auto& [name, fingerprint] : fingerprints) {
    if (name.starts_with("file of data.")) lines += "\n" + name + ": " + fingerprint;
  }
  return lines;
}

namespace {

/// `own`: a hash of this rank's; empty: not known here. `what` are of `base`, `how` is hashed.
void check_same_hash(const std::string& own, const std::string& base, const std::string& what,
                     const std::string& how, Communicator& communicator) {
  const std::vector<std::string> all = communicator.gather(own);
  std::size_t first = 0;
  while (first < all.size() && all[first].empty()) ++first;
  for (std::size_t rank = first + 1; rank < all.size(); ++rank) {
    if (all[rank].empty() || all[rank] == all[first]) continue;
    throw DataError(base + ": the " + what + " of rank " + std::to_string(rank) + " (" + how + " " +
                    all[rank] + ") are not those of rank " + std::to_string(first) + " (" +
                    all[first] + "); copy the model anew to the nodes");
  }
}

}  // namespace

void check_same_base(const std::string& base, Communicator& communicator) {
  if (communicator.size() == 1) return;
  WeightsDigest digest;
  if (communicator.local_rank() == 0) digest = digest_weights(base, user_cache_folder());
  communicator.barrier();
  if (communicator.local_rank() != 0) digest = digest_weights(base, user_cache_folder());
  check_same_hash(digest.layout, base, "files", "configs, names, sizes, headers", communicator);
  // A node without a cache has no content hash of large files.
  check_same_hash(digest.content, base, "weights", "content", communicator);
}

std::map<std::int64_t, std::string> skipped_rows_of_all(const RecordTrainingData& data,
                                                        Communicator& communicator) {
  std::string own;
  for (const auto& [row, message] : data.skipped_rows())
    own += std::to_string(row) + " " + message + '\0';
  std::map<std::int64_t, std::string> all;
  for (const std::string& rank : communicator.gather(own)) {
    for (std::size_t begin = 0; begin < rank.size();) {
      const std::size_t blank = rank.find(' ', begin), end = rank.find('\0', begin);
      std::string& message = all[std::stoll(rank.substr(begin, blank - begin))];
      if (message.empty()) message = rank.substr(blank + 1, end - blank - 1);
      begin = end + 1;
    }
  }
  return all;
}

}  // namespace clara
