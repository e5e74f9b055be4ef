// The error of a file that ends in the middle of something.
#pragma once

#include "clara/common/error.h"

namespace clara {

/// The file was sound up to its end, which came too early. What was whole before it can be used.
class CutOffError : public DataError {
 public:
  using DataError::DataError;
};

}  // namespace clara
