// The files of a BM25 index on disk, which bm25_builder.cc writes and bm25_disk_index.cc reads.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace clara {

static_assert(std::endian::native == std::endian::little, "index files are little-endian");

inline constexpr const char* kBm25Kind = "bm25";
inline constexpr const char* kBm25LengthsName = "lengths";      // uint32 terms of each passage
inline constexpr const char* kBm25TermTextName = "terms.text";  // terms end to end, sorted
inline constexpr const char* kBm25TermsName = "terms.table";    // Bm25Term each
inline constexpr const char* kBm25BlocksName = "blocks";        // Bm25Block each
inline constexpr const char* kBm25PostingsName = "postings";    // packed; kBm25Padding at the end

inline constexpr std::uint32_t kBm25BlockSize = 128;
inline constexpr std::size_t kBm25Padding = 8;  // so that eight bytes can be read from any bit

struct Bm25Term {
  std::uint64_t text_offset = 0;
  std::uint64_t first_block = 0;  // its blocks follow each other, all full but the last
  std::uint32_t text_bytes = 0;
  std::uint32_t num_documents = 0;
  std::uint32_t max_frequency = 0;  // with min_length a bound of the score, whatever k1 and b
  std::uint32_t min_length = 0;
};
static_assert(sizeof(Bm25Term) == 32);

// Packed numbers: distances of documents (of the first: to the last of the block before, in the
// first block to 0), then at the next whole byte frequencies − 1.
struct Bm25Block {
  std::uint64_t offset = 0;  // in postings
  std::uint32_t last_document = 0;
  std::uint32_t max_frequency = 0;
  std::uint32_t min_length = 0;
  std::uint8_t document_bits = 0;
  std::uint8_t frequency_bits = 0;
  std::uint16_t unused = 0;
};
static_assert(sizeof(Bm25Block) == 24);

inline std::size_t bm25_packed_bytes(std::uint32_t count, std::uint32_t bits) {
  return (std::size_t{count} * bits + 7) / 8;
}

/// Number `index` of numbers of `bits` (at most 32) each.
inline std::uint32_t bm25_unpack(const std::byte* data, std::uint32_t index, std::uint32_t bits) {
  const std::uint32_t position = index * bits;
  std::uint64_t word = 0;
  std::memcpy(&word, data + position / 8, sizeof word);
  return static_cast<std::uint32_t>((word >> (position % 8)) & ((std::uint64_t{1} << bits) - 1));
}

}  // namespace clara
