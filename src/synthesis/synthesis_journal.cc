// Lines of the journal, written and read.
#include "synthesis/synthesis_journal.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "clara/common/error.h"

namespace clara {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr std::uint8_t kMetFlag = 0x80;
constexpr const char* kStepNames[] = {"write", "verify", "complete", "dropped"};

std::uint8_t flag_of(SynthesisKind kind) {
  return static_cast<std::uint8_t>(1U << static_cast<unsigned>(kind));
}

Json start_line(const RowKey& row) {
  return {{"document", row.document.hex()}, {"kind", to_string(row.kind)}};
}

Hash128 parse_hash(const std::string& hex) {
  constexpr std::size_t kDigits = 16;
  if (hex.size() != 2 * kDigits) throw Error("expected 32 hexadecimal digits");
  return {std::stoull(hex.substr(kDigits), nullptr, 16),
          std::stoull(hex.substr(0, kDigits), nullptr, 16)};
}

RowKey key_of(const Json& line) {
  return {parse_hash(line.at("document").get<std::string>()),
          parse_synthesis_kind(line.at("kind").get<std::string>())};
}

TaskState::Step parse_step(const std::string& name) {
  for (std::size_t i = 0; i < std::size(kStepNames); ++i) {
    if (name == kStepNames[i]) return static_cast<TaskState::Step>(i);
  }
  throw Error("expected a step, found \"" + name + "\"");
}

std::int64_t size_of_file(const fs::path& path) {
  std::error_code absent;
  const auto size = fs::file_size(path, absent);
  return absent ? 0 : static_cast<std::int64_t>(size);
}

void cut_file(const fs::path& path, std::int64_t size) {
  if (size_of_file(path) <= size) return;
  std::error_code failure;
  fs::resize_file(path, static_cast<std::uintmax_t>(size), failure);
  if (failure) throw DataError(path.string() + ": cannot be mended: " + failure.message());
}

// A line's state: what it says over what the lines before it said.
void read_state(const Json& line, TaskState& state) {
  state.step = parse_step(line.at("step").get<std::string>());
  state.round = line.at("round").get<std::int64_t>();
  state.reason = line.value("reason", "");
  if (line.contains("pairs")) {
    state.pairs.clear();
    for (const Json& pair : line.at("pairs"))
      state.pairs.push_back({pair.at(0).get<std::string>(), pair.at(1).get<std::string>()});
  }
  if (line.contains("paraphrase")) state.paraphrase = line.at("paraphrase").get<std::string>();
  if (line.contains("missing")) state.missing = line.at("missing").get<std::vector<std::string>>();
  if (line.contains("problems"))
    state.problems = line.at("problems").get<std::vector<std::string>>();
}

}  // namespace

SynthesisJournal::SynthesisJournal(const fs::path& folder) {
  const fs::path rows = folder / "rows.jsonl";
  const fs::path journal = folder / "journal.jsonl";
  rows_available_ = size_of_file(rows);
  read(journal);
  // What no line speaks of was torn, or is written again.
  cut_file(rows, rows_size_);
  rows_.emplace(rows);
  journal_.emplace(journal);
}

void SynthesisJournal::read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::int64_t sound_bytes = 0;
  std::int64_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    const bool has_end = !file.eof();
    try {
      // The end of a line is the last byte of it that is written.
      if (!has_end) break;
      read_line(line);
    } catch (const std::exception&) {
      if (file.peek() == std::ifstream::traits_type::eof()) break;
      throw DataError(path.string() + ":" + std::to_string(number) +
                      ": expected a line that this program wrote, found another one; the file was "
                      "changed or its disk is damaged");
    }
    sound_bytes += static_cast<std::int64_t>(line.size()) + 1;
  }
  file.close();
  cut_file(path, sound_bytes);
}

void SynthesisJournal::read_line(const std::string& text) {
  // Everything is read before anything is counted: a torn line counts for nothing.
  const Json line = Json::parse(text);
  const RowKey row = key_of(line);
  if (line.contains("row_end")) {
    const auto row_end = line.at("row_end").get<std::int64_t>();
    // The system may have lost the row and kept the line, when the power failed.
    if (row_end > rows_available_) return;
    rows_size_ = std::max(rows_size_, row_end);
    const auto open = open_.find(row);
    if (open == open_.end()) return;
    count_finished(row, open->second, true);
    open_.erase(open);
    return;
  }
  TaskState state = open_.count(row) > 0 ? open_.at(row) : TaskState();
  read_state(line, state);
  const auto tokens = line.at("tokens").get<std::array<std::int64_t, 2>>();
  const auto refused = line.value("refused", std::map<std::string, std::int64_t>());
  ++totals_.num_answers;
  totals_.prompt_tokens += tokens[0];
  totals_.completion_tokens += tokens[1];
  for (const auto& [reason, count] : refused) totals_.refused[reason] += count;
  if (state.step == TaskState::Step::kDropped) {
    count_finished(row, state, false);
    open_.erase(row);
  } else {
    open_[row] = std::move(state);
  }
}

void SynthesisJournal::count_finished(const RowKey& row, const TaskState& state, bool is_kept) {
  documents_.flags(row.document) |= flag_of(row.kind);
  KindTotals& kind = totals_.kinds[static_cast<std::size_t>(row.kind)];
  if (!is_kept) {
    ++kind.dropped[state.reason];
    return;
  }
  ++kind.num_kept;
  kind.num_pairs += static_cast<std::int64_t>(state.pairs.size());
  ++kind.rounds[state.round];
}

bool SynthesisJournal::is_finished(const RowKey& row) {
  return (documents_.flags(row.document) & flag_of(row.kind)) != 0;
}

bool SynthesisJournal::meet(const Hash128& document) {
  std::uint8_t& flags = documents_.flags(document);
  const bool is_first = (flags & kMetFlag) == 0;
  flags |= kMetFlag;
  return is_first;
}

std::optional<TaskState> SynthesisJournal::take_open(const RowKey& row) {
  const auto found = open_.find(row);
  if (found == open_.end()) return std::nullopt;
  TaskState state = std::move(found->second);
  open_.erase(found);
  return state;
}

void SynthesisJournal::append(AppendFile& file, const std::string& line) const {
  if (const auto failure = file.append(line)) {
    throw DataError(file.path().string() + ": cannot be written: " + *failure +
                    "; what was finished is kept: make room and give the same command again");
  }
}

void SynthesisJournal::record_answer(const RowKey& row, const TaskState& state,
                                     const ChatUsage& usage, const RefusedCounts& refused) {
  Json line = start_line(row);
  line["step"] = kStepNames[static_cast<std::size_t>(state.step)];
  line["round"] = state.round;
  line["tokens"] = {usage.prompt_tokens, usage.completion_tokens};
  if (!state.reason.empty()) line["reason"] = state.reason;
  if (!refused.empty()) line["refused"] = refused;
  const bool goes_on =
      state.step == TaskState::Step::kWrite || state.step == TaskState::Step::kVerify;
  // A complete row is what the line before it had; of a dropped one nothing is needed.
  if (goes_on) {
    if (row.kind == SynthesisKind::kParaphrase) {
      line["paraphrase"] = state.paraphrase;
    } else {
      line["pairs"] = Json::array();
      for (const QaPair& pair : state.pairs)
        line["pairs"].push_back(Json::array({pair.question, pair.answer}));
    }
    line["missing"] = state.missing;
    line["problems"] = state.problems;
  }
  append(*journal_, line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  ++totals_.num_answers;
  totals_.prompt_tokens += usage.prompt_tokens;
  totals_.completion_tokens += usage.completion_tokens;
  for (const auto& [reason, count] : refused) totals_.refused[reason] += count;
  if (state.step == TaskState::Step::kDropped) count_finished(row, state, false);
}

void SynthesisJournal::record_row(const RowKey& row, const TaskState& state,
                                  const std::string& text) {
  append(*rows_, text);
  rows_size_ += static_cast<std::int64_t>(text.size());
  Json line = start_line(row);
  line["row_end"] = rows_size_;
  append(*journal_, line.dump() + "\n");
  count_finished(row, state, true);
}

void SynthesisJournal::sync() {
  for (AppendFile* file : {&*rows_, &*journal_}) {
    if (const auto failure = file->sync()) {
      throw DataError(file->path().string() + ": cannot be written: " + *failure +
                      "; make room and give the same command again");
    }
  }
}

}  // namespace clara
