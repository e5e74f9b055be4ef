// open, fstat, mmap; the mapping keeps the file open by itself.
#include "common/mapped_file.h"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clara/common/error.h"

namespace clara {
namespace {

struct DescriptorCloser {
  int descriptor;
  ~DescriptorCloser() { ::close(descriptor); }
};

}  // namespace

MappedFile map_file(const std::filesystem::path& path) {
  const auto fail = [&path](const std::string& reason) -> DataError {
    return DataError(path.string() + ": cannot read: " + reason);
  };
  const auto reason = [] { return std::generic_category().message(errno); };
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw fail(reason());
  const DescriptorCloser closer{descriptor};
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw fail(reason());
  if (!S_ISREG(status.st_mode)) throw fail("expected a file, found a folder or device");
  const auto num_bytes = static_cast<std::size_t>(status.st_size);
  if (num_bytes == 0) return {};
  void* address = ::mmap(nullptr, num_bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (address == MAP_FAILED) throw fail(reason());
  std::shared_ptr<const void> mapping(
      address, [num_bytes](const void* start) { ::munmap(const_cast<void*>(start), num_bytes); });
  return {std::move(mapping), static_cast<const std::byte*>(address), num_bytes};
}

}  // namespace clara
