// The summary that clara-data convert ends with.
#include <algorithm>
#include <utility>

#include "clara/benchmarks/convert.h"

namespace clara {
namespace {

struct Entry {
  std::string name;
  std::int64_t count = 0;
  std::string note;
};

std::string rows_note(std::int64_t num_rows) {
  return "in " + std::to_string(num_rows) + (num_rows == 1 ? " row" : " rows");
}

std::string pretraining_note(const ConvertReport& report) {
  if (report.num_pretraining_texts == 0)
    return std::to_string(report.num_pretraining_pairs) + " questions with answers";
  std::string note = std::to_string(report.num_pretraining_texts) + " give their text back";
  if (report.num_pretraining_pairs > 0)
    note += ", the others have " + std::to_string(report.num_pretraining_pairs) + " questions";
  return note;
}

// Only what happened; the first two always.
std::vector<Entry> entries_of(const ConvertReport& report) {
  std::vector<Entry> entries = {{"rows read", report.num_read, ""},
                                {"records written", report.num_written, ""}};
  const auto add = [&](std::string name, std::int64_t count, std::string note = "") {
    if (count > 0) entries.push_back({std::move(name), count, std::move(note)});
  };
  add("  of them for pretraining", report.num_pretraining, pretraining_note(report));
  add("  of them without documents", report.num_without_documents,
      "only questions and answers: training and clara-eval need documents");
  for (const auto& [reason, count] : report.dropped) add("dropped: " + reason, count);
  add("answers", report.num_answers);
  add("rows with answers of --aliases", report.num_aliased_rows);
  add("passages", report.num_passages);
  add("documents", report.num_documents);
  add("  of them gold", report.num_relevant);
  add("passages split into chunks", report.num_split_documents);
  add("passages left out", report.num_left_out_passages, "over --max-documents");
  add("chunks left out", report.num_left_out_chunks,
      "over " + std::to_string(kMaxDocuments) + " a record");
  add("blank passages left out", report.num_blank_passages);
  add("passages met before left out", report.num_met_passages);
  add("repeated passages left out", report.num_repeated_passages);
  add("records without a gold document", report.num_rows_without_relevant);
  add("rows with a repeated title", report.num_repeated_title_rows);
  add("gold titles not in their row", report.num_missing_titles,
      rows_note(report.num_missing_title_rows));
  add("gold sentences out of range", report.num_missing_sentences,
      rows_note(report.num_missing_sentence_rows) + ": the passage counts as gold");
  return entries;
}

}  // namespace

std::string render_convert_report(const ConvertReport& report) {
  std::string text;
  for (const ConvertedFile& file : report.files) {
    text += file.path + " (" + (file.format.empty() ? "no layout" : file.format) +
            "): " + std::to_string(file.num_read) + " rows, " + std::to_string(file.num_written) +
            " records\n";
    if (file.cut_off) text += "  only its whole rows: " + *file.cut_off + "\n";
  }
  std::size_t name_width = 0;
  std::size_t count_width = 0;
  const std::vector<Entry> entries = entries_of(report);
  for (const Entry& entry : entries) {
    name_width = std::max(name_width, entry.name.size());
    count_width = std::max(count_width, std::to_string(entry.count).size());
  }
  for (const Entry& entry : entries) {
    const std::string count = std::to_string(entry.count);
    text += entry.name + std::string(name_width - entry.name.size() + 2, ' ') +
            std::string(count_width - count.size(), ' ') + count;
    text += (entry.note.empty() ? "" : "  " + entry.note) + "\n";
  }
  if (report.num_bad_rows > 0) {
    text += "bad rows that were left out (--on-bad-record skip):\n";
    for (const std::string& message : report.bad_rows) text += "  " + message + "\n";
    const auto num_more = report.num_bad_rows - static_cast<std::int64_t>(report.bad_rows.size());
    if (num_more > 0) text += "  and " + std::to_string(num_more) + " more\n";
  }
  if (report.num_written == 0) text += "no record was written: every row was dropped\n";
  return text;
}

}  // namespace clara
