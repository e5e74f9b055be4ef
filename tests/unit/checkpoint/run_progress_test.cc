// Progress comes back exactly, that of the first release included, and nothing wrong is taken for
// progress.
#include "clara/checkpoint/run_progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string message_of(const std::string& text) {
  try {
    parse_run_progress(text);
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "no CheckpointError";
}

TEST(RunProgress, ComesBackExactly) {
  RunProgress progress;
  progress.step = 12;
  progress.total_steps = INT64_MAX;
  progress.epoch = 3;
  progress.position = 128;
  progress.is_validation_due = true;
  progress.best = BestCheckpoint{"validation/recall@5", 0.1 + 0.2, 3};
  progress.counters = {{"cut_documents", 5}};
  progress.config_yaml = "stage: joint\nname: \"ü\\n\"\n";
  progress.inputs = {{"file of data.train.0", "16 rows"}};
  const RunProgress again = parse_run_progress(render_run_progress(progress));
  EXPECT_EQ(again.step, 12);
  EXPECT_EQ(again.total_steps, INT64_MAX);
  EXPECT_EQ(again.epoch, 3);
  EXPECT_EQ(again.position, 128);
  EXPECT_TRUE(again.is_validation_due);
  ASSERT_TRUE(again.best.has_value());
  EXPECT_EQ(again.best->metric, "validation/recall@5");
  EXPECT_EQ(again.best->value, 0.1 + 0.2);
  EXPECT_EQ(again.best->step, 3);
  EXPECT_EQ(again.counters, progress.counters);
  EXPECT_EQ(again.config_yaml, progress.config_yaml);
  EXPECT_EQ(again.inputs, progress.inputs);
}

TEST(RunProgress, ReadsWhatTheFirstReleaseWrote) {
  // Recorded from version 0.1.0, which kept neither the data position nor the inputs.
  const RunProgress progress = parse_run_progress(R"({
  "best": null,
  "config": "stage: scp\n",
  "counters": {
    "cut_answers": 0,
    "cut_documents": 2,
    "dropped_documents": 0,
    "trained_rows": 8
  },
  "format_version": 1,
  "step": 2,
  "total_steps": 40
}
)");
  EXPECT_EQ(progress.step, 2);
  EXPECT_EQ(progress.total_steps, 40);
  EXPECT_EQ(progress.epoch, std::nullopt);
  EXPECT_EQ(progress.position, std::nullopt);
  EXPECT_FALSE(progress.is_validation_due);
  EXPECT_FALSE(progress.best.has_value());
  EXPECT_EQ(progress.counters.at("trained_rows"), 8);
  EXPECT_TRUE(progress.inputs.empty());
}

TEST(RunProgress, RefusesWhatIsWrongByName) {
  const std::string sound =
      R"("format_version":1,"step":2,"total_steps":4,"best":null,"counters":{},"config":"")";
  EXPECT_EQ(parse_run_progress("{" + sound + "}").step, 2);
  for (const auto& [text, wanted] : std::vector<std::pair<std::string, std::string>>{
           {"", "expected a JSON object"},
           {"{" + sound, "expected a JSON object"},
           {R"({"format_version":2})", "newer release"},
           {R"({"format_version":1})", "step: missing"},
           {R"({"format_version":1,"step":-1})", "step: expected a whole number"},
           {R"({"format_version":1,"step":9223372036854775808})", "step: expected a whole number"},
           {R"({"format_version":1,"step":1.0})", "step: expected a whole number"},
           {"{" + sound + R"(,"epoch":"1"})", "epoch: expected a whole number"},
           {"{" + sound + R"(,"is_validation_due":1})",
            "is_validation_due: expected true or false"},
           {"{" + sound + R"(,"inputs":[]})", "inputs: expected an object"},
           {"{" + sound + R"(,"inputs":{"a":1}})", "inputs.a: expected a string"},
           {"{" + sound + R"(,"best":{"metric":"m","value":null,"step":1}})",
            "best.value: expected a number"},
           {"{" + sound + R"(,"best":{"metric":"m","value":1}})", "step: missing"},
           {"{" + sound + R"(,"counters":{"x":"y"}})", "counters.x: expected a whole number"},
       }) {
    EXPECT_THAT(message_of(text), AllOf(HasSubstr("trainer_state.json"), HasSubstr(wanted)))
        << text;
  }
}

TEST(RunProgress, TextThatIsNoUtf8IsStillWritten) {
  RunProgress progress;
  progress.config_yaml = "folder: \xff";
  EXPECT_THAT(parse_run_progress(render_run_progress(progress)).config_yaml, HasSubstr("folder"));
}

}  // namespace
}  // namespace clara
