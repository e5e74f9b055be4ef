// tokenizer.json member by member: what is missing, of a wrong type or not supported is named.
#include "tokenizer/tokenizer_json.h"

#include <algorithm>
#include <initializer_list>
#include <unordered_set>
#include <utility>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/unicode_text.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using Json = nlohmann::json;

// The deepest nesting of Sequence that is followed.
constexpr int kMaxNesting = 8;
constexpr TokenId kMaxTokenId = 1 << 28;

std::string brief(const Json& value) {
  if (value.is_object() && value.contains("type") && value["type"].is_string()) {
    return "the type \"" + value["type"].get<std::string>() + "\"";
  }
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  constexpr std::size_t kMaxShown = 60;
  return text.size() <= kMaxShown ? text : text.substr(0, kMaxShown) + "…";
}

// One member of the file and its place, for messages.
class Member {
 public:
  Member(const Json& value, const std::string& file, std::string path)
      : value_(&value), file_(&file), path_(std::move(path)) {}

  const Json& value() const { return *value_; }
  bool is_null() const { return value_->is_null(); }

  [[noreturn]] void fail(const std::string& message) const {
    throw DataError(*file_ + ": " + (path_.empty() ? "" : path_ + ": ") + message);
  }
  [[noreturn]] void expected(const std::string& what) const {
    fail("expected " + what + ", found " + brief(*value_));
  }

  Member at(const std::string& name) const {
    if (!value_->is_object()) expected("an object");
    auto it = value_->find(name);
    if (it == value_->end()) fail("the member " + name + " is missing");
    return {*it, *file_, path_.empty() ? name : path_ + "." + name};
  }
  // A member that may be missing or null.
  Member optional(const std::string& name) const {
    static const Json kNull;
    if (!value_->is_object()) expected("an object");
    auto it = value_->find(name);
    return {it == value_->end() ? kNull : *it, *file_, path_.empty() ? name : path_ + "." + name};
  }
  std::vector<Member> elements() const {
    if (!value_->is_array()) expected("a list");
    std::vector<Member> elements;
    elements.reserve(value_->size());
    for (std::size_t i = 0; i < value_->size(); ++i) {
      elements.emplace_back((*value_)[i], *file_, path_ + "[" + std::to_string(i) + "]");
    }
    return elements;
  }
  const std::string& string() const {
    if (!value_->is_string()) expected("a string");
    return value_->get_ref<const std::string&>();
  }
  bool boolean() const {
    if (!value_->is_boolean()) expected("true or false");
    return value_->get<bool>();
  }
  bool boolean_or(bool fallback) const { return is_null() ? fallback : boolean(); }
  std::string string_or_empty() const { return is_null() ? std::string() : string(); }
  TokenId token_id() const {
    if (!value_->is_number_unsigned() || value_->get<std::uint64_t>() > kMaxTokenId) {
      expected("a token id (0 to " + std::to_string(kMaxTokenId) + ")");
    }
    return value_->get<TokenId>();
  }
  std::string type() const { return at("type").string(); }

 private:
  const Json* value_;
  const std::string* file_;
  std::string path_;
};

Json parse_file(const std::filesystem::path& file) {
  const std::string content = read_file(file);
  try {
    return Json::parse(content);
  } catch (const Json::exception& error) {
    // The library's own prefix "[json.exception.…] " says nothing to a user.
    // Nor what was last read: it may be half a character.
    std::string what = error.what();
    what = what.substr(0, what.find("; last read"));
    const std::size_t prefix = what.find("] ");
    throw DataError(file.string() + ": not a JSON file, or one that is damaged or cut short: " +
                    (prefix == std::string::npos ? what : what.substr(prefix + 2)));
  }
}

void read_vocabulary(const Member& model, TokenizerFile& out) {
  const Member member = model.at("vocab");
  if (!member.value().is_object()) member.expected("an object from token to id");
  std::unordered_set<TokenId> ids;
  ids.reserve(member.value().size());
  out.vocabulary.reserve(member.value().size());
  for (const auto& [token, id] : member.value().items()) {
    const bool is_id = id.is_number_unsigned() && id.get<std::uint64_t>() <= kMaxTokenId;
    if (!is_id) member.fail("token \"" + token + "\": expected an id, found " + brief(id));
    if (!ids.insert(id.get<TokenId>()).second) {
      member.fail("token \"" + token + "\": another token has the id " + brief(id) + " too");
    }
    out.vocabulary.emplace(token, id.get<TokenId>());
  }
  if (out.vocabulary.empty()) member.fail("expected tokens, found none");
}

// "left right" or ["left", "right"].
std::pair<std::string, std::string> merge_parts(const Member& member) {
  if (member.value().is_array()) {
    const std::vector<Member> parts = member.elements();
    if (parts.size() != 2) member.expected("two tokens");
    return {parts[0].string(), parts[1].string()};
  }
  if (!member.value().is_string()) member.expected("two tokens, \"a b\" or [\"a\", \"b\"]");
  const std::string& line = member.string();
  const std::size_t blank = line.find(' ');
  if (blank == std::string::npos || line.find(' ', blank + 1) != std::string::npos) {
    member.expected("two tokens with one blank between them");
  }
  return {line.substr(0, blank), line.substr(blank + 1)};
}

void read_merges(const Member& model, TokenizerFile& out) {
  const Member member = model.at("merges");
  out.merges.reserve(member.elements().size());
  auto id_of = [&](const Member& merge, const std::string& token) {
    auto it = out.vocabulary.find(token);
    if (it == out.vocabulary.end()) merge.fail("\"" + token + "\" is not in the vocabulary");
    return it->second;
  };
  for (const Member& merge : member.elements()) {
    const auto [left, right] = merge_parts(merge);
    Merge ids{id_of(merge, left), id_of(merge, right), 0};
    // The right part continues a word: its prefix goes when the parts join.
    const std::size_t prefix = std::min(out.word_prefix.size(), right.size());
    ids.merged = id_of(merge, left + right.substr(prefix));
    out.merges.push_back(ids);
  }
}

void read_model(const Member& model, TokenizerFile& out) {
  const Member type = model.optional("type");
  if (!type.is_null() && type.string() != "BPE") {
    type.fail("expected BPE, found " + brief(type.value()) + "; byte-level BPE is supported");
  }
  const Member dropout = model.optional("dropout");
  if (!dropout.is_null() && dropout.value() != 0.0) {
    dropout.fail("expected null, found " + brief(dropout.value()) +
                 "; random merges are not supported");
  }
  const Member byte_fallback = model.optional("byte_fallback");
  if (byte_fallback.boolean_or(false)) {
    byte_fallback.fail(
        "expected false, found true; vocabularies that are not byte-level are not supported");
  }
  out.ignore_merges = model.optional("ignore_merges").boolean_or(false);
  out.word_prefix = model.optional("continuing_subword_prefix").string_or_empty();
  out.word_suffix = model.optional("end_of_word_suffix").string_or_empty();
  read_vocabulary(model, out);
  read_merges(model, out);
  out.unknown.fuse = model.optional("fuse_unk").boolean_or(false);
  const Member unknown = model.optional("unk_token");
  const bool has_all_bytes = [&] {
    for (int byte = 0; byte < 256; ++byte) {
      if (!out.vocabulary.contains(byte_character(static_cast<std::uint8_t>(byte)))) return false;
    }
    return true;
  }();
  if (unknown.is_null()) return;
  auto it = out.vocabulary.find(unknown.string());
  if (it != out.vocabulary.end()) {
    out.unknown.id = it->second;
  } else if (!has_all_bytes) {
    unknown.fail(brief(unknown.value()) + " is not in the vocabulary, which lacks some bytes");
  }
}

// Whether "normalizer" asks for NFC; Sequences may nest.
bool read_normalizer(const Member& member, int depth = 0) {
  if (member.is_null()) return false;
  const std::string type = member.type();
  if (type == "NFC") return true;
  if (type != "Sequence" || depth == kMaxNesting) {
    member.fail("expected null, NFC or a Sequence of them, found " + brief(member.value()));
  }
  bool normalize = false;
  for (const Member& part : member.at("normalizers").elements()) {
    normalize |= read_normalizer(part, depth + 1);
  }
  return normalize;
}

SplitPattern compile_pattern(const Member& place, std::string_view pattern) {
  try {
    return SplitPattern(pattern);
  } catch (const DataError& error) {
    place.fail(error.what());
  }
}

SplitBehavior read_behavior(const Member& member) {
  constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  for (const auto& [name, behavior] : kBehaviors) {
    if (member.string() == name) return behavior;
  }
  member.expected("Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

CutStep read_split(const Member& member) {
  CutStep step;
  step.behavior = read_behavior(member.at("behavior"));
  step.invert = member.optional("invert").boolean_or(false);
  const Member pattern = member.at("pattern");
  const Member regex = pattern.optional("Regex");
  if (!regex.is_null()) {
    step.kind = CutStep::Kind::kSplitPattern;
    step.pattern = compile_pattern(regex, regex.string());
    return step;
  }
  const Member literal = pattern.optional("String");
  if (literal.is_null()) pattern.expected("an object with Regex or String");
  step.kind = CutStep::Kind::kSplitString;
  step.literal = literal.string();
  if (step.literal.empty()) literal.expected("text to split at");
  return step;
}

void read_pre_tokenizer(const Member& member, std::vector<CutStep>& steps, int depth = 0) {
  constexpr const char* kSupported =
      "expected ByteLevel, Digits, Split or a Sequence of them, found ";
  if (member.is_null()) member.fail(std::string(kSupported) + "null");
  if (!steps.empty() && steps.back().kind == CutStep::Kind::kByteLevel) {
    member.fail("expected ByteLevel to be the last step, found " + brief(member.value()) +
                " after it");
  }
  const std::string type = member.type();
  if (type == "Sequence" && depth < kMaxNesting) {
    for (const Member& part : member.at("pretokenizers").elements()) {
      read_pre_tokenizer(part, steps, depth + 1);
    }
  } else if (type == "Digits") {
    CutStep step;
    step.kind = CutStep::Kind::kDigits;
    const bool one_by_one = member.optional("individual_digits").boolean_or(false);
    step.behavior = one_by_one ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
    steps.push_back(std::move(step));
  } else if (type == "Split") {
    steps.push_back(read_split(member));
  } else if (type == "ByteLevel") {
    CutStep step;
    step.kind = CutStep::Kind::kByteLevel;
    step.add_prefix_space = member.optional("add_prefix_space").boolean_or(true);
    if (member.optional("use_regex").boolean_or(true)) {
      step.pattern = compile_pattern(member, kByteLevelPattern);
    }
    steps.push_back(std::move(step));
  } else {
    member.fail(kSupported + brief(member.value()));
  }
}

// Decoding is by bytes whatever stands beside ByteLevel, as long as it changes nothing more.
void check_decoder(const Member& member, int depth = 0) {
  constexpr const char* kSupported = "expected ByteLevel, or a Sequence of it and Fuse, found ";
  if (member.is_null()) member.fail(std::string(kSupported) + "null");
  const std::string type = member.type();
  if (type == "Sequence" && depth < kMaxNesting) {
    const std::vector<Member> parts = member.at("decoders").elements();
    if (parts.empty()) member.fail(std::string(kSupported) + "an empty Sequence");
    check_decoder(parts.front(), depth + 1);
    for (std::size_t i = 1; i < parts.size(); ++i) {
      if (parts[i].type() != "Fuse") parts[i].fail(kSupported + brief(parts[i].value()));
    }
  } else if (type != "ByteLevel") {
    member.fail(kSupported + brief(member.value()));
  }
}

void read_added_tokens(const Member& root, TokenizerFile& out) {
  const Member member = root.optional("added_tokens");
  if (member.is_null()) return;
  std::unordered_set<std::string> contents;
  // Hugging Face numbers tokens outside the vocabulary itself, in order, after the vocabulary's
  // size and the tokens before; an id that says otherwise would mean another token there.
  TokenId next = static_cast<TokenId>(out.vocabulary.size());
  for (const Member& entry : member.elements()) {
    AddedToken token;
    token.id = entry.at("id").token_id();
    token.content = entry.at("content").string();
    token.special = entry.at("special").boolean();
    token.single_word = entry.at("single_word").boolean();
    token.lstrip = entry.at("lstrip").boolean();
    token.rstrip = entry.at("rstrip").boolean();
    token.normalized = entry.at("normalized").boolean();
    if (token.content.empty()) entry.at("content").expected("a token");
    if (!contents.insert(token.content).second) {
      entry.at("content").fail("\"" + token.content + "\" is there twice");
    }
    auto it = out.vocabulary.find(token.content);
    const TokenId id = it != out.vocabulary.end() ? it->second : next;
    if (token.id != id) {
      entry.at("id").fail("\"" + token.content + "\" has the id " + std::to_string(token.id) +
                          ", but its place in the vocabulary makes it " + std::to_string(id));
    }
    next = std::max(next, id + 1);
    out.added_tokens.push_back(std::move(token));
  }
}

}  // namespace

TokenizerFile read_tokenizer_json(const std::filesystem::path& file) {
  const std::string name = file.string();
  const Json json = parse_file(file);
  const Member root(json, name, "");
  TokenizerFile out;
  read_model(root.at("model"), out);
  read_added_tokens(root, out);
  out.normalize_nfc = read_normalizer(root.optional("normalizer"));
  const Member pre_tokenizer = root.optional("pre_tokenizer");
  read_pre_tokenizer(pre_tokenizer, out.cut_steps);
  if (out.cut_steps.empty() || out.cut_steps.back().kind != CutStep::Kind::kByteLevel) {
    pre_tokenizer.fail(
        "expected ByteLevel as the last step; vocabularies that are not byte-level "
        "are not supported");
  }
  check_decoder(root.optional("decoder"));
  return out;
}

std::string read_named_token(const std::filesystem::path& folder, const std::string& name) {
  for (const char* file_name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const std::filesystem::path file = folder / file_name;
    if (!std::filesystem::exists(file)) continue;
    const std::string place = file.string();
    const Json json = parse_file(file);
    const Member member = Member(json, place, "").optional(name);
    if (member.is_null()) {
      // tokenizer_config.json has the last word when it says that there is none.
      if (json.contains(name)) return "";
      continue;
    }
    if (member.value().is_object()) return member.at("content").string();
    if (!member.value().is_string()) member.expected("a token, as text or with content");
    return member.string();
  }
  return "";
}

}  // namespace clara
