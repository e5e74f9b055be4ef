// The encoders of retrieval, over a few documents in place of an index.
#include "clara/eval/text_ranker.h"

#include <utility>

#include <torch/torch.h>

#include "clara/retrieval/text_encoder.h"

namespace clara {
namespace {

class DenseRanker final : public TextRanker {
 public:
  explicit DenseRanker(TextEncoder encoder) : encoder_(std::move(encoder)) {}

  std::vector<float> scores(const std::string& question,
                            const std::vector<std::string>& documents) const override {
    if (documents.empty()) return {};
    const torch::Tensor query = encoder_.encode_queries({question})[0];
    const torch::Tensor cosines =
        encoder_.encode_passages(documents).to(torch::kFloat32).mv(query.to(torch::kFloat32));
    const auto* data = cosines.const_data_ptr<float>();
    return {data, data + cosines.numel()};
  }

 private:
  TextEncoder encoder_;
};

class PairRanker final : public TextRanker {
 public:
  explicit PairRanker(CrossEncoder encoder) : encoder_(std::move(encoder)) {}

  std::vector<float> scores(const std::string& question,
                            const std::vector<std::string>& documents) const override {
    return encoder_.scores(question, documents);
  }

 private:
  CrossEncoder encoder_;
};

}  // namespace

std::unique_ptr<const TextRanker> open_text_ranker(const EvalSettings& settings) {
  check_encoder(settings);
  if (!needs_encoder(settings)) return nullptr;
  if (settings.select == DocumentSelector::kCrossEncoder)
    return std::make_unique<PairRanker>(CrossEncoder(settings.encoder));
  EncoderSettings encoder;
  if (!settings.query_prefix.empty()) encoder.query_prefix = settings.query_prefix;
  if (!settings.passage_prefix.empty()) encoder.passage_prefix = settings.passage_prefix;
  return std::make_unique<DenseRanker>(TextEncoder(settings.encoder, encoder));
}

}  // namespace clara
