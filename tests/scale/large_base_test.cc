// A sharded bfloat16 checkpoint of Mistral-7B's shape is opened and compresses a document without
// being copied into memory. The files are sparse: zeros take no room on the disk.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/process_memory.h"
#include "tests/support/tensor_compare.h"
#include "tests/unit/common/temporary_folder.h"
#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>
#include <unistd.h>

#include "clara/model/clara_model.h"

namespace clara::testing {
namespace {

using Json = nlohmann::json;
using torch::Tensor;
namespace fs = std::filesystem;

constexpr std::int64_t kDefaultLayers = 4;  // of 32
constexpr std::int64_t kNumMemory = 16;
constexpr std::int64_t kWrittenRows = 32;  // of the embedding; the others are zeros
constexpr double kAllowedAnonymousBytes = 1e9;

std::int64_t layers_asked_for() {
  const char* layers = std::getenv("CLARA_SCALE_LAYERS");
  return layers != nullptr ? std::atoll(layers) : kDefaultLayers;
}

/// The most anonymous memory that the process had while this lives.
class PeakAnonymousMemory {
 public:
  PeakAnonymousMemory() {
    watcher_ = std::thread([this] {
      while (!stop_.load()) {
        peak_.store(std::max(peak_.load(), status_bytes("RssAnon")));
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    });
  }
  PeakAnonymousMemory(const PeakAnonymousMemory&) = delete;
  PeakAnonymousMemory& operator=(const PeakAnonymousMemory&) = delete;
  ~PeakAnonymousMemory() { finish(); }
  double finish() {
    stop_.store(true);
    if (watcher_.joinable()) watcher_.join();
    return peak_.load();
  }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<double> peak_{0};
  std::thread watcher_;
};

/// A bfloat16 tensor of the checkpoint whose first rows are written; the rest is zeros.
struct SparseTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  Tensor start;
  std::int64_t num_bytes() const {
    std::int64_t bytes = 2;
    for (const std::int64_t size : shape) bytes *= size;
    return bytes;
  }
};

void write_at(int file, const void* data, std::size_t size, std::int64_t offset) {
  ASSERT_EQ(::pwrite(file, data, size, offset), static_cast<ssize_t>(size));
}

void write_sparse_shard(const fs::path& path, const std::vector<SparseTensor>& tensors) {
  Json header = Json::object();
  std::int64_t end = 0;
  for (const SparseTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", "BF16"},
                           {"shape", tensor.shape},
                           {"data_offsets", {end, end + tensor.num_bytes()}}};
    end += tensor.num_bytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const auto size = static_cast<std::uint64_t>(text.size());
  const std::int64_t data = 8 + static_cast<std::int64_t>(size);
  const int file = ::open(path.c_str(), O_CREAT | O_WRONLY, 0644);
  ASSERT_GE(file, 0) << path;
  ASSERT_EQ(::ftruncate(file, data + end), 0) << path;
  write_at(file, &size, sizeof size, 0);
  write_at(file, text.data(), text.size(), 8);
  std::int64_t place = data;
  for (const SparseTensor& tensor : tensors) {
    if (tensor.start.defined()) {
      const Tensor start = tensor.start.to(torch::kBFloat16).contiguous();
      write_at(file, start.const_data_ptr(), start.nbytes(), place);
    }
    place += tensor.num_bytes();
  }
  ::close(file);
}

/// Mistral-7B-Instruct-v0.2 with `num_layers` layers: norms of one, a few random rows of the
/// embedding, every matrix zero. Returns the bytes of its tensors.
std::int64_t write_checkpoint(const fs::path& folder, std::int64_t num_layers,
                              const Tensor& embedding_rows) {
  std::ifstream in(CLARA_SOURCE_DIR "/tests/fixtures/configs/mistral-7b-instruct-v0.2/config.json");
  Json config = Json::parse(in);
  config["num_hidden_layers"] = num_layers;
  std::ofstream(folder / "config.json") << config.dump();
  const BaseConfig base = load_base_config(folder);
  const Tensor ones = torch::ones({base.hidden_size});
  std::vector<SparseTensor> tensors = {
      {"model.embed_tokens.weight", {base.vocab_rows, base.hidden_size}, embedding_rows},
      {"lm_head.weight", {base.vocab_rows, base.hidden_size}, {}},
      {"model.norm.weight", {base.hidden_size}, ones}};
  for (std::int64_t layer = 0; layer < num_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
      tensors.push_back({prefix + norm + ".weight", {base.hidden_size}, ones});
    for (const ProjectionSpec& spec : base.projections())
      tensors.push_back(
          {prefix + spec.path + ".weight", {spec.out_features, spec.in_features}, {}});
  }
  std::int64_t total = 0;
  for (const SparseTensor& tensor : tensors) total += tensor.num_bytes();

  Json weight_map = Json::object();
  std::vector<SparseTensor> shard;
  std::int64_t shard_bytes = 0, num_shards = 0;
  const auto finish_shard = [&] {
    const std::string name = "model-0000" + std::to_string(++num_shards) + "-of-00003.safetensors";
    for (const SparseTensor& tensor : shard) weight_map[tensor.name] = name;
    write_sparse_shard(folder / name, shard);
    shard.clear();
    shard_bytes = 0;
  };
  for (const SparseTensor& tensor : tensors) {
    shard.push_back(tensor);
    shard_bytes += tensor.num_bytes();
    if (num_shards < 2 && 3 * shard_bytes >= total) finish_shard();
  }
  finish_shard();
  EXPECT_EQ(num_shards, 3);
  std::ofstream(folder / "model.safetensors.index.json") << Json{{"weight_map", weight_map}}.dump();
  return total;
}

TEST(LargeBase, IsMappedNotCopiedAndCompressesADocument) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own memory would be counted";
#endif
  const std::int64_t num_layers = layers_asked_for();
  const TemporaryFolder folder;
  torch::manual_seed(5);
  const Tensor rows = torch::randn({kWrittenRows, 4096});
  const std::int64_t checkpoint_bytes = write_checkpoint(folder.path(), num_layers, rows);
  ASSERT_GT(static_cast<double>(checkpoint_bytes), 1.5 * kAllowedAnonymousBytes)
      << "a copy would go unnoticed";

  const double before = status_bytes("RssAnon");
  PeakAnonymousMemory peak;
  const torch::NoGradGuard no_grad;
  const ClaraModel model(load_base_llm(folder.path(), torch::kBFloat16, torch::kCPU),
                         LoraSettings{}, kNumMemory, "noise", 1);
  const double opened = status_bytes("RssAnon");
  ASSERT_EQ(model.base().config().num_layers, num_layers);

  std::vector<std::int32_t> document;
  for (std::int32_t id = 0; id < kWrittenRows; ++id) document.push_back(id);
  for (std::int32_t j = 0; j < kNumMemory; ++j)
    document.push_back(static_cast<std::int32_t>(model.base().config().vocab_rows) + j);
  const CompressedDocuments compressed = model.compress(model.pack({&document}));
  const double most = peak.finish(), mapped = status_bytes("RssFile");

  // Blocks of zeros add nothing to the stream: a latent is the norm of its memory row.
  const Tensor memory = model.memory().memory_rows.to(torch::kBFloat16).to(torch::kFloat32);
  const Tensor expected =
      memory *
      (memory.square().mean(1, /*keepdim=*/true) + model.base().config().rms_norm_eps).rsqrt();
  EXPECT_EQ(compressed.latents_NMD.dtype(), torch::kBFloat16);
  EXPECT_TRUE(all_close(compressed.latents_NMD[0].to(torch::kFloat32), expected, 2e-2));
  EXPECT_GT(expected.abs().max().item<double>(), 0.5);

  EXPECT_LE(most, kAllowedAnonymousBytes);
  std::printf(
      "%d layers: checkpoint %.2f GB, mapped and read %.2f GB; anonymous memory %.3f GB before, "
      "%.3f GB with the model open, %.3f GB at most\n",
      static_cast<int>(num_layers), static_cast<double>(checkpoint_bytes) / 1e9, mapped / 1e9,
      before / 1e9, opened / 1e9, most / 1e9);
}

}  // namespace
}  // namespace clara::testing
