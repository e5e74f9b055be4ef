// The hand-written gradients of the model against plain autograd in float64: linear layers with
// adapters, dropout, RMSNorm, SwiGLU, packed attention, chunked cross-entropy.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "model/attention.h"
#include "model/dropout.h"
#include "model/lora_linear.h"
#include "model/rms_norm.h"
#include "model/swiglu.h"
#include "tests/support/tensor_compare.h"
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/model/answer_loss.h"
#include "clara/model/rotary.h"

namespace clara::testing {
namespace {

using torch::Tensor;

constexpr double kForward = 1e-5;   // of the largest value
constexpr double kGradient = 1e-5;  // of the largest value

class AutogradNodes : public ::testing::Test {
 protected:
  void SetUp() override {
    torch::set_num_threads(1);
    torch::manual_seed(7);
  }
};

/// A float64 leaf with the values of `t`.
Tensor wide_leaf(const Tensor& t) {
  return t.defined() ? t.detach().to(torch::kFloat64).set_requires_grad(true) : Tensor();
}

/// A statement in float64 rounded to the dtype that results must have.
Tensor float32_of(const Tensor& wide) { return wide.to(torch::kFloat32); }

Tensor leaf(torch::IntArrayRef shape, double scale = 1) {
  return (scale * torch::randn(shape)).set_requires_grad(true);
}

/// The same random direction for a result and its reference.
void backward_along(const std::vector<Tensor>& results, const std::vector<Tensor>& directions) {
  Tensor sum;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!directions[i].defined()) continue;
    const Tensor part = (results[i] * directions[i].to(results[i].dtype())).sum();
    sum = sum.defined() ? sum + part : part;
  }
  sum.backward();
}

// ---- linear layers with adapters ----------------------------------------------------------------

struct LinearCase {
  std::string name;
  std::vector<bool> adapted;  // one entry a layer
  bool bias = false;
  double dropout = 0;
  std::vector<bool> used;  // whether a layer's result reaches the loss
};

void PrintTo(const LinearCase& c, std::ostream* out) { *out << c.name; }

class LoraLinear : public AutogradNodes, public ::testing::WithParamInterface<LinearCase> {};

TEST_P(LoraLinear, EqualsPlainAutograd) {
  const LinearCase& c = GetParam();
  constexpr std::int64_t kTokens = 9, kIn = 12, kRank = 3;
  constexpr double kScale = 2.0;
  const Tensor x = leaf({kTokens, kIn});
  const Tensor wide_x = wide_leaf(x);
  const DropoutSpec spec{c.dropout, 99};
  const Tensor mask = apply_dropout(torch::ones({kTokens, kIn}), spec).to(torch::kFloat64);

  std::vector<AdaptedLinear> layers;
  std::vector<LoraPair> wide_pairs;
  std::vector<Tensor> expected, directions;
  for (std::size_t i = 0; i < c.adapted.size(); ++i) {
    const std::int64_t out = 5 + 2 * static_cast<std::int64_t>(i);
    AdaptedLinear layer{torch::randn({out, kIn}), c.bias ? torch::randn({out}) : Tensor(), {}};
    Tensor y = torch::mm(wide_x, layer.weight.to(torch::kFloat64).t());
    if (c.bias) y = y + layer.bias.to(torch::kFloat64);
    LoraPair wide;
    if (c.adapted[i]) {
      layer.lora = {leaf({kRank, kIn}), leaf({out, kRank})};
      wide = {wide_leaf(layer.lora.a), wide_leaf(layer.lora.b)};
      y = y + kScale * torch::mm(torch::mm(wide_x * mask, wide.a.t()), wide.b.t());
    }
    layers.push_back(layer);
    wide_pairs.push_back(wide);
    expected.push_back(y);
    directions.push_back(c.used[i] ? torch::randn({kTokens, out}) : Tensor());
  }

  const std::vector<Tensor> found = lora_linear(x, layers, kScale, spec);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_TRUE(all_close(found[i], float32_of(expected[i]), kForward)) << "layer " << i;
  backward_along(found, directions);
  backward_along(expected, directions);
  EXPECT_TRUE(all_close(x.grad(), float32_of(wide_x.grad()), kGradient));
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (!c.adapted[i]) continue;
    SCOPED_TRACE(i);
    if (!c.used[i]) {
      for (const Tensor& t : {layers[i].lora.a, layers[i].lora.b}) {
        EXPECT_TRUE(!t.grad().defined() || t.grad().abs().max().item<float>() == 0);
      }
      continue;
    }
    EXPECT_TRUE(all_close(layers[i].lora.a.grad(), float32_of(wide_pairs[i].a.grad()), kGradient));
    EXPECT_TRUE(all_close(layers[i].lora.b.grad(), float32_of(wide_pairs[i].b.grad()), kGradient));
    EXPECT_FALSE(layers[i].weight.grad().defined()) << "the base is frozen";
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, LoraLinear,
    ::testing::Values(
        LinearCase{"one", {true}, false, 0, {true}},
        LinearCase{"one_dropout", {true}, false, 0.4, {true}},
        LinearCase{"two_dropout", {true, true}, false, 0.3, {true, true}},
        LinearCase{"three_bias", {true, true, true}, true, 0, {true, true, true}},
        LinearCase{"three_bias_dropout", {true, true, true}, true, 0.1, {true, true, true}},
        LinearCase{"middle_plain", {true, false, true}, true, 0.2, {true, true, true}},
        LinearCase{"first_plain", {false, true}, false, 0, {true, true}},
        LinearCase{"no_adapter", {false, false, false}, true, 0.5, {true, true, true}},
        LinearCase{"unused_result", {true, true, true}, false, 0, {true, false, true}}),
    [](const auto& param) { return param.param.name; });

using LoraLinearNode = AutogradNodes;

TEST_F(LoraLinearNode, FrozenAdapterGetsNoGradientAndPassesItOn) {
  const Tensor x = leaf({4, 6}), a = torch::randn({2, 6}), b = torch::randn({5, 2}),
               w = torch::randn({5, 6}), direction = torch::randn({4, 5});
  backward_along(lora_linear(x, {{w, {}, {a, b}}}, 0.5, {}), {direction});
  EXPECT_TRUE(all_close(x.grad(), torch::mm(direction, w + 0.5 * torch::mm(b, a)), kGradient));
  EXPECT_FALSE(a.grad().defined());
  EXPECT_FALSE(b.grad().defined());
}

TEST_F(LoraLinearNode, TrainsTheAdapterWhereTheInputNeedsNoGradient) {
  const Tensor x = torch::randn({4, 6}), w = torch::randn({5, 6}), direction = torch::randn({4, 5});
  const Tensor a = leaf({2, 6}), b = leaf({5, 2});
  backward_along(lora_linear(x, {{w, {}, {a, b}}}, 0.5, {}), {direction});
  EXPECT_TRUE(
      all_close(b.grad(), 0.5 * torch::mm(direction.t(), torch::mm(x, a.detach().t())), kGradient));
  EXPECT_TRUE(
      all_close(a.grad(), 0.5 * torch::mm(torch::mm(direction, b.detach()).t(), x), kGradient));
}

TEST_F(LoraLinearNode, BackwardDropsWhatForwardDropped) {
  // Without the frozen product, an element of x that was dropped cannot matter to the result.
  const DropoutSpec spec{0.5, 3};
  const Tensor x = leaf({8, 16});
  const Tensor y =
      lora_linear(x, {{torch::zeros({4, 16}), {}, {leaf({3, 16}), leaf({4, 3})}}}, 1.0, spec)[0];
  y.sum().backward();
  const Tensor kept = apply_dropout(torch::ones({8, 16}), spec) != 0;
  EXPECT_TRUE(torch::equal(x.grad() != 0, kept));
}

/// Gradients of the leaves that `input` comes from and of A and B of a layer over it.
std::vector<Tensor> gradients_over(const LinearInput& input, std::vector<Tensor> leaves,
                                   const Tensor& w) {
  const Tensor a = leaf({3, w.size(1)}), b = leaf({w.size(0), 3});
  const Tensor y = lora_linear(input, {{w, {}, {a, b}}}, 0.5, {0.3, 11})[0];
  leaves.insert(leaves.end(), {a, b});
  return torch::autograd::grad({y.square().sum()}, leaves);
}

TEST_F(LoraLinearNode, AnInputMadeAgainGivesTheBitsOfOneKept) {
  const Tensor w = torch::randn({5, 16});
  const Tensor gate = leaf({9, 16}), up = leaf({9, 16});
  const auto swiglu_again = [](const std::vector<Tensor>& s) { return swiglu(s[0], s[1]); };
  const Tensor weight = torch::randn({16});
  const auto normed_from = [](const std::vector<Tensor>& s) {
    return normed_again(s[0], s[1], s[2]);
  };
  torch::manual_seed(3);
  const std::vector<Tensor> swiglu_kept = gradients_over(swiglu(gate, up), {gate, up}, w);
  torch::manual_seed(3);
  const std::vector<Tensor> swiglu_made =
      gradients_over({swiglu(gate, up), {gate, up}, swiglu_again}, {gate, up}, w);
  torch::manual_seed(3);
  const NormedResidual n = add_rms_norm(gate, up, weight, 1e-5);
  const std::vector<Tensor> norm_kept = gradients_over(n.normed, {gate, up}, w);
  torch::manual_seed(3);
  const NormedResidual m = add_rms_norm(gate, up, weight, 1e-5);
  const std::vector<Tensor> norm_made =
      gradients_over({m.normed, {m.residual, m.rstd, weight}, normed_from}, {gate, up}, w);
  for (std::size_t i = 0; i < swiglu_kept.size(); ++i) {
    EXPECT_TRUE(torch::equal(swiglu_made[i], swiglu_kept[i])) << i;
    EXPECT_TRUE(torch::equal(norm_made[i], norm_kept[i])) << i;
  }
}

TEST_F(LoraLinearNode, AnInputMadeAgainIsNotKept) {
  Tensor x = leaf({4, 6}) * 2;
  const c10::weak_intrusive_ptr<c10::TensorImpl> watched(x.getIntrusivePtr());
  const Tensor source = x.detach().clone();
  const auto copy = [](const std::vector<Tensor>& s) { return s[0].clone(); };
  const auto y = lora_linear({x, {source}, copy},
                             {{torch::randn({5, 6}), {}, {leaf({2, 6}), leaf({5, 2})}}}, 1.0, {});
  x = Tensor();
  EXPECT_TRUE(watched.expired());
  EXPECT_TRUE(y[0].requires_grad());
}

TEST_F(LoraLinearNode, Bfloat16StaysNearFloat32) {
  const DropoutSpec spec{0.2, 5};
  const Tensor x = torch::randn({32, 24}).to(torch::kBFloat16),
               w = torch::randn({16, 24}).to(torch::kBFloat16);
  const Tensor a = leaf({4, 24}), b = leaf({16, 4}), direction = torch::randn({32, 16});
  const Tensor narrow_x = x.clone().set_requires_grad(true),
               wide_x = x.to(torch::kFloat32).set_requires_grad(true);
  const Tensor wide_a = a.detach().clone().set_requires_grad(true),
               wide_b = b.detach().clone().set_requires_grad(true);
  const Tensor found = lora_linear(narrow_x, {{w, {}, {a, b}}}, 2.0, spec)[0];
  const Tensor expected =
      lora_linear(wide_x, {{w.to(torch::kFloat32), {}, {wide_a, wide_b}}}, 2.0, spec)[0];
  EXPECT_EQ(found.dtype(), torch::kBFloat16);
  EXPECT_LE(relative_error(found, expected), 0.02);
  backward_along({found}, {direction});
  backward_along({expected}, {direction});
  EXPECT_EQ(a.grad().dtype(), torch::kFloat32) << "masters and their gradients are float32";
  EXPECT_GE(cosine(a.grad(), wide_a.grad()), 0.999);
  EXPECT_GE(cosine(b.grad(), wide_b.grad()), 0.999);
  EXPECT_GE(cosine(narrow_x.grad(), wide_x.grad()), 0.999);
}

// ---- dropout ------------------------------------------------------------------------------------

using Dropout = AutogradNodes;

TEST_F(Dropout, KeepsItsShareAndScalesWhatItKeeps) {
  for (const double p : {0.1, 0.5, 0.9}) {
    const std::int64_t count = 200'000;
    const Tensor y = apply_dropout(torch::ones({count}), {p, 11});
    const Tensor kept = y != 0;
    EXPECT_TRUE(all_close(y.masked_select(kept),
                          torch::full({kept.sum().item<std::int64_t>()}, 1 / (1 - p)), 1e-4))
        << "the probability is a multiple of 2^-16";
    const double share = kept.to(torch::kFloat64).mean().item<double>();
    const double deviation = std::sqrt(p * (1 - p) / static_cast<double>(count));
    EXPECT_NEAR(share, 1 - p, 5 * deviation) << p;
  }
}

TEST_F(Dropout, NeighboursAreDroppedIndependently) {
  const Tensor kept = (apply_dropout(torch::ones({400, 500}), {0.5, 12}) != 0).to(torch::kFloat64);
  const auto both = [&](std::int64_t dim) {
    const std::int64_t size = kept.size(dim) - 1;
    return (kept.narrow(dim, 0, size) * kept.narrow(dim, 1, size)).mean().item<double>();
  };
  EXPECT_NEAR(both(0), 0.25, 0.006);
  EXPECT_NEAR(both(1), 0.25, 0.006);
}

TEST_F(Dropout, IsAFunctionOfTheSeed) {
  const Tensor x = torch::randn({64, 33});
  EXPECT_TRUE(torch::equal(apply_dropout(x, {0.3, 1}), apply_dropout(x, {0.3, 1})));
  const Tensor first = apply_dropout(x, {0.3, 1}) != 0, second = apply_dropout(x, {0.3, 2}) != 0;
  // Independent masks agree on 0.7² + 0.3² of the elements.
  EXPECT_NEAR((first == second).to(torch::kFloat64).mean().item<double>(), 0.58, 0.06);
}

TEST_F(Dropout, IsTheIdentityWhereItIsOff) {
  const Tensor x = torch::randn({3, 4});
  EXPECT_TRUE(torch::equal(apply_dropout(x, {}), x));
}

TEST_F(Dropout, GradientUsesTheMaskOfTheForwardPass) {
  for (const torch::Dtype dtype : {torch::kFloat32, torch::kBFloat16}) {
    const Tensor grad = torch::randn({17, 31}).to(dtype), start = torch::randn({17, 31}).to(dtype);
    Tensor target = start.clone();
    accumulate_dropout(target, grad, {0.4, 8});
    EXPECT_LE(relative_error(target, start + apply_dropout(grad, {0.4, 8})),
              dtype == torch::kFloat32 ? 1e-6 : 1e-2);
  }
}

// ---- RMSNorm and SwiGLU -------------------------------------------------------------------------

using AddRmsNorm = AutogradNodes;

TEST_F(AddRmsNorm, EqualsPlainAutograd) {
  constexpr double kEps = 1e-5;
  for (const std::int64_t width : {8, 32, 37, 130}) {
    for (const bool with_delta : {true, false}) {
      for (const int outputs :
           {1, 2, 3}) {  // bit 0: the residual reaches the loss; bit 1: the norm
        SCOPED_TRACE(::testing::Message() << width << " " << with_delta << " " << outputs);
        const Tensor x = leaf({6, width}, 2), delta = with_delta ? leaf({6, width}) : Tensor(),
                     w = torch::randn({width});
        const Tensor wide_x = wide_leaf(x), wide_delta = wide_leaf(delta);
        const Tensor r = with_delta ? wide_x + wide_delta : wide_x * 1;
        const Tensor y = w.to(torch::kFloat64) * r * torch::rsqrt(r.square().mean(-1, true) + kEps);
        const auto [residual, normed, rstd] = add_rms_norm(x, delta, w, kEps);
        EXPECT_TRUE(all_close(residual, float32_of(r), kForward));
        EXPECT_TRUE(all_close(normed, float32_of(y), kForward));
        const std::vector<Tensor> directions = {
            (outputs & 1) != 0 ? torch::randn({6, width}) : Tensor(),
            (outputs & 2) != 0 ? torch::randn({6, width}) : Tensor()};
        backward_along({residual, normed}, directions);
        backward_along({r, y}, directions);
        EXPECT_TRUE(all_close(x.grad(), float32_of(wide_x.grad()), kGradient));
        if (with_delta) {
          EXPECT_TRUE(all_close(delta.grad(), float32_of(wide_delta.grad()), kGradient));
        }
      }
    }
  }
}

TEST_F(AddRmsNorm, TheNormIsMadeAgainToTheBits) {
  for (const torch::Dtype dtype : {torch::kFloat32, torch::kBFloat16}) {
    const Tensor x = torch::randn({6, 37}).to(dtype), w = torch::randn({37}).to(dtype);
    const NormedResidual n = add_rms_norm(x, {}, w, 1e-5);
    EXPECT_TRUE(torch::equal(normed_again(n.residual, n.rstd, w), n.normed));
    EXPECT_FALSE(n.rstd.requires_grad());
  }
}

TEST_F(AddRmsNorm, ARowOfZerosStaysFinite) {
  const Tensor x = torch::zeros({2, 16}).set_requires_grad(true);
  const Tensor y = add_rms_norm(x, {}, torch::ones({16}), 1e-5).normed;
  y.sum().backward();
  EXPECT_TRUE(torch::equal(y.detach(), torch::zeros({2, 16})));
  EXPECT_TRUE(torch::isfinite(x.grad()).all().item<bool>());
}

TEST_F(AddRmsNorm, Bfloat16ComputesTheNormInFloat32) {
  const Tensor x = (100 * torch::randn({5, 64})).to(torch::kBFloat16),
               w = torch::randn({64}).to(torch::kBFloat16);
  const Tensor wide = x.to(torch::kFloat32);
  const Tensor expected =
      w * (wide * torch::rsqrt(wide.square().mean(-1, true) + 1e-5)).to(torch::kBFloat16);
  EXPECT_TRUE(all_close(add_rms_norm(x, {}, w, 1e-5).normed, expected, 8e-3));
}

using Swiglu = AutogradNodes;

TEST_F(Swiglu, EqualsPlainAutograd) {
  for (const std::int64_t width : {1, 16, 51}) {
    const Tensor gate = leaf({7, width}, 4), up = leaf({7, width});
    const Tensor wide_gate = wide_leaf(gate), wide_up = wide_leaf(up);
    const Tensor found = swiglu(gate, up), expected = torch::silu(wide_gate) * wide_up;
    const Tensor direction = torch::randn({7, width});
    backward_along({found}, {direction});
    backward_along({expected}, {direction});
    EXPECT_TRUE(all_close(found, float32_of(expected), kForward));
    EXPECT_TRUE(all_close(gate.grad(), float32_of(wide_gate.grad()), kGradient));
    EXPECT_TRUE(all_close(up.grad(), float32_of(wide_up.grad()), kGradient));
  }
}

TEST_F(Swiglu, StaysFiniteForLargeGates) {
  const Tensor gate = torch::tensor({{-200.0F, -90.0F, 90.0F, 200.0F}}).set_requires_grad(true);
  const Tensor y = swiglu(gate, torch::ones({1, 4}));
  y.sum().backward();
  EXPECT_TRUE(all_close(y, torch::tensor({{0.0F, 0.0F, 90.0F, 200.0F}}), 1e-6));
  EXPECT_TRUE(all_close(gate.grad(), torch::tensor({{0.0F, 0.0F, 1.0F, 1.0F}}), 1e-6));
}

// ---- attention ----------------------------------------------------------------------------------

/// One sequence by the textbook: rotate halves, then scaled_dot_product_attention.
Tensor plain_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                       const AttentionShape& shape, double theta) {
  const std::int64_t length = q.size(0), half = shape.head_dim / 2;
  const Tensor exponents = torch::arange(half, torch::kFloat64) / static_cast<double>(half);
  const Tensor angles =
      torch::arange(length, torch::kFloat64).unsqueeze(1) * torch::pow(theta, -exponents);
  const Tensor cos = torch::cat({angles, angles}, 1).cos(),
               sin = torch::cat({angles, angles}, 1).sin();
  const auto heads = [&](const Tensor& t, std::int64_t count) {  // [count, L, hd]
    return t.view({length, count, shape.head_dim}).transpose(0, 1);
  };
  const auto rotated = [&](const Tensor& t) {
    const Tensor turned = torch::cat({-t.narrow(2, half, half), t.narrow(2, 0, half)}, 2);
    return t * cos + turned * sin;
  };
  const std::int64_t group = shape.num_heads / shape.num_kv_heads;
  const Tensor q_heads = rotated(heads(q, shape.num_heads));
  const Tensor k_heads = rotated(heads(k, shape.num_kv_heads)).repeat_interleave(group, 0);
  const Tensor v_heads = heads(v, shape.num_kv_heads).repeat_interleave(group, 0);
  return at::scaled_dot_product_attention(q_heads, k_heads, v_heads, {}, 0.0, /*is_causal=*/true)
      .transpose(0, 1)
      .reshape({length, shape.num_heads * shape.head_dim});
}

struct AttentionCase {
  std::string name;
  AttentionShape shape;
  std::vector<std::int64_t> lengths;
};

void PrintTo(const AttentionCase& c, std::ostream* out) { *out << c.name; }

class PackedAttention : public AutogradNodes, public ::testing::WithParamInterface<AttentionCase> {
 protected:
  static constexpr double kTheta = 10000.0;
  static RotaryTable rotary(const AttentionShape& shape, const PackedLayout& layout) {
    return rotary_table(rotary_inverse_frequencies({}, shape.head_dim), layout.positions());
  }
  /// q, k, v of so many tokens.
  static std::array<Tensor, 3> random_inputs(const AttentionShape& shape, std::int64_t total) {
    return {leaf({total, shape.num_heads * shape.head_dim}, 2),
            leaf({total, shape.num_kv_heads * shape.head_dim}, 2),
            leaf({total, shape.num_kv_heads * shape.head_dim})};
  }
};

TEST_P(PackedAttention, EqualsEachSequenceAloneByTheTextbook) {
  const auto& [name, shape, lengths] = GetParam();
  const auto layout = std::make_shared<PackedLayout>(lengths, torch::kCPU);
  const auto [q, k, v] = random_inputs(shape, layout->total_tokens());
  const Tensor wide_q = wide_leaf(q), wide_k = wide_leaf(k), wide_v = wide_leaf(v);
  std::vector<Tensor> parts;
  for (std::int64_t n = 0; n < layout->num_sequences(); ++n) {
    const auto rows = [&](const Tensor& t) {
      return t.narrow(0, layout->begin(n), layout->length(n));
    };
    parts.push_back(plain_attention(rows(wide_q), rows(wide_k), rows(wide_v), shape, kTheta));
  }
  const Tensor expected = torch::cat(parts);
  const Tensor found = packed_attention(q, k, v, shape, layout, rotary(shape, *layout));
  EXPECT_TRUE(all_close(found, float32_of(expected), 3e-5));
  const Tensor direction = torch::randn_like(found);
  backward_along({found}, {direction});
  backward_along({expected}, {direction});
  EXPECT_TRUE(all_close(v.grad(), float32_of(wide_v.grad()), 1e-4));
  if (*std::max_element(lengths.begin(), lengths.end()) == 1) {
    // A token alone has all the attention whatever q and k are: their gradients are zero, and what
    // rounding leaves of them is small beside v's.
    EXPECT_EQ(wide_q.grad().abs().max().item<double>(), 0);
    EXPECT_EQ(wide_k.grad().abs().max().item<double>(), 0);
    EXPECT_LT(q.grad().abs().max().item<float>(), 1e-5 * v.grad().abs().max().item<float>());
    EXPECT_LT(k.grad().abs().max().item<float>(), 1e-5 * v.grad().abs().max().item<float>());
    return;
  }
  EXPECT_TRUE(all_close(q.grad(), float32_of(wide_q.grad()), 1e-4));
  EXPECT_TRUE(all_close(k.grad(), float32_of(wide_k.grad()), 1e-4));
}

TEST_P(PackedAttention, ThreadsShareThePairsAndGiveTheSame) {
  const auto& [name, shape, lengths] = GetParam();
  const auto layout = std::make_shared<PackedLayout>(lengths, torch::kCPU);
  const auto [q, k, v] = random_inputs(shape, layout->total_tokens());
  const Tensor direction = torch::randn_like(q);
  const auto results = [&, q = q, k = k, v = v](int threads) {
    torch::set_num_threads(threads);
    const Tensor out = packed_attention(q, k, v, shape, layout, rotary(shape, *layout));
    backward_along({out}, {direction});
    std::vector<Tensor> all{out.detach()};
    for (const Tensor& t : {q, k, v}) {
      all.push_back(t.grad().clone());
      t.mutable_grad().zero_();
    }
    return all;
  };
  const std::vector<Tensor> one = results(1), three = results(3);
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(all_close(three[i], one[i], 1e-5)) << i;
}

TEST_P(PackedAttention, Bfloat16StaysNearFloat32) {
  const auto& [name, shape, lengths] = GetParam();
  const auto layout = std::make_shared<PackedLayout>(lengths, torch::kCPU);
  const std::int64_t total = layout->total_tokens();
  const auto run = [&](const std::vector<Tensor>& qkv, const Tensor& direction) {
    const Tensor out =
        packed_attention(qkv[0], qkv[1], qkv[2], shape, layout, rotary(shape, *layout));
    backward_along({out}, {direction});
    return out;
  };
  std::vector<Tensor> narrow, wide;
  for (const std::int64_t heads : {shape.num_heads, shape.num_kv_heads, shape.num_kv_heads}) {
    narrow.push_back(
        torch::randn({total, heads * shape.head_dim}).to(torch::kBFloat16).set_requires_grad(true));
    wide.push_back(narrow.back().detach().to(torch::kFloat32).set_requires_grad(true));
  }
  const Tensor direction = torch::randn({total, shape.num_heads * shape.head_dim});
  const Tensor found = run(narrow, direction), expected = run(wide, direction);
  EXPECT_EQ(found.dtype(), torch::kBFloat16);
  EXPECT_LE(relative_error(found, expected), 0.02);
  for (std::size_t i = 0; i < 3; ++i) {
    if (expected.size(0) == 1 && i < 2) continue;  // one token sees itself alone: no gradient
    EXPECT_GE(cosine(narrow[i].grad(), wide[i].grad()), 0.99) << i;
  }
}

TEST_P(PackedAttention, KeepsRotatedKeysAndValuesWhereACacheIsGiven) {
  const auto& [name, shape, lengths] = GetParam();
  const torch::NoGradGuard no_grad;
  const auto layout = std::make_shared<PackedLayout>(lengths, torch::kCPU);
  const std::int64_t total = layout->total_tokens(), num = layout->num_sequences();
  const Tensor q = torch::randn({total, shape.num_heads * shape.head_dim}),
               k = torch::randn({total, shape.num_kv_heads * shape.head_dim}),
               v = torch::randn({total, shape.num_kv_heads * shape.head_dim});
  LayerCache cache{torch::zeros({num, shape.num_kv_heads, layout->longest(), shape.head_dim}), {}};
  cache.values = torch::zeros_like(cache.keys);
  const RotaryTable table = rotary(shape, *layout);
  const Tensor with = packed_attention(q, k, v, shape, layout, table, &cache);
  EXPECT_TRUE(torch::equal(with, packed_attention(q, k, v, shape, layout, table)));
  for (std::int64_t n = 0; n < num; ++n) {
    const std::int64_t length = layout->length(n);
    const Tensor values = v.narrow(0, layout->begin(n), length)
                              .view({length, shape.num_kv_heads, shape.head_dim})
                              .transpose(0, 1);
    EXPECT_TRUE(all_close(cache.values[n].narrow(1, 0, length), values, 1e-6));
    // Rotation keeps lengths, and position 0 is not rotated at all.
    const Tensor keys = k.narrow(0, layout->begin(n), length)
                            .view({length, shape.num_kv_heads, shape.head_dim})
                            .transpose(0, 1);
    EXPECT_TRUE(all_close(cache.keys[n].narrow(1, 0, length).norm(2, 2), keys.norm(2, 2), 1e-5));
    EXPECT_TRUE(all_close(cache.keys[n].select(1, 0), keys.select(1, 0), 1e-6));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, PackedAttention,
    ::testing::Values(
        AttentionCase{"one_token", {4, 2, 8}, {1}}, AttentionCase{"length_16", {4, 2, 8}, {16}},
        AttentionCase{"length_17", {4, 2, 8}, {17}}, AttentionCase{"length_130", {4, 2, 8}, {130}},
        AttentionCase{"length_300", {6, 2, 16}, {300}},
        AttentionCase{"all_lengths", {4, 2, 8}, {1, 16, 17, 130, 300}},
        AttentionCase{"like_lengths", {6, 2, 16}, {20, 130, 17, 25, 131, 32, 3, 140, 19}},
        AttentionCase{"many_of_one_length", {4, 2, 8}, std::vector<std::int64_t>(70, 90)},
        AttentionCase{"ranges_begin_at_any_head", {6, 3, 8}, std::vector<std::int64_t>(20, 90)},
        AttentionCase{"no_groups", {3, 3, 8}, {5, 129, 1}},
        AttentionCase{"one_group", {4, 1, 16}, {33, 2, 128}}),
    [](const auto& param) { return param.param.name; });

// ---- rotary -------------------------------------------------------------------------------------

using Rotary = AutogradNodes;

TEST_F(Rotary, LinearScalingDividesThePositions) {
  RopeConfig linear;
  linear.kind = RopeConfig::Kind::kLinear;
  linear.factor = 4;
  const Tensor positions = torch::arange(0, 64, 4);
  const RotaryTable scaled = rotary_table(rotary_inverse_frequencies(linear, 16), positions);
  const RotaryTable plain = rotary_table(rotary_inverse_frequencies({}, 16), positions / 4);
  EXPECT_TRUE(all_close(scaled.cos, plain.cos, 1e-5));
  EXPECT_TRUE(all_close(scaled.sin, plain.sin, 1e-5));
}

TEST_F(Rotary, Llama3KeepsShortWavelengthsAndStretchesLongOnes) {
  RopeConfig rope;
  rope.kind = RopeConfig::Kind::kLlama3;
  rope.theta = 500000;
  rope.factor = 8;
  rope.low_freq_factor = 1;
  rope.high_freq_factor = 4;
  rope.original_max_positions = 8192;
  RopeConfig plain;
  plain.theta = rope.theta;
  const Tensor before = rotary_inverse_frequencies(plain, 64).to(torch::kFloat64),
               after = rotary_inverse_frequencies(rope, 64).to(torch::kFloat64);
  std::int64_t kept = 0, stretched = 0, between = 0;
  for (std::int64_t i = 0; i < 32; ++i) {
    const double old_value = before[i].item<double>(), new_value = after[i].item<double>();
    const double wavelength = 2 * 3.14159265358979323846 / old_value;
    if (wavelength < 8192.0 / 4) {
      EXPECT_NEAR(new_value / old_value, 1, 1e-6) << i;
      ++kept;
    } else if (wavelength > 8192.0) {
      EXPECT_NEAR(new_value / old_value, 1.0 / 8, 1e-6) << i;
      ++stretched;
    } else {
      const double smooth = (8192 / wavelength - 1) / (4 - 1);
      EXPECT_NEAR(new_value / old_value, (1 - smooth) / 8 + smooth, 1e-5) << i;
      ++between;
    }
  }
  EXPECT_GT(kept, 0);
  EXPECT_GT(stretched, 0);
  EXPECT_GT(between, 0);
}

// ---- chunked cross-entropy ----------------------------------------------------------------------

struct EntropyCase {
  std::string name;
  std::int64_t chunk = 256;
  bool tied = true;
};

void PrintTo(const EntropyCase& c, std::ostream* out) { *out << c.name; }

class ChunkedCrossEntropy : public AutogradNodes,
                            public ::testing::WithParamInterface<EntropyCase> {
 protected:
  static constexpr std::int64_t kAnswers = 11, kWidth = 16, kRows = 23, kMemory = 4, kAdded = 7;

  /// Targets in the base rows and in the added ones, the first and the last of both among them.
  static Tensor targets() {
    return torch::tensor({0, 22, 23, 29, 5, 5, 17, 26, 1, 22, 8}, torch::kInt64);
  }
};

TEST_P(ChunkedCrossEntropy, EqualsPlainAutograd) {
  const EntropyCase& c = GetParam();
  const Tensor hidden = leaf({kAnswers, kWidth}), head = torch::randn({kRows, kWidth});
  const Tensor memory = c.tied ? leaf({kMemory, kWidth}) : torch::randn({kMemory, kWidth}),
               fixed = torch::randn({kAdded - kMemory, kWidth});
  const Tensor wide_hidden = wide_leaf(hidden),
               wide_memory = c.tied ? wide_leaf(memory) : memory.to(torch::kFloat64);
  const Tensor rows =
      torch::cat({head.to(torch::kFloat64), wide_memory, fixed.to(torch::kFloat64)});
  const Tensor log_p = torch::log_softmax(torch::mm(wide_hidden, rows.t()), 1);
  const Tensor nll = -log_p.gather(1, targets().unsqueeze(1)).squeeze(1);

  const CrossEntropyResult found =
      chunked_cross_entropy(hidden, head, torch::cat({memory, fixed}), targets(), c.chunk);
  EXPECT_TRUE(all_close(found.nll, float32_of(nll), kForward));
  EXPECT_TRUE(all_close(found.sum, float32_of(nll.sum()), kForward));
  EXPECT_FALSE(found.nll.requires_grad());
  (0.37 * found.sum).backward();
  (0.37 * nll.sum()).backward();
  EXPECT_TRUE(all_close(hidden.grad(), float32_of(wide_hidden.grad()), kGradient));
  if (c.tied) {
    EXPECT_TRUE(all_close(memory.grad(), float32_of(wide_memory.grad()), kGradient));
  } else {
    EXPECT_FALSE(memory.grad().defined());
  }
  EXPECT_FALSE(head.grad().defined());
}

TEST_P(ChunkedCrossEntropy, Bfloat16StaysNearFloat32) {
  const EntropyCase& c = GetParam();
  const Tensor hidden = torch::randn({kAnswers, kWidth}).to(torch::kBFloat16),
               head = torch::randn({kRows, kWidth}).to(torch::kBFloat16);
  const Tensor rows = torch::randn({kAdded, kWidth}).to(torch::kBFloat16).to(torch::kFloat32);
  const Tensor narrow = hidden.clone().set_requires_grad(true),
               wide = hidden.to(torch::kFloat32).set_requires_grad(true);
  const Tensor narrow_rows = rows.clone().set_requires_grad(c.tied),
               wide_rows = rows.clone().set_requires_grad(c.tied);
  const Tensor found = chunked_cross_entropy(narrow, head, narrow_rows, targets(), c.chunk).sum;
  const Tensor expected =
      chunked_cross_entropy(wide, head.to(torch::kFloat32), wide_rows, targets(), c.chunk).sum;
  EXPECT_EQ(found.dtype(), torch::kFloat32);
  EXPECT_LE(relative_error(found, expected), 0.01);
  found.backward();
  expected.backward();
  EXPECT_GE(cosine(narrow.grad(), wide.grad()), 0.999);
  if (c.tied) {
    EXPECT_GE(cosine(narrow_rows.grad(), wide_rows.grad()), 0.999);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, ChunkedCrossEntropy,
    ::testing::Values(EntropyCase{"tied_1", 1, true}, EntropyCase{"tied_3", 3, true},
                      EntropyCase{"tied_256", 256, true}, EntropyCase{"untied_1", 1, false},
                      EntropyCase{"untied_3", 3, false}, EntropyCase{"untied_256", 256, false}),
    [](const auto& param) { return param.param.name; });

using AnswerLogits = AutogradNodes;

TEST_F(AnswerLogits, GiveTheSameLossesAsTheChunkedOnes) {
  const Tensor hidden = torch::randn({6, 8}), head = torch::randn({13, 8}),
               rows = torch::randn({5, 8});
  const Tensor targets = torch::tensor({0, 12, 13, 17, 4, 9}, torch::kInt64);
  const Tensor logits = answer_logits(hidden, head, rows);
  ASSERT_EQ(logits.sizes(), (torch::IntArrayRef{6, 18}));
  const Tensor nll = -torch::log_softmax(logits, 1).gather(1, targets.unsqueeze(1)).squeeze(1);
  EXPECT_TRUE(all_close(chunked_cross_entropy(hidden, head, rows, targets).nll, nll, kForward));
}

TEST_F(AnswerLogits, LargeLogitsDoNotOverflow) {
  // exp(200) is infinite in float32.
  const Tensor hidden = torch::full({1, 4}, 10.0F), head = torch::full({3, 4}, 5.0F);
  const CrossEntropyResult result = chunked_cross_entropy(hidden, head, torch::full({3, 4}, -5.0F),
                                                          torch::tensor({1}, torch::kInt64));
  EXPECT_NEAR(result.sum.item<double>(), std::log(3.0), 1e-4);
}

}  // namespace
}  // namespace clara::testing
