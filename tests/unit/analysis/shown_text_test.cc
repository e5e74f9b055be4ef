// What a terminal is given: no control characters of the data, columns that line up.
#include "analysis/shown_text.h"

#include <string>

#include <gtest/gtest.h>

namespace clara {
namespace {

TEST(EscapeControls, LeavesNothingThatMovesTheCursorOrReordersALine) {
  EXPECT_EQ(escape_controls("a\x1b[31mb\r\tc\x7f"), "a\\u001B[31mb\\r\\tc\\u007F");
  EXPECT_EQ(escape_controls("\xC2\x9B"
                            "1m"),
            "\\u009B1m");
  EXPECT_EQ(escape_controls("\xE2\x80\xAE"
                            "abc"),
            "\\u202Eabc");
  EXPECT_EQ(escape_controls("bad \xFF byte"), "bad \\xFF byte");
}

TEST(EscapeControls, KeepsLineBreaksOnlyWhereTheyAreWanted) {
  EXPECT_EQ(escape_controls("a\nb"), "a\\nb");
  EXPECT_EQ(escape_controls("a\nb", /*keep_newlines=*/true), "a\nb");
}

TEST(EscapeControls, LeavesOtherScriptsAlone) {
  EXPECT_EQ(escape_controls("Zürich 東京 🙂"), "Zürich 東京 🙂");
}

TEST(Shorten, CountsCharactersAndCutsNoneInTwo) {
  EXPECT_EQ(shorten("äöü", 3), "äöü");
  EXPECT_EQ(shorten("äöüß", 3), "äö…");
}

TEST(TextTable, AlignsColumnsByCharactersAndEndsNoLineInBlanks) {
  TextTable table({{"name"}, {"value", true}});
  table.add_row({"é", "1"});
  table.add_row({"long name", "100"});
  EXPECT_EQ(table.render(false), "name       value\né              1\nlong name    100\n");
}

TEST(TextTable, LeavesOutColumnsWithoutContent) {
  TextTable table({{"a"}, {"empty"}, {"b"}});
  table.add_row({"1", "", "2"});
  table.add_row({"3", "", ""});
  EXPECT_EQ(table.render(false), "a  b\n1  2\n3\n");
}

TEST(Paint, WritesEscapeSequencesOnlyWhereColorsAreOn) {
  EXPECT_EQ(paint("x", TextColor::kRed, false), "x");
  EXPECT_EQ(paint("x", TextColor::kRed, true), "\x1b[31mx\x1b[0m");
}

}  // namespace
}  // namespace clara
