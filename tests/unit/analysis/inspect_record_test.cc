// Inspection of the reference's recorded rows: what is dumped is what the reference recorded, and
// what is shown says what the model sees.
#include "clara/analysis/inspect_record.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/tensor_compare.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/checkpoint/peft_adapter.h"
#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"
#include "clara/config/load_config.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::all_close;
using ::testing::HasSubstr;
using ::testing::Not;
using Tensors = std::map<std::string, torch::Tensor>;

constexpr double kForward = 2e-4;  // of the largest value (numerics §8)

fs::path fixture_folder() { return fs::path(CLARA_SOURCE_DIR) / "tests/fixtures/parity/llama"; }

/// A run folder with the recorded model in final/, the settings of the record in config.yaml, and
/// the recorded rows as files.
class RecordedRun {
 public:
  RecordedRun() {
    fixture_ = Json::parse(read_file(fixture_folder() / "fixture.json"));
    tensors_ = load_tensors(fixture_folder() / "fixture.safetensors");
    const Json& settings = fixture_.at("settings");
    LoraSettings lora;
    lora.rank = settings.at("lora_rank").get<std::int64_t>();
    lora.alpha = settings.at("lora_alpha").get<double>();
    lora.dropout = settings.at("lora_dropout").get<double>();
    const auto num_memory = fixture_.at("memory_tokens").get<std::int32_t>();
    ClaraModel model(load_base_llm(fixture_folder() / "base", torch::kFloat32, torch::kCPU), lora,
                     num_memory, "noise", 0);
    const fs::path state = fixture_folder() / "state";
    for (const AdapterRole role : kAdapterRoles)
      load_peft_adapter(state / adapter_name(role), model.adapter(role));
    const Tensors rows = load_tensors(state / "memory_tokens.safetensors");
    {
      const torch::NoGradGuard no_grad;
      model.memory().memory_rows.copy_(rows.at("memory_rows"));
      model.memory().fixed_rows.copy_(rows.at("fixed_rows"));
      model.memory().head_rows.copy_(rows.at("head_rows"));
    }
    ModelDescription description;
    description.base = (fixture_folder() / "base").string();
    description.stage = "joint";
    description.doc_max_tokens = settings.at("doc_max_tokens").get<std::int32_t>();
    description.compression_rate = settings.at("compression_rate").get<std::int32_t>();
    description.num_memory_tokens = num_memory;
    description.num_selected = settings.at("top_k").get<std::int32_t>();
    description.lora = lora;
    fs::create_directories(final_folder());
    save_model_files(final_folder(), model, description);
    for (const std::string stage : {"scp", "tune", "joint"}) {
      std::ofstream file(rows_file(stage));
      for (const Json& row : fixture_.at("rows").at(stage)) file << row.dump() << "\n";
    }
  }

  fs::path final_folder() const { return folder_.path() / "final"; }
  std::string rows_file(const std::string& stage) const {
    return (folder_.path() / (stage + ".jsonl")).string();
  }
  const Json& fixture() const { return fixture_; }
  const torch::Tensor& tensor(const std::string& name) const { return tensors_.at(name); }
  bool has(const std::string& name) const { return tensors_.contains(name); }

  RowSource rows(const std::string& stage) const { return RowSource({{rows_file(stage), 1.0, 0}}); }

  /// The config that the rows of `stage` were recorded under.
  RunConfig config(Stage stage) const {
    const Json& settings = fixture_.at("settings");
    RunConfig config = default_run_config(stage);
    const bool is_retriever = stage == Stage::kRetriever;
    config.model.base = (fixture_folder() / "base").string();
    config.model.doc_max_tokens = settings.at("doc_max_tokens").get<std::int32_t>();
    config.model.compression_rate = settings.at("compression_rate").get<std::int32_t>();
    config.data.train = {{rows_file(is_retriever ? "joint" : to_string(stage)), 1.0, 0}};
    config.objective.alignment_weight = settings.at("alignment_weight").get<double>();
    config.objective.num_selected = settings.at("top_k").get<std::int32_t>();
    config.objective.temperature = settings.at("tau").get<double>();
    config.trainer.max_sequence_tokens = settings.at("max_sequence_tokens")
                                             .at(is_retriever ? "joint" : to_string(stage))
                                             .get<std::int32_t>();
    config.output.folder = "runs/recorded";
    return config;
  }

  /// Row `index` of `stage` through the run's final/ folder; the config is found beside it.
  RecordInspection inspect(Stage stage, std::int64_t index) const {
    write_file_atomically(folder_.path() / "config.yaml", print_run_config(config(stage)));
    InspectionSource source;
    source.checkpoint = final_folder();
    source.stage = stage;
    InspectionSettings settings;
    settings.keep_logits = true;
    settings.row = static_cast<std::uint64_t>(index);
    const RowSource source_rows = rows(stage == Stage::kRetriever ? "joint" : to_string(stage));
    return inspect_row(source_rows.row(index), source, settings);
  }

  Tensors dump(const RecordInspection& inspection) const {
    const fs::path path = folder_.path() / "dump.safetensors";
    save_inspection(path, inspection);
    return load_tensors(path);
  }

  fs::path operator/(const std::string& name) const { return folder_.path() / name; }

 private:
  TemporaryFolder folder_;
  Json fixture_;
  Tensors tensors_;
};

class Inspection : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    torch::set_num_threads(1);
    run_ = new RecordedRun;
  }
  static void TearDownTestSuite() {
    delete run_;
    run_ = nullptr;
  }
  static inline RecordedRun* run_ = nullptr;

  TextSide text_ =
      open_text_side(fixture_folder() / "base", run_->fixture().at("memory_tokens").get<int>());

  RecordInspection without_model(Stage stage, const std::string& json) const {
    return inspect_record({json, {"rows.jsonl", 7}}, text_,
                          inspection_settings(run_->config(stage), stage));
  }
};

/// `count` rows of a padded [N, T'] tensor from `first` on, as wide as `width`; what is cut off
/// must be `fill`.
torch::Tensor recorded_rows(const torch::Tensor& rows, std::int64_t first, std::int64_t count,
                            std::int64_t width, std::int64_t fill) {
  const torch::Tensor own = rows.narrow(0, first, count);
  EXPECT_TRUE(own.narrow(1, width, own.size(1) - width).eq(fill).all().item<bool>())
      << "the recorded sequences are longer";
  return own.narrow(1, 0, width);
}

/// Compares every tensor of a dump with the recorded one; `documents` and `answers` are where the
/// row's documents and answer tokens begin in the recorded batch.
void expect_recorded(const RecordedRun& run, const std::string& stage, const Tensors& dump,
                     std::int64_t row, std::int64_t documents, std::int64_t answers) {
  const auto input_of = [&](const std::string& name, std::int64_t first, std::int64_t fill) {
    const torch::Tensor& own = dump.at(stage + name);
    ASSERT_EQ(own.scalar_type(), torch::kInt64) << name;
    EXPECT_TRUE(torch::equal(
        own, recorded_rows(run.tensor(stage + name), first, own.size(0), own.size(1), fill)))
        << name;
  };
  for (const char* kind : {".input_ids", ".attention_mask"}) {
    input_of(std::string(".documents") + kind, documents, 0);
    if (dump.contains(stage + ".questions.input_ids"))
      input_of(std::string(".questions") + kind, row, 0);
    if (dump.contains(stage + ".generator.input_ids"))
      input_of(std::string(".generator") + kind, row, 0);
  }
  if (dump.contains(stage + ".generator.labels")) input_of(".generator.labels", row, -100);

  const auto values_of = [&](const std::string& name, const torch::Tensor& expected) {
    const torch::Tensor& own = dump.at(stage + name);
    EXPECT_EQ(own.scalar_type(), torch::kFloat32) << name;
    EXPECT_TRUE(all_close(own, expected, kForward)) << name;
  };
  const std::int64_t num_documents = dump.at(stage + ".latents").size(0);
  values_of(".latents", run.tensor(stage + ".latents").narrow(0, documents, num_documents));
  const std::string number = "." + std::to_string(row);
  if (stage == "scp" || stage == "tune")
    values_of(".alignment", run.tensor(stage + ".alignment").narrow(0, documents, num_documents));
  if (stage == "joint" || stage == "retriever") {
    values_of(".query_vectors", run.tensor(stage + ".query_vectors").narrow(0, row, 1));
    values_of(".scores.0", run.tensor(stage + ".scores" + number));
  }
  if (stage == "joint") {
    values_of(".weights.0", run.tensor(stage + ".weights" + number));
    EXPECT_TRUE(torch::equal(dump.at("joint.indices.0"), run.tensor("joint.indices" + number)));
  }
  if (stage == "retriever") return;
  const torch::Tensor& nll = dump.at(stage + ".nll");
  values_of(".nll", run.tensor(stage + ".nll").narrow(0, answers, nll.size(0)));
  const torch::Tensor& logits = dump.at(stage + ".logits");
  EXPECT_EQ(logits.size(0), nll.size(0)) << "logits stand at every answer token";
  // The reference records the logits of the batch's first answer tokens.
  const std::int64_t recorded =
      std::min(logits.size(0), run.tensor(stage + ".logits").size(0) - answers);
  if (recorded > 0) {
    EXPECT_TRUE(all_close(logits.narrow(0, 0, recorded),
                          run.tensor(stage + ".logits").narrow(0, answers, recorded), kForward));
  }
}

TEST_F(Inspection, DumpsWhatTheReferenceRecordedForEveryRowOfEveryStage) {
  for (const Stage stage : {Stage::kScp, Stage::kTune, Stage::kJoint, Stage::kRetriever}) {
    const std::string name = to_string(stage);
    std::int64_t documents = 0, answers = 0;
    std::map<std::string, double> sums;
    const std::int64_t num_rows = run_->rows(stage == Stage::kRetriever ? "joint" : name).size();
    for (std::int64_t row = 0; row < num_rows; ++row) {
      SCOPED_TRACE(name + " row " + std::to_string(row));
      const RecordInspection inspection = run_->inspect(stage, row);
      const Tensors dump = run_->dump(inspection);
      expect_recorded(*run_, name, dump, row, documents, answers);
      documents += static_cast<std::int64_t>(inspection.example.documents.size());
      if (stage != Stage::kRetriever) answers += inspection.example.num_answer_tokens();
      for (const InspectedLoss& loss : inspection.model->losses)
        sums[loss.name] += loss.mean * static_cast<double>(loss.count);
    }
    const Json& record = run_->fixture().at("stages").at(name);
    const std::map<std::string, std::string> keys = {{"cross_entropy", "ce_sum"},
                                                     {"alignment", "alignment_sum"},
                                                     {"retrieval", "retrieval_sum"}};
    for (const auto& [term, key] : keys) {
      ASSERT_EQ(sums.contains(term), record.contains(key)) << name << " " << term;
      if (!record.contains(key)) continue;
      const double expected = record.at(key).get<double>();
      EXPECT_NEAR(sums[term], expected, 1e-4 * expected) << name << " " << term;
    }
  }
}

TEST_F(Inspection, DumpOfARetrieverRowHasNoGeneratorTensors) {
  const Tensors dump = run_->dump(run_->inspect(Stage::kRetriever, 0));
  EXPECT_TRUE(dump.contains("retriever.scores.0"));
  for (const auto& [name, tensor] : dump) {
    EXPECT_THAT(name, Not(HasSubstr("generator")));
    EXPECT_THAT(name, Not(HasSubstr("weights")));
  }
}

TEST_F(Inspection, WithoutAModelTheInputsAloneAreDumped) {
  const RowSource rows = run_->rows("joint");
  const RecordInspection inspection = without_model(Stage::kJoint, rows.row(0).text);
  EXPECT_FALSE(inspection.model.has_value());
  std::vector<std::string> names;
  for (const auto& [name, tensor] : run_->dump(inspection)) names.push_back(name);
  EXPECT_THAT(names,
              ::testing::ElementsAre("joint.documents.attention_mask", "joint.documents.input_ids",
                                     "joint.generator.attention_mask", "joint.generator.input_ids",
                                     "joint.generator.labels", "joint.questions.attention_mask",
                                     "joint.questions.input_ids"));
}

TEST_F(Inspection, TheRenderedPromptShowsMemorySlotsAndWhereTheLossBegins) {
  const std::string shown = render_inspection(without_model(
      Stage::kScp, R"({"docs": ["A lake."], "question": ["What?"], "answers": ["A lake"]})"));
  EXPECT_THAT(shown, HasSubstr("rows.jsonl:7  as a record of scp"));
  EXPECT_THAT(shown, HasSubstr("Background:\n[MEM×8 of document 1]<SEP><|im_end|>\n"));
  EXPECT_THAT(shown,
              HasSubstr("<|im_start|>assistant\n‹loss from here›Question: What?\nAnswer: A lake"));
  EXPECT_THAT(shown, Not(HasSubstr("\x1b"))) << "no colours unless they are asked for";
  EXPECT_THAT(render_inspection(without_model(Stage::kScp, R"({"docs": ["A lake."],
      "question": ["What?"], "answers": ["A lake"]})"),
                                {true, false}),
              HasSubstr("\x1b["));
}

TEST_F(Inspection, EachAnswerTokenIsALabelAndIsPredictedOnePlaceBefore) {
  const RecordInspection inspection =
      without_model(Stage::kTune, R"({"question": "Why?", "docs": ["Because."], "answer": "So"})");
  const std::string shown = render_inspection(inspection);
  const Example& example = inspection.example;
  std::istringstream table(shown.substr(shown.find("TOKENS OF THE GENERATOR")));
  auto answer = static_cast<std::size_t>(example.prompt_length);
  std::string line, before;
  while (std::getline(table, line)) {
    // A row with a label ends in its id; any other ends in a quotation mark or a slot's bracket.
    if (std::isdigit(static_cast<unsigned char>(line.back())) != 0) {
      ASSERT_LT(answer, example.tokens.size());
      EXPECT_THAT(line, ::testing::EndsWith(" " + std::to_string(example.tokens[answer])));
      // The row before ends in the token that it predicts, behind it at most its own label.
      const std::string& text = inspection.generator.texts[answer];
      const std::string predicted = text == "\n" ? "\"\\n\"" : "\"" + text + "\"";
      const std::size_t found = before.rfind(predicted);
      ASSERT_NE(found, std::string::npos) << before;
      EXPECT_EQ(before.find('"', found + predicted.size()), std::string::npos) << before;
      ++answer;
    }
    before = line;
  }
  EXPECT_EQ(answer, example.tokens.size()) << "every answer token has a label";
}

TEST_F(Inspection, TheSlotsOfAJointPromptNameTheDocumentsThatWereChosen) {
  const RecordInspection inspection = run_->inspect(Stage::kJoint, 0);
  const torch::Tensor& indices = inspection.model->indices_S;
  std::string slots;
  for (std::int64_t s = 0; s < indices.size(0); ++s) {
    slots += "[MEM×8 of document " + std::to_string(indices[s].item<std::int64_t>() + 1) + "]<SEP>";
  }
  EXPECT_THAT(render_inspection(inspection), HasSubstr(slots));
  EXPECT_THAT(render_inspection(without_model(Stage::kJoint, run_->rows("joint").row(0).text)),
              HasSubstr("[MEM×8 of selected document 1]<SEP>"));
}

TEST_F(Inspection, CutsAndLeftOutDocumentsAreTold) {
  std::string longer;
  for (int i = 0; i < 100; ++i) longer += "word ";
  const Json row = {{"question", "Why?"},
                    {"docs", {longer, "short", "short too", "fourth", "fifth"}},
                    {"answer", "So"}};
  const RecordInspection inspection = without_model(Stage::kTune, row.dump());
  ASSERT_EQ(inspection.documents.size(), 3U) << "top_k of the recorded settings";
  EXPECT_TRUE(inspection.documents[0].was_cut);
  EXPECT_GE(inspection.documents[0].num_text_tokens, 100);
  EXPECT_EQ(inspection.documents[0].tokens.ids.size(), 64U + 3 + 8);
  EXPECT_FALSE(inspection.documents[1].was_cut);
  const std::string shown = render_inspection(inspection);
  EXPECT_THAT(shown, HasSubstr("; 1 cut; 2 more of the record left out"));
}

TEST_F(Inspection, TextOfARecordCannotControlTheTerminal) {
  const Json row = {{"question", "Red \x1b[31m?"}, {"docs", {"bell \x07 rings"}}, {"answer", "a"}};
  const std::string shown = render_inspection(without_model(Stage::kTune, row.dump()));
  EXPECT_THAT(shown, Not(HasSubstr("\x1b")));
  EXPECT_THAT(shown, Not(HasSubstr("\x07")));
  EXPECT_THAT(shown, HasSubstr("Red \\u001B[31m?"));
}

TEST_F(Inspection, SpecialTokenTextOfARecordStaysText) {
  const RecordInspection inspection = without_model(
      Stage::kTune, R"({"question": "<|im_end|><MEM0>", "docs": ["<SEP>"], "answer": "x"})");
  const auto count = [&](const std::string& token) {
    return std::count(inspection.generator.texts.begin(), inspection.generator.texts.end(), token);
  };
  EXPECT_EQ(count("<|im_end|>"), 3) << "one a turn, none of them the question's";
  EXPECT_EQ(count("<MEM0>"), 1) << "of the one document";
}

TEST(RecogniseStage, FollowsTheRecordThenTheConfigThenTheDocuments) {
  const auto stage_of = [](const std::string& json, std::optional<Stage> preferred = {}) {
    return recognise_stage({json, {"rows.jsonl", 1}}, preferred, 2);
  };
  const std::string scp = R"({"docs": ["d"], "question": ["q"], "answers": ["a"]})";
  const std::string paraphrase = R"({"data_type": "paraphrase", "docs": ["d"], "answers": ["a"]})";
  const std::string two = R"({"question": "q", "docs": ["a", "b"], "answer": "a"})";
  const std::string three = R"({"question": "q", "docs": ["a", "b", "c"], "answer": "a"})";
  const std::string labelled =
      R"({"question": "q", "docs": ["a", "b"], "answer": "a", "pos_index": [1]})";
  EXPECT_EQ(stage_of(scp), Stage::kScp);
  EXPECT_EQ(stage_of(paraphrase, Stage::kJoint), Stage::kScp);
  EXPECT_EQ(stage_of(two), Stage::kTune);
  EXPECT_EQ(stage_of(three), Stage::kJoint);
  EXPECT_EQ(stage_of(labelled), Stage::kJoint);
  EXPECT_EQ(stage_of(labelled, Stage::kTune), Stage::kTune);
  EXPECT_EQ(stage_of(two, Stage::kRetriever), Stage::kRetriever);
  EXPECT_EQ(stage_of(two, Stage::kScp), Stage::kTune);
}

TEST(RecogniseStage, WhatIsNoRecordIsADataErrorWithItsPlace) {
  for (const char* json : {"{", "[1]", "{}", R"({"question": "q", "docs": [], "answer": "a"})",
                           R"({"data_type": "qa", "docs": ["d"]})"}) {
    try {
      recognise_stage({json, {"rows.jsonl", 12}}, std::nullopt, 5);
      ADD_FAILURE() << json;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("rows.jsonl:12: ")) << json;
    }
  }
}

TEST(InspectionSettings, WhatTheConfigSaysForAnotherStageIsReplacedByDefaults) {
  RunConfig config = default_run_config(Stage::kJoint);
  config.model.doc_max_tokens = 64;
  config.trainer.max_sequence_tokens = 333;
  config.trainer.seed = 5;
  config.objective.temperature = 0.5;
  config.objective.topk_mask = "exact";
  const InspectionSettings own = inspection_settings(config, Stage::kJoint);
  EXPECT_EQ(own.prompt.max_sequence_tokens, 333);
  EXPECT_EQ(own.temperature, 0.5);
  EXPECT_EQ(own.topk_mask, TopkMask::kExact);
  const InspectionSettings other = inspection_settings(config, Stage::kScp);
  EXPECT_EQ(other.prompt.max_sequence_tokens, 2048);
  EXPECT_EQ(other.prompt.doc_max_tokens, 64) << "documents are the model's, whatever the stage";
  EXPECT_EQ(other.prompt.seed, 5U);
}

TEST_F(Inspection, AConfigOrABaseFolderIsEnoughForTheTokens) {
  const RawRow row = run_->rows("joint").row(0);
  InspectionSource source;
  source.base = (fixture_folder() / "base").string();
  const RecordInspection by_base = inspect_row(row, source, {});
  EXPECT_EQ(by_base.settings.stage, Stage::kJoint) << "it has pos_index";
  EXPECT_EQ(by_base.special_tokens.num_memory, 16) << "256 / 16, the defaults";
  write_file_atomically(*run_ / "tune.yaml", print_run_config(run_->config(Stage::kTune)));
  source = {};
  source.config = *run_ / "tune.yaml";
  const RecordInspection by_config = inspect_row(row, source, {});
  EXPECT_EQ(by_config.settings.stage, Stage::kTune);
  EXPECT_EQ(by_config.special_tokens.num_memory, 8);
  EXPECT_FALSE(by_config.model.has_value());
}

TEST_F(Inspection, WhatCannotBeInspectedIsRefusedByName) {
  const RawRow row = run_->rows("joint").row(0);
  EXPECT_THROW(inspect_row(row, {}, {}), ConfigError);
  InspectionSource source;
  source.checkpoint = run_->final_folder().parent_path();
  EXPECT_THROW(inspect_row(row, source, {}), CheckpointError) << "no clara.json";
  source = {};
  source.base = (fixture_folder() / "base").string();
  source.stage = Stage::kScp;
  EXPECT_THROW(inspect_row(row, source, {}), DataError) << "several documents";
  const RecordInspection inspection = without_model(Stage::kJoint, row.text);
  EXPECT_THROW(save_inspection(*run_ / "no/such/folder/x.safetensors", inspection), DataError);
}

}  // namespace
}  // namespace clara
