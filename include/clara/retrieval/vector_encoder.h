// What turns passages and queries into vectors whose inner product is their similarity: all that an
// index of vectors asks of a model.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/common/content_hash.h"

namespace clara {

/// Kinds of index.json: vectors of a text encoder, vectors of CLaRa's latents.
inline constexpr const char* kDenseKind = "dense";
inline constexpr const char* kLatentKind = "latent";

/// What an index keeps of its encoder, so that the same one can be opened again.
struct EncoderDescription {
  std::string kind;  ///< kDenseKind or kLatentKind: of the index
  /// What the encoder is called, a key of `names` and the option that names another folder of it:
  /// "encoder", "checkpoint".
  std::string role;
  std::map<std::string, std::string> names;  ///< settings that are names; names[role]: its folder
  std::map<std::string, double> settings;    ///< settings that are numbers
};

class VectorEncoder {
 public:
  virtual ~VectorEncoder() = default;

  /// The length of a vector.
  virtual std::int64_t dimension() const = 0;
  /// What decides the vectors of passages: two encoders with the same fingerprint give the same
  /// ones, but for rounding. What decides those of queries alone is no part of it.
  virtual const Hash128& fingerprint() const = 0;
  virtual EncoderDescription describe() const = 0;
  /// [N, dimension] float32, each row of length 1. `on_progress` hears how many texts are done.
  /// Throws DataError for text that is no UTF-8, NonFiniteError that names the text for a vector
  /// with a number that is not finite.
  virtual torch::Tensor encode_passages(
      const std::vector<std::string>& passages,
      const std::function<void(std::int64_t)>& on_progress = nullptr) const = 0;
  virtual torch::Tensor encode_queries(const std::vector<std::string>& queries) const = 0;
  /// Passages that were longer than the encoder reads, of all that were encoded so far.
  virtual std::int64_t num_cut_passages() const = 0;

 protected:
  VectorEncoder() = default;
  VectorEncoder(const VectorEncoder&) = default;
  VectorEncoder& operator=(const VectorEncoder&) = default;
  VectorEncoder(VectorEncoder&&) noexcept = default;
  VectorEncoder& operator=(VectorEncoder&&) noexcept = default;
};

/// Throws NonFiniteError where a row of vectors [N, D] has a number that is not finite: with
/// `what` ("passage", "question") and the beginning of its text, text_of(row).
void check_finite(const torch::Tensor& vectors_ND, const std::string& what,
                  const std::function<const std::string&(std::size_t)>& text_of);

}  // namespace clara
