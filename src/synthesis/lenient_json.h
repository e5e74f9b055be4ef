// The JSON that a language model meant, out of what it wrote.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clara {

/// Objects and lists that stand in `text`, in order, each as strict JSON (those inside another are
/// part of it). Around them may be prose, code fences and a <think> block, which is passed over.
/// Mended are trailing commas, typographic and single quotes around strings, line breaks and tabs
/// inside strings, backslashes that escape nothing, Python's True, False and None. Not there is
/// what is cut off (but for the whole objects in it), lacks a bracket, nests more than 32 deep or
/// holds half of a surrogate pair.
std::vector<std::string> find_json(std::string_view text);

}  // namespace clara
