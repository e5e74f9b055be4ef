// Token ids of whole rows equal those that the Python reference recorded (record_prompt_ids.py and
// the parity fixtures).
#include <cstring>
#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/common/safetensors_file.h"
#include "clara/data/prompts.h"

namespace clara {
namespace {

using Json = nlohmann::json;

const std::filesystem::path kFixtures = std::filesystem::path(CLARA_SOURCE_DIR) / "tests/fixtures";

Json read_json(const std::filesystem::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  return Json::parse(file);
}

Example build(const PromptBuilder& builder, const std::string& stage, const Json& row) {
  const RecordPlace place{"fixture", 1};
  if (stage == "scp") return builder.scp_example(parse_scp_record(row.dump(), place), 0, 0);
  const QaRecord record = parse_qa_record(row.dump(), place);
  if (stage == "tune") return builder.tune_example(record);
  if (stage == "retriever") return builder.retriever_example(record);
  return builder.joint_example(record);
}

TEST(PromptFixture, RowsOfEveryStageHaveTheRecordedIds) {
  const Json fixture = read_json(kFixtures / "data/prompt_ids.json");
  const auto base = kFixtures / "parity/llama/base";
  const auto tokenizer = load_tokenizer(base);
  for (const Json& item : fixture["cases"]) {
    const auto stage = item["stage"].get<std::string>();
    const PromptBuilder builder(
        *tokenizer, load_chat_format(base, *tokenizer),
        {.base_vocab_rows = fixture["base_vocab_rows"], .num_memory = fixture["num_memory"]},
        fixture["bos_id"], fixture["eos_id"],
        {.doc_max_tokens = fixture["doc_max_tokens"],
         .max_sequence_tokens = fixture["max_sequence_tokens"][stage],
         .num_selected = fixture["top_k"]});
    const Example example = build(builder, stage, item["row"]);
    EXPECT_EQ(example.documents, item["documents"].get<std::vector<TokenIds>>()) << item["row"];
    EXPECT_EQ(example.question, item["question"].get<TokenIds>()) << item["row"];
    EXPECT_EQ(example.tokens, item["tokens"].get<TokenIds>()) << item["row"];
    EXPECT_EQ(example.prompt_length, item["prompt_length"].get<std::int32_t>()) << item["row"];
    EXPECT_EQ(example.positives, item["positives"].get<std::vector<std::int32_t>>());
  }
}

// Rows of a padded tensor [N, T] int64, each cut where its attention mask ends.
std::vector<TokenIds> read_sequences(const SafetensorsFile& file, const std::string& prefix) {
  const TensorEntry& ids = file.at(prefix + ".input_ids");
  const TensorEntry& mask = file.at(prefix + ".attention_mask");
  const auto read = [](const TensorEntry& entry, std::int64_t i) {
    std::int64_t value = 0;
    std::memcpy(&value, entry.data + static_cast<std::size_t>(i) * sizeof value, sizeof value);
    return value;
  };
  std::vector<TokenIds> sequences;
  for (std::int64_t row = 0; row < ids.shape[0]; ++row) {
    TokenIds& sequence = sequences.emplace_back();
    for (std::int64_t i = row * ids.shape[1]; i < (row + 1) * ids.shape[1]; ++i) {
      if (read(mask, i) == 1) sequence.push_back(static_cast<TokenId>(read(ids, i)));
    }
  }
  return sequences;
}

TEST(PromptFixture, ParityFixturesHaveTheSameIds) {
  for (const char* family : {"llama", "llama_tied"}) {
    const auto folder = kFixtures / "parity" / family;
    const Json fixture = read_json(folder / "fixture.json");
    const SafetensorsFile recorded(folder / "fixture.safetensors");
    const auto tokenizer = load_tokenizer(folder / "base");
    const Json& settings = fixture["settings"];
    for (const char* stage : {"scp", "tune", "joint"}) {
      const PromptBuilder builder(
          *tokenizer, load_chat_format(folder / "base", *tokenizer),
          {.base_vocab_rows = fixture["vocabulary"], .num_memory = fixture["memory_tokens"]},
          fixture["bos_id"], fixture["eos_id"],
          {.doc_max_tokens = settings["doc_max_tokens"],
           .max_sequence_tokens = settings["max_sequence_tokens"][stage],
           .num_selected = settings["top_k"]});
      std::vector<TokenIds> documents;
      std::vector<TokenIds> questions;
      std::vector<TokenIds> generator;
      for (const Json& row : fixture["rows"][stage]) {
        const Example example = build(builder, stage, row);
        documents.insert(documents.end(), example.documents.begin(), example.documents.end());
        questions.push_back(example.question);
        generator.push_back(example.tokens);
      }
      const std::string prefix = stage;
      EXPECT_EQ(documents, read_sequences(recorded, prefix + ".documents")) << family << prefix;
      EXPECT_EQ(generator, read_sequences(recorded, prefix + ".generator")) << family << prefix;
      if (prefix != "joint") continue;
      EXPECT_EQ(questions, read_sequences(recorded, "joint.questions")) << family;
      for (const Json& made : fixture["generation"]) {
        EXPECT_EQ(builder.answer_prompt(made["question"].get<std::string>(),
                                        static_cast<std::int32_t>(made["indices"].size())),
                  made["prompt_ids"].get<TokenIds>())
            << family;
      }
    }
  }
}

}  // namespace
}  // namespace clara
