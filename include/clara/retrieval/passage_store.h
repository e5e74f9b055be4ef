// The passages of an index on disk, by their numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "clara/retrieval/corpus.h"

namespace clara {

/// Writes passages.text (id, title and text one after another) and passages.table (where they
/// stand, 16 bytes a passage) into a folder.
class PassageStoreWriter {
 public:
  /// Throws Error where the folder cannot be written.
  explicit PassageStoreWriter(const std::filesystem::path& folder);
  PassageStoreWriter(const PassageStoreWriter&) = delete;
  PassageStoreWriter& operator=(const PassageStoreWriter&) = delete;
  ~PassageStoreWriter();

  /// The passage gets the next number, from 0.
  void add(const Passage& passage);
  std::int64_t num_passages() const;
  /// Completes the files; exactly once, and nothing is added afterwards.
  void finish();

 private:
  struct Files;
  std::unique_ptr<Files> files_;
};

/// Reads what PassageStoreWriter wrote, memory-mapped. Any number of threads may read.
class PassageStore {
 public:
  /// Throws DataError where a file is missing or its size is wrong.
  explicit PassageStore(const std::filesystem::path& folder);

  std::int64_t num_passages() const { return num_passages_; }
  /// Throws DataError where the table points outside of the texts, Error for a wrong number.
  Passage passage(std::int64_t number) const;

 private:
  std::filesystem::path folder_;
  std::shared_ptr<const void> table_mapping_, text_mapping_;
  const std::byte* table_ = nullptr;
  const char* text_ = nullptr;
  std::size_t num_text_bytes_ = 0;
  std::int64_t num_passages_ = 0;
};

/// Compares all ids, with at most `memory_bytes`. Throws DataError that names an id that two
/// passages have.
void check_distinct_ids(const PassageStore& passages, std::int64_t memory_bytes);

}  // namespace clara
