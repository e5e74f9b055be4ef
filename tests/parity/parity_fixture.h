// A fixture folder of the Python reference: base/, state/, fixture.json, fixture.safetensors.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/checkpoint/open_model.h"
#include "clara/config/run_config.h"
#include "clara/data/prompts.h"
#include "clara/latents/document_latents.h"
#include "clara/model/clara_model.h"
#include "clara/objectives/objective.h"

namespace clara::testing {

class ParityFixture {
 public:
  explicit ParityFixture(std::filesystem::path folder);

  const nlohmann::json& json() const { return json_; }
  const std::filesystem::path& folder() const { return folder_; }
  /// A recorded tensor; fails loudly if it is missing.
  torch::Tensor tensor(const std::string& name) const;
  bool has(const std::string& name) const { return tensors_.contains(name); }
  const std::map<std::string, torch::Tensor>& tensors() const { return tensors_; }

  /// The recorded model, before any training.
  std::unique_ptr<ClaraModel> load_model(torch::Dtype dtype,
                                         torch::Device device = torch::kCPU) const;
  const TextSide& text() const { return text_; }
  PromptBuilder prompts(const std::string& stage) const;
  /// The recorded rows of a stage as Examples.
  std::vector<Example> examples(const std::string& stage) const;

 private:
  std::filesystem::path folder_;
  nlohmann::json json_;
  std::map<std::string, torch::Tensor> tensors_;
  TextSide text_;
};

/// An objective with what it refers to.
struct StageSetup {
  std::unique_ptr<DocumentLatents> documents;
  std::unique_ptr<Objective> objective;
};
StageSetup make_stage(const ParityFixture& fixture, ClaraModel& model, const std::string& stage);

/// Folders with a fixture.json under the directories of CLARA_PARITY_FIXTURES (default: the
/// committed ones).
std::vector<std::filesystem::path> find_parity_fixtures();

/// CLARA_PARITY_DEVICE: cpu (default) or cuda.
torch::Device parity_device();

}  // namespace clara::testing
