// Matrix products of all tokens of a batch go to LibTorch, what is between them to own loops.
#include "retrieval/bert_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "retrieval/bert_kernels.h"
#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using torch::Tensor;

constexpr std::int64_t kRowGrain = 16;  // rows that are worth a thread

BertLinear take_linear(EncoderWeights& weights, const std::string& name, std::int64_t out,
                       std::int64_t in) {
  return {weights.take(name + ".weight", {out, in}), weights.take(name + ".bias", {out})};
}

BertNorm take_norm(EncoderWeights& weights, const std::string& name, std::int64_t width) {
  return {weights.take(name + ".weight", {width}), weights.take(name + ".bias", {width})};
}

BertLayer take_layer(EncoderWeights& weights, const std::string& prefix, const BertConfig& config) {
  const std::int64_t hidden = config.hidden_size, wide = config.intermediate_size;
  std::vector<Tensor> matrices, biases;
  for (const char* part : {"query", "key", "value"}) {
    BertLinear linear = take_linear(weights, prefix + "attention.self." + part, hidden, hidden);
    matrices.push_back(linear.weight);
    biases.push_back(linear.bias);
  }
  BertLayer layer;
  layer.qkv = {torch::cat(matrices), torch::cat(biases)};
  layer.attention_output = take_linear(weights, prefix + "attention.output.dense", hidden, hidden);
  layer.attention_norm = take_norm(weights, prefix + "attention.output.LayerNorm", hidden);
  layer.intermediate = take_linear(weights, prefix + "intermediate.dense", wide, hidden);
  layer.output = take_linear(weights, prefix + "output.dense", hidden, wide);
  layer.output_norm = take_norm(weights, prefix + "output.LayerNorm", hidden);
  return layer;
}

// The first rows of `buffer`, which is made larger where it has not as many.
Tensor rows_of(Tensor& buffer, std::int64_t rows, std::int64_t width) {
  if (!buffer.defined() || buffer.size(0) < rows) buffer = torch::empty({rows, width});
  return buffer.narrow(0, 0, rows);
}

const float* data(const Tensor& tensor) { return tensor.const_data_ptr<float>(); }

void norm(const Tensor& x, const Tensor& delta, const Tensor& bias, const BertNorm& weights,
          double eps, Tensor& out) {
  const bert::NormRows rows{data(x),
                            data(delta),
                            data(bias),
                            data(weights.weight),
                            data(weights.shift),
                            out.mutable_data_ptr<float>(),
                            x.size(1),
                            static_cast<float>(eps)};
  at::parallel_for(0, x.size(0), kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    bert::add_layer_norm(rows, begin, end);
  });
}

// Where the inputs lie, and how many of their first tokens are asked for.
struct Layout {
  std::vector<std::int64_t> begins;  // N + 1
  std::int64_t num_inputs() const { return static_cast<std::int64_t>(begins.size()) - 1; }
  std::int64_t begin(std::int64_t n) const { return begins[static_cast<std::size_t>(n)]; }
  std::int64_t length(std::int64_t n) const { return begin(n + 1) - begin(n); }
};

// q [·, D] are the queries of all tokens, or with `first_only` of the first of each input.
void attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
               const Layout& layout, bool first_only, const BertConfig& config, Tensor& out) {
  const std::int64_t heads = config.num_heads, dim = config.head_dim();
  const float scale = 1.0F / std::sqrt(static_cast<float>(dim));
  const float* biases = data(bias);
  const float* queries = data(q);
  const float* keys = data(k);
  const float* values = data(v);
  float* to = out.mutable_data_ptr<float>();
  at::parallel_for(
      0, layout.num_inputs() * heads, 1, [&](std::int64_t first_task, std::int64_t end_task) {
        std::vector<float> scratch;
        for (std::int64_t task = first_task; task < end_task; ++task) {
          const std::int64_t n = task / heads, column = task % heads * dim;
          const std::int64_t begin = layout.begin(n), row = first_only ? n : begin;
          bert::attend(
              {queries + row * q.stride(0) + column, keys + begin * k.stride(0) + column,
               values + begin * v.stride(0) + column, biases + column,
               biases + config.hidden_size + column, biases + 2 * config.hidden_size + column,
               to + row * out.stride(0) + column, first_only ? 1 : layout.length(n),
               layout.length(n), dim, q.stride(0), k.stride(0), out.stride(0), scale},
              scratch);
        }
      });
}

}  // namespace

BertModel::BertModel(const BertConfig& config, EncoderWeights& weights) : config_(config) {
  const std::int64_t hidden = config.hidden_size;
  words_ = weights.take("embeddings.word_embeddings.weight", {config.vocab_rows, hidden});
  positions_ = weights.take("embeddings.position_embeddings.weight",
                            {config.first_position + config.max_positions, hidden});
  types_ = weights.take("embeddings.token_type_embeddings.weight", {config.num_types, hidden});
  embedding_norm_ = take_norm(weights, "embeddings.LayerNorm", hidden);
  weights.ignore("embeddings.position_ids");
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    layers_.push_back(take_layer(weights, "encoder.layer." + std::to_string(i) + ".", config));
  }
}

Tensor BertModel::pooled(const std::vector<const TypedTokens*>& inputs, Pooling pooling,
                         BertScratch& scratch) const {
  const torch::NoGradGuard no_grad;
  const std::int64_t hidden = config_.hidden_size;
  Layout layout;
  layout.begins.push_back(0);
  std::vector<std::int32_t> ids, types, positions;
  for (const TypedTokens* input : inputs) {
    const auto length = static_cast<std::int32_t>(input->ids.size());
    ids.insert(ids.end(), input->ids.begin(), input->ids.end());
    types.insert(types.end(), input->types.begin(), input->types.end());
    // RoBERTa does not count a padding token, which a text may spell.
    const auto first = static_cast<std::int32_t>(config_.first_position);
    std::int32_t num_counted = 0;
    for (const TokenId id : input->ids) {
      const bool is_padding = config_.is_xlm_roberta && id == first - 1;
      positions.push_back(is_padding ? first - 1 : first + num_counted++);
    }
    layout.begins.push_back(layout.begins.back() + length);
  }
  const std::int64_t num_tokens = layout.begins.back();
  Tensor states = rows_of(scratch.states, num_tokens, hidden);
  const bert::EmbeddingRows embedding{data(words_),
                                      data(positions_),
                                      data(types_),
                                      ids.data(),
                                      positions.data(),
                                      types.data(),
                                      data(embedding_norm_.weight),
                                      data(embedding_norm_.shift),
                                      states.mutable_data_ptr<float>(),
                                      hidden,
                                      static_cast<float>(config_.layer_norm_eps)};
  at::parallel_for(0, num_tokens, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    bert::embed(embedding, begin, end);
  });
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const BertLayer& layer = layers_[i];
    // Of the last layer only the states that are pooled are computed.
    const bool first_only = pooling == Pooling::kCls && i + 1 == layers_.size();
    Tensor q, k, v;
    if (first_only) {
      Tensor kv = rows_of(scratch.qkv, num_tokens, 3 * hidden).narrow(1, hidden, 2 * hidden);
      torch::mm_out(kv, states, layer.qkv.weight.narrow(0, hidden, 2 * hidden).t());
      k = kv.narrow(1, 0, hidden);
      v = kv.narrow(1, hidden, hidden);
      const std::vector<std::int64_t> firsts(layout.begins.begin(), layout.begins.end() - 1);
      states = states.index_select(0, torch::tensor(firsts, torch::kInt64));
      q = torch::mm(states, layer.qkv.weight.narrow(0, 0, hidden).t());
    } else {
      Tensor qkv = rows_of(scratch.qkv, num_tokens, 3 * hidden);
      torch::mm_out(qkv, states, layer.qkv.weight.t());
      q = qkv.narrow(1, 0, hidden);
      k = qkv.narrow(1, hidden, hidden);
      v = qkv.narrow(1, 2 * hidden, hidden);
    }
    const std::int64_t rows = states.size(0);
    Tensor context = rows_of(scratch.context, rows, hidden);
    attention(q, k, v, layer.qkv.bias, layout, first_only, config_, context);
    Tensor projected = rows_of(scratch.projected, rows, hidden);
    torch::mm_out(projected, context, layer.attention_output.weight.t());
    norm(states, projected, layer.attention_output.bias, layer.attention_norm,
         config_.layer_norm_eps, states);
    Tensor wide = rows_of(scratch.intermediate, rows, config_.intermediate_size);
    torch::mm_out(wide, states, layer.intermediate.weight.t());
    auto* values = wide.mutable_data_ptr<float>();
    const float* bias = data(layer.intermediate.bias);
    at::parallel_for(0, rows, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
      bert::bias_gelu(values, bias, config_.intermediate_size, begin, end);
    });
    torch::mm_out(projected, wide, layer.output.weight.t());
    norm(states, projected, layer.output.bias, layer.output_norm, config_.layer_norm_eps, states);
  }
  if (pooling == Pooling::kCls) return states.clone();
  Tensor means = torch::empty({layout.num_inputs(), hidden});
  for (std::int64_t n = 0; n < layout.num_inputs(); ++n) {
    Tensor mean = means[n];
    torch::mean_out(mean, states.narrow(0, layout.begin(n), layout.length(n)), 0);
  }
  return means;
}

void for_each_batch(const std::vector<std::int64_t>& lengths, std::int64_t batch_tokens,
                    const std::function<void(const std::vector<std::size_t>&)>& run) {
  std::vector<std::size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return lengths[a] > lengths[b]; });
  std::vector<std::size_t> batch;
  std::int64_t num_tokens = 0;
  for (const std::size_t index : order) {
    if (!batch.empty() && num_tokens + lengths[index] > batch_tokens) {
      run(batch);
      batch.clear();
      num_tokens = 0;
    }
    batch.push_back(index);
    num_tokens += lengths[index];
  }
  if (!batch.empty()) run(batch);
}

}  // namespace clara
