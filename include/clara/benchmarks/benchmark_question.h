// A question of a published benchmark with its passages, whatever the layout it was published in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace clara {

struct BenchmarkPassage {
  std::string title;                   ///< may be empty
  std::vector<std::string> sentences;  ///< or the whole text as one
  bool is_relevant = false;            ///< a gold passage
  bool is_document = false;  ///< the only sentence is a whole document already: nothing is added
};

struct BenchmarkQuestion {
  std::string id;  ///< whole numbers as their digits; empty where the row has none
  std::string question;
  std::vector<std::string> answers;  ///< answer and aliases, in their order, each text once
  std::string answer_id;             ///< 2Wiki: the answer's entity, which may have more names
  std::vector<BenchmarkPassage> passages;
  /// Whether the row says which passages are relevant, if only that none is.
  bool has_relevance = false;
  /// The passages come by relevance: their order would give the answer away.
  bool is_ranked = false;
  std::vector<std::string> supporting_titles;  ///< of gold passages, here or not, each once
  std::int32_t num_missing_titles = 0;         ///< of them without a passage in the row
  std::int32_t num_repeated_passages = 0;      ///< listed again under the same number: left out
  std::int32_t num_missing_sentences = 0;      ///< supporting sentences that their passage lacks
  std::string type;                            ///< "bridge", "comparison", …, or empty
  bool is_answerable = true;                   ///< MuSiQue-Full
};

}  // namespace clara
