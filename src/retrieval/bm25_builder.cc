// Postings are gathered in memory, sorted into runs on disk by term, and the runs are merged.
#include "clara/retrieval/bm25_builder.h"

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>
#include <optional>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/mapped_file.h"
#include "retrieval/bm25_files.h"
#include "retrieval/index_file.h"

#include "clara/common/error.h"
#include "clara/retrieval/index_folder.h"
#include "clara/retrieval/passage_store.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRunsName = "runs.tmp";
constexpr std::uint64_t kMaxPassages = std::uint64_t{1} << 32;
// A posting in memory and its place in the sorted order; a term with its entry of the map.
constexpr std::int64_t kPostingBytes = 16;
constexpr std::int64_t kTermBytes = 80;
constexpr std::int64_t kMaxRunBytes = std::int64_t{1} << 34;  // places in a run have 32 bits

struct Posting {
  std::uint32_t term = 0;
  std::uint32_t document = 0;
  std::uint32_t frequency = 0;
};

void append_number(std::string& bytes, std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) bytes += static_cast<char>(number | 0x80);
  bytes += static_cast<char>(number);
}

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>{}(text);
  }
};

// A sorted part of the postings: for each term its length and text, how many postings, and of each
// the distance to the document before and the frequency.
class Run {
 public:
  Run(const unsigned char* begin, const unsigned char* end) : next_(begin), end_(end) {}

  /// The next term; false behind the last. All postings of the one before must have been read.
  bool begin_term() {
    if (next_ == end_) return false;
    const std::uint64_t length = number();
    term_ = {reinterpret_cast<const char*>(next_), static_cast<std::size_t>(length)};
    next_ += length;
    num_postings_ = number();
    document_ = 0;
    return true;
  }
  std::string_view term() const { return term_; }
  std::uint64_t num_postings() const { return num_postings_; }
  std::pair<std::uint32_t, std::uint32_t> next_posting() {
    document_ += static_cast<std::uint32_t>(number());
    return {document_, static_cast<std::uint32_t>(number())};
  }

 private:
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const unsigned char byte = *next_++;
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
  }

  const unsigned char* next_;
  const unsigned char* end_;
  std::string_view term_;
  std::uint64_t num_postings_ = 0;
  std::uint32_t document_ = 0;
};

// Appends `count` numbers of `bits` each, to a whole byte.
void pack(std::string& bytes, const std::uint32_t* numbers, std::uint32_t count,
          std::uint32_t bits) {
  std::uint64_t word = 0;
  std::uint32_t filled = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    word |= std::uint64_t{numbers[i]} << filled;
    for (filled += bits; filled >= 8; filled -= 8, word >>= 8) bytes += static_cast<char>(word);
  }
  if (filled > 0) bytes += static_cast<char>(word);
}

// Writes terms with their postings, which come in order.
class PostingsWriter {
 public:
  PostingsWriter(const fs::path& folder, const std::uint32_t* lengths)
      : lengths_(lengths),
        term_text_(folder / kBm25TermTextName),
        terms_(folder / kBm25TermsName),
        blocks_(folder / kBm25BlocksName),
        postings_(folder / kBm25PostingsName) {}

  void begin_term(std::string_view text) {
    term_ = {};
    term_.text_offset = term_text_.num_bytes();
    term_.text_bytes = static_cast<std::uint32_t>(text.size());
    term_.first_block = num_blocks_;
    term_.min_length = UINT32_MAX;
    term_text_.write(text);
    last_document_ = 0;
    begin_block();
  }

  void add(std::uint32_t document, std::uint32_t frequency) {
    distances_[count_] = document - last_document_;
    frequencies_[count_] = frequency - 1;
    last_document_ = document;
    block_.max_frequency = std::max(block_.max_frequency, frequency);
    block_.min_length = std::min(block_.min_length, lengths_[document]);
    if (++count_ == kBm25BlockSize) end_block();
  }

  void end_term() {
    if (count_ > 0) end_block();
    terms_.write_value(term_);
    num_postings_ += term_.num_documents;
    ++num_terms_;
  }

  void finish() {
    postings_.write(std::string(kBm25Padding, '\0'));
    for (IndexFile* file : {&term_text_, &terms_, &blocks_, &postings_}) file->finish();
  }

  std::int64_t num_terms() const { return num_terms_; }
  std::int64_t num_postings() const { return num_postings_; }

 private:
  void begin_block() {
    block_ = {};
    block_.min_length = UINT32_MAX;
    count_ = 0;
  }

  void end_block() {
    const auto bits_of = [this](const auto& numbers) {
      const auto largest = *std::max_element(numbers.begin(), numbers.begin() + count_);
      return static_cast<std::uint8_t>(std::bit_width(largest));
    };
    block_.offset = postings_.num_bytes();
    block_.last_document = last_document_;
    block_.document_bits = bits_of(distances_);
    block_.frequency_bits = bits_of(frequencies_);
    packed_.clear();
    pack(packed_, distances_.data(), count_, block_.document_bits);
    pack(packed_, frequencies_.data(), count_, block_.frequency_bits);
    postings_.write(packed_);
    blocks_.write_value(block_);
    ++num_blocks_;
    term_.num_documents += count_;
    term_.max_frequency = std::max(term_.max_frequency, block_.max_frequency);
    term_.min_length = std::min(term_.min_length, block_.min_length);
    begin_block();
  }

  const std::uint32_t* lengths_;
  IndexFile term_text_, terms_, blocks_, postings_;
  Bm25Term term_;
  Bm25Block block_;
  std::array<std::uint32_t, kBm25BlockSize> distances_{};
  std::array<std::uint32_t, kBm25BlockSize> frequencies_{};
  std::uint32_t count_ = 0;
  std::uint32_t last_document_ = 0;
  std::string packed_;
  std::uint64_t num_blocks_ = 0;
  std::int64_t num_terms_ = 0;
  std::int64_t num_postings_ = 0;
};

}  // namespace

class Bm25Builder::Builder {
 public:
  Builder(fs::path folder, const Bm25BuildSettings& settings)
      : folder_(std::move(folder)), settings_(settings), store_(folder_) {
    check_bm25_settings(settings_.scoring);
    lengths_.emplace(folder_ / kBm25LengthsName);
    runs_.emplace(folder_ / kRunsName);
  }

  void add(const Passage& passage) {
    const auto number = static_cast<std::uint64_t>(store_.num_passages());
    if (number >= kMaxPassages) throw DataError("expected at most 2^32 passages in an index");
    store_.add(passage);
    terms_of_passage_.clear();
    const auto count = [this](std::string_view term) { terms_of_passage_.push_back(id_of(term)); };
    for_each_bm25_term(passage.title, count);
    for_each_bm25_term(passage.text, count);
    const auto length = static_cast<std::uint32_t>(terms_of_passage_.size());
    lengths_->write_value(length);
    report_.num_tokens += length;
    std::sort(terms_of_passage_.begin(), terms_of_passage_.end());
    for (std::size_t i = 0; i < terms_of_passage_.size();) {
      std::size_t end = i + 1;
      while (end < terms_of_passage_.size() && terms_of_passage_[end] == terms_of_passage_[i])
        ++end;
      postings_.push_back({terms_of_passage_[i], static_cast<std::uint32_t>(number),
                           static_cast<std::uint32_t>(end - i)});
      i = end;
    }
    if (static_cast<std::int64_t>(postings_.size()) * kPostingBytes + term_bytes_ >
        std::min(settings_.memory_bytes, kMaxRunBytes)) {
      write_run();
    }
  }

  Bm25BuildReport finish() {
    report_.num_passages = store_.num_passages();
    if (!postings_.empty()) write_run();
    std::vector<Posting>().swap(postings_);
    std::vector<std::uint32_t>().swap(order_);
    store_.finish();
    lengths_->finish();
    runs_->finish();
    check_distinct_ids(PassageStore(folder_), settings_.memory_bytes);
    merge_runs();
    fs::remove(folder_ / kRunsName);
    return report_;
  }

 private:
  std::uint32_t id_of(std::string_view term) {
    const auto found = ids_.find(term);
    if (found != ids_.end()) return found->second;
    const auto id = static_cast<std::uint32_t>(terms_.size());
    const auto added = ids_.emplace(std::string(term), id).first;
    terms_.push_back(&added->first);
    term_bytes_ += kTermBytes + static_cast<std::int64_t>(term.size());
    return id;
  }

  // Sorts by term, documents stay in order, and starts anew.
  void write_run() {
    std::vector<std::uint32_t> begins(terms_.size() + 1, 0);
    for (const Posting& posting : postings_) ++begins[posting.term + 1];
    std::partial_sum(begins.begin(), begins.end(), begins.begin());
    order_.resize(postings_.size());
    {
      std::vector<std::uint32_t> next(begins.begin(), begins.end() - 1);
      for (std::size_t i = 0; i < postings_.size(); ++i)
        order_[next[postings_[i].term]++] = static_cast<std::uint32_t>(i);
    }
    std::vector<std::uint32_t> sorted(terms_.size());
    std::iota(sorted.begin(), sorted.end(), 0U);
    std::sort(sorted.begin(), sorted.end(),
              [this](std::uint32_t a, std::uint32_t b) { return *terms_[a] < *terms_[b]; });
    run_begins_.push_back(runs_->num_bytes());
    std::string bytes;
    for (const std::uint32_t term : sorted) {
      bytes.clear();
      append_number(bytes, terms_[term]->size());
      bytes += *terms_[term];
      append_number(bytes, begins[term + 1] - begins[term]);
      std::uint32_t last = 0;
      for (std::uint32_t i = begins[term]; i < begins[term + 1]; ++i) {
        const Posting& posting = postings_[order_[i]];
        append_number(bytes, posting.document - last);
        append_number(bytes, posting.frequency);
        last = posting.document;
      }
      runs_->write(bytes);
    }
    ++report_.num_runs;
    postings_.clear();
    terms_.clear();
    ids_.clear();
    term_bytes_ = 0;
  }

  void merge_runs() {
    const MappedFile lengths = map_file(folder_ / kBm25LengthsName);
    const MappedFile file = map_file(folder_ / kRunsName);
    const auto* bytes = reinterpret_cast<const unsigned char*>(file.data);
    std::vector<Run> runs;
    for (std::size_t i = 0; i < run_begins_.size(); ++i) {
      const std::uint64_t end = i + 1 < run_begins_.size() ? run_begins_[i + 1] : file.num_bytes;
      runs.emplace_back(bytes + run_begins_[i], bytes + end);
    }
    // The least term first, and of one term the earliest run: its documents come first.
    const auto is_behind = [&](std::size_t a, std::size_t b) {
      const int order = runs[a].term().compare(runs[b].term());
      return order != 0 ? order > 0 : a > b;
    };
    std::priority_queue<std::size_t, std::vector<std::size_t>, decltype(is_behind)> queue(
        is_behind);
    for (std::size_t i = 0; i < runs.size(); ++i) {
      if (runs[i].begin_term()) queue.push(i);
    }
    PostingsWriter writer(folder_, reinterpret_cast<const std::uint32_t*>(lengths.data));
    while (!queue.empty()) {
      const std::string_view term = runs[queue.top()].term();
      writer.begin_term(term);
      while (!queue.empty() && runs[queue.top()].term() == term) {
        const std::size_t run = queue.top();
        queue.pop();
        for (std::uint64_t i = 0; i < runs[run].num_postings(); ++i) {
          const auto [document, frequency] = runs[run].next_posting();
          writer.add(document, frequency);
        }
        if (runs[run].begin_term()) queue.push(run);
      }
      writer.end_term();
    }
    writer.finish();
    report_.num_terms = writer.num_terms();
    report_.num_postings = writer.num_postings();
  }

  fs::path folder_;
  Bm25BuildSettings settings_;
  PassageStoreWriter store_;
  std::optional<IndexFile> lengths_, runs_;
  std::unordered_map<std::string, std::uint32_t, TextHash, std::equal_to<>> ids_;
  std::vector<const std::string*> terms_;  // by id
  std::int64_t term_bytes_ = 0;
  std::vector<std::uint32_t> terms_of_passage_;
  std::vector<Posting> postings_;
  std::vector<std::uint32_t> order_;  // of postings_, by term
  std::vector<std::uint64_t> run_begins_;
  Bm25BuildReport report_;
};

Bm25Builder::Bm25Builder(const fs::path& folder, const Bm25BuildSettings& settings)
    : builder_(std::make_unique<Builder>(folder, settings)) {}
Bm25Builder::~Bm25Builder() = default;
void Bm25Builder::add(const Passage& passage) { builder_->add(passage); }
Bm25BuildReport Bm25Builder::finish() { return builder_->finish(); }

Bm25BuildReport build_bm25_index(CorpusReader& corpus, const fs::path& output, bool replaces,
                                 const Bm25BuildSettings& settings,
                                 const CorpusProgress& progress) {
  IndexFolderWriter folder(output, replaces);
  Bm25Builder builder(folder.folder(), settings);
  const auto add = [&](const Passage& passage) {
    builder.add(passage);
    return true;
  };
  read_passages(corpus, add, progress);
  const Bm25BuildReport report = builder.finish();
  IndexManifest manifest;
  manifest.kind = kBm25Kind;
  manifest.names = {{"analyzer", "unicode"}};
  manifest.settings = {{"k1", settings.scoring.k1}, {"b", settings.scoring.b}};
  manifest.counts = {{"passages", report.num_passages},
                     {"terms", report.num_terms},
                     {"postings", report.num_postings},
                     {"tokens", report.num_tokens}};
  for (const CorpusFile& file : corpus.files()) manifest.corpus.push_back(file.path);
  folder.commit(manifest);
  return report;
}

}  // namespace clara
