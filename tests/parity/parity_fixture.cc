// Opening fixtures and the stages they were recorded with.
#include "parity/parity_fixture.h"

#include <cstdlib>
#include <fstream>
#include <stdexcept>

#include "clara/checkpoint/peft_adapter.h"
#include "clara/common/tensor_file.h"
#include "clara/objectives/compression_objective.h"
#include "clara/objectives/joint_objective.h"
#include "clara/objectives/retriever_objective.h"

namespace clara::testing {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

}  // namespace

ParityFixture::ParityFixture(fs::path folder) : folder_(std::move(folder)) {
  std::ifstream in(folder_ / "fixture.json");
  json_ = Json::parse(in);
  tensors_ = load_tensors(folder_ / "fixture.safetensors");
  text_ = open_text_side(folder_ / "base", json_.at("memory_tokens").get<std::int32_t>());
}

torch::Tensor ParityFixture::tensor(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) throw std::runtime_error(folder_.string() + ": no tensor " + name);
  return it->second;
}

std::unique_ptr<ClaraModel> ParityFixture::load_model(torch::Dtype dtype,
                                                      torch::Device device) const {
  const Json& settings = json_.at("settings");
  LoraSettings lora;
  lora.rank = settings.at("lora_rank").get<std::int64_t>();
  lora.alpha = settings.at("lora_alpha").get<double>();
  lora.dropout = settings.at("lora_dropout").get<double>();
  auto model =
      std::make_unique<ClaraModel>(load_base_llm(folder_ / "base", dtype, device), lora,
                                   json_.at("memory_tokens").get<std::int64_t>(), "noise", 0);
  for (AdapterRole role : kAdapterRoles)
    load_peft_adapter(folder_ / "state" / adapter_name(role), model->adapter(role));
  const auto rows = load_tensors(folder_ / "state" / "memory_tokens.safetensors");
  model->memory().memory_rows.copy_(rows.at("memory_rows"));
  model->memory().fixed_rows.copy_(rows.at("fixed_rows"));
  if (model->memory().head_rows.defined()) model->memory().head_rows.copy_(rows.at("head_rows"));
  return model;
}

PromptBuilder ParityFixture::prompts(const std::string& stage) const {
  const Json& settings = json_.at("settings");
  PromptSettings prompt;
  prompt.doc_max_tokens = settings.at("doc_max_tokens").get<std::int32_t>();
  prompt.num_selected = settings.at("top_k").get<std::int32_t>();
  prompt.max_sequence_tokens = settings.at("max_sequence_tokens")
                                   .at(stage == "retriever" ? "joint" : stage)
                                   .get<std::int32_t>();
  return {*text_.tokenizer, text_.chat_format, text_.special_tokens,
          text_.bos_id,     text_.eos_id,      prompt};
}

std::vector<Example> ParityFixture::examples(const std::string& stage) const {
  const PromptBuilder builder = prompts(stage);
  std::vector<Example> examples;
  std::int64_t line = 0;
  for (const Json& row : json_.at("rows").at(stage == "retriever" ? "joint" : stage)) {
    const std::string text = row.dump();
    const RecordPlace place{"fixture", ++line};
    if (stage == "scp") {
      examples.push_back(
          builder.scp_example(parse_scp_record(text, place), 0, static_cast<std::uint64_t>(line)));
    } else if (stage == "tune") {
      examples.push_back(builder.tune_example(parse_qa_record(text, place)));
    } else if (stage == "joint") {
      examples.push_back(builder.joint_example(parse_qa_record(text, place)));
    } else {
      examples.push_back(builder.retriever_example(parse_qa_record(text, place)));
    }
  }
  return examples;
}

StageSetup make_stage(const ParityFixture& fixture, ClaraModel& model, const std::string& stage) {
  const Json& settings = fixture.json().at("settings");
  StageSetup setup;
  if (stage == "scp" || stage == "tune") {
    CompressionSettings compression;
    compression.alignment_weight = settings.at("alignment_weight").get<double>();
    compression.lora_dropout = 0;
    setup.objective = std::make_unique<CompressionObjective>(model, compression);
    return setup;
  }
  setup.documents = std::make_unique<DocumentLatents>(model, nullptr, 8192);
  if (stage == "joint") {
    JointSettings joint;
    joint.num_selected = settings.at("top_k").get<std::int64_t>();
    joint.temperature = settings.at("tau").get<double>();
    joint.topk_mask = settings.at("topk_mask") == "exact" ? TopkMask::kExact : TopkMask::kLeaky;
    joint.lora_dropout = 0;
    setup.objective = std::make_unique<JointObjective>(model, *setup.documents, joint);
  } else {
    RetrieverSettings retriever;
    retriever.temperature = settings.at("tau").get<double>();
    retriever.lora_dropout = 0;
    setup.objective = std::make_unique<RetrieverObjective>(model, *setup.documents, retriever);
  }
  return setup;
}

std::vector<fs::path> find_parity_fixtures() {
  const char* variable = std::getenv("CLARA_PARITY_FIXTURES");
  std::string list = variable != nullptr && *variable != '\0' ? variable
                                                              : CLARA_SOURCE_DIR
                         "/tests/fixtures/parity";
  std::vector<fs::path> found;
  while (!list.empty()) {
    const std::size_t colon = list.find(':');
    const fs::path directory = list.substr(0, colon);
    list = colon == std::string::npos ? "" : list.substr(colon + 1);
    if (fs::exists(directory / "fixture.json")) found.push_back(directory);
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(directory, error)) {
      if (fs::exists(entry.path() / "fixture.json")) found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

torch::Device parity_device() {
  const char* device = std::getenv("CLARA_PARITY_DEVICE");
  return device != nullptr && std::string(device) == "cuda" ? torch::Device(torch::kCUDA, 0)
                                                            : torch::Device(torch::kCPU);
}

}  // namespace clara::testing
