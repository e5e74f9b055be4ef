// Finders of added tokens for the common steps of tokenizers.
#include "tokenizer/pipeline_tokenizer.h"

namespace clara {

AddedTokenFinder make_added_token_finder(const TokenizerFile& file,
                                         const TextNormalizer& normalizer, bool normalized) {
  MatchMemory memory;
  std::vector<AddedToken> tokens;
  std::vector<std::string> spellings;
  for (bool special : {true, false}) {
    for (const AddedToken& token : file.added_tokens) {
      if (token.special != special || token.normalized != normalized) continue;
      tokens.push_back(token);
      spellings.push_back(normalized ? normalizer.apply(token.content, memory) : token.content);
    }
  }
  return {std::move(tokens), spellings};
}

}  // namespace clara
