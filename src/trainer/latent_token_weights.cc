// Document frequencies over a sample of the training rows.
#include "trainer/latent_token_weights.h"

#include <algorithm>

#include "clara/common/content_hash.h"
#include "clara/common/error.h"
#include "clara/objectives/token_idf.h"

namespace clara {
namespace {

/// Training rows whose documents say how rare a token is: enough for all but the rarest, and a
/// second or two.
constexpr std::int64_t kIdfRows = 4096;

}  // namespace

std::vector<float> latent_token_weights(const RunConfig& config, const ClaraModel& model,
                                        const JobInputs& inputs) {
  const LatentTokenLossConfig& loss = config.objective.latent_token_loss;
  if (loss.weight <= 0 || loss.steps <= 0 || loss.token_weights != "idf") return {};
  TokenIdf idf(static_cast<TokenId>(model.base().config().vocab_rows), inputs.text.bos_id,
               inputs.text.eos_id);
  const RowSource& rows = inputs.data->source();
  const std::int64_t used = std::min(rows.size(), kIdfRows);
  for (std::int64_t k = 0; k < used; ++k) {
    const std::int64_t i = k * rows.size() / used;
    const RawRow row = rows.row(i);
    try {
      const Example example = inputs.data->builder().build(row, 0, static_cast<std::uint64_t>(i));
      for (const TokenIds& document : example.documents) idf.add(document);
    } catch (const DataError&) {
      continue;
    }
  }
  return idf.weights();
}

std::string fingerprint_of_weights(const std::vector<float>& weights) {
  return hash_bytes({reinterpret_cast<const char*>(weights.data()), weights.size() * sizeof(float)})
      .hex();
}

}  // namespace clara
