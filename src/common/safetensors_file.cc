// The safetensors format: 8 bytes of header length (little-endian), a JSON header, then the
// tensors' bytes. A header is untrusted: nothing of it is used before it has been checked against
// the file.
#include "clara/common/safetensors_file.h"

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <system_error>
#include <utility>

#include "common/mapped_file.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's own crate
constexpr std::string_view kMetadataKey = "__metadata__";

struct DtypeRow {
  TensorDtype dtype;
  std::string_view name;
  std::size_t num_bytes;
};
constexpr std::array<DtypeRow, 17> kDtypes{{
    {TensorDtype::kBool, "BOOL", 1},
    {TensorDtype::kU8, "U8", 1},
    {TensorDtype::kI8, "I8", 1},
    {TensorDtype::kF8E5M2, "F8_E5M2", 1},
    {TensorDtype::kF8E4M3, "F8_E4M3", 1},
    {TensorDtype::kF8E8M0, "F8_E8M0", 1},
    {TensorDtype::kI16, "I16", 2},
    {TensorDtype::kU16, "U16", 2},
    {TensorDtype::kF16, "F16", 2},
    {TensorDtype::kBF16, "BF16", 2},
    {TensorDtype::kI32, "I32", 4},
    {TensorDtype::kU32, "U32", 4},
    {TensorDtype::kF32, "F32", 4},
    {TensorDtype::kC64, "C64", 8},
    {TensorDtype::kF64, "F64", 8},
    {TensorDtype::kI64, "I64", 8},
    {TensorDtype::kU64, "U64", 8},
}};

const DtypeRow& dtype_row(TensorDtype dtype) {
  for (const DtypeRow& row : kDtypes) {
    if (row.dtype == dtype) return row;
  }
  throw Error("tensor dtype: expected one of the format's types, found " +
              std::to_string(static_cast<int>(dtype)));
}

/// Bytes of a tensor; empty if the number does not fit 63 bits. Sizes are not negative.
std::optional<std::uint64_t> tensor_bytes(const std::vector<std::int64_t>& shape,
                                          std::size_t item_bytes) {
  // A zero anywhere makes the product zero, but the other sizes must not overflow on the way (as
  // the crate counts).
  std::uint64_t product = 1;
  for (const std::int64_t size : shape) {
    if (__builtin_mul_overflow(product, static_cast<std::uint64_t>(size), &product))
      return std::nullopt;
  }
  if (__builtin_mul_overflow(product, item_bytes, &product)) return std::nullopt;
  if (product > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
    return std::nullopt;
  return product;
}

std::string offsets_string(std::uint64_t begin, std::uint64_t end) {
  return "[" + std::to_string(begin) + ", " + std::to_string(end) + "]";
}

/// What a header says of one tensor, not yet checked against the file.
struct HeaderEntry {
  std::string name;
  std::optional<TensorDtype> dtype;
  std::optional<std::vector<std::int64_t>> shape;
  std::optional<std::vector<std::uint64_t>> offsets;
};

/// Reads a header event by event: no document is built, so a hostile one costs no more than its own
/// length, and a key that stands twice is seen.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const fs::path& path) : path_(path) {}

  bool null() override { return refuse("null"); }
  bool boolean(bool value) override { return refuse(value ? "true" : "false"); }
  bool number_float(number_float_t /*value*/, const string_t& text) override {
    return refuse(text);
  }
  bool binary(binary_t& /*value*/) override { return refuse("binary data"); }

  bool number_integer(number_integer_t value) override {
    return value < 0 ? refuse(std::to_string(value))
                     : number_unsigned(static_cast<number_unsigned_t>(value));
  }

  bool number_unsigned(number_unsigned_t value) override {
    const bool is_listed = place_ == Place::kShape || place_ == Place::kOffsets;
    if (!is_listed ||
        value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) {
      return refuse(std::to_string(value));
    }
    if (place_ == Place::kShape) {
      entries_.back().shape->push_back(static_cast<std::int64_t>(value));
    } else {
      entries_.back().offsets->push_back(value);
    }
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      metadata_[key_] = std::move(value);
      return true;
    }
    if (place_ != Place::kTensor || key_ != "dtype") return refuse("\"" + value + "\"");
    entries_.back().dtype = parse_dtype(value);
    if (!entries_.back().dtype) return refuse("\"" + value + "\"");
    return true;
  }

  bool start_object(std::size_t /*size*/) override {
    if (place_ == Place::kStart) {
      place_ = Place::kTop;
    } else if (place_ == Place::kTop && key_ == kMetadataKey) {
      place_ = Place::kMetadata;
    } else if (place_ == Place::kTop) {
      entries_.push_back({key_, {}, {}, {}});
      place_ = Place::kTensor;
    } else {
      return refuse("an object");
    }
    return true;
  }

  bool key(string_t& value) override {
    key_ = std::move(value);
    switch (place_) {
      case Place::kTop:
        if (!names_.insert(key_).second)
          fail("expected every name once, found \"" + key_ + "\" twice");
        break;
      case Place::kMetadata:
        if (!metadata_.emplace(key_, "").second) {
          fail(std::string(kMetadataKey) + ": expected every key once, found \"" + key_ +
               "\" twice");
        }
        break;
      default: {
        const HeaderEntry& entry = entries_.back();
        const bool is_known = key_ == "dtype" || key_ == "shape" || key_ == "data_offsets";
        if (!is_known)
          fail_tensor("expected dtype, shape and data_offsets, found \"" + key_ + "\"");
        if ((key_ == "dtype" && entry.dtype) || (key_ == "shape" && entry.shape) ||
            (key_ == "data_offsets" && entry.offsets)) {
          fail_tensor("expected every key once, found \"" + key_ + "\" twice");
        }
      }
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      const HeaderEntry& entry = entries_.back();
      if (!entry.dtype || !entry.shape || !entry.offsets) {
        fail_tensor(std::string("expected dtype, shape and data_offsets, found no ") +
                    (!entry.dtype ? "dtype" : (!entry.shape ? "shape" : "data_offsets")));
      }
      if (entry.offsets->size() != 2) {
        fail_tensor("data_offsets: expected 2 numbers, found " +
                    std::to_string(entry.offsets->size()));
      }
    }
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }

  bool start_array(std::size_t /*size*/) override {
    if (place_ == Place::kTensor && key_ == "shape") {
      entries_.back().shape.emplace();
      place_ = Place::kShape;
    } else if (place_ == Place::kTensor && key_ == "data_offsets") {
      entries_.back().offsets.emplace();
      place_ = Place::kOffsets;
    } else {
      return refuse("a list");
    }
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string& /*last_token*/,
                   const nlohmann::detail::exception& error) override {
    fail("expected a JSON object in UTF-8, found a mistake at byte " +
         std::to_string(kLengthBytes + position) + " (" + error.what() + ")");
  }

  std::vector<HeaderEntry> take_entries() { return std::move(entries_); }
  std::map<std::string, std::string> take_metadata() { return std::move(metadata_); }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };

  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(path_.string() + ": header: " + what);
  }

  [[noreturn]] void fail_tensor(const std::string& what) const {
    throw DataError(path_.string() + ": tensor " + entries_.back().name + ": " + what);
  }

  bool refuse(const std::string& found) const {
    switch (place_) {
      case Place::kMetadata:
        fail(std::string(kMetadataKey) + ": " + key_ + ": expected a string, found " + found);
      case Place::kShape:
        fail_tensor("shape: expected whole numbers from 0 to 2^63 - 1, found " + found);
      case Place::kOffsets:
        fail_tensor("data_offsets: expected whole numbers from 0 to 2^63 - 1, found " + found);
      case Place::kTensor:
        if (key_ != "dtype")
          fail_tensor(key_ + ": expected a list of whole numbers, found " + found);
        fail_tensor("dtype: expected one of " + known_dtypes() + ", found " + found);
      case Place::kTop:
        fail("\"" + key_ + "\": expected an object, found " + found);
      default:
        fail("expected an object, found " + found);
    }
  }

  static std::string known_dtypes() {
    std::string text;
    for (const DtypeRow& row : kDtypes) text += (text.empty() ? "" : " ") + std::string(row.name);
    return text;
  }

  const fs::path& path_;
  Place place_ = Place::kStart;
  std::string key_;
  std::vector<HeaderEntry> entries_;
  std::set<std::string> names_;
  std::map<std::string, std::string> metadata_;
};

/// Length of the header, checked against the file.
std::size_t header_length(const fs::path& path, const MappedFile& file) {
  if (file.num_bytes < kLengthBytes) {
    throw DataError(path.string() + ": header: expected at least 8 bytes, found " +
                    std::to_string(file.num_bytes));
  }
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<std::uint64_t>(file.data[i]) << (8 * i);
  }
  const std::string_view bytes(reinterpret_cast<const char*>(file.data), file.num_bytes);
  if (bytes.starts_with("version https://git-lfs")) {
    throw DataError(path.string() +
                    ": expected a safetensors file, found a Git LFS pointer (fetch the file with "
                    "git lfs pull)");
  }
  const std::string found = "found a length of " + std::to_string(length);
  if (length > kMaxHeaderBytes) {
    throw DataError(path.string() + ": header: expected at most " +
                    std::to_string(kMaxHeaderBytes) + " bytes, " + found +
                    " (is this a safetensors file?)");
  }
  if (length > file.num_bytes - kLengthBytes) {
    throw DataError(path.string() + ": header: expected at most the " +
                    std::to_string(file.num_bytes - kLengthBytes) + " bytes that follow, " + found +
                    " (the file is cut off)");
  }
  if (length == 0 || bytes[kLengthBytes] != '{') {
    throw DataError(path.string() + ": header: expected a JSON object that begins with {, " +
                    (length == 0 ? found : "found another byte"));
  }
  return length;
}

/// Tensors in the header's order, once everything in `header` agrees with the `num_bytes` bytes at
/// `data`.
std::vector<TensorEntry> checked_tensors(const fs::path& path, std::vector<HeaderEntry> header,
                                         const std::byte* data, std::size_t num_bytes) {
  const auto fail = [&path](const HeaderEntry& entry, const std::string& what) -> DataError {
    return DataError(path.string() + ": tensor " + entry.name + ": " + what);
  };
  for (const HeaderEntry& entry : header) {
    const std::uint64_t begin = (*entry.offsets)[0];
    const std::uint64_t end = (*entry.offsets)[1];
    if (begin > end) {
      throw fail(entry, "data_offsets: expected begin <= end, found " + offsets_string(begin, end));
    }
    const auto expected = tensor_bytes(*entry.shape, dtype_num_bytes(*entry.dtype));
    const std::string claim =
        std::string(dtype_name(*entry.dtype)) + " " + shape_string(*entry.shape);
    if (!expected) throw fail(entry, "expected a size below 2^63 bytes, found " + claim);
    if (*expected != end - begin) {
      throw fail(entry, "expected " + std::to_string(*expected) + " bytes for " + claim +
                            ", found " + std::to_string(end - begin) + " (data_offsets " +
                            offsets_string(begin, end) + ")");
    }
    if (end > num_bytes) {
      throw fail(entry, "expected data_offsets within the file's " + std::to_string(num_bytes) +
                            " bytes of data, found " + offsets_string(begin, end) +
                            " (the file is cut off)");
    }
  }

  std::vector<std::size_t> order(header.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&header](std::size_t a, std::size_t b) {
    return *header[a].offsets < *header[b].offsets;
  });
  std::uint64_t position = 0;
  for (const std::size_t i : order) {
    const std::uint64_t begin = (*header[i].offsets)[0];
    if (begin != position) {
      throw fail(header[i], "data_offsets: expected to begin at " + std::to_string(position) +
                                ", where the data before it end, found " + std::to_string(begin) +
                                (begin < position ? " (tensors overlap)" : " (a hole)"));
    }
    position = (*header[i].offsets)[1];
  }
  if (position != num_bytes) {
    throw DataError(path.string() + ": expected " + std::to_string(position) +
                    " bytes of data by the header, found " + std::to_string(num_bytes) +
                    " (bytes after the last tensor)");
  }

  std::vector<TensorEntry> tensors;
  tensors.reserve(header.size());
  for (HeaderEntry& entry : header) {
    const std::uint64_t begin = (*entry.offsets)[0];
    tensors.push_back({std::move(entry.name), *entry.dtype, std::move(*entry.shape), data + begin,
                       static_cast<std::size_t>((*entry.offsets)[1] - begin)});
  }
  return tensors;
}

std::string json_string(const std::string& text) { return nlohmann::json(text).dump(); }

}  // namespace

std::string_view dtype_name(TensorDtype dtype) { return dtype_row(dtype).name; }

std::size_t dtype_num_bytes(TensorDtype dtype) { return dtype_row(dtype).num_bytes; }

std::optional<TensorDtype> parse_dtype(std::string_view name) {
  for (const DtypeRow& row : kDtypes) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

std::string shape_string(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

SafetensorsFile::SafetensorsFile(fs::path path) : path_(std::move(path)) {
  const MappedFile file = map_file(path_);
  const std::size_t length = header_length(path_, file);
  HeaderReader reader(path_);
  const auto* begin = reinterpret_cast<const char*>(file.data) + kLengthBytes;
  // The parser takes a NUL byte for the end of the text.
  if (const auto nul = std::string_view(begin, length).find('\0'); nul != std::string_view::npos) {
    throw DataError(path_.string() +
                    ": header: expected a JSON object in UTF-8, found a mistake at byte " +
                    std::to_string(kLengthBytes + nul) + " (a NUL byte)");
  }
  nlohmann::json::sax_parse(begin, begin + length, &reader);
  const std::size_t data_offset = kLengthBytes + length;
  tensors_ = checked_tensors(path_, reader.take_entries(), file.data + data_offset,
                             file.num_bytes - data_offset);
  metadata_ = reader.take_metadata();
  for (std::size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
  mapping_ = file.mapping;
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const TensorEntry& SafetensorsFile::at(std::string_view name) const {
  if (const TensorEntry* entry = find(name)) return *entry;
  throw DataError(path_.string() + ": tensor " + std::string(name) +
                  ": expected in the file, found " + std::to_string(tensors_.size()) + " others");
}

SafetensorsFolder::SafetensorsFolder(fs::path folder) : path_(std::move(folder)) {
  const fs::path single = path_ / "model.safetensors";
  const fs::path index_path = path_ / "model.safetensors.index.json";
  std::error_code ignored;
  if (!fs::is_directory(path_, ignored)) {
    throw DataError(path_.string() + ": expected a model folder, found " +
                    (fs::exists(path_, ignored) ? "a file" : "nothing there"));
  }
  if (fs::exists(single, ignored)) {
    files_.emplace_back(single);
    for (const TensorEntry& tensor : files_[0].tensors()) file_index_.emplace(tensor.name, 0);
    return;
  }
  if (!fs::exists(index_path, ignored)) {
    const bool has_pickle = fs::exists(path_ / "pytorch_model.bin", ignored) ||
                            fs::exists(path_ / "pytorch_model.bin.index.json", ignored);
    throw DataError(
        path_.string() + ": expected model.safetensors or model.safetensors.index.json, found " +
        (has_pickle ? "pytorch_model.bin only (save the model with safe_serialization=True)"
                    : "neither"));
  }

  const auto fail = [&index_path](const std::string& what) -> DataError {
    return DataError(index_path.string() + ": " + what);
  };
  std::vector<std::set<std::string>> keys;
  const auto refuse_duplicates = [&](int /*depth*/, nlohmann::json::parse_event_t event,
                                     nlohmann::json& parsed) {
    if (event == nlohmann::json::parse_event_t::object_start) keys.emplace_back();
    if (event == nlohmann::json::parse_event_t::object_end) keys.pop_back();
    if (event == nlohmann::json::parse_event_t::key &&
        !keys.back().insert(parsed.get<std::string>()).second) {
      throw fail("expected every key once, found \"" + parsed.get<std::string>() + "\" twice");
    }
    return true;
  };
  nlohmann::json index;
  try {
    index = nlohmann::json::parse(read_file(index_path), refuse_duplicates);
  } catch (const nlohmann::json::exception& error) {
    throw fail(std::string("expected a JSON object, found a mistake (") + error.what() + ")");
  }
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object() ||
      index["weight_map"].empty()) {
    throw fail("expected an object \"weight_map\" from tensor to file, found none");
  }
  std::map<std::string, std::set<std::string>> shards;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string()) {
      throw fail("tensor " + tensor + ": expected the name of a file, found " + file.dump());
    }
    const auto name = file.get<std::string>();
    // A shard lies in the folder itself: an index must not make the program open files elsewhere.
    if (name.empty() || name == "." || name == ".." ||
        name.find_first_of(std::string_view("/\\\0", 3)) != name.npos) {
      throw fail("tensor " + tensor + ": expected the plain name of a file in the folder, found " +
                 file.dump());
    }
    shards[name].insert(tensor);
  }
  for (const auto& [name, tensors] : shards) {
    const fs::path shard_path = path_ / name;
    if (!fs::exists(shard_path, ignored)) {
      throw fail("expected shard " + name + " (" + std::to_string(tensors.size()) +
                 " tensors), found no such file in " + path_.string());
    }
    const std::size_t shard = files_.size();
    files_.emplace_back(shard_path);
    for (const std::string& tensor : tensors) {
      if (files_[shard].find(tensor) == nullptr) {
        throw fail("tensor " + tensor + ": expected in " + name + ", found no such tensor there");
      }
    }
    for (const TensorEntry& tensor : files_[shard].tensors()) {
      if (!tensors.contains(tensor.name)) {
        throw fail("tensor " + tensor.name + ": found in " + name +
                   ", expected in weight_map as a tensor of that file");
      }
      file_index_.emplace(tensor.name, shard);
    }
  }
}

std::vector<std::string> SafetensorsFolder::names() const {
  std::vector<std::string> names;
  names.reserve(file_index_.size());
  for (const SafetensorsFile& file : files_) {
    for (const TensorEntry& tensor : file.tensors()) names.push_back(tensor.name);
  }
  return names;
}

const SafetensorsFile* SafetensorsFolder::file_of(std::string_view name) const {
  const auto found = file_index_.find(name);
  return found == file_index_.end() ? nullptr : &files_[found->second];
}

const TensorEntry* SafetensorsFolder::find(std::string_view name) const {
  const SafetensorsFile* file = file_of(name);
  return file == nullptr ? nullptr : file->find(name);
}

const TensorEntry& SafetensorsFolder::at(std::string_view name) const {
  if (const TensorEntry* entry = find(name)) return *entry;
  throw DataError(path_.string() + ": tensor " + std::string(name) +
                  ": expected in the weights, found " + std::to_string(file_index_.size()) +
                  " others in " + std::to_string(files_.size()) + " file(s)");
}

std::shared_ptr<const void> SafetensorsFolder::mapping(std::string_view name) const {
  const TensorEntry& entry = at(name);
  return file_of(entry.name)->mapping();
}

void write_safetensors(const fs::path& path, const std::vector<TensorEntry>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const auto fail = [&path](const std::string& what) {
    return Error(path.string() + ": cannot write: " + what);
  };
  std::set<std::string_view> names;
  for (const TensorEntry& tensor : tensors) {
    const std::string place = "tensor " + tensor.name + ": ";
    if (tensor.name == kMetadataKey || find_invalid_utf8(tensor.name)) {
      throw fail(place + "expected a name in UTF-8 other than __metadata__");
    }
    if (!names.insert(tensor.name).second)
      throw fail(place + "expected every name once, found it twice");
    const bool is_negative =
        std::any_of(tensor.shape.begin(), tensor.shape.end(), [](auto size) { return size < 0; });
    const auto expected =
        is_negative ? std::nullopt : tensor_bytes(tensor.shape, dtype_num_bytes(tensor.dtype));
    if (!expected || *expected != tensor.num_bytes) {
      throw fail(place + "expected the size of " + std::string(dtype_name(tensor.dtype)) + " " +
                 shape_string(tensor.shape) + ", found " + std::to_string(tensor.num_bytes) +
                 " bytes");
    }
  }

  std::vector<std::size_t> order(tensors.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&tensors](std::size_t a, std::size_t b) {
    return dtype_num_bytes(tensors[a].dtype) > dtype_num_bytes(tensors[b].dtype);
  });
  std::vector<std::uint64_t> begins(tensors.size());
  std::uint64_t position = 0;
  for (const std::size_t i : order) {
    begins[i] = position;
    position += tensors[i].num_bytes;
  }

  std::string header = "{";
  if (!metadata.empty()) {
    header += json_string(std::string(kMetadataKey)) + ":{";
    for (const auto& [key, value] : metadata) {
      if (find_invalid_utf8(key) || find_invalid_utf8(value)) {
        throw fail("metadata " + key + ": expected UTF-8");
      }
      if (header.back() != '{') header += ",";
      header += json_string(key) + ":" + json_string(value);
    }
    header += "}";
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const TensorEntry& tensor = tensors[i];
    if (header.size() > 1) header += ",";
    header += json_string(tensor.name) + ":" +
              nlohmann::ordered_json({{"dtype", dtype_name(tensor.dtype)},
                                      {"shape", tensor.shape},
                                      {"data_offsets", {begins[i], begins[i] + tensor.num_bytes}}})
                  .dump();
  }
  header += "}";
  // The data then begin at a multiple of 8, as the format's own writer makes them.
  header.resize((header.size() + kLengthBytes - 1) / kLengthBytes * kLengthBytes, ' ');
  if (header.size() > kMaxHeaderBytes) {
    throw fail("expected a header of at most " + std::to_string(kMaxHeaderBytes) +
               " bytes, found " + std::to_string(header.size()));
  }

  std::string length(kLengthBytes, '\0');
  for (std::size_t i = 0; i < kLengthBytes; ++i)
    length[i] = static_cast<char>((header.size() >> (8 * i)) & 0xFF);
  AtomicFile file(path);
  file.write(length);
  file.write(header);
  for (const std::size_t i : order) file.write(tensors[i].data, tensors[i].num_bytes);
  file.commit();
}

}  // namespace clara
