// Batches of passages of like length, shared among the devices.
#include "clara/eval/latent_encoder.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "common/device_copy.h"
#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/eval/eval_settings.h"
#include "clara/eval/opened_prompts.h"
#include "clara/eval/question_reader.h"
#include "clara/latents/document_latents.h"
#include "clara/retrieval/index_folder.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

constexpr double kLeastNorm = 1e-8;  // of torch::cosine_similarity, which cosine_scores computes

std::vector<OpenedModel> open_models(const LatentEncoderSettings& settings) {
  if (settings.num_devices < 1) {
    throw ConfigError("num_devices: expected at least 1, found " +
                      std::to_string(settings.num_devices));
  }
  const torch::Device first = resolve_device(settings.device, settings.first_device);
  if (first.is_cpu() && settings.num_devices > 1) {
    throw ConfigError("num_devices: expected 1 on the CPU, which uses --threads, found " +
                      std::to_string(settings.num_devices));
  }
  const auto num_present = static_cast<std::int64_t>(torch::cuda::device_count());
  if (!first.is_cpu() && settings.first_device + settings.num_devices > num_present) {
    throw ConfigError("num_devices: expected at most the " + std::to_string(num_present) +
                      " CUDA devices that are visible, found " +
                      std::to_string(settings.first_device + settings.num_devices));
  }
  std::vector<OpenedModel> models;
  for (std::int64_t i = 0; i < settings.num_devices; ++i) {
    const torch::Device device = resolve_device(settings.device, settings.first_device + i);
    models.push_back(open_checkpoint_on(model_folder_of(settings.checkpoint), settings.base,
                                        settings.dtype, device));
  }
  return models;
}

Hash128 hash_tokenizer(const fs::path& base) {
  const fs::path json = base / "tokenizer.json";
  return hash_file(fs::exists(json) ? json : base / "tokenizer.model");
}

const char* dtype_name_of(const ClaraModel& model) {
  return model.base().dtype() == torch::kBFloat16 ? "bfloat16" : "float32";
}

/// latents [N, M, D] of a device → [N, M·D] float32 of length 1 on the host.
Tensor unit_vectors(const Tensor& latents) {
  const Tensor flat = latents.flatten(1).to(torch::kFloat32);
  return read_on_host(flat / flat.norm(2, 1, /*keepdim=*/true).clamp_min(kLeastNorm));
}

std::vector<const TokenIds*> pointers_to(const std::vector<TokenIds>& documents) {
  std::vector<const TokenIds*> pointers;
  for (const TokenIds& document : documents) pointers.push_back(&document);
  return pointers;
}

/// task(i, has_failed) for i below `count`, each on a thread of its own; the first exception is
/// thrown on, and has_failed tells the others to end.
template <typename Task>
void on_threads(std::size_t count, const Task& task) {
  std::atomic<bool> has_failed{false};
  if (count == 1) return task(std::size_t{0}, has_failed);
  std::exception_ptr failure;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      try {
        task(i, has_failed);
      } catch (...) {
        has_failed = true;
        const std::lock_guard<std::mutex> lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

fs::path model_folder_of(const fs::path& folder) {
  const bool is_run = !fs::exists(folder / "clara.json") && fs::is_directory(folder / "final");
  return is_run ? folder / "final" : folder;
}

LatentEncoder::LatentEncoder(const LatentEncoderSettings& settings)
    : LatentEncoder(open_models(settings),
                    find_base_folder(describe_model_folder(model_folder_of(settings.checkpoint)),
                                     model_folder_of(settings.checkpoint), settings.base),
                    settings) {}

LatentEncoder::LatentEncoder(std::vector<OpenedModel> models, const fs::path& base,
                             const LatentEncoderSettings& settings)
    : models_(std::move(models)),
      base_(base),
      settings_(settings),
      prompts_(make_prompt_builder(models_.at(0), /*num_selected=*/1, /*seed=*/0)) {
  if (settings.max_batch_tokens < 1) {
    throw ConfigError("max_batch_tokens: expected at least 1, found " +
                      std::to_string(settings.max_batch_tokens));
  }
  const TextSide& text = models_.front().text;
  ContentHasher hasher;
  hasher.add_field("clara latent vectors 1")
      .add_hash(compressor_fingerprint(*models_.front().model))
      .add_hash(hash_tokenizer(base))
      .add_number(static_cast<std::uint64_t>(description().doc_max_tokens))
      .add_number(static_cast<std::uint64_t>(text.bos_id))
      .add_number(static_cast<std::uint64_t>(text.eos_id));
  fingerprint_ = hasher.digest();
}

std::int64_t LatentEncoder::dimension() const {
  const ClaraModel& model = *models_.front().model;
  return model.num_memory() * model.base().config().hidden_size;
}

bool LatentEncoder::has_query_reasoner() const {
  return question_reader(description()) == AdapterRole::kQueryReasoner;
}

EncoderDescription LatentEncoder::describe() const {
  return {kLatentKind,
          "checkpoint",
          {{"checkpoint",
            fs::absolute(model_folder_of(settings_.checkpoint)).lexically_normal().string()},
           {"base", fs::absolute(base_).lexically_normal().string()},
           {"stage", description().stage},
           {"dtype", dtype_name_of(*models_.front().model)}},
          {{"step", static_cast<double>(description().step)},
           {"doc_max_tokens", static_cast<double>(description().doc_max_tokens)},
           {"compression_rate", static_cast<double>(description().compression_rate)},
           {"num_memory_tokens", static_cast<double>(description().num_memory_tokens)}}};
}

std::vector<TokenIds> LatentEncoder::encoder_ids(const std::vector<std::string>& texts,
                                                 std::atomic<std::int64_t>& num_cut) const {
  std::vector<TokenIds> ids(texts.size());
  at::parallel_for(0, std::ssize(texts), 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto place = static_cast<std::size_t>(i);
      bool was_cut = false;
      ids[place] = prompts_.encoder_ids(texts[place], &was_cut);
      if (was_cut) ++num_cut;
    }
  });
  return ids;
}

Tensor LatentEncoder::encode_passages(const std::vector<std::string>& passages,
                                      const std::function<void(std::int64_t)>& on_progress) const {
  const std::vector<TokenIds> documents = encoder_ids(passages, num_cut_passages_);
  const std::vector<const TokenIds*> pointers = pointers_to(documents);
  const auto batches = batches_by_length(pointers, settings_.max_batch_tokens);
  Tensor out = torch::empty({std::ssize(passages), dimension()});
  std::atomic<std::size_t> next{0};
  std::mutex mutex;  // of `out`, `done` and `on_progress`
  std::int64_t done = 0;
  on_threads(std::min(models_.size(), std::max<std::size_t>(1, batches.size())),
             [&](std::size_t device, const std::atomic<bool>& has_failed) {
               const torch::NoGradGuard no_grad;
               for (std::size_t b = next++; b < batches.size() && !has_failed; b = next++) {
                 std::vector<const TokenIds*> chosen;
                 std::vector<std::int64_t> places;
                 for (const std::size_t place : batches[b]) {
                   chosen.push_back(pointers[place]);
                   places.push_back(static_cast<std::int64_t>(place));
                 }
                 const Tensor vectors = unit_vectors(models_[device].model->encode(
                     AdapterRole::kCompressor, models_[device].model->pack(chosen)));
                 check_finite(vectors, "passage", [&](std::size_t row) -> const std::string& {
                   return passages[batches[b][row]];
                 });
                 const std::lock_guard<std::mutex> lock(mutex);
                 out.index_copy_(0, torch::tensor(places, torch::kInt64), vectors);
                 done += std::ssize(places);
                 if (on_progress) on_progress(done);
               }
             });
  return out;
}

Tensor LatentEncoder::encode_queries(const std::vector<std::string>& queries) const {
  const torch::NoGradGuard no_grad;
  if (queries.empty()) return torch::empty({0, dimension()});
  std::atomic<std::int64_t> num_cut{0};
  const std::vector<TokenIds> ids = encoder_ids(queries, num_cut);
  Tensor vectors =
      unit_vectors(encode_documents(*models_.front().model, question_reader(description()),
                                    pointers_to(ids), settings_.max_batch_tokens));
  check_finite(vectors, "question",
               [&](std::size_t row) -> const std::string& { return queries[row]; });
  return vectors;
}

std::unique_ptr<const LatentEncoder> open_latent_encoder(const fs::path& index_folder,
                                                         LatentEncoderSettings settings) {
  // The files' checksums are compared when the index is opened for the search.
  const IndexManifest manifest =
      open_index_folder(index_folder, kLatentKind, /*verifies_content=*/false);
  const auto name = [&](const char* key) {
    const auto found = manifest.names.find(key);
    if (found != manifest.names.end()) return found->second;
    throw DataError((index_folder / kIndexManifestName).string() + ": expected " + key +
                    ", found nothing; build the index again");
  };
  if (settings.checkpoint.empty()) {
    settings.checkpoint = name("checkpoint");
    if (settings.base.empty() && fs::is_directory(name("base"))) settings.base = name("base");
    if (!fs::exists(settings.checkpoint)) {
      throw DataError(settings.checkpoint.string() + ": expected the checkpoint that " +
                      index_folder.string() +
                      " was built with, found nothing; --checkpoint names where it is");
    }
  }
  const std::string dtype = name("dtype");
  const Dtype built = dtype == "bfloat16" ? Dtype::kBfloat16 : Dtype::kFloat32;
  if (settings.dtype != Dtype::kAuto && settings.dtype != built) {
    throw ConfigError("dtype: expected " + dtype + ", in which the vectors of " +
                      index_folder.string() +
                      " were computed, found another one; leave it out, or build the index again");
  }
  settings.dtype = built;
  return std::make_unique<const LatentEncoder>(settings);
}

}  // namespace clara
