// Prompts: what is checked when they are loaded, and how they are filled.
#include "clara/synthesis/synthesis_prompts.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

const fs::path kShipped = fs::path(CLARA_SOURCE_DIR) / "configs/synthesis";

class PromptFolder : public testing::Test {
 protected:
  PromptFolder() { fs::copy(kShipped, folder_.path(), fs::copy_options::recursive); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
  }
  std::string error() {
    try {
      SynthesisPrompts prompts(folder_.path());
    } catch (const ConfigError& caught) {
      return caught.what();
    }
    return "";
  }
  TemporaryFolder folder_;
};

TEST_F(PromptFolder, TheShippedPromptsAreSound) { EXPECT_EQ(error(), ""); }

TEST_F(PromptFolder, EveryMistakeIsTold) {
  write("simple_qa.txt", "Write about {documnt}: {num_pairs}");
  write("paraphrase.txt", "  ");
  write("complex_qa.txt", "\xFF {document} {num_pairs}");
  fs::remove(folder_ / "verify_paraphrase.txt");
  EXPECT_THAT(error(),
              AllOf(HasSubstr("simple_qa.txt: expected {document}, {num_pairs}, found {documnt}"),
                    HasSubstr("simple_qa.txt: expected {document}, found none"),
                    HasSubstr("paraphrase.txt: expected a prompt, found no text"),
                    HasSubstr("complex_qa.txt: byte 1: expected UTF-8"),
                    HasSubstr("verify_paraphrase.txt")));
}

TEST_F(PromptFolder, BracesThatNameNothingStandForThemselves) {
  write("paraphrase.txt", "{\"a\": {}} {{document}} {document} { x } {Y}");
  const SynthesisPrompts prompts(folder_.path());
  EXPECT_EQ(prompts.render(PromptName::kParaphrase, {{"document", "D"}}),
            "{\"a\": {}} {document} D { x } {Y}");
}

TEST_F(PromptFolder, WhatAValueHoldsIsNotReadAgain) {
  write("verify_paraphrase.txt", "{document}|{paraphrase}|{document}");
  const SynthesisPrompts prompts(folder_.path());
  EXPECT_EQ(prompts.render(PromptName::kVerifyParaphrase,
                           {{"document", "{paraphrase}{{x}}"}, {"paraphrase", "{document}"}}),
            "{paraphrase}{{x}}|{document}|{paraphrase}{{x}}");
  EXPECT_THROW(prompts.render(PromptName::kVerifyParaphrase, {{"document", ""}}), Error);
}

TEST_F(PromptFolder, ABlankSystemPromptIsNone) {
  write("system.txt", "\n");
  EXPECT_EQ(SynthesisPrompts(folder_.path()).render(PromptName::kSystem, {}), "");
}

TEST_F(PromptFolder, TheFingerprintFollowsEveryText) {
  const Hash128 before = SynthesisPrompts(folder_.path()).fingerprint();
  EXPECT_EQ(SynthesisPrompts(kShipped).fingerprint(), before);
  write("system.txt", "Other words.");
  EXPECT_NE(SynthesisPrompts(folder_.path()).fingerprint(), before);
}

}  // namespace
}  // namespace clara
