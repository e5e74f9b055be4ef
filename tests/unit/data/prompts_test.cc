// Laws of prompts, on a tokenizer of bytes whose ids can be read back.
#include "clara/data/prompts.h"

#include <set>

#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace clara {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::vector<std::string> kControlTokens = {"<s>", "<end>", "<MEM0>", "<SEP>"};

// One token a byte, but "::" is one token; control tokens from 257 on, parsed only where asked.
class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr TokenId kColons = 256;

  using Tokenizer::encode;
  TokenIds encode(std::string_view text, SpecialTokenText special, TextPlace) const override {
    TokenIds ids;
    while (!text.empty()) {
      TokenId id = static_cast<unsigned char>(text[0]);
      std::size_t num_bytes = 1;
      if (text.starts_with("::")) {
        id = kColons;
        num_bytes = 2;
      }
      for (std::size_t i = 0; special == SpecialTokenText::kParse && i < 4; ++i) {
        if (!text.starts_with(kControlTokens[i])) continue;
        id = kColons + 1 + static_cast<TokenId>(i);
        num_bytes = kControlTokens[i].size();
      }
      ids.push_back(id);
      text.remove_prefix(num_bytes);
    }
    return ids;
  }
  std::string decode(const TokenIds& ids, bool) const override {
    std::string text;
    for (const TokenId id : ids)
      text += id < kColons ? std::string(1, static_cast<char>(id)) : id_to_token(id);
    return text;
  }
  TokenId size() const override { return 261; }
  std::optional<TokenId> token_to_id(std::string_view token) const override {
    for (TokenId i = 0; i < 4; ++i) {
      if (kControlTokens[static_cast<std::size_t>(i)] == token) return kColons + 1 + i;
    }
    return std::nullopt;
  }
  std::string id_to_token(TokenId id) const override {
    if (id == kColons) return "::";
    return id > kColons && id < 261 ? kControlTokens[static_cast<std::size_t>(id - 257)] : "";
  }
  bool is_special(TokenId id) const override { return id > kColons; }
  std::optional<TokenId> bos_id() const override { return 257; }
  std::optional<TokenId> eos_id() const override { return 258; }
};

ChatSegment text(std::string content) { return {ChatSegment::Kind::kText, std::move(content)}; }
ChatSegment control(std::string content) {
  return {ChatSegment::Kind::kControl, std::move(content)};
}

ChatFormat bracket_format() {
  ChatFormat format;
  format.name = "brackets";
  format.conversation_start = {control("<s>")};
  format.system_before = {text("S(")};
  format.system_after = {text(")")};
  format.user_before = {text("U(")};
  format.user_after = {text(")")};
  format.generation_prompt = {text("A:")};
  format.assistant_before = {text("A:")};
  format.assistant_after = {control("<end>")};
  return format;
}

constexpr SpecialTokens kAdded{.base_vocab_rows = 300, .num_memory = 2};
constexpr PromptSettings kSettings{
    .doc_max_tokens = 40, .max_sequence_tokens = 600, .num_selected = 2, .seed = 17};

class Prompts : public ::testing::Test {
 protected:
  PromptBuilder make(PromptSettings settings = kSettings, std::int32_t bos_id = 257) const {
    return {tokenizer_, bracket_format(), kAdded, bos_id, 258, settings};
  }

  // Ids as text: "{m0}{m1}{sep}", "{enc}", control tokens as "{<s>}".
  std::string show(const TokenIds& ids) const {
    std::string shown;
    for (const TokenId id : ids) {
      if (id == kAdded.enc()) {
        shown += "{enc}";
      } else if (id == kAdded.sep()) {
        shown += "{sep}";
      } else if (kAdded.is_memory(id)) {
        shown += "{m" + std::to_string(id - kAdded.first_memory()) + "}";
      } else if (tokenizer_.is_special(id)) {
        shown += "{" + tokenizer_.id_to_token(id) + "}";
      } else {
        shown += tokenizer_.decode({id}, false);
      }
    }
    return shown;
  }
  std::string prompt_of(const Example& example) const {
    return show({example.tokens.begin(), example.tokens.begin() + example.prompt_length});
  }
  std::string answer_of(const Example& example) const {
    return show({example.tokens.begin() + example.prompt_length, example.tokens.end()});
  }

  ByteTokenizer tokenizer_;
};

QaRecord qa_record(int num_documents) {
  QaRecord record;
  record.question = "Who?";
  for (int i = 0; i < num_documents; ++i) record.documents.push_back("doc " + std::to_string(i));
  record.answers = {" Ann\n", "Anna"};
  record.place = {"rows.jsonl", 12};
  return record;
}

ScpRecord paraphrase_record(std::vector<std::string> versions) {
  ScpRecord record;
  record.kind = ScpRecord::Kind::kParaphrase;
  record.answers = std::move(versions);
  record.document = "doc";
  record.place = {"rows.jsonl", 12};
  return record;
}

const std::string kDocs = "{m0}{m1}{sep}";
const std::string kAnswerHead = "{<s>}S(" + std::string(kSystemAnswer) + ")U(Background:\n";

TEST_F(Prompts, ScpQaRowAsksForAllPairs) {
  ScpRecord record;
  record.questions = {"Who?", "When?"};
  record.answers = {" Ann ", "1999 "};
  record.document = "Ann, 1999";
  const Example example = make().scp_example(record, 0, 0);
  EXPECT_EQ(prompt_of(example),
            "{<s>}S(" + std::string(kSystemQa) + ")U(Background:\n" + kDocs + ")A:");
  EXPECT_EQ(answer_of(example),
            "Question: Who?\nAnswer:  Ann \nQuestion: When?\nAnswer: 1999{<end>}");
  EXPECT_EQ(example.num_slots, 1);
  ASSERT_EQ(example.documents.size(), 1U);
  EXPECT_EQ(show(example.documents[0]), "{enc}{<s>}Ann, 1999{<end>}{m0}{m1}");
  EXPECT_THAT(example.question, IsEmpty());
}

TEST_F(Prompts, TuneRowPutsItsFirstDocumentsInThePromptAndCountsTheOthers) {
  QaRecord record = qa_record(4);
  record.positives = {3, 1};
  const Example example = make().tune_example(record);
  EXPECT_EQ(prompt_of(example), kAnswerHead + kDocs + kDocs + "\n\nQuestion:Who?)A:");
  EXPECT_EQ(answer_of(example), "Ann{<end>}");
  EXPECT_EQ(example.num_answer_tokens(), 4);
  EXPECT_EQ(example.num_slots, 2);
  EXPECT_EQ(example.documents.size(), 2U);
  EXPECT_EQ(show(example.documents[1]), "{enc}{<s>}doc 1{<end>}{m0}{m1}");
  EXPECT_EQ(example.num_dropped_documents, 2);
  EXPECT_THAT(example.positives, ElementsAre(1));
  EXPECT_THAT(example.question, IsEmpty());
  EXPECT_EQ(example.place, "rows.jsonl:12");
  EXPECT_EQ(make().tune_example(qa_record(1)).num_dropped_documents, 0);
}

TEST_F(Prompts, JointRowKeepsAllCandidatesAndHasSlotsForTheSelected) {
  QaRecord record = qa_record(3);
  record.positives = {2};
  const Example example = make().joint_example(record);
  EXPECT_EQ(example.documents.size(), 3U);
  EXPECT_EQ(example.num_slots, 2);
  EXPECT_EQ(prompt_of(example), kAnswerHead + kDocs + kDocs + "\n\nQuestion:Who?)A:");
  EXPECT_EQ(show(example.question), "{enc}{<s>}Who?{<end>}{m0}{m1}");
  EXPECT_THAT(example.positives, ElementsAre(2));
  EXPECT_EQ(example.num_dropped_documents, 0);
}

TEST_F(Prompts, JointRowWithFewCandidatesHasAsManySlots) {
  const Example example = make().joint_example(qa_record(1));
  EXPECT_EQ(example.num_slots, 1);
  EXPECT_EQ(prompt_of(example), kAnswerHead + kDocs + "\n\nQuestion:Who?)A:");
}

TEST_F(Prompts, RetrieverRowHasNoGeneratorTokens) {
  const Example joint = make().joint_example(qa_record(3));
  const Example example = make().retriever_example(qa_record(3));
  EXPECT_EQ(example.documents, joint.documents);
  EXPECT_EQ(example.question, joint.question);
  EXPECT_THAT(example.tokens, IsEmpty());
  EXPECT_EQ(example.num_slots, 0);
}

TEST_F(Prompts, AnswerPromptIsThePromptOfJointRows) {
  const Example example = make().joint_example(qa_record(3));
  EXPECT_EQ(make().answer_prompt("Who?", 2),
            TokenIds(example.tokens.begin(), example.tokens.begin() + example.prompt_length));
}

TEST_F(Prompts, TextPromptHasTheDocumentsTexts) {
  EXPECT_EQ(show(make().text_answer_prompt("Who?", {"one", "two <SEP>"})),
            kAnswerHead + "one\ntwo <SEP>\n\nQuestion:Who?)A:");
}

TEST_F(Prompts, TuneRowsCanHaveTextOrNothingInPlaceOfLatents) {
  PromptSettings settings = kSettings;
  settings.context = AnswerContext::kText;
  const Example text = make(settings).tune_example(qa_record(3));
  EXPECT_EQ(prompt_of(text), kAnswerHead + "doc 0\ndoc 1\n\nQuestion:Who?)A:");
  EXPECT_EQ(TokenIds(text.tokens.begin(), text.tokens.begin() + text.prompt_length),
            make().text_answer_prompt("Who?", {"doc 0", "doc 1"}));
  EXPECT_EQ(text.num_dropped_documents, 1);
  settings.context = AnswerContext::kNone;
  const Example none = make(settings).tune_example(qa_record(3));
  EXPECT_EQ(prompt_of(none), kAnswerHead + "\n\nQuestion:Who?)A:");
  EXPECT_EQ(none.num_dropped_documents, 0);
  for (const Example& example : {text, none}) {
    EXPECT_EQ(answer_of(example), "Ann{<end>}");
    EXPECT_THAT(example.documents, IsEmpty());
    EXPECT_THAT(example.positives, IsEmpty());
    EXPECT_EQ(example.num_slots, 0);
  }
  settings.context = AnswerContext::kText;
  settings.max_sequence_tokens = 20;
  EXPECT_THAT(data_error_of([&] { make(settings).tune_example(qa_record(2)); }),
              HasSubstr(": cutting would lose the whole answer of 4 tokens"));
}

TEST_F(Prompts, FixedInstructionOfAParaphraseRowIsUsed) {
  for (std::size_t i = 0; i < kParaphraseInstructions.size(); ++i) {
    ScpRecord record = paraphrase_record({"again"});
    record.instruction = static_cast<int>(i) + 1;
    std::string user(kParaphraseInstructions[i]);
    user.replace(user.find("{docs}"), 6, kDocs);
    const Example example = make().scp_example(record, 0, 0);
    EXPECT_EQ(prompt_of(example),
              "{<s>}S(" + std::string(kSystemParaphrase) + ")U(" + user + ")A:");
    EXPECT_EQ(answer_of(example), "again{<end>}");
  }
}

TEST_F(Prompts, InstructionIsDrawnByRowAndSeedAndStaysOverTheEpochs) {
  const ScpRecord record = paraphrase_record({"again"});
  std::set<std::string> drawn;
  for (std::uint64_t row = 0; row < 200; ++row) {
    drawn.insert(prompt_of(make().scp_example(record, 0, row)));
    EXPECT_EQ(prompt_of(make().scp_example(record, 0, row)),
              prompt_of(make().scp_example(record, 7, row)));
  }
  EXPECT_EQ(drawn.size(), 13U);
  PromptSettings other = kSettings;
  other.seed = 18;
  int num_changed = 0;
  for (std::uint64_t row = 0; row < 20; ++row) {
    num_changed +=
        make().scp_example(record, 0, row).tokens != make(other).scp_example(record, 0, row).tokens;
  }
  EXPECT_GT(num_changed, 0);
}

TEST_F(Prompts, EpochsDrawTheVersionOfAParaphraseRow) {
  const ScpRecord record = paraphrase_record({"one", "two", "three"});
  std::set<std::string> drawn;
  for (std::uint64_t epoch = 0; epoch < 50; ++epoch) {
    drawn.insert(answer_of(make().scp_example(record, epoch, 5)));
    EXPECT_EQ(make().scp_example(record, epoch, 5).tokens,
              make().scp_example(record, epoch, 5).tokens);
  }
  EXPECT_THAT(drawn, ElementsAre("one{<end>}", "three{<end>}", "two{<end>}"));
}

TEST_F(Prompts, LongDocumentsAreCutAndCounted) {
  QaRecord record = qa_record(2);
  record.documents[0] = std::string(40, 'x');
  record.documents[1] = std::string(41, 'y');
  const Example example = make().tune_example(record);
  EXPECT_EQ(example.num_cut_documents, 1);
  EXPECT_EQ(show(example.documents[0]), "{enc}{<s>}" + std::string(40, 'x') + "{<end>}{m0}{m1}");
  EXPECT_EQ(show(example.documents[1]), "{enc}{<s>}" + std::string(41, 'y') + "{m0}{m1}");
  bool was_cut = false;
  EXPECT_EQ(make().encoder_ids(std::string(5000, 'z'), &was_cut).size(), 45U);
  EXPECT_TRUE(was_cut);
  make().encoder_ids("z", &was_cut);
  EXPECT_FALSE(was_cut);
}

TEST_F(Prompts, ModelsWithoutBosUseNone) {
  EXPECT_EQ(show(make(kSettings, -1).encoder_ids("x")), "{enc}x{<end>}{m0}{m1}");
}

TEST_F(Prompts, ControlTokensInTextStayText) {
  std::string hostile = "{docs}";
  for (const std::string& token : kControlTokens) hostile += token;
  for (const char* token : {"<MEM1>", "<AE>", "<ENC>"}) hostile += token;
  QaRecord record = qa_record(1);
  record.documents = {hostile};
  record.question = hostile;
  record.answers = {hostile};
  PromptSettings settings = kSettings;
  settings.doc_max_tokens = static_cast<std::int32_t>(hostile.size());
  const Example example = make(settings).joint_example(record);
  EXPECT_EQ(show(example.documents[0]), "{enc}{<s>}" + hostile + "{<end>}{m0}{m1}");
  EXPECT_EQ(show(example.question), show(example.documents[0]));
  EXPECT_EQ(prompt_of(example), kAnswerHead + kDocs + "\n\nQuestion:" + hostile + ")A:");
  EXPECT_EQ(answer_of(example), hostile + "{<end>}");

  ScpRecord pairs;
  pairs.questions = {hostile};
  pairs.answers = {hostile};
  pairs.document = hostile;
  EXPECT_EQ(answer_of(make().scp_example(pairs, 0, 0)),
            "Question: " + hostile + "\nAnswer: " + hostile + "{<end>}");
  EXPECT_EQ(answer_of(make().scp_example(paraphrase_record({hostile}), 0, 0)), hostile + "{<end>}");
}

TEST_F(Prompts, AnswersThatMergeWithThePromptAreRefusedWithTheirPlace) {
  QaRecord record = qa_record(1);
  record.answers = {":x"};
  EXPECT_EQ(data_error_of([&] { make().tune_example(record); }),
            "rows.jsonl:12: answer: expected tokens that continue the prompt's, found that tokens "
            "merge across the border between prompt and answer in chat format brackets; change how "
            "the answer begins");
}

TEST_F(Prompts, LongAnswersAreCutOnTheRight) {
  QaRecord record = qa_record(1);
  record.answers = {std::string(1000, 'a')};
  const Example example = make().joint_example(record);
  EXPECT_EQ(example.tokens.size(), 600U);
  EXPECT_TRUE(example.cut_answer);
  EXPECT_EQ(answer_of(example),
            std::string(static_cast<std::size_t>(600 - example.prompt_length), 'a'));
  EXPECT_FALSE(make().joint_example(qa_record(1)).cut_answer);
}

TEST_F(Prompts, RowsWhosePromptFillsTheSequenceAreRefused) {
  const std::int32_t prompt_length = make().joint_example(qa_record(2)).prompt_length;
  PromptSettings settings = kSettings;
  settings.max_sequence_tokens = prompt_length + 1;
  EXPECT_EQ(answer_of(make(settings).joint_example(qa_record(2))), "A");

  settings.max_sequence_tokens = prompt_length;
  const std::string limit = std::to_string(prompt_length);
  EXPECT_EQ(data_error_of([&] { make(settings).joint_example(qa_record(2)); }),
            "rows.jsonl:12: expected a prompt of fewer than " + limit +
                " tokens (trainer.max_sequence_tokens), found " + limit +
                " with 2 documents of 2 memory tokens: cutting would lose memory tokens or the "
                "whole answer of 4 tokens; raise trainer.max_sequence_tokens or give the prompt "
                "fewer documents");
  settings.max_sequence_tokens = 20;
  EXPECT_THAT(data_error_of([&] { make(settings).tune_example(qa_record(2)); }),
              HasSubstr("rows.jsonl:12: expected a prompt of fewer than 20 tokens"));
}

TEST_F(Prompts, FormatsWithoutSystemRolePutItBeforeTheUsersText) {
  ChatFormat format = bracket_format();
  format.system_role = false;
  const PromptBuilder builder(tokenizer_, format, kAdded, 257, 258, kSettings);
  EXPECT_EQ(
      show(builder.answer_prompt("Who?", 1)),
      "{<s>}U(" + std::string(kSystemAnswer) + "\nBackground:\n" + kDocs + "\n\nQuestion:Who?)A:");
}

}  // namespace
}  // namespace clara
