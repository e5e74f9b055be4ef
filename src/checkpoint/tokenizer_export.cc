// Edits tokenizer.json or, beside a tokenizer.model, tokenizer_config.json; copies the rest.
#include "clara/checkpoint/tokenizer_export.h"

#include <string>
#include <utility>
#include <vector>

#include "common/parse_json.h"
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

// The tokens that an export adds, by id: first those that fill the ids up to the embedding's rows.
std::vector<std::pair<TokenId, std::string>> tokens_to_add(const Tokenizer& tokenizer,
                                                           const SpecialTokens& added) {
  std::vector<std::pair<TokenId, std::string>> tokens;
  for (TokenId id = tokenizer.size(); id < added.base_vocab_rows; ++id) {
    tokens.emplace_back(id, "<|clara_unused_" + std::to_string(id - tokenizer.size()) + "|>");
  }
  for (TokenId id = added.first_memory(); id < added.total_rows(); ++id) {
    tokens.emplace_back(id, added.name(id));
  }
  return tokens;
}

Json read_object(const std::filesystem::path& path) {
  Json json = parse_json<Json>(read_file(path));
  if (!json.is_object()) throw DataError(path.string() + ": expected a JSON object");
  return json;
}

Json without_id(Json entry) {
  entry.erase("id");
  return entry;
}

// "added_tokens_decoder" of a folder that has only tokenizer.model: what tokenizer_config.json
// says, else what added_tokens.json and the special tokens are.
Json added_tokens_decoder(const std::filesystem::path& base_folder, const Json& config,
                          const Tokenizer& tokenizer) {
  if (config.contains("added_tokens_decoder") && config["added_tokens_decoder"].is_object()) {
    return config["added_tokens_decoder"];
  }
  Json decoder = Json::object();
  const auto put = [&](TokenId id) {
    Json entry = without_id(added_token(id, tokenizer.id_to_token(id)));
    entry["special"] = tokenizer.is_special(id);
    entry["lstrip"] = tokenizer.absorbs(id).before;
    entry["rstrip"] = tokenizer.absorbs(id).after;
    decoder[std::to_string(id)] = std::move(entry);
  };
  for (TokenId id = 0; id < tokenizer.size(); ++id) {
    if (tokenizer.is_special(id)) put(id);
  }
  const std::filesystem::path beside = base_folder / "added_tokens.json";
  if (std::filesystem::exists(beside)) {
    const Json tokens = read_object(beside);
    for (const auto& [content, id] : tokens.items()) {
      const auto number = whole_number<TokenId>(id);
      if (!number || *number < 0 || *number >= tokenizer.size())
        throw DataError(beside.string() + ": " + content + ": expected a token's id, found " +
                        id.dump());
      put(*number);
    }
  }
  return decoder;
}

}  // namespace

void export_tokenizer(const std::filesystem::path& base_folder, const std::filesystem::path& folder,
                      const Tokenizer& tokenizer, const SpecialTokens& added) {
  const auto tokens = tokens_to_add(tokenizer, added);
  const bool has_json = std::filesystem::exists(base_folder / "tokenizer.json");
  const std::filesystem::path config_path = base_folder / "tokenizer_config.json";
  const bool has_config = std::filesystem::exists(config_path);
  Json config = has_config ? read_object(config_path)
                           : Json{{"tokenizer_class", "LlamaTokenizer"}, {"legacy", true}};
  if (has_json) {
    Json tokenizer_json = read_object(base_folder / "tokenizer.json");
    Json& list = tokenizer_json["added_tokens"];
    if (!list.is_array()) list = Json::array();
    for (const auto& [id, content] : tokens) list.push_back(added_token(id, content));
    write_file_atomically(folder / "tokenizer.json", tokenizer_json.dump());
  } else {
    write_file_atomically(folder / "tokenizer.model", read_file(base_folder / "tokenizer.model"));
    config["added_tokens_decoder"] = added_tokens_decoder(base_folder, config, tokenizer);
  }
  if (config.contains("added_tokens_decoder") && config["added_tokens_decoder"].is_object()) {
    for (const auto& [id, content] : tokens) {
      config["added_tokens_decoder"][std::to_string(id)] = without_id(added_token(id, content));
    }
  }
  if (has_config || !has_json) {
    write_file_atomically(folder / "tokenizer_config.json", config.dump(2) + "\n");
  }
  for (const char* name : {"special_tokens_map.json", "chat_template.jinja"}) {
    if (std::filesystem::exists(base_folder / name))
      write_file_atomically(folder / name, read_file(base_folder / name));
  }
}

}  // namespace clara
