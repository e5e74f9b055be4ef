// UTF-8 decoding, the Unicode tables that bring every library used here to one version, and NFC.
#include "tokenizer/unicode_text.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <vector>

#include <utf8proc.h>

#include "clara/common/text.h"

namespace clara {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// What Oniguruma of Unicode 16 (the regex engine of Hugging Face tokenizers) calls these code
// points and PCRE2 10.42 and utf8proc 2.8 do not know yet. A library that knows them says the same.
constexpr CategoryRange kNewerCategories[] = {
    {0x0897, 0x0897, "Mn"},   {0x0CF3, 0x0CF3, "Mc"},   {0x0ECE, 0x0ECE, "Mn"},
    {0x1B4E, 0x1B4F, "Po"},   {0x1B7F, 0x1B7F, "Po"},   {0x1C89, 0x1C89, "Lu"},
    {0x1C8A, 0x1C8A, "Ll"},   {0x2427, 0x2429, "So"},   {0x2FFC, 0x2FFF, "So"},
    {0x31E4, 0x31E5, "So"},   {0x31EF, 0x31EF, "So"},   {0xA7CB, 0xA7CC, "Lu"},
    {0xA7CD, 0xA7CD, "Ll"},   {0xA7DA, 0xA7DA, "Lu"},   {0xA7DB, 0xA7DB, "Ll"},
    {0xA7DC, 0xA7DC, "Lu"},   {0x105C0, 0x105F3, "Lo"}, {0x10D40, 0x10D49, "Nd"},
    {0x10D4A, 0x10D4D, "Lo"}, {0x10D4E, 0x10D4E, "Lm"}, {0x10D4F, 0x10D4F, "Lo"},
    {0x10D50, 0x10D65, "Lu"}, {0x10D69, 0x10D6D, "Mn"}, {0x10D6E, 0x10D6E, "Pd"},
    {0x10D6F, 0x10D6F, "Lm"}, {0x10D70, 0x10D85, "Ll"}, {0x10D8E, 0x10D8F, "Sm"},
    {0x10EC2, 0x10EC4, "Lo"}, {0x10EFC, 0x10EFF, "Mn"}, {0x1123F, 0x11240, "Lo"},
    {0x11241, 0x11241, "Mn"}, {0x11380, 0x11389, "Lo"}, {0x1138B, 0x1138B, "Lo"},
    {0x1138E, 0x1138E, "Lo"}, {0x11390, 0x113B5, "Lo"}, {0x113B7, 0x113B7, "Lo"},
    {0x113B8, 0x113BA, "Mc"}, {0x113BB, 0x113C0, "Mn"}, {0x113C2, 0x113C2, "Mc"},
    {0x113C5, 0x113C5, "Mc"}, {0x113C7, 0x113CA, "Mc"}, {0x113CC, 0x113CD, "Mc"},
    {0x113CE, 0x113CE, "Mn"}, {0x113CF, 0x113CF, "Mc"}, {0x113D0, 0x113D0, "Mn"},
    {0x113D1, 0x113D1, "Lo"}, {0x113D2, 0x113D2, "Mn"}, {0x113D3, 0x113D3, "Lo"},
    {0x113D4, 0x113D5, "Po"}, {0x113D7, 0x113D8, "Po"}, {0x113E1, 0x113E2, "Mn"},
    {0x116D0, 0x116E3, "Nd"}, {0x1171E, 0x1171E, "Mc"}, {0x11B00, 0x11B09, "Po"},
    {0x11BC0, 0x11BE0, "Lo"}, {0x11BE1, 0x11BE1, "Po"}, {0x11BF0, 0x11BF9, "Nd"},
    {0x11F00, 0x11F01, "Mn"}, {0x11F02, 0x11F02, "Lo"}, {0x11F03, 0x11F03, "Mc"},
    {0x11F04, 0x11F10, "Lo"}, {0x11F12, 0x11F33, "Lo"}, {0x11F34, 0x11F35, "Mc"},
    {0x11F36, 0x11F3A, "Mn"}, {0x11F3E, 0x11F3F, "Mc"}, {0x11F40, 0x11F40, "Mn"},
    {0x11F41, 0x11F41, "Mc"}, {0x11F42, 0x11F42, "Mn"}, {0x11F43, 0x11F4F, "Po"},
    {0x11F50, 0x11F59, "Nd"}, {0x11F5A, 0x11F5A, "Mn"}, {0x1342F, 0x1342F, "Lo"},
    {0x13439, 0x1343F, "Cf"}, {0x13440, 0x13440, "Mn"}, {0x13441, 0x13446, "Lo"},
    {0x13447, 0x13455, "Mn"}, {0x13460, 0x143FA, "Lo"}, {0x16100, 0x1611D, "Lo"},
    {0x1611E, 0x16129, "Mn"}, {0x1612A, 0x1612C, "Mc"}, {0x1612D, 0x1612F, "Mn"},
    {0x16130, 0x16139, "Nd"}, {0x16D40, 0x16D42, "Lm"}, {0x16D43, 0x16D6A, "Lo"},
    {0x16D6B, 0x16D6C, "Lm"}, {0x16D6D, 0x16D6F, "Po"}, {0x16D70, 0x16D79, "Nd"},
    {0x18CFF, 0x18CFF, "Lo"}, {0x1B132, 0x1B132, "Lo"}, {0x1B155, 0x1B155, "Lo"},
    {0x1CC00, 0x1CCEF, "So"}, {0x1CCF0, 0x1CCF9, "Nd"}, {0x1CD00, 0x1CEB3, "So"},
    {0x1D2C0, 0x1D2D3, "No"}, {0x1DF25, 0x1DF2A, "Ll"}, {0x1E030, 0x1E06D, "Lm"},
    {0x1E08F, 0x1E08F, "Mn"}, {0x1E4D0, 0x1E4EA, "Lo"}, {0x1E4EB, 0x1E4EB, "Lm"},
    {0x1E4EC, 0x1E4EF, "Mn"}, {0x1E4F0, 0x1E4F9, "Nd"}, {0x1E5D0, 0x1E5ED, "Lo"},
    {0x1E5EE, 0x1E5EF, "Mn"}, {0x1E5F0, 0x1E5F0, "Lo"}, {0x1E5F1, 0x1E5FA, "Nd"},
    {0x1E5FF, 0x1E5FF, "Po"}, {0x1F6DC, 0x1F6DC, "So"}, {0x1F774, 0x1F776, "So"},
    {0x1F77B, 0x1F77F, "So"}, {0x1F7D9, 0x1F7D9, "So"}, {0x1F8B2, 0x1F8BB, "So"},
    {0x1F8C0, 0x1F8C1, "So"}, {0x1FA75, 0x1FA77, "So"}, {0x1FA87, 0x1FA89, "So"},
    {0x1FA8F, 0x1FA8F, "So"}, {0x1FAAD, 0x1FAAF, "So"}, {0x1FABB, 0x1FABF, "So"},
    {0x1FAC6, 0x1FAC6, "So"}, {0x1FACE, 0x1FACF, "So"}, {0x1FADA, 0x1FADC, "So"},
    {0x1FADF, 0x1FADF, "So"}, {0x1FAE8, 0x1FAE9, "So"}, {0x1FAF7, 0x1FAF8, "So"},
    {0x1FBCB, 0x1FBEF, "So"}, {0x2B739, 0x2B739, "Lo"}, {0x2EBF0, 0x2EE5D, "Lo"},
    {0x31350, 0x323AF, "Lo"}};

struct CodePointRange {
  char32_t first;
  char32_t last;
};

// Later than Unicode 9 and with a combining class, a decomposition or a composition: the NFC of
// Hugging Face tokenizers passes them through, so they are borders of normalization here.
constexpr CodePointRange kUnknownToNfc[] = {
    {0x07FD, 0x07FD},   {0x0897, 0x089F},   {0x08CA, 0x08D3},   {0x09FE, 0x09FE},
    {0x0C3C, 0x0C3C},   {0x0D3B, 0x0D3C},   {0x0EBA, 0x0EBA},   {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x105C9, 0x105C9},
    {0x105D2, 0x105D2}, {0x105DA, 0x105DA}, {0x105E4, 0x105E4}, {0x10D24, 0x10D27},
    {0x10D69, 0x10D6D}, {0x10EAB, 0x10EAC}, {0x10EFC, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x11383, 0x11383},
    {0x11385, 0x11385}, {0x1138E, 0x1138E}, {0x11391, 0x11391}, {0x113B8, 0x113B8},
    {0x113BB, 0x113BB}, {0x113C2, 0x113C2}, {0x113C5, 0x113C5}, {0x113C7, 0x113C9},
    {0x113CE, 0x113D0}, {0x113E1, 0x113E2}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x11930, 0x11930}, {0x11938, 0x11938}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99},
    {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42},
    {0x1611E, 0x1612F}, {0x16D63, 0x16D63}, {0x16D67, 0x16D6A}, {0x16FF0, 0x16FF1},
    {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
    {0x1E4EC, 0x1E4EF}, {0x1E5EE, 0x1E5EF}};

// Alphabetic symbols (circled and squared letters) and joiners, word characters outside L, M, N,
// Pc.
constexpr CodePointRange kOtherWordCharacters[] = {
    {0x200C, 0x200D}, {0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};

// Numbers of Unicode 17, known to the digit rule of Hugging Face tokenizers alone.
constexpr CodePointRange kNewestNumbers[] = {{0x11DE0, 0x11DE9}, {0x16FF4, 0x16FF6}};

// Of general category C since; the steps of BERT tokenizers have the categories of Unicode 8.
constexpr CodePointRange kLaterOther[] = {
    {0x0890, 0x0891}, {0x08E2, 0x08E2}, {0x110CD, 0x110CD}, {0x13430, 0x13438}};

// Likewise Mn.
constexpr CodePointRange kLaterNonspacingMarks[] = {
    {0x07FD, 0x07FD},   {0x0898, 0x089F},   {0x08CA, 0x08E1},   {0x09FE, 0x09FE},
    {0x0AFA, 0x0AFF},   {0x0B55, 0x0B55},   {0x0C04, 0x0C04},   {0x0C3C, 0x0C3C},
    {0x0D00, 0x0D00},   {0x0D3B, 0x0D3C},   {0x0D81, 0x0D81},   {0x0EBA, 0x0EBA},
    {0x180F, 0x180F},   {0x1885, 0x1886},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFB},
    {0xA82C, 0xA82C},   {0xA8C5, 0xA8C5},   {0xA8FF, 0xA8FF},   {0xA9BD, 0xA9BD},
    {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
    {0x11070, 0x11070}, {0x11073, 0x11074}, {0x110C2, 0x110C2}, {0x111C9, 0x111C9},
    {0x111CF, 0x111CF}, {0x1123E, 0x1123E}, {0x1133B, 0x1133B}, {0x11438, 0x1143F},
    {0x11442, 0x11444}, {0x11446, 0x11446}, {0x1145E, 0x1145E}, {0x1182F, 0x11837},
    {0x11839, 0x1183A}, {0x1193B, 0x1193C}, {0x1193E, 0x1193E}, {0x11943, 0x11943},
    {0x119D4, 0x119D7}, {0x119DA, 0x119DB}, {0x119E0, 0x119E0}, {0x11A01, 0x11A0A},
    {0x11A33, 0x11A38}, {0x11A3B, 0x11A3E}, {0x11A47, 0x11A47}, {0x11A51, 0x11A56},
    {0x11A59, 0x11A5B}, {0x11A8A, 0x11A96}, {0x11A98, 0x11A99}, {0x11C30, 0x11C36},
    {0x11C38, 0x11C3D}, {0x11C3F, 0x11C3F}, {0x11C92, 0x11CA7}, {0x11CAA, 0x11CB0},
    {0x11CB2, 0x11CB3}, {0x11CB5, 0x11CB6}, {0x11D31, 0x11D36}, {0x11D3A, 0x11D3A},
    {0x11D3C, 0x11D3D}, {0x11D3F, 0x11D45}, {0x11D47, 0x11D47}, {0x11D90, 0x11D91},
    {0x11D95, 0x11D95}, {0x11D97, 0x11D97}, {0x11EF3, 0x11EF4}, {0x16F4F, 0x16F4F},
    {0x16FE4, 0x16FE4}, {0x1CF00, 0x1CF2D}, {0x1CF30, 0x1CF46}, {0x1E000, 0x1E006},
    {0x1E008, 0x1E018}, {0x1E01B, 0x1E021}, {0x1E023, 0x1E024}, {0x1E026, 0x1E02A},
    {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E944, 0x1E94A}};

// Likewise P.
constexpr CodePointRange kLaterPunctuation[] = {
    {0x061D, 0x061D},   {0x09FD, 0x09FD},   {0x0A76, 0x0A76},   {0x0C77, 0x0C77},
    {0x0C84, 0x0C84},   {0x1B7D, 0x1B7E},   {0x2E43, 0x2E4F},   {0x2E52, 0x2E5D},
    {0x10EAD, 0x10EAD}, {0x10F55, 0x10F59}, {0x10F86, 0x10F89}, {0x1144B, 0x1144F},
    {0x1145A, 0x1145B}, {0x1145D, 0x1145D}, {0x11660, 0x1166C}, {0x116B9, 0x116B9},
    {0x1183B, 0x1183B}, {0x11944, 0x11946}, {0x119E2, 0x119E2}, {0x11A3F, 0x11A46},
    {0x11A9A, 0x11A9C}, {0x11A9E, 0x11AA2}, {0x11C41, 0x11C45}, {0x11C70, 0x11C71},
    {0x11EF7, 0x11EF8}, {0x11FFF, 0x11FFF}, {0x12FF1, 0x12FF2}, {0x16E97, 0x16E9A},
    {0x16FE2, 0x16FE2}, {0x1E95E, 0x1E95F}};

constexpr char32_t kFormerNonspacingMarks[] = {0x1734, 0x1171E};
constexpr char32_t kFormerPunctuation[] = {0x166D, 0x111C9};

// Upper case of Unicode 16 and 17, and how far its lower case is.
struct CaseRange {
  char32_t first;
  char32_t last;
  std::int32_t to_lower;
};
constexpr CaseRange kNewerUpperCase[] = {
    {0x1C89, 0x1C89, 1},    {0xA7CB, 0xA7CB, -42343}, {0xA7CC, 0xA7CC, 1}, {0xA7CE, 0xA7CE, 1},
    {0xA7D2, 0xA7D2, 1},    {0xA7D4, 0xA7D4, 1},      {0xA7DA, 0xA7DA, 1}, {0xA7DC, 0xA7DC, -42561},
    {0x10D50, 0x10D65, 32}, {0x16EA0, 0x16EB8, 27}};

template <typename Ranges>
auto find_range(const Ranges& ranges, char32_t c) {
  auto it = std::lower_bound(std::begin(ranges), std::end(ranges), c,
                             [](const auto& range, char32_t value) { return range.last < value; });
  return it != std::end(ranges) && it->first <= c ? it : std::end(ranges);
}

template <typename Ranges>
bool contains(const Ranges& ranges, char32_t c) {
  return find_range(ranges, c) != std::end(ranges);
}

// Which blocks of 256 code points hold one of kNewerCategories: a fast "no" for almost all text.
std::bitset<0x1100> blocks_with_newer_code_points() {
  std::bitset<0x1100> blocks;
  for (const CategoryRange& range : kNewerCategories) {
    for (char32_t block = range.first >> 8; block <= range.last >> 8; ++block) blocks.set(block);
  }
  return blocks;
}

bool has_newer_category(char32_t c) {
  static const std::bitset<0x1100> kBlocks = blocks_with_newer_code_points();
  return kBlocks.test(c >> 8) && contains(kNewerCategories, c);
}

const char* category_of(char32_t c) {
  if (has_newer_category(c)) return find_range(kNewerCategories, c)->category;
  return utf8proc_category_string(static_cast<utf8proc_int32_t>(c));
}

bool is_continuation(unsigned char byte) { return (byte & 0xC0U) == 0x80; }

// Bytes of `text` from `at` on that form a well-formed sequence (size > 0), or how many of them are
// a prefix of one (prefix > 0) that is not completed.
struct SequenceCheck {
  std::uint8_t size = 0;
  std::uint8_t prefix = 0;
};

SequenceCheck check_sequence(std::string_view text, std::size_t at) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return {1, 0};
  std::uint8_t size = 0;
  unsigned char low = 0x80;  // what the second byte may be (Unicode, table 3-7)
  unsigned char high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    size = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    size = 3;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    size = 4;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {0, 1};
  }
  for (std::uint8_t i = 1; i < size; ++i) {
    if (at + i >= text.size()) return {0, i};
    const unsigned char next = byte(at + i);
    const bool fits = i == 1 ? next >= low && next <= high : is_continuation(next);
    if (!fits) return {0, i};
  }
  return {size, 0};
}

enum class NormalForm { kComposed, kDecomposed };

// Appends canonically decomposed, unordered `run` in its normal form to `out` and empties `run`.
void append_run(std::vector<utf8proc_int32_t>& run, NormalForm form, std::string& out) {
  if (run.empty()) return;
  auto combining_class = [](utf8proc_int32_t c) {
    return utf8proc_get_property(c)->combining_class;
  };
  for (std::size_t begin = 0; begin < run.size();) {
    if (combining_class(run[begin]) == 0) {
      ++begin;
      continue;
    }
    std::size_t end = begin;
    while (end < run.size() && combining_class(run[end]) != 0) ++end;
    std::stable_sort(run.begin() + static_cast<std::ptrdiff_t>(begin),
                     run.begin() + static_cast<std::ptrdiff_t>(end),
                     [&](auto a, auto b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
  constexpr auto kCompose = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  const auto size = form == NormalForm::kDecomposed
                        ? static_cast<utf8proc_ssize_t>(run.size())
                        : utf8proc_normalize_utf32(
                              run.data(), static_cast<utf8proc_ssize_t>(run.size()), kCompose);
  for (utf8proc_ssize_t i = 0; i < size; ++i) {
    append_utf8(out, static_cast<char32_t>(run[static_cast<std::size_t>(i)]));
  }
  run.clear();
}

std::string normalize(std::string_view text, NormalForm form) {
  std::string out;
  out.reserve(text.size());
  std::vector<utf8proc_int32_t> run;
  std::array<utf8proc_int32_t, 32> decomposition{};
  int last_boundclass = 0;
  for (std::size_t i = 0; i < text.size();) {
    const Scalar c = first_scalar(text.substr(i));
    // Nothing below U+0300 composes with what stands before it, nor does a border: the run ends.
    const bool is_border = contains(kUnknownToNfc, c.value);
    // Of what is below U+0300 this part has no decomposition.
    const bool is_whole = form == NormalForm::kDecomposed && c.value < 0xC0;
    if (c.value < 0x300 || is_border) append_run(run, form, out);
    const std::size_t next = i + c.size;
    const bool next_is_ascii = next >= text.size() || static_cast<unsigned char>(text[next]) < 0x80;
    const bool stays = form == NormalForm::kComposed && c.value < 0x300 && next_is_ascii;
    if (is_border || is_whole || stays) {
      out.append(text, i, c.size);
    } else {
      const auto size = utf8proc_decompose_char(
          static_cast<utf8proc_int32_t>(c.value), decomposition.data(), decomposition.size(),
          static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE), &last_boundclass);
      run.insert(run.end(), decomposition.begin(), decomposition.begin() + size);
    }
    i += c.size;
  }
  append_run(run, form, out);
  return out;
}

}  // namespace

Scalar last_scalar(std::string_view text) {
  std::size_t at = text.size() - 1;
  while (at > 0 && is_continuation(static_cast<unsigned char>(text[at]))) --at;
  return first_scalar(text.substr(at));
}

std::string utf8_or_replacement(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size();) {
    const SequenceCheck check = check_sequence(bytes, i);
    if (check.size > 0) {
      text.append(bytes, i, check.size);
      i += check.size;
    } else {
      text += kReplacement;
      i += check.prefix;
    }
  }
  return text;
}

bool is_white_space(char32_t c) {
  if (c <= 0x20) return c == 0x20 || (c >= 0x09 && c <= 0x0D);
  if (c < 0x1680) return c == 0x85 || c == 0xA0;
  return c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool is_word_character(char32_t c) {
  if (c < 0x80) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  }
  const std::string_view category = category_of(c);
  return category[0] == 'L' || category[0] == 'M' || category == "Nd" || category == "Nl" ||
         category == "Pc" || contains(kOtherWordCharacters, c);
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return category_of(c)[0] == 'N' || contains(kNewestNumbers, c);
}

bool is_other(char32_t c) {
  if (c < 0x80) return c < 0x20 || c == 0x7F;
  return !has_newer_category(c) && category_of(c)[0] == 'C' &&
         std::string_view(category_of(c)) != "Cn" && !contains(kLaterOther, c);
}

bool is_nonspacing_mark(char32_t c) {
  if (c < 0x300) return false;
  if (c == kFormerNonspacingMarks[0] || c == kFormerNonspacingMarks[1]) return true;
  return !has_newer_category(c) && std::string_view(category_of(c)) == "Mn" &&
         !contains(kLaterNonspacingMarks, c);
}

bool is_punctuation(char32_t c) {
  if (std::find(std::begin(kFormerPunctuation), std::end(kFormerPunctuation), c) !=
      std::end(kFormerPunctuation)) {
    return true;
  }
  return !has_newer_category(c) && category_of(c)[0] == 'P' && !contains(kLaterPunctuation, c);
}

void append_lower_case(std::string& text, char32_t c) {
  constexpr char32_t kCapitalIWithDot = 0x130;
  if (c < 0x80) {
    text += static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  } else if (c == kCapitalIWithDot) {
    text += "i\u0307";
  } else if (const auto* newer = find_range(kNewerUpperCase, c);
             newer != std::end(kNewerUpperCase)) {
    append_utf8(text, static_cast<char32_t>(static_cast<std::int32_t>(c) + newer->to_lower));
  } else {
    append_utf8(text, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

std::span<const CategoryRange> newer_categories() { return kNewerCategories; }

bool has_newer_code_point(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      ++i;
      continue;
    }
    const Scalar c = first_scalar(text.substr(i));
    if (has_newer_category(c.value)) return true;
    i += c.size;
  }
  return false;
}

std::string normalize_nfc(std::string_view text) { return normalize(text, NormalForm::kComposed); }

std::string normalize_nfd(std::string_view text) {
  return normalize(text, NormalForm::kDecomposed);
}

}  // namespace clara
