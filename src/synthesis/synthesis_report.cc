// The table and the summary that a run ends with.
#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include <nlohmann/json.hpp>

#include "clara/synthesis/synthesize.h"

namespace clara {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<SynthesisKind, 3> kKinds = {
    SynthesisKind::kSimpleQa, SynthesisKind::kComplexQa, SynthesisKind::kParaphrase};
constexpr double kMillion = 1e6;

std::string decimals(double value, int places) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.*f", places, value);
  return text.data();
}

// Rows of cells; the first column is aligned on the left, the others on the right.
using Table = std::vector<std::vector<std::string>>;

std::string render_table(const Table& table) {
  std::vector<std::size_t> widths;
  for (const auto& row : table) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : table) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - row[i].size(), ' ');
      if (i == 0) {
        text += row[i] + (row.size() > 1 ? padding : "");
      } else {
        text += "  " + padding + row[i];
      }
    }
    text += '\n';
  }
  return text;
}

const KindTotals& totals_of(const SynthesisTotals& totals, SynthesisKind kind) {
  return totals.kinds[static_cast<std::size_t>(kind)];
}

std::int64_t num_dropped(const KindTotals& kind) {
  std::int64_t sum = 0;
  for (const auto& [reason, count] : kind.dropped) sum += count;
  return sum;
}

std::string rounds_text(const KindTotals& kind) {
  std::string text;
  for (const auto& [round, count] : kind.rounds) {
    text += text.empty() ? "" : " ";
    text += std::to_string(round) + ":" + std::to_string(count);
  }
  return text.empty() ? "-" : text;
}

Table kinds_table(const SynthesisTotals& totals) {
  Table table = {{"kind", "kept", "dropped", "pairs", "kept after round n: rows"}};
  for (const SynthesisKind kind : kKinds) {
    const KindTotals& row = totals_of(totals, kind);
    const std::int64_t dropped = num_dropped(row);
    if (row.num_kept + dropped == 0) continue;
    table.push_back({to_string(kind), std::to_string(row.num_kept), std::to_string(dropped),
                     kind == SynthesisKind::kParaphrase ? "" : std::to_string(row.num_pairs),
                     rounds_text(row)});
  }
  if (table.size() == 1) table.clear();  // no row has ended yet
  return table;
}

Table counts_table(const SynthesisReport& report, const TokenPrices& prices) {
  const SynthesisTotals& totals = report.totals;
  Table table;
  const auto add = [&](const std::string& name, std::int64_t count, bool always = false) {
    if (always || count > 0) table.push_back({name, std::to_string(count)});
  };
  for (const SynthesisKind kind : kKinds) {
    for (const auto& [reason, count] : totals_of(totals, kind).dropped)
      add("dropped, " + to_string(kind) + ": " + reason, count);
  }
  for (const auto& [reason, count] : totals.refused) add("refused by a check: " + reason, count);
  add("documents", report.num_documents, true);
  add("documents met before", report.num_repeated);
  add("documents too short", report.num_short);
  add("documents too long", report.num_long);
  add("bad rows left out", report.num_bad_rows);
  add("rows finished by an earlier run", report.num_finished_before);
  add("rows left to the next run", report.num_failed);
  add("answers of the teacher", totals.num_answers, true);
  add("requests in this run", report.requests.num_requests, true);
  for (const auto& [reason, count] : report.requests.retries) add("  sent again: " + reason, count);
  add("tokens in", totals.prompt_tokens, true);
  add("tokens out", totals.completion_tokens, true);
  const double cost = cost_of(totals, prices);
  if (cost > 0) table.push_back({"cost", decimals(cost, 4)});
  if (report.seconds > 0) {
    table.push_back(
        {"rows a second", decimals(static_cast<double>(report.num_finished) / report.seconds, 2)});
  }
  return table;
}

}  // namespace

double cost_of(const SynthesisTotals& totals, const TokenPrices& prices) {
  return (static_cast<double>(totals.prompt_tokens) * prices.per_million_in +
          static_cast<double>(totals.completion_tokens) * prices.per_million_out) /
         kMillion;
}

std::string render_synthesis_report(const SynthesisReport& report, const TokenPrices& prices) {
  std::string text = render_table(kinds_table(report.totals));
  text += render_table(counts_table(report, prices));
  for (const std::string& message : report.bad_rows) text += "  " + message + "\n";
  return text;
}

std::string synthesis_summary_json(const SynthesisReport& report, const TokenPrices& prices) {
  const SynthesisTotals& totals = report.totals;
  Json kinds = Json::object();
  for (const SynthesisKind kind : kKinds) {
    const KindTotals& row = totals_of(totals, kind);
    Json rounds = Json::object();
    for (const auto& [round, count] : row.rounds) rounds[std::to_string(round)] = count;
    kinds[to_string(kind)] = {{"kept", row.num_kept},
                              {"pairs", row.num_pairs},
                              {"rounds", std::move(rounds)},
                              {"dropped", row.dropped}};
  }
  const Json summary = {
      {"is_complete", !report.is_stopped && report.num_failed == 0},
      {"kinds", std::move(kinds)},
      {"refused_by_checks", totals.refused},
      {"documents",
       {{"asked_about", report.num_documents},
        {"repeated", report.num_repeated},
        {"too_short", report.num_short},
        {"too_long", report.num_long},
        {"bad_rows", report.num_bad_rows}}},
      {"rows_left_to_the_next_run", report.num_failed},
      {"answers", totals.num_answers},
      {"prompt_tokens", totals.prompt_tokens},
      {"completion_tokens", totals.completion_tokens},
      {"cost", cost_of(totals, prices)},
      {"this_run",
       {{"seconds", report.seconds},
        {"rows_finished", report.num_finished},
        {"requests", report.requests.num_requests},
        {"sent_again", report.requests.retries}}},
  };
  constexpr int kIndent = 2;
  return summary.dump(kIndent) + "\n";
}

}  // namespace clara
