// The manifest is trusted in nothing: it may be what the damage hit.
#include "retrieval/index_manifest.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int64_t kFormatVersion = 1;

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

// A member of the manifest, of the right type.
template <typename T>
T member(const fs::path& path, const Json& json, const char* name) {
  const auto it = json.is_object() ? json.find(name) : json.end();
  if (!json.is_object() || it == json.end()) {
    throw DataError(path.string() + ": " + name + ": expected a value, found none");
  }
  try {
    return it->get<T>();
  } catch (const Json::exception&) {
    throw DataError(path.string() + ": " + name + ": expected a value of another type, found " +
                    it->dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60));
  }
}

void check_file(const fs::path& path, const IndexManifest::File& expected, bool verify) {
  constexpr const char* kAdvice = "; the index is altered or damaged: build it again";
  if (!fs::exists(path)) throw DataError(path.string() + ": not found" + kAdvice);
  const std::uint64_t size = fs::file_size(path);
  if (size != expected.num_bytes) {
    throw DataError(path.string() + ": expected " + std::to_string(expected.num_bytes) +
                    " bytes, found " + std::to_string(size) + kAdvice);
  }
  if (!verify) return;
  const std::string hash = hash_file(path).hex();
  if (hash != expected.xxh3_128) {
    throw DataError(path.string() + ": expected the checksum " + expected.xxh3_128 + ", found " +
                    hash + kAdvice);
  }
}

}  // namespace

IndexManifest::File describe_file(const fs::path& path) {
  return {fs::file_size(path), hash_file(path).hex()};
}

void write_index_manifest(const fs::path& folder, const IndexManifest& manifest) {
  Json settings = {{"kind", to_string(manifest.settings.kind)},
                   {"opq", manifest.settings.opq},
                   {"seed", manifest.settings.seed}};
  visit_numbers(manifest.settings,
                [&](const char* name, std::int64_t value) { settings[name] = value; });
  Json files = Json::object();
  for (const auto& [name, file] : manifest.files) {
    files[name] = {{"bytes", file.num_bytes}, {"xxh3_128", file.xxh3_128}};
  }
  const Json json = {{"format_version", kFormatVersion},
                     {"vectors", manifest.num_vectors},
                     {"dimension", manifest.dimension},
                     {"corpus", manifest.corpus},
                     {"encoder", manifest.encoder},
                     {"settings", settings},
                     {"files", files}};
  write_file_atomically(folder / kIndexManifestName, json.dump(2) + "\n");
}

IndexManifest read_index_manifest(const fs::path& folder, bool verify) {
  const fs::path path = folder / kIndexManifestName;
  if (!fs::exists(path)) {
    throw DataError(path.string() + ": not found: " + folder.string() +
                    " holds no finished index; run clara-data index dense (again)");
  }
  const Json json = Json::parse(read_file(path), nullptr, false);
  if (json.is_discarded()) {
    throw DataError(path.string() + ": not a JSON file, or one that is damaged or cut short");
  }
  const auto version = member<std::int64_t>(path, json, "format_version");
  if (version != kFormatVersion) {
    throw DataError(path.string() + ": format version " + std::to_string(version) +
                    " is not one that this release reads (" + std::to_string(kFormatVersion) + ")");
  }
  IndexManifest out;
  out.num_vectors = member<std::int64_t>(path, json, "vectors");
  out.dimension = member<std::int64_t>(path, json, "dimension");
  out.corpus = member<std::string>(path, json, "corpus");
  out.encoder = member<std::string>(path, json, "encoder");
  const Json settings = member<Json>(path, json, "settings");
  try {
    out.settings.kind = parse_vector_index_kind(member<std::string>(path, settings, "kind"));
  } catch (const ConfigError& error) {
    throw DataError(path.string() + ": settings: " + error.what());
  }
  out.settings.opq = member<bool>(path, settings, "opq");
  out.settings.seed = member<std::uint64_t>(path, settings, "seed");
  visit_numbers(out.settings, [&](const char* name, std::int64_t& value) {
    value = member<std::int64_t>(path, settings, name);
  });
  const Json files = member<Json>(path, json, "files");
  if (!files.is_object()) throw DataError(path.string() + ": files: expected an object");
  for (const auto& [name, file] : files.items()) {
    if (fs::path(name).filename() != name || name.empty()) {
      throw DataError(path.string() + ": files: expected names in the folder, found " +
                      Json(name).dump(-1, ' ', true, Json::error_handler_t::replace));
    }
    out.files[name] = {member<std::uint64_t>(path, file, "bytes"),
                       member<std::string>(path, file, "xxh3_128")};
    check_file(folder / name, out.files[name], verify);
  }
  return out;
}

}  // namespace clara
