// Rows in groups: their questions are searched together, each then gets its documents.
#include "clara/eval/retrieve_candidates.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/content_hash.h"
#include "clara/common/error.h"
#include "clara/common/seeds.h"
#include "clara/data/gzip_writer.h"
#include "clara/data/records.h"
#include "clara/data/row_stream.h"
#include "clara/metrics/answer_metrics.h"
#include "clara/metrics/retrieval_metrics.h"
#include "clara/retrieval/bm25.h"

namespace clara {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, 3> kDocumentFields = {"docs", "context", "content"};
constexpr std::size_t kMaxMessages = 100;
constexpr std::size_t kRowsTogether = 256;
constexpr std::int64_t kMinSearched = 100;  // passages: duplicates and negatives are left out later

// What two texts share that differ in case, punctuation, white space or ml-clara's opening only.
Hash128 text_key(std::string_view text) {
  constexpr std::string_view kOpening = "This a document about ";
  if (text.starts_with(kOpening)) text.remove_prefix(kOpening.size());
  ContentHasher hasher;
  for_each_bm25_term(text, [&](std::string_view term) { hasher.add_field(term); });
  return hasher.digest();
}

// One record, what it tells about gold documents, and its row.
struct Question {
  Json json;
  QaRecord record;
  std::vector<std::string> titles;  // supporting_titles
};

Question read_question(std::string_view text, const RecordPlace& place) {
  Question question;
  question.json = parse_json<Json>(text);
  Json& json = question.json;
  // Questions without documents are what this is for: the parser gets one in their place.
  const bool has_documents =
      !json.is_object() ||
      std::any_of(kDocumentFields.begin(), kDocumentFields.end(), [&](const char* field) {
        return json.contains(field) && json[field].is_array() && !json[field].empty();
      });
  if (has_documents) {
    question.record = parse_qa_record(text, place);
  } else {
    Json filled = json;
    for (const char* field : kDocumentFields) filled.erase(field);
    filled.erase("pos_index");
    filled["docs"] = {"none"};
    question.record = parse_qa_record(filled.dump(), place);
    question.record.documents.clear();
  }
  if (!json.contains("supporting_titles")) return question;
  const Json& titles = json["supporting_titles"];
  const bool is_list = titles.is_array() && std::all_of(titles.begin(), titles.end(),
                                                        [](auto& t) { return t.is_string(); });
  if (!is_list)
    throw DataError(place.str() + ": supporting_titles: expected a list of strings, found another");
  titles.get_to(question.titles);
  return question;
}

// Gold documents of a record, numbered: texts first, then titles without a text.
class Gold {
 public:
  explicit Gold(const Question& question) {
    std::unordered_set<std::string> told;
    const auto add = [&](const std::string& text) {
      if (!numbers_.emplace(text_key(text), static_cast<std::int32_t>(texts_.size())).second)
        return;
      texts_.push_back(text);
      told.insert(text.substr(0, text.find('\n')));
    };
    for (const std::int32_t i : question.record.positives)
      add(question.record.documents[static_cast<std::size_t>(i)]);
    for (const std::string& text : question.record.gold_documents) add(text);
    const auto is_told = [&](const std::string& title) {
      return told.contains(title) || told.contains("This a document about " + title + ". ");
    };
    for (const std::string& title : question.titles) {
      if (is_told(title)) continue;
      titles_.emplace(title, static_cast<std::int32_t>(texts_.size() + titles_.size()));
    }
  }

  const std::vector<std::string>& texts() const { return texts_; }
  std::int32_t size() const { return static_cast<std::int32_t>(texts_.size() + titles_.size()); }
  /// The number of the gold document that a document is; −1 if none.
  std::int32_t number_of(const Hash128& key, const std::string& title) const {
    if (const auto found = numbers_.find(key); found != numbers_.end()) return found->second;
    const auto found = titles_.find(title);
    return title.empty() || found == titles_.end() ? -1 : found->second;
  }

 private:
  std::vector<std::string> texts_;
  std::unordered_map<Hash128, std::int32_t> numbers_;
  std::unordered_map<std::string, std::int32_t> titles_;
};

struct Candidate {
  std::string text;
  Hash128 key;
  std::int32_t gold = -1;
};

// Yes and no are in too many texts to tell anything.
bool holds_answer(const std::string& text, const std::vector<std::string>& answers) {
  return std::any_of(answers.begin(), answers.end(), [&](const std::string& answer) {
    const std::string plain = normalize_answer(answer);
    return plain != "yes" && plain != "no" && contiguous_cover_match(text, answer);
  });
}

class CandidateWriter {
 public:
  CandidateWriter(const PassageSearch& index, const CandidateSettings& settings)
      : index_(index), settings_(settings) {}

  /// Each question with its documents as a line.
  std::string write(std::vector<Question>& questions) {
    std::vector<std::string> texts;
    for (const Question& question : questions) texts.push_back(question.record.question);
    const std::int64_t wanted = settings_.num_candidates + settings_.num_hard_negatives;
    const auto hits = index_.search(texts, std::max(kMinSearched, 2 * wanted));
    std::string lines;
    for (std::size_t i = 0; i < questions.size(); ++i) lines += write_one(questions[i], hits[i]);
    return lines;
  }

  CandidateReport& report() { return report_; }

  void finish() {
    for (std::size_t i = 0; i < recall_.size(); ++i) {
      if (num_with_gold_ > 0) report_.recall[i] = recall_[i] / static_cast<double>(num_with_gold_);
      if (num_rows_ > 0)
        report_.answer_recall[i] = answer_recall_[i] / static_cast<double>(num_rows_);
    }
  }

 private:
  // What was found, equal texts once.
  std::vector<Candidate> found_candidates(const std::vector<SearchHit>& hits, const Gold& gold) {
    std::vector<Candidate> found;
    std::unordered_set<Hash128> seen;
    for (const SearchHit& hit : hits) {
      const Passage passage = index_.passages().passage(hit.passage);
      Candidate candidate;
      candidate.text = document_of(passage, settings_.document_format);
      candidate.key = text_key(candidate.text);
      candidate.gold = gold.number_of(candidate.key, passage.title);
      if (seen.insert(candidate.key).second) {
        found.push_back(std::move(candidate));
      } else {
        ++report_.num_repeated;
      }
    }
    return found;
  }

  void count_recall(const std::vector<Candidate>& found, const Gold& gold,
                    const std::vector<std::string>& answers) {
    ++num_rows_;
    std::vector<std::int32_t> ranked;
    std::vector<std::int32_t> wanted;
    for (std::int32_t i = 0; i < gold.size(); ++i) wanted.push_back(i);
    for (std::size_t i = 0; i < found.size(); ++i) {
      const std::int32_t other = gold.size() + static_cast<std::int32_t>(i);
      ranked.push_back(found[i].gold >= 0 ? found[i].gold : other);
    }
    std::size_t first_answer = 0;
    const auto most = std::min(found.size(), static_cast<std::size_t>(report_.kCutoffs.back()));
    while (first_answer < most && !holds_answer(found[first_answer].text, answers)) ++first_answer;
    for (std::size_t i = 0; i < recall_.size(); ++i) {
      const std::int32_t k = CandidateReport::kCutoffs[i];
      if (!wanted.empty()) recall_[i] += recall_at_k(ranked, wanted, k);
      if (first_answer < std::min(most, static_cast<std::size_t>(k))) answer_recall_[i] += 1;
    }
    if (wanted.empty()) {
      ++report_.num_without_gold;
    } else {
      ++num_with_gold_;
    }
  }

  std::string write_one(Question& question, const std::vector<SearchHit>& hits) {
    const Gold gold(question);
    const std::vector<Candidate> found = found_candidates(hits, gold);
    count_recall(found, gold, question.record.answers);
    std::vector<Candidate> chosen;
    switch (settings_.mode) {
      case CandidateMode::kNormal:
      case CandidateMode::kOracle:
        chosen.assign(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(
                                                         std::min(found.size(), num_candidates())));
        if (settings_.mode == CandidateMode::kOracle) put_gold_in(chosen, gold);
        break;
      case CandidateMode::kInBenchmark:
        chosen = own_candidates(question.record, gold);
        fill_up(chosen, found);
        break;
      case CandidateMode::kHardNegatives:
        add_missing_gold(chosen, gold, found);
        add_negatives(chosen, found, question.record.answers);
        break;
    }
    const bool is_ordered =
        settings_.mode == CandidateMode::kNormal || settings_.mode == CandidateMode::kInBenchmark;
    if (!is_ordered) shuffle(chosen, question.record.question);
    if (chosen.empty()) {
      ++report_.num_without_documents;
      return "";
    }
    return line_of(question, chosen, gold);
  }

  std::size_t num_candidates() const { return static_cast<std::size_t>(settings_.num_candidates); }

  static bool holds(const std::vector<Candidate>& candidates, const Hash128& key) {
    return std::any_of(candidates.begin(), candidates.end(),
                       [&](const Candidate& candidate) { return candidate.key == key; });
  }

  void put_gold_in(std::vector<Candidate>& chosen, const Gold& gold) {
    for (std::size_t i = 0; i < gold.texts().size(); ++i) {
      const Hash128 key = text_key(gold.texts()[i]);
      if (holds(chosen, key)) continue;
      Candidate added = {gold.texts()[i], key, static_cast<std::int32_t>(i)};
      const auto last_other = std::find_if(chosen.rbegin(), chosen.rend(),
                                           [](const Candidate& other) { return other.gold < 0; });
      if (chosen.size() < num_candidates() || last_other == chosen.rend()) {
        chosen.push_back(std::move(added));
      } else {
        *last_other = std::move(added);
      }
      ++report_.num_gold_added;
    }
  }

  std::vector<Candidate> own_candidates(const QaRecord& record, const Gold& gold) {
    std::vector<Candidate> own;
    for (const std::string& text : record.documents) {
      const Hash128 key = text_key(text);
      if (holds(own, key)) {
        ++report_.num_repeated;
      } else {
        own.push_back({text, key, gold.number_of(key, "")});
      }
    }
    // More than are wanted: the last that are not gold go.
    while (own.size() > num_candidates()) {
      const auto last_other = std::find_if(own.rbegin(), own.rend(),
                                           [](const Candidate& other) { return other.gold < 0; });
      own.erase(last_other == own.rend() ? own.end() - 1 : std::next(last_other).base());
    }
    return own;
  }

  void fill_up(std::vector<Candidate>& chosen, const std::vector<Candidate>& found) {
    for (const Candidate& candidate : found) {
      if (chosen.size() >= num_candidates()) return;
      if (holds(chosen, candidate.key)) continue;
      chosen.push_back(candidate);
      ++report_.num_filled;
    }
  }

  void add_missing_gold(std::vector<Candidate>& chosen, const Gold& gold,
                        const std::vector<Candidate>& found) {
    for (std::size_t i = 0; i < gold.texts().size(); ++i) {
      const Hash128 key = text_key(gold.texts()[i]);
      chosen.push_back({gold.texts()[i], key, static_cast<std::int32_t>(i)});
      if (!holds(found, key)) ++report_.num_gold_added;
    }
    for (const Candidate& candidate : found) {
      if (candidate.gold >= 0 && !holds(chosen, candidate.key)) chosen.push_back(candidate);
    }
  }

  void add_negatives(std::vector<Candidate>& chosen, const std::vector<Candidate>& found,
                     const std::vector<std::string>& answers) {
    std::int64_t num_missing = settings_.num_hard_negatives;
    for (const Candidate& candidate : found) {
      if (num_missing == 0) return;
      if (candidate.gold >= 0) continue;
      if (holds_answer(candidate.text, answers)) {
        ++report_.num_with_answer;
        continue;
      }
      chosen.push_back(candidate);
      --num_missing;
    }
  }

  // The same for the same question, whatever the rows before it.
  void shuffle(std::vector<Candidate>& chosen, const std::string& question) const {
    SeedStream stream(derive_seed(settings_.seed, "candidate_order", {hash_bytes(question).lo}));
    for (std::size_t i = chosen.size(); i > 1; --i)
      std::swap(chosen[i - 1], chosen[static_cast<std::size_t>(stream.below(i))]);
  }

  std::string line_of(Question& question, const std::vector<Candidate>& chosen, const Gold& gold) {
    Json documents = Json::array();
    Json positives = Json::array();
    for (const Candidate& candidate : chosen) {
      if (candidate.gold >= 0) positives.push_back(documents.size());
      documents.push_back(candidate.text);
    }
    Json missing = Json::array();
    for (const std::string& text : gold.texts()) {
      if (!holds(chosen, text_key(text))) missing.push_back(text);
    }
    const auto wanted =
        settings_.mode == CandidateMode::kHardNegatives
            ? gold.texts().size() + static_cast<std::size_t>(settings_.num_hard_negatives)
            : num_candidates();
    if (chosen.size() < wanted) ++report_.num_short;
    report_.num_documents += static_cast<std::int64_t>(chosen.size());
    ++report_.num_written;
    Json& json = question.json;
    for (const char* field : kDocumentFields) json.erase(field);
    json["docs"] = std::move(documents);
    json["pos_index"] = std::move(positives);
    json.erase("gold_docs");
    if (!missing.empty()) json["gold_docs"] = std::move(missing);
    return json.dump() + "\n";
  }

  const PassageSearch& index_;
  const CandidateSettings& settings_;
  CandidateReport report_;
  std::int64_t num_rows_ = 0;
  std::int64_t num_with_gold_ = 0;
  std::array<double, 3> recall_{};
  std::array<double, 3> answer_recall_{};
};

void check(const std::string& data, const std::filesystem::path& output,
           const CandidateSettings& settings) {
  const std::string name = output.string();
  if (settings.num_candidates < 1 || settings.num_candidates > kMaxDocuments)
    throw ConfigError("expected 1 to " + std::to_string(kMaxDocuments) + " candidates, found " +
                      std::to_string(settings.num_candidates));
  const bool has_negatives = settings.num_hard_negatives > 0;
  if (has_negatives != (settings.mode == CandidateMode::kHardNegatives) ||
      settings.num_hard_negatives >= kMaxDocuments)
    throw ConfigError("expected 1 to " + std::to_string(kMaxDocuments - 1) +
                      " hard negatives, found " + std::to_string(settings.num_hard_negatives));
  if (!name.ends_with(".jsonl") && !name.ends_with(".jsonl.gz"))
    throw ConfigError(name + ": expected a name that ends in .jsonl or .jsonl.gz");
  std::error_code ignored;
  if (!std::filesystem::exists(output, ignored)) return;
  if (std::filesystem::equivalent(data, output, ignored))
    throw ConfigError(name + ": expected another file than the one that is read");
  if (!settings.replaces) throw ConfigError(name + ": is there already; --force replaces it");
}

}  // namespace

CandidateReport retrieve_candidates(const std::string& data, const std::filesystem::path& output,
                                    const PassageSearch& index, const CandidateSettings& settings,
                                    const CandidateProgress& progress) {
  check(data, output, settings);
  RowStream rows(data);
  CandidateWriter writer(index, settings);
  CandidateReport& report = writer.report();
  AtomicFile file(output);
  std::optional<GzipWriter> gzip;
  if (output.extension() == ".gz") gzip.emplace([&](std::string_view bytes) { file.write(bytes); });
  std::vector<Question> questions;
  const auto write = [&] {
    const std::string lines = writer.write(questions);
    if (gzip) {
      gzip->write(lines);
    } else {
      file.write(lines);
    }
    questions.clear();
    if (progress)
      progress(static_cast<std::int64_t>(rows.num_bytes_read()),
               static_cast<std::int64_t>(rows.num_bytes()), report.num_read);
  };
  while (const auto row = rows.next()) {
    ++report.num_read;
    try {
      questions.push_back(read_question(row->text, row->place));
    } catch (const DataError& error) {
      if (!settings.skips_bad_rows) throw;
      ++report.num_bad_rows;
      if (report.bad_rows.size() < kMaxMessages) report.bad_rows.emplace_back(error.what());
    }
    if (questions.size() == kRowsTogether) write();
  }
  write();
  if (report.num_bad_rows == report.num_read) {
    throw DataError(data + ": every one of its " + std::to_string(report.num_read) +
                    " rows is bad; the first: " + report.bad_rows.front());
  }
  if (gzip) gzip->finish();
  file.commit();
  writer.finish();
  return std::move(report);
}

std::string render_candidate_report(const CandidateReport& report) {
  std::vector<std::pair<std::string, std::int64_t>> entries = {
      {"rows read", report.num_read},
      {"records written", report.num_written},
      {"documents", report.num_documents}};
  const auto add = [&](const char* name, std::int64_t count) {
    if (count > 0) entries.emplace_back(name, count);
  };
  add("repeated texts left out", report.num_repeated);
  add("gold documents put in", report.num_gold_added);
  add("documents filled up", report.num_filled);
  add("with an answer: no negatives", report.num_with_answer);
  add("records with fewer documents", report.num_short);
  add("rows without a gold document", report.num_without_gold);
  add("dropped: nothing was found", report.num_without_documents);
  add("bad rows left out", report.num_bad_rows);
  std::string text;
  std::array<char, 96> line{};
  for (const auto& [name, count] : entries) {
    std::snprintf(line.data(), line.size(), "%-30s %10lld\n", name.c_str(),
                  static_cast<long long>(count));
    text += line.data();
  }
  text += "found by the index                   @1       @5      @20\n";
  const auto add_shares = [&](const char* name, const std::array<double, 3>& shares) {
    std::snprintf(line.data(), line.size(), "%-30s %8.4f %8.4f %8.4f\n", name, shares[0], shares[1],
                  shares[2]);
    text += line.data();
  };
  add_shares("  recall of gold documents", report.recall);
  add_shares("  a text holds an answer", report.answer_recall);
  for (const std::string& message : report.bad_rows) text += "  " + message + "\n";
  return text;
}

}  // namespace clara
