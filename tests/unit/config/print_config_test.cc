// Printing loses nothing: YAML and JSON read back to the same config; differences are named by
// field.
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/config/config_text.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/config/load_config.h"

namespace clara::test {
namespace {

const std::vector<std::string> kNoDifference;

TEST(PrintConfig, YamlAndJsonReadBackToTheSameConfigInEveryStage) {
  for (const std::string stage : {"scp", "tune", "joint", "retriever"}) {
    const RunConfig config = parse(minimal_config(stage));
    EXPECT_EQ(diff_run_configs(config, parse(print_run_config(config))), kNoDifference);
    EXPECT_EQ(diff_run_configs(config, parse(run_config_to_json(config))), kNoDifference);
    EXPECT_EQ(print_run_config(config), print_run_config(parse(run_config_to_json(config))));
  }
  const RunConfig full = parse(full_joint_config());
  EXPECT_EQ(diff_run_configs(full, parse(print_run_config(full))), kNoDifference);
  EXPECT_EQ(diff_run_configs(full, parse(run_config_to_json(full))), kNoDifference);
}

TEST(PrintConfig, DoublesReadBackBitEqual) {
  std::mt19937_64 random(3);
  RunConfig config = parse(minimal_config("scp"));
  std::vector<double> values = {0.0,
                                1.0,
                                0.1,
                                5e-6,
                                1e-4,
                                1e22,
                                1e300,
                                3e15,
                                123456789.0,
                                std::numeric_limits<double>::denorm_min(),
                                std::numeric_limits<double>::max(),
                                std::nextafter(0.1, 1.0)};
  std::uniform_real_distribution<double> exponent(-300, 300);
  for (int i = 0; i < 300; ++i) values.push_back(std::pow(10.0, exponent(random)));
  for (const double value : values) {
    config.trainer.weight_decay = value;
    EXPECT_EQ(parse(print_run_config(config)).trainer.weight_decay, value);
    EXPECT_EQ(parse(run_config_to_json(config)).trainer.weight_decay, value);
  }
}

TEST(PrintConfig, StringsReadBackWhateverTheyHold) {
  for (const std::string text : {"plain/path.jsonl",
                                 "5",
                                 "1e5",
                                 "true",
                                 "off",
                                 "null",
                                 "~",
                                 "",
                                 " a ",
                                 "a: b",
                                 "a #b",
                                 "#a",
                                 "- a",
                                 "[a, b]",
                                 "{a}",
                                 "*a",
                                 "&a",
                                 "!a",
                                 "%a",
                                 "@a",
                                 "`a",
                                 "\"a\"",
                                 "'a'",
                                 "a\nb",
                                 "a\tb",
                                 "\x01\x7f",
                                 "ü\U0001F600",
                                 "a,b",
                                 "?",
                                 ":",
                                 "\\",
                                 "..",
                                 ".5",
                                 "-1",
                                 "=",
                                 "<<"}) {
    RunConfig config = parse(minimal_config("joint"));
    config.model.init_from = text;
    config.objective.latent_cache_folder = text;
    config.model.lora.target_modules = {"a" + text, "b"};
    config.data.train[0].path = "x" + text;
    config.data.validation = {DataSource{.path = "/" + text, .weight = 0.25, .max_rows = 7}};
    EXPECT_EQ(diff_run_configs(config, parse(print_run_config(config))), kNoDifference) << text;
    EXPECT_EQ(diff_run_configs(config, parse(run_config_to_json(config))), kNoDifference) << text;
  }
}

TEST(PrintConfig, SectionsAreNestedAndSpecialValuesKeepTheirWords) {
  const std::string text = print_run_config(parse(minimal_config("joint")));
  EXPECT_EQ(text.rfind("stage: joint\nmodel:\n  base: models/base\n", 0), 0U) << text;
  EXPECT_NE(text.find("\n  lora:\n    rank: 16\n    alpha: 32.0\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  dtype: auto\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\ndata:\n  train:\n    - {path: train.jsonl, weight: 1.0, max_rows: 0}\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\n  rows_per_micro_batch: auto\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  peak_learning_rate: 5.0e-06\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  adam_betas: [0.9, 0.95]\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  keep_best: null\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n  activation_checkpointing: false\n"), std::string::npos) << text;
}

TEST(PrintConfig, WordsThatSomeReadersTakeForBoolsAreQuoted) {
  const RunConfig config = parse(minimal_config("joint"), {"objective.latent_cache=off"});
  EXPECT_NE(print_run_config(config).find("  latent_cache: \"off\"\n"), std::string::npos);
}

TEST(PrintConfig, FieldsOfOtherStagesAreNotPrinted) {
  const std::string scp = print_run_config(parse(minimal_config("scp")));
  EXPECT_NE(scp.find("alignment_weight"), std::string::npos);
  EXPECT_EQ(scp.find("temperature"), std::string::npos);
  const std::string joint = print_run_config(parse(minimal_config("joint")));
  EXPECT_EQ(joint.find("alignment_weight"), std::string::npos);
  EXPECT_EQ(joint.find("latent_token_loss"), std::string::npos);
  EXPECT_NE(joint.find("temperature"), std::string::npos);
}

TEST(PrintConfig, JsonHasTypesOfItsOwn) {
  const nlohmann::json json =
      nlohmann::json::parse(run_config_to_json(parse(minimal_config("joint"))));
  EXPECT_EQ(json["stage"], "joint");
  EXPECT_TRUE(json["trainer"]["rows_per_step"].is_number_integer());
  EXPECT_TRUE(json["trainer"]["peak_learning_rate"].is_number_float());
  EXPECT_TRUE(json["logging"]["tensorboard"].is_boolean());
  EXPECT_EQ(json["trainer"]["rows_per_micro_batch"], "auto");
  EXPECT_TRUE(json["output"]["keep_best"].is_null());
  EXPECT_EQ(json["data"]["train"][0]["path"], "train.jsonl");
}

TEST(DiffRunConfigs, NamesEachFieldThatDiffers) {
  const RunConfig a = parse(full_joint_config());
  EXPECT_EQ(diff_run_configs(a, a), kNoDifference);
  const RunConfig b =
      parse(full_joint_config(), {"trainer.rows_per_step=16", "trainer.rows_per_micro_batch=2",
                                  "data.train=[x.jsonl]", "output.keep_best=null"});
  EXPECT_EQ(diff_run_configs(a, b),
            (std::vector<std::string>{
                "data.train: [{path: data/joint_train.jsonl, weight: 1.0, max_rows: 0}, {path: "
                "data/more.jsonl, weight: 1.0, max_rows: 0}] -> [{path: x.jsonl, weight: 1.0, "
                "max_rows: 0}]",
                "trainer.rows_per_step: 32 -> 16", "trainer.rows_per_micro_batch: auto -> 2",
                "output.keep_best: {metric: validation/recall@5, mode: max} -> null"}));
}

}  // namespace
}  // namespace clara::test
