// Which changes a resumed run may have, and that each of them is shown with both values.
#include "trainer/resume_check.h"

#include <fstream>

#include "tests/unit/common/temporary_folder.h"
#include "trainer/input_fingerprint.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"
#include "clara/config/load_config.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
namespace fs = std::filesystem;

RunConfig config_with(const std::vector<std::string>& assignments) {
  ConfigOverrides overrides;
  overrides.assignments = assignments;
  return parse_run_config(
      "stage: joint\nmodel: {base: b}\ndata: {train: [t.jsonl]}\noutput: {folder: run}\n", "test",
      overrides);
}

class ResumeCheck : public ::testing::Test {
 protected:
  ResumeCheck() {
    saved.config_yaml = print_run_config(config_with({}));
    saved.inputs = inputs;
  }
  std::vector<std::string> check(const std::vector<std::string>& assignments, bool allow = false) {
    return check_resume_changes("run/checkpoints/step_000010", saved, config_with(assignments),
                                inputs, allow);
  }
  std::string refusal(const std::vector<std::string>& assignments, bool allow = false) {
    try {
      check(assignments, allow);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "not refused";
  }
  std::map<std::string, std::string> inputs = {{"file of data.train.0", "16 rows, xxh3 a"},
                                               {"file of data.validation.0", "4 rows, xxh3 b"}};
  RunProgress saved;
};

TEST_F(ResumeCheck, NothingChangedIsNothingToSay) { EXPECT_THAT(check({}), IsEmpty()); }

TEST_F(ResumeCheck, ChangesThatLeaveTheUpdateAloneAreShown) {
  EXPECT_THAT(
      check({"logging.every_steps=7", "output.keep_last=9"}),
      ElementsAre(AllOf(HasSubstr("without effect"), HasSubstr("logging.every_steps: 1 -> 7"),
                        HasSubstr("output.keep_last: 3 -> 9"))));
}

TEST_F(ResumeCheck, ChangesOfTheResultHaveToBeAllowed) {
  for (const std::string change :
       {"trainer.seed=18", "trainer.peak_learning_rate=0.5", "trainer.rows_per_step=7",
        "trainer.num_epochs=2", "trainer.max_steps=9", "data.train=[u.jsonl]", "data.max_rows=3",
        "data.shuffle_seed=1", "model.lora.alpha=1", "model.lora.dropout=0",
        "objective.temperature=1", "model.dtype=bfloat16", "model.base=c"}) {
    const std::string key = change.substr(0, change.find('='));
    EXPECT_THAT(refusal({change, "logging.every_steps=7"}),
                AllOf(HasSubstr("step_000010"), HasSubstr("would change the result"),
                      HasSubstr("\n  " + key), HasSubstr(" -> "), HasSubstr("--allow-changes"),
                      HasSubstr("these differ and may:\n  logging.every_steps: 1 -> 7")))
        << change;
    EXPECT_THAT(check({change}, true),
                Contains(AllOf(HasSubstr("warning"), HasSubstr("\n  " + key))))
        << change;
  }
}

TEST_F(ResumeCheck, WhatTheCheckpointDoesNotFitIsNeverAllowed) {
  for (const std::string change : {"model.lora.rank=3", "model.lora.target_modules=[q_proj]",
                                   "model.doc_max_tokens=512", "model.compression_rate=8"}) {
    const std::string key = change.substr(0, change.find('='));
    for (const bool allow : {false, true}) {
      EXPECT_THAT(refusal({change}, allow),
                  AllOf(HasSubstr("would not fit"), HasSubstr("\n  " + key),
                        Not(HasSubstr("--allow-changes")), HasSubstr("model.init_from")))
          << change;
    }
  }
}

TEST_F(ResumeCheck, ChangedFilesAreSeen) {
  inputs["file of data.train.0"] = "16 rows, xxh3 c";
  EXPECT_THAT(refusal({}),
              AllOf(HasSubstr("file of data.train.0: 16 rows, xxh3 a -> 16 rows, xxh3 c"),
                    HasSubstr("--allow-changes")));
  EXPECT_THAT(check({}, true), Contains(HasSubstr("file of data.train.0")));
  inputs = saved.inputs;
  inputs["file of data.validation.0"] = "5 rows, xxh3 d";
  EXPECT_THAT(check({}), ElementsAre(HasSubstr("without effect")));
  inputs = saved.inputs;
  inputs["file of data.train.1"] = "1 rows, xxh3 e";
  EXPECT_THAT(refusal({}), HasSubstr("file of data.train.1: none -> 1 rows"));
}

TEST_F(ResumeCheck, AnOldCheckpointSaysThatFilesAreNotChecked) {
  saved.inputs.clear();
  EXPECT_THAT(check({}), ElementsAre(AllOf(HasSubstr("warning"), HasSubstr("not checked"))));
}

// ---- fingerprints -------------------------------------------------------------------------------

class Fingerprints : public ::testing::Test {
 protected:
  Fingerprints() {
    config.model.base = (folder / "base").string();
    fs::create_directories(folder / "base");
    write("base/config.json", "{}");
    write("base/tokenizer.json", "{}");
    write("base/model.safetensors", std::string(100'000, 'w'));
    write("train.jsonl", "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
    config.data.train = {{(folder / "train.jsonl").string(), 1.0, 0}};
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder / name, std::ios::binary) << text;
  }
  std::map<std::string, std::string> take() const {
    return fingerprint_inputs(config, RowSource(config.data.train, config.data.max_rows), nullptr);
  }
  TemporaryFolder folder;
  RunConfig config;
};

TEST_F(Fingerprints, AreTheSameForTheSameFiles) {
  EXPECT_EQ(take(), take());
  std::vector<std::string> names;
  for (const auto& [name, value] : take()) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("file of data.train.0", "file of model.base/config.json",
                                 "file of model.base/model.safetensors",
                                 "file of model.base/tokenizer.json"));
  EXPECT_THAT(take().at("file of data.train.0"), HasSubstr("3 rows"));
}

TEST_F(Fingerprints, SeeAChangedFile) {
  const auto before = take();
  write("train.jsonl", "{\"a\":1}\n{\"a\":9}\n{\"a\":3}\n");
  EXPECT_NE(take().at("file of data.train.0"), before.at("file of data.train.0"));
  write("base/config.json", "{ }");
  EXPECT_NE(take().at("file of model.base/config.json"),
            before.at("file of model.base/config.json"));
  std::string weights(100'000, 'w');
  weights.back() = 'x';
  write("base/model.safetensors", weights);
  EXPECT_NE(take().at("file of model.base/model.safetensors"),
            before.at("file of model.base/model.safetensors"));
}

TEST_F(Fingerprints, RowsThatAreNotUsedDoNotCount) {
  config.data.max_rows = 2;
  const auto before = take();
  write("train.jsonl", "{\"a\":1}\n{\"a\":2}\n{\"a\":9}\n{\"a\":10}\n");
  EXPECT_EQ(take(), before);
  write("train.jsonl", "{\"a\":1}\n{\"a\":7}\n{\"a\":9}\n");
  EXPECT_NE(take(), before);
}

TEST_F(Fingerprints, AnEmptyWeightFileHasOneToo) {
  write("base/model.safetensors", "");
  EXPECT_THAT(take().at("file of model.base/model.safetensors"), HasSubstr("0 bytes"));
}

}  // namespace
}  // namespace clara
