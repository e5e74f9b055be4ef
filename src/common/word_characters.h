// Which characters words are made of.
#pragma once

namespace clara {

/// Letters, marks and numbers of any script (Unicode's L, M and N).
bool is_letter_mark_or_number(char32_t code_point);

}  // namespace clara
