// Writes the files that the tests of this folder read, and catches their errors.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <zlib.h>

#include "clara/common/error.h"

namespace clara {

inline void write_text(const std::filesystem::path& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  ASSERT_TRUE(file.good()) << path;
}

/// `mode` as gzopen takes it: "ab" appends another gzip member.
inline void write_gzip(const std::filesystem::path& path, std::string_view text,
                       const char* mode = "wb") {
  gzFile file = gzopen(path.c_str(), mode);
  ASSERT_NE(file, nullptr) << path;
  ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())),
            static_cast<int>(text.size()));
  ASSERT_EQ(gzclose(file), Z_OK);
}

/// Message of the DataError that `action` throws; a failure of the test if it throws none.
template <class Action>
std::string data_error_of(Action&& action) {
  try {
    action();
  } catch (const DataError& error) {
    return error.what();
  }
  ADD_FAILURE() << "expected a DataError";
  return "";
}

/// The folder of real records beside the project, where there is one.
inline std::filesystem::path real_data_folder() {
  return std::filesystem::path(CLARA_SOURCE_DIR).parent_path() / "shared" / "data";
}

}  // namespace clara
