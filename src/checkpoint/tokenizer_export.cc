// Edits tokenizer.json and tokenizer_config.json; copies the rest.
#include "clara/checkpoint/tokenizer_export.h"

#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using Json = nlohmann::ordered_json;

Json added_token(TokenId id, const std::string& content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

}  // namespace

void export_tokenizer(const std::filesystem::path& base_folder, const std::filesystem::path& folder,
                      const Tokenizer& tokenizer, const SpecialTokens& added) {
  Json tokenizer_json = Json::parse(read_file(base_folder / "tokenizer.json"), nullptr, false);
  if (!tokenizer_json.is_object())
    throw DataError((base_folder / "tokenizer.json").string() + ": expected a JSON object");
  Json& list = tokenizer_json["added_tokens"];
  if (!list.is_array()) list = Json::array();
  Json decoder = Json::object();
  const auto append = [&](TokenId id, const std::string& content) {
    list.push_back(added_token(id, content));
    Json entry = added_token(id, content);
    entry.erase("id");
    decoder[std::to_string(id)] = entry;
  };
  for (TokenId id = tokenizer.size(); id < added.base_vocab_rows; ++id) {
    append(id, "<|clara_unused_" + std::to_string(id - tokenizer.size()) + "|>");
  }
  for (TokenId id = added.first_memory(); id < added.total_rows(); ++id) append(id, added.name(id));
  write_file_atomically(folder / "tokenizer.json", tokenizer_json.dump());

  const std::filesystem::path config_path = base_folder / "tokenizer_config.json";
  if (std::filesystem::exists(config_path)) {
    Json config = Json::parse(read_file(config_path), nullptr, false);
    if (!config.is_object()) throw DataError(config_path.string() + ": expected a JSON object");
    if (config.contains("added_tokens_decoder") && config["added_tokens_decoder"].is_object()) {
      for (const auto& [id, entry] : decoder.items()) config["added_tokens_decoder"][id] = entry;
    }
    write_file_atomically(folder / "tokenizer_config.json", config.dump(2) + "\n");
  }
  for (const char* name : {"special_tokens_map.json", "chat_template.jinja"}) {
    if (std::filesystem::exists(base_folder / name))
      write_file_atomically(folder / name, read_file(base_folder / name));
  }
}

}  // namespace clara
