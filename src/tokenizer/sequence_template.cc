// Templates around one text or two, and how much of a text fits into them.
#include "clara/tokenizer/sequence_template.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "clara/common/error.h"

namespace clara {
namespace {

using Piece = SequenceTemplate::Piece;

std::int64_t count(const std::vector<Piece>& pieces, Piece::Kind kind) {
  return std::count_if(pieces.begin(), pieces.end(),
                       [kind](const Piece& piece) { return piece.kind == kind; });
}

void check(const char* name, const std::vector<Piece>& pieces, std::int64_t num_second) {
  if (count(pieces, Piece::Kind::kFirst) != 1 ||
      count(pieces, Piece::Kind::kSecond) != num_second) {
    throw ConfigError(std::string(name) + ": expected the text A once and B " +
                      (num_second == 1 ? "once" : "never") + ", found another number of them");
  }
}

// The tokens that are left for text.
std::int64_t room(const std::vector<Piece>& pieces, std::int64_t max_tokens) {
  const std::int64_t added = count(pieces, Piece::Kind::kToken);
  if (max_tokens < added) {
    throw ConfigError("expected room for at least the " + std::to_string(added) +
                      " tokens around a text, found a limit of " + std::to_string(max_tokens) +
                      " tokens");
  }
  return max_tokens - added;
}

std::int64_t size_of(const TokenIds& ids) { return static_cast<std::int64_t>(ids.size()); }

TypedTokens fill(const std::vector<Piece>& pieces, const TokenIds& first, std::int64_t num_first,
                 const TokenIds& second, std::int64_t num_second) {
  TypedTokens out;
  for (const Piece& piece : pieces) {
    if (piece.kind == Piece::Kind::kToken) {
      out.ids.push_back(piece.id);
    } else {
      const bool is_first = piece.kind == Piece::Kind::kFirst;
      const TokenIds& text = is_first ? first : second;
      out.ids.insert(out.ids.end(), text.begin(),
                     text.begin() + (is_first ? num_first : num_second));
    }
    out.types.resize(out.ids.size(), piece.type);
  }
  return out;
}

// How many tokens of texts of `first` and `second` tokens stay in `room`, as Hugging Face shares it
// out: the shorter keeps all that fits, else both get half, the longer (of equal ones the second)
// the odd token.
std::pair<std::int64_t, std::int64_t> share_longest_first(std::int64_t first, std::int64_t second,
                                                          std::int64_t room) {
  if (first + second <= room) return {first, second};
  std::int64_t shorter = std::min(first, second);
  std::int64_t longer = std::max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = shorter + room % 2;
  }
  return first > second ? std::pair(longer, shorter) : std::pair(shorter, longer);
}

}  // namespace

SequenceTemplate::SequenceTemplate(std::vector<Piece> single, std::vector<Piece> pair)
    : single_(std::move(single)), pair_(std::move(pair)) {
  check("single", single_, 0);
  check("pair", pair_, 1);
}

std::int64_t SequenceTemplate::num_added_to_single() const {
  return count(single_, Piece::Kind::kToken);
}

std::int64_t SequenceTemplate::num_added_to_pair() const {
  return count(pair_, Piece::Kind::kToken);
}

std::int32_t SequenceTemplate::num_types() const {
  std::int32_t most = 0;
  for (const auto* pieces : {&single_, &pair_}) {
    for (const Piece& piece : *pieces) most = std::max(most, piece.type);
  }
  return most + 1;
}

TypedTokens SequenceTemplate::apply(const TokenIds& text, std::int64_t max_tokens) const {
  return fill(single_, text, std::min(size_of(text), room(single_, max_tokens)), {}, 0);
}

TypedTokens SequenceTemplate::apply(const TokenIds& first, const TokenIds& second,
                                    std::int64_t max_tokens, PairTruncation truncation) const {
  const std::int64_t left = room(pair_, max_tokens);
  std::int64_t num_first = size_of(first), num_second = size_of(second);
  if (truncation == PairTruncation::kLongestFirst) {
    std::tie(num_first, num_second) = share_longest_first(num_first, num_second, left);
  } else if (num_first + num_second > left) {
    num_second = left - num_first;
    if (num_second < 1) {
      throw DataError("expected a first text of fewer than " + std::to_string(left) +
                      " tokens, found " + std::to_string(num_first) +
                      "; cutting the second text alone cannot make the pair fit");
    }
  }
  return fill(pair_, first, num_first, second, num_second);
}

SequenceTemplate bert_sequence_template(TokenId cls, TokenId sep) {
  using Kind = Piece::Kind;
  return {{{Kind::kToken, cls, 0}, {Kind::kFirst, 0, 0}, {Kind::kToken, sep, 0}},
          {{Kind::kToken, cls, 0},
           {Kind::kFirst, 0, 0},
           {Kind::kToken, sep, 0},
           {Kind::kSecond, 0, 1},
           {Kind::kToken, sep, 1}}};
}

SequenceTemplate roberta_sequence_template(TokenId bos, TokenId eos) {
  using Kind = Piece::Kind;
  return {{{Kind::kToken, bos, 0}, {Kind::kFirst, 0, 0}, {Kind::kToken, eos, 0}},
          {{Kind::kToken, bos, 0},
           {Kind::kFirst, 0, 0},
           {Kind::kToken, eos, 0},
           {Kind::kToken, eos, 0},
           {Kind::kSecond, 0, 0},
           {Kind::kToken, eos, 0}}};
}

}  // namespace clara
