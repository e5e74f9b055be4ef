// Laws of the model: a fresh adapter changes nothing, packing changes nothing, the cache changes
// nothing, and gradients reach what is trained and nothing else; of adapters and added rows; of
// scores and the straight-through top-k.
#include "clara/model/clara_model.h"

#include <cmath>
#include <set>

#include "tests/support/tensor_compare.h"
#include "tests/support/tiny_model.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/model/selection.h"

namespace clara::testing {
namespace {

using ::testing::HasSubstr;
using torch::Tensor;

constexpr double kSame = 1e-5;  // of the largest value: the same up to the order of additions

std::vector<TinyModelOptions> all_models() {
  TinyModelOptions untied, biased, normed, phi3;
  untied.tied = false;
  biased.qkv_bias = true;
  normed.qk_norm = true;
  phi3.phi3 = true;
  return {{}, untied, biased, normed, phi3};
}

/// Token sequences of these lengths.
std::vector<TokenIds> texts(const std::vector<std::int64_t>& lengths, std::uint64_t seed = 3) {
  SeedStream stream(seed);
  std::vector<TokenIds> result;
  for (const std::int64_t length : lengths) result.push_back(tiny_text(stream, length));
  return result;
}

PackedSequences pack(const ClaraModel& model, const std::vector<TokenIds>& sequences) {
  std::vector<const TokenIds*> pointers;
  for (const TokenIds& sequence : sequences) pointers.push_back(&sequence);
  return model.pack(pointers);
}

Tensor hidden_of(const ClaraModel& model, const std::vector<TokenIds>& sequences,
                 const LoraAdapter* adapter, const PassSettings& settings = {}) {
  const PackedSequences packed = pack(model, sequences);
  return model.base().forward(model.embed(packed), packed.layout, adapter, settings);
}

TEST(BaseLlm, AnAdapterWithZeroBLeavesTheBaseUnchanged) {
  for (TinyModelOptions options : all_models()) {
    options.random_b = false;
    const auto model = tiny_model(options);
    const std::vector<TokenIds> sequences = texts({5, 17, 1});
    const Tensor plain = hidden_of(*model, sequences, nullptr);
    for (AdapterRole role : kAdapterRoles) {
      const LoraAdapter* adapter = &model->adapter(role);
      EXPECT_TRUE(all_close(hidden_of(*model, sequences, adapter), plain, 1e-6));
      EXPECT_TRUE(all_close(hidden_of(*model, sequences, adapter, {0.5, 1, false}), plain, 1e-6));
    }
    options.random_b = true;
    const auto adapted = tiny_model(options);
    EXPECT_GT(
        relative_error(hidden_of(*adapted, sequences, &adapted->adapter(AdapterRole::kCompressor)),
                       plain),
        0.01);
  }
}

TEST(BaseLlm, NeitherBatchCompositionNorBatchOrderChangesASequence) {
  for (const TinyModelOptions& options : all_models()) {
    const auto model = tiny_model(options);
    const LoraAdapter* adapter = &model->adapter(AdapterRole::kGenerator);
    const std::vector<TokenIds> sequences = texts({1, 30, 16, 7, 30, 2});
    std::vector<Tensor> alone;
    for (const TokenIds& sequence : sequences)
      alone.push_back(hidden_of(*model, {sequence}, adapter));
    EXPECT_TRUE(all_close(hidden_of(*model, sequences, adapter), torch::cat(alone), kSame));
    const std::vector<TokenIds> reversed(sequences.rbegin(), sequences.rend());
    std::reverse(alone.begin(), alone.end());
    EXPECT_TRUE(all_close(hidden_of(*model, reversed, adapter), torch::cat(alone), kSame));
  }
}

TEST(BaseLlm, ALaterTokenNeverChangesAnEarlierState) {
  const auto model = tiny_model();
  std::vector<TokenIds> sequences = texts({40});
  const Tensor before = hidden_of(*model, sequences, nullptr);
  sequences[0][25] = sequences[0][25] == 5 ? 6 : 5;
  const Tensor after = hidden_of(*model, sequences, nullptr);
  EXPECT_TRUE(torch::equal(before.narrow(0, 0, 25), after.narrow(0, 0, 25)));
  EXPECT_GT(relative_error(after.narrow(0, 25, 15), before.narrow(0, 25, 15)), 0.01);
}

TEST(BaseLlm, DecodingWithTheCacheEqualsTheFullForward) {
  for (const TinyModelOptions& options : all_models()) {
    const auto model = tiny_model(options);
    const torch::NoGradGuard no_grad;
    for (const LoraAdapter* adapter :
         {static_cast<const LoraAdapter*>(nullptr),
          static_cast<const LoraAdapter*>(&model->adapter(AdapterRole::kGenerator))}) {
      const std::vector<TokenIds> whole = texts({20, 9, 27});
      constexpr std::int64_t kSteps = 6;
      std::vector<TokenIds> prompts;
      for (const TokenIds& sequence : whole)
        prompts.emplace_back(sequence.begin(), sequence.end() - kSteps);
      const PackedSequences packed = pack(*model, prompts);
      KvCache cache(model->base().config(), 3, 27, torch::dtype(torch::kFloat32));
      model->base().forward(model->embed(packed), packed.layout, adapter, {}, &cache);
      const Tensor expected = hidden_of(*model, whole, adapter);
      const PackedLayout layout({20, 9, 27}, torch::kCPU);
      for (std::int64_t step = 0; step < kSteps; ++step) {
        std::vector<std::int64_t> positions, ids;
        std::vector<Tensor> rows;
        std::int64_t longest = 0;
        for (std::size_t n = 0; n < whole.size(); ++n) {
          const auto position = static_cast<std::int64_t>(prompts[n].size()) + step;
          positions.push_back(position);
          ids.push_back(whole[n][static_cast<std::size_t>(position)]);
          rows.push_back(expected[layout.begin(static_cast<std::int64_t>(n)) + position]);
          longest = std::max(longest, position + 1);
        }
        const Tensor embeddings =
            model->base().weights().embedding.index_select(0, torch::tensor(ids, torch::kInt64));
        const Tensor found = model->base().forward_next(
            embeddings, torch::tensor(positions, torch::kInt64), longest, adapter, cache);
        EXPECT_TRUE(all_close(found, torch::stack(rows), kSame)) << "token " << step;
      }
    }
  }
}

TEST(BaseLlm, RefusesASequenceLongerThanItsPositions) {
  const auto model = tiny_model();
  EXPECT_NO_THROW(hidden_of(*model, texts({96}), nullptr));
  try {
    hidden_of(*model, texts({3, 97}), nullptr);
    FAIL() << "97 tokens were accepted";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("97"));
    EXPECT_THAT(error.what(), HasSubstr("96"));
    EXPECT_THAT(error.what(), HasSubstr("max_position_embeddings"));
  }
}

TEST(BaseLlm, RefusesASequenceLongerThanItsSlidingWindow) {
  BaseConfig config = tiny_config();
  config.sliding_window = 20;
  const BaseLlm base(config, tiny_weights(config));
  const auto run = [&](std::int64_t length) {
    return base.forward(
        torch::zeros({length, kTinyWidth}),
        std::make_shared<PackedLayout>(std::vector<std::int64_t>{length}, torch::kCPU), nullptr);
  };
  EXPECT_NO_THROW(run(20)) << "the first token is still within the last one's window";
  try {
    run(21);
    FAIL() << "21 tokens were accepted";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("21"));
    EXPECT_THAT(error.what(), HasSubstr("sliding window of 20 tokens"));
    EXPECT_THAT(error.what(), HasSubstr("config.json: sliding_window"));
  }
}

TEST(BaseLlm, Bfloat16StaysNearFloat32) {
  TinyModelOptions narrow;
  narrow.dtype = torch::kBFloat16;
  const auto wide_model = tiny_model(), model = tiny_model(narrow);
  const std::vector<TokenIds> sequences = texts({12, 33});
  const Tensor found = hidden_of(*model, sequences, &model->adapter(AdapterRole::kCompressor));
  EXPECT_EQ(found.dtype(), torch::kBFloat16);
  EXPECT_GE(cosine(found, hidden_of(*wide_model, sequences,
                                    &wide_model->adapter(AdapterRole::kCompressor))),
            0.995);
}

TEST(PackSequences, NamesATokenOutsideTheVocabulary) {
  const auto model = tiny_model();
  EXPECT_NO_THROW(pack(*model, {{kTinySep}}));
  EXPECT_THROW(pack(*model, {{kTinySep + 1}}), Error);
  EXPECT_THROW(pack(*model, {{-1}}), Error);
  EXPECT_THROW(pack(*model, {{3}, {}}), Error);
  EXPECT_THROW(pack(*model, {}), Error);
}

// ---- the three passes ---------------------------------------------------------------------------

TEST(ClaraModel, CompressedDocumentsDoNotDependOnTheBatch) {
  const auto model = tiny_model();
  const std::vector<Example> rows = scp_rows(5);
  const CompressedDocuments all = model->compress(model->pack(documents_of(rows)));
  EXPECT_EQ(all.latents_NMD.sizes(), (torch::IntArrayRef{5, kTinyNumMemory, kTinyWidth}));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto n = static_cast<std::int64_t>(i);
    const CompressedDocuments one = model->compress(model->pack({&rows[i].documents[0]}));
    EXPECT_TRUE(all_close(all.latents_NMD[n], one.latents_NMD[0], kSame));
    EXPECT_TRUE(all_close(all.alignment_N[n], one.alignment_N[0], 1e-4));
  }
  EXPECT_TRUE(torch::equal(
      all.latents_NMD, model->encode(AdapterRole::kCompressor, model->pack(documents_of(rows)))));
}

TEST(ClaraModel, AlignmentIsTheSquaredDistanceOfTheTwoMeans) {
  const auto model = tiny_model();
  const std::vector<Example> rows = scp_rows(3);
  const CompressedDocuments found = model->compress(model->pack(documents_of(rows)));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Tensor hidden =
        hidden_of(*model, {rows[i].documents[0]}, &model->adapter(AdapterRole::kCompressor))
            .to(torch::kFloat64);
    const std::int64_t text = hidden.size(0) - kTinyNumMemory;
    const Tensor difference =
        hidden.narrow(0, 0, text).mean(0) - hidden.narrow(0, text, kTinyNumMemory).mean(0);
    EXPECT_TRUE(all_close(found.alignment_N[static_cast<std::int64_t>(i)],
                          difference.square().mean().to(torch::kFloat32), 1e-4));
  }
}

TEST(ClaraModel, AnswerLossesDoNotDependOnTheBatch) {
  for (const TinyModelOptions& options : all_models()) {
    const auto model = tiny_model(options);
    const std::vector<Example> rows = scp_rows(4);
    const Tensor latents = model->compress(model->pack(documents_of(rows))).latents_NMD;
    const CrossEntropyResult all = model->answer_loss(answers_of(*model, rows), latents);
    std::vector<Tensor> alone;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      alone.push_back(model
                          ->answer_loss(answers_of(*model, {rows[i]}),
                                        latents.narrow(0, static_cast<std::int64_t>(i), 1))
                          .nll);
    }
    EXPECT_TRUE(all_close(all.nll, torch::cat(alone), 1e-4));
    EXPECT_TRUE(all_close(all.sum, all.nll.sum(), 1e-6));
  }
}

TEST(ClaraModel, LatentsStandAtTheMemoryPlacesInOrder) {
  const auto model = tiny_model();
  const Example row = tiny_example(9, {2, 2, false, {}});
  const Tensor latents = torch::randn({2, kTinyNumMemory, kTinyWidth});
  const PackedSequences packed = model->pack({&row.tokens});
  const Tensor embeddings = model->embed(packed, latents);
  const Tensor added = model->memory().embedding_rows();
  std::int64_t next = 0;
  for (std::size_t t = 0; t < row.tokens.size(); ++t) {
    const TokenId id = row.tokens[t];
    const Tensor expected = id < kTinyVocabRows ? model->base().weights().embedding[id]
                            : id < kTinyVocabRows + kTinyNumMemory
                                ? latents.view({-1, kTinyWidth})[next++]
                                : added[id - kTinyVocabRows];
    EXPECT_TRUE(torch::equal(embeddings[static_cast<std::int64_t>(t)], expected)) << t;
  }
  EXPECT_EQ(next, 2 * kTinyNumMemory);
  EXPECT_THROW(model->embed(packed, latents[0]), Error) << "too few latents";
}

TEST(ClaraModel, QuestionsAreReadByTheirOwnAdapter) {
  const auto model = tiny_model();
  const std::vector<Example> rows = joint_rows(2);
  const std::vector<const TokenIds*> questions = {&rows[0].question, &rows[1].question};
  const Tensor vectors = model->encode_questions(model->pack(questions));
  EXPECT_EQ(vectors.sizes(), (torch::IntArrayRef{2, kTinyNumMemory * kTinyWidth}));
  EXPECT_GT(
      relative_error(vectors,
                     model->encode(AdapterRole::kCompressor, model->pack(questions)).flatten(1)),
      0.01);
  model->adapter(AdapterRole::kQueryReasoner).copy_from(model->adapter(AdapterRole::kCompressor));
  EXPECT_TRUE(
      torch::equal(model->encode_questions(model->pack(questions)),
                   model->encode(AdapterRole::kCompressor, model->pack(questions)).flatten(1)));
}

/// Loss of compressing and answering, and all gradients.
std::vector<Tensor> loss_and_gradients(ClaraModel& model, const PassSettings& settings) {
  std::vector<Tensor> leaves = {model.memory().memory_rows};
  for (AdapterRole role : {AdapterRole::kCompressor, AdapterRole::kGenerator}) {
    for (const NamedTensor& named : model.adapter(role).named_tensors())
      leaves.push_back(named.tensor);
  }
  for (Tensor& t : leaves) {
    t.set_requires_grad(true);
    t.mutable_grad() = torch::Tensor();
  }
  const std::vector<Example> rows = scp_rows(4);
  const CompressedDocuments compressed = model.compress(model.pack(documents_of(rows)), settings);
  const Tensor loss =
      model.answer_loss(answers_of(model, rows), compressed.latents_NMD, settings).sum +
      compressed.alignment_N.sum();
  loss.backward();
  std::vector<Tensor> result = {loss.detach()};
  for (const Tensor& t : leaves) result.push_back(t.grad().clone());
  return result;
}

TEST(ClaraModel, ActivationCheckpointingChangesNeitherLossNorGradients) {
  for (const TinyModelOptions& options : all_models()) {
    for (const double dropout : {0.0, 0.3}) {
      const auto model = tiny_model(options);
      const std::vector<Tensor> plain = loss_and_gradients(*model, {dropout, 17, false});
      const std::vector<Tensor> checkpointed = loss_and_gradients(*model, {dropout, 17, true});
      ASSERT_EQ(plain.size(), checkpointed.size());
      for (std::size_t i = 0; i < plain.size(); ++i) {
        EXPECT_TRUE(all_close(checkpointed[i], plain[i], kSame)) << i;
        EXPECT_GT(plain[i].abs().max().item<double>(), 0) << i;
      }
    }
  }
}

TEST(ClaraModel, DropoutIsAFunctionOfItsSeed) {
  const auto model = tiny_model();
  const auto loss = [&](double dropout, std::uint64_t seed) {
    return loss_and_gradients(*model, {dropout, seed, false})[0].item<double>();
  };
  EXPECT_EQ(loss(0.3, 1), loss(0.3, 1));
  EXPECT_NE(loss(0.3, 1), loss(0.3, 2));
  EXPECT_NE(loss(0.3, 1), loss(0, 1));
}

TEST(ClaraModel, GradientOfTheAnswerLossIsItsSlope) {
  // A step of h along the gradient of a group of leaves changes the loss by h · |gradient|².
  const PassSettings settings{0.2, 5, false};
  const auto model = tiny_model();
  const std::vector<Tensor> at = loss_and_gradients(*model, settings);
  std::map<std::string, std::vector<std::pair<Tensor, Tensor>>> groups;  // leaf, gradient
  std::size_t next = 1;
  groups["memory_rows"].emplace_back(model->memory().memory_rows, at[next++]);
  for (AdapterRole role : {AdapterRole::kCompressor, AdapterRole::kGenerator}) {
    for (const NamedTensor& named : model->adapter(role).named_tensors()) {
      const std::string part = named.name.ends_with("lora_A.weight") ? " A" : " B";
      groups[adapter_name(role) + part].emplace_back(named.tensor, at[next++]);
    }
  }
  for (const auto& [name, leaves] : groups) {
    double squares = 0;
    for (const auto& [leaf, gradient] : leaves) squares += gradient.square().sum().item<double>();
    const double h = 1e-3 / std::sqrt(squares);  // larger steps see the curvature
    const auto move = [&leaves](double by) {
      const torch::NoGradGuard no_grad;
      for (const auto& [leaf, gradient] : leaves) leaf.detach().add_(gradient, by);
    };
    move(h);
    const double above = loss_and_gradients(*model, settings)[0].item<double>();
    move(-2 * h);
    const double below = loss_and_gradients(*model, settings)[0].item<double>();
    move(h);
    EXPECT_NEAR((above - below) / (2 * h) / squares, 1, 5e-3) << name;
  }
}

TEST(ClaraModel, MemoryRowsGetGradientAndNoOtherEmbeddingRowDoes) {
  for (const TinyModelOptions& options : all_models()) {
    const auto model = tiny_model(options);
    loss_and_gradients(*model, {});
    const Tensor row_norms = model->memory().memory_rows.grad().norm(2, 1);
    EXPECT_GT(row_norms.min().item<double>(), 0) << "every memory row takes part";
    const BaseWeights& weights = model->base().weights();
    std::vector<Tensor> frozen = {model->memory().fixed_rows, weights.embedding, weights.head,
                                  weights.final_norm};
    if (model->memory().head_rows.defined()) frozen.push_back(model->memory().head_rows);
    for (const DecoderLayerWeights& block : weights.layers) {
      frozen.push_back(block.input_norm);
      frozen.insert(frozen.end(), block.projections.begin(), block.projections.end());
    }
    for (const Tensor& t : frozen) {
      EXPECT_FALSE(t.requires_grad());
      EXPECT_FALSE(t.grad().defined());
    }
  }
}

// ---- adapters and added rows --------------------------------------------------------------------

TEST(LoraAdapter, StartsWithUniformAAndZeroB) {
  const LoraAdapter adapter(tiny_config(), tiny_lora(), 5, torch::kCPU);
  std::int64_t values = 0;
  for (const NamedTensor& named : adapter.named_tensors()) {
    values += named.tensor.numel();
    if (named.name.ends_with("lora_B.weight")) {
      EXPECT_EQ(named.tensor.abs().max().item<float>(), 0) << named.name;
      continue;
    }
    const double bound = 1 / std::sqrt(static_cast<double>(named.tensor.size(1)));
    EXPECT_LE(named.tensor.abs().max().item<double>(), bound) << named.name;
    EXPECT_GT(named.tensor.abs().max().item<double>(), 0.9 * bound) << named.name;
    EXPECT_LT(std::abs(named.tensor.mean().item<double>()), 0.3 * bound) << named.name;
  }
  EXPECT_EQ(adapter.num_parameters(), values);
  EXPECT_EQ(count_lora_parameters(tiny_config(), tiny_lora()), values);
  EXPECT_EQ(adapter.scale(), 2.0);
}

TEST(LoraAdapter, RoundedToIsACopyWithoutGradient) {
  LoraSettings settings = tiny_lora();
  settings.target_modules = {"q_proj"};
  LoraAdapter adapter(tiny_config(), settings, 5, torch::kCPU);
  adapter.set_requires_grad(true);
  const Tensor before = adapter.pair(0, 0).a.detach().clone();
  const LoraAdapter rounded = adapter.rounded_to(torch::kBFloat16);
  EXPECT_EQ(rounded.pair(0, 0).a.scalar_type(), torch::kBFloat16);
  EXPECT_TRUE(torch::equal(rounded.pair(0, 0).a, before.to(torch::kBFloat16)));
  EXPECT_FALSE(rounded.pair(0, 0).a.requires_grad());
  EXPECT_FALSE(rounded.pair(0, 1).defined());
  EXPECT_EQ(rounded.scale(), adapter.scale());
  EXPECT_TRUE(torch::equal(adapter.pair(0, 0).a, before));
  EXPECT_TRUE(adapter.pair(0, 0).a.requires_grad());
  // Of the same dtype nothing is copied.
  EXPECT_TRUE(adapter.rounded_to(torch::kFloat32).pair(0, 0).a.is_alias_of(adapter.pair(0, 0).a));
}

TEST(LoraAdapter, IsAFunctionOfItsSeed) {
  const auto first = [](std::uint64_t seed) {
    return LoraAdapter(tiny_config(), tiny_lora(), seed, torch::kCPU).named_tensors()[0].tensor;
  };
  EXPECT_TRUE(torch::equal(first(1), first(1)));
  EXPECT_FALSE(torch::equal(first(1), first(2)));
  const auto model = tiny_model();
  EXPECT_FALSE(torch::equal(model->adapter(AdapterRole::kCompressor).named_tensors()[0].tensor,
                            model->adapter(AdapterRole::kGenerator).named_tensors()[0].tensor));
}

TEST(LoraAdapter, AdaptsExactlyItsTargets) {
  LoraSettings settings = tiny_lora();
  settings.target_modules = {"v_proj", "down_proj"};
  const LoraAdapter adapter(tiny_config(), settings, 1, torch::kCPU);
  std::vector<std::string> names;
  for (const NamedTensor& named : adapter.named_tensors()) names.push_back(named.name);
  EXPECT_THAT(names, ::testing::ElementsAre(
                         "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight",
                         "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight",
                         "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight",
                         "base_model.model.model.layers.0.mlp.down_proj.lora_B.weight",
                         "base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight",
                         "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight",
                         "base_model.model.model.layers.1.mlp.down_proj.lora_A.weight",
                         "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"));
  EXPECT_EQ(count_lora_parameters(tiny_config(), settings), adapter.num_parameters());
  EXPECT_THAT(adapter.target_module_names(), ::testing::ElementsAre("down_proj", "v_proj"));
}

TEST(LoraAdapter, AFusedMatrixGetsOneAdapter) {
  TinyModelOptions options;
  options.phi3 = true;
  const BaseConfig config = tiny_config(options);
  const LoraAdapter adapter(config, tiny_lora(), 1, torch::kCPU);
  EXPECT_THAT(adapter.target_module_names(),
              ::testing::ElementsAre("down_proj", "gate_up_proj", "o_proj", "qkv_proj"));
  const std::vector<NamedTensor> tensors = adapter.named_tensors();
  ASSERT_EQ(tensors.size(), 16u) << "A and B of four layers in two blocks";
  EXPECT_EQ(tensors[1].name, "base_model.model.model.layers.0.self_attn.qkv_proj.lora_B.weight");
  EXPECT_EQ(tensors[1].tensor.sizes(), (std::vector<std::int64_t>{64, 4}));  // (4 + 2 + 2) · 8
  EXPECT_EQ(tensors[5].name, "base_model.model.model.layers.0.mlp.gate_up_proj.lora_B.weight");
  EXPECT_EQ(tensors[5].tensor.sizes(), (std::vector<std::int64_t>{96, 4}));
  EXPECT_TRUE(torch::equal(adapter.pair(1, 3).a, tensors[14].tensor)) << "down_proj of block 1";
  EXPECT_EQ(count_lora_parameters(config, tiny_lora()), adapter.num_parameters());
}

TEST(LoraAdapter, ATargetThatMatchesNothingIsAConfigError) {
  LoraSettings settings = tiny_lora();
  settings.target_modules = {"q_proj", "qkv_proj"};
  try {
    const LoraAdapter adapter(tiny_config(), settings, 1, torch::kCPU);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("model.lora.target_modules"));
    EXPECT_THAT(error.what(), HasSubstr("qkv_proj"));
    EXPECT_THAT(error.what(), HasSubstr("down_proj"));
  }
}

TEST(LoraAdapter, CopiesValuesNotTensors) {
  LoraAdapter from(tiny_config(), tiny_lora(), 1, torch::kCPU),
      to(tiny_config(), tiny_lora(), 2, torch::kCPU);
  to.copy_from(from);
  const Tensor source = from.named_tensors()[0].tensor, target = to.named_tensors()[0].tensor;
  EXPECT_TRUE(torch::equal(source, target));
  source.zero_();
  EXPECT_FALSE(torch::equal(source, target));
  LoraSettings other = tiny_lora();
  other.rank = 2;
  EXPECT_THROW(LoraAdapter(tiny_config(), other, 1, torch::kCPU).copy_from(from), Error);
}

TEST(MemoryTokens, TiedModelsShareTheEmbeddingRowsWithTheHead) {
  const auto model = tiny_model();
  EXPECT_FALSE(model->memory().head_rows.defined());
  EXPECT_TRUE(torch::equal(model->memory().output_rows(), model->memory().embedding_rows()));
  EXPECT_EQ(model->memory().embedding_rows().size(0), kTinyNumMemory + 3);
}

TEST(MemoryTokens, UntiedModelsStartAtTheMeanOfTheHeadsRows) {
  TinyModelOptions options;
  options.tied = false;
  const auto model = tiny_model(options);
  const Tensor mean = model->base().weights().head.mean(0);
  for (std::int64_t i = 0; i < kTinyNumMemory + 3; ++i)
    EXPECT_TRUE(all_close(model->memory().output_rows()[i], mean, 1e-6));
}

TEST(MemoryTokens, NoiseStaysNearTheMeanOfTheRows) {
  const BaseConfig config = tiny_config();
  const BaseLlm base(config, tiny_weights(config));
  const Tensor embedding = base.weights().embedding;
  const MemoryTokens tokens = init_memory_tokens(base, 400, "noise", 3);
  const Tensor noise = (tokens.memory_rows - embedding.mean(0)) / embedding.std(0);
  EXPECT_NEAR(noise.std().item<double>(), 0.1, 0.005);
  EXPECT_NEAR(noise.mean().item<double>(), 0, 0.005);
  EXPECT_TRUE(
      torch::equal(tokens.memory_rows, init_memory_tokens(base, 400, "noise", 3).memory_rows));
  EXPECT_FALSE(
      torch::equal(tokens.memory_rows, init_memory_tokens(base, 400, "noise", 4).memory_rows));
}

TEST(MemoryTokens, CanStartAsOrdinaryTokens) {
  const BaseConfig config = tiny_config();
  const BaseLlm base(config, tiny_weights(config));
  const MemoryTokens tokens = init_memory_tokens(base, 8, "tokens", 3);
  std::set<std::int64_t> rows;
  for (std::int64_t j = 0; j < 8; ++j) {
    const Tensor distance = (base.weights().embedding - tokens.memory_rows[j]).abs().sum(1);
    EXPECT_EQ(distance.min().item<float>(), 0) << j;
    rows.insert(distance.argmin().item<std::int64_t>());
  }
  EXPECT_GT(rows.size(), 4U);
  EXPECT_THROW(init_memory_tokens(base, 8, "zeros", 3), ConfigError);
}

// ---- scores and selection -----------------------------------------------------------------------

TEST(StraightThroughTopk, ForwardIsExactlyOneHot) {
  torch::manual_seed(4);
  for (const TopkMask mask : {TopkMask::kLeaky, TopkMask::kExact}) {
    for (const double temperature : {0.02, 1.0}) {
      const Tensor scores = torch::randn({7}).set_requires_grad(true);
      const auto selection = straight_through_topk(scores, 3, temperature, mask);
      const Tensor weights = selection.weights_SK.detach();
      EXPECT_TRUE(torch::equal((weights == 1).sum(1), torch::ones({3}, torch::kInt64)));
      EXPECT_TRUE(torch::equal((weights == 0).sum(1), torch::full({3}, 6, torch::kInt64)));
      EXPECT_TRUE(torch::equal(weights.argmax(1), selection.indices_S));
      const auto sorted = torch::sort(scores.detach(), 0, /*descending=*/true);
      EXPECT_TRUE(torch::equal(selection.indices_S, std::get<1>(sorted).narrow(0, 0, 3)));
    }
  }
}

TEST(StraightThroughTopk, TiesGoToTheLowerIndex) {
  const Tensor scores = torch::tensor({0.25F, 0.5F, 0.5F, 0.25F, 0.5F, 0.25F});
  const auto selection = straight_through_topk(scores, 5, 0.02, TopkMask::kLeaky);
  EXPECT_TRUE(torch::equal(selection.indices_S, torch::tensor({1, 2, 4, 0, 3}, torch::kInt64)));
  EXPECT_TRUE(torch::equal(topk_indices(torch::full({40}, 0.5F), 40), torch::arange(40)));
}

TEST(StraightThroughTopk, FewerCandidatesThanSlotsUseAsManySlots) {
  for (const TopkMask mask : {TopkMask::kLeaky, TopkMask::kExact}) {
    const Tensor scores = torch::tensor({0.1F, 0.3F}).set_requires_grad(true);
    const auto selection = straight_through_topk(scores, 5, 0.02, mask);
    EXPECT_EQ(selection.weights_SK.sizes(), (torch::IntArrayRef{2, 2}));
    EXPECT_TRUE(torch::equal(selection.indices_S, torch::tensor({1, 0}, torch::kInt64)));
    (selection.weights_SK * torch::randn({2, 2})).sum().backward();
    EXPECT_TRUE(torch::isfinite(scores.grad()).all().item<bool>());
  }
}

TEST(StraightThroughTopk, GradientIsThatOfTheSoftDistributionOfEachSlot) {
  torch::manual_seed(6);
  constexpr double kTemperature = 0.5;
  for (const TopkMask mask : {TopkMask::kLeaky, TopkMask::kExact}) {
    const Tensor scores = torch::randn({6}).set_requires_grad(true),
                 direction = torch::randn({3, 6});
    const auto selection = straight_through_topk(scores, 3, kTemperature, mask);
    (selection.weights_SK * direction).sum().backward();

    const Tensor wide = scores.detach().to(torch::kFloat64).set_requires_grad(true);
    Tensor sum = torch::zeros({}, torch::kFloat64);
    Tensor taken = torch::zeros({6}, torch::kFloat64);
    for (std::int64_t slot = 0; slot < 3; ++slot) {
      const Tensor penalty =
          mask == TopkMask::kLeaky
              ? torch::log(1 - taken + 1e-8)
              : torch::where(taken > 0, torch::full({6}, -INFINITY, torch::kFloat64),
                             torch::zeros({6}, torch::kFloat64));
      const Tensor p = torch::softmax(wide / kTemperature + penalty, 0);
      sum = sum + (p * direction[slot].to(torch::kFloat64)).sum();
      taken = taken.clone();
      taken[selection.indices_S[slot].item<std::int64_t>()] = 1;
    }
    sum.backward();
    EXPECT_TRUE(all_close(scores.grad(), wide.grad().to(torch::kFloat32), 1e-5));
  }
}

TEST(StraightThroughTopk, GradientFlowsToUnselectedCandidates) {
  const Tensor scores = torch::tensor({0.50F, 0.48F, 0.46F, 0.44F, 0.42F}).set_requires_grad(true);
  const auto selection = straight_through_topk(scores, 2, 0.02, TopkMask::kLeaky);
  const Tensor documents = torch::randn({5, 8});
  torch::mm(selection.weights_SK, documents).square().sum().backward();
  for (std::int64_t k = 0; k < 5; ++k) EXPECT_NE(scores.grad()[k].item<float>(), 0) << k;
}

TEST(StraightThroughTopk, TheExactMaskGivesATakenDocumentNoMoreOfTheNextSlot) {
  // The leaky mask leaves a document that leads by 0.4 about a fifth of the next slot.
  const auto share_of_taken = [](TopkMask mask) {
    const Tensor scores = torch::tensor({0.9F, 0.5F, 0.49F}).set_requires_grad(true);
    const auto selection = straight_through_topk(scores, 2, 0.02, mask);
    selection.weights_SK[1][0].backward();
    return scores.grad()[0].item<double>() * 0.02;  // p(1 − p) of the second slot
  };
  EXPECT_EQ(share_of_taken(TopkMask::kExact), 0);
  EXPECT_GT(share_of_taken(TopkMask::kLeaky), 0.1);
}

TEST(CosineScores, AreCosinesInFloat32) {
  torch::manual_seed(2);
  const Tensor question = torch::randn({12}), documents = torch::randn({4, 12});
  const Tensor scores = cosine_scores(question, documents);
  for (std::int64_t k = 0; k < 4; ++k)
    EXPECT_NEAR(scores[k].item<double>(), cosine(question, documents[k]), 1e-6);
  EXPECT_TRUE(all_close(cosine_scores(7 * question, 0.1 * documents), scores, 1e-5));
  EXPECT_EQ(cosine_scores(question.to(torch::kBFloat16), documents.to(torch::kBFloat16)).dtype(),
            torch::kFloat32);
}

TEST(RetrievalLoss, IsTheNegativeLogShareOfThePositives) {
  const Tensor scores = torch::tensor({0.1F, 0.4F, 0.2F, 0.3F}).set_requires_grad(true);
  const Tensor loss = retrieval_loss(scores, torch::tensor({1, 2}, torch::kInt64), 0.1);
  const double all = std::exp(1.0) + std::exp(4.0) + std::exp(2.0) + std::exp(3.0);
  EXPECT_NEAR(loss.item<double>(), std::log(all / (std::exp(4.0) + std::exp(2.0))), 1e-5);
  loss.backward();
  EXPECT_NEAR(scores.grad()[0].item<double>(), std::exp(1.0) / all / 0.1, 1e-4);
  EXPECT_LT(scores.grad()[1].item<double>(), 0);
  const Tensor none = retrieval_loss(scores, torch::arange(4), 0.1);
  EXPECT_NEAR(none.item<double>(), 0, 1e-6) << "all candidates positive";
}

}  // namespace
}  // namespace clara::testing
