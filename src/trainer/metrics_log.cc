// One JSON object a line; TensorBoard events as the few protobuf fields they need.
#include "clara/trainer/metrics_log.h"

#include <array>
#include <bit>
#include <chrono>
#include <cmath>

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

}  // namespace

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder)
    : path_(folder / ("events.out.tfevents." +
                      std::to_string(static_cast<std::int64_t>(now_seconds())) + ".clara")),
      out_(path_, std::ios::binary | std::ios::app) {
  if (!out_) throw DataError(path_.string() + ": cannot be written");
  write_event(double_field(1, now_seconds()) + bytes_field(3, "brain.Event:2"));
}

void TensorBoardWriter::write_event(const std::string& event) {
  const std::string length = little_endian(static_cast<std::uint64_t>(event.size()));
  out_ << length << little_endian(masked_crc(length)) << event << little_endian(masked_crc(event));
  out_.flush();
}

void TensorBoardWriter::add(std::int64_t step, const MetricRow& row) {
  std::string summary;
  for (const auto& [name, value] : row) {
    summary += bytes_field(1, bytes_field(1, name) + float_field(2, static_cast<float>(value)));
  }
  write_event(double_field(1, now_seconds()) + varint(2 << 3) +
              varint(static_cast<std::uint64_t>(step)) + bytes_field(5, summary));
}

MetricsLog::MetricsLog(const std::filesystem::path& folder, bool tensorboard,
                       std::int64_t resume_step)
    : path_(folder / "metrics.jsonl") {
  std::string kept;
  if (resume_step >= 0 && std::filesystem::exists(path_)) {
    const std::string content = read_file(path_);
    for (std::size_t begin = 0; begin < content.size();) {
      const std::size_t end = content.find('\n', begin);
      if (end == std::string::npos) break;  // a torn last line
      const std::string line = content.substr(begin, end - begin);
      const Json json = Json::parse(line, nullptr, false);
      if (json.is_object() && json.value("step", std::int64_t{0}) <= resume_step)
        kept += line + "\n";
      begin = end + 1;
    }
  }
  write_file_atomically(path_, kept);
  out_.open(path_, std::ios::app);
  if (!out_) throw DataError(path_.string() + ": cannot be written");
  if (tensorboard) tensorboard_ = std::make_unique<TensorBoardWriter>(folder);
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
  out_ << json.dump() << '\n';
  out_.flush();
  if (!out_) throw DataError(path_.string() + ": cannot be written; is the disk full?");
  if (tensorboard_ != nullptr) tensorboard_->add(step, row);
}

}  // namespace clara
