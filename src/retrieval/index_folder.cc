// A temporary folder, renamed; index.json with sizes and checksums.
#include "clara/retrieval/index_folder.h"

#include <utility>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "clara/common/atomic_file.h"
#include "clara/common/content_hash.h"
#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kFormatVersion = 1;

fs::path without_slash(fs::path path) { return path.has_filename() ? path : path.parent_path(); }

[[noreturn]] void fail(const fs::path& folder, const std::string& expected,
                       const std::string& found) {
  throw DataError(folder.string() + ": expected " + expected + ", found " + found);
}

void check_file(const fs::path& folder, const std::string& name, const Json& told, bool verifies) {
  constexpr const char* kRebuild = "; build the index again";
  const bool is_name = !name.empty() && name.find('/') == std::string::npos && name[0] != '.';
  if (!is_name || !told.is_object() || !told.contains("bytes") ||
      !told["bytes"].is_number_unsigned() || !told.contains("xxh3_128") ||
      !told["xxh3_128"].is_string()) {
    fail(folder, "an index.json that names files with bytes and xxh3_128",
         std::string("something else") + kRebuild);
  }
  std::error_code error;
  const auto num_bytes = fs::file_size(folder / name, error);
  if (error) fail(folder, "the index's file " + name, std::string("no such file") + kRebuild);
  const auto num_told = told["bytes"].get<std::uint64_t>();
  if (num_bytes != num_told) {
    fail(folder, name + " with " + std::to_string(num_told) + " bytes",
         std::to_string(num_bytes) + kRebuild);
  }
  if (verifies && hash_file(folder / name).hex() != told["xxh3_128"].get<std::string>())
    fail(folder, name + " as it was written", std::string("another checksum") + kRebuild);
}

// Files that a killed process was in the middle of have names that begin with a dot.
void remove_hidden_files(const fs::path& folder) {
  std::vector<fs::path> hidden;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with('.')) hidden.push_back(entry.path());
  }
  for (const fs::path& path : hidden) fs::remove(path);
}

// index.json of this format.
Json read_manifest(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder / kIndexManifestName, error)) {
    fail(folder, "the folder of an index", "no index.json; clara-data index writes one");
  }
  Json json = parse_json<Json>(read_file(folder / kIndexManifestName));
  if (!json.is_object() || !json.contains("format_version") ||
      !json["format_version"].is_number_integer()) {
    fail(folder, "an index.json of an index", "no such JSON; build the index again");
  }
  if (json["format_version"] != kFormatVersion) {
    fail(folder, "an index of format version " + std::to_string(kFormatVersion),
         "version " + json["format_version"].dump());
  }
  return json;
}

}  // namespace

IndexFolderWriter::IndexFolderWriter(fs::path output, bool replaces, Unfinished unfinished)
    : output_(without_slash(std::move(output))), unfinished_(unfinished) {
  std::error_code error;
  if (fs::exists(output_, error)) {
    const bool is_empty = fs::is_directory(output_, error) && fs::is_empty(output_, error);
    if (!is_empty && !fs::exists(output_ / kIndexManifestName, error)) {
      throw ConfigError(output_.string() +
                        ": expected a new folder or one with an index, found something else");
    }
    if (!is_empty && !replaces)
      throw ConfigError(output_.string() + ": is there already; --force replaces it");
  }
  const std::string name = "." + output_.filename().string();
  if (unfinished_ == Unfinished::kKept) {
    temporary_ = output_.parent_path() / (name + ".unfinished");
    make_folders(temporary_);
    try {
      lock_.emplace(temporary_);
    } catch (const Error& failure) {
      throw DataError(std::string(failure.what()) +
                      "; wait for that run to end, or choose another --out");
    }
    remove_hidden_files(temporary_);
  } else {
    temporary_ = output_.parent_path() / (name + ".tmp-" + std::to_string(::getpid()));
    fs::remove_all(temporary_, error);  // of a process that was killed and had this number
    make_folders(temporary_);
  }
}

IndexFolderWriter::~IndexFolderWriter() {
  std::error_code ignored;
  if (is_committed_) return;
  if (unfinished_ == Unfinished::kKept) {
    fs::remove(temporary_, ignored);  // where it is empty
  } else {
    fs::remove_all(temporary_, ignored);
  }
}

void IndexFolderWriter::commit(const IndexManifest& manifest) {
  Json files = Json::object();
  for (const auto& entry : fs::directory_iterator(temporary_)) {
    files[entry.path().filename().string()] = {{"bytes", entry.file_size()},
                                               {"xxh3_128", hash_file(entry.path()).hex()}};
  }
  const Json json = {{"format_version", kFormatVersion},
                     {"kind", manifest.kind},
                     {"names", manifest.names},
                     {"settings", manifest.settings},
                     {"counts", manifest.counts},
                     {"corpus", manifest.corpus},
                     {"files", files}};
  write_file_atomically(temporary_ / kIndexManifestName,
                        json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  std::error_code error;
  fs::path old;
  if (fs::exists(output_, error)) {
    old = temporary_.string() + ".old";
    fs::rename(output_, old, error);
  }
  if (!error) fs::rename(temporary_, output_, error);
  if (error) {
    std::error_code ignored;
    if (!old.empty()) fs::rename(old, output_, ignored);
    throw Error(output_.string() + ": cannot write: " + error.message());
  }
  is_committed_ = true;
  fs::remove_all(old, error);
  sync_path(output_.has_parent_path() ? output_.parent_path() : fs::path("."));
}

std::string index_kind(const fs::path& folder) {
  const Json json = read_manifest(folder);
  if (!json.contains("kind") || !json["kind"].is_string())
    fail(folder, "an index.json with the kind of the index", "none; build the index again");
  return json["kind"].get<std::string>();
}

IndexManifest open_index_folder(const fs::path& folder, const std::string& kind,
                                bool verifies_content) {
  const Json json = read_manifest(folder);
  IndexManifest manifest;
  try {
    manifest.kind = json.at("kind").get<std::string>();
    json.at("names").get_to(manifest.names);
    json.at("settings").get_to(manifest.settings);
    json.at("counts").get_to(manifest.counts);
    json.at("corpus").get_to(manifest.corpus);
  } catch (const Json::exception&) {
    fail(folder, "an index.json with kind, names, settings, counts, corpus and files",
         "something else; build the index again");
  }
  if (manifest.kind != kind)
    fail(folder, "an index of the kind " + kind, "one of the kind " + manifest.kind);
  if (!json.contains("files") || !json["files"].is_object())
    fail(folder, "an index.json that names its files", "something else; build the index again");
  for (const auto& [name, told] : json["files"].items())
    check_file(folder, name, told, verifies_content);
  return manifest;
}

}  // namespace clara
