// Names of settings, selectors and contexts.
#include "clara/eval/eval_settings.h"

#include <array>
#include <filesystem>
#include <utility>

#include "clara/common/error.h"

namespace clara {
namespace {

template <typename Enum, std::size_t N>
using NameTable = std::array<std::pair<Enum, const char*>, N>;

constexpr NameTable<EvalSetting, 2> kSettings = {
    {{EvalSetting::kNormal, "normal"}, {EvalSetting::kOracle, "oracle"}}};
constexpr NameTable<DocumentSelector, 7> kSelectors = {
    {{DocumentSelector::kQueryReasoner, "query_reasoner"},
     {DocumentSelector::kGiven, "given"},
     {DocumentSelector::kBm25, "bm25"},
     {DocumentSelector::kDense, "dense"},
     {DocumentSelector::kCrossEncoder, "cross_encoder"},
     {DocumentSelector::kRandom, "random"},
     {DocumentSelector::kAll, "all"}}};
constexpr NameTable<AnswerContext, 3> kContexts = {{{AnswerContext::kLatents, "latents"},
                                                    {AnswerContext::kText, "text"},
                                                    {AnswerContext::kNone, "none"}}};

template <typename Table>
auto parse_name(const Table& table, std::string_view what, std::string_view name) {
  std::string names;
  for (const auto& [value, known] : table) {
    if (name == known) return value;
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  throw ConfigError(std::string(what) + ": expected one of " + names + ", found \"" +
                    std::string(name) + "\"");
}

template <typename Table, typename Enum>
std::string name_of(const Table& table, Enum value) {
  for (const auto& [known, name] : table) {
    if (known == value) return name;
  }
  throw Error("a value without a name");
}

template <typename Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& entry : table) names.emplace_back(entry.second);
  return names;
}

}  // namespace

EvalSetting parse_eval_setting(std::string_view name) {
  return parse_name(kSettings, "setting", name);
}
DocumentSelector parse_document_selector(std::string_view name) {
  return parse_name(kSelectors, "select", name);
}
AnswerContext parse_answer_context(std::string_view name) {
  return parse_name(kContexts, "context", name);
}
std::string to_string(EvalSetting setting) { return name_of(kSettings, setting); }
std::string to_string(DocumentSelector selector) { return name_of(kSelectors, selector); }
std::string to_string(AnswerContext context) { return name_of(kContexts, context); }
std::vector<std::string> eval_setting_names() { return names_of(kSettings); }
std::vector<std::string> document_selector_names() { return names_of(kSelectors); }
std::vector<std::string> answer_context_names() { return names_of(kContexts); }

DocumentSelector default_selector(std::string_view stage) {
  return stage == "joint" || stage == "retriever" ? DocumentSelector::kQueryReasoner
                                                  : DocumentSelector::kGiven;
}

bool needs_encoder(const EvalSettings& settings) {
  return settings.context != AnswerContext::kNone &&
         (settings.select == DocumentSelector::kDense ||
          settings.select == DocumentSelector::kCrossEncoder);
}

void check_encoder(const EvalSettings& settings) {
  const std::string found =
      to_string(settings.select) + " and context " + to_string(settings.context);
  if (needs_encoder(settings) && settings.encoder.empty()) {
    throw ConfigError("select: " + to_string(settings.select) +
                      " needs the folder of its encoder (--encoder)");
  }
  if (!needs_encoder(settings) && !settings.encoder.empty()) {
    throw ConfigError(
        "encoder: expected select dense or cross_encoder, and documents, with it, found select " +
        found);
  }
  const bool has_prefix = !settings.query_prefix.empty() || !settings.passage_prefix.empty();
  if (has_prefix && settings.select != DocumentSelector::kDense) {
    throw ConfigError(
        "query_prefix, passage_prefix: expected select dense with them, found select " + found);
  }
  if (!settings.encoder.empty() &&
      !std::filesystem::exists(std::filesystem::path(settings.encoder) / "config.json")) {
    throw DataError(settings.encoder +
                    ": expected the folder of an encoder, found no config.json in it");
  }
}

std::string eval_folder_name(const EvalSettings& settings, DocumentSelector usual) {
  std::string name = settings.benchmark + "_" + to_string(settings.setting);
  if (settings.select != usual) name += "_" + to_string(settings.select);
  if (settings.context != AnswerContext::kLatents) name += "_" + to_string(settings.context);
  return name;
}

}  // namespace clara
