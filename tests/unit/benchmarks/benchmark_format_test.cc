// Laws of the layouts: each is recognised, gives its question with passages, gold and answers, and
// says what is wrong with a row and where.
#include "clara/benchmarks/benchmark_format.h"

#include "tests/unit/benchmarks/benchmark_rows.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/text.h"

namespace clara {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<int> relevant(const BenchmarkQuestion& question) {
  std::vector<int> positions;
  for (std::size_t i = 0; i < question.passages.size(); ++i) {
    if (question.passages[i].is_relevant) positions.push_back(static_cast<int>(i));
  }
  return positions;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string error_of(const std::string& row, std::optional<BenchmarkFormat> format = std::nullopt) {
  return data_error_of([&] { read_row(row, format); });
}

TEST(BenchmarkFormat, EveryLayoutIsRecognisedFromItsRow) {
  for (const auto& [name, row] : rows_of_all_layouts()) {
    BenchmarkReader reader;
    EXPECT_FALSE(reader.format().has_value());
    reader.read(line_of(row));
    EXPECT_EQ(to_string(reader.format().value()), name) << row;
  }
}

TEST(BenchmarkFormat, NamesAreParsedAndOthersListed) {
  for (const std::string& name : benchmark_format_names()) {
    EXPECT_EQ(to_string(parse_benchmark_format(name)), name);
  }
  EXPECT_THROW(parse_benchmark_format("hotpot"), ConfigError);
}

TEST(BenchmarkFormat, HotpotQaKeepsTitlesSentencesAndSupportingFacts) {
  const BenchmarkQuestion question = read_question(kHotpotRow);
  EXPECT_EQ(question.id, "5a");
  EXPECT_EQ(question.question, "Where was the founder of Oskel Mills born?");
  EXPECT_THAT(question.answers, ElementsAre("Belmar"));
  ASSERT_EQ(question.passages.size(), 3U);
  EXPECT_EQ(question.passages[1].title, "Mara Tolvek");
  EXPECT_EQ(question.passages[1].sentences[1], " She is from Belmar.");
  EXPECT_THAT(relevant(question), ElementsAre(1, 2));
  EXPECT_THAT(question.supporting_titles, ElementsAre("Oskel Mills", "Mara Tolvek"));
  EXPECT_EQ(question.type, "bridge");
  EXPECT_TRUE(question.has_relevance);
  EXPECT_FALSE(question.is_ranked);
}

TEST(BenchmarkFormat, AFullwikiRowMayLackItsGoldPassages) {
  const BenchmarkQuestion question =
      read_question(replaced(kHotpotRow, "[[\"Oskel Mills\", 0]", "[[\"Elsewhere\", 0]"));
  EXPECT_THAT(relevant(question), ElementsAre(1));
  EXPECT_THAT(question.supporting_titles, ElementsAre("Elsewhere", "Mara Tolvek"));
  EXPECT_EQ(question.num_missing_titles, 1);
}

TEST(BenchmarkFormat, ATestRowHasNeitherAnswerNorGold) {
  const BenchmarkQuestion question =
      read_question(R"({"_id": "1", "question": "q", "context": [["T", ["s"]]]})");
  EXPECT_THAT(question.answers, IsEmpty());
  EXPECT_FALSE(question.has_relevance);
}

TEST(BenchmarkFormat, RepeatedTitlesAreToldApartByTheSupportingSentence) {
  const BenchmarkQuestion question = read_question(kTwoWikiRow);
  // The second "Otto" has no sentence 1; of "Ada", whose sentence 7 is missing, the passage counts.
  EXPECT_THAT(relevant(question), ElementsAre(0, 2));
  EXPECT_EQ(question.num_missing_sentences, 1);
  EXPECT_EQ(question.num_missing_titles, 0);
}

TEST(BenchmarkFormat, MuSiQueKeepsAliasesOnceAndMarksParagraphsNotTitles) {
  const BenchmarkQuestion question = read_question(kMuSiQueRow);
  EXPECT_THAT(question.answers, ElementsAre("Stanley Hall", "Hall", "G. S. Hall"));
  EXPECT_THAT(relevant(question), ElementsAre(1));
  EXPECT_THAT(question.supporting_titles, ElementsAre("B"));
  EXPECT_TRUE(question.is_answerable);
}

TEST(BenchmarkFormat, MuSiQueFullMayBeUnanswerableWithNullSupport) {
  const BenchmarkQuestion question = read_question(kMuSiQueFullRow);
  EXPECT_FALSE(question.is_answerable);
  EXPECT_THAT(question.answers, ElementsAre("Hall"));
  EXPECT_THAT(relevant(question), IsEmpty());
}

TEST(BenchmarkFormat, NqSimplifiedAndRawGiveTheSameQuestion) {
  for (const char* row : {kNqSimplifiedRow, kNqRawRow}) {
    const BenchmarkQuestion question = read_question(row);
    EXPECT_EQ(question.id, "-5655493461695504401");
    EXPECT_EQ(question.question, "where does reed grow");
    EXPECT_THAT(question.answers, ElementsAre("wet soil", "soil", "yes"));
    ASSERT_EQ(question.passages.size(), 2U);
    EXPECT_EQ(question.passages[0].title, "Reed (plant)");
    EXPECT_THAT(question.passages[0].sentences, ElementsAre("a plant ."));
    EXPECT_THAT(question.passages[1].sentences, ElementsAre("of wet soil"));
    // The long answer is nested: the top-level passage around it is relevant.
    EXPECT_THAT(relevant(question), ElementsAre(1));
  }
}

TEST(BenchmarkFormat, NqIdsKeepAll64Bits) {
  const std::string largest = "18446744073709551615";
  EXPECT_EQ(read_question(replaced(kNqRawRow, "-5655493461695504401", largest)).id, largest);
}

TEST(BenchmarkFormat, NqOpenHasAnswersOnly) {
  const BenchmarkQuestion question = read_question(kNqOpenRow);
  EXPECT_THAT(question.answers, ElementsAre("wet soil", "soil"));
  EXPECT_THAT(question.passages, IsEmpty());
}

TEST(BenchmarkFormat, DprListsPositivesThenHardNegativesEachPassageOnce) {
  const BenchmarkQuestion question = read_question(kDprRow);
  ASSERT_EQ(question.passages.size(), 3U);
  EXPECT_THAT(relevant(question), ElementsAre(0));
  EXPECT_EQ(question.passages[0].sentences[0], "Linda sings.");
  EXPECT_EQ(question.passages[1].title, "H");
  EXPECT_EQ(question.passages[2].title, "N");
  EXPECT_EQ(question.num_repeated_passages, 1);
  EXPECT_TRUE(question.is_ranked);
  EXPECT_THAT(question.answers, ElementsAre("Linda", "L. D."));
}

TEST(BenchmarkFormat, KiltKeepsAllAnswersAndTitlesOfItsProvenance) {
  const BenchmarkQuestion question = read_question(kKiltRow);
  EXPECT_EQ(question.id, "-123");
  EXPECT_EQ(question.question, "who sings");
  EXPECT_THAT(question.answers, ElementsAre("Linda", "L. D."));
  EXPECT_THAT(question.supporting_titles, ElementsAre("Song", "Duet"));
  EXPECT_EQ(question.num_missing_titles, 2);
}

TEST(BenchmarkFormat, FlashRagReadsTheContextOfItsMetadata) {
  EXPECT_THAT(read_question(kFlashRagRow).passages, IsEmpty());
  const BenchmarkQuestion question = read_question(kFlashRagContextRow);
  ASSERT_EQ(question.passages.size(), 2U);
  EXPECT_THAT(question.passages[0].sentences, ElementsAre("x.", "y."));
  EXPECT_THAT(relevant(question), ElementsAre(1));
  EXPECT_EQ(question.type, "bridge");
  const BenchmarkQuestion hotpot =
      read_question(replaced(kFlashRagContextRow, "\"content\"", "\"sentences\""));
  EXPECT_THAT(relevant(hotpot), ElementsAre(1));
}

TEST(BenchmarkFormat, RankedContextsAreGoldWhereTheySaySo) {
  const BenchmarkQuestion question = read_question(kRankedContextsRow);
  EXPECT_THAT(relevant(question), ElementsAre(1));
  EXPECT_FALSE(question.is_ranked);  // by retrieval, not by relevance
  const BenchmarkQuestion unlabelled = read_question(
      R"({"question": "q", "answers": ["a"], "ctxs": [{"title": "T", "text": "t", "has_answer": true}]})");
  EXPECT_FALSE(unlabelled.has_relevance);
}

TEST(BenchmarkFormat, MlClaraDocumentsStayAsTheyStand) {
  const BenchmarkQuestion question = read_question(kMlClaraRow);
  EXPECT_THAT(question.answers, ElementsAre("x", "y"));
  EXPECT_EQ(question.passages[0].sentences[0], "This a document about A. \n one");
  EXPECT_TRUE(question.passages[0].is_document);
  EXPECT_THAT(relevant(question), ElementsAre(1));
}

TEST(BenchmarkFormat, MlClaraPretrainingRowsArePretrainingRecords) {
  const auto qa = std::get<ScpRecord>(read_row(kPretrainingRow));
  EXPECT_THAT(qa.questions, ElementsAre("q", "r"));
  EXPECT_THAT(qa.answers, ElementsAre("a", "b"));
  EXPECT_EQ(qa.document, "d");
  const auto paraphrase = std::get<ScpRecord>(read_row(kParaphraseRow));
  EXPECT_EQ(paraphrase.kind, ScpRecord::Kind::kParaphrase);
  EXPECT_THAT(paraphrase.questions, IsEmpty());
  EXPECT_EQ(paraphrase.instruction, 13);
}

TEST(BenchmarkFormatErrors, NameTheFieldWhatWasExpectedAndWhatWasFound) {
  EXPECT_EQ(error_of(replaced(kHotpotRow, "\" She is from Belmar.\"", "7")),
            "f.jsonl:3: context[1][1][1]: expected a string, found the number 7");
  EXPECT_EQ(error_of(replaced(kHotpotRow, "[\"Mara Tolvek\", 1]", "[\"Mara Tolvek\"]")),
            "f.jsonl:3: supporting_facts[1]: expected a pair of title and sentence number, found a "
            "list of 1");
  EXPECT_EQ(error_of(replaced(kMuSiQueRow, "\"Second.\"", "null")),
            "f.jsonl:3: paragraphs[1].paragraph_text: expected a string, found null");
  EXPECT_EQ(error_of(replaced(kNqSimplifiedRow, "\"end_token\": 13", "\"end_token\": 14")),
            "f.jsonl:3: long_answer_candidates[1].end_token: expected a token's number from "
            "start_token to 13, found the number 14");
  EXPECT_EQ(error_of(replaced(kDprRow, "\"question\": \"who sings\"", "\"question\": \" \"")),
            "f.jsonl:3: question: expected a string, found a string of only white space");
  EXPECT_EQ(error_of(replaced(kMlClaraRow, "[1]", "[2]")),
            "f.jsonl:3: pos_index[0]: expected the number of a document from 0 to 1, found the "
            "number 2");
  EXPECT_EQ(error_of(replaced(kPretrainingRow, "\"a\", \"b\"", "\"a\"")),
            "f.jsonl:3: answers: expected as many strings as question has (2), found a list of 1");
  EXPECT_EQ(error_of(replaced(kNqRawRow, "-5655493461695504401", "1.5")),
            "f.jsonl:3: example_id: expected a string or a whole number, found the number 1.5");
}

TEST(BenchmarkFormatErrors, ARowOfAnotherLayoutThanNamedSaysWhatItLacks) {
  EXPECT_EQ(error_of(kHotpotRow, BenchmarkFormat::kMuSiQue),
            "f.jsonl:3: paragraphs: expected a list of paragraphs, found no such field");
}

TEST(BenchmarkFormatErrors, AnUnknownLayoutListsTheFieldsAndTheNames) {
  const std::string message = error_of(R"({"prompt": "x", "completion": "y"})");
  EXPECT_THAT(message, HasSubstr("expected a row of a published layout (hotpotqa, 2wiki, "));
  EXPECT_THAT(message, HasSubstr("found an object with the fields prompt, completion; --format"));
}

TEST(BenchmarkFormatErrors, InvalidJsonAndUtf8NameTheByte) {
  EXPECT_THAT(error_of(R"({"question": tru})"),
              HasSubstr("f.jsonl:3: byte 17: expected one JSON object, found invalid JSON"));
  EXPECT_EQ(error_of("{\"question\": \"\xFF\"}"),
            "f.jsonl:3: byte 15: expected UTF-8 text, found the byte 0xFF");
  EXPECT_EQ(error_of("[1]"), "f.jsonl:3: expected one JSON object, found a list of 1");
  StreamedRow element = line_of("{\"question\": tru}");
  element.is_on_line = false;
  element.offset = 1000;
  EXPECT_THAT(data_error_of([&] { BenchmarkReader().read(element); }),
              HasSubstr("byte 1016 of the file"));
  element.text = kDprRow;
  const std::string bad = replaced(kDprRow, "\"Linda sings.\"", "1");
  element.text = bad;
  EXPECT_THAT(data_error_of([&] { BenchmarkReader().read(element); }),
              HasSubstr("positive_ctxs[0].text: expected a string, found the number 1 (the row "
                        "starts at byte 1000)"));
}

TEST(BenchmarkFormatErrors, AMessageIsUtf8AlsoWhereTheParserStopsInsideACharacter) {
  const std::string row = "{\"question\": [\xDE\x9E]}";
  const std::string message = error_of(row);
  EXPECT_THAT(message, HasSubstr("f.jsonl:3: byte 15: expected one JSON object"));
  EXPECT_FALSE(find_invalid_utf8(message).has_value());
  // The record reader quotes the same parser.
  const std::string other = data_error_of([&] { parse_qa_record(row, {"f.jsonl", 3}); });
  EXPECT_FALSE(find_invalid_utf8(other).has_value());
}

TEST(BenchmarkFormatErrors, HalfASurrogatePairIsNoText) {
  for (const char* escape : {"\\ud83d", "\\ude00", "\\ude00\\ud83d"}) {
    const std::string row = replaced(kHotpotRow, "Belmar", escape);
    EXPECT_THAT(error_of(row), HasSubstr("f.jsonl:3")) << escape;
  }
  const BenchmarkQuestion whole = read_question(replaced(kHotpotRow, "Belmar", "\\ud83d\\ude00"));
  EXPECT_THAT(whole.answers, ElementsAre("\xF0\x9F\x98\x80"));
}

}  // namespace
}  // namespace clara
