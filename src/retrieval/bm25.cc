// Postings and scores of BM25.
#include "clara/retrieval/bm25.h"

#include <array>
#include <cmath>
#include <numeric>

#include "common/word_characters.h"
#include "retrieval/bm25_formula.h"
#include <utf8proc.h>

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

// What most text is made of, without a look-up in Unicode's tables: lower case of the characters
// that terms have, 0 for others.
constexpr std::size_t kNumAscii = 128;
std::array<char, kNumAscii> lower_ascii() {
  std::array<char, kNumAscii> lower{};
  for (std::size_t i = 0; i < kNumAscii; ++i) {
    const auto point = static_cast<utf8proc_int32_t>(i);
    if (is_letter_mark_or_number(static_cast<char32_t>(i)))
      lower[i] = static_cast<char>(utf8proc_tolower(point));
  }
  return lower;
}

}  // namespace

void check_bm25_settings(const Bm25Settings& settings) {
  if (!(settings.k1 >= 0 && std::isfinite(settings.k1)))
    throw ConfigError("k1: expected a number from 0 on, found " + std::to_string(settings.k1));
  if (!(settings.b >= 0 && settings.b <= 1))
    throw ConfigError("b: expected a number from 0 to 1, found " + std::to_string(settings.b));
}

void for_each_bm25_term(std::string_view text, const std::function<void(std::string_view)>& visit) {
  static const std::array<char, kNumAscii> kLower = lower_ascii();
  std::string term;
  const auto finish = [&] {
    if (!term.empty()) visit(term);
    term.clear();
  };
  std::size_t position = 0;
  while (position < text.size()) {
    const auto byte = static_cast<unsigned char>(text[position]);
    if (byte < kNumAscii) {
      if (kLower[byte] != 0) {
        term += kLower[byte];
      } else {
        finish();
      }
      ++position;
      continue;
    }
    const CodePoint point = decode_utf8(text, position);
    if (point.num_bytes == 0) {  // ill-formed bytes separate terms
      finish();
      ++position;
      continue;
    }
    if (is_letter_mark_or_number(point.value)) {
      const auto lower = utf8proc_tolower(static_cast<utf8proc_int32_t>(point.value));
      append_utf8(term, static_cast<char32_t>(lower));
    } else {
      finish();
    }
    position += point.num_bytes;
  }
  finish();
}

std::vector<std::string> bm25_terms(std::string_view text) {
  std::vector<std::string> terms;
  for_each_bm25_term(text, [&](std::string_view term) { terms.emplace_back(term); });
  return terms;
}

Bm25Index::Bm25Index(const std::vector<std::string>& documents, const Bm25Settings& settings)
    : settings_(settings) {
  lengths_.reserve(documents.size());
  for (std::size_t i = 0; i < documents.size(); ++i) {
    const std::vector<std::string> terms = bm25_terms(documents[i]);
    lengths_.push_back(static_cast<std::int64_t>(terms.size()));
    for (const std::string& term : terms) {
      std::vector<Posting>& postings = postings_[term];
      if (postings.empty() || postings.back().document != i) postings.push_back({i, 0});
      ++postings.back().frequency;
    }
  }
  const auto total = std::accumulate(lengths_.begin(), lengths_.end(), std::int64_t{0});
  if (!lengths_.empty()) {
    mean_length_ = static_cast<double>(total) / static_cast<double>(lengths_.size());
  }
}

std::vector<double> Bm25Index::scores(std::string_view query) const {
  std::vector<double> scores(lengths_.size(), 0.0);
  for (const std::string& term : bm25_terms(query)) {
    const auto found = postings_.find(term);
    if (found == postings_.end()) continue;
    const auto holders = static_cast<double>(found->second.size());
    const double idf = bm25_idf(static_cast<double>(lengths_.size()), holders);
    for (const Posting& posting : found->second) {
      const auto frequency = static_cast<double>(posting.frequency);
      const auto length = static_cast<double>(lengths_[posting.document]);
      scores[posting.document] +=
          bm25_part(idf, frequency, bm25_norm(settings_, length, mean_length_));
    }
  }
  return scores;
}

}  // namespace clara
