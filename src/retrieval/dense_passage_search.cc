// The encoder is opened as the index was built: the same limits and prefix, or its vectors would
// not compare.
#include "clara/retrieval/dense_passage_search.h"

#include <utility>

#include "retrieval/dense_manifest.h"

#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

TextEncoder open_encoder(const fs::path& folder, const DenseManifest& manifest,
                         const DenseSearchSettings& settings) {
  const fs::path& path = settings.encoder.empty() ? manifest.encoder : settings.encoder;
  if (!fs::exists(path)) {
    throw DataError(path.string() + ": expected the encoder that " + folder.string() +
                    " was built with, found nothing; --encoder names where it is");
  }
  EncoderSettings encoding = manifest.encoding;
  encoding.query_prefix = settings.query_prefix;
  return TextEncoder(path, encoding);
}

VectorIndex open_vectors(const fs::path& folder, const DenseManifest& manifest,
                         const DenseSearchSettings& settings) {
  VectorIndex index(folder, manifest.index);
  if (settings.nprobe != 0 || settings.rescore != 0 || settings.ef_search != 0)
    index.set_search(settings.nprobe, settings.rescore, settings.ef_search);
  return index;
}

}  // namespace

struct DensePassageSearch::Parts {
  PassageStore store;
  TextEncoder encoder;
  VectorIndex index;
};

DensePassageSearch::DensePassageSearch(const fs::path& folder,
                                       const DenseSearchSettings& settings) {
  const DenseManifest manifest = open_dense_folder(folder, settings.verifies_content);
  Parts parts{PassageStore(folder), open_encoder(folder, manifest, settings),
              open_vectors(folder, manifest, settings)};
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
  if (parts.encoder.fingerprint() != vectors.source().encoder) {
    throw DataError(parts.encoder.folder().string() + ": expected the encoder that " +
                    folder.string() +
                    " was built with, found another one, or one that was changed since; "
                    "--encoder names another folder");
  }
  parts_ = std::make_unique<const Parts>(std::move(parts));
}

DensePassageSearch::~DensePassageSearch() = default;

std::int64_t DensePassageSearch::num_passages() const { return parts_->store.num_passages(); }
const PassageStore& DensePassageSearch::passages() const { return parts_->store; }
const TextEncoder& DensePassageSearch::encoder() const { return parts_->encoder; }
const VectorIndex& DensePassageSearch::index() const { return parts_->index; }

std::vector<std::vector<SearchHit>> DensePassageSearch::search(
    const std::vector<std::string>& queries, std::int64_t k) const {
  std::vector<std::vector<SearchHit>> found(queries.size());
  if (queries.empty() || k < 1) return found;
  const auto hits = parts_->index.search(parts_->encoder.encode_queries(queries), k);
  for (std::size_t q = 0; q < hits.size(); ++q) {
    for (const VectorHit& hit : hits[q]) found[q].push_back({hit.row, hit.score});
  }
  return found;
}

}  // namespace clara
