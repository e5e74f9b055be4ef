// From a format's text to segments with the tokens of a tokenizer, and rendering.
#include "clara/tokenizer/chat_format.h"

#include <utility>

#include "tokenizer/chat_template.h"
#include "tokenizer/format_description.h"
#include "tokenizer/format_text.h"
#include "tokenizer/unicode_text.h"

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

using Kind = ChatSegment::Kind;

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
    if (text_.assistant_after.find(kEosText) != std::string_view::npos) {
      control_.push_back({kEosText, prints_eos ? named("eos_token", tokenizer_.eos_id()) : ""});
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
    if (!id) throw DataError(what + "does not have" + how_to_name_a_chat_format());
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

ChatFormat described_format(const std::string& text, const std::string& place,
                            const Tokenizer& tokenizer) {
  const FormatDescription description(text, place);
  ChatFormat format = FormatMaker(description.format(), tokenizer)
                          .make(description.format().prints_bos, /*prints_eos=*/true);
  if (format.end_of_turn.empty()) {
    description.refuse("assistant_after",
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
  return std::string(recognise_spelled_template(one_spelling(source)));
}

ChatFormat make_chat_format(const std::string& name, const Tokenizer& tokenizer) {
  const FormatText& text = find_format_text(name);
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
  const ChatTemplate found = read_chat_template(folder);
  const std::string source = one_spelling(found.source);
  const std::string_view name = recognise_spelled_template(source);
  if (name.empty()) {
    throw DataError(found.place + ": expected a template of a known chat format, found another" +
                    how_to_name_a_chat_format());
  }
  try {
    ChatFormat format = FormatMaker(find_format_text(name), tokenizer)
                            .make(source.find("bos_token") != std::string::npos,
                                  source.find("eos_token") != std::string::npos);
    if (!find_format_text(name).always_trims) {
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
  for (const FormatText& format : known_format_texts()) names.emplace_back(format.name);
  return names;
}

}  // namespace clara
