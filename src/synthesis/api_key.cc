// Reading a key and keeping it out of texts.
#include "clara/synthesis/api_key.h"

#include <algorithm>
#include <cstdlib>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

constexpr std::size_t kMinSecretCharacters = 8;

}  // namespace

ApiKey::ApiKey(std::string secret) : secret_(std::move(secret)) {
  const bool fits =
      std::all_of(secret_.begin(), secret_.end(), [](char c) { return c > ' ' && c < '\x7F'; });
  if (!fits) {
    secret_.clear();
    throw ConfigError(
        "the API key: expected printable ASCII without white space, found other characters");
  }
}

std::string ApiKey::authorization() const { return empty() ? "" : "Bearer " + secret_; }

std::string ApiKey::hide(std::string_view text) const {
  std::string shown;
  if (secret_.size() >= kMinSecretCharacters) {
    std::size_t found = 0;
    while ((found = text.find(secret_)) != std::string_view::npos) {
      (shown += text.substr(0, found)) += "[key]";
      text.remove_prefix(found + secret_.size());
    }
  }
  return shown.append(text);
}

ApiKey api_key_from_environment(const std::string& variable) {
  const char* value = std::getenv(variable.c_str());
  return ApiKey(value == nullptr ? "" : std::string(strip_whitespace(value)));
}

ApiKey api_key_from_file(const std::filesystem::path& path) {
  const std::string content = read_file(path);
  const std::string_view stripped = strip_whitespace(content);
  if (stripped.empty()) throw ConfigError(path.string() + ": expected an API key, found no text");
  return ApiKey(std::string(strip_whitespace(stripped.substr(0, stripped.find('\n')))));
}

}  // namespace clara
