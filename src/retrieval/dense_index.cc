// Shard by shard: a shard that is on the disk is never encoded again.
#include "clara/retrieval/dense_index.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/byte_message.h"
#include "retrieval/dense_manifest.h"

#include "clara/common/content_hash.h"
#include "clara/common/error.h"
#include "clara/parallel/or_announce.h"
#include "clara/retrieval/passage_store.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMostShardPassages = 16384;
constexpr std::int64_t kMostShardNumbers = std::int64_t{1} << 26;
constexpr double kMostSecondsUntilSeen = 90;  // file systems of networks keep what they knew
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

void remove_shards(const fs::path& folder) {
  for (const std::int64_t shard : list_vector_shards(folder))
    fs::remove(folder / vector_shard_name(shard));
}

// Whether any shard of a folder is of another source.
bool has_other_shards(const fs::path& folder, const VectorSource& source) {
  try {
    for (const std::int64_t shard : list_vector_shards(folder))
      has_vector_shard(folder, shard, source);
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

/// The encoding that lies before the ranks.
struct EncodingPlan {
  fs::path folder;
  VectorSource source;
  DocumentFormat document_format = DocumentFormat::kTitleNewline;
  std::int64_t num_passages = 0;
  std::int64_t num_done = 0;         ///< passages whose vectors are there
  std::vector<std::int64_t> shards;  ///< that are not; in round n rank r of R encodes n · R + r
  bool was_stopped = false;          ///< nothing is to be done

  std::int64_t first_passage(std::int64_t shard) const { return shard * source.shard_rows; }
  std::int64_t num_passages_of(std::int64_t shard) const {
    return std::min(source.shard_rows, num_passages - first_passage(shard));
  }
};

std::string to_bytes(const EncodingPlan& plan) {
  std::string bytes = bytes_of_value(plan.source) + bytes_of_value(plan.document_format) +
                      bytes_of_value(plan.num_passages) + bytes_of_value(plan.num_done) +
                      bytes_of_value(plan.was_stopped) +
                      bytes_of_value(static_cast<std::uint64_t>(plan.shards.size()));
  for (const std::int64_t shard : plan.shards) bytes += bytes_of_value(shard);
  return bytes + fs::absolute(plan.folder).string();
}

EncodingPlan parse_plan(const std::string& bytes) {
  EncodingPlan plan;
  ByteReader reader(bytes);
  plan.source = reader.read_value<VectorSource>();
  plan.document_format = reader.read_value<DocumentFormat>();
  plan.num_passages = reader.read_value<std::int64_t>();
  plan.num_done = reader.read_value<std::int64_t>();
  plan.was_stopped = reader.read_value<bool>();
  plan.shards.resize(reader.read_value<std::uint64_t>());
  for (std::int64_t& shard : plan.shards) shard = reader.read_value<std::int64_t>();
  plan.folder = reader.read_rest();
  return plan;
}

/// A collective.
void check_same_encoder(Communicator& group, const VectorEncoder& encoder) {
  const std::vector<std::string> all = group.gather(bytes_of_value(encoder.fingerprint()));
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    throw DataError("the ranks must encode with the same model: that of rank " +
                    std::to_string(rank) + " is not that of rank 0");
  }
}

/// Rank 0's on every rank. A collective.
EncodingPlan share_plan(Communicator& group, const EncodingPlan& own) {
  return parse_plan(group.gather(group.rank() == 0 ? to_bytes(own) : "")[0]);
}

[[noreturn]] void throw_apart(const fs::path& folder) {
  throw DataError(folder.string() +
                  ": expected the folder that rank 0 works in, found none or another one; the "
                  "ranks need a file system in common");
}

/// The encoding, in rounds of a shard each: a stop, a failure and what is done are known to all
/// ranks after each.
class ShardEncoder {
 public:
  ShardEncoder(const EncodingPlan& plan, const VectorEncoder& encoder, const DenseIndexHooks& hooks,
               Communicator& group)
      : plan_(plan),
        encoder_(encoder),
        hooks_(hooks),
        group_(group),
        num_cut_before_(encoder.num_cut_passages()) {}

  /// A collective.
  DenseIndexReport run() {
    const auto start = std::chrono::steady_clock::now();
    report_.num_passages = plan_.num_passages;
    report_.num_done = plan_.num_done;
    report_.was_stopped = plan_.was_stopped;
    if (!plan_.was_stopped) {
      const PassageStore passages(plan_.folder);
      if (passages.num_passages() != plan_.num_passages) throw_apart(plan_.folder);
      const std::size_t size = static_cast<std::size_t>(group_.size());
      tell(0, {});
      for (std::size_t i = 0; i < plan_.shards.size() && !report_.was_stopped; i += size) {
        group_.set_step(static_cast<std::int64_t>(i / size) + 1);
        const auto first = plan_.shards.begin() + static_cast<std::ptrdiff_t>(i);
        const auto last = plan_.shards.begin() +
                          static_cast<std::ptrdiff_t>(std::min(i + size, plan_.shards.size()));
        round(passages, {first, last});
      }
    }
    // What rank 0 finds missing reaches the others before they leave.
    group_.barrier();
    report_.encode_seconds = seconds_since(start);
    return report_;
  }

 private:
  void round(const PassageStore& passages, const std::vector<std::int64_t>& shards) {
    const auto own = static_cast<std::size_t>(group_.rank());
    const bool is_stopped = hooks_.should_stop && hooks_.should_stop();
    std::int64_t num_encoded = 0;
    if (!is_stopped && own < shards.size()) {
      encode_shard(passages, shards[own], shards);
      num_encoded = plan_.num_passages_of(shards[own]);
    }
    std::vector<std::int64_t> sums = {is_stopped ? 1 : 0, num_encoded,
                                      encoder_.num_cut_passages() - num_cut_before_};
    num_cut_before_ = encoder_.num_cut_passages();
    group_.sum(sums);
    report_.was_stopped = sums[0] > 0;
    report_.num_encoded += sums[1];
    report_.num_done += sums[1];
    report_.num_cut += sums[2];
    if (own == 0 && !report_.was_stopped) wait_until_seen(shards);
    tell(0, {});
  }

  void encode_shard(const PassageStore& passages, std::int64_t shard,
                    const std::vector<std::int64_t>& shards_of_round) {
    std::vector<std::string> documents;
    for (std::int64_t i = 0; i < plan_.num_passages_of(shard); ++i) {
      documents.push_back(
          document_of(passages.passage(plan_.first_passage(shard) + i), plan_.document_format));
    }
    write_vector_shard(plan_.folder, shard, plan_.source,
                       encoder_.encode_passages(
                           documents, [&](std::int64_t done) { tell(done, shards_of_round); }));
  }

  /// As if the ranks went through their shards side by side.
  void tell(std::int64_t done_of_shard, const std::vector<std::int64_t>& shards_of_round) const {
    if (!hooks_.on_encoded) return;
    std::int64_t num_done = report_.num_done;
    for (const std::int64_t shard : shards_of_round)
      num_done += std::min(done_of_shard, plan_.num_passages_of(shard));
    hooks_.on_encoded(num_done, plan_.num_passages);
  }

  /// What another machine wrote may come to light late.
  void wait_until_seen(const std::vector<std::int64_t>& shards) const {
    const auto start = std::chrono::steady_clock::now();
    for (const std::int64_t shard : shards) {
      while (!has_vector_shard(plan_.folder, shard, plan_.source)) {
        if (seconds_since(start) > kMostSecondsUntilSeen) {
          throw DataError((plan_.folder / vector_shard_name(shard)).string() +
                          ": expected the vectors that another rank has written, found none; the "
                          "ranks need a file system in common");
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
      }
    }
  }

  const EncodingPlan& plan_;
  const VectorEncoder& encoder_;
  const DenseIndexHooks& hooks_;
  Communicator& group_;
  std::int64_t num_cut_before_;
  DenseIndexReport report_;
};

/// What rank 0 does, or a process alone.
class Builder {
 public:
  Builder(const fs::path& output, const VectorEncoder& encoder, const DenseIndexSettings& settings,
          const DenseIndexHooks& hooks)
      : output_(output),
        encoder_(encoder),
        settings_(settings),
        hooks_(hooks),
        writer_(output, settings.replaces, Unfinished::kKept) {
    plan_.folder = writer_.folder();
  }

  /// Everything that other ranks take part in.
  void make_vectors(CorpusReader& corpus, Communicator& group) {
    or_keep_vectors([&] {
      check_same_encoder(group, encoder_);
      plan_.was_stopped = !read(corpus);
      if (!plan_.was_stopped) find_missing_shards();
      share_plan(group, plan_);
      report_ = ShardEncoder(plan_, encoder_, hooks_, group).run();
    });
  }

  DenseIndexReport finish(const CorpusReader& corpus) {
    or_keep_vectors([&] {
      if (!report_.was_stopped) {
        const auto start = std::chrono::steady_clock::now();
        report_.index = VectorIndex::build(plan_.folder, settings_.index);
        report_.index_seconds = seconds_since(start);
      }
      report_.num_bytes = bytes_of(plan_.folder);
      if (!report_.was_stopped) commit(corpus);
    });
    if (report_.was_stopped) keep_vectors_only();
    return report_;
  }

 private:
  template <class Work>
  void or_keep_vectors(Work work) {
    try {
      work();
    } catch (...) {
      keep_vectors_only();
      throw;
    }
  }

  // The passages are soon read again.
  void keep_vectors_only() {
    if (fs::exists(plan_.folder) && list_vector_shards(plan_.folder).empty()) writer_.discard();
  }

  // The passages, and with them which vectors belong here. Read by every run: a corpus that was
  // changed in between is noticed.
  bool read(CorpusReader& corpus) {
    ContentHasher hasher;
    PassageStoreWriter store(plan_.folder);
    const auto take = [&](const Passage& passage) {
      store.add(passage);
      hasher.add_field(document_of(passage, settings_.document_format));
      return !(hooks_.should_stop && hooks_.should_stop());
    };
    if (!read_passages(corpus, take, hooks_.on_read)) return false;
    store.finish();
    plan_.document_format = settings_.document_format;
    plan_.source = {hasher.digest(), encoder_.fingerprint(), encoder_.dimension(),
                    settings_.shard_passages > 0 ? settings_.shard_passages
                                                 : default_shard_passages(encoder_.dimension()),
                    settings_.dtype};
    return true;
  }

  void find_missing_shards() {
    const PassageStore passages(plan_.folder);
    check_distinct_ids(passages, kIdBytes);
    plan_.num_passages = passages.num_passages();
    // Settings that do not fit are told before hours of encoding.
    resolve(settings_.index, plan_.num_passages, encoder_.dimension());
    if (settings_.replaces) {
      if (has_other_shards(plan_.folder, plan_.source)) remove_shards(plan_.folder);
      take_shards_over();
    }
    // A shard of this source is one of those that the passages make; any other throws.
    const std::vector<std::int64_t> found = list_vector_shards(plan_.folder);
    for (const std::int64_t shard : found) has_vector_shard(plan_.folder, shard, plan_.source);
    for (std::int64_t shard = 0; plan_.first_passage(shard) < plan_.num_passages; ++shard) {
      if (std::binary_search(found.begin(), found.end(), shard)) {
        plan_.num_done += plan_.num_passages_of(shard);
      } else {
        plan_.shards.push_back(shard);
      }
    }
  }

  // Shards are never written in place: a second name of the same file is as good as a copy.
  void take_shards_over() const {
    if (!is_whole_index(output_)) return;
    if (has_other_shards(output_, plan_.source)) return;
    for (std::int64_t shard = 0;; ++shard) {
      const std::string name = vector_shard_name(shard);
      const fs::path from = output_ / name;
      const fs::path to = plan_.folder / name;
      if (!fs::exists(from)) return;
      if (fs::exists(to)) continue;
      std::error_code error;
      fs::create_hard_link(from, to, error);
      if (!error) continue;
      const fs::path part = plan_.folder / ("." + name + ".copy");
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
  EncodingPlan plan_;
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
  SingleProcessCommunicator alone;
  Communicator& group = hooks.communicator != nullptr ? *hooks.communicator : alone;
  std::optional<Builder> builder;
  or_announce(group, [&] {
    builder.emplace(output, encoder, settings, hooks).make_vectors(corpus, group);
    group.leave();
  });
  if (hooks.on_alone) hooks.on_alone();
  return builder->finish(corpus);
}

DenseIndexReport help_dense_index(Communicator& communicator, const VectorEncoder& encoder,
                                  const std::function<bool()>& should_stop) {
  return or_announce(communicator, [&] {
    check_same_encoder(communicator, encoder);
    const EncodingPlan plan = share_plan(communicator, {});
    if (!plan.was_stopped && !fs::exists(plan.folder)) throw_apart(plan.folder);
    DenseIndexHooks hooks;
    hooks.should_stop = should_stop;
    const DenseIndexReport report = ShardEncoder(plan, encoder, hooks, communicator).run();
    communicator.leave();
    return report;
  });
}

}  // namespace clara
