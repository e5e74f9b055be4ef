// Rows of JSON lines and of JSON arrays.
#include "data/row_scanner.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "data/cut_off_error.h"

namespace clara {
namespace {

constexpr std::size_t kMaxDepth = 512;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

std::string quoted(char c) {
  if (c >= ' ' && c <= '~') return std::string("'") + c + "'";
  return "the byte " + std::to_string(static_cast<unsigned char>(c));
}

}  // namespace

std::int64_t RowIndex::line(std::int64_t row) const {
  auto behind = std::upper_bound(shifts_.begin(), shifts_.end(), row,
                                 [](std::int64_t r, const LineShift& s) { return r < s.row; });
  return row + 1 + (behind == shifts_.begin() ? 0 : std::prev(behind)->shift);
}

void RowIndex::add(RowSpan span, std::int64_t line) {
  const std::int64_t shift = line - size() - 1;
  if (shift != (shifts_.empty() ? 0 : shifts_.back().shift)) shifts_.push_back({size(), shift});
  spans_.push_back(span);
}

bool RowScanner::feed_first(std::string_view bytes) {
  const bool has_mark = bytes.starts_with(kByteOrderMark);
  const std::size_t begin = has_mark ? kByteOrderMark.size() : 0;
  return feed(bytes.substr(begin), begin);
}

LineScanner::LineScanner(std::string file, std::int64_t max_rows)
    : file_(std::move(file)), max_rows_(max_rows) {}

bool LineScanner::feed(std::string_view bytes, std::uint64_t offset) {
  std::size_t begin = 0;
  while (begin < bytes.size()) {
    const auto* newline =
        static_cast<const char*>(std::memchr(bytes.data() + begin, '\n', bytes.size() - begin));
    const std::size_t end =
        newline == nullptr ? bytes.size() : static_cast<std::size_t>(newline - bytes.data());
    std::size_t first = begin;
    if (!has_content_) {
      while (first < end && is_space(bytes[first])) ++first;
      if (first < end) {
        has_content_ = true;
        content_begin_ = offset + first;
        if (bytes[first] == '[' && index_.size() == 0) {
          throw DataError(file_ + ":" + std::to_string(line_) +
                          ": expected one JSON object a line, found the start of a list; a file "
                          "that is one JSON array must be named .json");
        }
      }
    }
    if (has_content_) {
      std::size_t last = end;
      while (last > first && is_space(bytes[last - 1])) --last;
      if (last > first) content_end_ = offset + last;
    }
    if (newline == nullptr) return true;
    end_line();
    if (max_rows_ > 0 && index_.size() == max_rows_) return false;
    begin = end + 1;
  }
  return true;
}

void LineScanner::finish() {
  end_line();
  if (index_.size() == 0) {
    throw DataError(file_ + ": expected one JSON object a line, found only blank lines");
  }
}

void LineScanner::end_line() {
  if (has_content_) index_.add({content_begin_, content_end_ - content_begin_}, line_);
  has_content_ = false;
  ++line_;
}

ArrayScanner::ArrayScanner(std::string file, std::int64_t max_rows, Layout layout)
    : file_(std::move(file)),
      max_rows_(max_rows),
      layout_(layout),
      state_(layout == Layout::kArray ? State::kBeforeArray : State::kBeforeElement) {}

bool ArrayScanner::feed(std::string_view bytes, std::uint64_t offset) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (state_ == State::kInString && !after_escape_) {
      // Most bytes are text: only the end of a string and escapes need a look.
      while (i < bytes.size() && bytes[i] != '"' && bytes[i] != '\\') ++i;
      if (i == bytes.size()) break;
    }
    step(bytes[i], offset + i);
    if (max_rows_ > 0 && index_.size() == max_rows_) return false;
  }
  num_bytes_ = offset + bytes.size();
  return true;
}

void ArrayScanner::step(char c, std::uint64_t offset) {
  switch (state_) {
    case State::kInString:
      if (after_escape_) {
        after_escape_ = false;
      } else if (c == '\\') {
        after_escape_ = true;
      } else if (c == '"') {
        state_ = State::kInElement;
        element_end_ = offset + 1;
      }
      return;
    case State::kInElement:
      step_element(c, offset);
      return;
    case State::kBeforeArray:
      if (is_space(c)) return;
      if (c != '[') {
        fail(offset, "a JSON array ('[')",
             quoted(c) + "; a file of one JSON object a line must be named .jsonl");
      }
      state_ = State::kBeforeElement;
      return;
    case State::kBeforeElement:
      if (is_space(c)) return;
      if (layout_ == Layout::kObjects && c != '{') fail(offset, "a JSON object ('{')", quoted(c));
      if (c == ']' && index_.size() == 0) {
        throw DataError(file_ + ": expected an array of records, found an empty array");
      }
      begin_element(c, offset);
      return;
    case State::kAfterArray:
      if (!is_space(c)) fail(offset, "nothing behind the array", quoted(c));
      return;
  }
}

void ArrayScanner::begin_element(char c, std::uint64_t offset) {
  if (c == ',' || c == ']' || c == '}') {
    fail(offset, "record " + std::to_string(index_.size() + 1), quoted(c));
  }
  element_begin_ = offset;
  open_brackets_.clear();
  state_ = State::kInElement;
  step_element(c, offset);
}

void ArrayScanner::step_element(char c, std::uint64_t offset) {
  if (is_space(c)) return;
  if (open_brackets_.empty() && (c == ',' || c == ']')) {
    end_element();
    state_ = c == ',' ? State::kBeforeElement : State::kAfterArray;
    return;
  }
  element_end_ = offset + 1;
  if (c == '"') {
    state_ = State::kInString;
  } else if (c == '{' || c == '[') {
    open_bracket(c, offset);
  } else if (c == '}' || c == ']') {
    const char opening = c == '}' ? '{' : '[';
    if (open_brackets_.empty() || open_brackets_.back() != opening) {
      fail(offset, "brackets that close in order", quoted(c));
    }
    open_brackets_.pop_back();
    if (layout_ == Layout::kObjects && open_brackets_.empty()) {
      end_element();
      state_ = State::kBeforeElement;
    }
  }
}

void ArrayScanner::open_bracket(char c, std::uint64_t offset) {
  if (open_brackets_.size() == kMaxDepth) {
    fail(offset, "at most " + std::to_string(kMaxDepth) + " nested brackets", "more");
  }
  open_brackets_ += c;
}

void ArrayScanner::end_element() {
  index_.add({element_begin_, element_end_ - element_begin_}, index_.size() + 1);
}

void ArrayScanner::finish() {
  const std::string next = std::to_string(index_.size() + 1);
  switch (state_) {
    case State::kAfterArray:
      return;
    case State::kBeforeArray:
      fail(num_bytes_, "a JSON array ('[')", "the end of the file");
    case State::kBeforeElement:
      if (layout_ == Layout::kObjects && index_.size() > 0) return;
      throw CutOffError(
          message(num_bytes_, "record " + next, "the end of the file; it is cut off"));
    case State::kInElement:
    case State::kInString:
      throw CutOffError(message(
          num_bytes_, layout_ == Layout::kArray ? "the end of the array" : "the end of the object",
          "the end of the file in record " + next + ", which starts at byte " +
              std::to_string(element_begin_) + "; it is cut off"));
  }
}

std::string ArrayScanner::message(std::uint64_t offset, const std::string& expected,
                                  const std::string& found) const {
  return file_ + ": byte " + std::to_string(offset) + ": expected " + expected + ", found " + found;
}

void ArrayScanner::fail(std::uint64_t offset, const std::string& expected,
                        const std::string& found) const {
  throw DataError(message(offset, expected, found));
}

}  // namespace clara
