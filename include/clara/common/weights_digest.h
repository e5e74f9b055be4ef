// What a model folder's weights are, cheap enough to compare between ranks at every start.
#pragma once

#include <filesystem>
#include <string>

namespace clara {

struct WeightsDigest {
  /// Of config.json and tokenizer.json, and of name, size and header of every safetensors file.
  std::string layout;
  /// Of every byte of these files. Empty where the files are large and the cache cannot be written:
  /// computing it anew at each start would read the whole model.
  std::string content;
};

/// `cache` (may be empty: no cache) keeps the content hash of each large file under its path, size,
/// change time and inode, so that a file is read whole once. Throws DataError for a file that
/// cannot be read.
WeightsDigest digest_weights(const std::filesystem::path& folder,
                             const std::filesystem::path& cache);

/// XDG_CACHE_HOME/clara, else HOME/.cache/clara; empty where neither variable is set.
std::filesystem::path user_cache_folder();

}  // namespace clara
