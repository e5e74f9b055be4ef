// Uses what needs no LibTorch, and so every library that clara::core links: YAML, PCRE2, utf8proc,
// zlib, xxHash. Usage: outside BASE_FOLDER
#include <iostream>

#include "clara/common/content_hash.h"
#include "clara/common/error.h"
#include "clara/config/load_config.h"
#include "clara/data/row_source.h"
#include "clara/tokenizer/tokenizer.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const auto tokenizer = clara::load_tokenizer(argv[1]);
  const std::string text = "A house, seen from outside.";
  const clara::TokenIds ids = tokenizer->encode(text, clara::SpecialTokenText::kAsText);
  if (tokenizer->decode(ids, /*skip_special=*/false) != text) {
    std::cerr << "decoding does not give the text back\n";
    return 1;
  }
  try {
    clara::parse_run_config("model: {base: b}\ntrainer: {rows_per_stp: 3}\n", "outside.yaml",
                            {.stage = clara::Stage::kScp, .assignments = {}});
    std::cerr << "a wrong config was accepted\n";
    return 1;
  } catch (const clara::ConfigError& error) {
    std::cout << error.what() << "\n";
  }
}
