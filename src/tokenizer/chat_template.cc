// By probing markers: the language of templates is not interpreted.
#include "tokenizer/chat_template.h"

#include <algorithm>

#include "common/parse_json.h"
#include "tokenizer/format_text.h"
#include "tokenizer/unicode_text.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {

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

std::string_view recognise_spelled_template(std::string_view source) {
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

ChatTemplate read_chat_template(const std::filesystem::path& folder) {
  const std::filesystem::path jinja = folder / "chat_template.jinja";
  if (std::filesystem::exists(jinja)) return {read_file(jinja), jinja.string()};
  const std::filesystem::path config = folder / "tokenizer_config.json";
  if (!std::filesystem::exists(config)) {
    throw DataError(folder.string() +
                    ": expected a chat template in chat_template.jinja or tokenizer_config.json, "
                    "found neither file" +
                    how_to_name_a_chat_format());
  }
  const auto json = parse_json<nlohmann::json>(read_file(config));
  if (json.is_discarded()) throw DataError(config.string() + ": not a JSON file");
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
                      how_to_name_a_chat_format());
    }
    if (!member.is_null()) {
      throw DataError(place + ": expected a template or a list of named templates" +
                      how_to_name_a_chat_format());
    }
  }
  throw DataError(config.string() + ": the member chat_template is missing, and so is " +
                  jinja.string() + how_to_name_a_chat_format());
}

}  // namespace clara
