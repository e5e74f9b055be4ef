// A trie over the added tokens, and what their flags do to the text around a match.
#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer/unicode_text.h"

namespace clara {
namespace {

// Where white space that ends at `end` begins, not before `limit`.
std::size_t space_begin(std::string_view text, std::size_t end, std::size_t limit) {
  while (end > limit) {
    const Scalar c = last_scalar(text.substr(0, end));
    if (!is_white_space(c.value)) break;
    end -= c.size;
  }
  return end;
}

std::size_t space_end(std::string_view text, std::size_t begin) {
  while (begin < text.size()) {
    const Scalar c = first_scalar(text.substr(begin));
    if (!is_white_space(c.value)) break;
    begin += c.size;
  }
  return begin;
}

bool is_single_word(std::string_view text, std::size_t begin, std::size_t end) {
  const bool free_before =
      begin == 0 || !is_word_character(last_scalar(text.substr(0, begin)).value);
  const bool free_after =
      end == text.size() || !is_word_character(first_scalar(text.substr(end)).value);
  return free_before && free_after;
}

std::vector<std::string> contents_of(const std::vector<AddedToken>& tokens) {
  std::vector<std::string> contents;
  for (const AddedToken& token : tokens) contents.push_back(token.content);
  return contents;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(const std::vector<AddedToken>& tokens)
    : AddedTokenFinder(tokens, contents_of(tokens)) {}

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens,
                                   const std::vector<std::string>& spellings)
    : tokens_(std::move(tokens)), nodes_(1) {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    std::uint32_t node = 0;
    for (char c : spellings[i]) {
      const auto byte = static_cast<unsigned char>(c);
      auto& children = nodes_[node].children;
      auto it = std::lower_bound(children.begin(), children.end(), std::pair{byte, 0U});
      if (it == children.end() || it->first != byte) {
        it = children.insert(it, {byte, static_cast<std::uint32_t>(nodes_.size())});
        node = it->second;
        nodes_.emplace_back();
      } else {
        node = it->second;
      }
    }
    if (nodes_[node].token < 0) nodes_[node].token = static_cast<std::int32_t>(i);
    starts_[static_cast<unsigned char>(spellings[i].front())] = true;
  }
}

std::pair<std::int32_t, std::size_t> AddedTokenFinder::longest_at(std::string_view text,
                                                                  std::size_t at) const {
  std::pair<std::int32_t, std::size_t> longest{-1, at};
  std::uint32_t node = 0;
  for (; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const auto& children = nodes_[node].children;
    auto it = std::lower_bound(children.begin(), children.end(), std::pair{byte, 0U});
    if (it == children.end() || it->first != byte) break;
    node = it->second;
    if (nodes_[node].token >= 0) longest = {nodes_[node].token, at + 1};
  }
  return longest;
}

void AddedTokenFinder::split(std::string_view text, SpecialTokenText special,
                             std::vector<Piece>& pieces) const {
  pieces.clear();
  std::size_t done = 0;         // up to here text is in pieces
  TextRange known_space{0, 0};  // the last white space that was walked over, not to walk it again
  for (std::size_t at = 0; at < text.size();) {
    if (!starts_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const auto [index, match_end] = longest_at(text, at);
    if (index < 0) {
      ++at;
      continue;
    }
    std::size_t begin = at;
    std::size_t end = match_end;
    at = match_end;  // the match is used up even where it does not count
    const AddedToken& token = tokens_[static_cast<std::size_t>(index)];
    if (token.special && special == SpecialTokenText::kAsText) continue;
    if (token.single_word && !is_single_word(text, begin, end)) continue;
    if (token.lstrip) begin = std::max(space_begin(text, begin, std::min(done, begin)), done);
    if (token.rstrip) {
      if (end < known_space.begin || end > known_space.end) {
        known_space = {end, space_end(text, end)};
      }
      end = known_space.end;
    }
    if (done < begin) pieces.push_back({{done, begin}, -1});
    pieces.push_back({{begin, end}, token.id});
    done = end;
  }
  if (done < text.size()) pieces.push_back({{done, text.size()}, -1});
}

}  // namespace clara
