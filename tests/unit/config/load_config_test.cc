// What a config resolves to: defaults by stage, precedence, lists, nulls, JSON.
#include "clara/config/load_config.h"

#include <string>
#include <vector>

#include "tests/unit/config/config_text.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace clara::test {
namespace {

TEST(LoadConfig, TheJointExampleIsReadFieldByField) {
  const RunConfig config = parse(full_joint_config());
  EXPECT_EQ(config.stage, Stage::kJoint);
  EXPECT_EQ(config.model.base, "models/smollm2-135m");
  EXPECT_EQ(config.model.init_from, "runs/scp/final");
  EXPECT_EQ(config.num_memory_tokens(), 16);
  EXPECT_EQ(config.model.dtype, Dtype::kAuto);
  ASSERT_EQ(config.data.train.size(), 2U);
  EXPECT_EQ(config.data.train[0].path, "data/joint_train.jsonl");
  EXPECT_EQ(config.data.train[1].path, "data/more.jsonl");
  EXPECT_EQ(config.data.train[1].weight, 1.0);
  ASSERT_EQ(config.data.validation.size(), 1U);
  EXPECT_EQ(config.objective.temperature, 0.02);
  EXPECT_EQ(config.trainer.rows_per_micro_batch, 0);
  EXPECT_EQ(config.trainer.peak_learning_rate, 5e-6);
  EXPECT_EQ(config.trainer.adam_betas, (std::vector<double>{0.9, 0.95}));
  ASSERT_TRUE(config.output.keep_best);
  EXPECT_EQ(config.output.keep_best->metric, "validation/recall@5");
}

TEST(LoadConfig, DefaultsDependOnTheStage) {
  for (const std::string stage : {"scp", "tune", "joint", "retriever"}) {
    const RunConfig config = parse(minimal_config(stage));
    const bool is_late = stage == "joint" || stage == "retriever";
    EXPECT_EQ(to_string(config.stage), stage);
    EXPECT_EQ(config.trainer.rows_per_step, is_late ? 32 : 128) << stage;
    EXPECT_EQ(config.trainer.peak_learning_rate, is_late ? 5e-6 : 1e-4) << stage;
    EXPECT_EQ(config.trainer.max_sequence_tokens, is_late ? 1024 : 2048) << stage;
    RunConfig defaults = default_run_config(config.stage);
    defaults.model.base = "models/base";
    defaults.data.train = {DataSource{.path = "train.jsonl"}};
    defaults.output.folder = "runs/a";
    EXPECT_EQ(diff_run_configs(config, defaults), std::vector<std::string>{});
  }
}

TEST(LoadConfig, AssignmentsBeatTheFileWhichBeatsTheDefault) {
  const std::string without = minimal_config("joint");
  const std::string with = without + "trainer: {rows_per_step: 7}\n";
  EXPECT_EQ(parse(without).trainer.rows_per_step, 32);
  EXPECT_EQ(parse(with).trainer.rows_per_step, 7);
  EXPECT_EQ(parse(with, {"trainer.rows_per_step=9"}).trainer.rows_per_step, 9);
  EXPECT_EQ(parse(without, {"trainer.rows_per_step=9"}).trainer.rows_per_step, 9);
  EXPECT_EQ(
      parse(with, {"trainer.rows_per_step=9", "trainer.rows_per_step=11"}).trainer.rows_per_step,
      11);
}

TEST(LoadConfig, ASectionGivenByAssignmentKeepsItsOtherFields) {
  const RunConfig config =
      parse(minimal_config("joint") + "trainer: {rows_per_step: 7}\n", {"trainer={seed: 5}"});
  EXPECT_EQ(config.trainer.rows_per_step, 7);
  EXPECT_EQ(config.trainer.seed, 5U);
}

TEST(LoadConfig, TheStageMayComeFromTheCommandOrAnAssignment) {
  const std::string text = "model: {base: b}\ndata: {train: [a]}\noutput: {folder: o}\n";
  const RunConfig command =
      parse_run_config(text, "run.yaml", {.stage = Stage::kJoint, .assignments = {}});
  EXPECT_EQ(command.stage, Stage::kJoint);
  EXPECT_EQ(command.trainer.rows_per_step, 32);
  EXPECT_EQ(parse(text, {"stage=retriever"}).stage, Stage::kRetriever);
  const RunConfig changed = parse(minimal_config("scp"), {"stage=joint"});
  EXPECT_EQ(changed.stage, Stage::kJoint);
  EXPECT_EQ(changed.trainer.rows_per_step, 32);
  EXPECT_NO_THROW(parse_run_config(minimal_config("scp"), "run.yaml",
                                   {.stage = Stage::kScp, .assignments = {}}));
}

TEST(LoadConfig, RowsPerMicroBatchIsAutoOrANumber) {
  EXPECT_EQ(
      parse(minimal_config("scp"), {"trainer.rows_per_micro_batch=4"}).trainer.rows_per_micro_batch,
      4);
  EXPECT_EQ(parse(minimal_config("scp") + "trainer: {rows_per_micro_batch: 4}\n",
                  {"trainer.rows_per_micro_batch=auto"})
                .trainer.rows_per_micro_batch,
            0);
}

TEST(LoadConfig, KeepBestMayBeNullAndMayBeChangedByMember) {
  EXPECT_FALSE(parse(minimal_config("joint") + "logging: {}\n").output.keep_best);
  EXPECT_FALSE(parse(full_joint_config(), {"output.keep_best=null"}).output.keep_best);
  EXPECT_FALSE(parse(full_joint_config(), {"output.keep_best=~"}).output.keep_best);
  const RunConfig config = parse(full_joint_config(), {"output.keep_best.mode=min"});
  EXPECT_EQ(config.output.keep_best->metric, "validation/recall@5");
  EXPECT_EQ(config.output.keep_best->mode, "min");
  const RunConfig made =
      parse(minimal_config("joint"),
            {"data.validation.0.path=v.jsonl", "output.keep_best.metric=validation/loss"});
  EXPECT_EQ(made.output.keep_best->metric, "validation/loss");
  EXPECT_EQ(made.output.keep_best->mode, "max");
}

TEST(LoadConfig, ListEntriesAreReachedByIndex) {
  const RunConfig config = parse(
      full_joint_config(), {"data.train.1.weight=0.5", "data.train.2.path=c.jsonl",
                            "data.train.2.max_rows=9", "data.validation.0=v.jsonl",
                            "trainer.adam_betas.1=0.99", "model.lora.target_modules.0=q_proj"});
  ASSERT_EQ(config.data.train.size(), 3U);
  EXPECT_EQ(config.data.train[0].path, "data/joint_train.jsonl");
  EXPECT_EQ(config.data.train[1].path, "data/more.jsonl");
  EXPECT_EQ(config.data.train[1].weight, 0.5);
  EXPECT_EQ(config.data.train[2].path, "c.jsonl");
  EXPECT_EQ(config.data.train[2].max_rows, 9);
  EXPECT_EQ(config.data.validation[0].path, "v.jsonl");
  EXPECT_EQ(config.trainer.adam_betas, (std::vector<double>{0.9, 0.99}));
  EXPECT_EQ(config.model.lora.target_modules, (std::vector<std::string>{"q_proj"}));
  EXPECT_EQ(parse(full_joint_config(), {"data.train=[x.jsonl]"}).data.train.size(), 1U);
}

TEST(LoadConfig, NumbersMayBeWrittenInEveryUsualWay) {
  const auto rate = [](const std::string& text) {
    return parse(minimal_config("scp"), {"trainer.peak_learning_rate=" + text})
        .trainer.peak_learning_rate;
  };
  EXPECT_EQ(rate("1"), 1.0);
  EXPECT_EQ(rate("+1.5"), 1.5);
  EXPECT_EQ(rate("5e-6"), 5e-6);
  EXPECT_EQ(rate("5.E-6"), 5e-6);
  EXPECT_EQ(rate(".5"), 0.5);
  EXPECT_EQ(parse(minimal_config("scp"), {"trainer.seed=18446744073709551615"}).trainer.seed,
            18446744073709551615ULL);
}

TEST(LoadConfig, AnAssignmentOfNothingIsTheEmptyString) {
  EXPECT_EQ(parse(full_joint_config(), {"model.init_from="}).model.init_from, "");
}

TEST(LoadConfig, StringAssignmentTakesAnyTextLiterally) {
  for (const std::string path : {"runs/a", "2024", "true", "a: b", "[x", "\"q\"", "a #b", "ü/\t"}) {
    EXPECT_EQ(
        parse(minimal_config("scp"), {string_assignment("output.folder", path)}).output.folder,
        path);
  }
}

TEST(LoadConfig, JsonIsReadLikeYaml) {
  const nlohmann::json json = {
      {"stage", "scp"},
      {"model", {{"base", "models/\U0001F600\\ud83d\\/\"x\""}, {"lora", {{"alpha", 8.5}}}}},
      {"data", {{"train", {"a.jsonl", {{"path", "b.jsonl"}, {"weight", 2}}}}}},
      {"output", {{"folder", "runs/a"}, {"keep_best", nullptr}}},
      {"logging", {{"tensorboard", false}}},
      {"trainer", {{"peak_learning_rate", 1e-5}, {"rows_per_micro_batch", "auto"}}}};
  for (const bool ascii : {false, true}) {
    for (const int indent : {-1, 4}) {
      for (const char fill : {' ', '\t'}) {
        const RunConfig config = parse(json.dump(indent, fill, ascii));
        EXPECT_EQ(config.model.base, json["model"]["base"]);
        EXPECT_EQ(config.model.lora.alpha, 8.5);
        EXPECT_EQ(config.data.train[1].weight, 2.0);
        EXPECT_FALSE(config.logging.tensorboard);
        EXPECT_FALSE(config.output.keep_best);
        EXPECT_EQ(config.trainer.peak_learning_rate, 1e-5);
      }
    }
  }
}

TEST(LoadConfig, MistakesInJsonHaveLinesToo) {
  EXPECT_EQ(error_of("{\n  \"stage\": \"scp\",\n  \"model\": {\"base\": \"b\"},\n"
                     "  \"data\": {\"train\": [\"a\"]},\n  \"output\": {\"folder\": \"o\"},\n"
                     "  \"trainer\": {\n    \"seed\": \"17\"\n  }\n}\n"),
            "run.yaml:7: trainer.seed: expected an integer >= 0, found \"17\"");
}

TEST(LoadConfig, YamlAnchorsWorkInsideAFile) {
  const RunConfig config = parse(
      "stage: scp\nmodel: {base: &b models/base}\ndata: {train: &t [a.jsonl], validation: *t}\n"
      "output: {folder: *b}\n");
  EXPECT_EQ(config.output.folder, "models/base");
  EXPECT_EQ(config.data.validation[0].path, "a.jsonl");
}

}  // namespace
}  // namespace clara::test
