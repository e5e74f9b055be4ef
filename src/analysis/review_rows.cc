// Sampling, showing and judging rows.
#include "clara/analysis/review_rows.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "analysis/shown_text.h"
#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/content_hash.h"
#include "clara/common/error.h"
#include "clara/common/seeds.h"
#include "clara/common/text.h"
#include "clara/data/records.h"

namespace clara {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<const char*, 3> kVerdictNames = {"good", "bad", "unsure"};
constexpr std::size_t kIndent = 12;
constexpr std::size_t kNarrowest = 20;

std::string key_of(const RawRow& raw) { return hash_bytes(raw.text).hex(); }

/// Lines of at most `width` columns, broken at blanks where there are any.
std::vector<std::string> wrap(const std::string& text, std::size_t width) {
  std::vector<std::string> lines(1);
  std::size_t columns = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    std::size_t end = text.find(' ', begin);
    end = end == std::string::npos ? text.size() : end + 1;
    std::string word = text.substr(begin, end - begin);
    begin = end;
    const std::size_t shown =
        shown_width(word.ends_with(' ') ? word.substr(0, word.size() - 1) : word);
    if (columns > 0 && columns + shown > width) {
      lines.emplace_back();
      columns = 0;
    }
    columns += shown_width(word);
    lines.back() += word;
  }
  return lines;
}

/// Labels on the left, wrapped text beside them.
class RowText {
 public:
  explicit RowText(const RowStyle& style)
      : colors_(style.colors),
        width_(std::max(static_cast<std::size_t>(std::max(style.width, 0)), kIndent + kNarrowest) -
               kIndent) {}

  void add(const std::string& label, const std::string& text, TextColor color = TextColor::kPlain) {
    std::string left = label;
    std::string rest = escape_controls(text, /*keep_newlines=*/true);
    while (true) {
      const std::size_t line_end = rest.find('\n');
      for (const std::string& line : wrap(rest.substr(0, line_end), width_)) {
        const std::size_t used = shown_width(left);
        text_ += paint(left, TextColor::kDim, colors_);
        text_.append(used < kIndent ? kIndent - used : 1, ' ');
        text_ += paint(line, color, colors_) + "\n";
        left.clear();
      }
      if (line_end == std::string::npos) return;
      rest = rest.substr(line_end + 1);
    }
  }
  void add_title(const std::string& title) {
    text_ += paint(title, TextColor::kBold, colors_) + "\n";
  }
  std::string take() { return std::move(text_); }

 private:
  bool colors_;
  std::size_t width_;
  std::string text_;
};

bool is_in_any(const std::string& answer, const std::vector<std::string>& documents) {
  return std::any_of(documents.begin(), documents.end(), [&](const std::string& document) {
    return document.find(answer) != std::string::npos;
  });
}

void add_answer(RowText& text, const std::string& label, const std::string& answer,
                const std::vector<std::string>& documents) {
  text.add(label, answer, TextColor::kGreen);
  if (!is_in_any(answer, documents))
    text.add("", "(stands in no document word for word)", TextColor::kYellow);
}

void add_scp_row(RowText& text, const ScpRecord& record) {
  text.add("document", record.document);
  for (std::size_t i = 0; i < record.questions.size(); ++i) {
    text.add("question " + std::to_string(i + 1), record.questions[i], TextColor::kCyan);
    add_answer(text, "answer", record.answers[i], {record.document});
  }
  if (record.kind == ScpRecord::Kind::kParaphrase) {
    for (const std::string& version : record.answers)
      text.add("paraphrase", version, TextColor::kGreen);
  }
}

void add_qa_row(RowText& text, const QaRecord& record) {
  text.add("question", record.question, TextColor::kCyan);
  for (const std::string& answer : record.answers)
    add_answer(text, "answer", answer, record.documents);
  for (std::size_t k = 0; k < record.documents.size(); ++k) {
    const std::string& document = record.documents[k];
    const bool is_gold = std::find(record.positives.begin(), record.positives.end(),
                                   static_cast<std::int32_t>(k)) != record.positives.end() ||
                         std::find(record.gold_documents.begin(), record.gold_documents.end(),
                                   document) != record.gold_documents.end();
    text.add((is_gold ? "gold " : "document ") + std::to_string(k + 1), document,
             is_gold ? TextColor::kPlain : TextColor::kDim);
  }
  for (const std::string& gold : record.gold_documents) {
    if (std::find(record.documents.begin(), record.documents.end(), gold) == record.documents.end())
      text.add("gold, absent", gold, TextColor::kYellow);
  }
}

/// As clara-data inspect tells them apart: scp rows have a kind, or lists of questions.
bool is_scp_row(const std::string& row) {
  const Json json = parse_json<Json>(row);
  if (!json.is_object()) return false;
  const auto question = json.find("question");
  return json.contains("data_type") || (question != json.end() && question->is_array());
}

/// Whether the end of a file is the beginning of a line that VerdictFile writes.
bool is_torn_verdict(std::string_view text) {
  constexpr std::string_view kStart = "{\"place\":";
  return text.starts_with(kStart.substr(0, text.size()));
}

std::unordered_map<std::string, Verdict> read_verdicts(const std::filesystem::path& path) {
  std::unordered_map<std::string, Verdict> verdicts;
  if (!std::filesystem::exists(path)) return verdicts;
  const std::string content = read_file(path);
  std::size_t line_number = 0;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = content.find('\n', begin);
    ++line_number;
    if (end == std::string::npos && is_torn_verdict(std::string_view(content).substr(begin))) {
      std::filesystem::resize_file(path, begin);  // a kill cut it off
      break;
    }
    const Json line = parse_json<Json>(content.substr(begin, end - begin));
    begin = end == std::string::npos ? content.size() : end + 1;
    const auto text = [&](const char* name) -> std::string {
      if (!line.is_object() || !line.contains(name) || !line[name].is_string()) {
        throw DataError(path.string() + ":" + std::to_string(line_number) + ": " + name +
                        ": expected a verdict of clara-data inspect --review; give another file "
                        "with --verdicts");
      }
      return line[name].get<std::string>();
    };
    const std::string name = text("verdict");
    const auto found = std::find(kVerdictNames.begin(), kVerdictNames.end(), name);
    if (found == kVerdictNames.end()) {
      throw DataError(path.string() + ":" + std::to_string(line_number) +
                      ": verdict: expected good, bad or unsure, found " + name);
    }
    verdicts[text("row")] = static_cast<Verdict>(found - kVerdictNames.begin());
  }
  return verdicts;
}

}  // namespace

std::vector<std::int64_t> sample_rows(std::int64_t num_rows, std::int64_t count,
                                      std::uint64_t seed) {
  // The first steps of a shuffle of all rows, of which only the places that moved are kept.
  std::vector<std::int64_t> rows;
  std::unordered_map<std::int64_t, std::int64_t> moved;
  const auto at = [&](std::int64_t place) {
    const auto found = moved.find(place);
    return found == moved.end() ? place : found->second;
  };
  SeedStream stream(derive_seed(seed, "review"));
  for (std::int64_t i = 0; i < std::min(num_rows, count); ++i) {
    const std::int64_t j =
        i + static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(num_rows - i)));
    rows.push_back(at(j));
    moved[j] = at(i);
  }
  return rows;
}

std::string render_row(const RawRow& raw, const RowStyle& style) {
  RowText text(style);
  text.add_title(raw.place.str());
  try {
    if (is_scp_row(raw.text)) {
      add_scp_row(text, parse_scp_record(raw.text, raw.place));
    } else {
      add_qa_row(text, parse_qa_record(raw.text, raw.place));
    }
  } catch (const DataError& error) {
    text.add("error", error.what(), TextColor::kRed);
    text.add("row", raw.text);
  }
  return text.take();
}

std::string to_string(Verdict verdict) { return kVerdictNames[static_cast<std::size_t>(verdict)]; }

ReviewAnswer parse_review_answer(std::string_view line) {
  const std::string_view text = strip_whitespace(line);
  const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
  const std::string_view word = text.substr(0, end);
  const auto means = [&](std::string_view name) {
    return word == name || (word.size() == 1 && word[0] == name[0]);
  };
  ReviewAnswer answer;
  answer.note = strip_whitespace(text.substr(end));
  if (means("skip")) answer.kind = ReviewAnswer::Kind::kSkip;
  if (means("quit")) answer.kind = ReviewAnswer::Kind::kQuit;
  for (std::size_t v = 0; v < kVerdictNames.size(); ++v) {
    if (!means(kVerdictNames[v])) continue;
    answer.kind = ReviewAnswer::Kind::kVerdict;
    answer.verdict = static_cast<Verdict>(v);
  }
  return answer;
}

VerdictFile::VerdictFile(std::filesystem::path path)
    : verdicts_(read_verdicts(path)), file_(std::move(path)) {}

std::optional<Verdict> VerdictFile::find(const RawRow& raw) const {
  const auto found = verdicts_.find(key_of(raw));
  if (found == verdicts_.end()) return std::nullopt;
  return found->second;
}

void VerdictFile::add(const RawRow& raw, Verdict verdict, const std::string& note) {
  Json line = {{"place", raw.place.str()}, {"row", key_of(raw)}, {"verdict", to_string(verdict)}};
  if (!note.empty()) line["note"] = note;
  std::optional<std::string> failure =
      file_.append(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  if (!failure) failure = file_.sync();
  if (failure) throw Error(file_.path().string() + ": the verdict was not written: " + *failure);
  verdicts_[key_of(raw)] = verdict;
}

std::array<std::int64_t, 3> VerdictFile::counts() const {
  std::array<std::int64_t, 3> counts{};
  for (const auto& [row, verdict] : verdicts_) ++counts[static_cast<std::size_t>(verdict)];
  return counts;
}

std::string render_verdict_counts(const std::array<std::int64_t, 3>& counts) {
  std::string text;
  std::int64_t total = 0;
  for (std::size_t v = 0; v < counts.size(); ++v) {
    text += (v > 0 ? ", " : "") + std::to_string(counts[v]) + " " + kVerdictNames[v];
    total += counts[v];
  }
  if (total == 0) return text;
  char share[32];
  std::snprintf(share, sizeof share, ": %.1f %% good",
                100.0 * static_cast<double>(counts[0]) / static_cast<double>(total));
  return text + share;
}

}  // namespace clara
