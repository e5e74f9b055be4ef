// The way of a row to the model: tokenizer, prompt building, packing, safetensors, latent store,
// row files.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <benchmark/benchmark.h>
#include <torch/torch.h>
#include <unistd.h>

#include "clara/checkpoint/open_model.h"
#include "clara/common/content_hash.h"
#include "clara/common/safetensors_file.h"
#include "clara/data/row_source.h"
#include "clara/latents/latent_store.h"
#include "clara/model/base_llm.h"
#include "clara/model/packed_sequences.h"
#include "clara/trainer/training_data.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

/// CLARA_BENCH_BASE, or where the scripts put SmolLM2.
fs::path base_folder() {
  const char* variable = std::getenv("CLARA_BENCH_BASE");
  return variable != nullptr ? fs::path(variable)
                             : fs::path(CLARA_SOURCE_DIR) / "models/smollm2-135m";
}

bool skip_without_base(benchmark::State& state) {
  if (fs::exists(base_folder() / "config.json")) return false;
  state.SkipWithError(
      "no base model: run scripts/fetch_smollm2.py, or name a folder with CLARA_BENCH_BASE");
  return true;
}

std::vector<DataSource> sample_rows(const char* name) {
  return {{std::string(CLARA_SOURCE_DIR) + "/data/samples/" + name, 1.0, 0}};
}

void tokenizer_encode(benchmark::State& state) {
  if (skip_without_base(state)) return;
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(base_folder());
  std::string text;
  const RowSource rows(sample_rows("scp.jsonl"));
  for (std::int64_t i = 0; i < rows.size(); ++i) text += rows.row(i).text;
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->encode(text, SpecialTokenText::kAsText));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(tokenizer_encode)->Unit(benchmark::kMicrosecond);

/// Rows of joint training from the file's text to token ids.
void build_examples(benchmark::State& state) {
  if (skip_without_base(state)) return;
  const TextSide text = open_text_side(base_folder(), 16);
  const PromptBuilder prompts(*text.tokenizer, text.chat_format, text.special_tokens, text.bos_id,
                              text.eos_id, PromptSettings{256, 1024, 5, 17});
  const ExampleBuilder builder(Stage::kJoint, prompts);
  const RowSource rows(sample_rows("joint.jsonl"));
  for (auto _ : state) {
    for (std::int64_t i = 0; i < rows.size(); ++i)
      benchmark::DoNotOptimize(builder.build(rows.row(i), 0, static_cast<std::uint64_t>(i)));
  }
  state.SetItemsProcessed(state.iterations() * rows.size());
}
BENCHMARK(build_examples)->Unit(benchmark::kMicrosecond);

/// 32 sequences of 256 tokens as one packed batch.
void pack_batch(benchmark::State& state) {
  std::vector<std::vector<std::int32_t>> sequences(32, std::vector<std::int32_t>(256, 7));
  std::vector<const std::vector<std::int32_t>*> pointers;
  for (const auto& sequence : sequences) pointers.push_back(&sequence);
  for (auto _ : state) benchmark::DoNotOptimize(pack_sequences(pointers, {49152, 16}, torch::kCPU));
  state.SetItemsProcessed(state.iterations() * 32 * 256);
}
BENCHMARK(pack_batch)->Unit(benchmark::kMicrosecond);

/// Opens and validates the base model's file and touches every page of it.
void safetensors_read(benchmark::State& state) {
  if (skip_without_base(state)) return;
  std::int64_t bytes = 0;
  for (auto _ : state) {
    const SafetensorsFolder folder(base_folder());
    std::uint64_t sum = 0;
    bytes = 0;
    for (const std::string& name : folder.names()) {
      const TensorEntry& entry = folder.at(name);
      for (std::size_t i = 0; i < entry.num_bytes; i += 4096)
        sum += static_cast<std::uint64_t>(entry.data[i]);
      bytes += static_cast<std::int64_t>(entry.num_bytes);
    }
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed(state.iterations() * bytes);
}
BENCHMARK(safetensors_read)->UseRealTime()->Unit(benchmark::kMillisecond);

class StoreFolder {
 public:
  StoreFolder() : path_(fs::temp_directory_path() / ("clara_bench_" + std::to_string(::getpid()))) {
    fs::remove_all(path_);
  }
  StoreFolder(const StoreFolder&) = delete;
  StoreFolder& operator=(const StoreFolder&) = delete;
  ~StoreFolder() { fs::remove_all(path_); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

Hash128 key_of(std::int64_t i) { return hash_bytes({reinterpret_cast<const char*>(&i), sizeof i}); }

/// 1000 documents of 16 latents: found again in a random order. Argument: 0 memory, 1 disk.
void latent_store_find(benchmark::State& state) {
  const StoreFolder folder;
  std::unique_ptr<LatentStore> store;
  if (state.range(0) == 0) {
    store = std::make_unique<MemoryLatentStore>();
  } else {
    store = std::make_unique<DiskLatentStore>(
        folder.path(), Hash128{}, std::vector<std::int64_t>{16, 576}, torch::kBFloat16, 0);
  }
  const torch::Tensor latents = torch::randn({16, 576}).to(torch::kBFloat16);
  for (std::int64_t i = 0; i < 1000; ++i) store->put(key_of(i), latents);
  std::int64_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(store->find(key_of(i++ * 379 % 1000)));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(latent_store_find)->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);

/// Opening a file of so many rows of 100 bytes: one pass that finds where each row is.
void open_row_file(benchmark::State& state) {
  const StoreFolder folder;
  fs::create_directories(folder.path());
  const fs::path path = folder.path() / "rows.jsonl";
  {
    std::ofstream out(path);
    for (std::int64_t i = 0; i < state.range(0); ++i) {
      out << R"({"question": "Who wrote book )" << i
          << R"(?", "docs": ["A document of one sentence."], "answer": "Somebody."})"
          << "\n";
    }
  }
  for (auto _ : state) benchmark::DoNotOptimize(RowSource({{path.string(), 1.0, 0}}));
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(fs::file_size(path)));
}
BENCHMARK(open_row_file)
    ->Arg(200'000)
    ->Arg(2'000'000)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

/// A row anywhere in a file of two million: what resuming in the middle of an epoch costs.
void read_any_row(benchmark::State& state) {
  const StoreFolder folder;
  fs::create_directories(folder.path());
  const fs::path path = folder.path() / "rows.jsonl";
  {
    std::ofstream out(path);
    for (std::int64_t i = 0; i < 2'000'000; ++i)
      out << R"({"question": "Who?", "docs": ["D"], "answer": ")" << i << "\"}\n";
  }
  const RowSource rows({{path.string(), 1.0, 0}});
  std::int64_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(rows.row(i++ * 1'299'709 % rows.size()));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(read_any_row)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace clara
