// Postings and scores of BM25.
#include "clara/retrieval/bm25.h"

#include <cmath>
#include <numeric>

#include <utf8proc.h>

#include "clara/common/text.h"

namespace clara {
namespace {

bool is_term_character(char32_t code_point) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code_point))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::vector<std::string> bm25_terms(std::string_view text) {
  std::vector<std::string> terms;
  std::string term;
  const auto finish = [&] {
    if (!term.empty()) terms.push_back(std::move(term));
    term.clear();
  };
  std::size_t position = 0;
  while (position < text.size()) {
    const CodePoint point = decode_utf8(text, position);
    if (point.num_bytes == 0) {  // ill-formed bytes separate terms
      finish();
      ++position;
      continue;
    }
    if (is_term_character(point.value)) {
      const auto lower = utf8proc_tolower(static_cast<utf8proc_int32_t>(point.value));
      append_utf8(term, static_cast<char32_t>(lower));
    } else {
      finish();
    }
    position += point.num_bytes;
  }
  finish();
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
    const double idf =
        std::log1p((static_cast<double>(lengths_.size()) - holders + 0.5) / (holders + 0.5));
    for (const Posting& posting : found->second) {
      const auto frequency = static_cast<double>(posting.frequency);
      const double relative = static_cast<double>(lengths_[posting.document]) / mean_length_;
      const double norm = settings_.k1 * (1 - settings_.b + settings_.b * relative);
      scores[posting.document] += idf * frequency / (frequency + norm);
    }
  }
  return scores;
}

}  // namespace clara
