// The manifest is trusted in nothing: it may be what the damage hit.
#include "retrieval/dense_manifest.h"

#include <charconv>
#include <cmath>
#include <map>

#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr double kMostSetting = 9007199254740992.0;  // 2^53, whole numbers below have a double each

// The whole numbers of the settings by name.
template <typename Settings, typename Visit>
void visit_numbers(Settings& settings, const Visit& visit) {
  visit("nlist", settings.nlist);
  visit("nprobe", settings.nprobe);
  visit("pq_bytes", settings.pq_bytes);
  visit("pq_bits", settings.pq_bits);
  visit("rescore", settings.rescore);
  visit("hnsw_links", settings.hnsw_links);
  visit("ef_construction", settings.ef_construction);
  visit("ef_search", settings.ef_search);
  visit("training_vectors", settings.training_vectors);
}

[[noreturn]] void fail(const fs::path& folder, const std::string& message) {
  throw DataError((folder / kIndexManifestName).string() + ": " + message +
                  "; build the index again");
}

template <typename Value>
const Value& member(const fs::path& folder, const std::map<std::string, Value>& values,
                    const std::string& name) {
  const auto found = values.find(name);
  if (found == values.end()) fail(folder, "expected " + name + ", found nothing");
  return found->second;
}

std::int64_t whole_number(const fs::path& folder, const std::map<std::string, double>& values,
                          const std::string& name) {
  const double value = member(folder, values, name);
  if (!(value >= 0 && value < kMostSetting) || value != std::floor(value)) {
    fail(folder, name + ": expected a whole number, found " + std::to_string(value));
  }
  return static_cast<std::int64_t>(value);
}

// `parse` of a name, whose ConfigError becomes one about the file.
template <typename Parse>
auto parsed(const fs::path& folder, const std::string& name, const Parse& parse) {
  try {
    return parse();
  } catch (const ConfigError& error) {
    fail(folder, name + ": " + error.what());
  }
}

}  // namespace

IndexManifest to_index_manifest(const DenseManifest& manifest) {
  IndexManifest out;
  out.kind = kDenseKind;
  out.names = {{"index", to_string(manifest.index.kind)},
               {"seed", std::to_string(manifest.index.seed)},
               {"document_format", to_string(manifest.document_format)},
               {"encoder", manifest.encoder.string()},
               {"pooling", to_string(manifest.encoding.pooling.value())},
               {"passage_prefix", manifest.encoding.passage_prefix.value()}};
  out.settings = {{"opq", manifest.index.opq ? 1 : 0},
                  {"max_tokens", static_cast<double>(manifest.encoding.max_tokens)}};
  visit_numbers(manifest.index, [&](const char* name, std::int64_t value) {
    out.settings[name] = static_cast<double>(value);
  });
  out.counts = {{"passages", manifest.num_passages}, {"dimension", manifest.dimension}};
  out.corpus = manifest.corpus;
  return out;
}

DenseManifest open_dense_folder(const fs::path& folder, bool verifies_content) {
  const IndexManifest manifest = open_index_folder(folder, kDenseKind, verifies_content);
  const auto name = [&](const char* key) { return member(folder, manifest.names, key); };
  DenseManifest out;
  out.index.kind = parsed(folder, "index", [&] { return parse_vector_index_kind(name("index")); });
  const std::string seed = name("seed");
  const auto [end, fault] = std::from_chars(seed.data(), seed.data() + seed.size(), out.index.seed);
  if (fault != std::errc() || end != seed.data() + seed.size())
    fail(folder, "seed: expected a whole number, found another text");
  visit_numbers(out.index, [&](const char* key, std::int64_t& value) {
    value = whole_number(folder, manifest.settings, key);
  });
  out.index.opq = whole_number(folder, manifest.settings, "opq") != 0;
  out.document_format = parsed(folder, "document_format",
                               [&] { return parse_document_format(name("document_format")); });
  out.encoder = name("encoder");
  out.encoding.pooling = parsed(folder, "pooling", [&] { return parse_pooling(name("pooling")); });
  out.encoding.passage_prefix = name("passage_prefix");
  out.encoding.max_tokens = whole_number(folder, manifest.settings, "max_tokens");
  out.num_passages = member(folder, manifest.counts, "passages");
  out.dimension = member(folder, manifest.counts, "dimension");
  out.corpus = manifest.corpus;
  return out;
}

}  // namespace clara
