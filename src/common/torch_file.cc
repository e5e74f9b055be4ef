// The layout of torch.save: <name>/data.pkl describes the tensors, <name>/data/<n> are their
// storages.
#include "clara/common/torch_file.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "common/mapped_file.h"
#include "common/tensor_pickle.h"
#include "common/zip_archive.h"

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

/// What the entries of an opened file point to.
struct OpenedBytes {
  std::shared_ptr<const void> mapping;
  std::deque<std::vector<std::byte>> copies;  // tensors that were not row-major
};

constexpr std::byte kNoBytes[1] = {};  // where tensors without elements point to

/// Product of sizes; empty if it does not fit 63 bits or a size is negative.
std::optional<std::int64_t> product_of(const std::vector<std::int64_t>& shape) {
  std::int64_t product = 1;
  for (const std::int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(product, size, &product)) return std::nullopt;
  }
  return product;
}

/// The last element a strided tensor reads, in elements from the start of its storage; empty if the
/// number does not fit 63 bits. The tensor has elements; nothing is negative.
std::optional<std::int64_t> last_element(const PickledTensor& tensor) {
  std::int64_t last = tensor.offset;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    std::int64_t step = 0;
    if (__builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &step) ||
        __builtin_add_overflow(last, step, &last)) {
      return std::nullopt;
    }
  }
  return last;
}

bool is_row_major(const PickledTensor& tensor) {
  std::int64_t expected = 1;
  for (std::size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];
  }
  return true;
}

/// Elements in row-major order. Every element was checked to lie in the storage.
std::vector<std::byte> row_major_copy(const PickledTensor& tensor, const std::byte* storage,
                                      std::size_t item_bytes, std::int64_t count) {
  std::vector<std::byte> copy(static_cast<std::size_t>(count) * item_bytes);
  std::vector<std::int64_t> index(tensor.shape.size(), 0);
  std::int64_t position = tensor.offset;
  for (std::int64_t i = 0; i < count; ++i) {
    std::memcpy(copy.data() + static_cast<std::size_t>(i) * item_bytes,
                storage + static_cast<std::size_t>(position) * item_bytes, item_bytes);
    for (std::size_t d = index.size(); d-- > 0;) {
      if (tensor.shape[d] == 1) continue;  // its stride means nothing and may be any number
      position += tensor.strides[d];
      if (++index[d] < tensor.shape[d]) break;
      position -= tensor.strides[d] * tensor.shape[d];
      index[d] = 0;
    }
  }
  return copy;
}

/// Turns what the pickle says into entries, once it agrees with the archive.
class TensorResolver {
 public:
  TensorResolver(const ZipArchive& archive, std::string place, std::string folder,
                 OpenedBytes& bytes)
      : archive_(archive), place_(std::move(place)), folder_(std::move(folder)), bytes_(bytes) {}

  TensorEntry resolve(const std::string& name, const PickledTensor& tensor) {
    const auto fail = [&](const std::string& what) {
      return DataError(place_ + "tensor " + name + ": " + what);
    };
    const std::size_t item_bytes = dtype_num_bytes(tensor.dtype);
    const std::string entry_name = folder_ + "data/" + tensor.storage;
    const ZipEntry* storage = archive_.find(entry_name);
    if (storage == nullptr)
      throw fail("expected its storage " + entry_name + " in the archive, found none");
    if (used_.insert(storage).second) archive_.check_crc(*storage);
    const std::string claim = std::string(dtype_name(tensor.dtype)) + " " +
                              shape_string(tensor.shape) + " from element " +
                              std::to_string(tensor.offset);
    if (tensor.storage_elements < 0 ||
        static_cast<std::uint64_t>(tensor.storage_elements) != storage->num_bytes / item_bytes ||
        storage->num_bytes % item_bytes != 0) {
      throw fail("expected a storage of " + std::to_string(tensor.storage_elements) +
                 " elements of " + std::string(dtype_name(tensor.dtype)) + ", found " +
                 std::to_string(storage->num_bytes) + " bytes in " + entry_name);
    }
    if (tensor.shape.size() != tensor.strides.size())
      throw fail("expected as many strides as sizes, found " + shape_string(tensor.shape) +
                 " and " + shape_string(tensor.strides));
    const std::optional<std::int64_t> count = product_of(tensor.shape);
    const bool is_negative =
        tensor.offset < 0 || std::any_of(tensor.strides.begin(), tensor.strides.end(),
                                         [](std::int64_t stride) { return stride < 0; });
    // More elements than the storage has would be read several times (a stride of 0, say).
    if (!count || is_negative || *count > tensor.storage_elements ||
        tensor.offset > tensor.storage_elements) {
      throw fail("expected a tensor within the " + std::to_string(tensor.storage_elements) +
                 " elements of its storage, found " + claim + ", strides " +
                 shape_string(tensor.strides));
    }
    TensorEntry entry{name, tensor.dtype, tensor.shape, kNoBytes,
                      static_cast<std::size_t>(*count) * item_bytes};
    if (*count == 0) return entry;
    const std::optional<std::int64_t> last = last_element(tensor);
    if (!last || *last >= tensor.storage_elements) {
      throw fail("expected a tensor within the " + std::to_string(tensor.storage_elements) +
                 " elements of its storage, found " + claim + ", strides " +
                 shape_string(tensor.strides));
    }
    if (is_row_major(tensor)) {
      entry.data = storage->data + static_cast<std::size_t>(tensor.offset) * item_bytes;
      return entry;
    }
    // Many tensors over one storage must not make a small file fill the memory.
    copied_bytes_ += entry.num_bytes;
    if (copied_bytes_ > archive_.file().num_bytes)
      throw fail("the tensors that are not row-major are larger together than the file");
    bytes_.copies.push_back(row_major_copy(tensor, storage->data, item_bytes, *count));
    entry.data = bytes_.copies.back().data();
    return entry;
  }

  void check_all_used() const {
    for (const ZipEntry& entry : archive_.entries()) {
      if (entry.name.starts_with(folder_ + "data/") && !used_.contains(&entry))
        throw DataError(place_ + "entry " + entry.name + ": belongs to no tensor of the file");
    }
  }

 private:
  const ZipArchive& archive_;
  std::string place_;
  std::string folder_;
  OpenedBytes& bytes_;
  std::set<const ZipEntry*> used_;
  std::size_t copied_bytes_ = 0;
};

void refuse_other_formats(const fs::path& path, const MappedFile& file) {
  const std::string_view start(reinterpret_cast<const char*>(file.data),
                               std::min<std::size_t>(file.num_bytes, 64));
  if (start.starts_with("version https://git-lfs")) {
    throw DataError(path.string() +
                    ": expected a file of torch.save, found a Git LFS pointer (fetch the file with "
                    "git lfs pull)");
  }
  // Before PyTorch 1.6 a file began with the pickle of a number; tar files are older still.
  if (start.starts_with(std::string_view("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46", 8))) {
    throw DataError(path.string() +
                    ": was written in the layout of torch.save before PyTorch 1.6, which is not "
                    "read; load it with torch.load(weights_only=True) and save it again");
  }
  if (start.starts_with("\x80")) {
    throw DataError(path.string() +
                    ": expected the zip archive of torch.save, found a bare pickle; nothing of it "
                    "was run");
  }
}

/// The folder of all entries ("adapters/"), which torch.save names after the file.
std::string archive_folder(const ZipArchive& archive, const std::string& place) {
  std::string folder;
  for (const ZipEntry& entry : archive.entries()) {
    const std::string first = entry.name.substr(0, entry.name.find('/') + 1);
    if (!folder.empty() && first != folder)
      throw DataError(place + "entry " + entry.name + ": expected it in the folder " + folder);
    folder = first;
    if (folder.empty())
      throw DataError(place + "entry " + entry.name +
                      ": expected the entries in one folder, as torch.save writes them");
    const std::string_view rest = std::string_view(entry.name).substr(folder.size());
    if (rest.starts_with("code/") || rest == "constants.pkl") {
      throw DataError(place + "entry " + entry.name +
                      ": this is a TorchScript program, not a file of tensors; nothing of it was "
                      "run");
    }
  }
  return folder;
}

}  // namespace

const TensorEntry* TorchFileGroup::find(std::string_view tensor) const {
  for (const TensorEntry& entry : tensors) {
    if (entry.name == tensor) return &entry;
  }
  return nullptr;
}

TorchFile::TorchFile(fs::path path) : path_(std::move(path)) {
  const MappedFile file = map_file(path_);
  const std::string place = path_.string() + ": ";
  refuse_other_formats(path_, file);
  const ZipArchive archive(path_, file);
  const std::string folder = archive_folder(archive, place);
  const ZipEntry* pickle = archive.find(folder + "data.pkl");
  if (pickle == nullptr)
    throw DataError(place + "expected an entry data.pkl, as torch.save writes it, found none");
  archive.check_crc(*pickle);
  if (const ZipEntry* order = archive.find(folder + "byteorder")) {
    archive.check_crc(*order);
    const std::string_view text(reinterpret_cast<const char*>(order->data), order->num_bytes);
    if (text != "little")
      throw DataError(place + "entry " + order->name +
                      ": expected little-endian numbers, found another order of bytes");
  }
  const auto bytes = std::make_shared<OpenedBytes>();
  bytes->mapping = file.mapping;
  TensorResolver resolver(archive, place, folder, *bytes);
  const std::vector<PickledGroup> pickled = read_tensor_pickle(
      {reinterpret_cast<const char*>(pickle->data), pickle->num_bytes}, place + "data.pkl: ");
  for (const PickledGroup& described : pickled) {
    TorchFileGroup group{described.name, {}};
    for (const auto& [name, tensor] : described.tensors)
      group.tensors.push_back(resolver.resolve(name, tensor));
    groups_.push_back(std::move(group));
  }
  resolver.check_all_used();
  mapping_ = bytes;
}

const TorchFileGroup* TorchFile::find(std::string_view group) const {
  for (const TorchFileGroup& candidate : groups_) {
    if (candidate.name == group) return &candidate;
  }
  return nullptr;
}

void write_torch_file(const fs::path& path, const std::vector<TorchFileGroup>& groups) {
  const auto fail = [&path](const std::string& what) {
    return Error(path.string() + ": cannot write: " + what);
  };
  std::vector<PickledGroup> described;
  std::vector<const TensorEntry*> storages;
  std::set<std::string_view> group_names;
  for (const TorchFileGroup& group : groups) {
    if ((group.name.empty() && groups.size() > 1) || find_invalid_utf8(group.name) ||
        !group_names.insert(group.name).second) {
      throw fail("group \"" + group.name + "\": expected every group to have a name of its own");
    }
    PickledGroup pickled{group.name, {}};
    std::set<std::string_view> names;
    for (const TensorEntry& tensor : group.tensors) {
      const std::string place = "tensor " + tensor.name + ": ";
      if (tensor.name.empty() || find_invalid_utf8(tensor.name) ||
          !names.insert(tensor.name).second) {
        throw fail(place + "expected every tensor of a group to have a name of its own in UTF-8");
      }
      const std::optional<std::int64_t> count = product_of(tensor.shape);
      const std::size_t item_bytes = dtype_num_bytes(tensor.dtype);
      if (!count || tensor.num_bytes % item_bytes != 0 ||
          static_cast<std::uint64_t>(*count) != tensor.num_bytes / item_bytes) {
        throw fail(place + "expected the size of " + std::string(dtype_name(tensor.dtype)) + " " +
                   shape_string(tensor.shape) + ", found " + std::to_string(tensor.num_bytes) +
                   " bytes");
      }
      PickledTensor pickled_tensor{tensor.dtype, std::to_string(storages.size()),
                                   *count,       0,
                                   tensor.shape, std::vector<std::int64_t>(tensor.shape.size())};
      std::int64_t stride = 1;
      for (std::size_t i = tensor.shape.size(); i-- > 0;) {
        pickled_tensor.strides[i] = stride;
        stride *= std::max<std::int64_t>(tensor.shape[i], 1);
      }
      pickled.tensors.emplace_back(tensor.name, std::move(pickled_tensor));
      storages.push_back(&tensor);
    }
    described.push_back(std::move(pickled));
  }

  const std::string folder = path.stem().string() + "/";
  ZipWriter writer(path);
  writer.add(folder + "data.pkl", write_tensor_pickle(described));
  writer.add(folder + "byteorder", "little");
  for (std::size_t i = 0; i < storages.size(); ++i)
    writer.add(folder + "data/" + std::to_string(i), storages[i]->data, storages[i]->num_bytes);
  writer.add(folder + "version", "3\n");
  writer.commit();
}

}  // namespace clara
