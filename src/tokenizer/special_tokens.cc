// Names of the added tokens.
#include "clara/tokenizer/special_tokens.h"

namespace clara {

std::string SpecialTokens::name(TokenId id) const {
  if (is_memory(id)) return "<MEM" + std::to_string(id - first_memory()) + ">";
  if (id == ae()) return "<AE>";
  if (id == enc()) return "<ENC>";
  if (id == sep()) return "<SEP>";
  return "";
}

}  // namespace clara
