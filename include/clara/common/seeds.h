// Independent random streams from one seed, by purpose and position (numerics §1: masks by seed,
// step, rank, micro-batch).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace clara {

/// SplitMix64: a bijective scramble of 64 bits.
constexpr std::uint64_t mix_bits(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

/// A seed for one purpose ("dropout", "shuffle", …) at one position (step, rank, …).
constexpr std::uint64_t derive_seed(std::uint64_t seed, std::string_view purpose,
                                    std::initializer_list<std::uint64_t> position = {}) {
  std::uint64_t state = mix_bits(seed);
  for (char c : purpose) state = mix_bits(state ^ static_cast<unsigned char>(c));
  for (std::uint64_t p : position) state = mix_bits(state ^ p);
  return state;
}

/// A small counter-based generator over derive_seed's streams; the same numbers on every platform.
class SeedStream {
 public:
  explicit constexpr SeedStream(std::uint64_t seed) : state_(seed) {}
  constexpr std::uint64_t next() { return mix_bits(state_++ * 0xD1342543DE82EF95ULL + 1); }
  /// Uniform in [0, n), n > 0.
  constexpr std::uint64_t below(std::uint64_t n) {
    __extension__ using Product = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Product>(next()) * n) >> 64);
  }
  /// Uniform in [0, 1).
  constexpr double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace clara
