// The zip format (APPNOTE 6.3): local headers with the data, a central directory, an end record.
#include "common/zip_archive.h"

#include <algorithm>

#include <zlib.h>

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint32_t kCentralSignature = 0x02014b50;
constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kZip64EndSignature = 0x06064b50;
constexpr std::uint32_t kZip64LocatorSignature = 0x07064b50;
constexpr std::size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22;
constexpr std::size_t kZip64EndBytes = 56, kZip64LocatorBytes = 20;
constexpr std::uint64_t kMax32 = 0xFFFFFFFF, kMax16 = 0xFFFF;
constexpr std::uint16_t kZip64Tag = 0x0001;
constexpr std::uint16_t kPaddingTag = 0x4246;  // "FB", as torch.save pads
constexpr std::uint16_t kEncrypted = 0x0001;
constexpr std::size_t kAlignment = 64;
constexpr std::size_t kMaxNameBytes = 1024;

std::uint64_t little_endian(const std::byte* data, std::size_t num_bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < num_bytes; ++i) value |= static_cast<std::uint64_t>(data[i]) << 8 * i;
  return value;
}
std::uint16_t u16(const std::byte* data) {
  return static_cast<std::uint16_t>(little_endian(data, 2));
}
std::uint32_t u32(const std::byte* data) {
  return static_cast<std::uint32_t>(little_endian(data, 4));
}
std::uint64_t u64(const std::byte* data) { return little_endian(data, 8); }

/// What keeps `name` from being the plain relative path of a file; empty if nothing does.
std::string fault_of_name(std::string_view name) {
  if (name.empty()) return "an empty name";
  if (name.size() > kMaxNameBytes) return "a name of " + std::to_string(name.size()) + " bytes";
  if (find_invalid_utf8(name) || name.find('\0') != name.npos) return "a name that is no text";
  if (name.find('\\') != name.npos) return "a backslash in the name " + std::string(name);
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..")
      return "the name " + std::string(name) + ", which leads out of the archive or to a folder";
    if (end == name.size()) return "";
    begin = end + 1;
  }
}

struct EntryPlace {
  std::uint64_t stored_bytes = 0;
  std::uint64_t num_bytes = 0;
  std::uint64_t header_offset = 0;
};

/// Replaces the fields that are saturated by those of the zip64 extra field. False if it is not
/// there or too short.
bool resolve_zip64(const std::byte* extra, std::size_t num_bytes, EntryPlace& place) {
  std::size_t position = 0;
  const bool is_needed =
      place.num_bytes == kMax32 || place.stored_bytes == kMax32 || place.header_offset == kMax32;
  while (num_bytes - position >= 4) {
    const std::uint16_t tag = u16(extra + position);
    const std::size_t size = u16(extra + position + 2);
    position += 4;
    if (size > num_bytes - position) return false;
    if (tag == kZip64Tag) {
      std::size_t field = position;
      const std::size_t end = position + size;
      for (std::uint64_t* value : {&place.num_bytes, &place.stored_bytes, &place.header_offset}) {
        if (*value != kMax32) continue;
        if (end - field < 8) return false;
        *value = u64(extra + field);
        field += 8;
      }
      return true;
    }
    position += size;
  }
  return !is_needed;
}

void append(std::string& bytes, std::uint64_t value, std::size_t num_bytes) {
  for (std::size_t i = 0; i < num_bytes; ++i)
    bytes.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
}

std::uint32_t crc_of(const void* data, std::size_t num_bytes) {
  if (num_bytes == 0) return 0;
  return static_cast<std::uint32_t>(crc32_z(0, static_cast<const Bytef*>(data), num_bytes));
}

}  // namespace

ZipArchive::ZipArchive(const std::filesystem::path& path, MappedFile file)
    : place_(path.string() + ": "), file_(std::move(file)) {
  const auto fail = [this](const std::string& what) { return DataError(place_ + what); };
  const std::byte* data = file_.data;
  const std::size_t size = file_.num_bytes;
  if (size < 4 || u32(data) != kLocalSignature)
    throw fail("expected a zip archive, found other bytes at its start");
  const std::string cut = "; the file is cut off, or something was added to it";
  if (size < kEndBytes || u32(data + size - kEndBytes) != kEndSignature)
    throw fail("expected a zip archive's end record in the last 22 bytes, found none" + cut);
  const std::byte* end = data + size - kEndBytes;
  if (u16(end + 20) != 0) throw fail("expected an archive without a comment, found one");
  std::uint64_t disk = u16(end + 4), directory_disk = u16(end + 6);
  std::uint64_t entries_here = u16(end + 8), num_entries = u16(end + 10);
  std::uint64_t directory_bytes = u32(end + 12), directory_offset = u32(end + 16);
  std::size_t directory_end = size - kEndBytes;

  if (size >= kEndBytes + kZip64LocatorBytes &&
      u32(end - kZip64LocatorBytes) == kZip64LocatorSignature) {
    const std::uint64_t offset = u64(end - kZip64LocatorBytes + 8);
    const std::size_t limit = size - kEndBytes - kZip64LocatorBytes;
    if (limit < kZip64EndBytes || offset != limit - kZip64EndBytes ||
        u32(data + offset) != kZip64EndSignature || u64(data + offset + 4) != kZip64EndBytes - 12) {
      throw fail("expected the zip64 end record right before its locator, found it elsewhere");
    }
    const std::byte* end64 = data + offset;
    if (disk == kMax16) disk = u32(end64 + 16);
    if (directory_disk == kMax16) directory_disk = u32(end64 + 20);
    if (entries_here == kMax16) entries_here = u64(end64 + 24);
    if (num_entries == kMax16) num_entries = u64(end64 + 32);
    if (directory_bytes == kMax32) directory_bytes = u64(end64 + 40);
    if (directory_offset == kMax32) directory_offset = u64(end64 + 48);
    directory_end = static_cast<std::size_t>(offset);
  }
  if (disk != 0 || directory_disk != 0 || entries_here != num_entries)
    throw fail("expected an archive in one file, found a part of several");
  if (directory_offset > directory_end || directory_bytes != directory_end - directory_offset) {
    throw fail("expected the directory to end at byte " + std::to_string(directory_end) +
               ", found " + std::to_string(directory_bytes) + " bytes from " +
               std::to_string(directory_offset) + cut);
  }
  read_directory(static_cast<std::size_t>(directory_offset), directory_end, num_entries);
  check_overlap();
}

void ZipArchive::read_directory(std::size_t begin, std::size_t end, std::uint64_t num_entries) {
  const auto fail = [this](const std::string& what) { return DataError(place_ + what); };
  const std::byte* data = file_.data;
  std::size_t position = begin;
  for (std::uint64_t i = 0; i < num_entries; ++i) {
    const std::string number = "entry " + std::to_string(i) + " of the directory: ";
    if (end - position < kCentralBytes || u32(data + position) != kCentralSignature)
      throw fail(number + "expected its header, found none");
    const std::byte* header = data + position;
    const std::size_t name_bytes = u16(header + 28), extra_bytes = u16(header + 30);
    const std::size_t variable = name_bytes + extra_bytes + u16(header + 32);
    position += kCentralBytes;
    if (end - position < variable) throw fail(number + "it ends behind the directory");
    position += variable;

    ZipEntry entry;
    entry.name.assign(reinterpret_cast<const char*>(header + kCentralBytes), name_bytes);
    if (const std::string fault = fault_of_name(entry.name); !fault.empty())
      throw fail(number + "expected the path of a file in the archive, found " + fault);
    const std::string place = "entry " + entry.name + ": ";
    if (!index_.emplace(entry.name, entries_.size()).second)
      throw fail(place + "expected every name once, found it twice");
    if ((u16(header + 8) & kEncrypted) != 0) throw fail(place + "is encrypted");
    if (u16(header + 10) != 0) {
      throw fail(place + "expected a stored entry, found a compressed one (method " +
                 std::to_string(u16(header + 10)) + "); torch.save does not compress");
    }
    if (u16(header + 34) != 0) throw fail(place + "lies in another part of the archive");
    entry.crc = u32(header + 16);
    EntryPlace where{u32(header + 20), u32(header + 24), u32(header + 42)};
    if (!resolve_zip64(header + kCentralBytes + name_bytes, extra_bytes, where))
      throw fail(place + "expected a zip64 field with its size and place, found none");
    if (where.stored_bytes != where.num_bytes)
      throw fail(place + "expected as many stored bytes as bytes, found " +
                 std::to_string(where.stored_bytes) + " and " + std::to_string(where.num_bytes));

    const std::string outside = "expected it before the directory at byte " + std::to_string(begin);
    if (where.header_offset > begin || begin - where.header_offset < kLocalBytes) {
      throw fail(place + outside + ", found its header at " + std::to_string(where.header_offset));
    }
    const std::byte* local = data + where.header_offset;
    const std::size_t room = begin - static_cast<std::size_t>(where.header_offset) - kLocalBytes;
    const std::size_t local_variable = std::size_t{u16(local + 26)} + u16(local + 28);
    if (u32(local) != kLocalSignature || u16(local + 26) != name_bytes || local_variable > room ||
        u16(local + 8) != 0 ||
        std::string_view(reinterpret_cast<const char*>(local + kLocalBytes), name_bytes) !=
            entry.name) {
      throw fail(place + "expected the directory and the entry's own header to agree");
    }
    if (where.num_bytes > room - local_variable) {
      throw fail(place + outside + ", found " + std::to_string(where.num_bytes) + " bytes from " +
                 std::to_string(where.header_offset + kLocalBytes + local_variable));
    }
    entry.data = local + kLocalBytes + local_variable;
    entry.num_bytes = static_cast<std::size_t>(where.num_bytes);
    entries_.push_back(std::move(entry));
    header_offsets_.push_back(where.header_offset);
  }
  if (position != end) {
    throw fail("expected " + std::to_string(num_entries) +
               " entries to fill the directory, found more bytes in it");
  }
}

void ZipArchive::check_overlap() const {
  std::vector<std::size_t> order(entries_.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
    return header_offsets_[a] < header_offsets_[b];
  });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const ZipEntry& before = entries_[order[i - 1]];
    const auto end = static_cast<std::uint64_t>(before.data - file_.data) + before.num_bytes;
    if (header_offsets_[order[i]] < end) {
      throw DataError(place_ + "entry " + entries_[order[i]].name + ": overlaps entry " +
                      before.name);
    }
  }
}

const ZipEntry* ZipArchive::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

void ZipArchive::check_crc(const ZipEntry& entry) const {
  if (crc_of(entry.data, entry.num_bytes) == entry.crc) return;
  throw DataError(place_ + "entry " + entry.name +
                  ": its bytes do not have the checksum of the directory; the file is damaged");
}

ZipWriter::ZipWriter(const std::filesystem::path& path, std::uint64_t zip64_from)
    : file_(path), zip64_from_(std::min(zip64_from, kMax32)) {}

void ZipWriter::write(std::string_view bytes) {
  file_.write(bytes);
  position_ += bytes.size();
}

void ZipWriter::add(const std::string& name, const void* data, std::size_t num_bytes) {
  const std::uint64_t offset = position_;
  const std::uint32_t crc = crc_of(data, num_bytes);
  const bool is_long = num_bytes >= zip64_from_, is_far = offset >= zip64_from_;
  const auto size32 = is_long ? kMax32 : std::uint64_t{num_bytes};
  const std::uint64_t version = is_long || is_far ? 45 : 20;
  std::string extra;
  if (is_long) {
    append(extra, kZip64Tag, 2);
    append(extra, 16, 2);
    append(extra, num_bytes, 8);
    append(extra, num_bytes, 8);
  }
  // The padding field takes four bytes itself.
  const std::uint64_t unpadded = offset + kLocalBytes + name.size() + extra.size() + 4;
  const std::size_t padding = (kAlignment - unpadded % kAlignment) % kAlignment;
  append(extra, kPaddingTag, 2);
  append(extra, padding, 2);
  extra.append(padding, 'Z');

  std::string common;  // what both headers have, from the version on
  append(common, version, 2);
  append(common, 0x0800, 2);  // the name is UTF-8
  append(common, 0, 2);       // stored
  append(common, 0, 4);       // no time
  append(common, crc, 4);
  append(common, size32, 4);
  append(common, size32, 4);
  append(common, name.size(), 2);

  std::string local;
  append(local, kLocalSignature, 4);
  local += common;
  append(local, extra.size(), 2);
  write(local + name + extra);
  file_.write(data, num_bytes);
  position_ += num_bytes;

  std::string fields;
  if (is_long) {
    append(fields, num_bytes, 8);
    append(fields, num_bytes, 8);
  }
  if (is_far) append(fields, offset, 8);
  append(directory_, kCentralSignature, 4);
  append(directory_, version, 2);
  directory_ += common;
  append(directory_, fields.empty() ? 0 : fields.size() + 4, 2);
  directory_.append(2 + 2 + 2 + 4, '\0');  // no comment, one disk, no attributes
  append(directory_, is_far ? kMax32 : offset, 4);
  directory_ += name;
  if (!fields.empty()) {
    append(directory_, kZip64Tag, 2);
    append(directory_, fields.size(), 2);
    directory_ += fields;
  }
  ++num_entries_;
}

void ZipWriter::commit() {
  const std::uint64_t begin = position_, size = directory_.size();
  write(directory_);
  const bool is_zip64 = begin >= zip64_from_ || size >= zip64_from_ || num_entries_ >= kMax16;
  std::string end;
  if (is_zip64) {
    append(end, kZip64EndSignature, 4);
    append(end, kZip64EndBytes - 12, 8);
    append(end, 45, 2);
    append(end, 45, 2);
    append(end, 0, 4 + 4);  // one disk
    append(end, num_entries_, 8);
    append(end, num_entries_, 8);
    append(end, size, 8);
    append(end, begin, 8);
    append(end, kZip64LocatorSignature, 4);
    append(end, 0, 4);
    append(end, begin + size, 8);
    append(end, 1, 4);
  }
  const std::uint64_t count = is_zip64 ? kMax16 : num_entries_;
  append(end, kEndSignature, 4);
  append(end, 0, 2 + 2);  // one disk
  append(end, count, 2);
  append(end, count, 2);
  append(end, is_zip64 ? kMax32 : size, 4);
  append(end, is_zip64 ? kMax32 : begin, 4);
  append(end, 0, 2);  // no comment
  write(end);
  file_.commit();
}

}  // namespace clara
