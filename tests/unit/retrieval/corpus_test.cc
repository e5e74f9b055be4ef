// Laws of reading a corpus: every layout gives its passages, and what is wrong names its place.
#include "clara/retrieval/corpus.h"

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CorpusFiles : public ::testing::Test {
 protected:
  // "id|title|text" of each passage.
  std::vector<std::string> read(const std::vector<std::string>& names,
                                const CorpusSettings& settings = {}) {
    std::vector<std::string> paths;
    for (const std::string& name : names) paths.push_back((folder_ / name).string());
    CorpusReader reader(paths, settings);
    std::vector<std::string> all;
    while (const auto passage = reader.next())
      all.push_back(passage->id + "|" + passage->title + "|" + passage->text);
    counts_ = reader.counts();
    EXPECT_EQ(reader.num_bytes_read(), reader.num_bytes());
    EXPECT_EQ(counts_.num_passages, static_cast<std::int64_t>(all.size()));
    return all;
  }

  TemporaryFolder folder_;
  CorpusCounts counts_;
};

TEST_F(CorpusFiles, JsonRowsMayNameTheirFieldsAsPublishedCorporaDo) {
  const std::string rows =
      "{\"id\": \"a\", \"title\": \"T\", \"text\": \" one \"}\n"
      "{\"_id\": 12345678901234567, \"text\": \"two\"}\n"
      "{\"doc_id\": \"c\", \"contents\": \"\\\"Name\\\"\\nthree\\nlines\"}\n"
      "{\"docid\": \"d\", \"title\": \"U\", \"contents\": \"U\\nfour\"}\n"
      "{\"id\": \"e\", \"title\": \"U\", \"contents\": \"V\\nfive\"}\n"
      "{\"id\": \"f\", \"title\": null, \"body\": \"six\"}\n"
      "{\"id\": \"g\", \"content\": \"seven\"}\n";
  write_text(folder_ / "a.jsonl", rows);
  write_gzip(folder_ / "b.jsonl.gz", rows);
  for (const char* name : {"a.jsonl", "b.jsonl.gz"}) {
    EXPECT_THAT(read({name}),
                ElementsAre("a|T|one", "12345678901234567||two", "c|Name|three\nlines", "d|U|four",
                            "e|U|V\nfive", "f||six", "g||seven"))
        << name;
  }
}

TEST_F(CorpusFiles, TablesHaveDprsColumnsInAnyOrder) {
  write_gzip(folder_ / "psgs.tsv.gz",
             "id\ttext\ttitle\n1\t\"A \"\"b\"\" c\"\tT\n2\td\t\"U \"\"v\"\"\"\n");
  EXPECT_THAT(read({"psgs.tsv.gz"}), ElementsAre("1|T|A \"b\" c", "2|U \"v\"|d"));
  EXPECT_EQ(counts_.num_rows, 2);
  write_text(folder_ / "other.tsv", "title\tid\ttext\nT\t1\ta\n");
  EXPECT_THAT(read({"other.tsv"}), ElementsAre("1|T|a"));
  write_text(folder_ / "bare.tsv", "1\ta\tT\n");
  EXPECT_THAT(read({"bare.tsv"}), ElementsAre("1|T|a"));
}

TEST_F(CorpusFiles, PagesOfKiltGiveAPassageAParagraph) {
  write_text(folder_ / "kilt.jsonl",
             "{\"_id\": \"7\", \"wikipedia_id\": \"7\", \"wikipedia_title\": \"T\", \"text\": "
             "[\"T\\n\", \"one\\n\", \"Section::::History\\n\", \" \", \"two\\n\"]}\n");
  EXPECT_THAT(read({"kilt.jsonl"}), ElementsAre("7#1|T|one", "7#4|T|two"));
  EXPECT_EQ(counts_.num_blank, 1);
}

TEST_F(CorpusFiles, DocumentsOfRecordsComeOnceAndGiveTheirTextAgain) {
  const std::vector<std::string> documents = {
      "T\none", "no title", "This a document about T. \n one", "T\n two ", "\nthree"};
  std::string list;
  for (const std::string& document : documents) {
    std::string escaped = document;
    for (std::size_t i = 0; (i = escaped.find('\n', i)) != std::string::npos; i += 2)
      escaped.replace(i, 1, "\\n");
    list += (list.empty() ? "\"" : ", \"") + escaped + "\"";
  }
  write_text(folder_ / "a.jsonl",
             "{\"question\": \"q\", \"docs\": [" + list +
                 "]}\n{\"question\": [\"q\"], \"context\": [\"T\\none\"], \"gold_docs\": "
                 "[\"gold\"]}\n");
  CorpusReader reader({(folder_ / "a.jsonl").string()});
  std::vector<std::string> found;
  std::vector<std::string> titles;
  while (const auto passage = reader.next()) {
    found.push_back(document_of(*passage, DocumentFormat::kTitleNewline));
    titles.push_back(passage->title);
  }
  EXPECT_THAT(titles, ElementsAre("T", "", "", "", "", ""));
  EXPECT_THAT(found, ElementsAre(documents[0], documents[1], documents[2], documents[3],
                                 documents[4], "gold"));
  EXPECT_EQ(reader.counts().num_repeated, 1);
  EXPECT_EQ(reader.files()[0].format, CorpusFormat::kRecords);
}

TEST_F(CorpusFiles, SeveralFilesFollowEachOtherUntilEnoughWereRead) {
  write_text(folder_ / "a.jsonl",
             "{\"id\": \"a\", \"text\": \"one\"}\n{\"id\":\"b\",\"text\":\" \"}\n");
  write_text(folder_ / "b.tsv", "id\ttext\ttitle\n2\ttwo\tT\n3\tthree\tT\n");
  EXPECT_THAT(read({"a.jsonl", "b.tsv"}), ElementsAre("a||one", "2|T|two", "3|T|three"));
  EXPECT_EQ(counts_.num_blank, 1);
  CorpusSettings settings;
  settings.max_passages = 2;
  EXPECT_THAT(read({"a.jsonl", "b.tsv"}, settings), ElementsAre("a||one", "2|T|two"));
}

TEST_F(CorpusFiles, WrongRowsNameTheirPlace) {
  write_text(folder_ / "a.jsonl", "{\"id\": \"a\", \"text\": \"one\"}\n{\"id\": \"b\"}\n");
  EXPECT_THAT(data_error_of([&] { read({"a.jsonl"}); }),
              AllOf(HasSubstr("a.jsonl:2: text: expected a string (or contents, content, body)"),
                    HasSubstr("found no such field")));
  write_text(folder_ / "b.jsonl", "{\"text\": \"one\"}\n");
  EXPECT_THAT(data_error_of([&] { read({"b.jsonl"}); }),
              HasSubstr("b.jsonl:1: id: expected a string or a whole number, found no such field"));
  write_text(folder_ / "c.tsv", "id\ttext\ttitle\n1\ta\n");
  EXPECT_THAT(data_error_of([&] { read({"c.tsv"}); }),
              HasSubstr("c.tsv:2: expected 3 columns (id, text, title), found 2"));
  write_text(folder_ / "d.tsv", "1\t\xFF\tT\n");
  EXPECT_THAT(data_error_of([&] { read({"d.tsv"}); }), HasSubstr("d.tsv:1: expected UTF-8 text"));
  EXPECT_THAT(data_error_of([&] {
                read({"a.jsonl", "absent.tsv"});
              }),
              HasSubstr("absent.tsv: expected a file"));
  CorpusSettings records;
  records.format = CorpusFormat::kRecords;
  EXPECT_THAT(data_error_of([&] { read({"a.jsonl"}, records); }),
              HasSubstr("a.jsonl:1: docs: expected a list of strings"));
  EXPECT_THROW(CorpusReader({}), ConfigError);
  EXPECT_THROW(parse_corpus_format("tsv.gz"), ConfigError);
}

TEST_F(CorpusFiles, BadRowsAreLeftOutWhereAskedFor) {
  write_text(folder_ / "a.jsonl", "{\"id\": 1}\n{\"id\": 2, \"text\": \"two\"}\n[]\n");
  CorpusSettings settings;
  settings.skips_bad_rows = true;
  EXPECT_THAT(read({"a.jsonl"}, settings), ElementsAre("2||two"));
  EXPECT_THAT(counts_.bad_rows, ElementsAre(HasSubstr("a.jsonl:1: text"), HasSubstr("a.jsonl:3")));
  write_text(folder_ / "b.jsonl", "{\"id\": 1}\n");
  EXPECT_THAT(data_error_of([&] { read({"b.jsonl"}, settings); }),
              HasSubstr("every one of its 1 rows is bad"));
}

}  // namespace
}  // namespace clara
