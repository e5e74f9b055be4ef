// Chat formats as data (numerics §4): how a system, a user and an assistant turn become text and
// control tokens.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// A piece of a conversation. Only the template's own pieces may be control tokens.
struct ChatSegment {
  enum class Kind {
    kText,       ///< encoded with SpecialTokenText::kAsText
    kControl,    ///< one control token, by its content
    kDocuments,  ///< a place in user text where documents go; carries no content
  };
  Kind kind = Kind::kText;
  std::string content;

  bool operator==(const ChatSegment&) const = default;
};

/// Where a template strips white space from the content of a turn.
enum class TurnTrim { kNone, kRight, kBoth };

/// One chat format. Every member is a sequence of segments around the content of a turn.
/// Adjacent text segments are joined before encoding, so that tokens may merge across turns exactly
/// as in the text that the model's own template renders.
struct ChatFormat {
  std::string name;  ///< "chatml", "llama3", …
  /// What load_chat_format takes to make this format again: its name, or JSON that describes it.
  std::string description;
  bool system_role = true;  ///< false: system + "\n" + user becomes the user turn
  TurnTrim trim_system = TurnTrim::kNone;
  TurnTrim trim_user = TurnTrim::kNone;
  TurnTrim trim_answer = TurnTrim::kNone;
  std::vector<ChatSegment> conversation_start;  ///< before the first turn (BOS where it is printed)
  std::vector<ChatSegment> system_before, system_after;
  std::vector<ChatSegment> user_before, user_after;
  std::vector<ChatSegment> generation_prompt;  ///< what follows the user turn to ask for an answer
  /// What precedes a given answer; starts with the generation prompt.
  std::vector<ChatSegment> assistant_before;
  std::vector<ChatSegment> assistant_after;  ///< end of turn: carries loss
  std::string end_of_turn;  ///< the control token that ends the assistant's turn; may be empty
};

/// The conversation of one system turn, one user turn and, if there is one, the assistant's answer;
/// without an answer it ends with the generation prompt. Adjacent text is joined into one segment,
/// empty text is left out. `user` holds text and documents placeholders; a control token in it is
/// an Error, since only templates have those.
std::vector<ChatSegment> render_chat(const ChatFormat& format, std::string_view system,
                                     const std::vector<ChatSegment>& user,
                                     std::optional<std::string_view> answer = std::nullopt);

/// The same for a user turn that is only text.
std::vector<ChatSegment> render_chat(const ChatFormat& format, std::string_view system,
                                     std::string_view user,
                                     std::optional<std::string_view> answer = std::nullopt);

/// Ids of segments: text with SpecialTokenText::kAsText, control tokens by their id. `place` is
/// that of the first segment. White space in the text beside a control token is left out where the
/// token absorbs it (Tokenizer::absorbs). Throws DataError for a control token that the tokenizer
/// lacks, Error for a documents placeholder (the caller puts the documents' tokens there).
TokenIds encode_segments(const Tokenizer& tokenizer, const std::vector<ChatSegment>& segments,
                         TextPlace place = TextPlace::kStart);

/// The chat format of a Hugging Face folder: its template (file chat_template.jinja, else
/// tokenizer_config.json "chat_template") is recognised by probing its markers. `override_format`
/// ("" = none) picks a format instead: a known one by name, or one that is described in a .json
/// file or in JSON itself (interface.md "Chat formats"). Throws DataError for a folder without a
/// template, an unknown template (with what to do then) or a control token that the tokenizer
/// lacks; ConfigError for an override that is wrong.
ChatFormat load_chat_format(const std::filesystem::path& folder, const Tokenizer& tokenizer,
                            const std::string& override_format = "");

/// The format that a template's source is recognised as; empty if none. What the name stands for
/// depends on the tokenizer: see make_chat_format.
std::string recognise_chat_template(std::string_view source);

/// A known format by name, with the tokens of `tokenizer` (its BOS and EOS where the template
/// prints them). Throws ConfigError for an unknown name, DataError for a control token that is
/// missing.
ChatFormat make_chat_format(const std::string& name, const Tokenizer& tokenizer);

/// The names of the known formats.
std::vector<std::string> known_chat_formats();

}  // namespace clara
