// Laws of record parsing: what is accepted, and what each fault's message says.
#include "clara/data/records.h"

#include <functional>

#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/data/row_source.h"

namespace clara {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const RecordPlace kPlace{"data/train.jsonl", 381};

struct Fault {
  const char* json;
  const char* message;  // behind "data/train.jsonl:381: "
};

void expect_faults(const std::vector<Fault>& faults,
                   const std::function<void(std::string_view)>& parse) {
  for (const Fault& fault : faults) {
    EXPECT_EQ(data_error_of([&] { parse(fault.json); }),
              std::string("data/train.jsonl:381: ") + fault.message)
        << fault.json;
  }
}

void parse_scp(std::string_view json) { parse_scp_record(json, kPlace); }
void parse_qa(std::string_view json) { parse_qa_record(json, kPlace); }

TEST(ScpRecords, QaRowKeepsPairsAndTextAsTheyAre) {
  const ScpRecord record = parse_scp_record(
      R"({"data_type":"qa","question":["Who? ","When?"],"answers":[" Ann","1999"],
          "docs":["This a document about Ann. \n Text "],"extra":{"ignored":[1]}})",
      kPlace);
  EXPECT_EQ(record.kind, ScpRecord::Kind::kQa);
  EXPECT_THAT(record.questions, ElementsAre("Who? ", "When?"));
  EXPECT_THAT(record.answers, ElementsAre(" Ann", "1999"));
  EXPECT_EQ(record.document, "This a document about Ann. \n Text ");
  EXPECT_FALSE(record.instruction.has_value());
  EXPECT_EQ(record.place.str(), "data/train.jsonl:381");
}

TEST(ScpRecords, DataTypeDefaultsToQa) {
  EXPECT_EQ(parse_scp_record(R"({"question":["q"],"answers":["a"],"docs":["d"]})", kPlace).kind,
            ScpRecord::Kind::kQa);
}

TEST(ScpRecords, ParaphraseRowIgnoresItsQuestionAndMayFixItsInstruction) {
  const ScpRecord record = parse_scp_record(
      R"({"data_type":"paraphrase","question":[""],"answers":["one","two"],"docs":["d"],
          "instruction":13})",
      kPlace);
  EXPECT_EQ(record.kind, ScpRecord::Kind::kParaphrase);
  EXPECT_THAT(record.questions, IsEmpty());
  EXPECT_THAT(record.answers, ElementsAre("one", "two"));
  EXPECT_EQ(record.instruction, 13);
}

TEST(ScpRecords, FaultsNamePlaceFieldExpectationAndFinding) {
  expect_faults(
      {
          {R"({"question":["q"],"answers":["a"]})",
           "docs: expected 1 to 64 strings, found no such field, nor context or content"},
          {R"({"question":["q"],"answers":["a"],"docs":[]})",
           "docs: expected 1 to 64 strings, found an empty list"},
          {R"({"question":["q"],"answers":["a"],"docs":["a","b"]})",
           "docs: expected a list of one string, found a list of 2"},
          {R"({"question":["q"],"answers":["a"],"content":["a","b"]})",
           "content: expected a list of one string, found a list of 2"},
          {R"({"question":["q"],"answers":["a"],"docs":[" \u00a0"]})",
           "docs[0]: expected text, found a string of only white space"},
          {R"({"question":["q","r"],"answers":["a"],"docs":["d"]})",
           "answers: expected as many strings as question has (2), found a list of 1"},
          {R"({"question":"q","answers":["a"],"docs":["d"]})",
           "question: expected a list of strings, found the string \"q\""},
          {R"({"question":["q",7],"answers":["a","b"],"docs":["d"]})",
           "question[1]: expected text, found the number 7"},
          {R"({"question":["q"],"answers":[1999],"docs":["d"]})",
           "answers[0]: expected text, found the number 1999"},
          {R"({"question":["q"],"answers":[""],"docs":["d"]})",
           "answers[0]: expected text, found an empty string"},
          {R"({"question":["q"],"docs":["d"]})",
           "answers: expected a list of strings, found no such field"},
          {R"({"question":null,"answers":["a"],"docs":["d"]})",
           "question: expected a list of strings, found null"},
          {R"({"data_type":"multi","answers":["a"],"docs":["d"]})",
           "data_type: expected \"qa\" or \"paraphrase\", found the string \"multi\""},
          {R"({"data_type":"paraphrase","answers":["a"],"docs":["d"],"instruction":0})",
           "instruction: expected a whole number from 1 to 13, found the number 0"},
          {R"({"data_type":"paraphrase","answers":["a"],"docs":["d"],"instruction":14})",
           "instruction: expected a whole number from 1 to 13, found the number 14"},
          {R"({"data_type":"paraphrase","answers":["a"],"docs":["d"],"instruction":2.0})",
           "instruction: expected a whole number from 1 to 13, found the number 2.0"},
          {R"({"data_type":"paraphrase","answers":[],"docs":["d"]})",
           "answers: expected a list of strings, found an empty list"},
      },
      parse_scp);
}

TEST(QaRecords, TrainOnAnswerAndKeepAllGoldAnswersOnce) {
  const QaRecord record = parse_qa_record(
      R"({"id":"q7","question":"Who?","docs":["a","b","c"],"gold_answer":["Bo","Ann","Anna"],
          "answer":"Ann","answers":["Ann","Annie"],"pos_index":[2,0,2]})",
      kPlace);
  EXPECT_EQ(record.id, "q7");
  EXPECT_EQ(record.question, "Who?");
  EXPECT_THAT(record.documents, ElementsAre("a", "b", "c"));
  EXPECT_THAT(record.answers, ElementsAre("Ann", "Annie", "Bo", "Anna"));
  EXPECT_THAT(record.positives, ElementsAre(2, 0));
}

TEST(QaRecords, AnyAnswerFieldAloneIsEnough) {
  for (const char* answers : {R"("answer":"x")", R"("answers":["x"])", R"("golden_answers":["x"])",
                              R"("gold_answer":"x")", R"("gold_answer":["x"])"}) {
    const std::string json = std::string(R"({"question":"q","docs":["d"],)") + answers + "}";
    EXPECT_THAT(parse_qa_record(json, kPlace).answers, ElementsAre("x")) << answers;
  }
}

TEST(QaRecords, DocumentsMayBeNamedContextOrContent) {
  for (const char* name : {"docs", "context", "content"}) {
    const std::string json =
        std::string(R"({"question":"q","answer":"a",")") + name + R"(":["d"]})";
    EXPECT_THAT(parse_qa_record(json, kPlace).documents, ElementsAre("d")) << name;
  }
  EXPECT_THAT(
      parse_qa_record(R"({"question":"q","answer":"a","docs":"no list","context":["d"]})", kPlace)
          .documents,
      ElementsAre("d"));
}

TEST(QaRecords, GoldDocumentsNeedNotBeAmongTheDocuments) {
  const std::string row = R"({"question":"q","answer":"a","docs":["d"])";
  EXPECT_THAT(parse_qa_record(row + R"(,"gold_docs":["d","other"]})", kPlace).gold_documents,
              ElementsAre("d", "other"));
  EXPECT_THAT(parse_qa_record(row + R"(,"gold_docs":[]})", kPlace).gold_documents, IsEmpty());
  EXPECT_THAT(parse_qa_record(row + "}", kPlace).gold_documents, IsEmpty());
}

TEST(QaRecords, WholeNumbersAreIds) {
  const char* json = R"({"id":5985355041383167183,"question":"q","answer":"a","docs":["d"]})";
  EXPECT_EQ(parse_qa_record(json, kPlace).id, "5985355041383167183");
}

TEST(QaRecords, FaultsNamePlaceFieldExpectationAndFinding) {
  expect_faults(
      {
          {R"({"question":"q","answer":"a","docs":[]})",
           "docs: expected 1 to 64 strings, found an empty list"},
          {R"({"question":"q","answer":"a","docs":null})",
           "docs: expected 1 to 64 strings, found null"},
          {R"({"question":"q","answer":"a","docs":"text"})",
           "docs: expected 1 to 64 strings, found the string \"text\""},
          {R"({"question":"q","answer":"a","docs":["d",{"title":"t"}]})",
           "docs[1]: expected text, found an object"},
          {R"({"question":"q","answer":"a","docs":["d",""]})",
           "docs[1]: expected text, found an empty string"},
          {R"({"question":["q"],"answer":"a","docs":["d"]})",
           "question: expected a string, found a list of 1"},
          {R"({"question":" ","answer":"a","docs":["d"]})",
           "question: expected a string, found a string of only white space"},
          {R"({"answer":"a","docs":["d"]})", "question: expected a string, found no such field"},
          {R"({"question":"q","docs":["d"]})",
           "answer: expected a string, found no such field, nor answers, golden_answers or "
           "gold_answer"},
          {R"({"question":"q","answer":42,"docs":["d"]})",
           "answer: expected a string, found the number 42"},
          {R"({"question":"q","answer":true,"docs":["d"]})",
           "answer: expected a string, found true"},
          {R"({"question":"q","answer":null,"answers":["a"],"docs":["d"]})",
           "answer: expected a string, found null"},
          {"{\"question\":\"q\",\"answer\":\"\\u2003\\n\",\"docs\":[\"d\"]}",
           "answer: expected a string, found a string of only white space"},
          {R"({"question":"q","golden_answers":["a",2.5],"docs":["d"]})",
           "golden_answers[1]: expected text, found the number 2.5"},
          {R"({"question":"q","answers":"a","docs":["d"]})",
           "answers: expected a list of strings, found the string \"a\""},
          {R"({"question":"q","gold_answer":[],"docs":["d"]})",
           "gold_answer: expected a string or a list of strings, found an empty list"},
          {R"({"question":"q","answer":"a","docs":["d","e"],"pos_index":[0,2]})",
           "pos_index[1]: expected the number of a document from 0 to 1, found the number 2"},
          {R"({"question":"q","answer":"a","docs":["d"],"pos_index":[-1]})",
           "pos_index[0]: expected the number of a document from 0 to 0, found the number -1"},
          {R"({"question":"q","answer":"a","docs":["d"],"pos_index":[18446744073709551615]})",
           "pos_index[0]: expected the number of a document from 0 to 0, found the number "
           "18446744073709551615"},
          {R"({"question":"q","answer":"a","docs":["d"],"pos_index":["0"]})",
           "pos_index[0]: expected the number of a document from 0 to 0, found the string \"0\""},
          {R"({"question":"q","answer":"a","docs":["d"],"pos_index":0})",
           "pos_index: expected a list of whole numbers, found the number 0"},
          {R"({"question":"q","answer":"a","docs":["d"],"gold_docs":["g",0]})",
           "gold_docs[1]: expected text, found the number 0"},
          {R"({"question":"q","answer":"a","docs":["d"],"gold_docs":"g"})",
           "gold_docs: expected a list of strings, found the string \"g\""},
          {R"({"id":1.5,"question":"q","answer":"a","docs":["d"]})",
           "id: expected a string or a whole number, found the number 1.5"},
      },
      parse_qa);
}

TEST(QaRecords, MoreDocumentsThanTheLimitAreRefusedWithTheLimit) {
  std::string json = R"({"question":"q","answer":"a","docs":["d")";
  for (int i = 1; i < kMaxDocuments; ++i) json += ",\"d\"";
  EXPECT_EQ(parse_qa_record(json + "]}", kPlace).documents.size(), 64U);
  expect_faults({{(json += ",\"d\"]}").c_str(),
                  "docs: expected 1 to 64 strings, found a list of 65 (a row may have at most 64 "
                  "documents)"}},
                parse_qa);
  EXPECT_EQ(parse_qa_record(json, kPlace, {.max_documents = 65}).documents.size(), 65U);
  EXPECT_THAT(data_error_of([&] { parse_qa_record(json, kPlace, {.max_documents = 20}); }),
              HasSubstr("expected 1 to 20 strings, found a list of 65"));
}

TEST(Records, LongTextIsCutInMessagesBetweenCharacters) {
  std::string answers;
  for (int i = 0; i < 30; ++i) answers += "é";
  const std::string message = data_error_of(
      [&] { parse_qa(R"({"question":"q","docs":["d"],"answers":")" + answers + "\"}"); });
  EXPECT_THAT(message, HasSubstr("found the string \"" + answers.substr(0, 40) + "…\""));
}

TEST(Records, InvalidJsonIsReportedWithItsByte) {
  for (const auto& parse : {parse_scp, parse_qa}) {
    EXPECT_THAT(data_error_of([&] { parse(R"({"question" "q"})"); }),
                ::testing::StartsWith("data/train.jsonl:381: byte 15: expected one JSON object, "
                                      "found invalid JSON (syntax error"));
    EXPECT_THAT(data_error_of([&] { parse(R"({"question": "q)"); }),
                HasSubstr("data/train.jsonl:381: byte 16: expected one JSON object"));
    EXPECT_THAT(data_error_of([&] { parse(R"({"question": "\ud800"})"); }),
                HasSubstr("data/train.jsonl:381: byte 21: expected one JSON object"));
    EXPECT_THAT(data_error_of([&] { parse(R"({} {})"); }), HasSubstr(":381: byte 4: "));
    EXPECT_EQ(data_error_of([&] { parse("[1]"); }),
              "data/train.jsonl:381: expected one JSON object, found a list of 1");
    EXPECT_EQ(data_error_of([&] { parse("\"text\""); }),
              "data/train.jsonl:381: expected one JSON object, found the string \"text\"");
    EXPECT_EQ(
        data_error_of([&] { parse(R"({"question": 1e55555555})"); }),
        "data/train.jsonl:381: expected one JSON object, found a number beyond a double (number "
        "overflow parsing '1e55555555')");
    EXPECT_EQ(
        data_error_of([&] { parse(R"({"x": )" + std::string(2000, '[')); }),
        "data/train.jsonl:381: expected one JSON object, found lists or objects more than 1000 "
        "deep");
  }
}

TEST(Records, InvalidUtf8IsReportedWithItsByte) {
  EXPECT_EQ(data_error_of([] { parse_qa("{\"question\": \"caf\xE9\"}"); }),
            "data/train.jsonl:381: byte 18: expected UTF-8 text, found the byte 0xE9");
}

TEST(Records, EveryOfficialPretrainingRowIsAccepted) {
  const auto path = real_data_folder() / "clara" / "pretrain_data.jsonl";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no real records at ../shared/data";
  const RowSource rows({DataSource{.path = path.string()}});
  std::size_t num_pairs = 0;
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    const RawRow row = rows.row(i);
    const ScpRecord record = parse_scp_record(row.text, row.place);
    EXPECT_EQ(row.place.line, i + 1);
    EXPECT_EQ(record.document.rfind("This a document about ", 0), 0U);
    num_pairs += record.questions.size();
  }
  EXPECT_EQ(rows.size(), 1000);
  EXPECT_EQ(num_pairs, 7861U);
}

}  // namespace
}  // namespace clara
