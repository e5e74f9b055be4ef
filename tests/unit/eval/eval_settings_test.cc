// Laws of the names of settings and of result folders.
#include "clara/eval/eval_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

TEST(EvalSettings, EveryNameParsesToTheValueThatPrintsIt) {
  for (const auto& name : eval_setting_names()) {
    EXPECT_EQ(to_string(parse_eval_setting(name)), name);
  }
  for (const auto& name : document_selector_names()) {
    EXPECT_EQ(to_string(parse_document_selector(name)), name);
  }
  for (const auto& name : answer_context_names()) {
    EXPECT_EQ(to_string(parse_answer_context(name)), name);
  }
  EXPECT_EQ(document_selector_names().size(), 7u);
}

TEST(EvalSettings, AnUnknownNameIsAnErrorThatListsTheKnownOnes) {
  try {
    parse_document_selector("query-reasoner");
    FAIL() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "select: expected one of query_reasoner, given, bm25, dense, cross_encoder, "
                 "random, all, found "
                 "\"query-reasoner\"");
  }
}

TEST(EvalSettings, AnEncoderAndItsSelectorBelongTogether) {
  const std::string encoder = std::string(CLARA_SOURCE_DIR) + "/tests/fixtures/retrieval/cls";
  for (const auto& name : document_selector_names()) {
    EvalSettings settings;
    settings.select = parse_document_selector(name);
    const bool is_needed = name == "dense" || name == "cross_encoder";
    EXPECT_EQ(needs_encoder(settings), is_needed) << name;
    settings.encoder = is_needed ? encoder : "";
    EXPECT_NO_THROW(check_encoder(settings)) << name;
    settings.encoder = is_needed ? "" : encoder;
    EXPECT_THROW(check_encoder(settings), ConfigError) << name;
    // Without documents nothing is ranked.
    settings.encoder = encoder;
    settings.context = AnswerContext::kNone;
    EXPECT_THROW(check_encoder(settings), ConfigError) << name;
  }
  EvalSettings settings;
  settings.select = DocumentSelector::kDense;
  settings.encoder = "nowhere";
  EXPECT_THROW(check_encoder(settings), DataError);
  settings.encoder = encoder;
  settings.query_prefix = "query: ";
  EXPECT_NO_THROW(check_encoder(settings));
  settings.select = DocumentSelector::kCrossEncoder;
  EXPECT_THROW(check_encoder(settings), ConfigError);
}

TEST(EvalSettings, OnlyStagesThatTrainTheQueryReasonerSelectWithIt) {
  EXPECT_EQ(default_selector("joint"), DocumentSelector::kQueryReasoner);
  EXPECT_EQ(default_selector("retriever"), DocumentSelector::kQueryReasoner);
  EXPECT_EQ(default_selector("scp"), DocumentSelector::kGiven);
  EXPECT_EQ(default_selector("tune"), DocumentSelector::kGiven);
}

TEST(EvalSettings, AFolderNameTellsWhatIsUnusual) {
  EvalSettings settings;
  settings.setting = EvalSetting::kOracle;
  const auto name = [&](DocumentSelector usual, AnswerContext context = AnswerContext::kLatents) {
    return eval_folder_name(settings, usual, context);
  };
  EXPECT_EQ(name(DocumentSelector::kQueryReasoner), "records_oracle");
  EXPECT_EQ(name(DocumentSelector::kGiven), "records_oracle_query_reasoner");
  settings.context = AnswerContext::kText;
  EXPECT_EQ(name(DocumentSelector::kQueryReasoner), "records_oracle_text");
  EXPECT_EQ(name(DocumentSelector::kQueryReasoner, AnswerContext::kText), "records_oracle");
}

}  // namespace
}  // namespace clara
