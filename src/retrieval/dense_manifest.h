// index.json of a dense index: what its vectors were made with and how they are searched. Of which
// passages and encoder they are, the shards themselves say.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "clara/data/document_format.h"
#include "clara/retrieval/index_folder.h"
#include "clara/retrieval/text_encoder.h"
#include "clara/retrieval/vector_index.h"

namespace clara {

inline constexpr const char* kDenseKind = "dense";

struct DenseManifest {
  VectorIndexSettings index;  ///< as resolved
  std::int64_t num_passages = 0;
  std::int64_t dimension = 0;
  DocumentFormat document_format = DocumentFormat::kTitleNewline;
  std::filesystem::path encoder;  ///< its folder, absolute
  EncoderSettings encoding;       ///< as resolved; of queries nothing: they may change
  std::vector<std::string> corpus;
};

IndexManifest to_index_manifest(const DenseManifest& manifest);

/// Opens the folder of a dense index, as open_index_folder does. Throws DataError that names what
/// is missing or wrong in index.json.
DenseManifest open_dense_folder(const std::filesystem::path& folder, bool verifies_content);

}  // namespace clara
