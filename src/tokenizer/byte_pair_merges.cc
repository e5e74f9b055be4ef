// Merging by lowest rank, then leftmost: an array for short words, a linked list with a heap for
// long.
#include "tokenizer/byte_pair_merges.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "tokenizer/unicode_text.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace clara {
namespace {

// Up to here looking through all pairs for each merge is faster than a heap.
constexpr std::size_t kShortWord = 64;

}  // namespace

std::uint64_t BytePairMerges::pack(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

std::size_t BytePairMerges::slot_of(std::uint64_t pair) const {
  pair ^= pair >> 29;
  return static_cast<std::size_t>((pair * 0x9E3779B97F4A7C15ULL) >> shift_);
}

BytePairMerges::BytePairMerges(SymbolIds symbol_ids, Unknown unknown,
                               const std::vector<Merge>& merges,
                               std::unordered_map<std::string, TokenId> whole_words)
    : symbol_ids_(std::move(symbol_ids)), unknown_(unknown), whole_words_(std::move(whole_words)) {
  table_.resize(std::bit_ceil(2 * merges.size() + 2));
  shift_ = 64 - std::countr_zero(table_.size());
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    const std::uint64_t pair = pack(merge.left, merge.right);
    std::size_t slot = slot_of(pair);
    while (table_[slot].pair != kEmpty && table_[slot].pair != pair) {
      slot = (slot + 1) & (table_.size() - 1);
    }
    table_[slot] = {pair, static_cast<std::uint32_t>(rank), merge.merged};
  }
}

const BytePairMerges::Entry* BytePairMerges::find(TokenId left, TokenId right) const {
  const std::uint64_t pair = pack(left, right);
  for (std::size_t slot = slot_of(pair);; slot = (slot + 1) & (table_.size() - 1)) {
    if (table_[slot].pair == pair) return &table_[slot];
    if (table_[slot].pair == kEmpty) return nullptr;
  }
}

std::uint32_t BytePairMerges::rank_of(TokenId left, TokenId right) const {
  const Entry* entry = find(left, right);
  return entry ? entry->rank : kNoRank;
}

void BytePairMerges::encode(std::string_view word, MergeMemory& memory, TokenIds& ids) const {
  if (word.size() > MergeMemory::kMaxWordBytes) {
    merge_word(word, memory, ids);
    return;
  }
  const std::uint64_t hash = XXH3_64bits(word.data(), word.size());
  MergeMemory::Slot& slot = memory.slots_[hash & (MergeMemory::kNumSlots - 1)];
  if (slot.num_bytes == word.size() &&
      std::memcmp(slot.bytes.data(), word.data(), word.size()) == 0) {
    ids.insert(ids.end(), slot.ids.begin(), slot.ids.begin() + slot.num_ids);
    return;
  }
  const std::size_t before = ids.size();
  merge_word(word, memory, ids);
  const std::size_t count = ids.size() - before;
  if (count > MergeMemory::kMaxWordIds) return;
  slot.num_bytes = static_cast<std::uint8_t>(word.size());
  slot.num_ids = static_cast<std::uint8_t>(count);
  std::memcpy(slot.bytes.data(), word.data(), word.size());
  std::copy_n(ids.begin() + static_cast<std::ptrdiff_t>(before), count, slot.ids.begin());
}

void BytePairMerges::merge_word(std::string_view word, MergeMemory& memory, TokenIds& ids) const {
  if (!whole_words_.empty()) {
    auto it = whole_words_.find(std::string(word));
    if (it != whole_words_.end()) {
      ids.push_back(it->second);
      return;
    }
  }
  std::vector<TokenId>& symbols = memory.ids_;
  symbols.clear();
  std::visit([&](const auto& symbol_ids) { find_symbols(word, symbol_ids, symbols); }, symbol_ids_);
  if (symbols.size() > 1) symbols.size() <= kShortWord ? merge_short(memory) : merge_long(memory);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void BytePairMerges::find_symbols(std::string_view word, const ByteIds& byte_ids,
                                  std::vector<TokenId>& symbols) const {
  bool after_unknown = false;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const bool is_first = i == 0;
    const bool is_last = i + 1 == word.size();
    const auto& table = is_first && is_last ? byte_ids.only
                        : is_first          ? byte_ids.first
                        : is_last           ? byte_ids.last
                                            : byte_ids.inner;
    TokenId id = table[static_cast<unsigned char>(word[i])];
    const bool is_unknown = id == kNoToken;
    if (is_unknown) id = unknown_.id;
    const bool is_fused = is_unknown && after_unknown && unknown_.fuse;
    if (id != kNoToken && !is_fused) symbols.push_back(id);
    after_unknown = is_unknown;
  }
}

void BytePairMerges::find_symbols(std::string_view word, const CharacterIds& character_ids,
                                  std::vector<TokenId>& symbols) const {
  // An unknown token is put out at the next character that the vocabulary has; byte tokens pass it
  // by. That is what the reference does.
  bool unknown_waits = false;
  const auto put_unknown = [&] {
    if (unknown_waits) symbols.push_back(unknown_.id);
    unknown_waits = false;
  };
  for (std::size_t i = 0; i < word.size();) {
    const Scalar c = first_scalar(word.substr(i));
    const std::string_view bytes = word.substr(i, c.size);
    i += c.size;
    const auto found = character_ids.characters.find(c.value);
    if (found != character_ids.characters.end()) {
      put_unknown();
      symbols.push_back(found->second);
      continue;
    }
    const auto id_of = [&](char byte) {
      return character_ids.bytes[static_cast<unsigned char>(byte)];
    };
    if (std::none_of(bytes.begin(), bytes.end(),
                     [&](char byte) { return id_of(byte) == kNoToken; })) {
      for (char byte : bytes) symbols.push_back(id_of(byte));
      continue;
    }
    if (unknown_.id == kNoToken) continue;
    if (!unknown_.fuse) put_unknown();
    unknown_waits = true;
  }
  put_unknown();
}

void BytePairMerges::merge_short(MergeMemory& memory) const {
  std::vector<TokenId>& symbols = memory.ids_;
  std::vector<std::uint32_t>& ranks = memory.ranks_;  // ranks[i]: of the pair (i, i + 1)
  ranks.resize(symbols.size() - 1);
  for (std::size_t i = 0; i + 1 < symbols.size(); ++i)
    ranks[i] = rank_of(symbols[i], symbols[i + 1]);
  while (!ranks.empty()) {
    const auto lowest = std::min_element(ranks.begin(), ranks.end());
    if (*lowest == kNoRank) return;
    const auto i = static_cast<std::size_t>(lowest - ranks.begin());
    symbols[i] = find(symbols[i], symbols[i + 1])->merged;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    ranks.erase(lowest);
    if (i > 0) ranks[i - 1] = rank_of(symbols[i - 1], symbols[i]);
    if (i < ranks.size()) ranks[i] = rank_of(symbols[i], symbols[i + 1]);
  }
}

void BytePairMerges::push_candidate(MergeMemory& memory, std::int32_t position) const {
  const auto& symbols = memory.symbols_;
  const auto& left = symbols[static_cast<std::size_t>(position)];
  if (left.next < 0) return;
  const Entry* entry = find(left.id, symbols[static_cast<std::size_t>(left.next)].id);
  if (entry) memory.heap_.push_back({entry->rank, position, entry->merged});
}

void BytePairMerges::merge_long(MergeMemory& memory) const {
  // The top of the heap is the lowest rank, then the leftmost position.
  auto below = [](const MergeMemory::Candidate& a, const MergeMemory::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  auto& symbols = memory.symbols_;
  auto& heap = memory.heap_;
  const auto count = static_cast<std::int32_t>(memory.ids_.size());
  symbols.resize(memory.ids_.size());
  heap.clear();
  for (std::int32_t i = 0; i < count; ++i) {
    symbols[static_cast<std::size_t>(i)] = {memory.ids_[static_cast<std::size_t>(i)], i - 1,
                                            i + 1 < count ? i + 1 : -1};
  }
  for (std::int32_t i = 0; i < count; ++i) push_candidate(memory, i);
  std::make_heap(heap.begin(), heap.end(), below);
  auto push = [&](std::int32_t position) {
    const std::size_t size = heap.size();
    push_candidate(memory, position);
    if (heap.size() > size) std::push_heap(heap.begin(), heap.end(), below);
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), below);
    const MergeMemory::Candidate top = heap.back();
    heap.pop_back();
    MergeMemory::Symbol& left = symbols[static_cast<std::size_t>(top.position)];
    if (left.id == kNoToken || left.next < 0) continue;
    MergeMemory::Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    const Entry* entry = find(left.id, right.id);
    if (!entry || entry->merged != top.merged) continue;  // its symbols have merged with others
    left.id = top.merged;
    left.next = right.next;
    right.id = kNoToken;
    if (left.next >= 0) symbols[static_cast<std::size_t>(left.next)].previous = top.position;
    if (left.previous >= 0) push(left.previous);
    push(top.position);
  }
  memory.ids_.clear();
  for (std::int32_t i = 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next) {
    memory.ids_.push_back(symbols[static_cast<std::size_t>(i)].id);
  }
}

}  // namespace clara
