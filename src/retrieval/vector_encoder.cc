// A vector that is not finite would compare with nothing, and its passage hide others.
#include "clara/retrieval/vector_encoder.h"

#include <string_view>

#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

constexpr std::size_t kShownBytes = 60;  // of a text

std::string beginning_of(const std::string& text) {
  std::string shown(1, '"');
  shown += text.size() <= kShownBytes
               ? text
               : drop_invalid_utf8(std::string_view(text).substr(0, kShownBytes)) + "...";
  shown += '"';
  return shown;
}

}  // namespace

void check_finite(const torch::Tensor& vectors_ND, const std::string& what,
                  const std::function<const std::string&(std::size_t)>& text_of) {
  const torch::Tensor is_finite = torch::isfinite(vectors_ND).all(1);
  if (is_finite.all().item<bool>()) return;
  const auto row = is_finite.logical_not().nonzero()[0].item<std::int64_t>();
  throw NonFiniteError("the vector of the " + what + " " +
                       beginning_of(text_of(static_cast<std::size_t>(row))) +
                       ": expected finite numbers, found others; look for weights that are not "
                       "finite, or compute in float32");
}

}  // namespace clara
