// Tensors in .safetensors files, memory-mapped and validated, without LibTorch; single files,
// sharded folders, writing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace clara {

/// Element types of the format that fill whole bytes (F4 and F6 are refused by name).
enum class TensorDtype {
  kBool,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

/// The format's name of a type: "BF16".
std::string_view dtype_name(TensorDtype dtype);
/// Bytes of one element.
std::size_t dtype_num_bytes(TensorDtype dtype);
/// The type of a name; empty if the name is none.
std::optional<TensorDtype> parse_dtype(std::string_view name);
/// "[14336, 4096]", for messages.
std::string shape_string(const std::vector<std::int64_t>& shape);

/// One tensor: row-major, little-endian elements at `data`, owned by someone else.
struct TensorEntry {
  std::string name;
  TensorDtype dtype = TensorDtype::kF32;
  std::vector<std::int64_t> shape;  ///< empty: a scalar, one element
  const std::byte* data = nullptr;  ///< may be unaligned in files of careless writers; not null
                                    ///< even where num_bytes is 0
  std::size_t num_bytes = 0;        ///< product of shape times dtype_num_bytes
};

/// A .safetensors file, mapped read-only. Everything the header claims is checked against the file
/// when it is opened, as strictly as the format's own crate does (no overlap, no holes, nothing
/// after the last tensor). Only shrinking the file while it is mapped can then make an access fail.
class SafetensorsFile {
 public:
  /// Throws DataError "path: tensor NAME: expected …, found …" (or "path: header: …").
  explicit SafetensorsFile(std::filesystem::path path);

  const std::filesystem::path& path() const { return path_; }
  /// In the header's order. The data live as long as mapping() does.
  const std::vector<TensorEntry>& tensors() const { return tensors_; }
  /// Null if there is none of that name.
  const TensorEntry* find(std::string_view name) const;
  /// Throws DataError that names the file and the tensor if there is none of that name.
  const TensorEntry& at(std::string_view name) const;
  /// `__metadata__`; empty if the file has none.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// Keeps the mapped bytes alive; copy it beside views of the data.
  std::shared_ptr<const void> mapping() const { return mapping_; }

 private:
  std::filesystem::path path_;
  std::shared_ptr<const void> mapping_;
  std::vector<TensorEntry> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::map<std::string, std::string> metadata_;
};

/// The weights of a Hugging Face model folder: model.safetensors, or model.safetensors.index.json
/// and its shards. The index and the shards must agree: every tensor in the shard it is listed for,
/// and none besides.
class SafetensorsFolder {
 public:
  /// Throws DataError that names the file, the shard or the tensor.
  explicit SafetensorsFolder(std::filesystem::path folder);

  const std::filesystem::path& path() const { return path_; }
  /// The shards, in the order of their names.
  const std::vector<SafetensorsFile>& files() const { return files_; }
  /// All tensor names, file by file in header order.
  std::vector<std::string> names() const;
  /// Null if there is none of that name.
  const TensorEntry* find(std::string_view name) const;
  /// Throws DataError that names the folder and the tensor if there is none of that name.
  const TensorEntry& at(std::string_view name) const;
  /// Keeps the bytes of that tensor's file alive. Throws as at().
  std::shared_ptr<const void> mapping(std::string_view name) const;

 private:
  const SafetensorsFile* file_of(std::string_view name) const;

  std::filesystem::path path_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::size_t, std::less<>> file_index_;
};

/// Writes a file that holds `tensors` under their names, whole or not at all. The header lists them
/// in the given order; the data are laid out by falling element size, so that every tensor is
/// aligned to its element. The bytes depend only on the arguments. Throws Error: a name twice, a
/// size that does not fit the shape, text that is no UTF-8, a failing disk.
void write_safetensors(const std::filesystem::path& path, const std::vector<TensorEntry>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace clara
