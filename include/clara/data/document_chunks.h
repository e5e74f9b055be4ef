// Long documents as several shorter ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clara/tokenizer/tokenizer.h"

namespace clara {

struct ChunkSettings {
  std::int32_t max_tokens = 256;  ///< of a chunk's text; 8 at least
  std::int32_t overlap_tokens =
      32;  ///< of one chunk that the next repeats, at most; ≤ max_tokens / 2
  /// The first line is a title: it also opens every later chunk, unless it has more than a quarter
  /// of max_tokens.
  bool repeat_title = false;
  /// A chunk ends at the last word that fits, be it in the middle of a sentence: all chunks but the
  /// last are about as long as they may be.
  bool fills_chunks = false;
};

/// Bytes [begin, end) of a document, and the chunk's text: these bytes, after the title where that
/// is repeated.
struct DocumentChunk {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::string text;
};

/// Chunks of `text` in order, each of at most max_tokens tokens when encoded alone. Every byte that
/// is no white space is in a chunk; only white space lies between chunks. A chunk ends, without
/// fills_chunks in the second half of what fits, at the last paragraph; without one at a line, a
/// sentence, a word; inside a word only if that is longer than 16 characters. A text that fits is
/// one chunk, as it is; one of only white space has none. Throws ConfigError for settings out of
/// range, DataError for invalid UTF-8.
std::vector<DocumentChunk> split_document(const Tokenizer& tokenizer, std::string_view text,
                                          const ChunkSettings& settings);

}  // namespace clara
