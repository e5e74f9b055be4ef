// Loading, checking and filling of prompts.
#include "clara/synthesis/synthesis_prompts.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <vector>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

struct PromptRule {
  const char* file;
  std::vector<std::string> required;
  std::vector<std::string> optional = {};
  bool may_be_blank = false;
};

// In the order of PromptName.
const std::array<PromptRule, kNumPrompts>& prompt_rules() {
  static const std::array<PromptRule, kNumPrompts> kRules = {{
      {"system.txt", {}, {}, true},
      {"simple_qa.txt", {"document", "num_pairs"}},
      {"complex_qa.txt", {"document", "num_pairs"}},
      {"paraphrase.txt", {"document"}},
      {"more_simple_qa.txt", {"document", "questions", "missing"}, {"problems"}},
      {"more_complex_qa.txt", {"document", "questions", "missing"}, {"problems"}},
      {"next_paraphrase.txt", {"document", "paraphrase", "missing"}, {"problems"}},
      {"verify_questions.txt", {"document", "questions"}},
      {"verify_paraphrase.txt", {"document", "paraphrase"}},
  }};
  return kRules;
}

bool is_name_character(char c) { return (c >= 'a' && c <= 'z') || c == '_'; }

// A placeholder that starts at `begin`, a brace: its name, and where it ends.
struct Placeholder {
  std::string_view name;
  std::size_t end = 0;
  bool is_escaped = false;
};

std::optional<Placeholder> placeholder_at(std::string_view text, std::size_t begin) {
  const bool is_escaped = text.substr(begin).starts_with("{{");
  const std::size_t first = begin + (is_escaped ? 2 : 1);
  std::size_t last = first;
  while (last < text.size() && is_name_character(text[last])) ++last;
  const std::string_view closing = is_escaped ? "}}" : "}";
  if (last == first || !text.substr(last).starts_with(closing)) return std::nullopt;
  return Placeholder{text.substr(first, last - first), last + closing.size(), is_escaped};
}

// Calls on_text with what stands for itself and on_placeholder with names, in order.
void walk(std::string_view text, const std::function<void(std::string_view)>& on_text,
          const std::function<void(std::string_view)>& on_placeholder) {
  std::size_t begin = 0;
  std::size_t brace = 0;
  while ((brace = text.find('{', brace)) != std::string_view::npos) {
    const auto found = placeholder_at(text, brace);
    if (!found) {
      ++brace;
      continue;
    }
    on_text(text.substr(begin, brace - begin));
    if (found->is_escaped) {
      on_text(text.substr(brace + 1, found->end - brace - 2));
    } else {
      on_placeholder(found->name);
    }
    begin = brace = found->end;
  }
  on_text(text.substr(begin));
}

bool holds(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string list_of(const PromptRule& rule) {
  std::string text;
  for (const auto& names : {rule.required, rule.optional}) {
    for (const std::string& name : names) text += (text.empty() ? "{" : ", {") + name + "}";
  }
  return text.empty() ? "no placeholder" : text;
}

void check_placeholders(const std::string& place, const std::string& text, const PromptRule& rule,
                        std::vector<std::string>& mistakes) {
  std::vector<std::string> found;
  walk(
      text, [](std::string_view) {},
      [&](std::string_view name) {
        if (!holds(found, name)) found.emplace_back(name);
      });
  for (const std::string& name : found) {
    if (holds(rule.required, name) || holds(rule.optional, name)) continue;
    mistakes.push_back(place + ": expected " + list_of(rule) + ", found {" + name + "} ({{" + name +
                       "}} writes it as text)");
  }
  for (const std::string& name : rule.required) {
    if (!holds(found, name)) mistakes.push_back(place + ": expected {" + name + "}, found none");
  }
}

std::string read_prompt(const std::filesystem::path& path, const PromptRule& rule,
                        std::vector<std::string>& mistakes) {
  std::string text;
  try {
    text = read_file(path);
  } catch (const DataError& error) {
    mistakes.emplace_back(error.what());
    return text;
  }
  if (const auto fault = find_invalid_utf8(text)) {
    mistakes.push_back(path.string() + ": byte " + std::to_string(*fault + 1) +
                       ": expected UTF-8 text");
    return text;
  }
  text = std::string(strip_whitespace(text));
  if (text.empty() && !rule.may_be_blank)
    mistakes.push_back(path.string() + ": expected a prompt, found no text");
  if (!text.empty()) check_placeholders(path.string(), text, rule, mistakes);
  return text;
}

}  // namespace

SynthesisPrompts::SynthesisPrompts(const std::filesystem::path& folder) {
  std::vector<std::string> mistakes;
  for (std::size_t i = 0; i < kNumPrompts; ++i) {
    const PromptRule& rule = prompt_rules()[i];
    texts_[i] = read_prompt(folder / rule.file, rule, mistakes);
  }
  if (mistakes.empty()) return;
  std::string message;
  for (const std::string& mistake : mistakes) message += (message.empty() ? "" : "\n") + mistake;
  throw ConfigError(message);
}

std::string SynthesisPrompts::render(PromptName name, const PromptValues& values) const {
  std::string rendered;
  walk(
      texts_[static_cast<std::size_t>(name)], [&](std::string_view text) { rendered += text; },
      [&](std::string_view placeholder) {
        const auto found = values.find(placeholder);
        if (found == values.end())
          throw Error("expected a value of {" + std::string(placeholder) + "}, found none");
        rendered += found->second;
      });
  return rendered;
}

Hash128 SynthesisPrompts::fingerprint() const {
  ContentHasher hasher;
  for (const std::string& text : texts_) hasher.add_field(text);
  return hasher.digest();
}

}  // namespace clara
