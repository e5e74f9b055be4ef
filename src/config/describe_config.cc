// The reference page of the config, one Markdown table a section, from the field table.
#include <string>
#include <vector>

#include "config/field_table.h"
#include "config/render_value.h"

#include "clara/config/load_config.h"

namespace clara {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

/// A cell must not end at a bar of its own text.
std::string cell(const std::string& text) {
  std::string escaped;
  for (char c : text) escaped += c == '|' ? std::string("\\|") : std::string(1, c);
  return escaped;
}

/// `text` as code.
std::string code(const std::string& text) {
  std::string quoted = "`";
  quoted += text;
  quoted += '`';
  return quoted;
}

struct TypeText {
  const FieldRule& rule;
  template <class Owner>
  std::string operator()(std::int32_t& (*)(Owner&)) const {
    return integer();
  }
  template <class Owner>
  std::string operator()(std::int64_t& (*)(Owner&)) const {
    return integer();
  }
  template <class Owner>
  std::string operator()(std::uint64_t& (*)(Owner&)) const {
    return integer();
  }
  template <class Owner>
  std::string operator()(double& (*)(Owner&)) const {
    return "number" + rule.range.text();
  }
  template <class Owner>
  std::string operator()(bool& (*)(Owner&)) const {
    return "true or false";
  }
  template <class Owner>
  std::string operator()(std::vector<std::string>& (*)(Owner&)) const {
    return "list of strings";
  }
  template <class Owner>
  std::string operator()(std::vector<double>& (*)(Owner&)) const {
    return "list of " + (rule.num_items == 0 ? "" : std::to_string(rule.num_items) + " ") +
           "numbers" + rule.range.text();
  }
  template <class Owner>
  std::string operator()(std::vector<DataSource>& (*)(Owner&)) const {
    return "list of paths or of {path, weight, max_rows}";
  }
  template <class Owner>
  std::string operator()(std::optional<KeepBestConfig>& (*)(Owner&)) const {
    return "{metric, mode} or null";
  }
  template <class Owner, class Text>
  std::string operator()(Text& (*)(Owner&)) const {
    return rule.choices.empty() ? "string" : "one of " + joined(rule.choices);
  }

 private:
  std::string integer() const {
    return (rule.word_for_zero.empty() ? "" : rule.word_for_zero + " or ") + "integer" +
           rule.range.text();
  }
};

template <class Owner>
std::string row(const Field<Owner>& field, const std::string& path, const std::string& fallback) {
  return "| " + code(path) + " | " + cell(std::visit(TypeText{field.rule}, field.access)) + " | " +
         cell(fallback) + " | " +
         (field.rule.stages == kEveryStage ? "all" : stage_names(field.rule.stages)) + " | " +
         cell(field.rule.doc) + " |\n";
}

template <class Owner>
std::string member_rows(const std::vector<Field<Owner>>& fields, const std::string& base) {
  std::string text;
  for (const Field<Owner>& field : fields) {
    text += row(field, base + field.path,
                field.rule.required ? "required" : code(value_text(field, Owner{})));
  }
  return text;
}

/// The default, with the stages in which it is another one.
std::string default_text(const Field<RunConfig>& field) {
  if (field.path == "stage") return "that of the subcommand";
  if (field.rule.required) return "required";
  const RunConfig fresh;
  std::string text = code(value_text(field, fresh));
  for (const StageDefault& special : field.rule.stage_defaults) {
    for (Stage stage : kStages) {
      if ((special.stages & stage_bit(stage)) == 0) continue;
      text += "; " + stage_names(special.stages) + ": " +
              code(value_text(field, default_run_config(stage)));
      break;
    }
  }
  return text;
}

}  // namespace

std::string describe_run_config() {
  std::string text =
      "# Config reference\n\n"
      "Every field of a training config. A value comes from the default of the stage, then the "
      "file, then\n"
      "`--set key.path=value`; the later one wins. Unknown keys and fields of other stages are "
      "errors. A list entry\n"
      "is reached by its index: `--set data.train.0.path=FILE`.\n";
  std::string section = "none";
  for (const Field<RunConfig>& field : run_config_fields()) {
    const std::size_t dot = field.path.find('.');
    const std::string own_section = dot == std::string::npos ? "" : field.path.substr(0, dot);
    if (own_section != section) {
      section = own_section;
      text += "\n## " + (section.empty() ? std::string("top level") : section) +
              "\n\n| key | type and range | default | stages | meaning |\n|---|---|---|---|---|\n";
    }
    text += row(field, field.path, default_text(field));
    using Access = Field<RunConfig>::Access;
    const Access& access = field.access;
    if (std::holds_alternative<std::vector<DataSource>& (*)(RunConfig&)>(access)) {
      text += member_rows(data_source_fields(), field.path + ".<index>.");
    } else if (std::holds_alternative<std::optional<KeepBestConfig>& (*)(RunConfig&)>(access)) {
      text += member_rows(keep_best_fields(), field.path + ".");
    }
  }
  return text;
}

}  // namespace clara
