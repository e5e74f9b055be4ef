// Work of a rank whose failure the others must hear of.
#pragma once

#include <exception>

#include "clara/common/error.h"
#include "clara/parallel/communicator.h"

namespace clara {

/// What `work` returns. What it throws is announced to the other ranks first, but for what they
/// know: the group's own failure.
template <class Work>
auto or_announce(Communicator& communicator, Work work) {
  try {
    return work();
  } catch (const DistributedError&) {
    throw;
  } catch (const std::exception& error) {
    communicator.announce_failure(error.what());
    throw;
  }
}

}  // namespace clara
