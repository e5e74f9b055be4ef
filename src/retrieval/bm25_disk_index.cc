// The top k of a query by MaxScore over windows of passages: terms that cannot lift a passage above
// the k-th best score by themselves are looked up only for passages that other terms found.
#include "clara/retrieval/bm25_disk_index.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <exception>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "common/mapped_file.h"
#include "retrieval/bm25_files.h"
#include "retrieval/bm25_formula.h"

#include "clara/common/error.h"
#include "clara/retrieval/index_folder.h"

namespace clara {
namespace {

constexpr std::uint64_t kNone = UINT64_MAX;
constexpr std::uint32_t kWindow = 4096;  // passages whose sums are in the cache at once
// Sums in another order differ in their last bits: a passage is dropped only clearly below.
constexpr double kRounding = 1 + 1e-12;
constexpr std::size_t kNumNorms = 4096;  // lengths with a norm that is computed once

template <class Value>
struct MappedArray {
  MappedArray(const std::filesystem::path& path) : file(map_file(path)) {
    if (file.num_bytes % sizeof(Value) != 0) {
      throw DataError(path.string() + ": expected entries of " + std::to_string(sizeof(Value)) +
                      " bytes, found " + std::to_string(file.num_bytes) +
                      " bytes; build the index again");
    }
  }
  std::uint64_t size() const { return file.num_bytes / sizeof(Value); }
  const Value* data() const { return reinterpret_cast<const Value*>(file.data); }
  MappedFile file;
};

}  // namespace

struct Bm25DiskIndex::Files {
  Files(const std::filesystem::path& path, const Bm25SearchSettings& search_settings)
      : folder(path),
        manifest(open_index_folder(path, kBm25Kind, search_settings.verifies_content)),
        settings(search_settings),
        store(path),
        lengths(path / kBm25LengthsName),
        term_text(path / kBm25TermTextName),
        terms(path / kBm25TermsName),
        blocks(path / kBm25BlocksName),
        postings(path / kBm25PostingsName) {
    const auto stored = [&](const char* name, double fallback) {
      const auto found = manifest.settings.find(name);
      return found == manifest.settings.end() ? fallback : found->second;
    };
    scoring.k1 = settings.k1.value_or(stored("k1", scoring.k1));
    scoring.b = settings.b.value_or(stored("b", scoring.b));
    check_bm25_settings(scoring);
    const auto analyzer = manifest.names.find("analyzer");
    if (analyzer == manifest.names.end() || analyzer->second != "unicode") {
      throw DataError(folder.string() + ": expected the analyzer unicode, found " +
                      (analyzer == manifest.names.end() ? "none" : analyzer->second));
    }
    const auto tokens = manifest.counts.find("tokens");
    if (store.num_passages() < 1 || lengths.size() != static_cast<std::uint64_t>(num_passages()) ||
        tokens == manifest.counts.end() || postings.size() < kBm25Padding) {
      fail();
    }
    mean_length = static_cast<double>(tokens->second) / static_cast<double>(num_passages());
    for (std::size_t i = 0; i < kNumNorms; ++i)
      norms.push_back(bm25_norm(scoring, static_cast<double>(i), mean_length));
  }

  std::int64_t num_passages() const { return store.num_passages(); }
  [[noreturn]] void fail() const {
    throw DataError(folder.string() +
                    ": expected an index whose files fit each other, found others; build it again");
  }
  double norm(std::uint32_t length) const {
    return length < kNumNorms ? norms[length] : bm25_norm(scoring, length, mean_length);
  }
  std::string_view text_of(const Bm25Term& term) const {
    if (term.text_offset > term_text.size() ||
        term.text_bytes > term_text.size() - term.text_offset)
      fail();
    return {term_text.data() + term.text_offset, term.text_bytes};
  }
  /// Null where no passage has it.
  const Bm25Term* find(std::string_view text) const {
    const Bm25Term* end = terms.data() + terms.size();
    const Bm25Term* found = std::lower_bound(
        terms.data(), end, text,
        [this](const Bm25Term& term, std::string_view t) { return text_of(term) < t; });
    if (found == end || text_of(*found) != text) return nullptr;
    const std::uint64_t num_blocks =
        (std::uint64_t{found->num_documents} + kBm25BlockSize - 1) / kBm25BlockSize;
    if (found->num_documents == 0 || found->num_documents > lengths.size() ||
        found->first_block > blocks.size() || num_blocks > blocks.size() - found->first_block)
      fail();
    return found;
  }

  std::filesystem::path folder;
  IndexManifest manifest;
  Bm25SearchSettings settings;
  Bm25Settings scoring;
  double mean_length = 0;
  std::vector<double> norms;  // by length
  PassageStore store;
  MappedArray<std::uint32_t> lengths;
  MappedArray<char> term_text;
  MappedArray<Bm25Term> terms;
  MappedArray<Bm25Block> blocks;
  MappedArray<std::byte> postings;

  class Postings;
  class Search;
};

// The postings of a term, in order.
class Bm25DiskIndex::Files::Postings {
 public:
  Postings(const Files& files, const Bm25Term& term)
      : files_(&files),
        blocks_(files.blocks.data() + term.first_block),
        num_blocks_(term.num_documents / kBm25BlockSize +
                    (term.num_documents % kBm25BlockSize != 0 ? 1 : 0)),
        num_documents_(term.num_documents) {
    load();
  }

  /// The current document; kNone behind the last.
  std::uint64_t document() const { return place_ < count_ ? documents_[place_] : kNone; }
  std::uint32_t frequency() const {
    return 1 + bm25_unpack(frequencies_, place_, blocks_[block_].frequency_bits);
  }
  void next() {
    if (++place_ < count_) return;
    ++block_;
    load();
  }
  /// Moves on to the first document that is not before `document`.
  void advance_to(std::uint64_t document) {
    if (place_ == count_ || documents_[place_] >= document) return;
    if (blocks_[block_].last_document < document) {
      std::uint32_t step = 1;
      std::uint32_t low = block_ + 1;
      while (low + step < num_blocks_ && blocks_[low + step].last_document < document) {
        low += step;
        step *= 2;
      }
      const Bm25Block* begin = blocks_ + std::min(low, num_blocks_);
      const Bm25Block* end =
          blocks_ + std::min<std::uint64_t>(std::uint64_t{low} + step + 1, num_blocks_);
      block_ = static_cast<std::uint32_t>(
          std::lower_bound(begin, end, document,
                           [](const Bm25Block& block, std::uint64_t wanted) {
                             return block.last_document < wanted;
                           }) -
          blocks_);
      load();
    }
    const auto* begin = documents_.data();
    place_ = static_cast<std::uint32_t>(std::lower_bound(begin + place_, begin + count_, document) -
                                        begin);
  }

 private:
  void load() {
    place_ = 0;
    count_ = 0;
    if (block_ >= num_blocks_) return;
    const Bm25Block& block = blocks_[block_];
    const std::uint32_t count =
        block_ + 1 < num_blocks_ ? kBm25BlockSize : num_documents_ - block_ * kBm25BlockSize;
    const std::size_t document_bytes = bm25_packed_bytes(count, block.document_bits);
    const std::uint64_t room = files_->postings.size() - kBm25Padding;
    if (block.document_bits > 32 || block.frequency_bits > 32 || block.offset > room ||
        document_bytes + bm25_packed_bytes(count, block.frequency_bits) > room - block.offset ||
        block.last_document >= files_->lengths.size())
      files_->fail();
    const std::byte* data = files_->postings.data() + block.offset;
    frequencies_ = data + document_bytes;
    std::uint64_t document = block_ == 0 ? 0 : blocks_[block_ - 1].last_document;
    for (std::uint32_t i = 0; i < count; ++i) {
      document += bm25_unpack(data, i, block.document_bits);
      documents_[i] = static_cast<std::uint32_t>(document);
    }
    if (document != block.last_document) files_->fail();
    count_ = count;
  }

  const Files* files_;
  const Bm25Block* blocks_;
  std::uint32_t num_blocks_;
  std::uint32_t num_documents_;
  std::uint32_t block_ = 0;
  std::uint32_t place_ = 0;
  std::uint32_t count_ = 0;  // documents in the block
  const std::byte* frequencies_ = nullptr;
  std::array<std::uint32_t, kBm25BlockSize> documents_{};
};

// One query.
class Bm25DiskIndex::Files::Search {
 public:
  Search(const Files& files, const std::string& query, std::int64_t k)
      : files_(files), k_(static_cast<std::size_t>(std::min(k, files.num_passages()))) {
    std::vector<std::string> texts = bm25_terms(query);
    std::vector<std::string> distinct = texts;
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    for (const std::string& text : distinct) {
      const Bm25Term* found = files.find(text);
      if (found == nullptr) continue;
      const auto times = static_cast<double>(std::count(texts.begin(), texts.end(), text));
      const double idf = bm25_idf(static_cast<double>(files.num_passages()), found->num_documents);
      const double bound =
          times * bm25_part(idf, found->max_frequency, files.norm(found->min_length));
      terms_.push_back({text, found, idf, times, bound});
    }
    std::sort(terms_.begin(), terms_.end(),
              [](const Term& a, const Term& b) { return a.bound < b.bound; });
    double sum = 0;
    for (const Term& term : terms_) {
      lists_.emplace_back(files, *term.entry);
      look_ups_.emplace_back(files, *term.entry);
      bounds_before_.push_back(sum);
      sum += term.bound;
    }
    bounds_before_.push_back(sum);
    for (const std::string& text : texts) {
      for (std::size_t i = 0; i < terms_.size(); ++i) {
        if (terms_[i].text == text) order_.push_back(i);
      }
    }
  }

  std::vector<SearchHit> run() {
    while (move_window()) {
      sum_essential();
      visit_window();
    }
    std::sort_heap(hits_.begin(), hits_.end(), is_better);
    return std::move(hits_);
  }

 private:
  struct Term {
    std::string text;
    const Bm25Term* entry;
    double idf;
    double times;  // in the query
    double bound;  // of what it adds to any passage's score
  };

  // Heaps have the worst hit in front; sort_heap then gives the best first.
  static bool is_better(const SearchHit& a, const SearchHit& b) {
    return a.score != b.score ? a.score > b.score : a.passage < b.passage;
  }

  double threshold() const { return hits_.size() < k_ ? 0 : hits_.front().score; }
  bool is_clearly_below(double score) const { return score * kRounding <= threshold(); }

  // The next window that an essential term has a passage in: those terms without which no passage
  // can get above the threshold.
  bool move_window() {
    if (k_ == 0) return false;
    while (first_essential_ < terms_.size() &&
           is_clearly_below(bounds_before_[first_essential_ + 1]))
      ++first_essential_;
    begin_ = kNone;
    for (std::size_t i = first_essential_; i < terms_.size(); ++i) {
      lists_[i].advance_to(end_);
      begin_ = std::min(begin_, lists_[i].document());
    }
    if (begin_ == kNone) return false;
    end_ = begin_ + kWindow;
    return true;
  }

  void sum_essential() {
    for (std::size_t i = first_essential_; i < terms_.size(); ++i) {
      Postings& list = lists_[i];
      const Term& term = terms_[i];
      for (std::uint64_t document = list.document(); document < end_; document = list.document()) {
        const std::size_t place = document - begin_;
        sums_[place] += term.times * part(term, list, document);
        is_found_[place / 64] |= std::uint64_t{1} << (place % 64);
        list.next();
      }
    }
  }

  void visit_window() {
    for (std::size_t word = 0; word < is_found_.size(); ++word) {
      for (; is_found_[word] != 0; is_found_[word] &= is_found_[word] - 1) {
        const std::size_t place =
            word * 64 + static_cast<std::size_t>(std::countr_zero(is_found_[word]));
        const double sum = std::exchange(sums_[place], 0.0);
        consider(begin_ + place, sum);
      }
    }
  }

  void consider(std::uint64_t document, double sum) {
    for (std::size_t i = first_essential_; i > 0; --i) {
      if (is_clearly_below(sum + bounds_before_[i])) return;
      Postings& list = lists_[i - 1];
      list.advance_to(document);
      if (list.document() == document)
        sum += terms_[i - 1].times * part(terms_[i - 1], list, document);
    }
    if (is_clearly_below(sum)) return;
    const SearchHit hit = {static_cast<std::int64_t>(document), score_of(document)};
    if (hits_.size() == k_) {
      if (!is_better(hit, hits_.front())) return;
      std::pop_heap(hits_.begin(), hits_.end(), is_better);
      hits_.pop_back();
    }
    hits_.push_back(hit);
    std::push_heap(hits_.begin(), hits_.end(), is_better);
  }

  double part(const Term& term, const Postings& list, std::uint64_t document) const {
    return bm25_part(term.idf, list.frequency(), files_.norm(files_.lengths.data()[document]));
  }

  // Added up in the order of the query, as Bm25Index does.
  double score_of(std::uint64_t document) {
    parts_.assign(terms_.size(), 0.0);
    for (std::size_t i = 0; i < terms_.size(); ++i) {
      look_ups_[i].advance_to(document);
      if (look_ups_[i].document() == document) parts_[i] = part(terms_[i], look_ups_[i], document);
    }
    double score = 0;
    for (const std::size_t i : order_) score += parts_[i];
    return score;
  }

  const Files& files_;
  std::size_t k_;
  std::vector<Term> terms_;            // by bound, the least first
  std::vector<double> bounds_before_;  // sum of the bounds of the terms before
  std::vector<std::size_t> order_;     // terms as the query has them
  std::vector<Postings> lists_, look_ups_;
  std::size_t first_essential_ = 0;
  std::uint64_t begin_ = 0, end_ = 0;  // of the window
  std::vector<double> sums_ = std::vector<double>(kWindow, 0.0);
  std::array<std::uint64_t, kWindow / 64> is_found_{};
  std::vector<double> parts_;
  std::vector<SearchHit> hits_;
};

Bm25DiskIndex::Bm25DiskIndex(const std::filesystem::path& folder,
                             const Bm25SearchSettings& settings)
    : files_(std::make_unique<const Files>(folder, settings)) {}
Bm25DiskIndex::~Bm25DiskIndex() = default;

std::int64_t Bm25DiskIndex::num_passages() const { return files_->num_passages(); }
const Bm25Settings& Bm25DiskIndex::scoring() const { return files_->scoring; }
const PassageStore& Bm25DiskIndex::passages() const { return files_->store; }

std::vector<std::vector<SearchHit>> Bm25DiskIndex::search(const std::vector<std::string>& queries,
                                                          std::int64_t k) const {
  std::vector<std::vector<SearchHit>> found(queries.size());
  std::atomic<std::size_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    try {
      for (std::size_t i = next++; i < queries.size(); i = next++)
        found[i] = Files::Search(*files_, queries[i], k).run();
    } catch (...) {
      const std::lock_guard lock(failure_mutex);
      failure = std::current_exception();
      next = queries.size();
    }
  };
  const auto wanted = static_cast<std::size_t>(
      files_->settings.num_threads > 0 ? static_cast<unsigned>(files_->settings.num_threads)
                                       : std::max(1U, std::thread::hardware_concurrency()));
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < std::min(wanted, queries.size()); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
  return found;
}

}  // namespace clara
