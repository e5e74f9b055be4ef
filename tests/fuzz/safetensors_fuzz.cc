// Headers of safetensors files: opened or refused, and every tensor lies within the file.
#include "tests/fuzz/fuzz_input.h"

#include "clara/common/error.h"
#include "clara/common/safetensors_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clara;
  try {
    const SafetensorsFile file(fuzz::scratch_file("x.safetensors", fuzz::text_of(data, size)));
    unsigned sum = 0;
    for (const TensorEntry& tensor : file.tensors()) {
      for (std::size_t i = 0; i < tensor.num_bytes; ++i)
        sum += std::to_integer<unsigned>(tensor.data[i]);
      fuzz::require(file.find(tensor.name) != nullptr);
    }
    // What was read can be written, and comes back.
    const std::filesystem::path copy = fuzz::scratch_folder() / "copy.safetensors";
    write_safetensors(copy, file.tensors(), file.metadata());
    const SafetensorsFile again(copy);
    fuzz::require(again.tensors().size() == file.tensors().size());
    unsigned sum_again = 0;
    for (const TensorEntry& tensor : again.tensors()) {
      for (std::size_t i = 0; i < tensor.num_bytes; ++i)
        sum_again += std::to_integer<unsigned>(tensor.data[i]);
    }
    fuzz::require(sum == sum_again);
  } catch (const Error&) {
  }
  return 0;
}
