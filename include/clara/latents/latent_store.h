// Latents of documents under a frozen compressor, computed once and kept (performance: the largest
// lever of joint training).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include <torch/types.h>

#include "clara/common/content_hash.h"

namespace clara {

/// Document key → latents [M, D] on the CPU. A store belongs to one compressor: its fingerprint is
/// part of every disk store, so that a changed compressor never meets stale latents.
class LatentStore {
 public:
  LatentStore() = default;
  LatentStore(const LatentStore&) = delete;
  LatentStore& operator=(const LatentStore&) = delete;
  virtual ~LatentStore() = default;

  /// Empty if the document is not stored.
  virtual std::optional<torch::Tensor> find(const Hash128& key) const = 0;
  /// Stores a copy. The same latents under the same key are stored once.
  virtual void put(const Hash128& key, const torch::Tensor& latents_MD) = 0;
  virtual std::int64_t size() const = 0;
};

/// In memory, for the life of the process.
class MemoryLatentStore final : public LatentStore {
 public:
  std::optional<torch::Tensor> find(const Hash128& key) const override;
  void put(const Hash128& key, const torch::Tensor& latents_MD) override;
  std::int64_t size() const override;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<Hash128, torch::Tensor> latents_;
};

/// One append-only file of fixed-size, checksummed records in `folder`; shared by runs and epochs.
/// A torn last record (a killed process, a full disk) is cut off when the file is opened.
class DiskLatentStore final : public LatentStore {
 public:
  /// Opens or creates `folder`/latents_<fingerprint>_<rank>.bin. Throws DataError where the file
  /// belongs to another shape or type.
  DiskLatentStore(const std::filesystem::path& folder, const Hash128& fingerprint,
                  std::vector<std::int64_t> shape_MD, torch::Dtype dtype, std::int64_t rank);
  ~DiskLatentStore() override;

  std::optional<torch::Tensor> find(const Hash128& key) const override;
  void put(const Hash128& key, const torch::Tensor& latents_MD) override;
  std::int64_t size() const override;
  const std::filesystem::path& path() const { return path_; }

 private:
  void open_and_index(const Hash128& fingerprint);
  /// The record at `offset`; empty if it is damaged.
  std::optional<torch::Tensor> read(const Hash128& key, std::int64_t offset) const;

  std::filesystem::path path_;
  std::vector<std::int64_t> shape_;
  torch::Dtype dtype_;
  std::size_t latent_bytes_ = 0;
  int file_ = -1;
  mutable std::mutex mutex_;
  std::unordered_map<Hash128, std::int64_t> offsets_;
  std::int64_t end_ = 0;
};

}  // namespace clara
