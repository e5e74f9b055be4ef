// Chat formats that a user describes in JSON (interface.md "Chat formats").
#pragma once

#include <memory>
#include <string>

#include "tokenizer/format_text.h"

namespace clara {

class FormatDescription {
 public:
  /// `place` is the description's file, for messages. Throws ConfigError that names the member.
  FormatDescription(const std::string& text, const std::string& place);
  ~FormatDescription();

  /// Its texts live as long as this.
  const FormatText& format() const;
  /// The description again, in one line.
  std::string json() const;

  /// Throws ConfigError: a member should be `expected`, and is `found`.
  [[noreturn]] void refuse(const std::string& member, const std::string& expected,
                           const std::string& found) const;

 private:
  class Content;
  std::unique_ptr<const Content> content_;
};

}  // namespace clara
