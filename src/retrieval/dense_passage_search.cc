// The encoder is opened as the index was built: the same limits and prefix, or its vectors would
// not compare.
#include "clara/retrieval/dense_passage_search.h"

#include <sstream>
#include <string>
#include <utility>

#include "retrieval/dense_manifest.h"

#include "clara/common/error.h"
#include "clara/retrieval/text_encoder.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<const VectorEncoder> open_encoder(const fs::path& folder,
                                                  const DenseSearchSettings& settings) {
  // Compared with the files' checksums when it is opened for the search.
  const DenseManifest manifest = open_dense_folder(folder, /*verifies_content=*/false);
  EncoderSettings encoding = text_encoder_settings(folder, manifest);
  const fs::path path =
      settings.encoder.empty() ? fs::path(manifest.encoder.names.at("encoder")) : settings.encoder;
  if (!fs::exists(path)) {
    throw DataError(path.string() + ": expected the encoder that " + folder.string() +
                    " was built with, found nothing; --encoder names where it is");
  }
  encoding.query_prefix = settings.query_prefix;
  return std::make_unique<const TextEncoder>(path, encoding);
}

VectorIndex open_vectors(const fs::path& folder, const DenseManifest& manifest,
                         const DenseSearchSettings& settings) {
  VectorIndex index(folder, manifest.index);
  if (settings.nprobe != 0 || settings.rescore != 0 || settings.ef_search != 0)
    index.set_search(settings.nprobe, settings.rescore, settings.ef_search);
  return index;
}

/// What `found` says otherwise than the manifest: a hint, since the same files may lie elsewhere
/// and other ones in the same place.
std::string differences(const EncoderDescription& built, const EncoderDescription& found) {
  std::string text;
  const auto add = [&](const std::string& name, const auto& was, const auto& is) {
    std::ostringstream part;
    part << (text.empty() ? " (" : ", ") << name << ": built with " << was << ", found " << is;
    text += part.str();
  };
  for (const auto& [name, value] : found.names) {
    const auto was = built.names.find(name);
    // The stage may be another one with the same passages; the folder is told anyway.
    if (name == found.role || name == "stage" || was == built.names.end()) continue;
    if (was->second != value) add(name, was->second, value);
  }
  for (const auto& [name, value] : found.settings) {
    const auto was = built.settings.find(name);
    if (name == "step" || was == built.settings.end()) continue;
    if (was->second != value) add(name, was->second, value);
  }
  return text.empty() ? text : text + ")";
}

[[noreturn]] void throw_other_encoder(const fs::path& folder, const DenseManifest& manifest,
                                      const EncoderDescription& found) {
  const auto built = manifest.encoder.names.find(found.role);
  throw DataError(found.names.at(found.role) + ": expected the " + found.role + " that " +
                  folder.string() + " was built with" +
                  (built == manifest.encoder.names.end() ? "" : " (" + built->second + ")") +
                  ", found another one, or one that was changed since" +
                  differences(manifest.encoder, found) + "; --" + found.role +
                  " names another folder" +
                  (found.names.contains("base") ? ", --base another base and tokenizer" : "") +
                  ", clara-data index " + found.kind + " builds an index for this one");
}

}  // namespace

struct DensePassageSearch::Parts {
  PassageStore store;
  std::unique_ptr<const VectorEncoder> encoder;
  VectorIndex index;
};

DensePassageSearch::DensePassageSearch(const fs::path& folder, const DenseSearchSettings& settings)
    : DensePassageSearch(folder, open_encoder(folder, settings), settings) {}

DensePassageSearch::DensePassageSearch(const fs::path& folder,
                                       std::unique_ptr<const VectorEncoder> encoder,
                                       const DenseSearchSettings& settings) {
  const DenseManifest manifest = open_dense_folder(folder, /*verifies_content=*/false);
  // Before terabytes are read for their checksums, for nothing.
  if (encoder->fingerprint() != VectorShards(folder).source().encoder)
    throw_other_encoder(folder, manifest, encoder->describe());
  if (settings.verifies_content) open_dense_folder(folder, /*verifies_content=*/true);
  Parts parts{PassageStore(folder), std::move(encoder), open_vectors(folder, manifest, settings)};
  const VectorShards& vectors = parts.index.vectors();
  const auto check = [&](const char* what, std::int64_t found, std::int64_t expected) {
    if (found == expected) return;
    throw DataError(folder.string() + ": " + what + ": expected " + std::to_string(expected) +
                    " as index.json says, found " + std::to_string(found) +
                    "; build the index again");
  };
  check("passages", parts.store.num_passages(), manifest.num_passages);
  check("vectors", vectors.num_vectors(), manifest.num_passages);
  check("dimension", vectors.dimension(), manifest.dimension);
  parts_ = std::make_unique<const Parts>(std::move(parts));
}

DensePassageSearch::~DensePassageSearch() = default;

std::int64_t DensePassageSearch::num_passages() const { return parts_->store.num_passages(); }
const PassageStore& DensePassageSearch::passages() const { return parts_->store; }
const VectorEncoder& DensePassageSearch::encoder() const { return *parts_->encoder; }
const VectorIndex& DensePassageSearch::index() const { return parts_->index; }

std::vector<std::vector<SearchHit>> DensePassageSearch::search(
    const std::vector<std::string>& queries, std::int64_t k) const {
  std::vector<std::vector<SearchHit>> found(queries.size());
  if (queries.empty() || k < 1) return found;
  const auto hits = parts_->index.search(parts_->encoder->encode_queries(queries), k);
  for (std::size_t q = 0; q < hits.size(); ++q) {
    for (const VectorHit& hit : hits[q]) found[q].push_back({hit.row, hit.score});
  }
  return found;
}

}  // namespace clara
