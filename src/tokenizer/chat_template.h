// The chat template of a model folder, and which known format it is.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace clara {

struct ChatTemplate {
  std::string source;
  std::string place;  ///< file and member, for messages
};

/// chat_template.jinja of a folder, else "chat_template" of its tokenizer_config.json. Throws
/// DataError for a folder without a template.
ChatTemplate read_chat_template(const std::filesystem::path& folder);

/// A template's source in one spelling: no comments, no white space and trim marks outside
/// literals, single quotes, joined literals, subscripts for the members of a message.
std::string one_spelling(std::string_view source);

/// The known format that a template in one spelling is, by its markers; empty if none.
std::string_view recognise_spelled_template(std::string_view source);

}  // namespace clara
