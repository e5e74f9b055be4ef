// Laws of text in columns.
#include "eval/text_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace clara {
namespace {

using testing::ElementsAre;

TEST(TextColumns, AreThoseOfATerminal) {
  EXPECT_EQ(display_columns("CLaRa"), 5u);
  EXPECT_EQ(display_columns("16×"), 3u);
  EXPECT_EQ(display_columns("日本"), 4u);
  EXPECT_EQ(display_columns("e\u0301"), 1u);  // a combining accent
  EXPECT_EQ(display_columns("\xFF"), 1u);
  EXPECT_EQ(pad_left("日本", 6), "  日本");
  EXPECT_EQ(pad_right("日本", 6), "日本  ");
  EXPECT_EQ(pad_left("long", 2), "long");
}

TEST(TextColumns, AreCutBetweenCharacters) {
  EXPECT_EQ(fit_columns("abcdef", 6), "abcdef");
  EXPECT_EQ(fit_columns("abcdef", 4), "abc…");
  EXPECT_EQ(fit_columns("日本語", 4), "日…");
  EXPECT_EQ(fit_columns("äöü", 2), "ä…");
}

TEST(TextColumns, WordsAreWrappedAndLongOnesStayWhole) {
  EXPECT_THAT(wrap_words("one two  three", 7), ElementsAre("one two", "three"));
  EXPECT_THAT(wrap_words("a extraordinary b", 4), ElementsAre("a", "extraordinary", "b"));
  EXPECT_THAT(wrap_words("", 4), ElementsAre());
}

TEST(MarkdownTable, LinesUpAndItsCellsCannotBreakIt) {
  EXPECT_EQ(cell_text("a | b\nc", 20), "a \\| b c");
  EXPECT_EQ(render_markdown_table({{"name", "EM"}, {"日本", "1.00"}, {"x", "10.00"}}, 1),
            "| name |    EM |\n"
            "| :--- | ----: |\n"
            "| 日本 |  1.00 |\n"
            "| x    | 10.00 |\n");
}

}  // namespace
}  // namespace clara
