// Chooses the implementation for a folder's tokenizer files.
#include "clara/tokenizer/tokenizer.h"

#include "clara/common/error.h"
#include "clara/tokenizer/bpe_tokenizer.h"
#include "clara/tokenizer/sentencepiece_tokenizer.h"

namespace clara {

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  if (std::filesystem::exists(folder / "tokenizer.json")) return load_bpe_tokenizer(folder);
  if (!std::filesystem::is_directory(folder)) {
    throw DataError(
        folder.string() +
        ": expected a Hugging Face folder with tokenizer.json or tokenizer.model, found " +
        (std::filesystem::exists(folder) ? "a file" : "nothing"));
  }
  if (std::filesystem::exists(folder / "tokenizer.model")) {
    return load_sentencepiece_tokenizer(folder);
  }
  throw DataError(folder.string() + ": tokenizer.json is missing, and so is tokenizer.model");
}

}  // namespace clara
