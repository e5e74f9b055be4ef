// Laws of greedy generation on a tiny random model: the cache changes nothing, neither do the other
// prompts of a batch, and added tokens never come out.
#include "clara/eval/generate.h"

#include <algorithm>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/tensor_file.h"
#include "clara/model/answer_loss.h"

namespace clara {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Lt;

constexpr std::int64_t kVocabRows = 61;
constexpr std::int64_t kNumMemory = 3;
constexpr std::int64_t kWidth = 32;

BaseConfig tiny_config() {
  BaseConfig config;
  config.model_type = "llama";
  config.hidden_size = kWidth;
  config.intermediate_size = 48;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.vocab_rows = kVocabRows;
  config.max_positions = 64;
  config.tie_word_embeddings = true;
  return config;
}

/// A random model whose answers differ from prompt to prompt and do not end in a loop at once.
ClaraModel tiny_model(BaseConfig config = tiny_config()) {
  torch::set_num_threads(1);  // threads that share such small tensors only wait for each other
  torch::manual_seed(11);
  BaseWeights weights;
  weights.embedding = torch::randn({kVocabRows, kWidth});
  weights.final_norm = torch::ones({kWidth});
  weights.head = weights.embedding;
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    DecoderLayerWeights block;
    block.input_norm = torch::ones({kWidth});
    block.post_attention_norm = torch::ones({kWidth});
    for (const ProjectionSpec& spec : config.projections()) {
      block.projections.push_back(torch::randn({spec.out_features, spec.in_features}) * 0.4);
      block.biases.emplace_back();
    }
    weights.layers.push_back(std::move(block));
  }
  LoraSettings lora;
  lora.rank = 4;
  lora.alpha = 8;
  ClaraModel model(BaseLlm(std::move(config), std::move(weights)), lora, kNumMemory, "noise", 5);
  const torch::NoGradGuard no_grad;
  for (NamedTensor& named : model.adapter(AdapterRole::kGenerator).named_tensors()) {
    named.tensor.copy_(torch::randn_like(named.tensor) * 0.2);
  }
  return model;
}

/// Prompts of different lengths with 0 to 2 documents, and the latents of those documents.
struct PromptSet {
  std::vector<TokenIds> prompts;
  std::vector<torch::Tensor> latents_of_prompt;  // [documents·M, D]
  torch::Tensor latents() const { return torch::cat(latents_of_prompt); }
};

PromptSet make_prompts(std::int64_t count) {
  PromptSet set;
  torch::manual_seed(23);
  for (std::int64_t n = 0; n < count; ++n) {
    const std::int64_t num_documents = n % 3;
    TokenIds prompt;
    for (std::int64_t t = 0; t < 3 + (5 * n) % 7; ++t) {
      prompt.push_back(static_cast<TokenId>((7 * n + 13 * t) % kVocabRows));
    }
    for (std::int64_t k = 0; k < num_documents; ++k) {
      for (std::int64_t j = 0; j < kNumMemory; ++j) {
        prompt.push_back(static_cast<TokenId>(kVocabRows + j));
      }
      prompt.push_back(static_cast<TokenId>(kVocabRows + kNumMemory + 2));
    }
    prompt.push_back(static_cast<TokenId>((n + 3) % kVocabRows));
    set.prompts.push_back(prompt);
    set.latents_of_prompt.push_back(torch::randn({num_documents * kNumMemory, kWidth}));
  }
  return set;
}

/// The last state [1, D] of a whole pass over `tokens`, without a cache.
torch::Tensor last_state(const ClaraModel& model, const TokenIds& tokens,
                         const torch::Tensor& latents, bool plain_base) {
  const torch::NoGradGuard no_grad;
  const PackedSequences packed = model.pack({&tokens});
  const torch::Tensor hidden =
      model.base().forward(model.embed(packed, latents), packed.layout,
                           plain_base ? nullptr : &model.adapter(AdapterRole::kGenerator));
  return hidden.narrow(0, hidden.size(0) - 1, 1);
}

TokenIds generate_without_cache(const ClaraModel& model, const TokenIds& prompt,
                                const torch::Tensor& latents, std::int64_t max_new_tokens,
                                bool plain_base = false) {
  TokenIds tokens = prompt, answer;
  for (std::int64_t t = 0; t < max_new_tokens; ++t) {
    const torch::Tensor state = last_state(model, tokens, latents, plain_base);
    const torch::Tensor logits = torch::mm(state, model.base().weights().head.t())[0];
    const auto* values = logits.const_data_ptr<float>();
    const auto best = static_cast<TokenId>(std::max_element(values, values + kVocabRows) - values);
    answer.push_back(best);
    tokens.push_back(best);
  }
  return answer;
}

GenerationSettings settings_of(std::int64_t max_new_tokens, std::int64_t max_batch_tokens = 8192) {
  GenerationSettings settings;
  settings.max_new_tokens = max_new_tokens;
  settings.max_batch_tokens = max_batch_tokens;
  return settings;
}

TEST(Generate, EqualsTheLoopThatReadsEverythingAgainForEachToken) {
  const ClaraModel model = tiny_model();
  const PromptSet set = make_prompts(5);
  const auto answers = generate_answers(model, set.prompts, set.latents(), {}, settings_of(12));
  ASSERT_EQ(answers.size(), 5u);
  for (std::size_t n = 0; n < 5; ++n) {
    EXPECT_EQ(answers[n],
              generate_without_cache(model, set.prompts[n], set.latents_of_prompt[n], 12))
        << "prompt " << n;
  }
  EXPECT_NE(answers[0], answers[1]);  // a model that always says the same would prove nothing
}

TEST(Generate, PlainBaseRunsWithoutTheAdapter) {
  const ClaraModel model = tiny_model();
  const TokenIds prompt = {1, 2, 3};
  GenerationSettings settings = settings_of(10);
  const auto adapted = generate_answers(model, {prompt}, {}, {}, settings);
  settings.plain_base = true;
  const auto plain = generate_answers(model, {prompt}, {}, {}, settings);
  EXPECT_EQ(plain[0], generate_without_cache(model, prompt, {}, 10, /*plain_base=*/true));
  EXPECT_NE(plain[0], adapted[0]);
}

TEST(Generate, AnAnswerDoesNotDependOnTheOthersOfItsBatch) {
  const ClaraModel model = tiny_model();
  const PromptSet set = make_prompts(5);
  // An end token makes sequences leave the batch at different times.
  const auto free = generate_answers(model, set.prompts, set.latents(), {}, settings_of(12));
  const std::vector<TokenId> end_ids = {free[0][4], free[3][2]};
  const auto together =
      generate_answers(model, set.prompts, set.latents(), end_ids, settings_of(12));
  // Room for two at a time, and for none: each one alone.
  const auto in_pairs =
      generate_answers(model, set.prompts, set.latents(), end_ids, settings_of(12, 60));
  const auto in_turn =
      generate_answers(model, set.prompts, set.latents(), end_ids, settings_of(12, 1));
  EXPECT_EQ(together, in_pairs);
  EXPECT_EQ(together, in_turn);
  for (std::size_t n = 0; n < 5; ++n) {
    EXPECT_EQ(together[n], generate_answers(model, {set.prompts[n]}, set.latents_of_prompt[n],
                                            end_ids, settings_of(12))[0]);
  }
  EXPECT_LT(together[0].size(), 12u);
  EXPECT_TRUE(std::any_of(together.begin(), together.end(),
                          [](const TokenIds& answer) { return answer.size() == 12; }));
}

TEST(Generate, StopsBeforeTheFirstEndToken) {
  const ClaraModel model = tiny_model();
  const PromptSet set = make_prompts(4);
  const auto free = generate_answers(model, set.prompts, set.latents(), {}, settings_of(12));
  for (std::size_t n = 0; n < 4; ++n) {
    const TokenId end_id = free[n][3];
    const auto answer = generate_answers(model, {set.prompts[n]}, set.latents_of_prompt[n],
                                         {end_id}, settings_of(12))[0];
    const auto first_end = std::find(free[n].begin(), free[n].end(), end_id);
    EXPECT_EQ(answer, TokenIds(free[n].begin(), first_end));
  }
}

TEST(Generate, AnAnswerMayBeEmpty) {
  const ClaraModel model = tiny_model();
  const auto first = generate_answers(model, {{1, 2, 3}}, {}, {}, settings_of(1));
  ASSERT_EQ(first[0].size(), 1u);
  EXPECT_THAT(generate_answers(model, {{1, 2, 3}}, {}, {first[0][0]}, settings_of(5)),
              ElementsAre(IsEmpty()));
  EXPECT_THAT(generate_answers(model, {}, {}, {}, settings_of(5)), IsEmpty());
}

TEST(Generate, AddedTokensNeverComeOutHoweverLikelyTheyAre) {
  ClaraModel model = tiny_model();
  const TokenIds prompt = {4, 9, 2, 30};
  {
    // Memory rows along the state that predicts the first token: the full softmax would take one.
    const torch::NoGradGuard no_grad;
    const torch::Tensor state = last_state(model, prompt, {}, false);
    model.memory().memory_rows.copy_((state * 50).expand({kNumMemory, kWidth}));
    const torch::Tensor all =
        answer_logits(state, model.base().weights().head, model.memory().output_rows());
    ASSERT_GE(all.argmax().item<std::int64_t>(), kVocabRows);
  }
  const auto answers = generate_answers(model, {prompt}, {}, {}, settings_of(12));
  EXPECT_THAT(answers[0], Each(Lt(kVocabRows)));
  EXPECT_EQ(answers[0], generate_without_cache(model, prompt, {}, 12));
}

TEST(Generate, OfEquallyLikelyTokensTheLowestIsTaken) {
  const ClaraModel model = tiny_model();
  const torch::NoGradGuard no_grad;
  model.base().weights().head.zero_();
  EXPECT_THAT(generate_answers(model, {{5, 6}}, {}, {}, settings_of(2))[0], ElementsAre(0, 0));
}

TEST(Generate, EndsWhereTheBaseModelHasNoPositionsLeft) {
  BaseConfig config = tiny_config();
  config.max_positions = 8;
  const ClaraModel model = tiny_model(config);
  // The prompt takes positions 0 to 5; the first two new tokens are read at 6 and 7, and the third
  // one, which they predict, has no place to be read at.
  const auto answers = generate_answers(model, {{1, 2, 3, 4, 5, 6}}, {}, {}, settings_of(12));
  EXPECT_EQ(answers[0].size(), 3u);
}

TEST(Generate, EndsWhereTheSlidingWindowIsFull) {
  BaseConfig config = tiny_config();
  config.sliding_window = 8;
  const ClaraModel model = tiny_model(config);
  EXPECT_EQ(generate_answers(model, {{1, 2, 3, 4, 5, 6}}, {}, {}, settings_of(12))[0].size(), 3u);
  try {
    generate_answers(model, {TokenIds(9, 1)}, {}, {});
    FAIL() << "a prompt longer than the window was read";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("sliding window of 8 tokens"));
    EXPECT_THAT(error.what(), testing::HasSubstr("found 9"));
  }
}

/// A model whose rotation changes for sequences longer than `limit`.
BaseConfig longrope_config(std::int64_t limit) {
  BaseConfig config = tiny_config();
  config.model_type = "phi3";
  config.fused_projections = true;
  config.rope.kind = RopeConfig::Kind::kLongRope;
  config.rope.partial_rotary_factor = 0.75;
  config.rope.short_factor = {1.0, 1.1, 1.4};
  config.rope.long_factor = {2.5, 4.5, 9.0};
  config.rope.original_max_positions = static_cast<double>(limit);
  config.rope.attention_factor = 1.3;
  return config;
}

TEST(Generate, CrossingTheLimitOfLongRopeEqualsReadingEverythingAgain) {
  const PromptSet set = make_prompts(5);
  const auto answers_with = [&](std::int64_t limit) {
    const ClaraModel model = tiny_model(longrope_config(limit));
    const auto answers = generate_answers(model, set.prompts, set.latents(), {}, settings_of(12));
    for (std::size_t n = 0; n < set.prompts.size(); ++n) {
      EXPECT_EQ(answers[n],
                generate_without_cache(model, set.prompts[n], set.latents_of_prompt[n], 12))
          << "limit " << limit << ", prompt " << n << " of " << set.prompts[n].size() << " tokens";
    }
    return answers;
  };
  // Prompts of 4 to 18 tokens: some are beyond the limit from the start, some cross it at
  // different steps, and a limit of 40 is never reached.
  const auto near = answers_with(12);
  EXPECT_NE(near, answers_with(40));
  answers_with(5);
}

TEST(Generate, CrossingTheLimitOfLongRopeGivesTheTokensOfTransformers) {
  torch::set_num_threads(1);
  const std::filesystem::path folder = CLARA_SOURCE_DIR "/tests/fixtures/longrope";
  const auto expected = load_tensors(folder / "expected.safetensors");
  const auto tokens = [&](const std::string& name) {
    const torch::Tensor ids = expected.at(name).to(torch::kInt32);
    return TokenIds(ids.const_data_ptr<std::int32_t>(),
                    ids.const_data_ptr<std::int32_t>() + ids.numel());
  };
  const ClaraModel model(load_base_llm(folder, torch::kFloat32, torch::kCPU), LoraSettings{},
                         kNumMemory, "noise", 1);
  GenerationSettings settings = settings_of(expected.at("answer").numel());
  settings.plain_base = true;
  EXPECT_EQ(generate_answers(model, {tokens("prompt")}, {}, {}, settings)[0], tokens("answer"));
}

TEST(Generate, PromptsThatCannotBeReadAreErrors) {
  const ClaraModel model = tiny_model();
  EXPECT_THROW(generate_answers(model, {TokenIds{}}, {}, {}), DataError);
  EXPECT_THROW(generate_answers(model, {TokenIds(65, 1)}, {}, {}), DataError);
  const PromptSet set = make_prompts(3);
  EXPECT_THROW(generate_answers(model, set.prompts, {}, {}), Error);
  EXPECT_THROW(generate_answers(model, set.prompts, torch::zeros({2, kWidth}), {}), Error);
}

TEST(Generate, ValuesThatAreNotFiniteAreAnErrorInsteadOfAnAnswer) {
  const ClaraModel model = tiny_model();
  PromptSet set = make_prompts(3);
  torch::Tensor latents = set.latents().clone();
  latents[0][0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(generate_answers(model, set.prompts, latents, {}, settings_of(2)), NonFiniteError);
}

}  // namespace
}  // namespace clara
