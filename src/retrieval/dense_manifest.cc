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
  visit("reduced_dimension", settings.reduced_dimension);
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
  out.kind = manifest.encoder.kind;
  out.names = manifest.encoder.names;
  out.names["index"] = to_string(manifest.index.kind);
  out.names["seed"] = std::to_string(manifest.index.seed);
  out.names["document_format"] = to_string(manifest.document_format);
  out.settings = manifest.encoder.settings;
  out.settings["opq"] = manifest.index.opq ? 1 : 0;
  visit_numbers(manifest.index, [&](const char* name, std::int64_t value) {
    out.settings[name] = static_cast<double>(value);
  });
  out.counts = {{"passages", manifest.num_passages}, {"dimension", manifest.dimension}};
  out.corpus = manifest.corpus;
  return out;
}

DenseManifest open_dense_folder(const fs::path& folder, bool verifies_content) {
  const std::string kind = index_kind(folder) == kLatentKind ? kLatentKind : kDenseKind;
  const IndexManifest manifest = open_index_folder(folder, kind, verifies_content);
  const auto name = [&](const char* key) { return member(folder, manifest.names, key); };
  DenseManifest out;
  out.index.kind = parsed(folder, "index", [&] { return parse_vector_index_kind(name("index")); });
  out.dimension = member(folder, manifest.counts, "dimension");
  const std::string seed = name("seed");
  const auto [end, fault] = std::from_chars(seed.data(), seed.data() + seed.size(), out.index.seed);
  if (fault != std::errc() || end != seed.data() + seed.size())
    fail(folder, "seed: expected a whole number, found another text");
  visit_numbers(out.index, [&](const char* key, std::int64_t& value) {
    // Indexes of earlier releases reduce nothing and do not say so.
    if (key == std::string("reduced_dimension") && !manifest.settings.contains(key)) {
      if (out.index.kind != VectorIndexKind::kFlat) value = out.dimension;
      return;
    }
    value = whole_number(folder, manifest.settings, key);
  });
  out.index.opq = whole_number(folder, manifest.settings, "opq") != 0;
  out.document_format = parsed(folder, "document_format",
                               [&] { return parse_document_format(name("document_format")); });
  out.encoder.kind = kind;
  out.encoder.names = manifest.names;
  for (const char* own : {"index", "seed", "document_format"}) out.encoder.names.erase(own);
  out.encoder.settings = manifest.settings;
  out.encoder.settings.erase("opq");
  visit_numbers(out.index, [&](const char* own, std::int64_t) { out.encoder.settings.erase(own); });
  out.num_passages = member(folder, manifest.counts, "passages");
  out.corpus = manifest.corpus;
  return out;
}

EncoderSettings text_encoder_settings(const fs::path& folder, const DenseManifest& manifest) {
  if (manifest.encoder.kind != kDenseKind) {
    throw DataError(folder.string() + ": expected an index of the kind " + kDenseKind +
                    ", found one of the kind " + manifest.encoder.kind);
  }
  const auto name = [&](const char* key) { return member(folder, manifest.encoder.names, key); };
  EncoderSettings out;
  name("encoder");
  out.pooling = parsed(folder, "pooling", [&] { return parse_pooling(name("pooling")); });
  out.passage_prefix = name("passage_prefix");
  out.max_tokens = whole_number(folder, manifest.encoder.settings, "max_tokens");
  return out;
}

}  // namespace clara
