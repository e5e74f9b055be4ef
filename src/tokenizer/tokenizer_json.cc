// tokenizer.json member by member: what is missing, of a wrong type or not supported is named.
#include "tokenizer/tokenizer_json.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
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

std::size_t read_count(const Member& member) {
  constexpr std::uint64_t kMost = 1 << 20;
  if (!member.value().is_number_unsigned() || member.value().get<std::uint64_t>() > kMost) {
    member.expected("a number of characters");
  }
  return member.value().get<std::size_t>();
}

void read_word_piece_model(const Member& model, TokenizerFile& out) {
  out.model = TokenModel::kWordPiece;
  out.word_prefix = model.at("continuing_subword_prefix").string();
  out.max_word_characters = read_count(model.at("max_input_chars_per_word"));
  read_vocabulary(model, out);
  const Member unknown = model.at("unk_token");
  const auto it = out.vocabulary.find(unknown.string());
  if (it == out.vocabulary.end()) {
    unknown.fail("\"" + unknown.string() + "\" is not in the vocabulary");
  }
  out.unknown.id = it->second;
}

void read_model(const Member& model, TokenizerFile& out) {
  const Member type = model.optional("type");
  if (!type.is_null() && type.string() == "WordPiece") {
    read_word_piece_model(model, out);
    return;
  }
  if (!type.is_null() && type.string() != "BPE") {
    type.fail("expected BPE or WordPiece, found " + brief(type.value()) +
              ", which is not supported");
  }
  const Member dropout = model.optional("dropout");
  if (!dropout.is_null() && dropout.value() != 0.0) {
    dropout.fail("expected null, found " + brief(dropout.value()) +
                 "; random merges are not supported");
  }
  out.byte_fallback = model.optional("byte_fallback").boolean_or(false);
  out.ignore_merges = model.optional("ignore_merges").boolean_or(false);
  out.word_prefix = model.optional("continuing_subword_prefix").string_or_empty();
  out.word_suffix = model.optional("end_of_word_suffix").string_or_empty();
  read_vocabulary(model, out);
  read_merges(model, out);
  out.unknown.fuse = model.optional("fuse_unk").boolean_or(false);
}

// What the model says about symbols that the vocabulary lacks.
void check_symbols(const Member& model, TokenizerFile& out) {
  const bool has_all_bytes = [&] {
    for (int i = 0; i < 256; ++i) {
      const auto byte = static_cast<std::uint8_t>(i);
      const bool found = out.is_byte_level ? out.vocabulary.contains(byte_character(byte))
                                           : out.vocabulary.contains(byte_token(byte));
      if (!found) return false;
    }
    return out.is_byte_level || out.byte_fallback;
  }();
  if (out.is_byte_level && out.byte_fallback && !has_all_bytes) {
    model.at("byte_fallback")
        .fail("expected false for a byte-level vocabulary that lacks some bytes, found true");
  }
  if (!out.is_byte_level) {
    for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      const Member affix = model.optional(name);
      if (!affix.string_or_empty().empty()) {
        affix.fail("expected null, found " + brief(affix.value()) +
                   "; it is supported in byte-level vocabularies only");
      }
    }
  }
  const Member unknown = model.optional("unk_token");
  if (unknown.is_null()) return;
  auto it = out.vocabulary.find(unknown.string());
  if (it != out.vocabulary.end()) {
    out.unknown.id = it->second;
  } else if (!has_all_bytes) {
    unknown.fail(brief(unknown.value()) + " is not in the vocabulary, which lacks some " +
                 (out.is_byte_level ? "bytes" : "characters"));
  }
}

SplitPattern compile_pattern(const Member& place, std::string_view pattern) {
  try {
    return SplitPattern(pattern);
  } catch (const DataError& error) {
    place.fail(error.what());
  }
}

// What a pattern of a file replaces or splits at.
struct Pattern {
  std::optional<SplitPattern> regex;
  std::string literal;  // not empty where there is no regex
};

Pattern read_pattern(const Member& member) {
  const Member regex = member.optional("Regex");
  if (!regex.is_null()) return {compile_pattern(regex, regex.string()), ""};
  const Member literal = member.optional("String");
  if (literal.is_null()) member.expected("an object with Regex or String");
  if (literal.string().empty()) literal.expected("text to look for");
  return {std::nullopt, literal.string()};
}

// The steps of "normalizer"; Sequences may nest.
void read_normalizer(const Member& member, std::vector<NormalizeStep>& steps, int depth = 0) {
  if (member.is_null()) return;
  const std::string type = member.type();
  if (type == "Sequence" && depth < kMaxNesting) {
    for (const Member& part : member.at("normalizers").elements()) {
      read_normalizer(part, steps, depth + 1);
    }
    return;
  }
  NormalizeStep step;
  if (type == "NFC") {
    step.kind = NormalizeStep::Kind::kNfc;
  } else if (type == "Prepend") {
    step.kind = NormalizeStep::Kind::kPrepend;
    step.content = member.at("prepend").string();
  } else if (type == "Replace") {
    Pattern pattern = read_pattern(member.at("pattern"));
    step.kind =
        pattern.regex ? NormalizeStep::Kind::kReplacePattern : NormalizeStep::Kind::kReplaceString;
    step.pattern = std::move(pattern.regex);
    step.literal = std::move(pattern.literal);
    step.content = member.at("content").string();
  } else if (type == "BertNormalizer") {
    step.kind = NormalizeStep::Kind::kBert;
    step.clean_text = member.at("clean_text").boolean();
    step.handle_chinese_chars = member.at("handle_chinese_chars").boolean();
    step.lowercase = member.at("lowercase").boolean();
    step.strip_accents = member.optional("strip_accents").boolean_or(step.lowercase);
  } else {
    member.fail(
        "expected null, NFC, Prepend, Replace, BertNormalizer or a Sequence of them, found " +
        brief(member.value()));
  }
  steps.push_back(std::move(step));
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
  Pattern pattern = read_pattern(member.at("pattern"));
  step.kind = pattern.regex ? CutStep::Kind::kSplitPattern : CutStep::Kind::kSplitString;
  step.pattern = std::move(pattern.regex);
  step.literal = std::move(pattern.literal);
  return step;
}

// One character, the blank mark of a Metaspace.
std::string read_replacement(const Member& member) {
  const std::string& text = member.string();
  if (text.empty() || first_scalar(text).size != text.size()) member.expected("one character");
  return text;
}

PrependScheme read_prepend_scheme(const Member& member) {
  const Member scheme = member.optional("prepend_scheme");
  const std::string name = scheme.is_null() ? "always" : scheme.string();
  if (name != "always" && name != "first" && name != "never") {
    scheme.expected("always, first or never");
  }
  // What files of older versions say instead.
  const Member old = member.optional("add_prefix_space");
  const bool prepends = old.boolean_or(true);
  if (!prepends && !scheme.is_null() && name != "never") {
    old.fail("expected true, since prepend_scheme is " + name + ", found false");
  }
  if (!prepends || name == "never") return PrependScheme::kNever;
  return name == "first" ? PrependScheme::kFirst : PrependScheme::kAlways;
}

void read_pre_tokenizer(const Member& member, std::vector<CutStep>& steps, int depth = 0) {
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
  } else if (type == "Metaspace") {
    CutStep step;
    step.kind = CutStep::Kind::kMetaspace;
    step.behavior = SplitBehavior::kMergedWithNext;
    step.literal = read_replacement(member.at("replacement"));
    step.prepend = read_prepend_scheme(member);
    step.split = member.optional("split").boolean_or(true);
    steps.push_back(std::move(step));
  } else if (type == "ByteLevel") {
    CutStep step;
    step.kind = CutStep::Kind::kByteLevel;
    step.add_prefix_space = member.optional("add_prefix_space").boolean_or(true);
    if (member.optional("use_regex").boolean_or(true)) {
      step.pattern = compile_pattern(member, kByteLevelPattern);
    }
    steps.push_back(std::move(step));
  } else if (type == "BertPreTokenizer") {
    CutStep step;
    step.kind = CutStep::Kind::kBert;
    steps.push_back(std::move(step));
  } else {
    member.fail(
        "expected ByteLevel, Metaspace, Digits, Split, BertPreTokenizer or a Sequence of them, "
        "found " +
        brief(member.value()));
  }
}

void read_decoder(const Member& member, std::vector<DecodeStep>& steps, int depth = 0) {
  constexpr const char* kSupported =
      "expected ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, WordPiece or a Sequence "
      "of them, found ";
  if (member.is_null()) member.fail(std::string(kSupported) + "null");
  const std::string type = member.type();
  if (type == "Sequence" && depth < kMaxNesting) {
    const std::vector<Member> parts = member.at("decoders").elements();
    if (parts.empty()) member.fail(std::string(kSupported) + "an empty Sequence");
    for (const Member& part : parts) read_decoder(part, steps, depth + 1);
    return;
  }
  DecodeStep step;
  if (type == "ByteLevel") {
    step.kind = DecodeStep::Kind::kByteLevel;
  } else if (type == "Replace") {
    Pattern pattern = read_pattern(member.at("pattern"));
    step.kind =
        pattern.regex ? DecodeStep::Kind::kReplacePattern : DecodeStep::Kind::kReplaceString;
    step.pattern = std::move(pattern.regex);
    step.literal = std::move(pattern.literal);
    step.content = member.at("content").string();
  } else if (type == "ByteFallback") {
    step.kind = DecodeStep::Kind::kByteFallback;
  } else if (type == "Fuse") {
    step.kind = DecodeStep::Kind::kFuse;
  } else if (type == "Strip") {
    step.kind = DecodeStep::Kind::kStrip;
    step.content = read_replacement(member.at("content"));
    step.num_left = read_count(member.at("start"));
    step.num_right = read_count(member.at("stop"));
  } else if (type == "Metaspace") {
    step.kind = DecodeStep::Kind::kMetaspace;
    step.literal = read_replacement(member.at("replacement"));
    step.drop_first = read_prepend_scheme(member) != PrependScheme::kNever;
  } else if (type == "WordPiece") {
    step.kind = DecodeStep::Kind::kWordPiece;
    step.content = member.at("prefix").string();
    step.cleanup = member.optional("cleanup").boolean_or(true);
  } else {
    member.fail(kSupported + brief(member.value()));
  }
  steps.push_back(std::move(step));
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

using SequencePiece = SequenceTemplate::Piece;

std::int32_t read_type_id(const Member& member) {
  constexpr std::uint64_t kMost = 1 << 20;
  if (!member.value().is_number_unsigned() || member.value().get<std::uint64_t>() > kMost) {
    member.expected("a type id");
  }
  return member.value().get<std::int32_t>();
}

// "single" or "pair" of a TemplateProcessing.
std::vector<SequencePiece> read_template(const Member& list, const Member& special_tokens) {
  std::vector<SequencePiece> pieces;
  for (const Member& element : list.elements()) {
    const Member text = element.optional("Sequence");
    const Member special = element.optional("SpecialToken");
    if (!text.is_null()) {
      const std::string& id = text.at("id").string();
      if (id != "A" && id != "B") text.at("id").expected("A or B");
      pieces.push_back({id == "A" ? SequencePiece::Kind::kFirst : SequencePiece::Kind::kSecond, 0,
                        read_type_id(text.at("type_id"))});
    } else if (!special.is_null()) {
      const Member ids = special_tokens.at(special.at("id").string()).at("ids");
      for (const Member& id : ids.elements()) {
        pieces.push_back(
            {SequencePiece::Kind::kToken, id.token_id(), read_type_id(special.at("type_id"))});
      }
    } else {
      element.expected("an object with Sequence or SpecialToken");
    }
  }
  return pieces;
}

// ["[SEP]", 102]
TokenId read_named_id(const Member& member) {
  const std::vector<Member> parts = member.elements();
  if (parts.size() != 2) member.expected("a token and its id");
  return parts[1].token_id();
}

SequenceTemplate read_post_processor(const Member& member) {
  constexpr const char* kSupported = "expected TemplateProcessing or BertProcessing, found ";
  if (member.is_null()) member.fail(std::string(kSupported) + "null");
  const std::string type = member.type();
  if (type == "BertProcessing") {
    return bert_sequence_template(read_named_id(member.at("cls")), read_named_id(member.at("sep")));
  }
  if (type != "TemplateProcessing") member.fail(kSupported + brief(member.value()));
  const Member special_tokens = member.at("special_tokens");
  try {
    return {read_template(member.at("single"), special_tokens),
            read_template(member.at("pair"), special_tokens)};
  } catch (const ConfigError& error) {
    member.fail(error.what());
  }
}

}  // namespace

TokenizerFile read_tokenizer_json(const std::filesystem::path& file) {
  const std::string name = file.string();
  const Json json = parse_file(file);
  const Member root(json, name, "");
  TokenizerFile out;
  read_model(root.at("model"), out);
  read_normalizer(root.optional("normalizer"), out.normalize_steps);
  const Member pre_tokenizer = root.optional("pre_tokenizer");
  if (!pre_tokenizer.is_null()) read_pre_tokenizer(pre_tokenizer, out.cut_steps);
  out.is_byte_level =
      !out.cut_steps.empty() && out.cut_steps.back().kind == CutStep::Kind::kByteLevel;
  if (out.model == TokenModel::kBpe) {
    check_symbols(root.at("model"), out);
  } else {
    out.sequence = read_post_processor(root.optional("post_processor"));
  }
  read_added_tokens(root, out);
  read_decoder(root.optional("decoder"), out.decode_steps);
  return out;
}

}  // namespace clara
