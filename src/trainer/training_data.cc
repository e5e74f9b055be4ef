// Raw rows → Examples.
#include "clara/trainer/training_data.h"

#include <algorithm>
#include <utility>

#include "clara/common/error.h"

namespace clara {
namespace {

constexpr std::size_t kKeptMessages = 100;

}  // namespace

std::vector<std::int64_t> positions_of_rank(TrainingData& data, const RowRange& rows,
                                            std::int64_t rank, std::int64_t size) {
  std::vector<std::pair<std::int64_t, std::int64_t>> largest_first;  // (−work, position)
  for (std::int64_t position = rows.begin; position < rows.end; ++position)
    largest_first.emplace_back(size > 1 ? -data.work(rows.epoch, position) : 0, position);
  std::sort(largest_first.begin(), largest_first.end());
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < rows.end - rows.begin; ++i) {
    const std::int64_t place = i % size, dealt_to = i / size % 2 == 0 ? place : size - 1 - place;
    if (dealt_to == rank) chosen.push_back(largest_first[static_cast<std::size_t>(i)].second);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

Example ExampleBuilder::build(const RawRow& raw, std::uint64_t epoch, std::uint64_t row) const {
  switch (stage_) {
    case Stage::kScp:
      return prompts_.scp_example(parse_scp_record(raw.text, raw.place), epoch, row);
    case Stage::kTune:
      return prompts_.tune_example(parse_qa_record(raw.text, raw.place));
    case Stage::kJoint:
      return prompts_.joint_example(parse_qa_record(raw.text, raw.place));
    case Stage::kRetriever:
      return prompts_.retriever_example(parse_qa_record(raw.text, raw.place));
  }
  throw Error("unknown stage");
}

RecordTrainingData::RecordTrainingData(RowSource rows, ExampleBuilder builder,
                                       std::uint64_t shuffle_seed, bool skip_bad_records)
    : rows_(std::move(rows)),
      builder_(builder),
      shuffle_seed_(shuffle_seed),
      skip_bad_records_(skip_bad_records) {
  rows_per_epoch_ = order_of(0).size();
}

const EpochOrder& RecordTrainingData::order_of(std::int64_t epoch) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (order_epoch_ != epoch) {
    order_ = std::make_unique<EpochOrder>(rows_, shuffle_seed_, static_cast<std::uint64_t>(epoch));
    order_epoch_ = epoch;
  }
  return *order_;
}

std::optional<Example> RecordTrainingData::row(std::int64_t epoch, std::int64_t position) {
  const std::int64_t index = order_of(epoch)[position];
  try {
    return builder_.build(rows_.row(index), static_cast<std::uint64_t>(epoch),
                          static_cast<std::uint64_t>(index));
  } catch (const DataError& error) {
    if (!skip_bad_records_) throw;
    const std::lock_guard<std::mutex> lock(mutex_);
    const bool is_kept = skipped_rows_.size() < kKeptMessages;
    skipped_rows_.try_emplace(index, is_kept ? error.what() : "");
    return std::nullopt;
  }
}

std::int64_t RecordTrainingData::work(std::int64_t epoch, std::int64_t position) {
  return rows_.num_bytes(order_of(epoch)[position]);
}

std::map<std::int64_t, std::string> RecordTrainingData::skipped_rows() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return skipped_rows_;
}

}  // namespace clara
