// Bi-encoder and cross-encoder: tokens of texts, batches of similar length, the pooled states.
#include "clara/retrieval/text_encoder.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "retrieval/bert_model.h"
#include "retrieval/encoder_folder.h"
#include "retrieval/encoder_weights.h"
#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/tokenizer/encoder_tokenizer.h"
#include "clara/tokenizer/wordpiece_tokenizer.h"
#include "clara/tokenizer/xlm_roberta_tokenizer.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

// The file that the tokenizer is read from.
fs::path tokenizer_file(const EncoderFolder& folder) {
  if (folder.model.is_xlm_roberta) return folder.folder / "sentencepiece.bpe.model";
  const fs::path json = folder.folder / "tokenizer.json";
  return fs::exists(json) ? json : folder.folder / "vocab.txt";
}

/// The parts that both encoders are made of.
struct Encoder {
  EncoderFolder folder;
  EncoderWeights weights;
  BertModel model;
  EncoderTokenizer tokenizer;
  std::int64_t max_tokens = 0;

  Encoder(const fs::path& path, std::int64_t max_tokens_asked)
      : folder(read_encoder_folder(path)),
        weights(folder.folder),
        model(folder.model, weights),
        tokenizer(folder.model.is_xlm_roberta ? load_xlm_roberta_tokenizer(folder.folder)
                                              : load_wordpiece_tokenizer(folder.folder)),
        max_tokens(max_tokens_asked > 0 ? max_tokens_asked : folder.max_tokens) {
    const BertConfig& config = folder.model;
    const std::string name = folder.folder.string();
    if (max_tokens > config.max_positions) {
      throw ConfigError("expected at most the " + std::to_string(config.max_positions) +
                        " positions of " + name + ", found a limit of " +
                        std::to_string(max_tokens) + " tokens");
    }
    if (max_tokens <= tokenizer.sequence.num_added_to_pair()) {
      throw ConfigError("expected room for text beside the tokens around it, found a limit of " +
                        std::to_string(max_tokens) + " tokens");
    }
    if (tokenizer.text->size() > config.vocab_rows) {
      throw DataError(name + ": the tokenizer has " + std::to_string(tokenizer.text->size()) +
                      " tokens, but config.json: vocab_size is " +
                      std::to_string(config.vocab_rows));
    }
    if (tokenizer.sequence.num_types() > config.num_types) {
      throw DataError(
          name + ": the tokenizer has " + std::to_string(tokenizer.sequence.num_types()) +
          " type ids, but config.json: type_vocab_size is " + std::to_string(config.num_types));
    }
    if (folder.lowercases_text && tokens("ABC") != tokens("abc")) {
      throw DataError(name + ": sentence_bert_config.json: do_lower_case: expected false with a " +
                      "tokenizer that keeps upper case, found true, which is not supported");
    }
  }

  TokenIds tokens(const std::string& text) const {
    return tokenizer.text->encode(text, SpecialTokenText::kParse);
  }

  /// [N, D]: pooled states of inputs in their order.
  Tensor pooled(const std::vector<TypedTokens>& inputs, Pooling pooling, std::int64_t batch_tokens,
                const std::function<void(std::int64_t)>& on_progress) const {
    Tensor out = torch::empty({static_cast<std::int64_t>(inputs.size()), folder.model.hidden_size});
    std::vector<std::int64_t> lengths;
    for (const TypedTokens& input : inputs) {
      lengths.push_back(static_cast<std::int64_t>(input.ids.size()));
    }
    BertScratch scratch;
    std::int64_t done = 0;
    for_each_batch(lengths, batch_tokens, [&](const std::vector<std::size_t>& batch) {
      std::vector<const TypedTokens*> chosen;
      std::vector<std::int64_t> rows;
      for (const std::size_t index : batch) {
        chosen.push_back(&inputs[index]);
        rows.push_back(static_cast<std::int64_t>(index));
      }
      out.index_copy_(0, torch::tensor(rows, torch::kInt64),
                      model.pooled(chosen, pooling, scratch));
      done += static_cast<std::int64_t>(batch.size());
      if (on_progress) on_progress(done);
    });
    return out;
  }
};

// `make(i)` for all i, shared among the threads.
template <typename Make>
std::vector<TypedTokens> make_inputs(std::size_t count, const Make& make) {
  std::vector<TypedTokens> inputs(count);
  at::parallel_for(0, static_cast<std::int64_t>(count), 8,
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t i = begin; i < end; ++i) {
                       inputs[static_cast<std::size_t>(i)] = make(static_cast<std::size_t>(i));
                     }
                   });
  return inputs;
}

void check_batch_tokens(std::int64_t batch_tokens) {
  if (batch_tokens < 1) {
    throw ConfigError("batch_tokens: expected at least 1, found " + std::to_string(batch_tokens));
  }
}

}  // namespace

std::string to_string(Pooling pooling) { return pooling == Pooling::kCls ? "cls" : "mean"; }

Pooling parse_pooling(const std::string& name) {
  for (const Pooling pooling : {Pooling::kCls, Pooling::kMean}) {
    if (name == to_string(pooling)) return pooling;
  }
  throw ConfigError("pooling: expected cls or mean, found \"" + name + "\"");
}

struct TextEncoder::Parts {
  fs::path folder;
  Encoder encoder;
  EncoderSettings settings;
  Hash128 fingerprint;
  // On the heap, for an encoder can be moved.
  std::unique_ptr<std::atomic<std::int64_t>> num_cut_passages =
      std::make_unique<std::atomic<std::int64_t>>(0);

  /// `num_cut` counts the texts that are longer than the encoder reads; null: nobody does.
  Tensor encode(const std::string& what, const std::string& prefix,
                const std::vector<std::string>& texts, std::atomic<std::int64_t>* num_cut,
                const std::function<void(std::int64_t)>& on_progress) const {
    const torch::NoGradGuard no_grad;
    const SequenceTemplate& sequence = encoder.tokenizer.sequence;
    const std::int64_t room = encoder.max_tokens - sequence.num_added_to_single();
    const std::vector<TypedTokens> inputs = make_inputs(texts.size(), [&](std::size_t i) {
      const TokenIds tokens = encoder.tokens(prefix + texts[i]);
      if (num_cut != nullptr && static_cast<std::int64_t>(tokens.size()) > room) ++*num_cut;
      return sequence.apply(tokens, encoder.max_tokens);
    });
    const Tensor pooled =
        encoder.pooled(inputs, *settings.pooling, settings.batch_tokens, on_progress);
    // Of sentence-transformers' Normalize: a vector of zeros stays one.
    const Tensor vectors = pooled / pooled.norm(2, 1, /*keepdim=*/true).clamp_min(1e-12);
    check_finite(vectors, what, [&](std::size_t row) -> const std::string& { return texts[row]; });
    return vectors;
  }
};

TextEncoder::TextEncoder(const fs::path& folder, const EncoderSettings& settings) {
  check_batch_tokens(settings.batch_tokens);
  Encoder encoder(folder, settings.max_tokens);
  EncoderSettings resolved = settings;
  if (!resolved.pooling) resolved.pooling = encoder.folder.pooling;
  if (!resolved.pooling) {
    throw ConfigError(folder.string() + ": expected the pooling (cls or mean) to be named, since " +
                      "the folder has no 1_Pooling/config.json; BGE takes cls, MiniLM and E5 mean");
  }
  resolved.max_tokens = encoder.max_tokens;
  if (!resolved.query_prefix) resolved.query_prefix = encoder.folder.query_prefix;
  if (!resolved.passage_prefix) resolved.passage_prefix = encoder.folder.passage_prefix;
  encoder.weights.ignore("pooler.");
  encoder.weights.ignore("cls.");
  encoder.weights.ignore("lm_head.");
  encoder.weights.check_all_taken();
  ContentHasher hasher;
  hasher.add_hash(encoder.weights.content())
      .add_hash(hash_file(encoder.folder.folder / "config.json"))
      .add_hash(hash_file(tokenizer_file(encoder.folder)))
      .add_number(static_cast<std::uint64_t>(*resolved.pooling))
      .add_number(static_cast<std::uint64_t>(resolved.max_tokens))
      .add_field(*resolved.passage_prefix);
  parts_ = std::make_unique<Parts>(
      Parts{folder, std::move(encoder), std::move(resolved), hasher.digest()});
}

TextEncoder::TextEncoder(TextEncoder&&) noexcept = default;
TextEncoder& TextEncoder::operator=(TextEncoder&&) noexcept = default;
TextEncoder::~TextEncoder() = default;

std::int64_t TextEncoder::dimension() const { return parts_->encoder.folder.model.hidden_size; }
const Hash128& TextEncoder::fingerprint() const { return parts_->fingerprint; }
EncoderDescription TextEncoder::describe() const {
  const EncoderSettings& settings = parts_->settings;
  return {kDenseKind,
          "encoder",
          {{"encoder", fs::absolute(parts_->folder).string()},
           {"pooling", to_string(settings.pooling.value())},
           {"passage_prefix", settings.passage_prefix.value()}},
          {{"max_tokens", static_cast<double>(settings.max_tokens)}}};
}
const EncoderSettings& TextEncoder::settings() const { return parts_->settings; }
const fs::path& TextEncoder::folder() const { return parts_->folder; }

Tensor TextEncoder::encode_passages(const std::vector<std::string>& passages,
                                    const std::function<void(std::int64_t)>& on_progress) const {
  return parts_->encode("passage", *parts_->settings.passage_prefix, passages,
                        parts_->num_cut_passages.get(), on_progress);
}

Tensor TextEncoder::encode_queries(const std::vector<std::string>& queries) const {
  return parts_->encode("question", *parts_->settings.query_prefix, queries, nullptr, nullptr);
}

std::int64_t TextEncoder::num_cut_passages() const { return *parts_->num_cut_passages; }

struct CrossEncoder::Parts {
  Encoder encoder;
  CrossEncoderSettings settings;
  BertLinear pooler, classifier;
};

CrossEncoder::CrossEncoder(const fs::path& folder, const CrossEncoderSettings& settings) {
  check_batch_tokens(settings.batch_tokens);
  Encoder encoder(folder, settings.max_tokens);
  const std::int64_t hidden = encoder.folder.model.hidden_size;
  EncoderWeights& weights = encoder.weights;
  const auto take = [&](const std::string& name, std::int64_t out) {
    if (!weights.has(name + ".weight")) {
      throw DataError(folder.string() + ": tensor " + name + ".weight is missing: this is no " +
                      "BertForSequenceClassification or XLMRobertaForSequenceClassification, which "
                      "a reranker is");
    }
    return BertLinear{weights.take(name + ".weight", {out, hidden}),
                      weights.take(name + ".bias", {out})};
  };
  const bool is_xlm_roberta = encoder.folder.model.is_xlm_roberta;
  BertLinear pooler = take(is_xlm_roberta ? "classifier.dense" : "pooler.dense", hidden);
  BertLinear classifier = take(is_xlm_roberta ? "classifier.out_proj" : "classifier", 1);
  if (is_xlm_roberta) weights.ignore("pooler.");
  weights.check_all_taken();
  parts_ = std::make_unique<Parts>(
      Parts{std::move(encoder), settings, std::move(pooler), std::move(classifier)});
}

CrossEncoder::CrossEncoder(CrossEncoder&&) noexcept = default;
CrossEncoder& CrossEncoder::operator=(CrossEncoder&&) noexcept = default;
CrossEncoder::~CrossEncoder() = default;

std::vector<float> CrossEncoder::scores(const std::string& query,
                                        const std::vector<std::string>& passages) const {
  const torch::NoGradGuard no_grad;
  const Encoder& encoder = parts_->encoder;
  if (passages.empty()) return {};
  const TokenIds query_tokens = encoder.tokens(query);
  const std::vector<TypedTokens> inputs = make_inputs(passages.size(), [&](std::size_t i) {
    return encoder.tokenizer.sequence.apply(query_tokens, encoder.tokens(passages[i]),
                                            encoder.max_tokens, parts_->settings.truncation);
  });
  const Tensor first =
      encoder.pooled(inputs, Pooling::kCls, parts_->settings.batch_tokens, nullptr);
  const Tensor hidden =
      torch::tanh(torch::addmm(parts_->pooler.bias, first, parts_->pooler.weight.t()));
  const Tensor logits =
      torch::addmm(parts_->classifier.bias, hidden, parts_->classifier.weight.t()).contiguous();
  const auto* values = logits.const_data_ptr<float>();
  return {values, values + logits.size(0)};
}

}  // namespace clara
