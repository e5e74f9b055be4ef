// The secret that a chat server asks for.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace clara {

/// A key that is sent and shown nowhere else: there is no way to print it, and hide() takes it out
/// of whatever a server echoes.
class ApiKey {
 public:
  /// No key.
  ApiKey() = default;
  /// Throws ConfigError, without the key in it, for what cannot stand in a header: white space or
  /// anything but printable ASCII.
  explicit ApiKey(std::string secret);

  bool empty() const { return secret_.empty(); }
  /// "Bearer …"; empty without a key.
  std::string authorization() const;
  /// `text` with "[key]" in place of the key. A key of less than eight characters ("EMPTY") is no
  /// secret and stays.
  std::string hide(std::string_view text) const;

 private:
  std::string secret_;
};

/// The key in an environment variable; none if that is not set or blank.
ApiKey api_key_from_environment(const std::string& variable);
/// The first line of a file. Throws DataError (missing) or ConfigError (blank).
ApiKey api_key_from_file(const std::filesystem::path& path);

}  // namespace clara
