// Laws of the written records: the record reader reads them back, gold passages are never left out
// for others, chunks keep their title.
#include "clara/benchmarks/benchmark_record.h"

#include <set>

#include "tests/unit/benchmarks/benchmark_rows.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/common/error.h"

namespace clara {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

BenchmarkQuestion numbered_question(int num_passages, std::initializer_list<int> relevant) {
  BenchmarkQuestion question;
  question.question = "who?";
  question.answers = {"she"};
  question.has_relevance = true;
  for (int i = 0; i < num_passages; ++i) {
    BenchmarkPassage passage;
    passage.title = "T" + std::to_string(i);
    passage.sentences = {"text"};
    question.passages.push_back(passage);
  }
  for (const int i : relevant) question.passages[static_cast<std::size_t>(i)].is_relevant = true;
  return question;
}

QaRecord read_back(const BenchmarkRecordLine& line) {
  EXPECT_EQ(line.json.back(), '\n');
  return parse_qa_record(line.json, {"out.jsonl", 1});
}

std::vector<std::string> titles(const QaRecord& record) {
  std::vector<std::string> all;
  for (const std::string& text : record.documents) all.push_back(text.substr(0, text.find('\n')));
  return all;
}

TEST(BenchmarkRecord, TheRecordReaderReadsWhatWasWritten) {
  for (const auto& [name, row] : rows_of_all_layouts()) {
    const BenchmarkRecord record = read_row(row);
    if (const auto* scp = std::get_if<ScpRecord>(&record)) {
      const ScpRecord back = parse_scp_record(to_record_line(*scp), {"out.jsonl", 1});
      EXPECT_EQ(back.kind, scp->kind);
      EXPECT_EQ(back.questions, scp->questions);
      EXPECT_EQ(back.answers, scp->answers);
      EXPECT_EQ(back.document, scp->document);
      EXPECT_EQ(back.instruction, scp->instruction);
      continue;
    }
    const auto& question = std::get<BenchmarkQuestion>(record);
    if (question.passages.empty()) continue;
    const BenchmarkRecordLine line = to_record_line(question, {});
    const QaRecord back = read_back(line);
    EXPECT_EQ(back.id, question.id);
    EXPECT_EQ(back.question, question.question);
    EXPECT_EQ(back.answers, question.answers);
    EXPECT_EQ(back.documents.size(), question.passages.size());
    EXPECT_EQ(static_cast<std::int64_t>(back.positives.size()), line.num_relevant);
  }
}

TEST(BenchmarkRecord, HotpotAndTwoWikiSentencesAreJoinedByOneBlank) {
  EXPECT_THAT(read_back(to_record_line(read_question(kHotpotRow), {})).documents,
              ElementsAre("Tolvek\nA family. Nothing more.",
                          "Mara Tolvek\nMara Tolvek is a miller. She is from Belmar.",
                          "Oskel Mills\nFounded by Mara Tolvek. It mills."));
  EXPECT_EQ(read_back(to_record_line(read_question(kTwoWikiRow), {})).documents[0],
            "Otto\nOtto was a king. Ada was his mother.");
}

TEST(BenchmarkRecord, FieldsBesidesTheReadersAreKept) {
  const auto json = nlohmann::json::parse(to_record_line(read_question(kHotpotRow), {}).json);
  EXPECT_EQ(json["supporting_titles"], nlohmann::json({"Oskel Mills", "Mara Tolvek"}));
  EXPECT_EQ(json["question_type"], "bridge");
  EXPECT_EQ(json["pos_index"], nlohmann::json({1, 2}));
  EXPECT_FALSE(json.contains("answerable"));
  const auto full = nlohmann::json::parse(to_record_line(read_question(kMuSiQueFullRow), {}).json);
  EXPECT_EQ(full["answerable"], false);
  EXPECT_EQ(full["pos_index"], nlohmann::json::array());
}

TEST(BenchmarkRecord, EveryCharacterSurvives) {
  BenchmarkQuestion question = numbered_question(1, {});
  std::string text = "\"\\/\xC3\xA9\xF0\x9F\x98\x80\x7F";
  for (char c = 1; c < ' '; ++c) text += c;
  text += std::string(1, '\0') + "end";
  question.question = text;
  question.answers = {text};
  const QaRecord back = read_back(to_record_line(question, {}));
  EXPECT_EQ(back.question, text);
  EXPECT_EQ(back.answers.front(), text);
}

TEST(BenchmarkRecord, MlClaraFormatOpensWithItsSentence) {
  BenchmarkRecordSettings settings;
  settings.document_format = DocumentFormat::kMlClara;
  EXPECT_EQ(read_back(to_record_line(read_question(kTwoWikiRow), settings)).documents[2],
            "This a document about Ada. \n She died in 851.");
  // Documents that are whole already stay.
  EXPECT_EQ(read_back(to_record_line(read_question(kMlClaraRow), settings)).documents[1], "two");
}

TEST(BenchmarkRecord, ALimitKeepsGoldPassagesAndTheOrder) {
  BenchmarkRecordSettings settings;
  settings.max_documents = 3;
  const BenchmarkRecordLine line = to_record_line(numbered_question(6, {2, 5}), settings);
  const QaRecord back = read_back(line);
  EXPECT_THAT(titles(back), ElementsAre("T0", "T2", "T5"));
  EXPECT_THAT(back.positives, ElementsAre(1, 2));
  EXPECT_EQ(line.num_left_out_passages, 3);
  settings.max_documents = 1;
  EXPECT_THAT(titles(read_back(to_record_line(numbered_question(6, {2, 5}), settings))),
              ElementsAre("T2"));
}

TEST(BenchmarkRecord, TuneTakesFiveDocumentsAndCandidatesAreTwenty) {
  EXPECT_EQ(default_max_documents(RecordKind::kTune), 5);
  EXPECT_EQ(default_max_documents(RecordKind::kJoint), 20);
  EXPECT_EQ(default_max_documents(RecordKind::kEvaluation), 20);
  for (const std::int64_t wrong : {0, 65}) {
    BenchmarkRecordSettings settings;
    settings.max_documents = wrong;
    EXPECT_THROW(to_record_line(numbered_question(1, {}), settings), ConfigError);
  }
}

TEST(BenchmarkRecord, PassagesThatComeByRelevanceAreShuffledBySeedAndQuestion) {
  BenchmarkQuestion question = numbered_question(20, {0});
  question.is_ranked = true;
  BenchmarkRecordSettings settings;
  std::set<std::int32_t> positions;
  for (int i = 0; i < 40; ++i) {
    question.question = "question " + std::to_string(i);
    const BenchmarkRecordLine line = to_record_line(question, settings);
    EXPECT_EQ(line.json, to_record_line(question, settings).json);
    const QaRecord back = read_back(line);
    EXPECT_EQ(titles(back)[static_cast<std::size_t>(back.positives.front())], "T0");
    EXPECT_EQ(std::set<std::string>(back.documents.begin(), back.documents.end()).size(), 20U);
    positions.insert(back.positives.front());
  }
  EXPECT_GT(positions.size(), 10U);
  const std::string before = to_record_line(question, settings).json;
  settings.seed = 18;
  EXPECT_NE(to_record_line(question, settings).json, before);
}

TEST(BenchmarkRecord, BlankPassagesAreLeftOutAndUntitledOnesHaveNoTitleLine) {
  BenchmarkQuestion question = numbered_question(3, {2});
  question.passages[0].title = " ";
  question.passages[0].sentences = {"", " "};
  question.passages[1].title = "";
  const BenchmarkRecordLine line = to_record_line(question, {});
  const QaRecord back = read_back(line);
  EXPECT_THAT(back.documents, ElementsAre("text", "T2\ntext"));
  EXPECT_THAT(back.positives, ElementsAre(1));
  EXPECT_EQ(line.num_blank_passages, 1);
}

std::shared_ptr<const Tokenizer> tokenizer() {
  return load_tokenizer(std::string(CLARA_SOURCE_DIR) + "/tests/fixtures/parity/llama/base");
}

std::string long_text(int num_words) {
  std::string text;
  for (int i = 0; i < num_words; ++i) text += "word" + std::to_string(i) + " ";
  return text + "end.";
}

TEST(BenchmarkRecord, LongPassagesBecomeChunksWithTheirTitle) {
  BenchmarkQuestion question = numbered_question(3, {1});
  question.passages[1].sentences = {long_text(120)};
  BenchmarkRecordSettings settings;
  settings.tokenizer = tokenizer();
  settings.chunks = {64, 0, false};
  const BenchmarkRecordLine line = to_record_line(question, settings);
  const QaRecord back = read_back(line);
  EXPECT_EQ(line.num_split_documents, 1);
  ASSERT_GT(back.documents.size(), 4U);
  EXPECT_EQ(back.positives.size(), back.documents.size() - 2);
  for (std::size_t i = 1; i + 1 < back.documents.size(); ++i) {
    EXPECT_THAT(back.documents[i], StartsWith("T1\n"));
    EXPECT_LE(settings.tokenizer->encode(back.documents[i], SpecialTokenText::kAsText).size(), 64U);
  }
}

TEST(BenchmarkRecord, MoreChunksThanARecordHoldsLeaveGoldChunks) {
  BenchmarkQuestion question = numbered_question(2, {1});
  question.passages[0].sentences = {long_text(900)};
  question.passages[1].sentences = {long_text(100)};
  BenchmarkRecordSettings settings;
  settings.tokenizer = tokenizer();
  settings.chunks = {32, 0, false};
  const BenchmarkRecordLine line = to_record_line(question, settings);
  const QaRecord back = read_back(line);
  EXPECT_EQ(back.documents.size(), static_cast<std::size_t>(kMaxDocuments));
  EXPECT_GT(line.num_left_out_chunks, 0);
  EXPECT_THAT(back.documents.back(), testing::HasSubstr("end."));
  EXPECT_GT(back.positives.size(), 5U);
}

}  // namespace
}  // namespace clara
