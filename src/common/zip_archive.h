// Zip archives of stored (uncompressed) entries, as torch.save writes them: read from mapped bytes
// with every claim checked, and written entry by entry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/mapped_file.h"

#include "clara/common/atomic_file.h"

namespace clara {

/// One stored entry; its bytes live as long as the mapping.
struct ZipEntry {
  std::string name;
  const std::byte* data = nullptr;
  std::size_t num_bytes = 0;
  std::uint32_t crc = 0;
};

/// The directory of a mapped archive, zip64 or not. It must fill the file to its last byte (no
/// comment): so a file that was cut off anywhere is refused.
class ZipArchive {
 public:
  /// Throws DataError "path: …": not a zip archive, cut off, compressed or encrypted entries, a
  /// name twice, a name that leads out of the archive, entries that overlap.
  ZipArchive(const std::filesystem::path& path, MappedFile file);

  const std::vector<ZipEntry>& entries() const { return entries_; }
  /// Null if there is none of that name.
  const ZipEntry* find(std::string_view name) const;
  /// Throws DataError where the bytes are not those of the checksum.
  void check_crc(const ZipEntry& entry) const;
  const MappedFile& file() const { return file_; }

 private:
  void read_directory(std::size_t begin, std::size_t end, std::uint64_t num_entries);
  void check_overlap() const;

  std::string place_;  // "path: "
  MappedFile file_;
  std::vector<ZipEntry> entries_;
  std::vector<std::uint64_t> header_offsets_;  // by entry
  std::map<std::string, std::size_t, std::less<>> index_;
};

/// Writes an archive of stored entries whose data begin at multiples of 64 bytes. Its bytes depend
/// only on the arguments.
class ZipWriter {
 public:
  /// Sizes and offsets from `zip64_from` on are written in the zip64 form, which they need from
  /// 2^32 − 1 on.
  explicit ZipWriter(const std::filesystem::path& path, std::uint64_t zip64_from = 0xFFFFFFFF);
  /// Throws Error (disk full, …).
  void add(const std::string& name, const void* data, std::size_t num_bytes);
  void add(const std::string& name, std::string_view text) { add(name, text.data(), text.size()); }
  /// Writes the directory and puts the file in its place; nothing may be added afterwards.
  void commit();

 private:
  void write(std::string_view bytes);

  AtomicFile file_;
  std::uint64_t zip64_from_;
  std::uint64_t position_ = 0;
  std::uint64_t num_entries_ = 0;
  std::string directory_;
};

}  // namespace clara
