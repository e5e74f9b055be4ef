// Answer normalisation and overlap scores (numerics §9).
#include "clara/metrics/answer_metrics.h"

#include <algorithm>
#include <map>
#include <set>
#include <stdexcept>
#include <vector>

#include "metrics/unicode_text.h"

namespace clara {
namespace {

using Tokens = std::vector<std::u32string>;

constexpr std::u32string_view kPunctuation = U"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

bool is_article(std::u32string_view word) {
  return word == U"a" || word == U"an" || word == U"the";
}

/// Without the words a, an, the. A word is a run of \w, so an article beside non-ASCII punctuation
/// ("«the»") or before a combining mark goes too: so does the script's regular expression.
std::u32string remove_articles(std::u32string_view text) {
  std::u32string kept;
  kept.reserve(text.size());
  std::size_t position = 0;
  while (position < text.size()) {
    std::size_t end = position;
    while (end < text.size() && unicode::is_word(text[end])) ++end;
    if (end == position) {
      kept.push_back(text[position++]);
      continue;
    }
    const std::u32string_view word = text.substr(position, end - position);
    kept.append(is_article(word) ? std::u32string_view(U" ") : word);
    position = end;
  }
  return kept;
}

Tokens split(std::u32string_view text) {
  Tokens tokens;
  std::size_t position = 0;
  while (position < text.size()) {
    std::size_t end = position;
    while (end < text.size() && !unicode::is_space(text[end])) ++end;
    if (end > position) tokens.emplace_back(text.substr(position, end - position));
    position = end + 1;
  }
  return tokens;
}

/// The tokens of the normalised text; joined by spaces they are the text.
Tokens normal_tokens(std::string_view text) {
  if (text == "True") text = "yes";
  if (text == "False") text = "no";
  std::u32string points = unicode::to_lower(unicode::decode(text));
  std::erase_if(points,
                [](char32_t point) { return kPunctuation.find(point) != kPunctuation.npos; });
  return split(remove_articles(points));
}

/// yes, no and noanswer earn nothing for a partial overlap.
bool is_all_or_nothing(const Tokens& tokens) {
  return tokens.size() == 1 &&
         (tokens[0] == U"yes" || tokens[0] == U"no" || tokens[0] == U"noanswer");
}

double f1_of(const Tokens& prediction, const Tokens& gold) {
  if (prediction != gold && (is_all_or_nothing(prediction) || is_all_or_nothing(gold))) return 0;
  std::map<std::u32string_view, std::int64_t> remaining;
  for (const auto& token : gold) ++remaining[token];
  std::int64_t num_shared = 0;
  for (const auto& token : prediction) {
    const auto found = remaining.find(token);
    if (found == remaining.end() || found->second == 0) continue;
    --found->second;
    ++num_shared;
  }
  if (num_shared == 0) return 0;
  const double precision = static_cast<double>(num_shared) / static_cast<double>(prediction.size());
  const double recall = static_cast<double>(num_shared) / static_cast<double>(gold.size());
  return 2 * precision * recall / (precision + recall);
}

bool covers(const Tokens& prediction, const Tokens& gold) {
  const std::set<std::u32string_view> present(prediction.begin(), prediction.end());
  return !gold.empty() && std::all_of(gold.begin(), gold.end(), [&present](const auto& token) {
    return present.contains(token);
  });
}

bool covers_in_a_row(const Tokens& prediction, const Tokens& gold) {
  return !gold.empty() && std::search(prediction.begin(), prediction.end(), gold.begin(),
                                      gold.end()) != prediction.end();
}

}  // namespace

std::string normalize_answer(std::string_view text) {
  std::u32string joined;
  for (const auto& token : normal_tokens(text)) {
    if (!joined.empty()) joined.push_back(U' ');
    joined += token;
  }
  return unicode::encode(joined);
}

bool exact_match(std::string_view prediction, std::string_view gold) {
  return normal_tokens(prediction) == normal_tokens(gold);
}

double f1_score(std::string_view prediction, std::string_view gold) {
  return f1_of(normal_tokens(prediction), normal_tokens(gold));
}

bool cover_exact_match(std::string_view prediction, std::string_view gold) {
  return covers(normal_tokens(prediction), normal_tokens(gold));
}

bool contiguous_cover_match(std::string_view prediction, std::string_view gold) {
  return covers_in_a_row(normal_tokens(prediction), normal_tokens(gold));
}

AnswerScores score_answer(std::string_view prediction, std::span<const std::string> golds,
                          GoldProtocol protocol) {
  if (golds.empty())
    throw std::invalid_argument("score_answer: expected at least one gold answer, found none");
  if (protocol == GoldProtocol::kFirst) golds = golds.first(1);
  const Tokens predicted = normal_tokens(prediction);
  AnswerScores best;
  for (const std::string& text : golds) {
    const Tokens gold = normal_tokens(text);
    best.exact_match = std::max(best.exact_match, predicted == gold ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1_of(predicted, gold));
    best.cover_exact_match = std::max(best.cover_exact_match, covers(predicted, gold) ? 1.0 : 0.0);
    best.contiguous_cover_match =
        std::max(best.contiguous_cover_match, covers_in_a_row(predicted, gold) ? 1.0 : 0.0);
  }
  return best;
}

AnswerSummary summarize_answers(std::span<const AnswerScores> scores) {
  AnswerSummary summary;
  summary.num_questions = static_cast<std::int64_t>(scores.size());
  if (scores.empty()) return summary;
  AnswerScores& mean = summary.mean;
  for (const AnswerScores& one : scores) {
    mean.exact_match += one.exact_match;
    mean.f1 += one.f1;
    mean.cover_exact_match += one.cover_exact_match;
    mean.contiguous_cover_match += one.contiguous_cover_match;
  }
  const auto count = static_cast<double>(scores.size());
  mean.exact_match /= count;
  mean.f1 /= count;
  mean.cover_exact_match /= count;
  mean.contiguous_cover_match /= count;
  return summary;
}

}  // namespace clara
