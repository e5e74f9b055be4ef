// A table of offsets and the bytes that they point into.
#include "clara/retrieval/passage_store.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "common/mapped_file.h"
#include "retrieval/index_file.h"

#include "clara/common/content_hash.h"
#include "clara/common/error.h"

namespace clara {
namespace {

static_assert(std::endian::native == std::endian::little, "index files are little-endian");

constexpr const char* kTextName = "passages.text";
constexpr const char* kTableName = "passages.table";

// One for each passage, and one at the end with the size of the texts.
struct TableEntry {
  std::uint64_t offset = 0;
  std::uint32_t id_bytes = 0;
  std::uint32_t title_bytes = 0;
};
static_assert(sizeof(TableEntry) == 16);

}  // namespace

struct PassageStoreWriter::Files {
  explicit Files(const std::filesystem::path& folder)
      : text(folder / kTextName), table(folder / kTableName) {}
  IndexFile text;
  IndexFile table;
  std::int64_t num_passages = 0;
};

PassageStoreWriter::PassageStoreWriter(const std::filesystem::path& folder)
    : files_(std::make_unique<Files>(folder)) {}
PassageStoreWriter::~PassageStoreWriter() = default;

void PassageStoreWriter::add(const Passage& passage) {
  files_->table.write_value(TableEntry{files_->text.num_bytes(),
                                       static_cast<std::uint32_t>(passage.id.size()),
                                       static_cast<std::uint32_t>(passage.title.size())});
  files_->text.write(passage.id);
  files_->text.write(passage.title);
  files_->text.write(passage.text);
  ++files_->num_passages;
}

std::int64_t PassageStoreWriter::num_passages() const { return files_->num_passages; }

void PassageStoreWriter::finish() {
  files_->table.write_value(TableEntry{files_->text.num_bytes(), 0, 0});
  files_->text.finish();
  files_->table.finish();
}

PassageStore::PassageStore(const std::filesystem::path& folder) : folder_(folder) {
  MappedFile table = map_file(folder / kTableName);
  MappedFile text = map_file(folder / kTextName);
  if (table.num_bytes < sizeof(TableEntry) || table.num_bytes % sizeof(TableEntry) != 0) {
    throw DataError((folder / kTableName).string() + ": expected entries of 16 bytes, found " +
                    std::to_string(table.num_bytes) + " bytes; build the index again");
  }
  num_passages_ = static_cast<std::int64_t>(table.num_bytes / sizeof(TableEntry)) - 1;
  table_ = table.data;
  text_ = reinterpret_cast<const char*>(text.data);
  num_text_bytes_ = text.num_bytes;
  table_mapping_ = std::move(table.mapping);
  text_mapping_ = std::move(text.mapping);
}

Passage PassageStore::passage(std::int64_t number) const {
  if (number < 0 || number >= num_passages_) {
    throw Error("expected the number of a passage below " + std::to_string(num_passages_) +
                ", found " + std::to_string(number));
  }
  TableEntry entry, after;
  const std::byte* place = table_ + static_cast<std::size_t>(number) * sizeof(TableEntry);
  std::memcpy(&entry, place, sizeof entry);
  std::memcpy(&after, place + sizeof entry, sizeof after);
  const std::uint64_t named = std::uint64_t{entry.id_bytes} + entry.title_bytes;
  if (after.offset > num_text_bytes_ || entry.offset > after.offset ||
      named > after.offset - entry.offset) {
    throw DataError(folder_.string() + ": passage " + std::to_string(number) +
                    " lies outside of passages.text; build the index again");
  }
  const std::string_view bytes(text_ + entry.offset, after.offset - entry.offset);
  return {std::string(bytes.substr(0, entry.id_bytes)),
          std::string(bytes.substr(entry.id_bytes, entry.title_bytes)),
          std::string(bytes.substr(named))};
}

void check_distinct_ids(const PassageStore& passages, std::int64_t memory_bytes) {
  // Ids of one part at a time: those whose hash leaves the same remainder.
  using Entry = std::pair<std::uint64_t, std::int64_t>;
  const std::int64_t num_entries =
      std::max<std::int64_t>(memory_bytes / static_cast<std::int64_t>(2 * sizeof(Entry)), 1024);
  const auto num_parts = static_cast<std::uint64_t>(passages.num_passages() / num_entries + 1);
  for (std::uint64_t part = 0; part < num_parts; ++part) {
    std::vector<Entry> entries;
    for (std::int64_t i = 0; i < passages.num_passages(); ++i) {
      const std::uint64_t hash = hash_bytes(passages.passage(i).id).lo;
      if (hash % num_parts == part) entries.emplace_back(hash, i);
    }
    std::sort(entries.begin(), entries.end());
    for (std::size_t i = 1; i < entries.size(); ++i) {
      if (entries[i].first != entries[i - 1].first) continue;
      const std::string id = passages.passage(entries[i].second).id;
      if (passages.passage(entries[i - 1].second).id != id) continue;
      throw DataError("id: expected one passage for each id, found \"" + id + "\" for passages " +
                      std::to_string(entries[i - 1].second + 1) + " and " +
                      std::to_string(entries[i].second + 1) + " of the corpus");
    }
  }
}

}  // namespace clara
