// The pickle of torch.save as data: dicts of tensors, and nothing that could run code.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clara/common/safetensors_file.h"

namespace clara {

/// A tensor as the pickle describes it, not yet checked against its storage.
struct PickledTensor {
  TensorDtype dtype = TensorDtype::kF32;
  std::string storage;  ///< name of the storage in the archive's folder data/
  std::int64_t storage_elements = 0;
  std::int64_t offset = 0;  ///< of the first element, in elements
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;  ///< in elements, as many as the shape has sizes
};

/// A dict from names to tensors, in the order of the file.
struct PickledGroup {
  std::string name;  ///< key in the outermost dict; empty: it is the outermost dict itself
  std::vector<std::pair<std::string, PickledTensor>> tensors;
};

/// Reads a pickle of protocol 2 that holds a dict of tensors, or a dict of such dicts (then one
/// group each). The machine knows only the opcodes of plain data; it calls nothing: of the
/// callables a pickle can name it recognises the constructor of an OrderedDict, of a tensor and of
/// a parameter, and makes values of its own. Everything else is a DataError "place: …" that names
/// the opcode or the callable, and so are duplicate keys, values that are no tensors, cycles, and
/// pickles beyond 64 MiB or a million values. `place` begins the messages.
std::vector<PickledGroup> read_tensor_pickle(std::string_view pickle, const std::string& place);

/// The pickle of such dicts, for torch.load(weights_only=True). `storage` of each tensor is its
/// place in data/. A single group without a name becomes the outermost dict.
std::string write_tensor_pickle(const std::vector<PickledGroup>& groups);

}  // namespace clara
