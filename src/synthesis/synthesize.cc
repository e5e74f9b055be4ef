// The run: documents in, tasks asked about, rows out.
#include "clara/synthesis/synthesize.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "synthesis/document_stream.h"
#include "synthesis/synthesis_folder.h"
#include "synthesis/synthesis_journal.h"
#include "synthesis/synthesis_task.h"
#include "synthesis/text_words.h"

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/folder_lock.h"
#include "clara/synthesis/server_error.h"

namespace clara {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPollTime{100};
constexpr std::chrono::seconds kTimeBetweenSyncs{5};
// After a request to stop, answers that are under way are waited for so long.
constexpr std::chrono::seconds kStopGrace{3};

void check_job(const SynthesisJob& job) {
  const SynthesisSettings& settings = job.settings;
  const auto expect = [](bool holds, const char* what) {
    if (!holds) throw ConfigError(std::string("expected ") + what);
  };
  expect(!job.files.empty(), "at least one file of documents");
  expect(!settings.kinds.empty(), "at least one kind of rows");
  for (std::size_t i = 0; i < settings.kinds.size(); ++i) {
    expect(std::count(settings.kinds.begin(), settings.kinds.end(), settings.kinds[i]) == 1,
           "each kind of rows once");
  }
  expect(job.num_shards >= 1 && job.shard >= 1 && job.shard <= job.num_shards,
         "a shard from 1 to the number of shards");
  expect(settings.num_pairs >= 1 && settings.max_pairs >= settings.num_pairs,
         "1 <= num_pairs <= max_pairs");
  expect(settings.max_rounds >= 1, "max_rounds >= 1");
  expect(job.server.concurrency >= 1, "a concurrency of at least 1");
  expect(settings.checks.min_length_ratio <= settings.checks.max_length_ratio,
         "min_length_ratio <= max_length_ratio");
}

std::unique_ptr<const FolderLock> lock_folder(const std::filesystem::path& folder) {
  try {
    return std::make_unique<const FolderLock>(folder);
  } catch (const Error& error) {
    throw DataError(error.what() + std::string("; wait for it, or name another --output"));
  }
}

std::int64_t num_characters(const std::string& text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

class Run {
 public:
  Run(const SynthesisJob& job, const SynthesisPrompts& prompts, const ApiKey& key,
      const SynthesisHooks& hooks, const std::filesystem::path& folder)
      : job_(job),
        prompts_(prompts),
        hooks_(hooks),
        documents_({job.files, job.document_format, job.skips_bad_rows}),
        journal_(folder),
        client_(job.server, key, hooks.notify) {
    report_.folder = folder;
  }

  // Until all is done, or it is time to stop.
  void run() {
    last_sync_ = Clock::now();
    std::optional<Clock::time_point> stop_time;
    while (true) {
      if (!stop_time && hooks_.should_stop && hooks_.should_stop()) {
        stop_time = Clock::now() + kStopGrace;
        report_.is_stopped = true;
      }
      while (!stop_time && tasks_.size() < job_.server.concurrency && start_task()) continue;
      if (tasks_.empty() || (stop_time && Clock::now() > *stop_time)) break;
      for (ChatReply& reply : client_.poll(kPollTime)) take(reply, stop_time.has_value());
      if (Clock::now() - last_sync_ > kTimeBetweenSyncs) {
        journal_.sync();
        last_sync_ = Clock::now();
      }
      show_progress();
    }
    journal_.sync();
    show_progress();
  }

  void sync() { journal_.sync(); }

  SynthesisReport report() {
    report_.totals = journal_.totals();
    report_.requests = client_.statistics();
    report_.num_bad_rows = documents_.num_bad_rows();
    report_.bad_rows = documents_.bad_rows();
    report_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    return report_;
  }

 private:
  struct OpenTask {
    RowKey row;
    SynthesisTask task;
  };
  struct WaitingRow {
    RowKey row;
    std::shared_ptr<const std::string> document;
  };

  // The next document of this shard that is to be asked about becomes waiting rows. False behind
  // the last.
  bool read_document() {
    while (job_.max_documents == 0 || report_.num_documents < job_.max_documents) {
      auto text = documents_.next();
      if (!text) return false;
      const Hash128 id = hash_bytes(*text);
      const auto num_shards = static_cast<std::uint64_t>(job_.num_shards);
      if (id.hi % num_shards != static_cast<std::uint64_t>(job_.shard - 1)) continue;
      if (!journal_.meet(id)) {
        ++report_.num_repeated;
      } else if (num_characters(*text) > job_.settings.max_document_characters) {
        ++report_.num_long;
      } else if (static_cast<std::int64_t>(words_of(*text).size()) <
                 job_.settings.min_document_words) {
        ++report_.num_short;
      } else {
        ++report_.num_documents;
        const auto document = std::make_shared<const std::string>(std::move(*text));
        for (const SynthesisKind kind : job_.settings.kinds)
          waiting_.push_back({{id, kind}, document});
        return true;
      }
    }
    return false;
  }

  // Starts the next row. False when there is none.
  bool start_task() {
    if (waiting_.empty() && !read_document()) return false;
    const WaitingRow next = std::move(waiting_.front());
    waiting_.pop_front();
    if (journal_.is_finished(next.row)) {
      ++report_.num_finished_before;
      return true;
    }
    SynthesisTask task(*next.document, next.row.kind, job_.settings, prompts_,
                       journal_.take_open(next.row).value_or(TaskState()));
    // Complete, but the kill came before its row was written.
    if (task.is_done()) {
      finish(next.row, task);
      return true;
    }
    const std::uint64_t id = next_id_++;
    client_.submit(id, task.next_request());
    tasks_.emplace(id, OpenTask{next.row, std::move(task)});
    return true;
  }

  void take(const ChatReply& reply, bool is_stopping) {
    const auto found = tasks_.find(reply.id);
    OpenTask& open = found->second;
    if (reply.status != ChatReply::Status::kAnswered) report_.failure = reply.message;
    if (reply.status == ChatReply::Status::kFailed) {
      ++report_.num_failed;
      tasks_.erase(found);
      return;
    }
    const RefusedCounts refused = open.task.accept(reply);
    journal_.record_answer(open.row, open.task.state(), reply.usage, refused);
    if (open.task.is_done()) {
      finish(open.row, open.task);
      tasks_.erase(found);
    } else if (is_stopping) {
      tasks_.erase(found);
    } else {
      client_.submit(reply.id, open.task.next_request());
    }
  }

  void finish(const RowKey& row, const SynthesisTask& task) {
    if (task.state().step == TaskState::Step::kComplete)
      journal_.record_row(row, task.state(), synthesis_row(task, row.document));
    ++report_.num_finished;
  }

  void show_progress() {
    if (!hooks_.progress) return;
    report();
    hooks_.progress({documents_.num_bytes(), documents_.num_bytes_read(), &report_});
  }

  const SynthesisJob& job_;
  const SynthesisPrompts& prompts_;
  const SynthesisHooks& hooks_;
  DocumentStream documents_;
  SynthesisJournal journal_;
  ChatClient client_;
  std::deque<WaitingRow> waiting_;
  std::unordered_map<std::uint64_t, OpenTask> tasks_;
  std::uint64_t next_id_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_sync_;
  SynthesisReport report_;
};

}  // namespace

SynthesisReport synthesize(const SynthesisJob& job, const ApiKey& key,
                           const SynthesisHooks& hooks) {
  check_job(job);
  const SynthesisPrompts prompts(job.prompts);
  const std::filesystem::path folder = synthesis_folder(job);
  make_folders(folder);
  const std::unique_ptr<const FolderLock> lock = lock_folder(folder);
  claim_synthesis_folder(folder, job, prompts);
  Run run(job, prompts, key, hooks, folder);
  try {
    run.run();
  } catch (const ServerError&) {
    run.sync();
    throw;
  }
  return run.report();
}

}  // namespace clara
