// Files of torch.save (.pth, .bin) that hold dicts of tensors: read as data, no code is ever run,
// and written for torch.load. Without LibTorch.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "clara/common/safetensors_file.h"

namespace clara {

/// A dict from names to tensors, in the order of the file.
struct TorchFileGroup {
  std::string name;  ///< key in the outermost dict; empty: it is the outermost dict itself
  std::vector<TensorEntry> tensors;

  /// Null if there is none of that name.
  const TensorEntry* find(std::string_view tensor) const;
};

/// A file of torch.save in its zip layout (PyTorch 1.6 and later), mapped read-only. It must hold a
/// dict of tensors, or a dict of such dicts. Everything the file claims is checked when it is
/// opened: the archive, the checksum of every byte that is used, the pickle (of which only the
/// opcodes and names of plain tensors are known), and that every tensor lies in its storage and
/// every storage is used. Only shrinking the file while it is mapped can then make an access fail.
class TorchFile {
 public:
  /// Throws DataError "path: …", and names what is refused: an opcode, a callable, a tensor, an
  /// entry of the archive, the layout before PyTorch 1.6.
  explicit TorchFile(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  /// One group without a name where the outermost dict holds tensors. Tensors are row-major; those
  /// that the file keeps in another order are copies.
  const std::vector<TorchFileGroup>& groups() const { return groups_; }
  /// Null if there is none of that name.
  const TorchFileGroup* find(std::string_view group) const;
  /// Keeps the bytes of all tensors alive.
  std::shared_ptr<const void> mapping() const { return mapping_; }

 private:
  std::filesystem::path path_;
  std::shared_ptr<const void> mapping_;
  std::vector<TorchFileGroup> groups_;
};

/// Writes `groups` as torch.save would, whole or not at all: torch.load(weights_only=True) reads
/// it, and so does TorchFile. A single group without a name becomes the outermost dict. Every
/// tensor gets a storage of its own. The bytes depend only on the groups and the name of the file.
/// Throws Error: a name twice or empty, a size that does not fit the shape, a type that torch.save
/// has no storage of, a failing disk.
void write_torch_file(const std::filesystem::path& path, const std::vector<TorchFileGroup>& groups);

}  // namespace clara
