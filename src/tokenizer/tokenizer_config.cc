// Reading what transformers writes beside a tokenizer.
#include "tokenizer/tokenizer_config.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <utility>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using Json = nlohmann::json;

constexpr const char* kConfigFile = "tokenizer_config.json";
constexpr std::int64_t kMaxTokenId = 1 << 28;
// In the order in which transformers adds those that the vocabulary lacks.
constexpr const char* kNamedTokens[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};

// A file's object; empty where there is no such file.
struct File {
  std::string name;
  Json json = Json::object();

  File(const std::filesystem::path& folder, const char* file) : name((folder / file).string()) {
    if (!std::filesystem::exists(name)) return;
    json = parse_json<Json>(read_file(name));
    if (json.is_discarded()) {
      throw DataError(name + ": not a JSON file, or one that is damaged or cut short");
    }
    if (!json.is_object()) fail("", "an object", json);
  }

  [[noreturn]] void fail(const std::string& member, const std::string& expected,
                         const Json& found) const {
    std::string shown = found.dump(-1, ' ', true, Json::error_handler_t::replace);
    constexpr std::size_t kMaxShown = 60;
    if (shown.size() > kMaxShown) shown = shown.substr(0, kMaxShown) + "…";
    throw DataError(name + ": " + (member.empty() ? "" : member + ": ") + "expected " + expected +
                    ", found " + shown);
  }

  bool boolean(const Json& object, const std::string& member, bool fallback) const {
    const auto it = object.find(member);
    if (it == object.end() || it->is_null()) return fallback;
    if (!it->is_boolean()) fail(member, "true or false", *it);
    return it->get<bool>();
  }

  // A token given as text or as an object.
  AddedToken token(const std::string& place, const Json& value) const {
    AddedToken token;
    token.id = -1;
    if (value.is_string()) {
      token.content = value.get<std::string>();
      return token;
    }
    const bool has_content = value.is_object() && value.contains("content");
    if (!has_content || !value["content"].is_string()) {
      fail(place, "a token, as text or with content", value);
    }
    token.content = value["content"].get<std::string>();
    token.special = boolean(value, "special", false);
    token.single_word = boolean(value, "single_word", false);
    token.lstrip = boolean(value, "lstrip", false);
    token.rstrip = boolean(value, "rstrip", false);
    token.normalized = boolean(value, "normalized", !token.special);
    return token;
  }

  TokenId id(const std::string& place, const Json& value) const {
    const bool fits = value.is_number_unsigned() &&
                      value.get<std::uint64_t>() <= static_cast<std::uint64_t>(kMaxTokenId);
    if (!fits) fail(place, "a token id (0 to " + std::to_string(kMaxTokenId) + ")", value);
    return value.get<TokenId>();
  }
};

void add(std::vector<AddedToken>& tokens, AddedToken token) {
  const auto it = std::find_if(tokens.begin(), tokens.end(),
                               [&](const auto& known) { return known.content == token.content; });
  if (it == tokens.end()) {
    tokens.push_back(std::move(token));
  } else {
    it->special |= token.special;
  }
}

// "added_tokens_decoder": from id to token.
void read_added_tokens_decoder(const File& file, const Json& decoder,
                               std::vector<AddedToken>& tokens) {
  const std::string member = "added_tokens_decoder";
  if (!decoder.is_object()) file.fail(member, "an object from id to token", decoder);
  for (const auto& [key, value] : decoder.items()) {
    const std::string place = member + "." + key;
    AddedToken token = file.token(place, value);
    const auto [end, fault] = std::from_chars(key.data(), key.data() + key.size(), token.id);
    if (fault != std::errc() || end != key.data() + key.size() || token.id < 0 ||
        token.id > kMaxTokenId) {
      file.fail(place, "a token id as key", Json(key));
    }
    if (token.content.empty()) file.fail(place, "a token that is not empty", value);
    add(tokens, std::move(token));
  }
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const auto& a, const auto& b) { return a.id < b.id; });
}

// "added_tokens_decoder", or else added_tokens.json, and the named special tokens.
std::vector<AddedToken> read_all_added_tokens(const std::filesystem::path& folder,
                                              const File& config, const File& special_map) {
  std::vector<AddedToken> tokens;
  const auto decoder = config.json.find("added_tokens_decoder");
  if (decoder != config.json.end() && !decoder->is_null()) {
    read_added_tokens_decoder(config, *decoder, tokens);
  } else {
    const File added(folder, "added_tokens.json");
    for (const auto& [content, id] : added.json.items()) {
      AddedToken token;
      token.content = content;
      token.id = added.id(content, id);
      if (content.empty()) added.fail(content, "a token that is not empty", id);
      tokens.push_back(std::move(token));
    }
    std::stable_sort(tokens.begin(), tokens.end(),
                     [](const auto& a, const auto& b) { return a.id < b.id; });
  }
  const auto add_special = [&](const File& file, const std::string& place, const Json& value) {
    AddedToken token = file.token(place, value);
    token.special = true;
    if (!token.content.empty()) add(tokens, std::move(token));
  };
  const auto find = [&](const char* name) -> std::pair<const File*, const Json*> {
    for (const File* file : {&config, &special_map}) {
      const auto it = file->json.find(name);
      if (it != file->json.end()) return {file, &*it};
    }
    return {nullptr, nullptr};
  };
  for (const char* name : kNamedTokens) {
    const auto [file, value] = find(name);
    if (file && !value->is_null()) add_special(*file, name, *value);
  }
  const std::string additional = "additional_special_tokens";
  const auto [file, value] = find(additional.c_str());
  if (file && !value->is_null()) {
    if (!value->is_array()) file->fail(additional, "a list of tokens", *value);
    for (const Json& token : *value) add_special(*file, additional, token);
  }
  return tokens;
}

}  // namespace

std::optional<std::string> read_named_token(const std::filesystem::path& folder,
                                            const std::string& name) {
  for (const char* file_name : {kConfigFile, "special_tokens_map.json"}) {
    const File file(folder, file_name);
    const auto it = file.json.find(name);
    if (it == file.json.end()) continue;
    return it->is_null() ? "" : file.token(name, *it).content;
  }
  return std::nullopt;
}

SentencePieceConfig read_sentencepiece_config(const std::filesystem::path& folder) {
  const File config(folder, kConfigFile);
  const File special_map(folder, "special_tokens_map.json");
  SentencePieceConfig out;
  out.legacy = config.boolean(config.json, "legacy", true);
  out.add_prefix_space = config.boolean(config.json, "add_prefix_space", true);
  out.added_tokens = read_all_added_tokens(folder, config, special_map);
  return out;
}

WordPieceConfig read_wordpiece_config(const std::filesystem::path& folder) {
  const File config(folder, kConfigFile);
  const File special_map(folder, "special_tokens_map.json");
  WordPieceConfig out;
  out.lowercase = config.boolean(config.json, "do_lower_case", true);
  out.handle_chinese_chars = config.boolean(config.json, "tokenize_chinese_chars", true);
  if (!config.boolean(config.json, "do_basic_tokenize", true)) {
    config.fail("do_basic_tokenize", "true", config.json["do_basic_tokenize"]);
  }
  const auto strip = config.json.find("strip_accents");
  if (strip != config.json.end() && !strip->is_null()) {
    out.strip_accents = config.boolean(config.json, "strip_accents", true);
  }
  out.unknown = read_named_token(folder, "unk_token").value_or(out.unknown);
  out.cls = read_named_token(folder, "cls_token").value_or(out.cls);
  out.sep = read_named_token(folder, "sep_token").value_or(out.sep);
  out.added_tokens = read_all_added_tokens(folder, config, special_map);
  for (const auto& [name, fallback] :
       {std::pair("unk_token", "[UNK]"), std::pair("sep_token", "[SEP]"),
        std::pair("pad_token", "[PAD]"), std::pair("cls_token", "[CLS]"),
        std::pair("mask_token", "[MASK]")}) {
    if (read_named_token(folder, name)) continue;
    AddedToken token;
    token.id = -1;
    token.content = fallback;
    token.special = true;
    add(out.added_tokens, std::move(token));
  }
  return out;
}

}  // namespace clara
