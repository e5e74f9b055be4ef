// A manifest finds every damage of its folder, and is read with the mistrust that it deserves.
#include "clara/checkpoint/manifest.h"

#include <fstream>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/atomic_file.h"
#include "clara/common/content_hash.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string message_of(const std::string& text) {
  try {
    parse_manifest(text);
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "no CheckpointError";
}

TEST(Manifest, NamesEveryFileWithSizeAndChecksum) {
  const TemporaryFolder folder;
  write(folder / "a.json", "{}");
  write(folder / "deep/er/b.safetensors", "abc");
  write_manifest(folder.path());
  const Manifest manifest = parse_manifest(read_file(folder / "manifest.json"));
  EXPECT_EQ(manifest.format_version, 1);
  ASSERT_EQ(manifest.files.size(), 2U);
  EXPECT_EQ(manifest.files.at("a.json").num_bytes, 2U);
  EXPECT_EQ(manifest.files.at("deep/er/b.safetensors").num_bytes, 3U);
  EXPECT_EQ(manifest.files.at("deep/er/b.safetensors").xxh3_128, hash_bytes("abc").hex());
  EXPECT_EQ(find_manifest_damage(folder.path()), std::nullopt);
}

TEST(Manifest, ComesBackFromItsText) {
  Manifest manifest;
  manifest.files["adapters/x.json"] = {7, "00ff"};
  manifest.files["ü \"quoted\""] = {UINT64_MAX, ""};
  const Manifest again = parse_manifest(render_manifest(manifest));
  ASSERT_EQ(again.files.size(), 2U);
  EXPECT_EQ(again.files.at("adapters/x.json").num_bytes, 7U);
  EXPECT_EQ(again.files.at("ü \"quoted\"").num_bytes, UINT64_MAX);
}

TEST(Manifest, ReadsWhatTheFirstReleaseWrote) {
  // Recorded from version 0.1.0.
  const Manifest manifest = parse_manifest(R"({
  "files": {
    "clara.json": {
      "bytes": 412,
      "xxh3_128": "5d0c5d1f4a5cd2bf0a4b2e9e6c4f8f8e"
    }
  },
  "format_version": 1
}
)");
  EXPECT_EQ(manifest.files.at("clara.json").num_bytes, 412U);
}

TEST(Manifest, RefusesWhatIsNoManifest) {
  for (const auto& [text, wanted] : std::vector<std::pair<std::string, std::string>>{
           {"", "expected a JSON object"},
           {"[]", "expected a JSON object"},
           {R"({"files": {})", "expected a JSON object"},
           {R"({"files": {}})", "format_version"},
           {R"({"format_version": "1", "files": {}})", "format_version"},
           {R"({"format_version": 1})", "files"},
           {R"({"format_version": 1, "files": []})", "files"},
           {R"({"format_version": 2, "files": {}})", "a newer release"},
           {R"({"format_version": 0, "files": {}})", "format version 0"},
           {R"({"format_version": 18446744073709551615, "files": {}})", "format version"},
           {R"({"format_version": 1, "files": {"a": 1}})", "\"a\": expected bytes and xxh3_128"},
           {R"({"format_version": 1, "files": {"a": {"bytes": -1, "xxh3_128": ""}}})", "bytes"},
           {R"({"format_version": 1, "files": {"a": {"bytes": 1.5, "xxh3_128": ""}}})", "bytes"},
           {R"({"format_version": 1, "files": {"a": {"bytes": 1}}})", "xxh3_128"},
           {R"({"format_version": 1, "files": {"a": {"bytes": 1, "xxh3_128": 5}}})", "xxh3_128"},
       }) {
    EXPECT_THAT(message_of(text), AllOf(HasSubstr("manifest.json"), HasSubstr(wanted))) << text;
  }
}

TEST(Manifest, RefusesFilesOutsideOfItsFolder) {
  for (const std::string name : {"", "/etc/passwd", "../x", "a/../../x", "a\\u0000b"}) {
    EXPECT_THAT(message_of(R"({"format_version": 1, "files": {")" + name +
                           R"(": {"bytes": 1, "xxh3_128": "0"}}})"),
                HasSubstr("inside of the checkpoint's folder"))
        << name;
  }
}

TEST(FindManifestDamage, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  write(folder / "a.json", "abc");
  write_manifest(folder.path());
  write(folder / "a.json", "abd");
  EXPECT_EQ(find_manifest_damage(folder.path()), "a.json has another checksum than the manifest");
  write(folder / "a.json", "abcd");
  EXPECT_EQ(find_manifest_damage(folder.path()), "a.json has 4 bytes, expected 3");
  fs::remove(folder / "a.json");
  EXPECT_EQ(find_manifest_damage(folder.path()), "a.json is missing");
  fs::create_directories(folder / "a.json");
  EXPECT_EQ(find_manifest_damage(folder.path()), "a.json is missing") << "a folder is no file";
  fs::remove(folder / "a.json");
  write(folder / "a.json", "abc");
  EXPECT_EQ(find_manifest_damage(folder.path()), std::nullopt);
  write(folder / "manifest.json", "{");
  EXPECT_THAT(*find_manifest_damage(folder.path()), HasSubstr("manifest.json: expected"));
  fs::remove(folder / "manifest.json");
  EXPECT_EQ(find_manifest_damage(folder.path()), "manifest.json is missing");
}

TEST(FindManifestDamage, MissesNoFileThatWouldBeRead) {
  const TemporaryFolder folder;
  write(folder / "a.json", "abc");
  write_manifest(folder.path());
  write(folder / "notes.txt", "a user's own file does no harm");
  EXPECT_EQ(find_manifest_damage(folder.path()), std::nullopt);
  write(folder / "sub/optimizer.safetensors", "x");
  EXPECT_EQ(find_manifest_damage(folder.path()),
            "sub/optimizer.safetensors is not in the manifest");
}

}  // namespace
}  // namespace clara
