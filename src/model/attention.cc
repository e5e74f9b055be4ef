// On the CPU attention is plain products on blocks of queries, which skips most of the masked
// triangle and beats the fused CPU kernel's backward; (sequence, key-value head) pairs of the same
// padded length share batched products, so that short sequences do not cost a call each. Elsewhere
// scaled_dot_product_attention picks its kernel.
#include "model/attention.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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
/// Lengths are padded to a multiple of this, so that few distinct shapes reach the GEMM library,
/// which compiles a kernel for each, and sequences of like length share products. Causality hides
/// the padding.
constexpr std::int64_t kLengthMultiple = 16;
/// Scores that one batched product should not exceed, so that they stay in the cache of their core
/// (a single pair may).
constexpr std::int64_t kScoresAtATime = 1 << 19;

std::int64_t padded_length(std::int64_t length) {
  return (length + kLengthMultiple - 1) / kLengthMultiple * kLengthMultiple;
}

/// Pairs of a sequence and a key-value head that lie side by side in head-major buffers and have
/// the same padded length. Pair i is head i % Hkv of the (i / Hkv)-th sequence by padded length.
struct PairRange {
  std::int64_t first = 0, count = 0;
  std::int64_t padded = 0;
};

/// Where the sequences lie in head-major buffers: ordered by padded length, [H, padded, hd] each.
struct AttentionPlan : torch::CustomClassHolder {
  AttentionShape shape;
  std::shared_ptr<const PackedLayout> layout;
  std::vector<std::int64_t> by_length;            // the sequence at each place
  std::vector<std::int64_t> padded_begin;         // N + 1: where each place starts, in padded rows
  std::vector<std::vector<PairRange>> of_thread;  // which pairs each thread takes, even in work

  std::int64_t group() const { return shape.num_heads / shape.num_kv_heads; }
  std::int64_t sequence_at(std::int64_t place) const {
    return by_length[static_cast<std::size_t>(place)];
  }
  std::int64_t padded(std::int64_t place) const {
    const auto i = static_cast<std::size_t>(place);
    return padded_begin[i + 1] - padded_begin[i];
  }
  std::int64_t padded_total() const { return padded_begin.back(); }
  double score_scale() const { return 1.0 / std::sqrt(static_cast<double>(shape.head_dim)); }
  /// The heads [heads, padded, hd] of the sequence at `place` inside a flat buffer of all.
  Tensor heads_of(const Tensor& flat, std::int64_t place, std::int64_t heads) const {
    const std::int64_t start =
        padded_begin[static_cast<std::size_t>(place)] * heads * shape.head_dim;
    return flat.narrow(0, start, padded(place) * heads * shape.head_dim)
        .view({heads, padded(place), shape.head_dim});
  }
  /// The pairs' heads [pairs, heads a pair, padded, hd] inside such a buffer.
  Tensor pairs_of(const Tensor& flat, const PairRange& range, std::int64_t heads_a_pair) const {
    const std::int64_t place = range.first / shape.num_kv_heads,
                       head = range.first % shape.num_kv_heads,
                       matrix = heads_a_pair * range.padded * shape.head_dim;
    const std::int64_t start = padded_begin[static_cast<std::size_t>(place)] * heads_a_pair *
                                   shape.num_kv_heads * shape.head_dim +
                               head * matrix;
    return flat.narrow(0, start, range.count * matrix)
        .view({range.count, heads_a_pair, range.padded, shape.head_dim});
  }
};

/// All pairs, in ranges of one padded length that keep all threads busy and their scores in the
/// cache, longest first.
std::vector<PairRange> pair_ranges(const AttentionPlan& plan, std::int64_t threads) {
  std::vector<PairRange> ranges;
  const std::int64_t num = plan.layout->num_sequences(), kv_heads = plan.shape.num_kv_heads;
  for (std::int64_t begin = 0, end = 0; begin < num; begin = end) {
    const std::int64_t padded = plan.padded(begin);
    while (end < num && plan.padded(end) == padded) ++end;
    const std::int64_t pairs = (end - begin) * kv_heads, last = end * kv_heads,
                       scores = plan.group() * std::min(padded, kQueryBlock) * padded,
                       at_most = std::min(std::max<std::int64_t>(1, kScoresAtATime / scores),
                                          (pairs + threads - 1) / threads);
    for (std::int64_t first = begin * kv_heads; first < last; first += at_most)
      ranges.push_back({first, std::min(at_most, last - first), padded});
  }
  return ranges;
}

/// Ranges come longest first: each goes to the thread that has least to do.
std::vector<std::vector<PairRange>> dealt_to_threads(const std::vector<PairRange>& ranges,
                                                     std::int64_t threads) {
  std::vector<std::vector<PairRange>> of_thread(static_cast<std::size_t>(threads));
  std::vector<std::int64_t> work(of_thread.size());
  for (const PairRange& range : ranges) {
    const auto least = std::min_element(work.begin(), work.end());
    *least += range.count * range.padded * (range.padded + kQueryBlock);
    of_thread[static_cast<std::size_t>(least - work.begin())].push_back(range);
  }
  // Of few ranges each has a thread of its own, and the threads behind them have none.
  of_thread.resize(std::min(of_thread.size(), ranges.size()));
  return of_thread;
}

c10::intrusive_ptr<AttentionPlan> make_plan(const AttentionShape& shape,
                                            const std::shared_ptr<const PackedLayout>& layout) {
  auto plan = c10::make_intrusive<AttentionPlan>();
  plan->shape = shape;
  plan->layout = layout;
  const std::int64_t num = layout->num_sequences(),
                     threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  plan->by_length.resize(static_cast<std::size_t>(num));
  std::iota(plan->by_length.begin(), plan->by_length.end(), 0);
  std::stable_sort(plan->by_length.begin(), plan->by_length.end(),
                   [&](std::int64_t a, std::int64_t b) {
                     return padded_length(layout->length(a)) > padded_length(layout->length(b));
                   });
  plan->padded_begin.push_back(0);
  for (std::int64_t n : plan->by_length)
    plan->padded_begin.push_back(plan->padded_begin.back() + padded_length(layout->length(n)));
  plan->of_thread = dealt_to_threads(pair_ranges(*plan, threads), threads);
  return plan;
}

/// Calls `task(range)` for all ranges on the intra-op threads.
template <typename F>
void for_each_range(const AttentionPlan& plan, F task) {
  at::parallel_for(0, static_cast<std::int64_t>(plan.of_thread.size()), 1,
                   [&](std::int64_t begin, std::int64_t end) {
                     const at::NoGradGuard no_grad;
                     for (std::int64_t i = begin; i < end; ++i) {
                       for (const PairRange& range : plan.of_thread[static_cast<std::size_t>(i)])
                         task(range);
                     }
                   });
}

/// Calls `task(place)` for all sequences on the intra-op threads, which take turns: places are
/// ordered by length.
template <typename F>
void for_each_place(const AttentionPlan& plan, F task) {
  const std::int64_t num = plan.layout->num_sequences(),
                     stride = std::min<std::int64_t>(num, at::get_num_threads());
  at::parallel_for(0, stride, 1, [&](std::int64_t begin, std::int64_t end) {
    const at::NoGradGuard no_grad;
    for (std::int64_t first = begin; first < end; ++first) {
      for (std::int64_t place = first; place < num; place += stride) task(place);
    }
  });
}

/// Where a pair's `heads` heads stand among the tokens: [length, heads·hd] of [T, Hkv·heads·hd].
Tensor tokens_of_pair(const Tensor& all, const AttentionPlan& plan, std::int64_t pair,
                      std::int64_t heads) {
  const std::int64_t n = plan.sequence_at(pair / plan.shape.num_kv_heads),
                     kv = pair % plan.shape.num_kv_heads, width = heads * plan.shape.head_dim;
  return all.narrow(0, plan.layout->begin(n), plan.layout->length(n)).narrow(1, kv * width, width);
}

/// Queries of all pairs of a range that are looked at together.
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

/// Rows [pairs, G·size, hd] of a block for the G query heads that share a key-value head: a view
/// where one block holds the whole sequence.
Tensor block_rows(const Tensor& heads_BGPd, const QueryBlock& block) {
  return heads_BGPd.narrow(2, block.first, block.size)
      .reshape({heads_BGPd.size(0), -1, heads_BGPd.size(3)});
}

/// Keys or values [pairs, columns, hd] that a block sees, transposed.
Tensor transposed_columns(const Tensor& x_BPd, const QueryBlock& block) {
  return x_BPd.narrow(1, 0, block.columns).transpose(1, 2);
}

Tensor block_probabilities(const Tensor& q_rows, const Tensor& keys, const QueryBlock& block) {
  Tensor scores = torch::bmm(q_rows, transposed_columns(keys, block));
  cpu::causal_softmax(scores, block.first, block.size);
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
    const std::int64_t group = plan->group();
    const std::int64_t rows = plan->padded_total() * shape.head_dim;
    const Tensor q = torch::empty({rows * shape.num_heads}, q_TD.options());
    const Tensor k = torch::empty({rows * shape.num_kv_heads}, q_TD.options());
    const Tensor v = torch::empty({rows * shape.num_kv_heads}, q_TD.options());
    Tensor out =
        torch::empty({layout.total_tokens(), shape.num_heads * shape.head_dim}, q_TD.options());
    for_each_place(*plan, [&](std::int64_t place) {
      const std::int64_t n = plan->sequence_at(place), begin = layout.begin(n),
                         length = layout.length(n), padded = plan->padded(place);
      const Tensor cos_n = cos.narrow(0, begin, length), sin_n = sin.narrow(0, begin, length);
      Tensor q_n = plan->heads_of(q, place, shape.num_heads),
             k_n = plan->heads_of(k, place, shape.num_kv_heads),
             v_n = plan->heads_of(v, place, shape.num_kv_heads);
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
    for_each_range(*plan, [&](const PairRange& range) {
      const Tensor queries = plan->pairs_of(q, range, group),
                   keys = plan->pairs_of(k, range, 1).squeeze(1),
                   values = plan->pairs_of(v, range, 1).squeeze(1);
      const std::vector<QueryBlock> blocks = query_blocks(range.padded);
      Tensor result = blocks.size() == 1 ? Tensor() : torch::empty_like(queries);
      for (const QueryBlock& block : blocks) {
        const Tensor p = block_probabilities(block_rows(queries, block), keys, block);
        const Tensor part = torch::bmm(p, values.narrow(1, 0, block.columns))
                                .view({range.count, group, block.size, shape.head_dim});
        if (result.defined()) {
          result.narrow(2, block.first, block.size).copy_(part);
        } else {
          result = part;
        }
      }
      for (std::int64_t i = 0; i < range.count; ++i) {
        Tensor place = tokens_of_pair(out, *plan, range.first + i, group);
        cpu::merge_heads(result.select(0, i), place.size(0), {}, {}, 1.0, place);
      }
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
    const std::int64_t group = plan->group();
    const Tensor d_out = d_outputs[0].detach().contiguous();
    Tensor dq =
        torch::empty({layout.total_tokens(), shape.num_heads * shape.head_dim}, d_out.options());
    Tensor dk =
        torch::empty({layout.total_tokens(), shape.num_kv_heads * shape.head_dim}, d_out.options());
    Tensor dv = torch::empty_like(dk);
    for_each_range(*plan, [&](const PairRange& range) {
      const Tensor queries = plan->pairs_of(q, range, group),
                   keys = plan->pairs_of(k, range, 1).squeeze(1),
                   values = plan->pairs_of(v, range, 1).squeeze(1);
      const Tensor d_results = torch::empty_like(queries);
      for (std::int64_t i = 0; i < range.count; ++i) {
        Tensor heads = d_results.select(0, i);
        cpu::split_heads(tokens_of_pair(d_out, *plan, range.first + i, group), group, range.padded,
                         {}, {}, 1.0, heads);
      }
      const std::vector<QueryBlock> blocks = query_blocks(range.padded);
      Tensor d_queries = blocks.size() == 1 ? Tensor() : torch::empty_like(queries);
      // Blocks run from the last to the first, whose keys are a prefix of the last's: the largest
      // one starts the sums.
      Tensor d_keys, d_values;
      for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
        const Tensor q_rows = block_rows(queries, *block), d_rows = block_rows(d_results, *block);
        const Tensor p = block_probabilities(q_rows, keys, *block);
        Tensor ds = torch::bmm(d_rows, transposed_columns(values, *block));
        cpu::softmax_backward(p, ds, block->first, block->size);
        const Tensor part = torch::bmm(ds, keys.narrow(1, 0, block->columns))
                                .view({range.count, group, block->size, shape.head_dim});
        if (d_queries.defined()) {
          d_queries.narrow(2, block->first, block->size).copy_(part);
        } else {
          d_queries = part;
        }
        const Tensor d_key_part = torch::bmm(ds.transpose(1, 2), q_rows),
                     d_value_part = torch::bmm(p.transpose(1, 2), d_rows);
        if (d_keys.defined()) {
          d_keys.narrow(1, 0, block->columns).add_(d_key_part);
          d_values.narrow(1, 0, block->columns).add_(d_value_part);
        } else {
          d_keys = d_key_part;
          d_values = d_value_part;
        }
      }
      for (std::int64_t i = 0; i < range.count; ++i) {
        const std::int64_t pair = range.first + i, n = plan->sequence_at(pair / shape.num_kv_heads),
                           length = layout.length(n);
        const Tensor cos_n = cos.narrow(0, layout.begin(n), length),
                     sin_n = sin.narrow(0, layout.begin(n), length);
        Tensor dq_place = tokens_of_pair(dq, *plan, pair, group),
               dk_place = tokens_of_pair(dk, *plan, pair, 1),
               dv_place = tokens_of_pair(dv, *plan, pair, 1);
        cpu::merge_heads(d_queries.select(0, i), length, cos_n, sin_n, plan->score_scale(),
                         dq_place);
        cpu::merge_heads(d_keys.narrow(0, i, 1), length, cos_n, sin_n, 1.0, dk_place);
        cpu::merge_heads(d_values.narrow(0, i, 1), length, {}, {}, 1.0, dv_place);
      }
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

}  // namespace clara
