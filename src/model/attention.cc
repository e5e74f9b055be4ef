// On the CPU each (sequence, key-value head) is a task of plain products on blocks of queries,
// which skips most of the masked triangle and beats the fused CPU kernel's backward; elsewhere
// scaled_dot_product_attention picks its kernel.
#include "model/attention.h"

#include <algorithm>
#include <cmath>

#include "model/cpu_kernels.h"
#include "model/plain_attention.h"
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>
#include <torch/nn/functional/activation.h>

namespace clara {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kQueryBlock = 128;
/// Lengths are padded to a multiple of this inside a task, so that few distinct shapes reach the
/// GEMM library, which compiles a kernel for each. Causality hides the padding.
constexpr std::int64_t kLengthMultiple = 16;

std::int64_t padded_length(std::int64_t length) {
  return (length + kLengthMultiple - 1) / kLengthMultiple * kLengthMultiple;
}

struct AttentionPlan : torch::CustomClassHolder {
  AttentionShape shape;
  std::shared_ptr<const PackedLayout> layout;
  std::vector<std::int64_t>
      padded_begin;  // N + 1: where sequence n starts in head-major buffers, in padded rows

  std::int64_t padded(std::int64_t n) const {
    const auto i = static_cast<std::size_t>(n);
    return padded_begin[i + 1] - padded_begin[i];
  }
  std::int64_t padded_total() const { return padded_begin.back(); }
  double score_scale() const { return 1.0 / std::sqrt(static_cast<double>(shape.head_dim)); }
  /// Sequence n's heads [heads, padded, hd] inside a flat buffer that holds all sequences.
  Tensor heads_of(const Tensor& flat, std::int64_t n, std::int64_t heads) const {
    const std::int64_t start = padded_begin[static_cast<std::size_t>(n)] * heads * shape.head_dim;
    return flat.narrow(0, start, padded(n) * heads * shape.head_dim)
        .view({heads, padded(n), shape.head_dim});
  }
};

c10::intrusive_ptr<AttentionPlan> make_plan(const AttentionShape& shape,
                                            const std::shared_ptr<const PackedLayout>& layout) {
  auto plan = c10::make_intrusive<AttentionPlan>();
  plan->shape = shape;
  plan->layout = layout;
  plan->padded_begin.push_back(0);
  for (std::int64_t n = 0; n < layout->num_sequences(); ++n) {
    plan->padded_begin.push_back(plan->padded_begin.back() + padded_length(layout->length(n)));
  }
  return plan;
}

/// Calls `task(sequence, kv_head)` for all pairs on the intra-op threads, longest sequences spread
/// evenly.
template <typename F>
void for_each_kv_head(const AttentionPlan& plan, F task) {
  const std::int64_t kv_heads = plan.shape.num_kv_heads;
  at::parallel_for(0, plan.layout->num_sequences() * kv_heads, 1,
                   [&](std::int64_t begin, std::int64_t end) {
                     const at::NoGradGuard no_grad;
                     for (std::int64_t i = begin; i < end; ++i) task(i / kv_heads, i % kv_heads);
                   });
}

template <typename F>
void for_each_sequence(const AttentionPlan& plan, F task) {
  at::parallel_for(0, plan.layout->num_sequences(), 1, [&](std::int64_t begin, std::int64_t end) {
    const at::NoGradGuard no_grad;
    for (std::int64_t n = begin; n < end; ++n) task(n);
  });
}

/// A block of queries of one key-value head: `rows` [G·block, hd] of all G heads of the group.
struct QueryBlock {
  std::int64_t first;    // first query's position
  std::int64_t size;     // queries in the block
  std::int64_t columns;  // keys that any of them may see
};

std::vector<QueryBlock> query_blocks(std::int64_t padded) {
  std::vector<QueryBlock> blocks;
  for (std::int64_t first = 0; first < padded; first += kQueryBlock) {
    const std::int64_t size = std::min(kQueryBlock, padded - first);
    blocks.push_back({first, size, first + size});
  }
  return blocks;
}

/// Rows of a block for the G query heads that share a key-value head: a view where one block holds
/// the whole sequence.
Tensor block_rows(const Tensor& heads_GPd, const QueryBlock& block) {
  return heads_GPd.narrow(1, block.first, block.size).reshape({-1, heads_GPd.size(2)});
}

Tensor block_probabilities(const Tensor& q_rows, const Tensor& keys, const QueryBlock& block,
                           std::int64_t group) {
  Tensor scores = torch::mm(q_rows, keys.narrow(0, 0, block.columns).t());
  for (std::int64_t g = 0; g < group; ++g) {
    Tensor rows = scores.narrow(0, g * block.size, block.size);
    cpu::causal_softmax(rows, block.first);
  }
  return scores;
}

/// Itself, if its rows are dense (they may lie apart: parts of a fused projection do), or a copy.
Tensor with_dense_rows(const Tensor& x) { return x.stride(1) == 1 ? x : x.contiguous(); }

class PackedAttentionNode : public torch::autograd::Function<PackedAttentionNode> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& q_in, const Tensor& k_in,
                        const Tensor& v_in, const Tensor& cos, const Tensor& sin,
                        const c10::intrusive_ptr<AttentionPlan>& plan, LayerCache* cache) {
    const Tensor q_TD = with_dense_rows(q_in.detach()), k_TD = with_dense_rows(k_in.detach()),
                 v_TD = with_dense_rows(v_in.detach());
    const AttentionShape& shape = plan->shape;
    const PackedLayout& layout = *plan->layout;
    const std::int64_t group = shape.num_heads / shape.num_kv_heads;
    const std::int64_t rows = plan->padded_total() * shape.head_dim;
    const Tensor q = torch::empty({rows * shape.num_heads}, q_TD.options());
    const Tensor k = torch::empty({rows * shape.num_kv_heads}, q_TD.options());
    const Tensor v = torch::empty({rows * shape.num_kv_heads}, q_TD.options());
    Tensor out =
        torch::empty({layout.total_tokens(), shape.num_heads * shape.head_dim}, q_TD.options());
    for_each_sequence(*plan, [&](std::int64_t n) {
      const std::int64_t begin = layout.begin(n), length = layout.length(n),
                         padded = plan->padded(n);
      const Tensor cos_n = cos.narrow(0, begin, length), sin_n = sin.narrow(0, begin, length);
      Tensor q_n = plan->heads_of(q, n, shape.num_heads),
             k_n = plan->heads_of(k, n, shape.num_kv_heads);
      Tensor v_n = plan->heads_of(v, n, shape.num_kv_heads);
      cpu::split_heads(q_TD.narrow(0, begin, length), shape.num_heads, padded, cos_n, sin_n,
                       plan->score_scale(), q_n);
      cpu::split_heads(k_TD.narrow(0, begin, length), shape.num_kv_heads, padded, cos_n, sin_n, 1.0,
                       k_n);
      cpu::split_heads(v_TD.narrow(0, begin, length), shape.num_kv_heads, padded, {}, {}, 1.0, v_n);
      if (cache != nullptr) {
        cache->keys.select(0, n).narrow(1, 0, length).copy_(k_n.narrow(1, 0, length));
        cache->values.select(0, n).narrow(1, 0, length).copy_(v_n.narrow(1, 0, length));
      }
    });
    for_each_kv_head(*plan, [&](std::int64_t n, std::int64_t kv) {
      const Tensor q_group = plan->heads_of(q, n, shape.num_heads).narrow(0, kv * group, group);
      const Tensor keys = plan->heads_of(k, n, shape.num_kv_heads)[kv],
                   values = plan->heads_of(v, n, shape.num_kv_heads)[kv];
      Tensor result = torch::empty_like(q_group);
      for (const QueryBlock& block : query_blocks(plan->padded(n))) {
        const Tensor p = block_probabilities(block_rows(q_group, block), keys, block, group);
        result.narrow(1, block.first, block.size)
            .copy_(torch::mm(p, values.narrow(0, 0, block.columns))
                       .view({group, block.size, shape.head_dim}));
      }
      Tensor place = out.narrow(0, layout.begin(n), layout.length(n))
                         .narrow(1, kv * group * shape.head_dim, group * shape.head_dim);
      cpu::merge_heads(result, layout.length(n), {}, {}, 1.0, place);
    });
    ctx->save_for_backward({q, k, v, cos, sin});
    ctx->saved_data["plan"] = c10::IValue::make_capsule(plan);
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& d_outputs) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor q = saved[0].detach(), k = saved[1].detach(), v = saved[2].detach();
    const Tensor &cos = saved[3], &sin = saved[4];
    const auto plan =
        c10::static_intrusive_pointer_cast<AttentionPlan>(ctx->saved_data["plan"].toCapsule());
    const AttentionShape& shape = plan->shape;
    const PackedLayout& layout = *plan->layout;
    const std::int64_t group = shape.num_heads / shape.num_kv_heads;
    const Tensor d_out = d_outputs[0].detach().contiguous();
    Tensor dq =
        torch::empty({layout.total_tokens(), shape.num_heads * shape.head_dim}, d_out.options());
    Tensor dk =
        torch::empty({layout.total_tokens(), shape.num_kv_heads * shape.head_dim}, d_out.options());
    Tensor dv = torch::empty_like(dk);
    for_each_kv_head(*plan, [&](std::int64_t n, std::int64_t kv) {
      const std::int64_t begin = layout.begin(n), length = layout.length(n),
                         padded = plan->padded(n);
      const Tensor q_group = plan->heads_of(q, n, shape.num_heads).narrow(0, kv * group, group);
      const Tensor keys = plan->heads_of(k, n, shape.num_kv_heads)[kv],
                   values = plan->heads_of(v, n, shape.num_kv_heads)[kv];
      Tensor d_group = torch::empty_like(q_group), dq_group = torch::empty_like(q_group);
      cpu::split_heads(d_out.narrow(0, begin, length)
                           .narrow(1, kv * group * shape.head_dim, group * shape.head_dim),
                       group, padded, {}, {}, 1.0, d_group);
      // Blocks run from the last to the first, whose keys are a prefix of the last's: the largest
      // one starts the sums.
      Tensor dk_n, dv_n;
      const std::vector<QueryBlock> blocks = query_blocks(padded);
      for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
        const Tensor q_rows = block_rows(q_group, *block), d_rows = block_rows(d_group, *block);
        const Tensor p = block_probabilities(q_rows, keys, *block, group);
        Tensor ds = torch::mm(d_rows, values.narrow(0, 0, block->columns).t());
        for (std::int64_t g = 0; g < group; ++g) {
          Tensor rows = ds.narrow(0, g * block->size, block->size);
          cpu::softmax_backward(p.narrow(0, g * block->size, block->size), rows, block->first);
        }
        dq_group.narrow(1, block->first, block->size)
            .copy_(torch::mm(ds, keys.narrow(0, 0, block->columns))
                       .view({group, block->size, shape.head_dim}));
        if (!dk_n.defined()) {
          dk_n = torch::mm(ds.t(), q_rows);
          dv_n = torch::mm(p.t(), d_rows);
        } else {
          dk_n.narrow(0, 0, block->columns).addmm_(ds.t(), q_rows);
          dv_n.narrow(0, 0, block->columns).addmm_(p.t(), d_rows);
        }
      }
      const Tensor cos_n = cos.narrow(0, begin, length), sin_n = sin.narrow(0, begin, length);
      const auto columns = [&](Tensor& into, std::int64_t heads) {
        return into.narrow(0, begin, length)
            .narrow(1, kv * heads * shape.head_dim, heads * shape.head_dim);
      };
      Tensor dq_place = columns(dq, group), dk_place = columns(dk, 1), dv_place = columns(dv, 1);
      cpu::merge_heads(dq_group, length, cos_n, sin_n, plan->score_scale(), dq_place);
      cpu::merge_heads(dk_n.unsqueeze(0), length, cos_n, sin_n, 1.0, dk_place);
      cpu::merge_heads(dv_n.unsqueeze(0), length, {}, {}, 1.0, dv_place);
    });
    return {dq, dk, dv, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor packed_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionShape& shape,
                        const std::shared_ptr<const PackedLayout>& layout,
                        const RotaryTable& rotary, LayerCache* cache) {
  if (!cpu::take(q)) return padded_attention(q, k, v, shape, *layout, rotary, cache);
  return PackedAttentionNode::apply(q, k, v, rotary.cos, rotary.sin, make_plan(shape, layout),
                                    cache);
}

Tensor cached_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionShape& shape, const Tensor& positions, std::int64_t longest,
                        const RotaryTable& rotary, LayerCache& cache) {
  const std::int64_t num = q.size(0), group = shape.num_heads / shape.num_kv_heads;
  const Tensor rows = torch::arange(num, positions.options());
  const Tensor q_heads = rotate_heads(q.view({num, shape.num_heads, shape.head_dim}), rotary);
  cache.keys.index_put_({rows, torch::indexing::Slice(), positions},
                        rotate_heads(k.view({num, shape.num_kv_heads, shape.head_dim}), rotary));
  cache.values.index_put_({rows, torch::indexing::Slice(), positions},
                          v.view({num, shape.num_kv_heads, shape.head_dim}));
  const Tensor keys = cache.keys.narrow(2, 0, longest), values = cache.values.narrow(2, 0, longest);
  const Tensor grouped = q_heads.view({num, shape.num_kv_heads, group, shape.head_dim});
  Tensor scores = torch::matmul(grouped, keys.transpose(2, 3)).to(torch::kFloat32) /
                  std::sqrt(static_cast<double>(shape.head_dim));
  const Tensor hidden = torch::arange(longest, positions.options()).unsqueeze(0) >
                        positions.unsqueeze(1);  // [N, longest]
  scores.masked_fill_(hidden.view({num, 1, 1, longest}), -std::numeric_limits<double>::infinity());
  return torch::matmul(scores.softmax(-1).to(q.dtype()), values)
      .reshape({num, shape.num_heads * shape.head_dim});
}

}  // namespace clara
