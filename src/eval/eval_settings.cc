// Names of settings and selectors.
#include "clara/eval/eval_settings.h"

#include <filesystem>

#include "common/name_table.h"

#include "clara/common/error.h"

namespace clara {
namespace {

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
}  // namespace

EvalSetting parse_eval_setting(std::string_view name) {
  return parse_name(kSettings, "setting", name);
}
DocumentSelector parse_document_selector(std::string_view name) {
  return parse_name(kSelectors, "select", name);
}
std::string to_string(EvalSetting setting) { return name_of(kSettings, setting); }
std::string to_string(DocumentSelector selector) { return name_of(kSelectors, selector); }
std::vector<std::string> eval_setting_names() { return names_of(kSettings); }
std::vector<std::string> document_selector_names() { return names_of(kSelectors); }

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

std::string eval_folder_name(const EvalSettings& settings, DocumentSelector usual,
                             AnswerContext usual_context) {
  std::string name = settings.benchmark + "_" + to_string(settings.setting);
  if (settings.select != usual) name += "_" + to_string(settings.select);
  if (settings.context != usual_context) name += "_" + to_string(settings.context);
  return name;
}

}  // namespace clara
