// Laws of exports of a tokenizer.model, and of libsentencepiece beside LibTorch in one program.
#include <fstream>
#include <string>

#include "tests/unit/common/temporary_folder.h"
#include <c10/util/Flags.h>
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/checkpoint/tokenizer_export.h"
#include "clara/common/atomic_file.h"
#include "clara/tokenizer/tokenizer.h"

C10_DECLARE_bool(caffe2_use_fatal_for_enforce);

namespace clara {
namespace {

// A folder with the recorded model and what else `files` says.
void make_base(const TemporaryFolder& folder) {
  const std::string model =
      read_file(std::string(CLARA_SOURCE_DIR) + "/tests/fixtures/tokenizer/sentencepiece.model");
  std::ofstream(folder / "tokenizer.model", std::ios::binary) << model;
}

TEST(SentencePieceExport, AddsTheTokensBehindTheEmbeddingsRows) {
  for (const bool has_config : {false, true}) {
    const TemporaryFolder base;
    make_base(base);
    if (has_config) {
      std::ofstream(base / "tokenizer_config.json")
          << R"({"legacy": false, "bos_token": "<s>", "eos_token": "</s>"})";
    }
    std::ofstream(base / "added_tokens.json") << R"({"<tool>": 400})";
    const auto tokenizer = load_tokenizer(base.path());
    ASSERT_EQ(tokenizer->size(), 401);
    const SpecialTokens added{410, 2};
    const TemporaryFolder folder;
    export_tokenizer(base.path(), folder.path(), *tokenizer, added);
    const auto exported = load_tokenizer(folder.path());
    EXPECT_EQ(exported->size(), added.total_rows());
    EXPECT_EQ(exported->token_to_id("<tool>"), 400);
    EXPECT_FALSE(exported->is_special(400));
    EXPECT_EQ(exported->token_to_id("<|clara_unused_0|>"), 401);
    EXPECT_EQ(exported->token_to_id("<MEM1>"), added.memory(1));
    EXPECT_EQ(exported->bos_id(), tokenizer->bos_id());
    const std::string text = "<s>the fox<tool> jumps</s> over";
    EXPECT_EQ(exported->encode(text, SpecialTokenText::kParse),
              tokenizer->encode(text, SpecialTokenText::kParse));
    EXPECT_EQ(exported->encode("a<MEM0>b", SpecialTokenText::kAsText),
              tokenizer->encode("a<MEM0>b", SpecialTokenText::kAsText));
  }
}

// libc10 and libsentencepiece export a variable of one name and different sizes. Unless the program
// has its own, one library writes into the other's memory.
TEST(SentencePieceBesideLibTorch, KeepsItsFlagsToItself) {
  const TemporaryFolder base;
  make_base(base);
  ASSERT_NE(load_tokenizer(base.path()), nullptr);
  EXPECT_FALSE(FLAGS_caffe2_use_fatal_for_enforce);
  Dl_info variable{};
  Dl_info program{};
  void* address = dlsym(RTLD_DEFAULT, "FLAGS_minloglevel");
  ASSERT_NE(dladdr(address, &variable), 0);
  ASSERT_NE(dladdr(reinterpret_cast<void*>(&make_base), &program), 0);
  EXPECT_STREQ(variable.dli_fname, program.dli_fname);
}

}  // namespace
}  // namespace clara
