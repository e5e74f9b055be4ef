// Chooses the implementation for a folder's tokenizer files.
#include "clara/tokenizer/tokenizer.h"

#include <utility>

#include "tokenizer/make_tokenizer.h"
#include "tokenizer/tokenizer_json.h"

#include "clara/common/error.h"
#include "clara/tokenizer/sentencepiece_tokenizer.h"
#include "clara/tokenizer/wordpiece_tokenizer.h"

namespace clara {

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder) {
  const std::filesystem::path json = folder / "tokenizer.json";
  if (std::filesystem::exists(json)) {
    TokenizerFile file = read_tokenizer_json(json);
    return file.model == TokenModel::kBpe ? make_bpe_tokenizer(std::move(file), folder)
                                          : make_wordpiece_tokenizer(std::move(file), folder);
  }
  if (!std::filesystem::is_directory(folder)) {
    throw DataError(
        folder.string() +
        ": expected a Hugging Face folder with tokenizer.json or tokenizer.model, found " +
        (std::filesystem::exists(folder) ? "a file" : "nothing"));
  }
  if (std::filesystem::exists(folder / "tokenizer.model")) {
    return load_sentencepiece_tokenizer(folder);
  }
  if (std::filesystem::exists(folder / "vocab.txt")) return load_wordpiece_tokenizer(folder).text;
  throw DataError(folder.string() + ": tokenizer.json is missing, and so is tokenizer.model");
}

}  // namespace clara
