// One JSON object a line; TensorBoard events as the few protobuf fields they need.
#include "clara/trainer/metrics_log.h"

#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <string_view>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using Json = nlohmann::ordered_json;

/// CRC-32C, masked as TFRecord files want it.
std::uint32_t masked_crc(const std::string& data) {
  static const std::array<std::uint32_t, 256> kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t crc = i;
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0U);
      table[i] = crc;
    }
    return table;
  }();
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char c : data)
    crc = kTable[(crc ^ static_cast<unsigned char>(c)) & 0xFFU] ^ (crc >> 8);
  crc ^= 0xFFFFFFFFU;
  return std::rotr(crc, 15) + 0xA282EAD8U;
}

template <typename T>
std::string little_endian(T value) {
  std::string bytes(sizeof(T), '\0');
  for (std::size_t i = 0; i < sizeof(T); ++i)
    bytes[i] = static_cast<char>((value >> (8 * i)) & 0xFF);
  return bytes;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  while (value >= 0x80) {
    bytes.push_back(static_cast<char>((value & 0x7F) | 0x80));
    value >>= 7;
  }
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

// Protobuf fields: key = number · 8 + wire type (0 varint, 1 64-bit, 2 bytes, 5 32-bit).
std::string bytes_field(std::uint64_t number, const std::string& content) {
  return varint(number << 3 | 2) + varint(content.size()) + content;
}
std::string double_field(std::uint64_t number, double value) {
  return varint(number << 3 | 1) + little_endian(std::bit_cast<std::uint64_t>(value));
}
std::string float_field(std::uint64_t number, float value) {
  return varint(number << 3 | 5) + little_endian(std::bit_cast<std::uint32_t>(value));
}

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string record_of(const std::string& event) {
  const std::string length = little_endian(static_cast<std::uint64_t>(event.size()));
  return length + little_endian(masked_crc(length)) + event + little_endian(masked_crc(event));
}

constexpr const char* kEventsPrefix = "events.out.tfevents.";
constexpr const char* kEventsSuffix = ".clara";
constexpr const char* kValidationPrefix = "validation/";

bool is_event_file(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with(kEventsPrefix) && name.ends_with(kEventsSuffix);
}

/// Reads protobuf numbers; at the end of the text they are 0 and `at` stays there.
class ProtobufReader {
 public:
  explicit ProtobufReader(std::string_view text) : text_(text) {}
  bool at_end() const { return at_ >= text_.size(); }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; !at_end() && shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(text_[at_++]);
      value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
      if ((byte & 0x80U) == 0) break;
    }
    return value;
  }
  std::string_view bytes(std::uint64_t num_bytes) {
    const std::string_view found = text_.substr(at_, num_bytes);
    at_ += found.size();
    return found;
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

/// The step of an event that this writer made, and whether it holds a validation.
struct EventContent {
  std::int64_t step = 0;
  bool is_validation = false;
};

EventContent read_event(std::string_view event) {
  EventContent content;
  ProtobufReader reader(event);
  while (!reader.at_end()) {
    const std::uint64_t key = reader.varint();
    if (key == (2 << 3)) {
      content.step = static_cast<std::int64_t>(reader.varint());
    } else if ((key & 7U) == 2) {
      const std::string_view field = reader.bytes(reader.varint());
      // The names of the scalars lie in the summary as they are.
      if (key >> 3 == 5)
        content.is_validation = field.find(kValidationPrefix) != std::string_view::npos;
    } else if ((key & 7U) == 1) {
      reader.bytes(8);
    } else {
      break;
    }
  }
  return content;
}

bool is_cut(const LogCut& cut, std::int64_t step, bool is_validation) {
  return step > cut.step || (step == cut.step && is_validation && cut.is_validation_of_step_cut);
}

/// Where the first record that is to go, or is torn, begins.
std::size_t find_event_cut(const std::string& content, const LogCut& cut) {
  constexpr std::size_t kHead = 12, kTail = 4;
  std::size_t at = 0;
  while (content.size() - at >= kHead + kTail) {
    std::uint64_t length = 0;
    for (unsigned i = 0; i < 8; ++i)
      length |= static_cast<std::uint64_t>(static_cast<unsigned char>(content[at + i])) << (8 * i);
    if (length > content.size() - at - kHead - kTail) break;
    const std::string event = content.substr(at + kHead, length);
    if (content.compare(at, kHead + length + kTail, record_of(event)) != 0) break;
    const EventContent found = read_event(event);
    if (is_cut(cut, found.step, found.is_validation)) break;
    at += kHead + length + kTail;
  }
  return at;
}

void cut_event_files(const std::filesystem::path& folder, const LogCut& cut) {
  std::error_code unreadable;
  for (const auto& entry : std::filesystem::directory_iterator(folder, unreadable)) {
    if (!entry.is_regular_file() || !is_event_file(entry.path())) continue;
    const std::size_t end = find_event_cut(read_file(entry.path()), cut);
    std::error_code error;
    if (end == 0) {
      std::filesystem::remove(entry.path(), error);
    } else if (end < entry.file_size()) {
      std::filesystem::resize_file(entry.path(), end, error);
    }
    if (error) throw DataError(entry.path().string() + ": cannot be cut: " + error.message());
  }
}

/// The rows of metrics.jsonl that stay.
std::string kept_rows(const std::string& content, const LogCut& cut) {
  std::string kept;
  for (std::size_t begin = 0; begin < content.size();) {
    const std::size_t end = content.find('\n', begin);
    if (end == std::string::npos) break;  // a torn last line
    const std::string line = content.substr(begin, end - begin);
    begin = end + 1;
    const Json json = parse_json<Json>(line);
    if (!json.is_object()) continue;
    const auto step = json.find("step");
    if (step == json.end() || !step->is_number_integer()) continue;
    bool is_validation = false;
    for (const auto& [name, value] : json.items())
      is_validation = is_validation || name.starts_with(kValidationPrefix);
    if (!is_cut(cut, step->get<std::int64_t>(), is_validation)) kept += line + "\n";
  }
  return kept;
}

/// A name in `folder` that no file has.
std::filesystem::path free_event_path(const std::filesystem::path& folder) {
  // Runs that are resumed within a second must not write into one file.
  for (auto seconds = static_cast<std::int64_t>(now_seconds());; ++seconds) {
    std::filesystem::path path = folder / (kEventsPrefix + std::to_string(seconds) + kEventsSuffix);
    if (!std::filesystem::exists(path)) return path;
  }
}

}  // namespace

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder) {
  std::optional<std::string> failure;
  try {
    file_ = std::make_unique<AppendFile>(free_event_path(folder));
    failure =
        file_->append(record_of(double_field(1, now_seconds()) + bytes_field(3, "brain.Event:2")));
  } catch (const Error& error) {
    throw DataError(error.what());
  }
  if (failure) throw DataError(file_->path().string() + ": cannot be written: " + *failure);
}

std::optional<std::string> TensorBoardWriter::add(std::int64_t step, const MetricRow& row) {
  std::string summary;
  for (const auto& [name, value] : row) {
    summary += bytes_field(1, bytes_field(1, name) + float_field(2, static_cast<float>(value)));
  }
  return file_->append(record_of(double_field(1, now_seconds()) + varint(2 << 3) +
                                 varint(static_cast<std::uint64_t>(step)) +
                                 bytes_field(5, summary)));
}

MetricsLog::MetricsLog(const std::filesystem::path& folder, bool tensorboard,
                       std::optional<LogCut> cut)
    : path_(folder / "metrics.jsonl") {
  try {
    open(cut);
  } catch (const DataError&) {
    throw;
  } catch (const std::exception& error) {
    throw DataError(error.what());
  }
  if (tensorboard) tensorboard_ = std::make_unique<TensorBoardWriter>(folder);
}

void MetricsLog::open(const std::optional<LogCut>& cut) {
  const std::filesystem::path folder = path_.parent_path();
  std::string kept;
  if (cut) {
    if (std::filesystem::exists(path_)) kept = kept_rows(read_file(path_), *cut);
    cut_event_files(folder, *cut);
  } else {
    cut_event_files(folder, LogCut{-1});  // of a run that was killed before its first checkpoint
  }
  write_file_atomically(path_, kept);
  file_ = std::make_unique<AppendFile>(path_);
}

void MetricsLog::write(std::int64_t step, const MetricRow& row) {
  Json json;
  json["step"] = step;
  for (const auto& [name, value] : row) {
    // Whole numbers stay whole: counts read better, and they round-trip.
    if (std::nearbyint(value) == value && std::abs(value) < 1e15) {
      json[name] = static_cast<std::int64_t>(value);
    } else {
      json[name] = value;
    }
  }
  const std::optional<std::string> failure = file_->append(json.dump() + "\n");
  const std::optional<std::string> event_failure =
      tensorboard_ == nullptr ? std::nullopt : tensorboard_->add(step, row);
  check(failure);
  check(event_failure);
}

void MetricsLog::sync() { check(file_->sync()); }

void MetricsLog::check(const std::optional<std::string>& failure) const {
  if (failure)
    throw DataError(path_.string() + ": cannot be written: " + *failure + "; is the disk full?");
}

}  // namespace clara
