// Laws of tab-separated rows: what Python's csv module would read.
#include "clara/data/tsv_stream.h"

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace clara {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Fields = std::vector<std::string>;

class TsvStreamFiles : public ::testing::Test {
 protected:
  std::vector<Fields> rows(const std::string& name) const {
    TsvStream stream((folder_ / name).string());
    std::vector<Fields> all;
    while (auto row = stream.next()) all.push_back(std::move(row->fields));
    return all;
  }

  TemporaryFolder folder_;
};

// The expected rows are those of csv.reader(file, delimiter="\t").
TEST_F(TsvStreamFiles, QuotesTabsAndLineBreaksAreReadAsPythonReadsThem) {
  const std::string text =
      "id\ttext\n"
      "1\t\"a \"\"b\"\"\tc\nd\"\r\n"
      "\n"
      "2\tx \"y\" z\n"
      "3\t\"q\"r\t\n"
      "4\t";
  write_text(folder_ / "a.tsv", text);
  write_gzip(folder_ / "b.tsv.gz", text);
  for (const char* name : {"a.tsv", "b.tsv.gz"}) {
    EXPECT_THAT(rows(name),
                ElementsAre(Fields{"id", "text"}, Fields{"1", "a \"b\"\tc\nd"},
                            Fields{"2", "x \"y\" z"}, Fields{"3", "qr", ""}, Fields{"4", ""}))
        << name;
  }
}

TEST_F(TsvStreamFiles, PlacesAreTheLinesThatRowsBeginOn) {
  write_text(folder_ / "a.tsv",
             "\xEF\xBB\xBF"
             "1\t\"a\nb\"\n\n2\tc\n");
  TsvStream stream((folder_ / "a.tsv").string());
  const auto first = stream.next();
  EXPECT_EQ(first->fields[0], "1");
  EXPECT_EQ(first->place.line, 1);
  EXPECT_EQ(stream.next()->place.line, 4);
  EXPECT_FALSE(stream.next().has_value());
  EXPECT_EQ(stream.num_bytes_read(), stream.num_bytes());
}

TEST_F(TsvStreamFiles, RowsLongerThanWhatIsReadAtOnceAreWhole) {
  const std::string text(2'500'000, 'x');
  write_text(folder_ / "a.tsv", "1\t" + text + "\n2\ty\n");
  EXPECT_THAT(rows("a.tsv"), ElementsAre(Fields{"1", text}, Fields{"2", "y"}));
}

TEST_F(TsvStreamFiles, AQuoteThatDoesNotCloseNamesItsLine) {
  write_text(folder_ / "a.tsv", "1\ta\n2\t\"b\n");
  EXPECT_THAT(data_error_of([&] { rows("a.tsv"); }),
              HasSubstr("a.tsv:2: expected a closing quote, found the end of the file"));
  EXPECT_THAT(data_error_of([&] { rows("absent.tsv"); }), HasSubstr("no such file"));
}

}  // namespace
}  // namespace clara
