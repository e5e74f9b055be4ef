// A whole file mapped read-only: untrusted bytes that its readers check before they use them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>

namespace clara {

struct MappedFile {
  std::shared_ptr<const void> mapping;  ///< keeps `data` alive
  const std::byte* data = nullptr;      ///< null where the file is empty
  std::size_t num_bytes = 0;
};

/// Throws DataError with path and reason: not there, no permission, no regular file. An empty file
/// is mapped to nothing.
MappedFile map_file(const std::filesystem::path& path);

}  // namespace clara
