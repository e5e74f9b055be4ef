// Encodes and decodes a file of requests with load_tokenizer, for compare_tokenizers.py to check.
//
//     clara_tokenizer_compare FOLDER REQUESTS REPLIES     answer every request
//     clara_tokenizer_compare FOLDER REQUESTS --time N    encode all texts N times, print the
//     seconds
//
// REQUESTS is a sequence of: 'T', byte count, UTF-8 bytes (a text), or 'I', id count, ids (to
// decode). REPLIES holds for a text: ids with special tokens parsed, ids with special tokens as
// text (each: count, ids); for ids: decoded text with and without special tokens (each: byte count,
// bytes). Numbers are 32-bit little endian.
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/tokenizer/tokenizer.h"

namespace {

struct Request {
  std::string text;
  clara::TokenIds ids;
  bool is_text = true;
};

class Reader {
 public:
  explicit Reader(std::string bytes) : bytes_(std::move(bytes)) {}
  bool done() const { return at_ == bytes_.size(); }
  std::string take(std::size_t count) {
    if (bytes_.size() - at_ < count)
      throw clara::DataError("the requests end in the middle of one");
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  std::uint32_t number() {
    std::uint32_t value = 0;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

 private:
  std::string bytes_;
  std::size_t at_ = 0;
};

std::vector<Request> read_requests(const std::string& file) {
  Reader reader(clara::read_file(file));
  std::vector<Request> requests;
  while (!reader.done()) {
    Request request;
    request.is_text = reader.take(1) == "T";
    const std::uint32_t count = reader.number();
    if (request.is_text) {
      request.text = reader.take(count);
    } else {
      for (std::uint32_t i = 0; i < count; ++i) {
        request.ids.push_back(static_cast<clara::TokenId>(reader.number()));
      }
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

void put_number(std::ostream& out, std::size_t value) {
  const auto number = static_cast<std::uint32_t>(value);
  out.write(reinterpret_cast<const char*>(&number), sizeof number);
}

void put_ids(std::ostream& out, const clara::TokenIds& ids) {
  put_number(out, ids.size());
  for (clara::TokenId id : ids) put_number(out, static_cast<std::size_t>(id));
}

void put_text(std::ostream& out, const std::string& text) {
  put_number(out, text.size());
  out.write(text.data(), static_cast<std::streamsize>(text.size()));
}

void answer(const clara::Tokenizer& tokenizer, const std::vector<Request>& requests,
            const std::string& file) {
  std::ofstream out(file, std::ios::binary);
  for (const Request& request : requests) {
    if (request.is_text) {
      put_ids(out, tokenizer.encode(request.text, clara::SpecialTokenText::kParse));
      put_ids(out, tokenizer.encode(request.text, clara::SpecialTokenText::kAsText));
    } else {
      put_text(out, tokenizer.decode(request.ids, false));
      put_text(out, tokenizer.decode(request.ids, true));
    }
  }
  if (!out.flush()) throw clara::Error(file + ": could not be written");
}

void measure(const clara::Tokenizer& tokenizer, const std::vector<Request>& requests, int repeats) {
  const auto start = std::chrono::steady_clock::now();
  std::size_t count = 0;
  for (int i = 0; i < repeats; ++i) {
    for (const Request& request : requests) {
      count += tokenizer.encode(request.text, clara::SpecialTokenText::kParse).size();
    }
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::cout << seconds.count() << " " << count << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    const bool times = arguments.size() == 4 && arguments[2] == "--time";
    if (arguments.size() != 3 && !times) {
      std::cerr << "usage: clara_tokenizer_compare FOLDER REQUESTS (REPLIES | --time N)\n";
      return 2;
    }
    const auto tokenizer = clara::load_tokenizer(arguments[0]);
    const std::vector<Request> requests = read_requests(arguments[1]);
    if (times) {
      measure(*tokenizer, requests, std::stoi(arguments[3]));
    } else {
      answer(*tokenizer, requests, arguments[2]);
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 3;
  }
}
