// Hugging Face folders: what is read from them is what was written, and what does not fit is
// refused by name.
#include <fstream>
#include <functional>
#include <iterator>

#include "tests/support/tensor_compare.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/tensor_file.h"
#include "clara/model/base_llm.h"

namespace clara::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;
using Tensors = std::map<std::string, torch::Tensor>;

Json config_json(const BaseConfig& config) {
  Json json = {{"model_type", config.model_type},
               {"hidden_size", config.hidden_size},
               {"intermediate_size", config.intermediate_size},
               {"num_hidden_layers", config.num_layers},
               {"num_attention_heads", config.num_heads},
               {"num_key_value_heads", config.num_kv_heads},
               {"head_dim", config.head_dim},
               {"vocab_size", config.vocab_rows},
               {"max_position_embeddings", config.max_positions},
               {"rms_norm_eps", config.rms_norm_eps},
               {"tie_word_embeddings", config.tie_word_embeddings},
               {"hidden_act", "silu"},
               {"rope_theta", 10000.0},
               {"eos_token_id", kTinyEos}};
  if (config.rope.kind == RopeConfig::Kind::kLongRope) {
    json["partial_rotary_factor"] = config.rope.partial_rotary_factor;
    json["original_max_position_embeddings"] =
        static_cast<std::int64_t>(config.rope.original_max_positions);
    json["rope_scaling"] = {{"type", "longrope"},
                            {"short_factor", config.rope.short_factor},
                            {"long_factor", config.rope.long_factor},
                            {"attention_factor", config.rope.attention_factor}};
  }
  return json;
}

/// The tensors of a checkpoint under their Hugging Face names.
Tensors checkpoint_tensors(const BaseConfig& config, const BaseWeights& weights) {
  Tensors tensors = {{"model.embed_tokens.weight", weights.embedding},
                     {"model.norm.weight", weights.final_norm}};
  if (!config.tie_word_embeddings) tensors["lm_head.weight"] = weights.head;
  const std::vector<ProjectionSpec> projections = config.projections();
  for (std::size_t layer = 0; layer < weights.layers.size(); ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const DecoderLayerWeights& block = weights.layers[layer];
    tensors[prefix + "input_layernorm.weight"] = block.input_norm;
    tensors[prefix + "post_attention_layernorm.weight"] = block.post_attention_norm;
    if (config.qk_norm) {
      tensors[prefix + "self_attn.q_norm.weight"] = block.q_norm;
      tensors[prefix + "self_attn.k_norm.weight"] = block.k_norm;
    }
    for (std::size_t p = 0; p < projections.size(); ++p) {
      tensors[prefix + projections[p].path + ".weight"] = block.projections[p];
      if (projections[p].bias) tensors[prefix + projections[p].path + ".bias"] = block.biases[p];
    }
  }
  return tensors;
}

/// A model folder on disk that a test may spoil.
class ModelFolder : public ::testing::Test {
 protected:
  explicit ModelFolder(const TinyModelOptions& options = {})
      : config(tiny_config(options)), weights(tiny_weights(config, options)) {
    json = config_json(config);
    tensors = checkpoint_tensors(config, weights);
  }

  void write_text(const std::string& name, const std::string& text) const {
    std::ofstream(folder / name) << text;
  }
  void write() const {
    write_text("config.json", json.dump());
    save_tensors(folder / "model.safetensors", tensors);
  }
  BaseLlm load(torch::Dtype dtype = torch::kFloat32) const {
    return load_base_llm(folder.path(), dtype, torch::kCPU);
  }
  /// The message of the DataError that loading ends in.
  std::string refusal() const {
    write();
    return message_of([&] { load(); });
  }
  static std::string message_of(const std::function<void()>& action) {
    try {
      action();
    } catch (const DataError& error) {
      return error.what();
    }
    return "no DataError";
  }

  TemporaryFolder folder;
  BaseConfig config;
  BaseWeights weights;
  Json json;
  Tensors tensors;
};

torch::Tensor states(const BaseLlm& base) {
  const torch::NoGradGuard no_grad;
  const auto layout = std::make_shared<PackedLayout>(std::vector<std::int64_t>{5, 9}, torch::kCPU);
  const torch::Tensor ids = torch::arange(14) % kTinyVocabRows;
  return base.forward(base.weights().embedding.index_select(0, ids), layout, nullptr);
}

using LoadBase = ModelFolder;

TEST_F(LoadBase, ComputesWhatTheModelOnDiskComputes) {
  write();
  const BaseLlm loaded = load();
  EXPECT_TRUE(torch::equal(states(loaded), states(BaseLlm(config, weights))));
  EXPECT_TRUE(loaded.weights().head.is_same(loaded.weights().embedding)) << "a tied head is shared";
}

TEST(LoadBaseFamilies, UntiedHeadsBiasesHeadNormsAndFusedProjectionsAreRead) {
  std::vector<TinyModelOptions> families(4);
  families[0].tied = false;
  families[1].qkv_bias = true;
  families[2].qk_norm = true;
  families[3].phi3 = true;
  for (const TinyModelOptions& options : families) {
    const BaseConfig config = tiny_config(options);
    const BaseWeights weights = tiny_weights(config, options);
    const TemporaryFolder folder;
    std::ofstream(folder / "config.json") << config_json(config).dump();
    save_tensors(folder / "model.safetensors", checkpoint_tensors(config, weights));
    const BaseLlm loaded = load_base_llm(folder.path(), torch::kFloat32, torch::kCPU);
    EXPECT_TRUE(torch::equal(states(loaded), states(BaseLlm(config, weights))));
    EXPECT_TRUE(torch::equal(loaded.weights().head, weights.head));
  }
}

TEST_F(LoadBase, ConvertsStoredHalvesToTheTypeAskedFor) {
  for (const torch::Dtype stored : {torch::kBFloat16, torch::kFloat16}) {
    Tensors halves;
    for (const auto& [name, tensor] : tensors) halves[name] = tensor.to(stored);
    write_text("config.json", json.dump());
    save_tensors(folder / "model.safetensors", halves);
    for (const torch::Dtype asked : {torch::kFloat32, torch::kBFloat16}) {
      const BaseLlm loaded = load(asked);
      EXPECT_EQ(loaded.dtype(), asked);
      EXPECT_TRUE(torch::equal(loaded.weights().embedding, weights.embedding.to(stored).to(asked)));
      EXPECT_TRUE(torch::equal(loaded.weights().layers[1].projections.back(),
                               weights.layers[1].projections.back().to(stored).to(asked)));
    }
  }
}

TEST_F(LoadBase, ReadsShards) {
  write_text("config.json", json.dump());
  Tensors shards[2];
  Json map = Json::object();
  std::size_t i = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t which = i++ % 2;
    shards[which][name] = tensor;
    map[name] = "model-0000" + std::to_string(which + 1) + "-of-00002.safetensors";
  }
  save_tensors(folder / "model-00001-of-00002.safetensors", shards[0]);
  save_tensors(folder / "model-00002-of-00002.safetensors", shards[1]);
  write_text("model.safetensors.index.json", Json{{"weight_map", map}}.dump());
  EXPECT_TRUE(torch::equal(states(load()), states(BaseLlm(config, weights))));
}

TEST_F(LoadBase, IgnoresWhatNoComputationReads) {
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch::ones({4});
  tensors["lm_head.weight"] = torch::zeros({kTinyVocabRows, kTinyWidth});
  write();
  EXPECT_TRUE(torch::equal(states(load()), states(BaseLlm(config, weights))));
}

TEST_F(LoadBase, NamesAMissingTensor) {
  tensors.erase("model.layers.1.mlp.up_proj.weight");
  EXPECT_THAT(refusal(), AllOf(HasSubstr(folder.path().string()),
                               HasSubstr("model.layers.1.mlp.up_proj.weight")));
  EXPECT_THAT(message_of([&] { check_base_tensors(folder.path(), config); }),
              HasSubstr("model.layers.1.mlp.up_proj.weight"))
      << "found without reading weights, too";
}

TEST_F(LoadBase, NamesBothShapesAndWhatConfigJsonSays) {
  tensors["model.layers.1.mlp.up_proj.weight"] = torch::zeros({47, 32});
  EXPECT_THAT(refusal(),
              HasSubstr("tensor model.layers.1.mlp.up_proj.weight: expected [48, 32], found [47, "
                        "32] (config.json says intermediate_size 48)"));
}

TEST_F(LoadBase, ATensorThatNobodyReadsIsAnError) {
  tensors["model.layers.0.self_attn.q_proj.bias"] = torch::zeros({32});
  EXPECT_THAT(refusal(), AllOf(HasSubstr("model.layers.0.self_attn.q_proj.bias"),
                               HasSubstr("\"llama\""), HasSubstr("config.json")));
}

TEST_F(LoadBase, RefusesATypeThatIsNoWeight) {
  tensors["model.norm.weight"] = torch::ones({32}, torch::kInt32);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("model.norm.weight"), HasSubstr("expected float32"),
                               HasSubstr("found I32")));
}

TEST_F(LoadBase, SaysThatQuantisedWeightsAreNotSupported) {
  tensors["model.layers.0.mlp.up_proj.weight"] = torch::ones({48, 32}, torch::kUInt8);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("model.layers.0.mlp.up_proj.weight"), HasSubstr("U8"),
                               HasSubstr("quantised bases are not supported")));
}

TEST_F(LoadBase, NamesATruncatedFile) {
  write();
  const auto path = folder / "model.safetensors";
  for (const std::uintmax_t size : {std::filesystem::file_size(path) - 1, std::uintmax_t{100},
                                    std::uintmax_t{5}, std::uintmax_t{0}}) {
    std::filesystem::resize_file(path, size);
    EXPECT_THAT(message_of([&] { load(); }), HasSubstr("model.safetensors")) << size;
  }
}

TEST_F(LoadBase, NamesAFolderWithoutWeightsOrConfig) {
  write_text("config.json", json.dump());
  EXPECT_THAT(message_of([&] { load(); }), HasSubstr(folder.path().string()));
  EXPECT_THAT(message_of([&] { load_base_llm(folder / "none", torch::kFloat32, torch::kCPU); }),
              AllOf(HasSubstr("none"), HasSubstr("config.json")));
  const TemporaryFolder empty;
  EXPECT_THAT(message_of([&] { load_base_llm(empty.path(), torch::kFloat32, torch::kCPU); }),
              HasSubstr("config.json"));
}

// ---- config.json --------------------------------------------------------------------------------

using LoadBaseConfig = ModelFolder;

TEST_F(LoadBaseConfig, ReadsEveryValue) {
  write();
  const BaseConfig read = load_base_config(folder.path());
  EXPECT_EQ(read.model_type, "llama");
  EXPECT_EQ(read.hidden_size, 32);
  EXPECT_EQ(read.intermediate_size, 48);
  EXPECT_EQ(read.num_layers, 2);
  EXPECT_EQ(read.num_heads, 4);
  EXPECT_EQ(read.num_kv_heads, 2);
  EXPECT_EQ(read.head_dim, 8);
  EXPECT_EQ(read.vocab_rows, kTinyVocabRows);
  EXPECT_EQ(read.max_positions, 96);
  EXPECT_EQ(read.rms_norm_eps, 1e-5);
  EXPECT_TRUE(read.tie_word_embeddings);
  EXPECT_THAT(read.end_ids, ElementsAre(kTinyEos));
}

TEST_F(LoadBaseConfig, CountsEveryParameter) {
  for (const bool tied : {true, false}) {
    TinyModelOptions options;
    options.tied = tied;
    options.qk_norm = !tied;
    options.phi3 = tied;
    const BaseConfig described = tiny_config(options);
    std::int64_t total = 0;
    for (const auto& [name, tensor] :
         checkpoint_tensors(described, tiny_weights(described, options)))
      total += tensor.numel();
    EXPECT_EQ(described.num_parameters(), total);
  }
}

TEST_F(LoadBaseConfig, DefaultsAreThoseOfTheFamily) {
  for (const char* key : {"num_key_value_heads", "head_dim", "tie_word_embeddings", "rope_theta",
                          "hidden_act", "eos_token_id"})
    json.erase(key);
  write();
  const BaseConfig read = load_base_config(folder.path());
  EXPECT_EQ(read.num_kv_heads, 4);
  EXPECT_EQ(read.head_dim, 8);
  EXPECT_FALSE(read.tie_word_embeddings);
  EXPECT_EQ(read.rope.theta, 10000.0);
  EXPECT_TRUE(read.end_ids.empty());
}

TEST_F(LoadBaseConfig, EndTokensOfBothFilesAreJoined) {
  json["eos_token_id"] = {2, 7};
  write();
  write_text("generation_config.json", R"({"eos_token_id": [7, 9]})");
  EXPECT_THAT(load_base_config(folder.path()).end_ids, ElementsAre(2, 7, 9));
}

TEST_F(LoadBaseConfig, RopeScalingHasTwoSpellings) {
  const Json llama3 = {{"rope_type", "llama3"},
                       {"factor", 32.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 8192}};
  const auto expect_llama3 = [&](double theta) {
    write();
    const RopeConfig rope = load_base_config(folder.path()).rope;
    EXPECT_EQ(rope.kind, RopeConfig::Kind::kLlama3);
    EXPECT_EQ(rope.theta, theta);
    EXPECT_EQ(rope.factor, 32);
    EXPECT_EQ(rope.original_max_positions, 8192);
  };
  json["rope_theta"] = 500000.0;
  json["rope_scaling"] = llama3;
  expect_llama3(500000);
  json.erase("rope_theta");
  json.erase("rope_scaling");
  json["rope_parameters"] = llama3;
  json["rope_parameters"]["rope_theta"] = 250000.0;
  expect_llama3(250000);
  json["rope_parameters"] = nullptr;
  json["rope_scaling"] = {{"type", "linear"}, {"factor", 2.0}};
  write();
  EXPECT_EQ(load_base_config(folder.path()).rope.kind, RopeConfig::Kind::kLinear);
}

TEST_F(LoadBaseConfig, RefusesByFileAndKey) {
  struct Refusal {
    const char* key;  // the key that the message names
    Json change;      // merged into the config; null erases
  };
  const std::vector<Refusal> refusals = {
      {"model_type", {{"model_type", "gpt2"}}},
      {"model_type", {{"model_type", nullptr}}},
      {"hidden_size", {{"hidden_size", nullptr}}},
      {"hidden_size", {{"hidden_size", -32}}},
      {"hidden_size", {{"hidden_size", "32"}}},
      {"hidden_size", {{"hidden_size", 32.5}}},
      {"intermediate_size", {{"intermediate_size", 0}}},
      {"num_hidden_layers", {{"num_hidden_layers", nullptr}}},
      {"num_attention_heads", {{"num_attention_heads", nullptr}}},
      {"num_attention_heads",
       {{"num_attention_heads", 6}, {"num_key_value_heads", 2}, {"head_dim", nullptr}}},
      {"num_key_value_heads", {{"num_key_value_heads", 3}}},
      {"head_dim", {{"head_dim", 7}}},
      {"vocab_size", {{"vocab_size", nullptr}}},
      {"max_position_embeddings", {{"max_position_embeddings", nullptr}}},
      {"rms_norm_eps", {{"rms_norm_eps", nullptr}}},
      {"rms_norm_eps", {{"rms_norm_eps", "1e-5"}}},
      {"tie_word_embeddings", {{"tie_word_embeddings", "yes"}}},
      {"eos_token_id", {{"eos_token_id", "</s>"}}},
      {"eos_token_id", {{"eos_token_id", -2}}},
      {"hidden_act", {{"hidden_act", "gelu"}}},
      {"quantization_config", {{"quantization_config", {{"bits", 4}}}}},
      {"attn_logit_softcapping", {{"attn_logit_softcapping", 50.0}}},
      {"final_logit_softcapping", {{"final_logit_softcapping", 30.0}}},
      {"num_local_experts", {{"num_local_experts", 8}}},
      {"num_experts", {{"num_experts", 64}}},
      {"partial_rotary_factor", {{"partial_rotary_factor", 0.75}}},
      {"partial_rotary_factor", {{"model_type", "phi3"}, {"partial_rotary_factor", 0}}},
      {"partial_rotary_factor", {{"model_type", "phi3"}, {"partial_rotary_factor", 1.5}}},
      {"partial_rotary_factor", {{"model_type", "phi3"}, {"partial_rotary_factor", 1e300}}},
      {"partial_rotary_factor", {{"model_type", "phi3"}, {"partial_rotary_factor", 0.4}}},
      {"model_type", {{"model_type", "gemma3_text"}}},
      {"sliding_window", {{"model_type", "mistral"}, {"sliding_window", 0}}},
      {"sliding_window", {{"model_type", "phi3"}, {"sliding_window", "wide"}}},
      {"layer_types", {{"layer_types", {"full_attention", "linear_attention"}}}},
      {"layer_types", {{"layer_types", "full_attention"}}},
      {"attention_bias", {{"model_type", "mistral"}, {"attention_bias", true}}},
      {"attention_bias", {{"model_type", "phi3"}, {"attention_bias", true}}},
      {"mlp_bias", {{"model_type", "qwen2"}, {"mlp_bias", true}}},
      {"lm_head_bias", {{"lm_head_bias", true}}},
      {"dual_chunk_attention_config", {{"dual_chunk_attention_config", {{"chunk_size", 8}}}}},
      {"rope_theta", {{"rope_theta", 0.5}}},
      {"rope_parameters",
       {{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}},
        {"rope_parameters", {{"type", "linear"}, {"factor", 4.0}}}}},
      {"full_attention", {{"rope_parameters", {{"full_attention", {{"rope_type", "default"}}}}}}},
      {"short_factor", {{"rope_scaling", {{"type", "longrope"}, {"long_factor", {1, 1, 1, 1}}}}}},
      {"long_factor",
       {{"rope_scaling",
         {{"type", "longrope"}, {"short_factor", {1, 1, 1, 1}}, {"long_factor", {1, 1, 1}}}}}},
      {"long_factor",
       {{"rope_scaling",
         {{"type", "longrope"}, {"short_factor", {1, 1, 1, 1}}, {"long_factor", {1, 0, 1, 1}}}}}},
      {"long_factor",
       {{"rope_scaling",
         {{"type", "longrope"}, {"short_factor", {1, 1, 1, 1}}, {"long_factor", 3}}}}},
      {"long_mscale",
       {{"rope_scaling",
         {{"type", "longrope"},
          {"short_factor", {1, 1, 1, 1}},
          {"long_factor", {1, 1, 1, 1}},
          {"long_mscale", 1.2}}}}},
      {"attention_factor",
       {{"rope_scaling",
         {{"type", "longrope"},
          {"short_factor", {1, 1, 1, 1}},
          {"long_factor", {1, 1, 1, 1}},
          {"attention_factor", -1}}}}},
      {"rope_theta", {{"rope_theta", "large"}}},
      {"rope_scaling", {{"rope_scaling", "linear"}}},
      {"rope_type", {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}}}},
      {"factor", {{"rope_scaling", {{"rope_type", "linear"}}}}},
      {"factor", {{"rope_scaling", {{"rope_type", "linear"}, {"factor", 0.5}}}}},
      {"low_freq_factor", {{"rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}}}},
  };
  const Json sound = json;
  for (const Refusal& refusal : refusals) {
    json = sound;
    for (const auto& [key, value] : refusal.change.items()) {
      if (value.is_null()) {
        json.erase(key);
      } else {
        json[key] = value;
      }
    }
    write_text("config.json", json.dump());
    EXPECT_THAT(message_of([&] { load_base_config(folder.path()); }),
                AllOf(HasSubstr((folder / "config.json").string()), HasSubstr(refusal.key)))
        << refusal.change.dump();
  }
  json = sound;
  write_text("config.json", json.dump());
  EXPECT_NO_THROW(load_base_config(folder.path())) << "the table starts from a sound config";
}

TEST_F(LoadBaseConfig, AWindowSetsTheLongestSequenceWhereTheFamilyUsesIt) {
  struct Case {
    Json change;
    std::int64_t longest;  // of 96 positions
  };
  const std::vector<Case> cases = {
      {{{"model_type", "mistral"}, {"sliding_window", nullptr}}, 96},
      {{{"model_type", "mistral"}, {"sliding_window", 96}}, 96},
      {{{"model_type", "mistral"}, {"sliding_window", 200}}, 96},
      {{{"model_type", "mistral"}, {"sliding_window", 64}}, 64},
      {{{"model_type", "mistral"}}, 96},  // transformers' own window of 4,096
      {{{"model_type", "mistral"}, {"max_position_embeddings", 8192}}, 4096},
      {{{"model_type", "phi3"}, {"sliding_window", 64}}, 64},
      {{{"model_type", "phi3"}}, 96},
      {{{"model_type", "qwen2"}, {"sliding_window", 64}}, 96},
      {{{"model_type", "qwen2"}, {"sliding_window", 64}, {"use_sliding_window", false}}, 96},
      {{{"model_type", "qwen2"}, {"sliding_window", 64}, {"use_sliding_window", true}}, 64},
      {{{"model_type", "qwen3"},
        {"sliding_window", 64},
        {"use_sliding_window", true},
        {"max_window_layers", 2}},
       96},  // no layer is above
      {{{"model_type", "qwen3"},
        {"sliding_window", 64},
        {"use_sliding_window", true},
        {"max_window_layers", 1}},
       64},
      {{{"model_type", "qwen3"},
        {"sliding_window", 64},
        {"layer_types", {"full_attention", "sliding_attention"}}},
       64},
      {{{"model_type", "qwen3"},
        {"sliding_window", 64},
        {"layer_types", {"full_attention", "full_attention"}}},
       96},
      {{{"use_sliding_window", true}, {"sliding_window", 64}}, 64},
  };
  const Json sound = json;
  for (const Case& c : cases) {
    json = sound;
    json.update(c.change);
    write_text("config.json", json.dump());
    const BaseConfig read = load_base_config(folder.path());
    EXPECT_EQ(read.longest_sequence(), c.longest) << c.change.dump();
    EXPECT_THAT(
        read.longest_sequence_reason(),
        HasSubstr(c.longest == read.max_positions ? "max_position_embeddings" : "sliding_window"))
        << c.change.dump();
  }
}

TEST_F(LoadBaseConfig, LongRopeIsReadInEitherSpelling) {
  const Json factors = {{"short_factor", {1.0, 1.1, 1.2, 1.3}},
                        {"long_factor", {2.0, 3.0, 4.0, 5.0}}};
  const auto read = [&](const Json& change) {
    Json changed = json;
    changed.update(change);
    write_text("config.json", changed.dump());
    return load_base_config(folder.path()).rope;
  };
  Json section = factors;
  section["type"] = "longrope";
  // 96 positions stretched from 32: √(1 + ln 3 / ln 32).
  const double stretched = 1.1476029;
  const RopeConfig first =
      read({{"rope_scaling", section}, {"original_max_position_embeddings", 32}});
  EXPECT_EQ(first.kind, RopeConfig::Kind::kLongRope);
  EXPECT_THAT(first.long_factor, ElementsAre(2, 3, 4, 5));
  EXPECT_THAT(first.short_factor, ElementsAre(1, 1.1, 1.2, 1.3));
  EXPECT_EQ(first.original_max_positions, 32);
  EXPECT_NEAR(first.attention_factor, stretched, 1e-6);

  section = factors;
  section["rope_type"] = "longrope";
  section["rope_theta"] = 20000.0;
  section["original_max_position_embeddings"] = 32;
  const RopeConfig second = read({{"rope_parameters", section}, {"rope_theta", nullptr}});
  EXPECT_EQ(second.theta, 20000);
  EXPECT_EQ(second.original_max_positions, 32);
  EXPECT_NEAR(second.attention_factor, stretched, 1e-6);

  section["factor"] = 1.0;
  EXPECT_EQ(read({{"rope_parameters", section}}).attention_factor, 1);
  section["attention_factor"] = 1.5;
  EXPECT_EQ(read({{"rope_parameters", section}}).attention_factor, 1.5);
}

TEST_F(LoadBaseConfig, PartialRotaryIsReadInEitherSpelling) {
  json["model_type"] = "phi3";
  json["partial_rotary_factor"] = 0.5;
  write();
  EXPECT_EQ(load_base_config(folder.path()).rope.rotary_dims(8), 4);
  json.erase("partial_rotary_factor");
  json["rope_parameters"] = {{"rope_type", "default"}, {"partial_rotary_factor", 0.75}};
  write_text("config.json", json.dump());
  EXPECT_EQ(load_base_config(folder.path()).rope.rotary_dims(8), 6);
}

// ---- published configs --------------------------------------------------------------------------

BaseConfig published(const std::string& name) {
  return load_base_config(std::filesystem::path(CLARA_SOURCE_DIR "/tests/fixtures/configs") / name);
}

TEST(PublishedConfigs, Mistral7bInstruct) {
  const BaseConfig mistral = published("mistral-7b-instruct-v0.2");
  EXPECT_EQ(mistral.head_dim, 128);
  EXPECT_EQ(mistral.rope.theta, 1e6);
  EXPECT_EQ(mistral.longest_sequence(), 32768);
  EXPECT_FALSE(mistral.tie_word_embeddings);
  EXPECT_EQ(mistral.num_parameters(), 7241732096);  // the count of the published model
}

TEST(PublishedConfigs, Phi4MiniInstruct) {
  const BaseConfig phi = published("phi-4-mini-instruct");
  EXPECT_TRUE(phi.fused_projections);
  EXPECT_EQ(phi.head_dim, 128);
  EXPECT_EQ(phi.rope.rotary_dims(phi.head_dim), 96);
  EXPECT_EQ(phi.rope.long_factor.size(), 48u);
  EXPECT_EQ(phi.rope.original_max_positions, 4096);
  EXPECT_NEAR(phi.rope.attention_factor, 1.1902380, 1e-6);  // √(1 + ln 32 / ln 4096)
  EXPECT_EQ(phi.longest_sequence(), 131072) << "the window of 262,144 holds every sequence";
  EXPECT_TRUE(phi.tie_word_embeddings);
  EXPECT_THAT(phi.end_ids, ElementsAre(199999));
  EXPECT_EQ(phi.num_parameters(), 3836021760);  // the count of the published model
}

TEST(PublishedConfigs, Phi3MiniHasAWindowOfOneTokenLessThanItsUsualLimit) {
  const BaseConfig phi = published("phi-3-mini-4k-instruct");
  EXPECT_EQ(phi.longest_sequence(), 2047);
  EXPECT_EQ(phi.longest_sequence_reason(),
            "sliding window of 2047 tokens (config.json: sliding_window)");
  EXPECT_EQ(phi.num_parameters(), 3821079552);  // the count of the published model
}

TEST_F(LoadBaseConfig, NamesAFileThatIsNoJsonObject) {
  for (const char* text : {"", "{\"hidden_size\": 32", "[1, 2]", "null"}) {
    write_text("config.json", text);
    EXPECT_THAT(message_of([&] { load_base_config(folder.path()); }),
                HasSubstr((folder / "config.json").string()))
        << text;
  }
}

}  // namespace
}  // namespace clara::testing
