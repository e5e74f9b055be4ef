// The steps of decoders, as Hugging Face tokenizers defines them.
#include "tokenizer/token_decoder.h"

#include <charconv>
#include <string_view>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/text_normalizer.h"
#include "tokenizer/unicode_text.h"

#include "clara/common/text.h"

namespace clara {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

std::string joined(const std::vector<std::string>& tokens) {
  std::string text;
  for (const std::string& token : tokens) text += token;
  return text;
}

std::string decode_byte_level(const std::vector<std::string>& tokens) {
  std::string bytes;
  // A token with a character outside the alphabet (an added one) stands for itself.
  for (const std::string& token : tokens) bytes += bytes_of_token(token).value_or(token);
  return utf8_or_replacement(bytes);
}

// The byte of "<0x0A>"; nothing for other tokens. A plus sign counts as a digit's, as in the
// reference.
std::optional<char> byte_of_fallback(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') return std::nullopt;
  std::string_view digits = token.substr(3, 2);
  if (digits.front() == '+') digits.remove_prefix(1);
  unsigned value = 0;
  const auto [end, fault] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (fault != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return static_cast<char>(value);
}

std::vector<std::string> decode_byte_fallback(std::vector<std::string> tokens) {
  std::vector<std::string> out;
  std::string bytes;
  const auto end_run = [&] {
    if (bytes.empty()) return;
    if (find_invalid_utf8(bytes)) {
      // One a byte, not one a broken sequence: so does the reference.
      out.insert(out.end(), bytes.size(), std::string(kReplacement));
    } else {
      out.push_back(bytes);
    }
    bytes.clear();
  };
  for (std::string& token : tokens) {
    if (const auto byte = byte_of_fallback(token)) {
      bytes += *byte;
      continue;
    }
    end_run();
    out.push_back(std::move(token));
  }
  end_run();
  return out;
}

std::string strip(std::string_view token, const DecodeStep& step) {
  for (std::size_t i = 0; i < step.num_left && token.starts_with(step.content); ++i) {
    token.remove_prefix(step.content.size());
  }
  for (std::size_t i = 0; i < step.num_right && token.ends_with(step.content); ++i) {
    token.remove_suffix(step.content.size());
  }
  return std::string(token);
}

// What the reference undoes of the cutting of English, token by token, in this order.
std::string clean_up(std::string token) {
  constexpr std::pair<const char*, const char*> kReplacements[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kReplacements) token = replace_all(token, from, to);
  return token;
}

void decode_word_pieces(std::vector<std::string>& tokens, const DecodeStep& step) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && tokens[i].starts_with(step.content)) {
      tokens[i].erase(0, step.content.size());
    } else if (i > 0) {
      tokens[i].insert(0, 1, ' ');
    }
    if (step.cleanup) tokens[i] = clean_up(std::move(tokens[i]));
  }
}

}  // namespace

std::string TokenDecoder::decode(std::vector<std::string> tokens) const {
  std::optional<MatchMemory> memory;  // costly: only where a pattern needs it
  for (const DecodeStep& step : steps_) {
    switch (step.kind) {
      case DecodeStep::Kind::kByteLevel:
        tokens = {decode_byte_level(tokens)};
        break;
      case DecodeStep::Kind::kReplaceString:
        for (auto& token : tokens) token = replace_all(token, step.literal, step.content);
        break;
      case DecodeStep::Kind::kReplacePattern:
        if (!memory) memory.emplace();
        for (auto& token : tokens) {
          token = replace_matches(token, *step.pattern, *memory, step.content);
        }
        break;
      case DecodeStep::Kind::kByteFallback:
        tokens = decode_byte_fallback(std::move(tokens));
        break;
      case DecodeStep::Kind::kFuse:
        tokens = {joined(tokens)};
        break;
      case DecodeStep::Kind::kStrip:
        for (auto& token : tokens) token = strip(token, step);
        break;
      case DecodeStep::Kind::kMetaspace:
        for (std::size_t i = 0; i < tokens.size(); ++i) {
          const bool drops = i == 0 && step.drop_first;
          tokens[i] = replace_all(tokens[i], step.literal, drops ? "" : " ");
        }
        break;
      case DecodeStep::Kind::kWordPiece:
        decode_word_pieces(tokens, step);
        break;
    }
  }
  return joined(tokens);
}

}  // namespace clara
