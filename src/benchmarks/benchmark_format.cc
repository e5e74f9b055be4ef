// The table of layouts, and the choice among them.
#include "clara/benchmarks/benchmark_format.h"

#include <algorithm>
#include <array>

#include "benchmarks/layouts.h"

#include "clara/common/error.h"
#include "clara/data/json_row.h"

namespace clara {
namespace {

constexpr std::array<Layout, 10> kLayouts = {{
    {BenchmarkFormat::kHotpotQa, "hotpotqa", is_hotpot_qa, read_titled_context},
    {BenchmarkFormat::kTwoWiki, "2wiki", is_two_wiki, read_titled_context},
    {BenchmarkFormat::kMuSiQue, "musique", is_musique, read_musique},
    {BenchmarkFormat::kNq, "nq", is_nq, read_nq},
    {BenchmarkFormat::kNqOpen, "nq_open", is_nq_open, read_nq_open},
    {BenchmarkFormat::kDpr, "dpr", is_dpr, read_dpr},
    {BenchmarkFormat::kKilt, "kilt", is_kilt, read_kilt},
    {BenchmarkFormat::kFlashRag, "flashrag", is_flash_rag, read_flash_rag},
    {BenchmarkFormat::kRankedContexts, "ctxs", is_ranked_contexts, read_ranked_contexts},
    {BenchmarkFormat::kMlClara, "ml_clara", is_ml_clara, read_ml_clara},
}};

// The particular layouts first: a row of 2Wiki is also one of HotpotQA, and many rows have a
// question and an answer.
constexpr std::array kRecognitionOrder = {
    BenchmarkFormat::kMuSiQue, BenchmarkFormat::kDpr,      BenchmarkFormat::kRankedContexts,
    BenchmarkFormat::kNq,      BenchmarkFormat::kKilt,     BenchmarkFormat::kFlashRag,
    BenchmarkFormat::kTwoWiki, BenchmarkFormat::kHotpotQa, BenchmarkFormat::kMlClara,
    BenchmarkFormat::kNqOpen};
static_assert(kRecognitionOrder.size() == kLayouts.size());

const Layout& layout_of(BenchmarkFormat format) {
  return kLayouts[static_cast<std::size_t>(format)];
}

std::string listed(const std::vector<std::string>& names, std::size_t most) {
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < most; ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  return names.size() > most ? text + ", …" : text;
}

}  // namespace

std::vector<std::string> benchmark_format_names() {
  std::vector<std::string> names;
  for (const Layout& layout : kLayouts) names.emplace_back(layout.name);
  return names;
}

BenchmarkFormat parse_benchmark_format(std::string_view name) {
  for (const Layout& layout : kLayouts) {
    if (name == layout.name) return layout.format;
  }
  throw ConfigError("format: expected one of " + listed(benchmark_format_names(), kLayouts.size()) +
                    ", found \"" + std::string(name) + "\"");
}

std::string to_string(BenchmarkFormat format) { return layout_of(format).name; }

struct BenchmarkReader::State {
  JsonRow row;
  std::optional<BenchmarkFormat> format;
};

BenchmarkReader::BenchmarkReader(std::optional<BenchmarkFormat> format)
    : state_(std::make_unique<State>()) {
  state_->format = format;
}
BenchmarkReader::BenchmarkReader(BenchmarkReader&&) noexcept = default;
BenchmarkReader& BenchmarkReader::operator=(BenchmarkReader&&) noexcept = default;
BenchmarkReader::~BenchmarkReader() = default;

BenchmarkRecord BenchmarkReader::read(const StreamedRow& row) {
  const JsonValue value = state_->row.parse(row);
  if (!state_->format) {
    const auto found =
        std::find_if(kRecognitionOrder.begin(), kRecognitionOrder.end(),
                     [&](BenchmarkFormat format) { return layout_of(format).recognises(value); });
    if (found == kRecognitionOrder.end()) {
      constexpr std::size_t kMaxNames = 12;
      state_->row.fail(
          "",
          "a row of a published layout (" + listed(benchmark_format_names(), kLayouts.size()) + ")",
          "an object with the fields " + listed(value.names(), kMaxNames) +
              "; --format names the layout, to see what the row lacks");
    }
    state_->format = *found;
  }
  return layout_of(*state_->format).read(value);
}

std::optional<BenchmarkFormat> BenchmarkReader::format() const { return state_->format; }

}  // namespace clara
