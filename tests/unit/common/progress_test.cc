// Laws of the progress bar: what reaches a terminal, what reaches a pipe.
#include "clara/common/progress.h"

#include <algorithm>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace clara {
namespace {

std::int64_t count_of(char c, const std::string& text) {
  return std::count(text.begin(), text.end(), c);
}

std::int64_t count_lines(const std::string& text) { return count_of('\n', text); }

TEST(ProgressBar, APipeGetsWholeLinesWithoutControlCharacters) {
  std::ostringstream out;
  ProgressSink sink{&out, /*is_terminal=*/false};
  sink.seconds_between_lines = 0;
  ProgressBar bar(sink, 3, "rows");
  for (int done = 1; done <= 3; ++done) bar.update(done, "EM 0.5");
  bar.finish();
  EXPECT_EQ(count_lines(out.str()), 3);
  EXPECT_EQ(out.str().find_first_of("\r\x1b"), std::string::npos);
  EXPECT_NE(out.str().find("rows 2/3  0s left  EM 0.5"), std::string::npos) << out.str();
}

TEST(ProgressBar, APipeIsToldTheEndEvenWhereTheLinesAreRare) {
  std::ostringstream out;
  ProgressSink sink{&out, /*is_terminal=*/false};
  sink.seconds_between_lines = 1e9;
  ProgressBar bar(sink, 100, "rows");
  for (int done = 1; done <= 100; ++done) bar.update(done);
  EXPECT_EQ(out.str(), "");
  bar.finish();
  bar.finish();
  EXPECT_EQ(count_lines(out.str()), 1);
  EXPECT_TRUE(out.str().starts_with("rows 100/100")) << out.str();
}

TEST(ProgressBar, ATerminalGetsOneLineThatIsDrawnAgain) {
  std::ostringstream out;
  ProgressSink sink{&out, /*is_terminal=*/true};
  sink.seconds_between_draws = 0;
  sink.width = 80;
  {
    ProgressBar bar(sink, 2, "rows");
    bar.update(1);
    bar.update(2);
  }
  EXPECT_EQ(count_lines(out.str()), 1);
  EXPECT_EQ(count_of('\r', out.str()), 2);
  EXPECT_NE(out.str().find("[====    ] 1/2"), std::string::npos) << out.str();
  EXPECT_NE(out.str().find("[========] 2/2"), std::string::npos) << out.str();
}

TEST(ProgressBar, AnOrdinaryTerminalHasRoomForTheTimeLeftAndForWhatIsFirstInTheSuffix) {
  std::ostringstream out;
  ProgressSink sink{&out, /*is_terminal=*/true};
  sink.width = 80;
  ProgressBar bar(sink, 100000, "retriever");
  bar.update(99000, "loss 0.1234  lr 1.25e-05  rows/s 123.4  answer tok/s 1234");
  EXPECT_NE(out.str().find("s left  loss 0.1234  lr 1.25e-05"), std::string::npos) << out.str();
  bar.clear();
}

TEST(ProgressBar, AWideTerminalGetsALongBar) {
  std::ostringstream out;
  ProgressSink sink{&out, /*is_terminal=*/true};
  sink.width = 200;
  ProgressBar bar(sink, 2, "rows");
  bar.update(1);
  EXPECT_NE(out.str().find("[============            ] 1/2"), std::string::npos) << out.str();
  bar.clear();
}

TEST(ProgressBar, ALineIsCutToTheTerminalsWidthInCharacters) {
  std::ostringstream out;
  ProgressSink sink{&out, /*is_terminal=*/true};
  sink.width = 3;
  ProgressBar bar(sink, 2, "äöüß");
  bar.update(1);
  EXPECT_EQ(out.str(), "\r\x1b[Käöü");
  bar.clear();
}

TEST(ProgressBar, WithoutAStreamNothingHappens) {
  ProgressBar bar({}, 2, "rows");
  bar.update(1);
  bar.clear();
  bar.finish();
}

TEST(FormatDuration, TakesTheTwoLargestUnits) {
  EXPECT_EQ(format_duration(-1), "0s");
  EXPECT_EQ(format_duration(59.4), "59s");
  EXPECT_EQ(format_duration(200), "3m20s");
  EXPECT_EQ(format_duration(7500), "2h05m");
}

}  // namespace
}  // namespace clara
