// What the fuzz targets share: the input as text and as a file. A target is a function that
// libFuzzer calls, or replay_corpus.cc where there is no clang.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace clara::fuzz {

inline std::string text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// A folder of this process, made once and removed at its end.
inline const std::filesystem::path& scratch_folder() {
  struct Folder {
    Folder() {
      std::string pattern = (std::filesystem::temp_directory_path() / "clara_fuzz_XXXXXX").string();
      if (::mkdtemp(pattern.data()) == nullptr) std::abort();
      path = pattern;
    }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
    std::filesystem::path path;
  };
  static const Folder kFolder;
  return kFolder.path;
}

/// Writes `text` to a file of the scratch folder and returns its path.
inline std::filesystem::path scratch_file(const std::string& name, const std::string& text) {
  const std::filesystem::path path = scratch_folder() / name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

/// A law that does not hold is a crash.
inline void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace clara::fuzz
