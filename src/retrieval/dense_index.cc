// Shard by shard: a shard that is on the disk is never encoded again.
#include "clara/retrieval/dense_index.h"

#include <chrono>
#include <utility>
#include <vector>

#include "retrieval/index_manifest.h"

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/folder_lock.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The next passages, as many as a shard holds.
std::vector<std::string> read_shard(const std::function<std::optional<std::string>()>& next,
                                    std::int64_t count) {
  std::vector<std::string> passages;
  while (std::ssize(passages) < count) {
    std::optional<std::string> passage = next();
    if (!passage) break;
    passages.push_back(std::move(*passage));
  }
  return passages;
}

void remove_shards_from(const fs::path& folder, std::int64_t number) {
  while (fs::remove(folder / vector_shard_name(number))) ++number;
}

std::uint64_t bytes_of(const fs::path& folder) {
  std::uint64_t total = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file()) total += entry.file_size();
  }
  return total;
}

}  // namespace

DenseIndexReport build_dense_index(const fs::path& folder, const TextEncoder& encoder,
                                   const Hash128& corpus,
                                   const std::function<std::optional<std::string>()>& next,
                                   const DenseIndexSettings& settings,
                                   const DenseIndexHooks& hooks) {
  if (settings.shard_passages < 1) {
    throw ConfigError("shard_passages: expected at least 1, found " +
                      std::to_string(settings.shard_passages));
  }
  make_folders(folder);
  const FolderLock lock(folder);
  const VectorSource source{corpus, encoder.fingerprint(), encoder.dimension(),
                            settings.shard_passages, settings.dtype};
  if (settings.force) {
    fs::remove(folder / kIndexManifestName);
    remove_shards_from(folder, 0);
  }
  DenseIndexReport report;
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t shard = 0;; ++shard) {
    if (hooks.should_stop && hooks.should_stop()) {
      report.was_stopped = true;
      report.encode_seconds = seconds_since(start);
      report.num_bytes = bytes_of(folder);
      return report;
    }
    const bool is_there = has_vector_shard(folder, shard, source);
    const std::vector<std::string> passages = read_shard(next, settings.shard_passages);
    if (passages.empty()) {
      remove_shards_from(folder, shard);
      break;
    }
    if (!is_there) {
      // An index of fewer vectors must not pass for one of these.
      fs::remove(folder / kIndexManifestName);
      const auto on_progress = [&](std::int64_t done) {
        if (hooks.on_progress) hooks.on_progress(report.num_passages + done);
      };
      write_vector_shard(folder, shard, source, encoder.encode_passages(passages, on_progress));
      report.num_encoded += std::ssize(passages);
    }
    report.num_passages += std::ssize(passages);
    if (hooks.on_progress) hooks.on_progress(report.num_passages);
    if (std::ssize(passages) < settings.shard_passages) {
      remove_shards_from(folder, shard + 1);
      break;
    }
  }
  report.encode_seconds = seconds_since(start);
  if (report.num_passages == 0) throw DataError("the corpus: expected passages, found none");
  const auto index_start = std::chrono::steady_clock::now();
  VectorIndex::build(folder, settings.index);
  report.index_seconds = seconds_since(index_start);
  report.index = resolve(settings.index, report.num_passages, encoder.dimension());
  report.num_bytes = bytes_of(folder);
  return report;
}

}  // namespace clara
