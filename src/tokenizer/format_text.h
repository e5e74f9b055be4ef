// Chat formats as text, before the tokens of a tokenizer are put in; the known ones.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "clara/tokenizer/chat_format.h"

namespace clara {

/// In a FormatText: the tokenizer's EOS.
inline constexpr std::string_view kEosText = "{eos}";
inline constexpr std::size_t kMaxControlTokens = 8;

/// Words of `control` in it are control tokens, kEosText is the tokenizer's EOS.
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
  std::array<std::string_view, kMaxControlTokens> control = {};  ///< must be special tokens
  /// Control tokens of some tokenizers and plain text to others.
  std::array<std::string_view, 2> optional_control = {};
};

std::span<const FormatText> known_format_texts();

/// Throws ConfigError for a name that is not known.
const FormatText& find_format_text(std::string_view name);

/// For messages about a template: what to set instead.
std::string how_to_name_a_chat_format();

}  // namespace clara
