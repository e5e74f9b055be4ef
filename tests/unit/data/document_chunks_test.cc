// Laws of chunks: none too long, nothing lost, sensible borders, bounded overlap, titles.
#include "clara/data/document_chunks.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"
#include "clara/common/seeds.h"
#include "clara/common/text.h"

namespace clara {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::string kBase = std::string(CLARA_SOURCE_DIR) + "/tests/fixtures/parity/llama/base";

const Tokenizer& tokenizer() {
  static const std::unique_ptr<Tokenizer> kTokenizer = load_tokenizer(kBase);
  return *kTokenizer;
}

std::size_t num_tokens(const std::string& text) {
  return tokenizer().encode(text, SpecialTokenText::kAsText).size();
}

std::vector<std::string> texts_of(const std::vector<DocumentChunk>& chunks) {
  std::vector<std::string> texts;
  for (const DocumentChunk& chunk : chunks) texts.push_back(chunk.text);
  return texts;
}

// Words, sentences, lines and paragraphs of several scripts, and words without any blank.
std::string random_document(SeedStream& random) {
  const char* pieces[] = {
      "word",  "Zażółć", "it's", "字。",       "字字字字字字字字",
      "😀😀",    "3.14",   "end.", "<|im_end|>", "unbrokenunbrokenunbrokenunbroken",
      "क्षत्रिय"};
  const char* gaps[] = {" ", " ", " ", "  ", ". ", "\n", "\n\n", "", "\u3000"};
  std::string text;
  const std::uint64_t count = 20 + random.below(200);
  for (std::uint64_t i = 0; i < count; ++i) {
    text += pieces[random.below(std::size(pieces))];
    text += gaps[random.below(std::size(gaps))];
  }
  return text;
}

TEST(SplitDocument, ChunksFitAndLoseNothing) {
  SeedStream random(5);
  for (int round = 0; round < 40; ++round) {
    const std::string text = random_document(random);
    ChunkSettings settings;
    settings.max_tokens = static_cast<std::int32_t>(8 + random.below(80));
    settings.overlap_tokens = static_cast<std::int32_t>(
        random.below(static_cast<std::uint64_t>(settings.max_tokens) / 2 + 1));
    settings.fills_chunks = random.below(2) == 1;
    const auto chunks = split_document(tokenizer(), text, settings);
    ASSERT_FALSE(chunks.empty());
    std::size_t done = 0;
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      const DocumentChunk& chunk = chunks[i];
      ASSERT_LE(num_tokens(chunk.text), static_cast<std::size_t>(settings.max_tokens))
          << chunk.text;
      ASSERT_EQ(chunk.text, text.substr(chunk.begin, chunk.end - chunk.begin));
      ASSERT_FALSE(find_invalid_utf8(chunk.text));
      ASSERT_GT(chunk.end, done);
      if (chunk.begin > done) {
        ASSERT_EQ(strip_whitespace(std::string_view(text).substr(done, chunk.begin - done)), "");
      } else {
        ASSERT_LE(num_tokens(text.substr(chunk.begin, done - chunk.begin)),
                  static_cast<std::size_t>(settings.overlap_tokens));
      }
      done = chunk.end;
    }
    ASSERT_EQ(strip_whitespace(std::string_view(text).substr(done)), "");
  }
}

TEST(SplitDocument, AShortTextStaysAsItIs) {
  EXPECT_THAT(texts_of(split_document(tokenizer(), " short\n", {})), ElementsAre(" short\n"));
  EXPECT_TRUE(split_document(tokenizer(), "", {}).empty());
  EXPECT_TRUE(split_document(tokenizer(), " \n\u3000", {}).empty());
}

TEST(SplitDocument, PrefersParagraphsThenLinesThenSentences) {
  const std::string half = "one two three four five six seven eight nine ten eleven twelve";
  ChunkSettings settings;
  settings.max_tokens = static_cast<std::int32_t>(num_tokens(half + half)) - 4;
  settings.overlap_tokens = 0;
  for (const std::string border : {"\n\n", "\n", ". "}) {
    const std::string rest = half.substr(0, 7) + ". " + half.substr(8);
    const std::string text = half + border + (border == ". " ? half : rest) + " and more and more";
    const auto chunks = split_document(tokenizer(), text, settings);
    EXPECT_EQ(chunks.at(0).text, border == ". " ? half + "." : half) << border;
  }
}

TEST(SplitDocument, FilledChunksTakeEveryWordThatFits) {
  const std::string text =
      "One is a longer sentence than that. Two is here.\n\nThree has a paragraph of its own. And "
      "four.";
  const ChunkSettings settings{16, 0, false, true};
  const auto chunks = split_document(tokenizer(), text, settings);
  ASSERT_GT(chunks.size(), 2u);
  for (std::size_t i = 0; i + 1 < chunks.size(); ++i) {
    const std::size_t next_word = text.find_first_of(" \n", chunks[i + 1].begin);
    EXPECT_GT(num_tokens(text.substr(chunks[i].begin, next_word - chunks[i].begin)), 16u)
        << chunks[i].text;
  }
  EXPECT_NE(texts_of(chunks), texts_of(split_document(tokenizer(), text, {16, 0, false, false})));
}

TEST(SplitDocument, RepeatsTheEndOfAChunkWhereAsked) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "word" + std::to_string(i) + " ";
  ChunkSettings settings;
  settings.max_tokens = 60;
  settings.overlap_tokens = 20;
  const auto overlapping = split_document(tokenizer(), text, settings);
  ASSERT_GT(overlapping.size(), 2u);
  for (std::size_t i = 1; i < overlapping.size(); ++i) {
    EXPECT_LT(overlapping[i].begin, overlapping[i - 1].end);
    EXPECT_GT(overlapping[i].begin, overlapping[i - 1].begin);
  }
  settings.overlap_tokens = 0;
  const auto apart = split_document(tokenizer(), text, settings);
  EXPECT_LT(apart.size(), overlapping.size());
}

TEST(SplitDocument, RepeatsTheTitle) {
  std::string text = "A title\n";
  for (int i = 0; i < 60; ++i) text += "word ";
  ChunkSettings settings;
  settings.max_tokens = 40;
  settings.overlap_tokens = 10;
  settings.repeat_title = true;
  const auto chunks = split_document(tokenizer(), text, settings);
  ASSERT_GT(chunks.size(), 1u);
  for (const DocumentChunk& chunk : chunks) {
    EXPECT_TRUE(chunk.text.starts_with("A title\nword")) << chunk.text;
    EXPECT_LE(num_tokens(chunk.text), 40u);
  }
  settings.max_tokens = 8;  // the title would take too much of it
  settings.overlap_tokens = 0;
  EXPECT_FALSE(split_document(tokenizer(), text, settings).at(1).text.starts_with("A title"));
}

TEST(SplitDocument, RefusesSettingsOutOfRangeAndInvalidText) {
  auto message = [](std::int32_t max_tokens, std::int32_t overlap) -> std::string {
    try {
      split_document(tokenizer(), "text", {max_tokens, overlap, false});
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message(7, 0), HasSubstr("max_tokens: expected 8 or more, found 7"));
  EXPECT_THAT(message(16, 9), HasSubstr("overlap_tokens: expected 0 to half of max_tokens (8)"));
  EXPECT_THAT(message(16, -1), HasSubstr("found -1"));
  EXPECT_EQ(message(16, 8), "no error");
  EXPECT_THROW(split_document(tokenizer(), "a\xFF", {}), DataError);
}

}  // namespace
}  // namespace clara
