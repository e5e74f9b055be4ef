// Linear probing over a power of two of slots, at most three quarters full before it doubles.
#include "synthesis/document_table.h"

#include <utility>

namespace clara {

std::size_t DocumentTable::find(const Hash128& document) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t place = static_cast<std::size_t>(document.lo) & mask;
  while (slots_[place].is_taken && slots_[place].document != document) place = (place + 1) & mask;
  return place;
}

void DocumentTable::grow() {
  constexpr std::size_t kFirstSlots = 64;
  std::vector<Slot> old(slots_.empty() ? kFirstSlots : 2 * slots_.size());
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.is_taken) slots_[find(slot.document)] = slot;
  }
}

std::uint8_t& DocumentTable::flags(const Hash128& document) {
  if (4 * num_documents_ >= 3 * slots_.size()) grow();
  Slot& slot = slots_[find(document)];
  if (!slot.is_taken) {
    slot = {document, 0, true};
    ++num_documents_;
  }
  return slot.flags;
}

}  // namespace clara
