// An index's folder: whole or not at all, with the work kept where that is asked for.
#include "clara/retrieval/index_folder.h"

#include <filesystem>
#include <string>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

IndexManifest manifest_of(const std::string& kind) {
  IndexManifest manifest;
  manifest.kind = kind;
  manifest.names = {{"analyzer", "x"}};
  manifest.settings = {{"k1", 1.25}};
  manifest.counts = {{"passages", 3}};
  manifest.corpus = {"a.jsonl"};
  return manifest;
}

void make_index(const fs::path& folder, const std::string& content) {
  IndexFolderWriter writer(folder, /*replaces=*/true);
  write_text(writer.folder() / "data", content);
  writer.commit(manifest_of("bm25"));
}

TEST(IndexFolder, SaysWhatItWasTold) {
  const TemporaryFolder place;
  make_index(place / "index", "x");
  EXPECT_EQ(index_kind(place / "index"), "bm25");
  const IndexManifest found = open_index_folder(place / "index", "bm25");
  EXPECT_EQ(found.names, manifest_of("bm25").names);
  EXPECT_EQ(found.settings, manifest_of("bm25").settings);
  EXPECT_EQ(found.counts, manifest_of("bm25").counts);
  EXPECT_EQ(found.corpus, manifest_of("bm25").corpus);
  EXPECT_THAT(data_error_of([&] { open_index_folder(place / "index", "dense"); }),
              AllOf(HasSubstr("kind dense"), HasSubstr("kind bm25")));
  EXPECT_THAT(data_error_of([&] { index_kind(place / "nothing"); }), HasSubstr("no index.json"));
}

TEST(IndexFolder, AppearsWholeOrNotAtAll) {
  const TemporaryFolder place;
  {
    IndexFolderWriter writer(place / "index", false);
    write_text(writer.folder() / "data", "x");
  }
  EXPECT_EQ(place.size(), 0U);
  make_index(place / "index", "old");
  EXPECT_THROW(IndexFolderWriter(place / "index", false), ConfigError);
  {
    IndexFolderWriter writer(place / "index", true);
    write_text(writer.folder() / "data", "x");
  }
  EXPECT_EQ(read_file(place / "index" / "data"), "old");
  make_index(place / "index", "new");
  EXPECT_EQ(read_file(place / "index" / "data"), "new");
  EXPECT_EQ(place.size(), 1U);
}

TEST(IndexFolder, UnfinishedWorkIsFoundByTheNextProcess) {
  const TemporaryFolder place;
  {
    IndexFolderWriter writer(place / "index", false, Unfinished::kKept);
    write_text(writer.folder() / "part", "x");
    write_text(writer.folder() / ".part2.tmp-7", "torn");
  }
  EXPECT_FALSE(fs::exists(place / "index"));
  IndexFolderWriter writer(place / "index", false, Unfinished::kKept);
  EXPECT_EQ(read_file(writer.folder() / "part"), "x");
  EXPECT_FALSE(fs::exists(writer.folder() / ".part2.tmp-7"));
  EXPECT_THAT(data_error_of([&] { IndexFolderWriter(place / "index", false, Unfinished::kKept); }),
              AllOf(HasSubstr("another process"), HasSubstr("--out")));
  writer.commit(manifest_of("dense"));
  open_index_folder(place / "index", "dense");
  EXPECT_EQ(place.size(), 1U);
}

TEST(IndexFolder, NothingIsLeftWhereNothingWasDone) {
  const TemporaryFolder place;
  { const IndexFolderWriter writer(place / "index", false, Unfinished::kKept); }
  EXPECT_EQ(place.size(), 0U);
  {
    IndexFolderWriter writer(place / "index", false, Unfinished::kKept);
    write_text(writer.folder() / "part", "x");
    writer.discard();
  }
  EXPECT_EQ(place.size(), 0U);
}

TEST(IndexFolder, OtherFoldersAreLeftAlone) {
  const TemporaryFolder place;
  fs::create_directory(place / "notes");
  write_text(place / "notes" / "a.txt", "mine");
  for (const bool replaces : {false, true})
    EXPECT_THROW(IndexFolderWriter(place / "notes", replaces), ConfigError);
  EXPECT_EQ(read_file(place / "notes" / "a.txt"), "mine");
}

}  // namespace
}  // namespace clara
