// Member by member; whatever is not known is an error.
#include "tokenizer/format_description.h"

#include <utility>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/error.h"

namespace clara {

class FormatDescription::Content {
 public:
  Content(const std::string& text, std::string place)
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
      const std::string expected =
          "a list of at most " + std::to_string(kMaxControlTokens) + " tokens";
      if (!value.is_array() || value.size() > kMaxControlTokens) fail(member, expected, value);
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

FormatDescription::FormatDescription(const std::string& text, const std::string& place)
    : content_(std::make_unique<const Content>(text, place)) {}

FormatDescription::~FormatDescription() = default;

const FormatText& FormatDescription::format() const { return content_->format(); }

std::string FormatDescription::json() const { return content_->json(); }

void FormatDescription::refuse(const std::string& member, const std::string& expected,
                               const std::string& found) const {
  content_->fail(member, expected, found);
}

}  // namespace clara
