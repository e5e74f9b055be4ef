// manifest.json of a folder with vectors and their index: written last, checked first.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "clara/common/content_hash.h"
#include "clara/retrieval/vector_index.h"

namespace clara {

inline constexpr const char* kIndexManifestName = "manifest.json";

struct IndexManifest {
  struct File {
    std::uint64_t num_bytes = 0;
    std::string xxh3_128;
  };
  VectorIndexSettings settings;
  std::int64_t num_vectors = 0;
  std::int64_t dimension = 0;
  std::string corpus, encoder;        ///< fingerprints
  std::map<std::string, File> files;  ///< by name in the folder
};

/// Size and checksum of a file.
IndexManifest::File describe_file(const std::filesystem::path& path);

void write_index_manifest(const std::filesystem::path& folder, const IndexManifest& manifest);

/// Throws DataError: not there, no JSON, a missing or wrong member, a newer format, and for every
/// listed file that is missing or has another size or, with `verify`, other bytes.
IndexManifest read_index_manifest(const std::filesystem::path& folder, bool verify);

}  // namespace clara
