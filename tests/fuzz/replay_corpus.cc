// Runs a fuzz target over the files of its corpus and over mutations of each, the same ones every
// time, for compilers without libFuzzer. A crash is the failure, as is an input that takes a
// minute: it is named and left beside the program.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tests/fuzz/fuzz_input.h"
#include <fcntl.h>
#include <unistd.h>

namespace {

constexpr int kMutations = 300;  // of each file
constexpr unsigned kSecondsOfAnInput = 60;
constexpr std::array<std::string_view, 22> kPieces = {
    {"\"",      "{",   "}",     "[",    "]",
     ",",       ":",   "\\u",   "\\",   "\n",
     {"\0", 1}, "-",   "1e999", "null", "false",
     "[[[[[",   "---", "\xff",  "0.1",  "18446744073709551616",
     "é",       "{}"}};

std::string current_input, current_name;

void keep_input(int signal) {
  const int file = ::open("failing_input", O_CREAT | O_WRONLY | O_TRUNC, 0644);
  bool kept = ::write(file, current_input.data(), current_input.size()) >= 0;
  kept = ::write(STDERR_FILENO, current_name.data(), current_name.size()) >= 0 && kept;
  std::signal(signal, SIG_DFL);
  std::raise(kept ? signal : SIGABRT);
}

void run(const std::string& name, std::string input) {
  current_name = name + ": see failing_input\n";
  current_input = std::move(input);
  ::alarm(kSecondsOfAnInput);
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(current_input.data()),
                         current_input.size());
  ::alarm(0);
}

/// One to four changes: a bit, a piece put in, a part left out, repeated or taken from `other`.
std::string mutated(std::string text, const std::string& other, std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) { return limit == 0 ? 0 : random() % limit; };
  for (std::size_t changes = 1 + below(4); changes > 0; --changes) {
    const std::size_t place = below(text.size() + 1),
                      size = below(std::min<std::size_t>(text.size() - place, 64) + 1);
    switch (below(5)) {
      case 0:
        if (place < text.size())
          text[place] =
              static_cast<char>(static_cast<unsigned char>(text[place]) ^ (1U << below(8)));
        break;
      case 1:
        text.insert(place, kPieces[below(kPieces.size())]);
        break;
      case 2:
        text.erase(place, size);
        break;
      case 3:
        text.insert(below(text.size() + 1), text.substr(place, size));
        break;
      default:
        text.replace(place, size, other.substr(below(other.size() + 1), 64));
        break;
    }
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[i]))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS, SIGALRM})
    std::signal(signal, keep_input);
  std::vector<std::string> texts;
  for (const std::filesystem::path& path : files) {
    std::ifstream in(path, std::ios::binary);
    texts.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    run(path.string(), texts.back());
  }
  for (std::size_t f = 0; f < files.size(); ++f) {
    std::mt19937_64 random(f);
    for (int k = 0; k < kMutations; ++k) {
      run(files[f].string() + ", mutation " + std::to_string(k),
          mutated(texts[f], texts[random() % texts.size()], random));
    }
  }
  std::printf("%zu inputs and %d mutations of each\n", files.size(), kMutations);
  return files.empty() ? 1 : 0;
}
