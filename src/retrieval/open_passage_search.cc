// The kind of index.json decides.
#include "clara/retrieval/open_passage_search.h"

#include <initializer_list>
#include <string>
#include <utility>

#include "retrieval/bm25_files.h"

#include "clara/common/error.h"
#include "clara/retrieval/index_folder.h"
#include "clara/retrieval/vector_encoder.h"

namespace clara {
namespace {

// A setting that was given, though the index is of another kind, would be ignored in silence.
void refuse(const std::filesystem::path& folder, const std::string& kind,
            std::initializer_list<std::pair<const char*, bool>> given) {
  for (const auto& [name, is_given] : given) {
    if (is_given) {
      throw ConfigError(std::string(name) + ": expected an index of another kind with it, found " +
                        folder.string() + " of the kind " + kind);
    }
  }
}

}  // namespace

std::unique_ptr<const PassageSearch> open_passage_search(const std::filesystem::path& folder,
                                                         const PassageSearchSettings& settings) {
  const std::string kind = index_kind(folder);
  if (kind == kBm25Kind) {
    const DenseSearchSettings& dense = settings.dense;
    refuse(folder, kind,
           {{"encoder", !dense.encoder.empty()},
            {"query_prefix", dense.query_prefix.has_value()},
            {"nprobe", dense.nprobe != 0},
            {"rescore", dense.rescore != 0},
            {"ef_search", dense.ef_search != 0}});
    return std::make_unique<Bm25DiskIndex>(folder, settings.bm25);
  }
  if (kind == kDenseKind) {
    refuse(folder, kind,
           {{"k1", settings.bm25.k1.has_value()}, {"b", settings.bm25.b.has_value()}});
    return std::make_unique<DensePassageSearch>(folder, settings.dense);
  }
  if (kind == kLatentKind && settings.open_latent_encoder) {
    refuse(folder, kind,
           {{"k1", settings.bm25.k1.has_value()},
            {"b", settings.bm25.b.has_value()},
            {"encoder", !settings.dense.encoder.empty()},
            {"query_prefix", settings.dense.query_prefix.has_value()}});
    return std::make_unique<DensePassageSearch>(folder, settings.open_latent_encoder(folder),
                                                settings.dense);
  }
  throw DataError(folder.string() +
                  ": expected an index of the kind bm25 or dense, or latent with a "
                  "checkpoint, found one of the kind " +
                  kind);
}

}  // namespace clara
