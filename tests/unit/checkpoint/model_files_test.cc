// Folders of a model: adapters in PEFT's layout, the added rows, clara.json, the tokenizer with the
// added tokens, and opening all of it again.
#include "clara/checkpoint/model_files.h"

#include <fstream>
#include <functional>

#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/checkpoint/open_model.h"
#include "clara/checkpoint/peft_adapter.h"
#include "clara/checkpoint/tokenizer_export.h"
#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"

namespace clara::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;
namespace fs = std::filesystem;

const char* const kBaseFolder = CLARA_SOURCE_DIR "/tests/fixtures/parity/llama_tied/base";

template <typename Expected = CheckpointError>
std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Expected& error) {
    return error.what();
  }
  return "accepted";
}

// ---- PEFT ---------------------------------------------------------------------------------------

class PeftAdapter : public ::testing::Test {
 protected:
  PeftAdapter() { save_peft_adapter(folder.path(), adapter, "models/tiny"); }

  /// Saves the adapter's tensors after a change to them.
  void rewrite(const std::function<void(std::map<std::string, torch::Tensor>&)>& change) const {
    std::map<std::string, torch::Tensor> tensors =
        load_tensors(folder / "adapter_model.safetensors");
    change(tensors);
    save_tensors(folder / "adapter_model.safetensors", tensors, {{"format", "pt"}});
  }
  Json config() const { return Json::parse(read_file(folder / "adapter_config.json")); }
  void write_config(const Json& json) const {
    std::ofstream(folder / "adapter_config.json") << json.dump();
  }
  std::string load_message() const {
    LoraAdapter target(tiny_config(), tiny_lora(), 8, torch::kCPU);
    return message_of([&] { load_peft_adapter(folder.path(), target); });
  }

  TemporaryFolder folder;
  std::unique_ptr<ClaraModel> model = tiny_model();
  LoraAdapter& adapter = model->adapter(AdapterRole::kGenerator);
};

TEST_F(PeftAdapter, ComesBackBitForBit) {
  LoraAdapter loaded(tiny_config(), tiny_lora(), 8, torch::kCPU);
  load_peft_adapter(folder.path(), loaded);
  const std::vector<NamedTensor> a = loaded.named_tensors(), b = adapter.named_tensors();
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].name, b[i].name);
    EXPECT_TRUE(torch::equal(a[i].tensor, b[i].tensor)) << a[i].name;
  }
  const LoraSettings settings = read_peft_settings(folder.path());
  EXPECT_EQ(settings.rank, 4);
  EXPECT_EQ(settings.alpha, 8);
  EXPECT_EQ(settings.dropout, 0.1);
  EXPECT_EQ(settings.target_modules.size(), 7U);
}

TEST_F(PeftAdapter, SaysWhatPeftReads) {
  const Json json = config();
  EXPECT_EQ(json.at("peft_type"), "LORA");
  EXPECT_EQ(json.at("task_type"), "CAUSAL_LM");
  EXPECT_EQ(json.at("r"), 4);
  EXPECT_EQ(json.at("lora_alpha"), 8);
  EXPECT_EQ(json.at("base_model_name_or_path"), "models/tiny");
  for (const auto& [name, tensor] : load_tensors(folder / "adapter_model.safetensors")) {
    EXPECT_TRUE(name.starts_with("base_model.model.model.layers.")) << name;
    EXPECT_EQ(tensor.dtype(), torch::kFloat32) << name;
  }
}

TEST_F(PeftAdapter, NamesTheTensorThatDoesNotFit) {
  const std::string name = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight";
  rewrite([&](auto& tensors) { tensors[name] = torch::zeros({48, 2}); });
  EXPECT_THAT(load_message(), AllOf(HasSubstr("adapter_model.safetensors"), HasSubstr(name),
                                    HasSubstr("[48, 4]"), HasSubstr("[48, 2]")));
  rewrite([&](auto& tensors) { tensors.erase(name); });
  EXPECT_THAT(load_message(), AllOf(HasSubstr(name), HasSubstr("missing")));
  rewrite([&](auto& tensors) {
    tensors[name] = torch::zeros({48, 4});
    tensors["base_model.model.lm_head.lora_A.weight"] = torch::zeros({4, 32});
  });
  EXPECT_THAT(load_message(), HasSubstr("base_model.model.lm_head.lora_A.weight"));
  fs::remove(folder / "adapter_model.safetensors");
  EXPECT_THAT(load_message(), HasSubstr("adapter_model.safetensors"));
}

TEST_F(PeftAdapter, OtherFloatTypesAreConverted) {
  rewrite([](auto& tensors) {
    for (auto& [name, tensor] : tensors) tensor = tensor.to(torch::kBFloat16);
  });
  LoraAdapter loaded(tiny_config(), tiny_lora(), 8, torch::kCPU);
  load_peft_adapter(folder.path(), loaded);
  const torch::Tensor found = loaded.named_tensors()[0].tensor,
                      saved = adapter.named_tensors()[0].tensor;
  EXPECT_EQ(found.dtype(), torch::kFloat32);
  EXPECT_TRUE(torch::equal(found, saved.to(torch::kBFloat16).to(torch::kFloat32)));
}

TEST_F(PeftAdapter, WhatIsNotPlainLoraIsRefusedByKey) {
  const Json sound = config();
  const std::vector<std::pair<std::string, Json>> refusals = {
      {"peft_type", "IA3"},
      {"use_dora", true},
      {"fan_in_fan_out", true},
      {"bias", "all"},
      {"r", 0},
      {"r", "16"},
      {"lora_alpha", nullptr},
      {"rank_pattern", {{"q_proj", 8}}},
      {"alpha_pattern", {{"q_proj", 8}}},
  };
  for (const auto& [key, value] : refusals) {
    Json json = sound;
    json[key] = value;
    write_config(json);
    EXPECT_THAT(message_of([&] { read_peft_settings(folder.path()); }),
                AllOf(HasSubstr("adapter_config.json"), HasSubstr(key)))
        << value.dump();
  }
  Json json = sound;
  json["use_rslora"] = true;
  write_config(json);
  EXPECT_EQ(read_peft_settings(folder.path()).alpha, 16) << "alpha / sqrt(4) = 16 / 4";
  std::ofstream(folder / "adapter_config.json") << "{";
  EXPECT_THAT(message_of([&] { read_peft_settings(folder.path()); }),
              HasSubstr("adapter_config.json"));
}

// ---- model files --------------------------------------------------------------------------------

class ModelFiles : public ::testing::Test {
 protected:
  ModelFiles() {
    description.base = "models/tiny";
    description.stage = "tune";
    description.step = 9;
    description.num_memory_tokens = kTinyNumMemory;
    description.lora = tiny_lora();
    description.lora.target_modules = {};
    save_model_files(folder.path(), *model, description);
  }

  TemporaryFolder folder;
  std::unique_ptr<ClaraModel> model = tiny_model();
  ModelDescription description;
};

TEST_F(ModelFiles, EveryAdapterIsAPeftFolder) {
  for (AdapterRole role : kAdapterRoles) {
    LoraAdapter loaded(tiny_config(), tiny_lora(), 8, torch::kCPU);
    load_peft_adapter(folder / "adapters" / adapter_name(role), loaded);
    EXPECT_TRUE(torch::equal(loaded.named_tensors()[3].tensor,
                             model->adapter(role).named_tensors()[3].tensor));
  }
}

TEST_F(ModelFiles, DescriptionComesBack) {
  const ModelDescription read = read_model_description(folder.path());
  EXPECT_EQ(read.base, description.base);
  EXPECT_EQ(read.stage, description.stage);
  EXPECT_EQ(read.step, 9);
  EXPECT_EQ(read.num_memory_tokens, kTinyNumMemory);
  EXPECT_EQ(read.doc_max_tokens, 256);
  EXPECT_EQ(read.lora.rank, 4);
  EXPECT_EQ(read.lora.dropout, 0.1);
}

TEST_F(ModelFiles, ADescriptionThatCannotBeUsedIsRefused) {
  const Json sound = Json::parse(read_file(folder / "clara.json"));
  const auto message = [&](const Json& json) {
    std::ofstream(folder / "clara.json") << json.dump();
    return message_of([&] { read_model_description(folder.path()); });
  };
  Json json = sound;
  json["format_version"] = 2;
  EXPECT_THAT(message(json), HasSubstr("newer release"));
  for (const char* key : {"format_version", "base", "stage", "num_memory_tokens", "lora"}) {
    json = sound;
    json.erase(key);
    EXPECT_THAT(message(json), AllOf(HasSubstr("clara.json"), HasSubstr(key)));
  }
  for (const Json& value : {Json(4294967297), Json(1e300), Json("1"), Json(nullptr)}) {
    json = sound;
    json["format_version"] = value;
    EXPECT_THAT(message(json), HasSubstr("format_version: expected a whole number, found "));
    json = sound;
    json["lora"]["rank"] = value == Json(4294967297) ? Json(1.5) : value;
    EXPECT_THAT(message(json), HasSubstr("rank: expected a whole number, found "));
  }
  json = sound;
  json["num_memory_tokens"] = 0;
  EXPECT_THAT(message(json), HasSubstr("num_memory_tokens"));
  fs::remove(folder / "clara.json");
  EXPECT_THAT(message_of([&] { read_model_description(folder.path()); }),
              AllOf(HasSubstr(folder.path().string()), HasSubstr("clara.json")));
}

TEST_F(ModelFiles, EveryAddedRowIsAccountedFor) {
  const fs::path path = folder / "memory_tokens.safetensors";
  const auto sound = load_tensors(path);
  const auto message = [&](const std::map<std::string, torch::Tensor>& tensors) {
    save_tensors(path, tensors);
    return message_of([&] { load_model_files(folder.path(), *tiny_model()); });
  };
  EXPECT_EQ(message(sound), "accepted");
  auto tensors = sound;
  tensors.erase("fixed_rows");
  EXPECT_THAT(message(tensors), HasSubstr("fixed_rows"));
  tensors = sound;
  tensors["memory_rows"] = torch::zeros({16, kTinyWidth});
  EXPECT_THAT(message(tensors), AllOf(HasSubstr("memory_rows"), HasSubstr("compression rate")));
  tensors = sound;
  tensors["head_rows"] = torch::zeros({7, kTinyWidth});
  EXPECT_THAT(message(tensors), HasSubstr("head_rows"));
  fs::remove(path);
  EXPECT_THAT(message_of([&] { load_model_files(folder.path(), *tiny_model()); }),
              HasSubstr("memory_tokens.safetensors"));
}

TEST_F(ModelFiles, AFolderOfSomeAdaptersLeavesTheOthersAsTheyAre) {
  const TemporaryFolder some;
  description.adapters = {"compressor", "generator"};
  save_model_files(some.path(), *model, description);
  EXPECT_FALSE(fs::exists(some / "adapters/query_reasoner"));
  EXPECT_EQ(read_model_description(some.path()).adapters, description.adapters);
  EXPECT_FALSE(read_model_description(some.path()).holds(AdapterRole::kQueryReasoner));
  EXPECT_TRUE(read_model_description(folder.path()).holds(AdapterRole::kQueryReasoner));
  for (const AdapterShapes shapes : {AdapterShapes::kOfModel, AdapterShapes::kOfFolder}) {
    const std::unique_ptr<ClaraModel> loaded = tiny_model();
    const auto fill = [&](AdapterRole role, double value) {
      const torch::NoGradGuard no_grad;
      for (const NamedTensor& named : loaded->adapter(role).named_tensors())
        named.tensor.detach().fill_(value);
    };
    for (const AdapterRole role : kAdapterRoles) fill(role, 7);
    load_model_files(some.path(), *loaded, shapes);
    const auto first = [&](const ClaraModel& from, AdapterRole role) {
      return from.adapter(role).named_tensors()[0].tensor;
    };
    for (const AdapterRole role : {AdapterRole::kCompressor, AdapterRole::kGenerator})
      EXPECT_TRUE(torch::equal(first(*loaded, role), first(*model, role)));
    EXPECT_TRUE(first(*loaded, AdapterRole::kQueryReasoner).eq(7).all().item<bool>());
  }
  fs::copy(folder / "adapters/query_reasoner", some / "adapters/query_reasoner");
  EXPECT_THAT(message_of([&] { load_model_files(some.path(), *tiny_model()); }),
              HasSubstr("query_reasoner"));
}

TEST_F(ModelFiles, InBfloat16TheyOpenToTheRoundedValues) {
  const TemporaryFolder small;
  write_model_files(small.path(), convert_model_files(describe_model_files(*model, description),
                                                      torch::kBFloat16));
  const std::unique_ptr<ClaraModel> loaded = tiny_model();
  load_model_files(small.path(), *loaded);
  for (const AdapterRole role : kAdapterRoles) {
    const torch::Tensor expected = model->adapter(role).named_tensors()[0].tensor.detach();
    const torch::Tensor found = loaded->adapter(role).named_tensors()[0].tensor.detach();
    EXPECT_EQ(found.scalar_type(), torch::kFloat32);
    EXPECT_TRUE(torch::equal(found, expected.to(torch::kBFloat16).to(torch::kFloat32)));
  }
  EXPECT_LT(fs::file_size(small / "memory_tokens.safetensors"),
            fs::file_size(folder / "memory_tokens.safetensors"));
}

// ---- opening ------------------------------------------------------------------------------------

class OpenModel : public ::testing::Test {
 protected:
  OpenModel()
      : model(load_base_llm(kBaseFolder, torch::kFloat32, torch::kCPU), tiny_lora(), kTinyNumMemory,
              "noise", 3) {
    description.stage = "scp";
    description.num_memory_tokens = kTinyNumMemory;
    description.lora = tiny_lora();
  }
  void save(const std::string& base) {
    description.base = base;
    save_model_files(folder.path(), model, description);
  }

  TemporaryFolder folder;
  ClaraModel model;
  ModelDescription description;
};

TEST_F(OpenModel, OpensWhatWasSaved) {
  save(kBaseFolder);
  const OpenedModel opened = open_checkpoint(folder.path(), "", Dtype::kFloat32, Device::kCpu);
  EXPECT_EQ(opened.description.stage, "scp");
  EXPECT_TRUE(torch::equal(opened.model->memory().memory_rows, model.memory().memory_rows));
  for (AdapterRole role : kAdapterRoles) {
    EXPECT_TRUE(torch::equal(opened.model->adapter(role).named_tensors()[0].tensor,
                             model.adapter(role).named_tensors()[0].tensor));
    EXPECT_FALSE(opened.model->adapter(role).named_tensors()[0].tensor.requires_grad());
  }
  EXPECT_EQ(opened.text.special_tokens.num_memory, kTinyNumMemory);
  EXPECT_FALSE(opened.text.end_ids.empty());
}

TEST_F(OpenModel, FindsABaseBesideTheCheckpointOrWhereItIsTold) {
  save("base");
  EXPECT_THAT(message_of([&] { open_checkpoint(folder.path()); }),
              AllOf(HasSubstr("base"), HasSubstr("--base")));
  EXPECT_NO_THROW(open_checkpoint(folder.path(), kBaseFolder));
  fs::create_directory_symlink(kBaseFolder, folder / "base");
  EXPECT_NO_THROW(open_checkpoint(folder.path()));
}

TEST_F(OpenModel, ADeviceThatIsNotThereIsAConfigError) {
  EXPECT_EQ(resolve_device(Device::kCpu), torch::Device(torch::kCPU));
  EXPECT_EQ(resolve_dtype(Dtype::kFloat32, torch::kCPU), torch::kFloat32);
  EXPECT_EQ(resolve_dtype(Dtype::kBfloat16, torch::kCPU), torch::kBFloat16);
  if (resolve_device(Device::kAuto).is_cuda()) GTEST_SKIP() << "this machine has a CUDA device";
  EXPECT_THAT(message_of<ConfigError>([] { resolve_device(Device::kCuda); }),
              HasSubstr("model.device"));
}

TEST_F(OpenModel, ExportedTokenizersNumberTheAddedTokensAlike) {
  const TextSide text = open_text_side(kBaseFolder, kTinyNumMemory);
  export_tokenizer(kBaseFolder, folder.path(), *text.tokenizer, text.special_tokens);
  const std::unique_ptr<Tokenizer> exported = load_tokenizer(folder.path());
  EXPECT_EQ(exported->size(), text.special_tokens.total_rows());
  for (TokenId id = text.special_tokens.first_memory(); id < text.special_tokens.total_rows();
       ++id) {
    const std::string name = text.special_tokens.name(id);
    EXPECT_EQ(exported->token_to_id(name), id) << name;
    EXPECT_TRUE(exported->is_special(id)) << name;
    EXPECT_EQ(exported->encode(name, SpecialTokenText::kParse), (TokenIds{id}));
    EXPECT_NE(exported->encode(name, SpecialTokenText::kAsText), (TokenIds{id}));
  }
  const std::string sentence = "The tower of 1871, restored twice.";
  EXPECT_EQ(exported->encode(sentence, SpecialTokenText::kParse),
            text.tokenizer->encode(sentence, SpecialTokenText::kParse));
}

}  // namespace
}  // namespace clara::testing
