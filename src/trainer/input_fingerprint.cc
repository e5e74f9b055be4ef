// Hashes of inputs; large weights are sampled, since hashing 14 GB would delay every start.
#include "trainer/input_fingerprint.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "clara/common/content_hash.h"
#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kSampleBytes = 4096;
constexpr std::uint64_t kNumSamples = 256;

/// Size, first and last piece, and pieces spread evenly between them.
std::string fingerprint_weights(const fs::path& path) {
  std::error_code error;
  const std::uint64_t size = fs::file_size(path, error);
  std::ifstream in(path, std::ios::binary);
  if (error || !in) throw DataError(path.string() + ": cannot be read");
  ContentHasher hasher;
  std::string piece;
  const std::uint64_t stride = std::max(kSampleBytes, size / kNumSamples);
  const auto add_piece = [&](std::uint64_t offset) {
    piece.resize(std::min(kSampleBytes, size - offset));
    in.seekg(static_cast<std::streamoff>(offset));
    if (!in.read(piece.data(), static_cast<std::streamsize>(piece.size())))
      throw DataError(path.string() + ": cannot be read at byte " + std::to_string(offset));
    hasher.update(piece);
  };
  for (std::uint64_t offset = 0; offset < size; offset += stride) add_piece(offset);
  if (size > kSampleBytes) add_piece(size - kSampleBytes);
  return std::to_string(size) + " bytes, sampled xxh3 " + hasher.digest().hex();
}

void add_rows(std::map<std::string, std::string>& inputs, const std::string& key,
              const RowSource& rows) {
  for (std::size_t i = 0; i < rows.sources().size(); ++i) {
    const SourceRows& source = rows.sources()[i];
    inputs["file of " + key + "." + std::to_string(i)] =
        std::to_string(source.num_rows) + " rows, xxh3 " + source.content.hex();
  }
}

}  // namespace

std::map<std::string, std::string> fingerprint_inputs(const RunConfig& config,
                                                      const RowSource& train,
                                                      const RowSource* validation) {
  std::map<std::string, std::string> inputs;
  add_rows(inputs, "data.train", train);
  if (validation != nullptr) add_rows(inputs, "data.validation", *validation);
  for (const auto& entry : fs::directory_iterator(config.model.base)) {
    const std::string name = entry.path().filename().string();
    const std::string key = "file of model.base/" + name;
    if (name.ends_with(".safetensors")) {
      inputs[key] = fingerprint_weights(entry.path());
    } else if (name == "config.json" || name == "tokenizer.json") {
      inputs[key] = "xxh3 " + hash_file(entry.path()).hex();
    }
  }
  return inputs;
}

}  // namespace clara
