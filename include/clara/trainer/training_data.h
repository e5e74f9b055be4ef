// Rows of a run as Examples, in the order of each epoch.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "clara/config/run_config.h"
#include "clara/data/epoch_order.h"
#include "clara/data/example.h"
#include "clara/data/prompts.h"
#include "clara/data/row_source.h"

namespace clara {

/// Where train_loop gets its rows from.
class TrainingData {
 public:
  TrainingData() = default;
  TrainingData(const TrainingData&) = delete;
  TrainingData& operator=(const TrainingData&) = delete;
  virtual ~TrainingData() = default;

  /// Rows of an epoch; the same for every epoch.
  virtual std::int64_t rows_per_epoch() const = 0;
  /// Row `position` of `epoch`, tokenised; empty for a row that is to be skipped. Called from a
  /// background thread.
  virtual std::optional<Example> row(std::int64_t epoch, std::int64_t position) = 0;
  /// About how much work a row is, in any unit, without making it: by this the rows of a step are
  /// dealt to the ranks, so all of them must find the same.
  virtual std::int64_t work(std::int64_t epoch, std::int64_t position) = 0;
};

/// Examples held in memory, in the order given, the same every epoch.
class ExampleList final : public TrainingData {
 public:
  explicit ExampleList(std::vector<Example> examples) : examples_(std::move(examples)) {}
  std::int64_t rows_per_epoch() const override {
    return static_cast<std::int64_t>(examples_.size());
  }
  std::optional<Example> row(std::int64_t /*epoch*/, std::int64_t position) override {
    return examples_[static_cast<std::size_t>(position)];
  }
  std::int64_t work(std::int64_t /*epoch*/, std::int64_t position) override {
    const Example& example = examples_[static_cast<std::size_t>(position)];
    std::size_t tokens = example.tokens.size() + example.question.size();
    for (const TokenIds& document : example.documents) tokens += document.size();
    return static_cast<std::int64_t>(tokens);
  }

 private:
  std::vector<Example> examples_;
};

/// The rows begin … end − 1 of an epoch.
struct RowRange {
  std::int64_t epoch = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// Which of these rows belong to `rank`, one of `size`, in their order. The ranks' numbers of rows
/// differ by one at most and all have about as much work, for the rows are dealt out from the
/// largest to the smallest, back and forth.
std::vector<std::int64_t> positions_of_rank(TrainingData& data, const RowRange& rows,
                                            std::int64_t rank, std::int64_t size);

/// Makes the Example of a raw row for one stage. Throws DataError with the row's place.
class ExampleBuilder {
 public:
  /// `prompts` must outlive the builder.
  ExampleBuilder(Stage stage, const PromptBuilder& prompts) : stage_(stage), prompts_(prompts) {}
  Example build(const RawRow& raw, std::uint64_t epoch, std::uint64_t row) const;

 private:
  Stage stage_;
  const PromptBuilder& prompts_;
};

/// Records of files, shuffled by (seed, epoch).
class RecordTrainingData final : public TrainingData {
 public:
  /// `skip_bad_records`: count and list them instead of throwing.
  RecordTrainingData(RowSource rows, ExampleBuilder builder, std::uint64_t shuffle_seed,
                     bool skip_bad_records);

  std::int64_t rows_per_epoch() const override { return rows_per_epoch_; }
  std::optional<Example> row(std::int64_t epoch, std::int64_t position) override;
  /// Bytes of the record.
  std::int64_t work(std::int64_t epoch, std::int64_t position) override;

  const RowSource& source() const { return rows_; }
  const ExampleBuilder& builder() const { return builder_; }
  /// The rows that were skipped with their messages (of the first 100; the others' are empty). Each
  /// bad row is there once, however many epochs met it.
  std::map<std::int64_t, std::string> skipped_rows() const;

 private:
  const EpochOrder& order_of(std::int64_t epoch);

  RowSource rows_;
  ExampleBuilder builder_;
  std::uint64_t shuffle_seed_;
  bool skip_bad_records_;
  std::int64_t rows_per_epoch_ = 0;
  std::int64_t order_epoch_ = -1;
  std::unique_ptr<EpochOrder> order_;
  mutable std::mutex mutex_;
  std::map<std::int64_t, std::string> skipped_rows_;
};

}  // namespace clara
