// Shard by shard: a shard that is on the disk is never encoded again.
#include "clara/retrieval/dense_index.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "retrieval/dense_manifest.h"

#include "clara/common/content_hash.h"
#include "clara/common/error.h"
#include "clara/retrieval/passage_store.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostShardPassages = 16384;
constexpr std::int64_t kMostShardNumbers = std::int64_t{1} << 26;
constexpr std::int64_t kIdBytes = std::int64_t{1} << 28;  // memory while ids are compared

std::int64_t default_shard_passages(std::int64_t dimension) {
  const auto fitting = static_cast<std::uint64_t>(
      std::clamp<std::int64_t>(kMostShardNumbers / dimension, 1, kMostShardPassages));
  return static_cast<std::int64_t>(std::bit_floor(fitting));
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::uint64_t bytes_of(const fs::path& folder) {
  std::uint64_t total = 0;
  for (const auto& entry : fs::directory_iterator(folder)) total += entry.file_size();
  return total;
}

void remove_shards_from(const fs::path& folder, std::int64_t number) {
  while (fs::remove(folder / vector_shard_name(number))) ++number;
}

// Whether the shards of a folder, if it has any, are of another source.
bool has_other_shards(const fs::path& folder, const VectorSource& source) {
  try {
    has_vector_shard(folder, 0, source);
    return false;
  } catch (const DataError&) {
    return true;
  }
}

bool is_whole_index(const fs::path& folder) {
  try {
    open_dense_folder(folder, /*verifies_content=*/true);
    return true;
  } catch (const DataError&) {
    return false;
  }
}

class Builder {
 public:
  Builder(const fs::path& output, const VectorEncoder& encoder, const DenseIndexSettings& settings,
          const DenseIndexHooks& hooks)
      : output_(output),
        encoder_(encoder),
        settings_(settings),
        hooks_(hooks),
        writer_(output, settings.replaces, Unfinished::kKept),
        folder_(writer_.folder()) {}

  DenseIndexReport run(CorpusReader& corpus) {
    try {
      build(corpus);
    } catch (...) {
      keep_vectors_only();
      throw;
    }
    if (report_.was_stopped) keep_vectors_only();
    return report_;
  }

 private:
  void build(CorpusReader& corpus) {
    const bool is_whole = read(corpus) && encode();
    if (is_whole) {
      const auto start = std::chrono::steady_clock::now();
      report_.index = VectorIndex::build(folder_, settings_.index);
      report_.index_seconds = seconds_since(start);
    }
    report_.was_stopped = !is_whole;
    report_.num_bytes = bytes_of(folder_);
    if (is_whole) commit(corpus);
  }

  // The passages are soon read again.
  void keep_vectors_only() {
    if (!fs::exists(folder_ / vector_shard_name(0))) writer_.discard();
  }

  bool should_stop() const { return hooks_.should_stop && hooks_.should_stop(); }

  // The passages, and with them which vectors belong here. Read by every run: a corpus that was
  // changed in between is noticed.
  bool read(CorpusReader& corpus) {
    ContentHasher hasher;
    PassageStoreWriter store(folder_);
    const auto take = [&](const Passage& passage) {
      store.add(passage);
      hasher.add_field(document_of(passage, settings_.document_format));
      return !should_stop();
    };
    if (!read_passages(corpus, take, hooks_.on_read)) return false;
    store.finish();
    source_ = {hasher.digest(), encoder_.fingerprint(), encoder_.dimension(),
               settings_.shard_passages > 0 ? settings_.shard_passages
                                            : default_shard_passages(encoder_.dimension()),
               settings_.dtype};
    return true;
  }

  bool encode() {
    const PassageStore passages(folder_);
    check_distinct_ids(passages, kIdBytes);
    report_.num_passages = passages.num_passages();
    // Settings that do not fit are told before hours of encoding.
    resolve(settings_.index, report_.num_passages, encoder_.dimension());
    if (settings_.replaces) {
      if (has_other_shards(folder_, source_)) remove_shards_from(folder_, 0);
      take_shards_over();
    }
    const auto start = std::chrono::steady_clock::now();
    std::int64_t shard = 0;
    for (; report_.num_done < report_.num_passages; ++shard) {
      if (should_stop()) return false;
      const std::int64_t count =
          std::min(source_.shard_rows, report_.num_passages - report_.num_done);
      if (!has_vector_shard(folder_, shard, source_)) {
        encode_shard(passages, shard, count);
        report_.num_encoded += count;
      }
      report_.num_done += count;
      report_.encode_seconds = seconds_since(start);
      tell(report_.num_done);
    }
    remove_shards_from(folder_, shard);
    return true;
  }

  void encode_shard(const PassageStore& passages, std::int64_t shard, std::int64_t count) const {
    std::vector<std::string> documents;
    for (std::int64_t i = 0; i < count; ++i) {
      documents.push_back(
          document_of(passages.passage(report_.num_done + i), settings_.document_format));
    }
    write_vector_shard(folder_, shard, source_,
                       encoder_.encode_passages(
                           documents, [&](std::int64_t done) { tell(report_.num_done + done); }));
  }

  void tell(std::int64_t num_done) const {
    if (hooks_.on_encoded) hooks_.on_encoded(num_done, report_.num_passages);
  }

  // Shards are never written in place: a second name of the same file is as good as a copy.
  void take_shards_over() const {
    if (!is_whole_index(output_)) return;
    if (has_other_shards(output_, source_)) return;
    for (std::int64_t shard = 0;; ++shard) {
      const std::string name = vector_shard_name(shard);
      const fs::path from = output_ / name;
      const fs::path to = folder_ / name;
      if (!fs::exists(from)) return;
      if (fs::exists(to)) continue;
      std::error_code error;
      fs::create_hard_link(from, to, error);
      if (!error) continue;
      const fs::path part = folder_ / ("." + name + ".copy");
      fs::copy_file(from, part, fs::copy_options::overwrite_existing);
      fs::rename(part, to);
    }
  }

  void commit(const CorpusReader& corpus) {
    DenseManifest manifest;
    manifest.index = report_.index;
    manifest.num_passages = report_.num_passages;
    manifest.dimension = encoder_.dimension();
    manifest.document_format = settings_.document_format;
    manifest.encoder = encoder_.describe();
    for (const CorpusFile& file : corpus.files()) manifest.corpus.push_back(file.path);
    writer_.commit(to_index_manifest(manifest));
  }

  const fs::path& output_;
  const VectorEncoder& encoder_;
  const DenseIndexSettings& settings_;
  const DenseIndexHooks& hooks_;
  IndexFolderWriter writer_;
  const fs::path folder_;  // of the work
  VectorSource source_;
  DenseIndexReport report_;
};

}  // namespace

DenseIndexReport build_dense_index(CorpusReader& corpus, const fs::path& output,
                                   const VectorEncoder& encoder, const DenseIndexSettings& settings,
                                   const DenseIndexHooks& hooks) {
  if (settings.shard_passages < 0) {
    throw ConfigError("shard_passages: expected at least 0, found " +
                      std::to_string(settings.shard_passages));
  }
  return Builder(output, encoder, settings, hooks).run(corpus);
}

}  // namespace clara
