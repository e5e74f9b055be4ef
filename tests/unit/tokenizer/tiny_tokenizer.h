// A byte-level tokenizer of a few merges in a folder of its own, for tests to change and to break.
#pragma once

#include <fstream>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "tests/unit/common/temporary_folder.h"
#include "tokenizer/byte_alphabet.h"
#include <nlohmann/json.hpp>

#include "clara/tokenizer/tokenizer.h"

namespace clara {

inline constexpr const char* kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Writes tokenizer.json and its companions; members are there to be changed before `load`.
class TinyTokenizer {
 public:
  nlohmann::json tokenizer;  ///< tokenizer.json
  nlohmann::json config;     ///< tokenizer_config.json

  /// Ids 0 … 255 are the bytes, then the merges "he", "ll", "hell", "hello", " hello" follow.
  TinyTokenizer() {
    nlohmann::json vocabulary = nlohmann::json::object();
    for (int byte = 0; byte < 256; ++byte) {
      vocabulary[byte_character(static_cast<std::uint8_t>(byte))] = byte;
    }
    const std::initializer_list<std::pair<const char*, const char*>> merges = {
        {"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {"\u0120", "hello"}};
    nlohmann::json merge_list = nlohmann::json::array();
    for (const auto& [left, right] : merges) {
      vocabulary[std::string(left) + right] = vocabulary.size();
      merge_list.push_back(std::string(left) + " " + right);
    }
    tokenizer = {{"version", "1.0"},
                 {"truncation", {{"max_length", 4}}},
                 {"padding", nullptr},
                 {"added_tokens", nlohmann::json::array()},
                 {"normalizer", nullptr},
                 {"pre_tokenizer",
                  {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
                 {"post_processor", {{"type", "ByteLevel"}, {"trim_offsets", false}}},
                 {"decoder", {{"type", "ByteLevel"}}},
                 {"model",
                  {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"ignore_merges", false},
                   {"byte_fallback", false},
                   {"vocab", vocabulary},
                   {"merges", merge_list}}}};
    config = {{"bos_token", nullptr}, {"eos_token", nullptr}};
  }

  /// Adds a token after the ones that are there; `changes` are members of its entry.
  TokenId add(const std::string& content, bool special = true,
              const nlohmann::json& changes = nlohmann::json::object()) {
    auto& added = tokenizer["added_tokens"];
    const auto id = static_cast<TokenId>(tokenizer["model"]["vocab"].size() + added.size());
    nlohmann::json entry = {{"id", id},           {"content", content}, {"special", special},
                            {"lstrip", false},    {"rstrip", false},    {"single_word", false},
                            {"normalized", false}};
    entry.update(changes);
    added.push_back(entry);
    return id;
  }

  std::unique_ptr<Tokenizer> load() const {
    write("tokenizer.json", tokenizer.dump());
    if (!config.is_null()) write("tokenizer_config.json", config.dump());
    return load_tokenizer(folder());
  }

  void write(const std::string& name, const std::string& content) const {
    std::ofstream(folder() / name, std::ios::binary) << content;
  }

  const std::filesystem::path& folder() const { return folder_->path(); }

 private:
  std::unique_ptr<TemporaryFolder> folder_ = std::make_unique<TemporaryFolder>();
};

}  // namespace clara
