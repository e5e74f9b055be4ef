// One pass over the rows; what is dropped or missing is counted.
#include "clara/benchmarks/convert.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "benchmarks/row_parts.h"

#include "clara/common/atomic_file.h"
#include "clara/common/content_hash.h"
#include "clara/common/error.h"
#include "clara/data/gzip_writer.h"
#include "clara/data/json_row.h"

namespace clara {
namespace {

constexpr std::size_t kMaxMessages = 100;
constexpr std::int64_t kRowsBetweenProgress = 64;
constexpr const char* kKeepHint = "; --keep-complete converts the whole rows before it";

bool repeats_a_title(const BenchmarkQuestion& question) {
  std::unordered_set<std::string_view> titles;
  return std::any_of(question.passages.begin(), question.passages.end(),
                     [&](const BenchmarkPassage& passage) {
                       return !passage.title.empty() && !titles.insert(passage.title).second;
                     });
}

// Converts files one after another into one report.
class Converter {
 public:
  Converter(const ConvertSettings& settings, const std::function<void(std::string_view)>& write,
            const ConvertProgress& progress)
      : settings_(settings), write_(write), progress_(progress) {}

  ConvertReport convert(const std::vector<std::string>& files) {
    // Each is opened once before the first is read: a wrong name is told at once.
    std::vector<std::int64_t> sizes;
    for (const std::string& file : files) {
      sizes.push_back(static_cast<std::int64_t>(RowStream(file).num_bytes()));
      num_bytes_ += sizes.back();
    }
    for (std::size_t i = 0; i < files.size() && !has_enough(); ++i) {
      convert_file(files[i]);
      num_bytes_before_ += sizes[i];
    }
    if (report_.num_bad_rows > 0 && report_.num_bad_rows == report_.num_read) {
      throw DataError(report_.files.front().path + ": every one of its " +
                      std::to_string(report_.num_read) +
                      " rows is bad; the first: " + report_.bad_rows.front());
    }
    return std::move(report_);
  }

 private:
  bool has_enough() const {
    return settings_.max_rows > 0 && report_.num_read >= settings_.max_rows;
  }

  void convert_file(const std::string& path) {
    RowStream rows(path, settings_.keeps_complete);
    report_.files.push_back({path, "", 0, 0, std::nullopt});
    BenchmarkReader reader(settings_.format);
    while (!has_enough()) {
      const std::optional<StreamedRow> row = next_row(rows);
      if (!row || !convert_row(reader, *row)) break;
      if (progress_ && report_.num_read % kRowsBetweenProgress == 0) show_progress(rows);
    }
    ConvertedFile& file = report_.files.back();
    if (!file.cut_off) file.cut_off = rows.cut_off();
    if (reader.format()) file.format = to_string(*reader.format());
    if (progress_) show_progress(rows);
  }

  static std::optional<StreamedRow> next_row(RowStream& rows) {
    try {
      return rows.next();
    } catch (const DataError& error) {
      if (rows.cut_off()) throw DataError(error.what() + std::string(kKeepHint));
      throw;
    }
  }

  void show_progress(const RowStream& rows) const {
    progress_(num_bytes_before_ + static_cast<std::int64_t>(rows.num_bytes_read()), num_bytes_,
              report_.num_read);
  }

  // False: the row is a last line that is cut off.
  bool convert_row(BenchmarkReader& reader, const StreamedRow& row) {
    ConvertedFile& file = report_.files.back();
    std::optional<BenchmarkRecord> record;
    try {
      record = reader.read(row);
    } catch (const JsonSyntaxError& error) {
      if (!row.has_line_end) {
        const std::string message =
            error.what() + std::string("; no line break ends it: the file may be cut off");
        if (!settings_.keeps_complete) throw DataError(message + kKeepHint);
        file.cut_off = message;
        return false;
      }
      handle_bad_row(error);
    } catch (const DataError& error) {
      handle_bad_row(error);
    }
    ++file.num_read;
    ++report_.num_read;
    if (!record) return true;
    if (auto* question = std::get_if<BenchmarkQuestion>(&*record)) {
      add_aliases(*question);
      convert_question(*question, file);
    } else {
      write_pretraining(std::get<ScpRecord>(*record), file);
    }
    return true;
  }

  void handle_bad_row(const DataError& error) {
    if (!settings_.skips_bad_rows) throw error;
    ++report_.num_bad_rows;
    ++report_.dropped["bad row"];
    if (report_.bad_rows.size() < kMaxMessages) report_.bad_rows.emplace_back(error.what());
  }

  void add_aliases(BenchmarkQuestion& question) {
    const auto found = settings_.aliases.find(question.answer_id);
    if (found == settings_.aliases.end() || question.answers.empty()) return;
    const std::size_t before = question.answers.size();
    for (const std::string& name : found->second) add_answer(question, name);
    if (question.answers.size() > before) ++report_.num_aliased_rows;
  }

  // Why a question gives no record; null if it does.
  const char* reason_to_drop(const BenchmarkQuestion& question) const {
    if (!question.is_answerable && !settings_.keeps_unanswerable) return "unanswerable";
    if (question.answers.empty()) return "no answer";
    return nullptr;
  }

  void convert_question(const BenchmarkQuestion& question, ConvertedFile& file) {
    if (settings_.record.kind == RecordKind::kScp) {
      convert_passages(question, file);
      return;
    }
    if (const char* reason = reason_to_drop(question)) {
      ++report_.dropped[reason];
      return;
    }
    const BenchmarkRecordLine line = to_record_line(question, settings_.record);
    if (line.num_documents == 0) {
      if (settings_.record.kind != RecordKind::kEvaluation) {
        ++report_.dropped["no documents"];
        return;
      }
      ++report_.num_without_documents;
    }
    write_(line.json);
    count_question(question, line);
    ++file.num_written;
    ++report_.num_written;
  }

  void count_question(const BenchmarkQuestion& question, const BenchmarkRecordLine& line) {
    report_.num_answers += static_cast<std::int64_t>(question.answers.size());
    report_.num_passages += static_cast<std::int64_t>(question.passages.size());
    report_.num_documents += line.num_documents;
    report_.num_relevant += line.num_relevant;
    count_left_out(question, line);
    report_.num_rows_without_relevant += question.has_relevance && line.num_relevant == 0 ? 1 : 0;
    report_.num_repeated_title_rows += repeats_a_title(question) ? 1 : 0;
    report_.num_missing_titles += question.num_missing_titles;
    report_.num_missing_title_rows += question.num_missing_titles > 0 ? 1 : 0;
    report_.num_missing_sentences += question.num_missing_sentences;
    report_.num_missing_sentence_rows += question.num_missing_sentences > 0 ? 1 : 0;
  }

  void count_left_out(const BenchmarkQuestion& question, const BenchmarkRecordLine& line) {
    report_.num_split_documents += line.num_split_documents;
    report_.num_blank_passages += line.num_blank_passages;
    report_.num_repeated_passages += question.num_repeated_passages;
    report_.num_left_out_passages += line.num_left_out_passages;
    report_.num_left_out_chunks += line.num_left_out_chunks;
  }

  // What is asked about them, and whether it can be answered, does not matter to the passages.
  void convert_passages(const BenchmarkQuestion& question, ConvertedFile& file) {
    const PassageTexts passages = passage_texts(question, settings_.record);
    if (passages.texts.empty()) ++report_.dropped["no documents"];
    count_left_out(question, passages.counts);
    for (const std::string& text : passages.texts) {
      if (!met_passages_.insert(hash_bytes(text)).second) {
        ++report_.num_met_passages;
        continue;
      }
      ScpRecord record;
      record.kind = ScpRecord::Kind::kParaphrase;
      record.answers = {text};
      record.document = text;
      write_pretraining(record, file);
      ++report_.num_pretraining_texts;
    }
  }

  void write_pretraining(const ScpRecord& record, ConvertedFile& file) {
    write_(to_record_line(record));
    ++file.num_written;
    ++report_.num_written;
    ++report_.num_pretraining;
    report_.num_pretraining_pairs += static_cast<std::int64_t>(record.questions.size());
    report_.num_answers += static_cast<std::int64_t>(record.answers.size());
    ++report_.num_passages;
    ++report_.num_documents;
  }

  const ConvertSettings& settings_;
  const std::function<void(std::string_view)>& write_;
  const ConvertProgress& progress_;
  ConvertReport report_;
  std::unordered_set<Hash128> met_passages_;  // texts of rows that give them back
  std::int64_t num_bytes_ = 0;
  std::int64_t num_bytes_before_ = 0;  // of files that are done
};

void check_output(const std::vector<std::string>& files, const std::filesystem::path& output,
                  bool replaces) {
  const std::string name = output.string();
  if (!name.ends_with(".jsonl") && !name.ends_with(".jsonl.gz")) {
    throw ConfigError(name + ": expected a name that ends in .jsonl or .jsonl.gz");
  }
  std::error_code ignored;
  if (!std::filesystem::exists(output, ignored)) return;
  for (const std::string& file : files) {
    if (std::filesystem::equivalent(file, output, ignored)) {
      throw ConfigError(name + ": expected another file than one that is read");
    }
  }
  if (!replaces) throw ConfigError(name + ": is there already; --force replaces it");
}

}  // namespace

ConvertReport convert_benchmarks(const std::vector<std::string>& files,
                                 const ConvertSettings& settings,
                                 const std::function<void(std::string_view)>& write,
                                 const ConvertProgress& progress) {
  return Converter(settings, write, progress).convert(files);
}

ConvertReport convert_benchmark_files(const std::vector<std::string>& files,
                                      const std::filesystem::path& output, bool replaces,
                                      const ConvertSettings& settings,
                                      const ConvertProgress& progress) {
  check_output(files, output, replaces);
  constexpr std::size_t kBufferBytes = std::size_t{1} << 18;
  AtomicFile file(output);
  std::optional<GzipWriter> gzip;
  if (output.extension() == ".gz") {
    gzip.emplace([&](std::string_view bytes) { file.write(bytes); });
  }
  std::string buffer;  // rows are shorter than what a write call is worth
  const auto flush = [&] {
    if (gzip) {
      gzip->write(buffer);
    } else {
      file.write(buffer);
    }
    buffer.clear();
  };
  ConvertReport report = convert_benchmarks(
      files, settings,
      [&](std::string_view line) {
        buffer += line;
        if (buffer.size() >= kBufferBytes) flush();
      },
      progress);
  flush();
  if (gzip) gzip->finish();
  file.commit();
  return report;
}

}  // namespace clara
