// From the spelling of tokens back to text (tokenizer.json "decoder").
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/split_pattern.h"

namespace clara {

/// One step of decoding: takes the tokens of a text and gives others.
struct DecodeStep {
  enum class Kind {
    kByteLevel,       ///< all tokens become one, of the bytes that their characters stand for
    kReplaceString,   ///< `literal` in each token becomes `content`
    kReplacePattern,  ///< the same for matches of `pattern`
    kByteFallback,    ///< runs of <0x00> … <0xFF> become the text of these bytes
    kFuse,            ///< all tokens become one
    kStrip,           ///< up to `num_left` and `num_right` characters `content` at the ends of each
    kMetaspace,       ///< `literal` becomes a blank; with `drop_first` it goes from the first token
    kWordPiece,       ///< a blank before each token but the first and those with `content` in
                      ///< front, which goes; with `cleanup` none before English punctuation
  };
  Kind kind = Kind::kByteLevel;
  std::string literal;
  std::optional<SplitPattern> pattern;
  std::string content;
  std::size_t num_left = 0;
  std::size_t num_right = 0;
  bool drop_first = false;
  bool cleanup = false;
};

/// Applies its steps one after another and joins what they leave. Safe to use from several threads.
class TokenDecoder {
 public:
  explicit TokenDecoder(std::vector<DecodeStep> steps) : steps_(std::move(steps)) {}

  /// `tokens` as the vocabulary spells them; bytes that are no UTF-8 become U+FFFD.
  std::string decode(std::vector<std::string> tokens) const;

 private:
  std::vector<DecodeStep> steps_;
};

}  // namespace clara
