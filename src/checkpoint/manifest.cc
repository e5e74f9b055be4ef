// A manifest is trusted in nothing: it may be what the damage hit.
#include "clara/checkpoint/manifest.h"

#include <algorithm>
#include <vector>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/content_hash.h"
#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int32_t kFormatVersion = 1;

/// Paths of the regular files below `folder`, relative to it, without the manifest, sorted.
std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::string name = fs::relative(entry.path(), folder).generic_string();
    if (name != kManifestName) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

[[noreturn]] void fail(const std::string& what) { throw CheckpointError("manifest.json: " + what); }

/// Names that a file of the folder can have.
bool stays_inside(const std::string& name) {
  if (name.empty() || name.find('\0') != std::string::npos) return false;
  const fs::path path(name);
  if (path.is_absolute()) return false;
  return std::none_of(path.begin(), path.end(), [](const fs::path& part) { return part == ".."; });
}

/// A text of the manifest as messages can show it.
std::string quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
}

ManifestFile parse_file(const std::string& name, const Json& json) {
  if (!stays_inside(name))
    fail("expected a path inside of the checkpoint's folder, found " + quoted(name));
  const auto bytes = json.is_object() ? json.find("bytes") : json.end();
  const auto hash = json.is_object() ? json.find("xxh3_128") : json.end();
  if (!json.is_object() || bytes == json.end() || !bytes->is_number_unsigned() ||
      hash == json.end() || !hash->is_string()) {
    fail(quoted(name) + ": expected bytes and xxh3_128, found something else");
  }
  return {bytes->get<std::uint64_t>(), hash->get<std::string>()};
}

}  // namespace

Manifest parse_manifest(const std::string& text) {
  const Json json = parse_json<Json>(text);
  if (!json.is_object()) fail("expected a JSON object, found none; the file is torn or altered");
  const auto version = json.find("format_version");
  if (version == json.end() || !version->is_number_integer())
    fail("expected a whole number format_version, found none");
  Manifest manifest;
  // A number that does not fit 32 bits is as unknown as any other.
  if (*version > kFormatVersion || *version < 1) {
    fail("format version " + version->dump() +
         " is not one that this release reads (it reads up to " + std::to_string(kFormatVersion) +
         "); a newer release may have written it");
  }
  manifest.format_version = version->get<std::int32_t>();
  const auto files = json.find("files");
  if (files == json.end() || !files->is_object()) fail("expected an object files, found none");
  for (const auto& [name, file] : files->items()) manifest.files[name] = parse_file(name, file);
  return manifest;
}

std::string render_manifest(const Manifest& manifest) {
  Json files = Json::object();
  for (const auto& [name, file] : manifest.files)
    files[name] = {{"bytes", file.num_bytes}, {"xxh3_128", file.xxh3_128}};
  return Json{{"format_version", manifest.format_version}, {"files", files}}.dump(2) + "\n";
}

void write_manifest(const fs::path& folder) {
  Manifest manifest;
  for (const std::string& name : files_below(folder)) {
    manifest.files[name] = {fs::file_size(folder / name), hash_file(folder / name).hex()};
  }
  write_file_atomically(folder / kManifestName, render_manifest(manifest));
}

std::optional<std::string> find_manifest_damage(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder / kManifestName, error)) return "manifest.json is missing";
  try {
    const Manifest manifest = parse_manifest(read_file(folder / kManifestName));
    for (const auto& [name, file] : manifest.files) {
      const fs::path path = folder / name;
      if (!fs::is_regular_file(path, error)) return name + " is missing";
      const std::uint64_t bytes = fs::file_size(path);
      if (bytes != file.num_bytes) {
        return name + " has " + std::to_string(bytes) + " bytes, expected " +
               std::to_string(file.num_bytes);
      }
      if (hash_file(path).hex() != file.xxh3_128)
        return name + " has another checksum than the manifest";
    }
    for (const std::string& name : files_below(folder)) {
      const bool is_read = name.ends_with(".safetensors") || name.ends_with(".json");
      if (is_read && !manifest.files.contains(name)) return name + " is not in the manifest";
    }
  } catch (const CheckpointError& failure) {
    return failure.what();
  } catch (const std::exception& failure) {
    return std::string("it cannot be read: ") + failure.what();
  }
  return std::nullopt;
}

}  // namespace clara
