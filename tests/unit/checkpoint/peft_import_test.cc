// PEFT folders of any kind become adapters that compute what PEFT computes; what is not plain LoRA
// is refused by name. Fixtures: record_peft_adapters.py.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/tensor_compare.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/checkpoint/model_files.h"
#include "clara/checkpoint/peft_adapter.h"
#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"
#include "clara/common/torch_file.h"

namespace clara::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const fs::path kPeft = fs::path(CLARA_SOURCE_DIR) / "tests/fixtures/peft";
const fs::path kBase = fs::path(CLARA_SOURCE_DIR) / "tests/fixtures/parity/llama_tied/base";

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "accepted";
}

const BaseLlm& base() {
  static const BaseLlm kLlm = load_base_llm(kBase, torch::kFloat32, torch::kCPU);
  return kLlm;
}

torch::Tensor logits_with(const LoraAdapter& adapter, const torch::Tensor& ids) {
  const torch::NoGradGuard no_grad;
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < ids.size(0); ++i)
    tokens.push_back(static_cast<std::int32_t>(ids[i].item<std::int64_t>()));
  const PackedSequences packed =
      pack_sequences({&tokens}, {base().config().vocab_rows, 1}, torch::kCPU);
  const torch::Tensor embeddings = base().weights().embedding.index_select(0, packed.ids);
  return torch::mm(base().forward(embeddings, packed.layout, &adapter), base().weights().head.t());
}

double relative_distance(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

TEST(PeftImport, EveryKindOfFolderComputesWhatPeftComputes) {
  const auto expected = load_tensors(kPeft / "expected.safetensors");
  for (const char* name : {"list", "all_linear_float16", "pattern_rslora_bfloat16", "pickled"}) {
    const LoraAdapter adapter = read_peft_adapter(kPeft / name, base().config(), torch::kCPU);
    const torch::Tensor logits = logits_with(adapter, expected.at("ids"));
    EXPECT_LT(relative_distance(logits, expected.at(name)), 2e-5) << name;
    for (const NamedTensor& named : adapter.named_tensors())
      EXPECT_EQ(named.tensor.dtype(), torch::kFloat32) << named.name;
  }
}

TEST(PeftImport, SettingsAreThoseOfTheFolder) {
  const auto read = [](const char* name) {
    return read_peft_adapter(kPeft / name, base().config(), torch::kCPU);
  };
  const LoraAdapter list = read("list");
  EXPECT_EQ(list.settings().rank, 4);
  EXPECT_EQ(list.scale(), 1.5);
  EXPECT_EQ(list.settings().dropout, 0.05);
  EXPECT_THAT(list.target_module_names(), ElementsAre("down_proj", "q_proj", "v_proj"));
  EXPECT_EQ(read("all_linear_float16").target_module_names().size(), 7U);
  const LoraAdapter pattern = read("pattern_rslora_bfloat16");
  EXPECT_NEAR(pattern.scale(), 5 / std::sqrt(3.0), 1e-12);
  EXPECT_THAT(pattern.target_module_names(),
              ElementsAre("model.layers.1.mlp.gate_proj", "model.layers.1.self_attn.k_proj",
                          "model.layers.1.self_attn.o_proj"));
}

TEST(PeftImport, WhatWasReadIsWrittenForPeftAgain) {
  const TemporaryFolder folder;
  for (const char* name : {"list", "all_linear_float16", "pattern_rslora_bfloat16", "pickled"}) {
    const LoraAdapter adapter = read_peft_adapter(kPeft / name, base().config(), torch::kCPU);
    save_peft_adapter(folder / name, adapter, "base");
    const LoraAdapter again = read_peft_adapter(folder / name, base().config(), torch::kCPU);
    EXPECT_NEAR(again.scale(), adapter.scale(), 1e-12);
    EXPECT_EQ(again.target_module_names(), adapter.target_module_names());
    const auto a = again.named_tensors(), b = adapter.named_tensors();
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i)
      EXPECT_TRUE(torch::equal(a[i].tensor, b[i].tensor)) << a[i].name;
  }
}

class PeftImportErrors : public ::testing::Test {
 protected:
  PeftImportErrors() { fs::copy(kPeft / "list", folder.path(), fs::copy_options::recursive); }
  std::string message() const {
    return message_of([&] { read_peft_adapter(folder.path(), base().config(), torch::kCPU); });
  }
  std::string with(const std::string& key, const Json& value) const {
    Json json = Json::parse(read_file(kPeft / "list" / "adapter_config.json"));
    json[key] = value;
    std::ofstream(folder / "adapter_config.json") << json.dump();
    return message();
  }
  std::string changed(
      const std::function<void(std::map<std::string, torch::Tensor>&)>& change) const {
    auto tensors = load_tensors(kPeft / "list" / "adapter_model.safetensors");
    change(tensors);
    save_tensors(folder / "adapter_model.safetensors", tensors);
    return message();
  }
  TemporaryFolder folder;
};

TEST_F(PeftImportErrors, WhatIsNotPlainLoraIsRefusedByName) {
  EXPECT_EQ(message(), "accepted");
  const std::vector<std::pair<std::string, Json>> refusals = {
      {"peft_type", "IA3"},
      {"peft_type", 3},
      {"use_dora", true},
      {"use_qalora", true},
      {"lora_bias", true},
      {"fan_in_fan_out", true},
      {"bias", "all"},
      {"bias", "lora_only"},
      {"modules_to_save", {"lm_head"}},
      {"trainable_token_indices", {1, 2}},
      {"layers_to_transform", {0}},
      {"layers_to_transform", 0},
      {"layers_pattern", "layers"},
      {"layer_replication", {{0, 1}}},
      {"rank_pattern", {{"q_proj", 8}}},
      {"alpha_pattern", {{"q_proj", 8}}},
      {"target_parameters", {"experts"}},
      {"init_lora_weights", "pissa"},
      {"init_lora_weights", "pissa_niter_4"},
      {"init_lora_weights", "olora"},
      {"init_lora_weights", "loftq"},
      {"target_modules", 3},
      {"target_modules", {1}},
      {"target_modules", Json::array()},
  };
  for (const auto& [key, value] : refusals)
    EXPECT_THAT(with(key, value), AllOf(HasSubstr("adapter_config.json: " + key))) << value.dump();
  EXPECT_EQ(with("init_lora_weights", "gaussian"), "accepted");
  EXPECT_EQ(with("layers_pattern", ""), "accepted");
}

TEST_F(PeftImportErrors, ATensorThatIsMissingOrHasNoPlaceIsNamed) {
  const std::string name = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.default.weight";
  const std::string plain = "model.layers.1.self_attn.q_proj.lora_B.weight";
  ASSERT_EQ(changed([&](auto& tensors) { ASSERT_TRUE(tensors.contains(name)); }), "accepted");
  EXPECT_THAT(changed([&](auto& tensors) { tensors.erase(name); }),
              AllOf(HasSubstr(plain), HasSubstr("missing")));
  EXPECT_THAT(changed([](auto& tensors) {
                std::erase_if(tensors, [](const auto& t) {
                  return t.first.find("layers.1.self_attn.q_proj") != std::string::npos;
                });
              }),
              AllOf(HasSubstr("layers.1.self_attn.q_proj.lora_A"), HasSubstr("missing")));
  for (const char* extra :
       {"base_model.model.lm_head.lora_A.weight", "base_model.model.model.embed_tokens.weight",
        "base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector"}) {
    EXPECT_THAT(changed([&](auto& tensors) {
                  tensors[extra] = torch::zeros({4, 64});
                }),
                AllOf(HasSubstr(extra), HasSubstr("no place")));
  }
  const std::string other = "base_model.model.model.layers.0.mlp.up_proj.lora_";
  EXPECT_THAT(changed([&](auto& tensors) {
                tensors[other + "A.weight"] = torch::zeros({4, 64});
                tensors[other + "B.weight"] = torch::zeros({base().config().intermediate_size, 4});
              }),
              AllOf(HasSubstr(other), HasSubstr("not among the target modules")));
  EXPECT_THAT(changed([&](auto& tensors) {
                tensors[name] = torch::zeros({64, 5});
              }),
              AllOf(HasSubstr(name), HasSubstr("[64, 4]"), HasSubstr("[64, 5]")));
  EXPECT_THAT(changed([&](auto& tensors) {
                tensors[name] = torch::zeros({64, 4}, torch::kInt32);
              }),
              AllOf(HasSubstr(name), HasSubstr("I32")));
  EXPECT_THAT(changed([&](auto& tensors) {
                tensors["base_model.model." + plain] = tensors.at(name).clone();
              }),
              HasSubstr("twice"));
  EXPECT_THAT(changed([](auto& tensors) { tensors.clear(); }), HasSubstr("missing"));
  fs::remove(folder / "adapter_model.safetensors");
  EXPECT_THAT(message(), HasSubstr("adapter_model.safetensors: not found"));
}

TEST_F(PeftImportErrors, APickledAdapterIsReadAsDataOrNotAtAll) {
  fs::remove(folder / "adapter_model.safetensors");
  std::ofstream(folder / "adapter_model.bin") << "\x80\x02"
                                                 "cos\nsystem\n(X\x02\0\0\0idtR.";
  try {
    read_peft_adapter(folder.path(), base().config(), torch::kCPU);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("nothing of it was run"));
  }
  write_torch_file(folder / "adapter_model.bin", {{"a", {}}, {"b", {}}});
  EXPECT_THAT(message(), HasSubstr("found dicts in it"));
}

TEST(LoraTargets, AreTheEndOfALayersPathAsInPeft) {
  const std::string path = "model.layers.1.self_attn.q_proj";
  EXPECT_TRUE(is_lora_target({}, path));
  for (const char* target :
       {"q_proj", "self_attn.q_proj", "1.self_attn.q_proj", "model.layers.1.self_attn.q_proj"})
    EXPECT_TRUE(is_lora_target({target}, path)) << target;
  for (const char* target : {"_proj", "proj", "attn.q_proj", "layers.1", "q_proj.weight"})
    EXPECT_FALSE(is_lora_target({target}, path)) << target;
  EXPECT_FALSE(is_lora_target({"layers.1.self_attn.q_proj"}, "model.layers.11.self_attn.q_proj"));
  LoraSettings settings = tiny_lora();
  settings.target_modules = {"model.layers.1.self_attn.q_proj", "v_proj"};
  const LoraAdapter adapter(tiny_config(), settings, 1, torch::kCPU);
  EXPECT_THAT(adapter.target_module_names(),
              ElementsAre("model.layers.1.self_attn.q_proj", "v_proj"));
  EXPECT_EQ(adapter.num_parameters(), count_lora_parameters(tiny_config(), settings));
  constexpr std::size_t kFirst = 0;  // q_proj stands first in projections()
  EXPECT_FALSE(adapter.pair(0, kFirst).defined());
  EXPECT_TRUE(adapter.pair(1, kFirst).defined());
}

/// A checkpoint whose adapters differ in rank and layers is read as it was, not as the config says.
TEST(AdapterShapesOfAFolder, ComeBackAsTheyWere) {
  const TemporaryFolder folder;
  const std::unique_ptr<ClaraModel> model = tiny_model();
  LoraSettings other = tiny_lora();
  other.rank = 2;
  other.target_modules = {"model.layers.0.mlp.up_proj", "k_proj"};
  model->adapter(AdapterRole::kQueryReasoner) = LoraAdapter(tiny_config(), other, 9, torch::kCPU);
  ModelDescription description;
  description.num_memory_tokens = kTinyNumMemory;
  description.lora = tiny_lora();
  save_model_files(folder.path(), *model, description);

  const std::unique_ptr<ClaraModel> loaded = tiny_model({.seed = 3});
  EXPECT_THAT(message_of([&] { load_model_files(folder.path(), *loaded); }),
              HasSubstr("query_reasoner"));
  load_model_files(folder.path(), *loaded, AdapterShapes::kOfFolder);
  for (AdapterRole role : kAdapterRoles) {
    const auto a = loaded->adapter(role).named_tensors(), b = model->adapter(role).named_tensors();
    ASSERT_EQ(a.size(), b.size()) << adapter_name(role);
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].name, b[i].name);
      EXPECT_TRUE(torch::equal(a[i].tensor, b[i].tensor)) << a[i].name;
      EXPECT_FALSE(a[i].tensor.requires_grad());
    }
  }
}

TEST(LoraAdapter, ACloneSharesNothing) {
  const std::unique_ptr<ClaraModel> model = tiny_model();
  LoraAdapter& adapter = model->adapter(AdapterRole::kCompressor);
  adapter.set_requires_grad(true);
  const LoraAdapter copy = adapter.clone();
  const torch::NoGradGuard no_grad;
  const torch::Tensor before = copy.named_tensors()[0].tensor.clone();
  adapter.named_tensors()[0].tensor.add_(1);
  EXPECT_TRUE(torch::equal(copy.named_tensors()[0].tensor, before));
  EXPECT_TRUE(copy.named_tensors()[0].tensor.is_leaf());
  EXPECT_FALSE(copy.named_tensors()[0].tensor.requires_grad());
  EXPECT_EQ(copy.target_module_names(), adapter.target_module_names());
}

}  // namespace
}  // namespace clara::testing
