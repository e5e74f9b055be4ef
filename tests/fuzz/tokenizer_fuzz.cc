// tokenizer.json: a tokenizer that can encode and decode, or a refusal.
#include "tests/fuzz/fuzz_input.h"

#include "clara/common/error.h"
#include "clara/tokenizer/bpe_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clara;
  fuzz::scratch_file("tokenizer.json", fuzz::text_of(data, size));
  try {
    const auto tokenizer = load_bpe_tokenizer(fuzz::scratch_folder());
    for (const char* text : {"", "ab 12\n", "Ünder a b", "<s>\xF0\x9F\x98\x80"}) {
      for (const SpecialTokenText special : {SpecialTokenText::kParse, SpecialTokenText::kAsText}) {
        const TokenIds ids = tokenizer->encode(text, special);
        for (const TokenId id : ids) fuzz::require(id >= 0 && id < tokenizer->size());
        (void)tokenizer->decode(ids, false);
      }
    }
    for (TokenId id = -1; id <= tokenizer->size() && id < 64; ++id)
      (void)tokenizer->id_to_token(id);
  } catch (const Error&) {
  }
  return 0;
}
