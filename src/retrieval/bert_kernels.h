// The loops of a BERT layer on the CPU, float32: each does in one pass over memory what takes
// several as tensor operators. All of them work on rows, so that callers share these among threads.
#pragma once

#include <cstdint>
#include <vector>

namespace clara::bert {

/// out = LayerNorm(x + delta + bias), by rows of `width`; out may be x. delta and bias: null for
/// none.
struct NormRows {
  const float* x;
  const float* delta;
  const float* bias;
  const float* weight;
  const float* shift;
  float* out;
  std::int64_t width;
  float eps;
};
void add_layer_norm(const NormRows& rows, std::int64_t begin, std::int64_t end);

/// out = LayerNorm(word + position + type), a row a token.
struct EmbeddingRows {
  const float* word;
  const float* position;
  const float* type;
  const std::int32_t* ids;
  const std::int32_t* positions;
  const std::int32_t* types;
  const float* weight;
  const float* shift;
  float* out;
  std::int64_t width;
  float eps;
};
void embed(const EmbeddingRows& rows, std::int64_t begin, std::int64_t end);

/// x = gelu(x + bias), exact (erf to 2e-7), by rows of `width`.
void bias_gelu(float* x, const float* bias, std::int64_t width, std::int64_t begin,
               std::int64_t end);

/// softmax(scale · q · kᵀ) · v of one head of one sequence; rows are `stride` floats apart, biases
/// [head_dim] are added to q, k and v.
struct HeadTask {
  const float* q;
  const float* k;
  const float* v;
  const float* q_bias;
  const float* k_bias;
  const float* v_bias;
  float* out;
  std::int64_t num_queries;
  std::int64_t num_keys;
  std::int64_t head_dim;
  std::int64_t q_stride;
  std::int64_t kv_stride;
  std::int64_t out_stride;
  float scale;
};
/// `scratch` is memory that calls of one thread share.
void attend(const HeadTask& task, std::vector<float>& scratch);

}  // namespace clara::bert
