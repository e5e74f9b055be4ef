// Tables and JSON of the analyses.
#include "clara/analysis/render_analysis.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <utility>

#include "analysis/shown_text.h"
#include <nlohmann/json.hpp>
#include <torch/torch.h>

namespace clara {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kShownQuestions = 10;
constexpr std::size_t kShownParaphrases = 3;
constexpr std::size_t kTextWidth = 76;
constexpr std::size_t kQuestionWidth = 48;

std::string fixed(double value, int digits) {
  char text[48];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

std::string milliseconds(double seconds) { return fixed(1e3 * seconds, 3); }

/// Mean of a member over items; 0 of none.
template <typename Items, typename Get>
double mean_of(const Items& items, Get get) {
  double sum = 0;
  for (const auto& item : items) sum += get(item);
  return items.empty() ? 0.0 : sum / static_cast<double>(items.size());
}

std::string dump(const Json& json) {
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json to_json(const std::vector<LensToken>& tokens) {
  Json list = Json::array();
  for (const LensToken& token : tokens)
    list.push_back({{"id", token.id}, {"text", token.text}, {"probability", token.probability}});
  return list;
}

Json to_json(const RougeScores& scores) {
  return {{"rouge_1", scores.rouge_1}, {"rouge_2", scores.rouge_2}, {"rouge_l", scores.rouge_l}};
}

Json to_json(const MeanInterval& interval) {
  return {{"mean", interval.mean}, {"low", interval.low}, {"high", interval.high}};
}

std::string with_interval(const MeanInterval& interval) {
  return fixed(interval.mean, 2) + " (" + fixed(interval.low, 2) + " to " +
         fixed(interval.high, 2) + ")";
}

double lens_mean(const std::vector<LensRow>& rows, double LensOverlap::*member) {
  std::vector<const LensRow*> with_words;
  for (const LensRow& row : rows) {
    if (row.overlap.num_words > 0) with_words.push_back(&row);
  }
  return mean_of(with_words, [&](const LensRow* row) { return row->overlap.*member; });
}

double mean_entropy(const std::vector<LensRow>& rows) {
  return mean_of(rows, [](const LensRow& row) {
    return mean_of(row.reading.entropies, [](double entropy) { return entropy; });
  });
}

}  // namespace

LensRow make_lens_row(const QaRecord& record, const LensReading& reading) {
  std::vector<std::string> evidence = record.gold_documents, others;
  const std::set<std::int32_t> positives(record.positives.begin(), record.positives.end());
  for (std::size_t k = 0; k < record.documents.size(); ++k) {
    const std::string& text = record.documents[k];
    if (positives.contains(static_cast<std::int32_t>(k))) {
      evidence.push_back(text);
    } else if (std::find(evidence.begin(), evidence.end(), text) == evidence.end()) {
      others.push_back(text);
    }
  }
  return {reading, lens_overlap(reading, record.question, evidence, others)};
}

std::string render_lens(const std::vector<LensRow>& rows) {
  TextTable table({{"question"}, {"tokens, by mean probability over the memory positions"}});
  for (std::size_t i = 0; i < std::min(rows.size(), kShownQuestions); ++i) {
    std::string tokens;
    for (const LensToken& token : rows[i].reading.overall)
      tokens += (tokens.empty() ? "" : " ") + escape_controls(token.text);
    table.add_row({shorten(escape_controls(rows[i].reading.text), kQuestionWidth),
                   shorten(tokens, kTextWidth)});
  }
  std::string text = table.render(false);
  if (rows.size() > kShownQuestions)
    text += "… and " + std::to_string(rows.size() - kShownQuestions) + " more\n";
  TextTable means({{"top words that occur in"}, {"share", true}});
  means.add_row({"the question", fixed(lens_mean(rows, &LensOverlap::in_question), 4)});
  means.add_row({"the gold documents, not the question",
                 fixed(lens_mean(rows, &LensOverlap::in_evidence_only), 4)});
  means.add_row({"the other candidates, not the question",
                 fixed(lens_mean(rows, &LensOverlap::in_other_only), 4)});
  return text + "\n" + means.render(false) +
         "mean entropy of a position: " + fixed(mean_entropy(rows), 2) + " nats\n";
}

std::string lens_to_json(const std::string& adapter, const std::vector<LensRow>& rows) {
  Json all;
  all["adapter"] = adapter;
  all["in_question"] = lens_mean(rows, &LensOverlap::in_question);
  all["in_evidence_only"] = lens_mean(rows, &LensOverlap::in_evidence_only);
  all["in_other_only"] = lens_mean(rows, &LensOverlap::in_other_only);
  all["mean_entropy"] = mean_entropy(rows);
  Json& questions = all["questions"] = Json::array();
  for (const LensRow& row : rows) {
    Json question = {{"question", row.reading.text},
                     {"num_words", row.overlap.num_words},
                     {"in_question", row.overlap.in_question},
                     {"in_evidence_only", row.overlap.in_evidence_only},
                     {"in_other_only", row.overlap.in_other_only},
                     {"entropies", row.reading.entropies},
                     {"overall", to_json(row.reading.overall)}};
    Json& positions = question["positions"] = Json::array();
    for (const auto& position : row.reading.positions) positions.push_back(to_json(position));
    questions.push_back(std::move(question));
  }
  return dump(all);
}

std::string render_latent_space(const LatentSpace& space) {
  TextTable table({{"latents beside their texts' mean hidden states"}, {"", true}});
  table.add_row({"documents", std::to_string(space.latent_means_ND.size(0))});
  table.add_row({"alignment: mean squared difference", short_number(space.alignment)});
  table.add_row({"cosine with the own text", fixed(space.cosine_own_text, 4)});
  table.add_row({"cosine with other texts", fixed(space.cosine_other_text, 4)});
  table.add_row({"nearest text is the own", fixed(space.nearest_is_own, 4)});
  table.add_row(
      {"spread: mean cosine of two documents' latents", fixed(space.spread.mean_cosine, 4)});
  table.add_row(
      {"spread: variance between documents, of all", fixed(space.spread.between_variance, 4)});
  return table.render(false);
}

std::string latent_space_to_json(const LatentSpace& space) {
  return dump({{"num_documents", space.latent_means_ND.size(0)},
               {"alignment", space.alignment},
               {"cosine_own_text", space.cosine_own_text},
               {"cosine_other_text", space.cosine_other_text},
               {"nearest_is_own", space.nearest_is_own},
               {"latent_cosine", space.spread.mean_cosine},
               {"latent_between_variance", space.spread.between_variance}});
}

std::string render_paraphrases(const std::vector<ParaphraseCheck>& checks) {
  std::string text;
  for (std::size_t i = 0; i < std::min(checks.size(), kShownParaphrases); ++i) {
    TextTable sample({{""}, {""}});
    sample.add_row({"document", shorten(escape_controls(checks[i].document), 2 * kTextWidth)});
    sample.add_row({"paraphrase", shorten(escape_controls(checks[i].paraphrase), 2 * kTextWidth)});
    text += sample.render(false) + "\n";
  }
  const auto own = [&](double RougeScores::*member) {
    return fixed(mean_of(checks, [&](const ParaphraseCheck& c) { return c.own.*member; }), 4);
  };
  const auto other = [&](double RougeScores::*member) {
    return fixed(mean_of(checks, [&](const ParaphraseCheck& c) { return c.other.*member; }), 4);
  };
  TextTable table({{"against the document"}, {"own latents", true}, {"another's latents", true}});
  table.add_row({"ROUGE-1", own(&RougeScores::rouge_1), other(&RougeScores::rouge_1)});
  table.add_row({"ROUGE-2", own(&RougeScores::rouge_2), other(&RougeScores::rouge_2)});
  table.add_row({"ROUGE-L", own(&RougeScores::rouge_l), other(&RougeScores::rouge_l)});
  table.add_row(
      {"names and numbers kept",
       fixed(mean_of(checks, [](const ParaphraseCheck& c) { return c.own_name_recall; }), 4),
       fixed(mean_of(checks, [](const ParaphraseCheck& c) { return c.other_name_recall; }), 4)});
  return text + table.render(false);
}

std::string paraphrases_to_json(const std::vector<ParaphraseCheck>& checks) {
  Json list = Json::array();
  for (const ParaphraseCheck& check : checks) {
    list.push_back({{"document", check.document},
                    {"paraphrase", check.paraphrase},
                    {"other_answer", check.other_answer},
                    {"own", to_json(check.own)},
                    {"other", to_json(check.other)},
                    {"own_name_recall", check.own_name_recall},
                    {"other_name_recall", check.other_name_recall}});
  }
  return dump({{"documents", std::move(list)}});
}

std::string render_gaps(const std::vector<GapCheck>& checks) {
  TextTable table({{"checkpoint"},
                   {"rate", true},
                   {"memory tokens", true},
                   {"rows", true},
                   {"answer tokens", true},
                   {"loss", true},
                   {"with other latents", true},
                   {"gap", true}});
  for (const GapCheck& check : checks) {
    std::int64_t num_tokens = 0;
    for (const LatentGapRow& row : check.rows) num_tokens += row.num_answer_tokens;
    table.add_row({check.checkpoint, std::to_string(check.compression_rate),
                   std::to_string(check.num_memory_tokens), std::to_string(check.rows.size()),
                   std::to_string(num_tokens), with_interval(check.own_loss),
                   with_interval(check.other_loss), with_interval(check.gap)});
  }
  return table.render(false) +
         "nats a token; intervals: 95%, percentile bootstrap over rows (10000 resamples)\n";
}

std::string gaps_to_json(const std::vector<GapCheck>& checks) {
  Json list = Json::array();
  for (const GapCheck& check : checks) {
    Json rows = Json::array();
    for (std::size_t i = 0; i < check.rows.size(); ++i) {
      rows.push_back({{"place", check.places[i]},
                      {"num_answer_tokens", check.rows[i].num_answer_tokens},
                      {"own_loss", check.rows[i].own_loss},
                      {"other_loss", check.rows[i].other_loss}});
    }
    list.push_back({{"checkpoint", check.checkpoint},
                    {"compression_rate", check.compression_rate},
                    {"num_memory_tokens", check.num_memory_tokens},
                    {"own_loss", to_json(check.own_loss)},
                    {"other_loss", to_json(check.other_loss)},
                    {"gap", to_json(check.gap)},
                    {"rows", std::move(rows)}});
  }
  return dump({{"checkpoints", std::move(list)}});
}

std::string render_efficiency(const std::vector<Efficiency>& rows) {
  TextTable table({{"rate", true},
                   {"memory tokens", true},
                   {"bytes a document", true},
                   {"compress, ms a document", true},
                   {"question, ms", true},
                   {"rank, ms", true},
                   {"prompt", true},
                   {"first token, ms", true},
                   {"each further, ms", true}});
  for (const Efficiency& row : rows) {
    table.add_row({std::to_string(row.compression_rate), std::to_string(row.num_memory_tokens),
                   std::to_string(row.latent_bytes), milliseconds(row.compress_seconds),
                   milliseconds(row.question_seconds), milliseconds(row.rank_seconds),
                   fixed(row.prompt_tokens, 1), milliseconds(row.prefill_seconds),
                   milliseconds(row.decode_seconds)});
  }
  if (!rows.empty()) {  // the text is the same at every rate
    const Efficiency& row = rows.front();
    table.add_row({"text", "", "", "", "", "", fixed(row.text_prompt_tokens, 1),
                   milliseconds(row.text_prefill_seconds), milliseconds(row.text_decode_seconds)});
  }
  return table.render(false);
}

std::string efficiency_to_json(const std::vector<Efficiency>& rows) {
  Json list = Json::array();
  for (const Efficiency& row : rows) {
    list.push_back({{"compression_rate", row.compression_rate},
                    {"num_memory_tokens", row.num_memory_tokens},
                    {"num_documents", row.num_documents},
                    {"num_questions", row.num_questions},
                    {"compress_seconds", row.compress_seconds},
                    {"question_seconds", row.question_seconds},
                    {"rank_seconds", row.rank_seconds},
                    {"prompt_tokens", row.prompt_tokens},
                    {"text_prompt_tokens", row.text_prompt_tokens},
                    {"prefill_seconds", row.prefill_seconds},
                    {"text_prefill_seconds", row.text_prefill_seconds},
                    {"decode_seconds", row.decode_seconds},
                    {"text_decode_seconds", row.text_decode_seconds},
                    {"latent_bytes", row.latent_bytes}});
  }
  return dump({{"checkpoints", std::move(list)}});
}

}  // namespace clara
