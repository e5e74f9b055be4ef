// index.json of an index of vectors: what its vectors were made with and how they are searched. Of
// which passages and encoder they are, the shards themselves say.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "clara/data/document_format.h"
#include "clara/retrieval/index_folder.h"
#include "clara/retrieval/text_encoder.h"
#include "clara/retrieval/vector_encoder.h"
#include "clara/retrieval/vector_index.h"

namespace clara {

struct DenseManifest {
  VectorIndexSettings index;  ///< as resolved
  std::int64_t num_passages = 0;
  std::int64_t dimension = 0;
  DocumentFormat document_format = DocumentFormat::kTitleNewline;
  EncoderDescription encoder;  ///< of queries nothing: that may change; read back without its role
  std::vector<std::string> corpus;
};

IndexManifest to_index_manifest(const DenseManifest& manifest);

/// Opens the folder of an index of vectors, of whatever encoder, as open_index_folder does. Throws
/// DataError that names what is missing or wrong in index.json.
DenseManifest open_dense_folder(const std::filesystem::path& folder, bool verifies_content);

/// The settings of the text encoder that an index of the kind dense was built with. Throws
/// DataError for another kind, and as open_dense_folder.
EncoderSettings text_encoder_settings(const std::filesystem::path& folder,
                                      const DenseManifest& manifest);

}  // namespace clara
