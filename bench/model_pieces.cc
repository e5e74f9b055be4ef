// The pieces of a pass at SmolLM2's shapes: frozen linear + LoRA, RMSNorm, SwiGLU, rotary,
// attention (its rotary included), chunked cross-entropy, slot writing, top-k, optimizer.
#include "model/attention.h"
#include "model/cpu_kernels.h"
#include "model/lora_linear.h"
#include "model/rms_norm.h"
#include "model/swiglu.h"
#include <benchmark/benchmark.h>
#include <torch/torch.h>

#include "clara/model/answer_loss.h"
#include "clara/model/rotary.h"
#include "clara/model/selection.h"
#include "clara/trainer/optimizer.h"

namespace clara {
namespace {

using torch::Tensor;

constexpr std::int64_t kTokens = 2048, kWidth = 576, kInner = 1536, kHeads = 9, kKvHeads = 3,
                       kHeadDim = 64;
constexpr std::int64_t kVocabulary = 49152, kRank = 16, kMemory = 16;

/// First argument of every benchmark: 0 float32, 1 bfloat16.
torch::Dtype dtype_of(const benchmark::State& state) {
  return state.range(0) == 0 ? torch::kFloat32 : torch::kBFloat16;
}

void report_rate(benchmark::State& state, double operations) {
  state.counters["GFLOP/s"] = benchmark::Counter(
      operations * 1e-9 * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

Tensor activations(std::int64_t width, torch::Dtype dtype) {
  return torch::randn({kTokens, width}).to(dtype).set_requires_grad(true);
}

AdaptedLinear adapted_linear(std::int64_t in, std::int64_t out, torch::Dtype dtype) {
  return {(torch::randn({out, in}) * 0.02).to(dtype),
          {},
          {(torch::randn({kRank, in}) * 0.02).set_requires_grad(true),
           torch::zeros({out, kRank}).set_requires_grad(true)}};
}

/// The MLP's gate and up projections of one block, as they run: one input, two outputs.
void lora_linear_forward(benchmark::State& state) {
  const torch::NoGradGuard no_grad;
  const torch::Dtype dtype = dtype_of(state);
  const std::vector<AdaptedLinear> layers = {adapted_linear(kWidth, kInner, dtype),
                                             adapted_linear(kWidth, kInner, dtype)};
  const Tensor x = activations(kWidth, dtype);
  for (auto _ : state) benchmark::DoNotOptimize(lora_linear(x, layers, 2.0, {}));
  report_rate(state, 2.0 * 2 * kTokens * kWidth * kInner);
}
BENCHMARK(lora_linear_forward)->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

void lora_linear_forward_backward(benchmark::State& state) {
  const torch::Dtype dtype = dtype_of(state);
  const std::vector<AdaptedLinear> layers = {adapted_linear(kWidth, kInner, dtype),
                                             adapted_linear(kWidth, kInner, dtype)};
  const Tensor x = activations(kWidth, dtype), d = torch::randn({kTokens, kInner}).to(dtype);
  for (auto _ : state) {
    const std::vector<Tensor> y = lora_linear(x, layers, 2.0, {0.1, 17});
    torch::autograd::backward({y[0], y[1]}, {d, d});
  }
  report_rate(state, 4.0 * 2 * kTokens * kWidth * kInner);
}
BENCHMARK(lora_linear_forward_backward)
    ->Arg(0)
    ->Arg(1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

void rms_norm_forward_backward(benchmark::State& state) {
  const torch::Dtype dtype = dtype_of(state);
  const Tensor x = activations(kWidth, dtype), delta = activations(kWidth, dtype);
  const Tensor weight = torch::ones({kWidth}).to(dtype),
               d = torch::randn({kTokens, kWidth}).to(dtype);
  for (auto _ : state) {
    const auto [stream, normed, rstd] = add_rms_norm(x, delta, weight, 1e-5);
    torch::autograd::backward({stream, normed}, {d, d});
  }
}
BENCHMARK(rms_norm_forward_backward)->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

void swiglu_forward_backward(benchmark::State& state) {
  const torch::Dtype dtype = dtype_of(state);
  const Tensor gate = activations(kInner, dtype), up = activations(kInner, dtype);
  const Tensor d = torch::randn({kTokens, kInner}).to(dtype);
  for (auto _ : state) swiglu(gate, up).backward(d);
}
BENCHMARK(swiglu_forward_backward)->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

/// Queries of one sequence to rotated heads, and their gradient back to tokens, as attention does.
void rotary_forward_backward(benchmark::State& state) {
  const torch::Dtype dtype = dtype_of(state);
  const RotaryTable rotary =
      rotary_table(rotary_inverse_frequencies({}, kHeadDim), torch::arange(kTokens));
  const Tensor queries = torch::randn({kTokens, kHeads * kHeadDim}).to(dtype);
  Tensor heads = torch::empty({kHeads, kTokens, kHeadDim}, queries.options()),
         back = torch::empty_like(queries);
  for (auto _ : state) {
    cpu::split_heads(queries, kHeads, kTokens, rotary.cos, rotary.sin, 1.0, heads);
    cpu::merge_heads(heads, kTokens, rotary.cos, rotary.sin, 1.0, back);
  }
}
BENCHMARK(rotary_forward_backward)->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

/// Second argument: tokens of each sequence; 2048 tokens in all.
void attention_forward_backward(benchmark::State& state) {
  const torch::Dtype dtype = dtype_of(state);
  const std::int64_t length = state.range(1);
  const auto layout = std::make_shared<const PackedLayout>(
      std::vector<std::int64_t>(static_cast<std::size_t>(kTokens / length), length), torch::kCPU);
  const RotaryTable rotary =
      rotary_table(rotary_inverse_frequencies({}, kHeadDim), layout->positions());
  const Tensor q = activations(kHeads * kHeadDim, dtype),
               k = activations(kKvHeads * kHeadDim, dtype);
  const Tensor v = activations(kKvHeads * kHeadDim, dtype),
               d = torch::randn({kTokens, kHeads * kHeadDim}).to(dtype);
  for (auto _ : state)
    packed_attention(q, k, v, {kHeads, kKvHeads, kHeadDim}, layout, rotary).backward(d);
}
BENCHMARK(attention_forward_backward)
    ->ArgsProduct({{0, 1}, {64, 256, 1024}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

/// 256 answer tokens against the whole vocabulary, loss and gradient.
void cross_entropy(benchmark::State& state) {
  const torch::Dtype dtype = dtype_of(state);
  const Tensor head = (torch::randn({kVocabulary, kWidth}) * 0.02).to(dtype);
  const Tensor added = (torch::randn({kMemory + 3, kWidth}) * 0.02).set_requires_grad(true);
  const Tensor hidden = torch::randn({256, kWidth}).to(dtype).set_requires_grad(true);
  const Tensor targets = torch::randint(kVocabulary, {256}, torch::kInt64);
  for (auto _ : state) chunked_cross_entropy(hidden, head, added, targets).sum.backward();
  report_rate(state, 4.0 * 256 * kVocabulary * kWidth);
}
BENCHMARK(cross_entropy)->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

/// Latents of 40 documents written to their memory places, with the gradient back.
void slot_writing(benchmark::State& state) {
  const torch::Dtype dtype = dtype_of(state);
  const Tensor embeddings = torch::randn({kTokens, kWidth}).to(dtype);
  const Tensor latents = torch::randn({40 * kMemory, kWidth}).to(dtype).set_requires_grad(true);
  const Tensor places = std::get<0>(torch::randperm(kTokens).narrow(0, 0, 40 * kMemory).sort());
  const Tensor d = torch::randn({kTokens, kWidth}).to(dtype);
  for (auto _ : state) embeddings.index_copy(0, places, latents).backward(d);
}
BENCHMARK(slot_writing)->Arg(0)->Arg(1)->UseRealTime()->Unit(benchmark::kMillisecond);

/// Scores of 20 candidates, straight-through top-5, the chosen latents, with the gradient back.
void score_and_select(benchmark::State& state) {
  const Tensor documents = torch::randn({20, kMemory * kWidth});
  const Tensor question = torch::randn({kMemory * kWidth}).set_requires_grad(true);
  const Tensor d = torch::randn({5, kMemory * kWidth});
  for (auto _ : state) {
    const Tensor weights =
        straight_through_topk(cosine_scores(question, documents), 5, 0.02, TopkMask::kLeaky)
            .weights_SK;
    torch::mm(weights, documents).backward(d);
  }
}
BENCHMARK(score_and_select)->UseRealTime()->Unit(benchmark::kMillisecond);

/// Clip and AdamW over 9.8 million values: compressor and generator of rank 16.
void optimizer_update(benchmark::State& state) {
  const Tensor values = torch::randn({9'800'000}).set_requires_grad(true);
  AdamW optimizer({{"values", values, 1.0}}, TrainerConfig{});
  optimizer.gradients().normal_();
  for (auto _ : state) {
    optimizer.clip(optimizer.gradient_norm().item<double>());
    optimizer.step(1e-6);
  }
}
BENCHMARK(optimizer_update)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace clara
