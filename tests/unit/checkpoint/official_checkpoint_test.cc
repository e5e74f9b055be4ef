// Checkpoints of apple/ml-clara: every tensor of a checkpoint that Python wrote arrives, they
// compute the same, what is exported is read again, and nothing that does not fit passes. Fixtures:
// record_official_checkpoints.py.
#include "clara/checkpoint/official_checkpoint.h"

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/checkpoint/merged_model.h"
#include "clara/checkpoint/open_model.h"
#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"
#include "clara/common/torch_file.h"

namespace clara::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

const fs::path kOfficial = fs::path(CLARA_SOURCE_DIR) / "tests/fixtures/official";
const fs::path kBases = fs::path(CLARA_SOURCE_DIR) / "tests/fixtures/parity";

struct Case {
  std::string name;  ///< folder of the checkpoint
  std::string base;
};
const Case kEndToEnd = {"end_to_end", "llama"};  // untied, bfloat16, rows in the adapters too
const Case kPretraining = {"pretraining", "llama_tied"};  // one <MEM>, no query reasoner

std::string base_of(const Case& c) { return (kBases / c.base / "base").string(); }

template <typename E = CheckpointError>
std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  }
  return "accepted";
}

OpenedModel open(const fs::path& folder, const Case& c) {
  return open_checkpoint(folder, base_of(c), Dtype::kFloat32, Device::kCpu);
}

double relative_distance(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

/// Adapters and added rows of a model under the names of expected.safetensors.
std::map<std::string, torch::Tensor> tensors_of(const ClaraModel& model) {
  std::map<std::string, torch::Tensor> tensors = {{"memory_rows", model.memory().memory_rows},
                                                  {"fixed_rows", model.memory().fixed_rows}};
  if (model.memory().head_rows.defined()) tensors["head_rows"] = model.memory().head_rows;
  for (AdapterRole role : kAdapterRoles) {
    for (const NamedTensor& named : model.adapter(role).named_tensors())
      tensors[adapter_name(role) + "/" + named.name] = named.tensor;
  }
  return tensors;
}

void expect_equal_models(const ClaraModel& a, const ClaraModel& b) {
  const auto left = tensors_of(a), right = tensors_of(b);
  ASSERT_EQ(left.size(), right.size());
  for (const auto& [name, tensor] : left) EXPECT_TRUE(torch::equal(tensor, right.at(name))) << name;
  EXPECT_EQ(a.num_memory(), b.num_memory());
}

TEST(OfficialImport, EveryTensorArrives) {
  for (const Case& c : {kEndToEnd, kPretraining}) {
    const OpenedModel opened = open(kOfficial / c.name, c);
    const auto expected = load_tensors(kOfficial / c.name / "expected.safetensors");
    std::size_t num_compared = 0;
    for (const auto& [name, tensor] : tensors_of(*opened.model)) {
      if (c.name == "pretraining" && name.starts_with("query_reasoner/")) continue;
      ASSERT_TRUE(expected.contains(name)) << name;
      EXPECT_EQ(tensor.dtype(), torch::kFloat32) << name;
      EXPECT_TRUE(torch::equal(tensor, expected.at(name))) << name;
      EXPECT_FALSE(tensor.requires_grad()) << name;
      ++num_compared;
    }
    EXPECT_EQ(num_compared, expected.size() - 3) << "text ids, latents and logits are no weights";
  }
}

TEST(OfficialImport, ComputesWhatTheCheckpointComputes) {
  const torch::NoGradGuard no_grad;
  for (const Case& c : {kEndToEnd, kPretraining}) {
    const OpenedModel opened = open(kOfficial / c.name, c);
    const auto expected = load_tensors(kOfficial / c.name / "expected.safetensors");
    const SpecialTokens& special = opened.text.special_tokens;
    const torch::Tensor text = expected.at("document_text_ids");
    TokenIds document = {special.enc(), opened.text.bos_id};
    TokenIds prompt = {opened.text.bos_id};
    for (std::int64_t i = 0; i < text.size(0); ++i)
      document.push_back(static_cast<TokenId>(text[i].item<std::int64_t>()));
    document.push_back(opened.text.eos_id);
    for (std::int32_t j = 0; j < special.num_memory; ++j) {
      document.push_back(special.memory(j));
      prompt.push_back(special.memory(j));
    }
    prompt.push_back(special.sep());
    prompt.insert(prompt.end(), document.begin() + 2, document.begin() + 6);
    const ClaraModel& model = *opened.model;
    const torch::Tensor latents =
        model.encode(AdapterRole::kCompressor, model.pack({&document}))[0];
    EXPECT_LT(relative_distance(latents, expected.at("latents")), 2e-5) << c.name;
    const PackedSequences packed = model.pack({&prompt});
    const torch::Tensor states = model.base().forward(model.embed(packed, latents), packed.layout,
                                                      &model.adapter(AdapterRole::kGenerator));
    // Base tokens first, which that code has as many of as the tokenizer.
    const torch::Tensor logits = torch::cat(
        {torch::mm(states,
                   model.base().weights().head.narrow(0, 0, opened.text.tokenizer->size()).t()),
         torch::mm(states, model.memory().output_rows().t())},
        1);
    EXPECT_EQ(logits.sizes(), expected.at("logits").sizes());
    EXPECT_LT(relative_distance(logits, expected.at("logits")), 2e-5) << c.name;
  }
}

TEST(OfficialImport, DescribesTheCheckpointInThisProjectsTerms) {
  const ModelDescription joint = describe_model_folder(kOfficial / "end_to_end");
  EXPECT_EQ(joint.stage, "joint");
  EXPECT_EQ(joint.base, "nowhere/llama");
  EXPECT_EQ(joint.doc_max_tokens, 64);
  EXPECT_EQ(joint.compression_rate, 16);
  EXPECT_EQ(joint.num_memory_tokens, 4);
  EXPECT_EQ(joint.num_selected, 2);
  EXPECT_EQ(joint.document_format, "ml_clara");
  EXPECT_EQ(joint.lora.rank, 2);
  EXPECT_EQ(joint.lora.alpha, 4);
  EXPECT_EQ(describe_model_folder(kOfficial / "pretraining").stage, "scp");
  EXPECT_THAT(message_of([] { open_checkpoint(kOfficial / "end_to_end"); }),
              AllOf(HasSubstr("nowhere/llama"), HasSubstr("--base")));
}

TEST(OfficialImport, ASharedMemoryRowStaysShared) {
  const OpenedModel opened = open(kOfficial / "pretraining", kPretraining);
  MemoryTokens& memory = opened.model->memory();
  EXPECT_EQ(memory.memory_rows.size(0), 1);
  EXPECT_EQ(opened.model->num_memory(), 4);
  EXPECT_EQ(opened.text.special_tokens.num_memory, 4);
  EXPECT_EQ(memory.output_rows().size(0), 4) << "one word of the softmax, with <AE>, <ENC>, <SEP>";
  memory.memory_rows.set_requires_grad(true);
  const torch::Tensor rows = memory.embedding_rows();
  ASSERT_EQ(rows.size(0), 7);
  for (std::int64_t j = 0; j < 4; ++j)
    EXPECT_TRUE(torch::equal(rows[j], memory.memory_rows[0])) << j;
  rows.narrow(0, 0, 4).sum().backward();
  EXPECT_TRUE(torch::equal(memory.memory_rows.grad(), torch::full_like(memory.memory_rows, 4)))
      << "the gradients of the positions add up in one row";
  memory.memory_rows.set_requires_grad(false);

  // In this project's own files too, and a model with a row for each position refuses it.
  const TemporaryFolder folder;
  ModelDescription description = opened.description;
  description.base = base_of(kPretraining);
  save_model_files(folder.path(), *opened.model, description);
  const OpenedModel again = open(folder.path(), kPretraining);
  expect_equal_models(*again.model, *opened.model);
  EXPECT_EQ(again.model->memory().num_sharing, 4);
  ClaraModel own(load_base_llm(base_of(kPretraining), torch::kFloat32, torch::kCPU),
                 opened.description.lora, 4, "noise", 1);
  EXPECT_THAT(message_of([&] { load_model_files(folder.path(), own); }),
              AllOf(HasSubstr("memory_rows"), HasSubstr("[1, 64]")));
}

TEST(OfficialImport, WithoutAQueryReasonerThatStartsFromTheCompressor) {
  const OpenedModel opened = open(kOfficial / "pretraining", kPretraining);
  const auto a = opened.model->adapter(AdapterRole::kQueryReasoner).named_tensors();
  const auto b = opened.model->adapter(AdapterRole::kCompressor).named_tensors();
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(torch::equal(a[i].tensor, b[i].tensor));
    EXPECT_NE(a[i].tensor.data_ptr(), b[i].tensor.data_ptr()) << "a copy, not the same tensor";
  }
}

// ---- what does not fit --------------------------------------------------------------------------

/// A copy of a checkpoint whose files can be changed.
class OfficialErrors : public ::testing::Test {
 protected:
  using Groups = std::vector<TorchFileGroup>;

  std::string message(const Case& c = kEndToEnd) const {
    return message_of<Error>([&] { open(folder.path(), c); });
  }
  void copy(const Case& c) const {
    for (const auto& entry : fs::directory_iterator(kOfficial / c.name))
      fs::copy_file(entry.path(), folder.path() / entry.path().filename(),
                    fs::copy_options::overwrite_existing);
  }
  std::string with(const std::string& key, const Json& value, const Case& c = kEndToEnd) const {
    copy(c);
    Json json = Json::parse(read_file(folder / "config.json"));
    if (value.is_discarded()) {
      json.erase(key);
    } else {
      json[key] = value;
    }
    std::ofstream(folder / "config.json") << json.dump();
    return message(c);
  }
  std::string changed(const char* file, const std::function<void(Groups&)>& change,
                      const Case& c = kEndToEnd) const {
    copy(c);
    const TorchFile sound(kOfficial / c.name / file);
    Groups groups = sound.groups();
    change(groups);
    write_torch_file(folder / file, groups);
    return message(c);
  }
  static void erase(TorchFileGroup& group, const std::string& name) {
    ASSERT_EQ(std::erase_if(group.tensors, [&](const auto& t) { return t.name == name; }), 1U);
  }

  TemporaryFolder folder;
};

constexpr const char* kAdapters = "adapters.pth";
constexpr const char* kRows = "decoder_first_last_layers.pth";

TEST_F(OfficialErrors, SettingsThatComputeSomethingElseAreRefusedByKey) {
  EXPECT_EQ(with("ae_mode", "token"), "accepted");
  const Json missing = Json(Json::value_t::discarded);
  const std::vector<std::pair<std::string, Json>> refusals = {{"lora", false},
                                                              {"lora", missing},
                                                              {"quantization", "int4"},
                                                              {"kbtc_training", true},
                                                              {"training_stage", "x"},
                                                              {"decoder_model_name", missing},
                                                              {"decoder_model_name", 3},
                                                              {"doc_max_length", missing},
                                                              {"doc_max_length", -64},
                                                              {"doc_max_length", 1e30},
                                                              {"doc_max_length", "64"},
                                                              {"compr_rate", 0},
                                                              {"compr_rate", 65},
                                                              {"compr_rate", missing},
                                                              {"lora_r", 0},
                                                              {"lora_r", std::int64_t{1} << 40},
                                                              {"sep", false},
                                                              {"sep", "yes"},
                                                              {"different_mem_tokens", 1}};
  for (const auto& [key, value] : refusals)
    EXPECT_THAT(with(key, value), HasSubstr("config.json: " + key)) << value;
  EXPECT_EQ(with("sep", false, kPretraining), "accepted")
      << "one document has no separator between";
  EXPECT_THAT(with("lora_r", 3), AllOf(HasSubstr("adapters.pth"), HasSubstr("lora_A"),
                                       HasSubstr("[3, 64]"), HasSubstr("[2, 64]")));
  EXPECT_THAT(with("compr_rate", 32),
              AllOf(HasSubstr("embed_tokens"), HasSubstr("[1205, 64]"), HasSubstr("[1207, 64]")));
  EXPECT_THAT(with("different_mem_tokens", false), HasSubstr("[1204, 64]"));
}

TEST_F(OfficialErrors, MissingAndExtraTensorsAreNamed) {
  const std::string name = "model.layers.1.mlp.up_proj.lora_B.weight";
  EXPECT_THAT(changed(kAdapters, [&](Groups& g) { erase(g[0], name); }),
              AllOf(HasSubstr("encoder_adapter"), HasSubstr(name), HasSubstr("missing")));
  EXPECT_THAT(
      changed(kAdapters,
              [&](Groups& g) {
                g[1].tensors.push_back(g[1].tensors[0]);
                g[1].tensors.back().name = "model.layers.7.mlp.up_proj.lora_A.weight";
              }),
      AllOf(HasSubstr("decoder_adapter"), HasSubstr("model.layers.7"), HasSubstr("no place")));
  EXPECT_THAT(changed(kAdapters, [](Groups& g) { g.erase(g.begin()); }),
              HasSubstr("encoder_adapter: missing"));
  EXPECT_THAT(changed(kAdapters, [](Groups& g) { g.erase(g.begin() + 1); }),
              HasSubstr("decoder_adapter: missing"));
  EXPECT_THAT(changed(kAdapters, [](Groups& g) { g[2].name = "fourth_adapter"; }),
              HasSubstr("fourth_adapter"));
  EXPECT_THAT(changed(kAdapters,
                      [](Groups& g) {
                        g = {{"", g[0].tensors}};
                      }),
              HasSubstr("its tensors: expected the adapters"));
  EXPECT_THAT(changed(kRows, [](Groups& g) { g[0].tensors[0].name = "model.norm.weight"; }),
              HasSubstr("model.norm.weight"));
  EXPECT_THAT(changed(kRows,
                      [](Groups& g) {
                        g = {{"a", g[0].tensors}};
                      }),
              HasSubstr("found dicts in it"));
  EXPECT_THAT(changed(
                  kRows, [](Groups& g) { g[0].tensors.clear(); }, kPretraining),
              AllOf(HasSubstr(kRows), HasSubstr("embed_tokens.weight: missing")));
  copy(kPretraining);
  fs::remove(folder / kRows);
  EXPECT_THAT(message(kPretraining), AllOf(HasSubstr(kRows), HasSubstr("not found")));
}

TEST_F(OfficialErrors, TheAdaptersRowsStandInForTheFileOfRows) {
  copy(kEndToEnd);
  fs::remove(folder / kRows);
  EXPECT_EQ(message(), "accepted");
  expect_equal_models(*open(folder.path(), kEndToEnd).model,
                      *open(kOfficial / "end_to_end", kEndToEnd).model);
  EXPECT_THAT(changed(kAdapters,
                      [](Groups& g) {
                        for (TorchFileGroup& group : g) erase(group, "lm_head.weight");
                      }),
              "accepted")
      << "they are still in the file of rows";
  fs::remove(folder / kRows);
  EXPECT_THAT(message(), AllOf(HasSubstr("lm_head.weight"), HasSubstr("missing")));
}

TEST_F(OfficialErrors, RowsThatDisagreeAreRefused) {
  const auto change_row = [this](const char* file, const std::string& name, std::size_t group,
                                 std::int64_t row) {
    std::vector<std::vector<std::byte>> alive;
    return changed(file, [&](Groups& g) {
      for (TensorEntry& entry : g[group].tensors) {
        if (entry.name != name) continue;
        alive.emplace_back(entry.data, entry.data + entry.num_bytes);
        alive.back()[static_cast<std::size_t>(row) * entry.num_bytes /
                     static_cast<std::size_t>(entry.shape[0])] ^= std::byte{0x7f};
        entry.data = alive.back().data();
      }
    });
  };
  EXPECT_THAT(
      change_row(kAdapters, "model.embed_tokens.weight", 1, 1203),
      AllOf(HasSubstr("decoder_adapter"), HasSubstr("differs from that of"), HasSubstr(kRows)));
  copy(kEndToEnd);
  // Without the file of rows, the adapters must agree with each other.
  EXPECT_THAT(changed(kRows,
                      [](Groups& g) {
                        static const std::vector<std::byte> kZeros(1207 * 64 * 2);
                        g[0].tensors[0].data = kZeros.data();
                      }),
              HasSubstr("differs from that of"));
  copy(kPretraining);
  EXPECT_THAT(
      changed(
          kRows,
          [](Groups& g) {
            static const std::vector<std::byte> kZeros(1204 * 64 * 4);
            g[0].tensors[0].data = kZeros.data();
          },
          kPretraining),
      AllOf(HasSubstr("embed_tokens"), HasSubstr("row 0 differs"), HasSubstr("another base")));
  EXPECT_THAT(message_of<Error>([&] { open(kOfficial / "end_to_end", kPretraining); }),
              HasSubstr("another base"));
  EXPECT_THAT(message_of<Error>([&] { open(kOfficial / "pretraining", kEndToEnd); }),
              HasSubstr("tensor "));
}

TEST_F(OfficialErrors, AHostileFileIsRefusedBeforeAnythingElse) {
  for (const char* file : {kAdapters, kRows}) {
    copy(kEndToEnd);
    std::ofstream(folder / file, std::ios::binary) << "\x80\x02"
                                                      "cos\nsystem\n.";
    EXPECT_THAT(message(), AllOf(HasSubstr(file), HasSubstr("nothing of it was run")));
  }
}

// ---- export -------------------------------------------------------------------------------------

TEST(OfficialExport, IsReadAgainTensorByTensor) {
  for (const Case& c : {kEndToEnd, kPretraining}) {
    const TemporaryFolder folder;
    const OpenedModel opened = open(kOfficial / c.name, c);
    save_official_checkpoint(folder.path(), *opened.model, opened.description,
                             *opened.text.tokenizer);
    const OpenedModel again = open(folder.path(), c);
    expect_equal_models(*again.model, *opened.model);
    EXPECT_EQ(again.description.stage, opened.description.stage);
    EXPECT_EQ(again.description.num_memory_tokens, 4);
    EXPECT_EQ(again.description.num_selected, opened.description.num_selected);
    const TorchFile rows(folder / kRows);
    const std::int64_t num_rows = c.name == "end_to_end" ? 1207 : 1204;
    EXPECT_EQ(rows.groups()[0].find("model.embed_tokens.weight")->shape,
              (std::vector<std::int64_t>{num_rows, 64}))
        << "the embedding shrinks to the tokenizer and the added tokens";
    EXPECT_EQ(rows.groups()[0].tensors.size(), c.name == "end_to_end" ? 2U : 1U);
  }
}

TEST(OfficialExport, OneRankOnAllLayersWithTwiceTheRankAsAlpha) {
  const TemporaryFolder folder;
  const OpenedModel opened = open(kOfficial / "end_to_end", kEndToEnd);
  ClaraModel& model = *opened.model;
  const auto save = [&] {
    save_official_checkpoint(folder.path(), model, opened.description, *opened.text.tokenizer);
  };
  const LoraAdapter sound = model.adapter(AdapterRole::kGenerator).clone();
  LoraSettings other = sound.settings();
  other.alpha = 16;  // four times the scale of that code
  other.target_modules.clear();
  model.adapter(AdapterRole::kGenerator) =
      LoraAdapter(model.base().config(), other, 5, torch::kCPU);
  {
    const torch::NoGradGuard no_grad;
    for (const NamedTensor& named : model.adapter(AdapterRole::kGenerator).named_tensors())
      named.tensor.normal_();
  }
  save();
  const OpenedModel again = open(folder.path(), kEndToEnd);
  const auto written = model.adapter(AdapterRole::kGenerator).named_tensors();
  const auto read = again.model->adapter(AdapterRole::kGenerator).named_tensors();
  for (std::size_t i = 0; i < read.size(); ++i) {
    const double factor = read[i].name.ends_with("lora_B.weight") ? 4 : 1;
    EXPECT_TRUE(torch::equal(read[i].tensor, written[i].tensor * factor)) << read[i].name;
  }
  other.rank = 3;
  model.adapter(AdapterRole::kGenerator) =
      LoraAdapter(model.base().config(), other, 5, torch::kCPU);
  EXPECT_THAT(message_of(save), AllOf(HasSubstr("generator"), HasSubstr("rank 3")));
  other.rank = 2;
  other.target_modules = {"q_proj"};
  model.adapter(AdapterRole::kGenerator) =
      LoraAdapter(model.base().config(), other, 5, torch::kCPU);
  EXPECT_THAT(message_of(save), AllOf(HasSubstr("generator"), HasSubstr("all linear layers")));
}

// ---- merging ------------------------------------------------------------------------------------

TEST(MergedModel, ComputesWhatTheAdapterComputes) {
  const torch::NoGradGuard no_grad;
  for (const std::uint64_t shard_bytes : {std::uint64_t{5'000'000'000}, std::uint64_t{200'000}}) {
    const TemporaryFolder folder;
    const BaseLlm base = load_base_llm(base_of(kEndToEnd), torch::kFloat32, torch::kCPU);
    const LoraAdapter adapter =
        read_adapter(kOfficial / "end_to_end", AdapterRole::kGenerator, base.config(), torch::kCPU);
    export_merged_model(base_of(kEndToEnd), adapter, folder / "merged",
                        {Dtype::kAuto, shard_bytes});
    EXPECT_EQ(fs::exists(folder / "merged/model.safetensors.index.json"), shard_bytes == 200'000);
    EXPECT_TRUE(fs::exists(folder / "merged/tokenizer.json"));
    const BaseLlm merged = load_base_llm(folder / "merged", torch::kFloat32, torch::kCPU);
    const std::vector<std::int32_t> ids = {1, 7, 900, 33, 2, 64};
    const PackedSequences packed = pack_sequences({&ids}, {1208, 1}, torch::kCPU);
    const torch::Tensor embeddings = base.weights().embedding.index_select(0, packed.ids);
    EXPECT_LT(relative_distance(merged.forward(embeddings, packed.layout, nullptr),
                                base.forward(embeddings, packed.layout, &adapter)),
              2e-6);
    EXPECT_TRUE(torch::equal(merged.weights().embedding, base.weights().embedding));
    for (const auto& entry : fs::directory_iterator(folder / "merged")) {
      if (entry.path().extension() == ".safetensors" && shard_bytes == 200'000) {
        std::uint64_t bytes = 0;
        const SafetensorsFile file(entry.path());
        for (const TensorEntry& tensor : file.tensors()) bytes += tensor.num_bytes;
        EXPECT_TRUE(bytes <= shard_bytes || file.tensors().size() == 1) << entry.path();
      }
    }
  }
}

TEST(MergedModel, AnotherTypeIsWrittenAndSaid) {
  const TemporaryFolder folder;
  const BaseConfig config = load_base_config(base_of(kPretraining));
  const LoraAdapter adapter =
      read_adapter(kOfficial / "pretraining", AdapterRole::kCompressor, config, torch::kCPU);
  export_merged_model(base_of(kPretraining), adapter, folder / "merged", {Dtype::kBfloat16});
  for (const auto& [name, tensor] : load_tensors(folder / "merged/model.safetensors"))
    EXPECT_EQ(tensor.dtype(), torch::kBFloat16) << name;
  EXPECT_EQ(Json::parse(read_file(folder / "merged/config.json")).at("dtype"), "bfloat16");
  EXPECT_THAT(
      message_of([&] { export_merged_model(base_of(kPretraining), adapter, folder / "merged"); }),
      AllOf(HasSubstr("empty folder"), HasSubstr("--output")));
  // An adapter of another base has layers that this one lacks.
  EXPECT_THAT(message_of<Error>([&] {
                const LoraAdapter other =
                    read_adapter(kOfficial / "end_to_end", AdapterRole::kCompressor,
                                 load_base_config(base_of(kEndToEnd)), torch::kCPU);
                export_merged_model(base_of(kPretraining), other, folder / "other");
              }),
              HasSubstr("model.layers.2"));
  EXPECT_FALSE(fs::exists(folder / "other"));
}

}  // namespace
}  // namespace clara::testing
