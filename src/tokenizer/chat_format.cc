// The known chat formats as a table, formats that a user describes, how templates are recognised as
// a known one, and rendering.
#include "clara/tokenizer/chat_format.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/parse_json.h"
#include "tokenizer/unicode_text.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

using Kind = ChatSegment::Kind;

constexpr std::string_view kEos = "{eos}";
constexpr std::size_t kMaxControl = 8;

constexpr TurnTrim kBoth = TurnTrim::kBoth;

// A format as text. Words of `control` in it are control tokens, {eos} is the tokenizer's EOS.
struct FormatText {
  std::string_view name;
  bool system_role = true;
  TurnTrim trim_system = TurnTrim::kNone;
  TurnTrim trim_user = TurnTrim::kNone;
  TurnTrim trim_answer = TurnTrim::kNone;
  bool always_trims = false;  ///< whatever else the template at hand says
  bool prints_bos = false;    ///< unless the template at hand says otherwise
  std::string_view system_before = {}, system_after = {};
  std::string_view user_before = {}, user_after = {};
  std::string_view generation_prompt = {};
  std::string_view assistant_before = {}, assistant_after = {};
  std::array<std::string_view, kMaxControl> control = {};  ///< must be special tokens
  /// Control tokens of some tokenizers and plain text to others.
  std::array<std::string_view, 2> optional_control = {};
};

// What each template prints for the turns system, user, assistant (with enable_thinking=False, and
// the date that it falls back to where it knows no other). Default system prompts do not matter:
// the first turn is always a system turn, or there is no such role.
constexpr FormatText kFormats[] = {
    {.name = "chatml",
     .system_before = "<|im_start|>system\n",
     .system_after = "<|im_end|>\n",
     .user_before = "<|im_start|>user\n",
     .user_after = "<|im_end|>\n",
     .generation_prompt = "<|im_start|>assistant\n",
     .assistant_before = "<|im_start|>assistant\n",
     .assistant_after = "<|im_end|>\n",
     .control = {"<|im_start|>", "<|im_end|>"}},
    {.name = "qwen3",
     .system_before = "<|im_start|>system\n",
     .system_after = "<|im_end|>\n",
     .user_before = "<|im_start|>user\n",
     .user_after = "<|im_end|>\n",
     .generation_prompt = "<|im_start|>assistant\n<think>\n\n</think>\n\n",
     .assistant_before = "<|im_start|>assistant\n<think>\n\n</think>\n\n",
     .assistant_after = "<|im_end|>\n",
     .control = {"<|im_start|>", "<|im_end|>"},
     .optional_control = {"<think>", "</think>"}},
    {.name = "llama3",
     .trim_system = kBoth,
     .trim_user = kBoth,
     .trim_answer = kBoth,
     .prints_bos = true,
     .system_before = "<|start_header_id|>system<|end_header_id|>\n\n",
     .system_after = "<|eot_id|>",
     .user_before = "<|start_header_id|>user<|end_header_id|>\n\n",
     .user_after = "<|eot_id|>",
     .generation_prompt = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .assistant_before = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .assistant_after = "<|eot_id|>",
     .control = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
    {.name = "llama3_dated",
     .trim_system = kBoth,
     .trim_user = kBoth,
     .trim_answer = kBoth,
     .prints_bos = true,
     .system_before =
         "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
         "2023\nToday Date: 26 Jul 2024\n\n",
     .system_after = "<|eot_id|>",
     .user_before = "<|start_header_id|>user<|end_header_id|>\n\n",
     .user_after = "<|eot_id|>",
     .generation_prompt = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .assistant_before = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .assistant_after = "<|eot_id|>",
     .control = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
    {.name = "llama2",  // the template strips system and user turn together
     .trim_user = TurnTrim::kRight,
     .trim_answer = kBoth,
     .always_trims = true,
     .prints_bos = true,
     .system_before = "[INST] <<SYS>>\n",
     .system_after = "\n<</SYS>>\n\n",
     .user_after = " [/INST]",
     .assistant_before = " ",
     .assistant_after = " {eos}"},
    {.name = "mistral_inst",
     .system_role = false,
     .prints_bos = true,
     .user_before = "[INST] ",
     .user_after = " [/INST]",
     .assistant_before = " ",
     .assistant_after = "{eos}",
     .optional_control = {"[INST]", "[/INST]"}},
    {.name = "mistral_inst_close",  // the answer follows [/INST] without a blank
     .system_role = false,
     .prints_bos = true,
     .user_before = "[INST] ",
     .user_after = " [/INST]",
     .assistant_after = "{eos}",
     .optional_control = {"[INST]", "[/INST]"}},
    {.name = "mistral_inst_system",  // the system text opens the user turn
     .prints_bos = true,
     .system_before = " [INST] ",
     .system_after = "\n\n",
     .user_after = " [/INST]",
     .assistant_before = " ",
     .assistant_after = "{eos}",
     .optional_control = {"[INST]", "[/INST]"}},
    {.name = "phi3",
     .system_before = "<|system|>\n",
     .system_after = "<|end|>\n",
     .user_before = "<|user|>\n",
     .user_after = "<|end|>\n",
     .generation_prompt = "<|assistant|>\n",
     .assistant_before = "<|assistant|>\n",
     .assistant_after = "<|end|>\n{eos}",
     .control = {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"}},
    {.name = "phi4",
     .system_before = "<|im_start|>system<|im_sep|>",
     .system_after = "<|im_end|>",
     .user_before = "<|im_start|>user<|im_sep|>",
     .user_after = "<|im_end|>",
     .generation_prompt = "<|im_start|>assistant<|im_sep|>",
     .assistant_before = "<|im_start|>assistant<|im_sep|>",
     .assistant_after = "<|im_end|>",
     .control = {"<|im_start|>", "<|im_sep|>", "<|im_end|>"}},
    {.name = "phi4mini",
     .system_before = "<|system|>",
     .system_after = "<|end|>",
     .user_before = "<|user|>",
     .user_after = "<|end|>",
     .generation_prompt = "<|assistant|>",
     .assistant_before = "<|assistant|>",
     .assistant_after = "<|end|>{eos}",
     .control = {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"}},
    {.name = "gemma",
     .system_role = false,
     .trim_user = kBoth,
     .trim_answer = kBoth,
     .always_trims = true,
     .prints_bos = true,
     .user_before = "<start_of_turn>user\n",
     .user_after = "<end_of_turn>\n",
     .generation_prompt = "<start_of_turn>model\n",
     .assistant_before = "<start_of_turn>model\n",
     .assistant_after = "<end_of_turn>\n",
     .control = {"<start_of_turn>", "<end_of_turn>"}},
    {.name = "gemma3",  // the system text opens the user turn
     .trim_user = kBoth,
     .trim_answer = kBoth,
     .always_trims = true,
     .prints_bos = true,
     .system_before = "<start_of_turn>user\n",
     .system_after = "\n\n",
     .user_after = "<end_of_turn>\n",
     .generation_prompt = "<start_of_turn>model\n",
     .assistant_before = "<start_of_turn>model\n",
     .assistant_after = "<end_of_turn>\n",
     .control = {"<start_of_turn>", "<end_of_turn>"}},
};

std::string joined_names() {
  std::string names;
  for (const FormatText& format : kFormats) {
    names += (names.empty() ? "" : ", ") + std::string(format.name);
  }
  return names;
}

const FormatText& find_format(std::string_view name) {
  const auto* it = std::find_if(std::begin(kFormats), std::end(kFormats),
                                [&](const FormatText& format) { return format.name == name; });
  if (it == std::end(kFormats)) {
    throw ConfigError("model.chat_format: expected one of " + joined_names() +
                      ", or a .json file that describes a format, found \"" + std::string(name) +
                      "\"");
  }
  return *it;
}

// ---- templates
// ------------------------------------------------------------------------------------

// A template's source in one spelling: no comments, no white space and trim marks outside literals,
// single quotes, joined literals, subscripts for the members of a message.
std::string one_spelling(std::string_view source) {
  std::string text;
  bool in_code = false;
  char quote = '\0';
  for (std::size_t i = 0; i < source.size(); ++i) {
    const char c = source[i];
    const std::string_view two = source.substr(i, 2);
    if (quote != '\0') {
      if (c == '\n') {
        text += "\\n";
      } else {
        text += c == quote ? '\'' : c;
      }
      if (c == '\\' && i + 1 < source.size()) {
        text += source[++i];
      } else if (c == quote) {
        quote = '\0';
      }
    } else if (!in_code && two == "{#") {
      const std::size_t end = source.find("#}", i + 2);
      if (end == std::string_view::npos) break;
      i = end + 1;
    } else if (!in_code && (two == "{{" || two == "{%")) {
      in_code = true;
      text += two;
      ++i;
      if (i + 1 < source.size() && source[i + 1] == '-') ++i;
    } else if (in_code && (two == "}}" || two == "%}")) {
      in_code = false;
      if (text.ends_with('-')) text.pop_back();
      text += two;
      ++i;
    } else if (in_code && (c == '\'' || c == '"')) {
      quote = c;
      text += '\'';
    } else if (!is_white_space(static_cast<unsigned char>(c))) {
      text += in_code && c == '~' ? '+' : c;
    }
  }
  for (std::size_t at = text.find("'+'"); at != std::string::npos; at = text.find("'+'", at)) {
    text.erase(at, 3);  // one literal of two
  }
  for (const std::string_view member : {"role", "content"}) {
    const std::string attribute = "message." + std::string(member);
    const std::string subscript = "message['" + std::string(member) + "']";
    for (std::size_t at = text.find(attribute); at != std::string::npos;
         at = text.find(attribute, at + subscript.size())) {
      text.replace(at, attribute.size(), subscript);
    }
  }
  return text;
}

// Which format a template in one spelling is; empty if none.
std::string_view recognise(std::string_view source) {
  auto has = [&](std::string_view marker) { return source.find(marker) != std::string_view::npos; };
  if (has("<|start_header_id|>") && has("<|end_header_id|>") && has("<|eot_id|>")) {
    const bool is_dated = has("Today Date: ") || has("Cutting Knowledge Date: ");
    if (!is_dated) return "llama3";
    return has("Cutting Knowledge Date: December 2023\\n") && has("'26 Jul 2024'") ? "llama3_dated"
                                                                                   : "";
  }
  if (has("<|im_start|>") && has("<|im_end|>")) {
    if (has("<|im_sep|>")) return has("<|im_start|>assistant<|im_sep|>") ? "phi4" : "";
    // Templates that write a system turn of their own around the given one.
    if (has("## Metadata") || !has("<|im_start|>assistant\\n")) return "";
    const bool closes_thinking = has("enable_thinking") && has("<think>\\n\\n</think>\\n\\n");
    if (closes_thinking) return "qwen3";
    return has("<think>") ? "" : "chatml";
  }
  if (has("<start_of_turn>") && has("<end_of_turn>\\n") && has("<start_of_turn>model\\n")) {
    if (has("first_user_prefix")) {
      return has("first_user_prefix=messages[0]['content']+'\\n\\n'") &&
                     has("message['content']|trim")
                 ? "gemma3"
                 : "";
    }
    return has("+message['content']|trim+'<end_of_turn>\\n'") ? "gemma" : "";
  }
  if (has("<<SYS>>")) {
    const bool wraps_system = has("'<<SYS>>\\n'+system_message+'\\n<</SYS>>\\n\\n'");
    for (const std::string content : {"content.strip()", "content|trim"}) {
      if (wraps_system && has("bos_token+'[INST] '+" + content + "+' [/INST]'") &&
          has("' '+" + content + "+' '+eos_token")) {
        return "llama2";
      }
    }
    return "";
  }
  if (has("[INST] ") && has(" [/INST]") && has("eos_token")) {
    const bool has_blank = has("' '+message['content']+eos_token");
    if (has("'[INST] '+system_message+'\\n\\n'") || has("' [INST] '+system_message+'\\n\\n'")) {
      return has_blank && has("' [INST] '+system_message") ? "mistral_inst_system" : "";
    }
    if (has("system_message") || !has("'[INST] '+message['content']+' [/INST]'")) return "";
    if (has("eos_token+' '")) return "";
    if (has_blank) return "mistral_inst";
    return has("{{message['content']+eos_token}}") ? "mistral_inst_close" : "";
  }
  if (has("<|end|>")) {
    const bool names_roles = has("<|system|>") && has("<|user|>") && has("<|assistant|>");
    const bool joins_roles = has("'<|'+message['role']+'|>'") && has("<|assistant|>");
    if (names_roles && has("<|assistant|>\\n")) return "phi3";
    if (joins_roles && has("'<|'+message['role']+'|>\\n'")) return "";
    if ((names_roles || joins_roles) && has("{{'<|assistant|>'}}") && !has("\\n"))
      return "phi4mini";
  }
  return "";
}

nlohmann::json read_json(const std::filesystem::path& file) {
  try {
    return nlohmann::json::parse(read_file(file));
  } catch (const nlohmann::json::exception& error) {
    throw DataError(file.string() + ": not a JSON file: " + error.what());
  }
}

struct Template {
  std::string source;
  std::string place;
};

std::string how_to_name_one() {
  return "; set model.chat_format to one of " + joined_names() +
         ", or to a .json file that describes the format (interface.md, \"Chat formats\")";
}

Template read_template(const std::filesystem::path& folder) {
  const std::filesystem::path jinja = folder / "chat_template.jinja";
  if (std::filesystem::exists(jinja)) return {read_file(jinja), jinja.string()};
  const std::filesystem::path config = folder / "tokenizer_config.json";
  if (!std::filesystem::exists(config)) {
    throw DataError(folder.string() +
                    ": expected a chat template in chat_template.jinja or tokenizer_config.json, "
                    "found neither file" +
                    how_to_name_one());
  }
  const nlohmann::json json = read_json(config);
  const std::string place = config.string() + ": chat_template";
  if (json.is_object() && json.contains("chat_template")) {
    const nlohmann::json& member = json["chat_template"];
    if (member.is_string()) return {member.get<std::string>(), place};
    if (member.is_array()) {
      for (const nlohmann::json& entry : member) {
        const bool is_default =
            entry.is_object() && entry.value("name", nlohmann::json()) == "default";
        if (is_default && entry.contains("template") && entry["template"].is_string()) {
          return {entry["template"].get<std::string>(), place};
        }
      }
      throw DataError(place + ": expected a template named \"default\", found none" +
                      how_to_name_one());
    }
    if (!member.is_null()) {
      throw DataError(place + ": expected a template or a list of named templates" +
                      how_to_name_one());
    }
  }
  throw DataError(config.string() + ": the member chat_template is missing, and so is " +
                  jinja.string() + how_to_name_one());
}

// ---- from text to segments
// ------------------------------------------------------------------------

void append(std::vector<ChatSegment>& segments, const ChatSegment& segment) {
  if (segment.kind == Kind::kText) {
    if (segment.content.empty()) return;
    if (!segments.empty() && segments.back().kind == Kind::kText) {
      segments.back().content += segment.content;
      return;
    }
  }
  segments.push_back(segment);
}

void append(std::vector<ChatSegment>& segments, const std::vector<ChatSegment>& more) {
  for (const ChatSegment& segment : more) append(segments, segment);
}

// Puts the tokens of one tokenizer into the text of a format.
class FormatMaker {
 public:
  FormatMaker(const FormatText& text, const Tokenizer& tokenizer)
      : text_(text), tokenizer_(tokenizer) {
    for (std::string_view token : text.control) {
      if (token.empty()) continue;
      require(token);
      control_.push_back({token, std::string(token)});
    }
    for (std::string_view token : text.optional_control) {
      if (!token.empty() && tokenizer.token_to_id(token)) {
        control_.push_back({token, std::string(token)});
      }
    }
  }

  ChatFormat make(bool prints_bos, bool prints_eos) {
    if (text_.assistant_after.find(kEos) != std::string_view::npos) {
      control_.push_back({kEos, prints_eos ? named("eos_token", tokenizer_.eos_id()) : ""});
    }
    ChatFormat format;
    format.name = format.description = text_.name;
    format.system_role = text_.system_role;
    format.trim_system = text_.trim_system;
    format.trim_user = text_.trim_user;
    format.trim_answer = text_.trim_answer;
    if (prints_bos) {
      format.conversation_start = {{Kind::kControl, named("bos_token", tokenizer_.bos_id())}};
    }
    format.system_before = segments(text_.system_before);
    format.system_after = segments(text_.system_after);
    format.user_before = segments(text_.user_before);
    format.user_after = segments(text_.user_after);
    format.generation_prompt = segments(text_.generation_prompt);
    format.assistant_before = segments(text_.assistant_before);
    format.assistant_after = segments(text_.assistant_after);
    for (const ChatSegment& segment : format.assistant_after) {
      if (segment.kind == Kind::kControl) {
        format.end_of_turn = segment.content;
        break;
      }
    }
    return format;
  }

 private:
  void require(std::string_view token) const {
    const auto id = tokenizer_.token_to_id(token);
    const std::string what = "the chat format " + std::string(text_.name) +
                             " needs the control token \"" + std::string(token) +
                             "\", which the tokenizer ";
    if (!id) throw DataError(what + "does not have" + how_to_name_one());
    if (!tokenizer_.is_special(*id)) {
      throw DataError(what +
                      "has, but not as a special one: text of users could spell it "
                      "(mark it \"special\" in tokenizer.json)");
    }
  }

  std::string named(const std::string& name, std::optional<TokenId> id) const {
    if (id) return tokenizer_.id_to_token(*id);
    throw DataError("the chat format " + std::string(text_.name) + " prints " + name +
                    ", which tokenizer_config.json does not name");
  }

  std::vector<ChatSegment> segments(std::string_view text) const {
    std::vector<ChatSegment> found;
    while (!text.empty()) {
      std::size_t at = text.size();
      const std::pair<std::string_view, std::string>* first = nullptr;
      for (const auto& control : control_) {
        const std::size_t place = text.find(control.first);
        if (place < at) {
          at = place;
          first = &control;
        }
      }
      append(found, {Kind::kText, std::string(text.substr(0, at))});
      if (!first) break;
      if (!first->second.empty()) found.push_back({Kind::kControl, first->second});
      text.remove_prefix(at + first->first.size());
    }
    return found;
  }

  const FormatText& text_;
  const Tokenizer& tokenizer_;
  std::vector<std::pair<std::string_view, std::string>> control_;  // spelling in the table, token
};

std::string_view trimmed(TurnTrim trim, std::string_view text) {
  if (trim == TurnTrim::kNone) return text;
  const std::string_view kept = strip_whitespace(text);
  if (trim == TurnTrim::kBoth) return kept;
  if (kept.empty()) return {};
  return text.substr(0, static_cast<std::size_t>(kept.data() - text.data()) + kept.size());
}

// White space at the ends of a turn goes; a documents placeholder is none.
void trim_turn(TurnTrim trim, std::vector<ChatSegment>& turn) {
  if (turn.empty() || trim == TurnTrim::kNone) return;
  auto is_text = [](const ChatSegment& segment) { return segment.kind == Kind::kText; };
  if (trim == TurnTrim::kBoth && is_text(turn.front())) {
    std::string& text = turn.front().content;
    const std::string_view kept = strip_whitespace(text);
    text.erase(0, kept.empty() ? text.size() : static_cast<std::size_t>(kept.data() - text.data()));
  }
  if (is_text(turn.back())) {
    std::string& text = turn.back().content;
    text.resize(trimmed(TurnTrim::kRight, text).size());
  }
}

// ---- formats that a user describes
// ---------------------------------------------------------------

// One description in JSON; `place` is its file, for messages.
class Description {
 public:
  Description(const std::string& text, std::string place)
      : place_(std::move(place)), json_(parse_json<nlohmann::json>(text)) {
    if (json_.is_discarded()) throw ConfigError(place_ + ": not a JSON file");
    if (!json_.is_object()) fail("", "an object", json_);
    read();
  }

  const FormatText& format() const { return format_; }
  std::string json() const { return json_.dump(); }

  [[noreturn]] void fail(const std::string& member, const std::string& expected,
                         const nlohmann::json& found) const {
    throw ConfigError(place_ + ": " + (member.empty() ? "" : member + ": ") + "expected " +
                      expected + ", found " +
                      found.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
  }

 private:
  void read() {
    for (const auto& [member, value] : json_.items()) read_member(member, value);
    if (format_.name.empty()) fail("name", "a name", json_.value("name", nlohmann::json()));
    if (!format_.assistant_before.starts_with(format_.generation_prompt)) {
      fail("assistant_before", "text that starts with generation_prompt",
           std::string(format_.assistant_before));
    }
  }

  void read_member(const std::string& member, const nlohmann::json& value) {
    const std::pair<const char*, std::string_view*> texts[] = {
        {"name", &format_.name},
        {"system_before", &format_.system_before},
        {"system_after", &format_.system_after},
        {"user_before", &format_.user_before},
        {"user_after", &format_.user_after},
        {"generation_prompt", &format_.generation_prompt},
        {"assistant_before", &format_.assistant_before},
        {"assistant_after", &format_.assistant_after}};
    const std::pair<const char*, TurnTrim*> trims[] = {{"trim_system", &format_.trim_system},
                                                       {"trim_user", &format_.trim_user},
                                                       {"trim_answer", &format_.trim_answer}};
    for (const auto& [name, target] : texts) {
      if (member != name) continue;
      if (!value.is_string()) fail(member, "text", value);
      *target = value.get_ref<const std::string&>();
      return;
    }
    for (const auto& [name, target] : trims) {
      if (member != name) continue;
      if (value != "none" && value != "right" && value != "both") {
        fail(member, "none, right or both", value);
      }
      *target = value == "both"    ? TurnTrim::kBoth
                : value == "right" ? TurnTrim::kRight
                                   : TurnTrim::kNone;
      return;
    }
    if (member == "system_role" || member == "prints_bos") {
      if (!value.is_boolean()) fail(member, "true or false", value);
      (member == "system_role" ? format_.system_role : format_.prints_bos) = value.get<bool>();
    } else if (member == "control_tokens") {
      const std::string expected = "a list of at most " + std::to_string(kMaxControl) + " tokens";
      if (!value.is_array() || value.size() > kMaxControl) fail(member, expected, value);
      for (std::size_t i = 0; i < value.size(); ++i) {
        if (!value[i].is_string() || value[i] == "") fail(member, expected, value);
        format_.control[i] = value[i].get_ref<const std::string&>();
      }
    } else {
      fail(member,
           "no such member (but name, system_role, prints_bos, control_tokens, trim_system, "
           "trim_user, trim_answer, system_before, system_after, user_before, user_after, "
           "generation_prompt, assistant_before, assistant_after)",
           value);
    }
  }

  std::string place_;
  nlohmann::json json_;  // format_ points into it
  FormatText format_;
};

ChatFormat described_format(const std::string& text, const std::string& place,
                            const Tokenizer& tokenizer) {
  const Description description(text, place);
  ChatFormat format = FormatMaker(description.format(), tokenizer)
                          .make(description.format().prints_bos, /*prints_eos=*/true);
  if (format.end_of_turn.empty()) {
    description.fail("assistant_after",
                     "a control token that ends the answer (one of control_tokens, or {eos})",
                     std::string(description.format().assistant_after));
  }
  format.description = description.json();
  return format;
}

}  // namespace

std::vector<ChatSegment> render_chat(const ChatFormat& format, std::string_view system,
                                     const std::vector<ChatSegment>& user,
                                     std::optional<std::string_view> answer) {
  std::vector<ChatSegment> turn;
  if (!format.system_role) append(turn, {Kind::kText, std::string(system) + "\n"});
  for (const ChatSegment& segment : user) {
    if (segment.kind == Kind::kControl) {
      throw Error("a user turn holds the control token \"" + segment.content +
                  "\": only text and documents may stand there");
    }
    append(turn, segment);
  }
  trim_turn(format.trim_user, turn);

  std::vector<ChatSegment> chat;
  append(chat, format.conversation_start);
  if (format.system_role) {
    append(chat, format.system_before);
    append(chat, {Kind::kText, std::string(trimmed(format.trim_system, system))});
    append(chat, format.system_after);
  }
  append(chat, format.user_before);
  append(chat, turn);
  append(chat, format.user_after);
  if (!answer) {
    append(chat, format.generation_prompt);
    return chat;
  }
  append(chat, format.assistant_before);
  append(chat, {Kind::kText, std::string(trimmed(format.trim_answer, *answer))});
  append(chat, format.assistant_after);
  return chat;
}

std::vector<ChatSegment> render_chat(const ChatFormat& format, std::string_view system,
                                     std::string_view user,
                                     std::optional<std::string_view> answer) {
  const std::vector<ChatSegment> turn{{Kind::kText, std::string(user)}};
  return render_chat(format, system, turn, answer);
}

TokenIds encode_segments(const Tokenizer& tokenizer, const std::vector<ChatSegment>& segments,
                         TextPlace place) {
  auto control_id = [&](const ChatSegment& segment) {
    const auto id = tokenizer.token_to_id(segment.content);
    if (!id) {
      throw DataError("the tokenizer has no control token \"" + segment.content +
                      "\"; set model.chat_format to the model's own format");
    }
    return *id;
  };
  TokenIds ids;
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const ChatSegment& segment = segments[i];
    if (segment.kind == Kind::kDocuments) {
      throw Error(
          "a documents placeholder has no tokens of its own: expected text and control tokens");
    }
    if (segment.kind == Kind::kControl) {
      ids.push_back(control_id(segment));
      continue;
    }
    std::string_view text = segment.content;
    if (i > 0 && segments[i - 1].kind == Kind::kControl &&
        tokenizer.absorbs(control_id(segments[i - 1])).after) {
      while (!text.empty() && is_white_space(first_scalar(text).value)) {
        text.remove_prefix(first_scalar(text).size);
      }
    }
    if (i + 1 < segments.size() && segments[i + 1].kind == Kind::kControl &&
        tokenizer.absorbs(control_id(segments[i + 1])).before) {
      while (!text.empty() && is_white_space(last_scalar(text).value)) {
        text.remove_suffix(last_scalar(text).size);
      }
    }
    const TokenIds more =
        tokenizer.encode(text, SpecialTokenText::kAsText, i == 0 ? place : TextPlace::kAfterTokens);
    ids.insert(ids.end(), more.begin(), more.end());
  }
  return ids;
}

std::string recognise_chat_template(std::string_view source) {
  return std::string(recognise(one_spelling(source)));
}

ChatFormat make_chat_format(const std::string& name, const Tokenizer& tokenizer) {
  const FormatText& text = find_format(name);
  return FormatMaker(text, tokenizer).make(text.prints_bos, true);
}

ChatFormat load_chat_format(const std::filesystem::path& folder, const Tokenizer& tokenizer,
                            const std::string& override_format) {
  if (override_format.starts_with('{')) {
    return described_format(override_format, "model.chat_format", tokenizer);
  }
  if (override_format.ends_with(".json")) {
    if (!std::filesystem::exists(override_format)) {
      throw ConfigError("model.chat_format: " + override_format + ": there is no such file");
    }
    return described_format(read_file(override_format), override_format, tokenizer);
  }
  if (!override_format.empty()) return make_chat_format(override_format, tokenizer);
  const Template found = read_template(folder);
  const std::string source = one_spelling(found.source);
  const std::string_view name = recognise(source);
  if (name.empty()) {
    throw DataError(found.place + ": expected a template of a known chat format, found another" +
                    how_to_name_one());
  }
  try {
    ChatFormat format = FormatMaker(find_format(name), tokenizer)
                            .make(source.find("bos_token") != std::string::npos,
                                  source.find("eos_token") != std::string::npos);
    if (!find_format(name).always_trims) {
      const bool trims = source.find("['content']|trim") != std::string::npos;
      format.trim_system = format.trim_user = format.trim_answer =
          trims ? TurnTrim::kBoth : TurnTrim::kNone;
    }
    return format;
  } catch (const DataError& error) {
    throw DataError(found.place + ": " + error.what());
  }
}

std::vector<std::string> known_chat_formats() {
  std::vector<std::string> names;
  for (const FormatText& format : kFormats) names.emplace_back(format.name);
  return names;
}

}  // namespace clara
