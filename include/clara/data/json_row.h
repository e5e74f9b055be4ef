// One row as JSON: values that know how to say what is wrong with them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clara/common/error.h"
#include "clara/data/row_stream.h"

namespace clara {

class JsonRow;

/// What was read is no UTF-8, or no JSON; of a last line without a line break this may mean that it
/// is cut off.
class JsonSyntaxError : public DataError {
 public:
  using DataError::DataError;
};

/// A value of a JsonRow; valid until that parses the next row.
class JsonValue {
 public:
  bool is_null() const;
  bool is_text() const;
  bool is_list() const;
  bool is_object() const;

  /// A member that is there and not null.
  std::optional<JsonValue> find(std::string_view name) const;
  /// The same, or an error. `expected` describes it.
  JsonValue require(std::string_view name, std::string_view expected) const;
  /// Names of the members of an object.
  std::vector<std::string> names() const;

  /// These throw DataError for another type, with `expected` in the message.
  std::string_view text(std::string_view expected = "a string") const;
  std::vector<JsonValue> items(std::string_view expected = "a list") const;
  std::int64_t whole_number(std::string_view expected = "a whole number") const;
  bool truth(std::string_view expected = "true or false") const;
  /// A string that is not blank, or a whole number of up to 64 bits, signed or not, as its digits.
  std::string id() const;

  /// Throws DataError that names this value's place in its row.
  [[noreturn]] void fail(std::string_view expected) const;

 private:
  friend class JsonRow;
  // The bytes of the parser's own handle, whose header only the code may include.
  static constexpr std::size_t kHandleBytes = 16;
  using Handle = std::array<std::byte, kHandleBytes>;
  JsonValue(const JsonRow& row, const void* handle);

  const JsonRow* row_;
  alignas(8) Handle handle_;
};

/// A parser and the row that it read last.
class JsonRow {
 public:
  JsonRow();
  JsonRow(const JsonRow&) = delete;
  JsonRow& operator=(const JsonRow&) = delete;
  ~JsonRow();

  /// Throws JsonSyntaxError, and DataError for what is no object.
  JsonValue parse(const StreamedRow& row);

  /// "file:line: FIELD: expected …, found …".
  [[noreturn]] void fail(const std::string& field, std::string_view expected,
                         std::string_view found) const;
  /// Path of a value in the row, "context[3][0]".
  std::string path_of(const JsonValue& value) const;

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
  RecordPlace place_;
  std::string suffix_;  // where the row starts, for files whose rows are no lines
};

}  // namespace clara
