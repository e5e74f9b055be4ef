// The data of the page, and its parts put together.
#include "clara/eval/comparison_page.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "eval/report_page.h"
#include <nlohmann/json.hpp>

#include "clara/eval/comparison_tables.h"

namespace clara {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const MetricEstimate& estimate) {
  if (estimate.num_questions == 0) return nullptr;
  Json object = {{"value", estimate.value.mean}, {"n", estimate.num_questions}};
  if (estimate.has_interval) {
    object["low"] = estimate.value.low;
    object["high"] = estimate.value.high;
  }
  if (estimate.against_baseline) {
    const PairedComparison& paired = *estimate.against_baseline;
    object["difference"] = paired.difference.mean;
    object["difference_low"] = paired.difference.low;
    object["difference_high"] = paired.difference.high;
    object["p"] = paired.permutation_p_value;
    object["num_paired"] = estimate.num_paired;
  }
  return object;
}

Json blocks_to_json(const Comparison& comparison) {
  Json blocks = Json::array();
  for (const ComparisonBlock& block : comparison.blocks) {
    Json estimates = Json::array();
    for (std::size_t m = 0; m < comparison.methods.size(); ++m) {
      if (block.results[m] == nullptr) {
        estimates.push_back(nullptr);
        continue;
      }
      Json of_method = Json::array();
      for (const MetricEstimate& estimate : block.estimates[m])
        of_method.push_back(to_json(estimate));
      estimates.push_back(std::move(of_method));
    }
    blocks.push_back({{"benchmark", block.benchmark},
                      {"setting", to_string(block.setting)},
                      {"estimates", std::move(estimates)}});
  }
  return blocks;
}

Json to_json(const AnswerExample& example) {
  const Prediction& prediction = example.prediction;
  const PredictionScores scores = score_prediction(prediction);
  const auto triple = [](const AnswerScores& of) {
    return Json::array({of.exact_match, of.f1, of.cover_exact_match});
  };
  return {{"text", prediction.prediction},     {"first", triple(scores.first)},
          {"best", triple(scores.best)},       {"ranking", prediction.ranking},
          {"scores", prediction.scores},       {"selected", prediction.selected},
          {"positives", prediction.positives}, {"num_gold", prediction.num_gold},
          {"origins", prediction.origins},     {"documents", example.documents}};
}

/// The questions of each block with the answers of all methods; of several answers of a method to
/// a question the first.
Json questions_to_json(const Comparison& comparison) {
  Json questions = Json::array();
  for (std::size_t b = 0; b < comparison.blocks.size(); ++b) {
    const ComparisonBlock& block = comparison.blocks[b];
    std::map<std::string, std::size_t> places;
    for (std::size_t m = 0; m < block.results.size(); ++m) {
      if (block.results[m] == nullptr) continue;
      for (const AnswerExample& example : block.results[m]->examples) {
        const Prediction& prediction = example.prediction;
        const std::string key = prediction.id + '\0' + prediction.question;
        const auto [found, is_new] = places.try_emplace(key, questions.size());
        if (is_new) {
          questions.push_back({{"block", b},
                               {"id", prediction.id},
                               {"question", prediction.question},
                               {"answers", prediction.answers},
                               {"results", Json(block.results.size(), nullptr)}});
        }
        Json& result = questions[found->second]["results"][m];
        if (result.is_null()) result = to_json(example);
      }
    }
  }
  return questions;
}

/// Questions of all blocks that the examples do not hold.
std::int64_t num_questions_left_out(const Comparison& comparison) {
  std::int64_t num_left_out = 0;
  for (const ComparisonBlock& block : comparison.blocks) {
    std::int64_t most = 0;
    for (const MethodResult* result : block.results) {
      if (result == nullptr) continue;
      most = std::max(most,
                      result->num_predictions - static_cast<std::int64_t>(result->examples.size()));
    }
    num_left_out += most;
  }
  return num_left_out;
}

std::string page_data(const Comparison& comparison, GoldProtocol protocol) {
  Json methods = Json::array();
  for (const std::string& name : comparison.methods) methods.push_back({{"name", name}});
  Json metrics = Json::array();
  for (const ReportMetric& metric : kReportMetrics) {
    metrics.push_back(
        {{"name", metric.name}, {"title", metric.title}, {"protocol", metric.protocol}});
  }
  const Json data = {
      {"protocol", protocol == GoldProtocol::kFirst ? "first" : "best"},
      {"legend",
       {{"first", comparison_legend(comparison, GoldProtocol::kFirst)},
        {"best", comparison_legend(comparison, GoldProtocol::kBest)}}},
      {"notes", comparison.notes},
      {"baseline", comparison.settings.baseline},
      {"methods", std::move(methods)},
      {"metrics", std::move(metrics)},
      {"blocks", blocks_to_json(comparison)},
      {"num_left_out", num_questions_left_out(comparison)},
      {"documents", comparison.source.documents},
      {"questions", questions_to_json(comparison)},
  };
  return data.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// Puts the parts in place of "{{name}}", in one pass: what a part holds is not looked at again.
std::string fill_template(std::string_view page, const std::map<std::string, std::string>& parts) {
  std::string filled;
  for (std::size_t begin = 0; begin < page.size();) {
    const std::size_t open = std::min(page.find("{{", begin), page.size());
    filled += page.substr(begin, open - begin);
    if (open == page.size()) break;
    const std::size_t close = page.find("}}", open);
    filled += parts.at(std::string(page.substr(open + 2, close - open - 2)));
    begin = close + 2;
  }
  return filled;
}

}  // namespace

std::string escape_json_for_page(const std::string& json) {
  // Outside of its strings JSON has none of these characters.
  std::string escaped;
  for (const char c : json) {
    if (c == '<') {
      escaped += "\\u003c";
    } else if (c == '>') {
      escaped += "\\u003e";
    } else if (c == '&') {
      escaped += "\\u0026";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string render_comparison_page(const Comparison& comparison,
                                   const std::vector<RenderedChart>& charts,
                                   GoldProtocol protocol) {
  std::string figures;
  for (const RenderedChart& chart : charts)
    figures += "<figure id=\"chart-" + chart.name + "\">" + chart.for_page + "</figure>\n";
  if (figures.empty()) figures = "<p class=\"empty\">There is nothing to draw.</p>";
  return fill_template(kReportPageHtml,
                       {{"style", std::string(kReportPageStyle)},
                        {"script", std::string(kReportPageScript)},
                        {"charts", figures},
                        {"data", escape_json_for_page(page_data(comparison, protocol))}});
}

}  // namespace clara
