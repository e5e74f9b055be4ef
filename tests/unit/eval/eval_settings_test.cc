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
  EvalSettings settings;
  for (const auto& name : document_selector_names()) {
    settings.select = parse_document_selector(name);
    settings.encoder = needs_encoder(settings.select) ? "models/minilm" : "";
    EXPECT_NO_THROW(check_encoder(settings)) << name;
    settings.encoder = needs_encoder(settings.select) ? "" : "models/minilm";
    EXPECT_THROW(check_encoder(settings), ConfigError) << name;
  }
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
  EXPECT_EQ(eval_folder_name(settings, DocumentSelector::kQueryReasoner), "records_oracle");
  EXPECT_EQ(eval_folder_name(settings, DocumentSelector::kGiven), "records_oracle_query_reasoner");
  settings.context = AnswerContext::kText;
  EXPECT_EQ(eval_folder_name(settings, DocumentSelector::kQueryReasoner), "records_oracle_text");
}

}  // namespace
}  // namespace clara
