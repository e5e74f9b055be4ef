// Which documents were met, and which of their rows are finished: a few bytes a document, for
// millions of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "clara/common/content_hash.h"

namespace clara {

/// A hash table with open addressing of up to eight flags a document; 32 to 64 bytes each.
class DocumentTable {
 public:
  /// The flags of a document; a document that is not there is put in without any. The reference
  /// holds until the next call.
  std::uint8_t& flags(const Hash128& document);
  std::size_t size() const { return num_documents_; }

 private:
  struct Slot {
    Hash128 document;
    std::uint8_t flags = 0;
    bool is_taken = false;
  };

  std::size_t find(const Hash128& document) const;
  void grow();

  std::vector<Slot> slots_;
  std::size_t num_documents_ = 0;
};

}  // namespace clara
