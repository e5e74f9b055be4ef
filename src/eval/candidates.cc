// Normal and Oracle candidates; the orders of given, all, bm25 and random.
#include "clara/eval/candidates.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "clara/common/error.h"
#include "clara/common/seeds.h"
#include "clara/retrieval/bm25.h"

namespace clara {
namespace {

std::vector<std::int32_t> identity_order(std::size_t count) {
  std::vector<std::int32_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

/// Fisher–Yates with numbers that are the same on every platform.
std::vector<std::int32_t> drawn_order(std::size_t count, std::uint64_t seed) {
  std::vector<std::int32_t> order = identity_order(count);
  SeedStream stream(seed);
  for (std::size_t i = count; i > 1; --i) {
    std::swap(order[i - 1], order[static_cast<std::size_t>(stream.below(i))]);
  }
  return order;
}

struct GoldText {
  std::string text;
  std::int32_t origin = 0;
};

std::vector<GoldText> gold_texts(const QaRecord& record) {
  std::vector<GoldText> gold;
  std::unordered_set<std::string> seen;
  for (const std::int32_t index : record.positives) {
    const std::string& text = record.documents[static_cast<std::size_t>(index)];
    if (seen.insert(text).second) gold.push_back({text, index});
  }
  for (std::size_t j = 0; j < record.gold_documents.size(); ++j) {
    const std::string& text = record.gold_documents[j];
    if (!seen.insert(text).second) continue;
    gold.push_back({text, -1 - static_cast<std::int32_t>(j)});
  }
  return gold;
}

/// Puts the gold documents in that are missing, from the lowest rank up.
void insert_gold(Candidates& candidates, const std::vector<GoldText>& gold) {
  std::unordered_set<std::string> gold_set;
  for (const GoldText& item : gold) gold_set.insert(item.text);
  std::size_t place = candidates.documents.size();
  for (const GoldText& item : gold) {
    const auto& documents = candidates.documents;
    if (std::find(documents.begin(), documents.end(), item.text) != documents.end()) continue;
    while (place > 0 && gold_set.contains(documents[place - 1])) --place;
    if (place > 0) {
      --place;
      candidates.documents[place] = item.text;
      candidates.origins[place] = item.origin;
    } else {
      candidates.documents.push_back(item.text);
      candidates.origins.push_back(item.origin);
    }
  }
}

}  // namespace

Candidates make_candidates(const QaRecord& record, const EvalSettings& settings,
                           std::uint64_t row) {
  Candidates candidates;
  candidates.documents = record.documents;
  candidates.origins = identity_order(record.documents.size());
  const std::vector<GoldText> gold = gold_texts(record);
  if (settings.setting == EvalSetting::kOracle) {
    if (settings.select == DocumentSelector::kGiven) {
      const std::size_t count =
          std::min(candidates.documents.size(), static_cast<std::size_t>(settings.num_selected));
      candidates.documents.resize(count);
      candidates.origins.resize(count);
    }
    insert_gold(candidates, gold);
    const std::vector<std::int32_t> order =
        drawn_order(candidates.documents.size(), derive_seed(settings.seed, "oracle_order", {row}));
    Candidates drawn;
    for (const std::int32_t i : order) {
      drawn.documents.push_back(std::move(candidates.documents[static_cast<std::size_t>(i)]));
      drawn.origins.push_back(candidates.origins[static_cast<std::size_t>(i)]);
    }
    candidates = std::move(drawn);
  }
  candidates.num_gold = static_cast<std::int32_t>(gold.size());
  for (const GoldText& item : gold) {
    const auto& documents = candidates.documents;
    const auto found = std::find(documents.begin(), documents.end(), item.text);
    if (found == documents.end()) continue;
    candidates.positives.push_back(static_cast<std::int32_t>(found - documents.begin()));
  }
  std::sort(candidates.positives.begin(), candidates.positives.end());
  return candidates;
}

std::vector<std::int32_t> rank_candidates(const Candidates& candidates, std::string_view question,
                                          const EvalSettings& settings, std::uint64_t row,
                                          std::vector<float>* scores) {
  if (scores != nullptr) scores->clear();
  switch (settings.select) {
    case DocumentSelector::kGiven:
    case DocumentSelector::kAll:
      return identity_order(candidates.documents.size());
    case DocumentSelector::kRandom:
      return drawn_order(candidates.documents.size(),
                         derive_seed(settings.seed, "random_selection", {row}));
    case DocumentSelector::kBm25: {
      const std::vector<double> exact = Bm25Index(candidates.documents).scores(question);
      const std::vector<float> rounded(exact.begin(), exact.end());
      if (scores != nullptr) *scores = rounded;
      return descending_order(rounded);
    }
    case DocumentSelector::kQueryReasoner:
    case DocumentSelector::kDense:
    case DocumentSelector::kCrossEncoder:
      break;
  }
  throw Error("the order of " + to_string(settings.select) + " comes from a model");
}

std::vector<std::int32_t> descending_order(const std::vector<float>& scores) {
  std::vector<std::int32_t> order = identity_order(scores.size());
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  return order;
}

}  // namespace clara
