// Plain values as the bytes of a message between ranks, which are of one kind of machine.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>
#include <type_traits>

#include "clara/common/error.h"

namespace clara {

inline std::string bytes_of(const void* data, std::size_t num_bytes) {
  return {static_cast<const char*>(data), num_bytes};
}

template <class Value>
std::string bytes_of_value(const Value& value) {
  static_assert(std::is_trivially_copyable_v<Value>);
  return bytes_of(&value, sizeof value);
}

/// Reads what was appended as plain values; the message must outlive this. Throws Error where it is
/// too short.
class ByteReader {
 public:
  explicit ByteReader(const std::string& bytes) : bytes_(bytes) {}
  ByteReader(std::string&&) = delete;
  bool is_at_end() const { return place_ == bytes_.size(); }
  void read(void* data, std::size_t num_bytes) {
    if (num_bytes > bytes_.size() - place_) throw Error("a message of another rank is too short");
    std::memcpy(data, bytes_.data() + place_, num_bytes);
    place_ += num_bytes;
  }
  template <class Value>
  Value read_value() {
    static_assert(std::is_trivially_copyable_v<Value>);
    Value value;
    read(&value, sizeof value);
    return value;
  }
  std::string read_rest() {
    std::string rest = bytes_.substr(place_);
    place_ = bytes_.size();
    return rest;
  }

 private:
  const std::string& bytes_;
  std::size_t place_ = 0;
};

}  // namespace clara
