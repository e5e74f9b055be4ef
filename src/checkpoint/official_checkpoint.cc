// The official layout → adapters and added rows, and back; added tokens are matched by name.
#include "clara/checkpoint/official_checkpoint.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "checkpoint/lora_tensors.h"
#include "common/parse_json.h"
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"
#include "clara/common/torch_file.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kAdaptersFile = "adapters.pth";
constexpr const char* kRowsFile = "decoder_first_last_layers.pth";
constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";

const char* official_name(AdapterRole role) {
  switch (role) {
    case AdapterRole::kCompressor:
      return "encoder_adapter";
    case AdapterRole::kQueryReasoner:
      return "query_reasoner_adapter";
    case AdapterRole::kGenerator:
      return "decoder_adapter";
  }
  throw Error("unknown adapter role");
}

struct StageName {
  const char* official;
  const char* ours;
};
constexpr std::array<StageName, 4> kStages{
    {{"stage1", "scp"}, {"stage1_2", "tune"}, {"stage2", "joint"}, {"stage2_reasoning", "tune"}}};

/// config.json with errors that name the key.
class OfficialConfig {
 public:
  explicit OfficialConfig(const fs::path& folder) : path_(folder / "config.json") {
    if (!fs::exists(path_)) throw CheckpointError(path_.string() + ": not found");
    json_ = parse_json<Json>(read_file(path_));
    if (!json_.is_object())
      throw CheckpointError(path_.string() + ": expected a JSON object; the file is damaged");
  }

  [[noreturn]] void fail(const std::string& key, const std::string& what) const {
    throw CheckpointError(path_.string() + ": " + key + ": " + what);
  }

  std::string text(const char* key, const std::optional<std::string>& usual = {}) const {
    const Json* value = find(key, usual.has_value());
    if (value == nullptr) return *usual;
    if (!value->is_string()) fail(key, "expected a text, found " + value->dump());
    return value->get<std::string>();
  }
  std::int32_t count(const char* key, std::optional<std::int32_t> usual = {}) const {
    const Json* value = find(key, usual.has_value());
    if (value == nullptr) return *usual;
    constexpr std::int64_t kMost = 1 << 24;
    if (!value->is_number_integer() || *value < 1 || *value > kMost)
      fail(key,
           "expected a number from 1 to " + std::to_string(kMost) + ", found " + value->dump());
    return value->get<std::int32_t>();
  }
  bool flag(const char* key, bool usual) const {
    const Json* value = find(key, true);
    if (value == nullptr) return usual;
    if (!value->is_boolean()) fail(key, "expected true or false, found " + value->dump());
    return value->get<bool>();
  }

 private:
  /// Null where the key has no value and may be without one.
  const Json* find(const char* key, bool is_optional) const {
    const auto found = json_.find(key);
    if (found != json_.end() && !found->is_null()) return &*found;
    if (!is_optional) fail(key, "missing");
    return nullptr;
  }

  fs::path path_;
  Json json_;
};

bool shares_memory_row(const OfficialConfig& config) {
  return !config.flag("different_mem_tokens", false);
}

/// Where the added tokens stand among the rows of an official embedding.
struct OfficialVocabulary {
  std::vector<std::string> names;  ///< memory tokens, <AE>, <ENC>, <SEP>
  std::vector<std::int64_t> rows;  ///< of each name
  std::int64_t num_base_rows = 0;  ///< tokens of the base's tokenizer
  std::int64_t num_rows = 0;
};

OfficialVocabulary official_vocabulary(const Tokenizer& tokenizer, std::int64_t num_memory,
                                       bool shares_row) {
  OfficialVocabulary vocabulary;
  if (shares_row) vocabulary.names.emplace_back("<MEM>");
  for (std::int64_t j = 0; !shares_row && j < num_memory; ++j)
    vocabulary.names.push_back("<MEM" + std::to_string(j) + ">");
  for (const char* name : {"<AE>", "<ENC>", "<SEP>"}) vocabulary.names.emplace_back(name);
  vocabulary.num_base_rows = vocabulary.num_rows = tokenizer.size();
  for (const std::string& name : vocabulary.names) {
    const std::optional<TokenId> known = tokenizer.token_to_id(name);
    vocabulary.rows.push_back(known ? *known : vocabulary.num_rows++);
  }
  return vocabulary;
}

/// Embedding and head of a checkpoint, with where they were found.
struct OfficialRows {
  std::map<std::string, std::pair<std::string, TensorEntry>> tensors;  // name → place, entry

  void add(const std::string& place, const TensorEntry& entry, const std::string& name) {
    const auto [found, is_first] = tensors.try_emplace(name, place, entry);
    if (is_first) return;
    const auto& [first_place, first] = found->second;
    if (entry.dtype != first.dtype || entry.shape != first.shape ||
        !std::equal(entry.data, entry.data + entry.num_bytes, first.data)) {
      throw CheckpointError(place + "tensor " + entry.name + ": differs from that of " +
                            first_place.substr(0, first_place.size() - 2));
    }
  }
};

std::string without_peft_prefix(const std::string& name) {
  constexpr std::string_view kPrefix = "base_model.model.";
  return name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name;
}

/// The checkpoint's files, every tensor sorted into an adapter or the rows.
struct OfficialFiles {
  explicit OfficialFiles(const fs::path& folder) : adapters_file(folder / kAdaptersFile) {
    const std::string rows_path = (folder / kRowsFile).string();
    if (fs::exists(rows_path)) {
      rows_file.emplace(rows_path);
      if (rows_file->groups().size() != 1 || !rows_file->groups()[0].name.empty())
        throw CheckpointError(rows_path + ": expected a dict of tensors, found dicts in it");
      for (const TensorEntry& entry : rows_file->groups()[0].tensors) {
        const std::string name = without_peft_prefix(entry.name);
        if (name != kEmbedding && name != kHead)
          throw CheckpointError(rows_path + ": tensor " + entry.name + ": expected " + kEmbedding +
                                " and " + kHead + " alone");
        rows.add(rows_path + ": ", entry, name);
      }
    }
    const std::string path = adapters_file.path().string();
    for (const TorchFileGroup& group : adapters_file.groups()) {
      const AdapterRole* role = nullptr;
      for (const AdapterRole& candidate : kAdapterRoles) {
        if (group.name == official_name(candidate)) role = &candidate;
      }
      if (role == nullptr) {
        throw CheckpointError(path + ": " +
                              (group.name.empty() ? std::string("its tensors") : group.name) +
                              ": expected the adapters encoder_adapter, decoder_adapter and "
                              "query_reasoner_adapter alone");
      }
      LoraTensors& tensors = adapters[*role];
      tensors.place = path + ": " + group.name + ": ";
      tensors.mapping = adapters_file.mapping();
      for (const TensorEntry& entry : group.tensors) {
        const std::string name = without_peft_prefix(entry.name);
        if (name == kEmbedding || name == kHead) {
          rows.add(tensors.place, entry, name);
        } else {
          tensors.tensors.push_back(entry);
        }
      }
    }
    for (const AdapterRole role : {AdapterRole::kCompressor, AdapterRole::kGenerator}) {
      if (!adapters.contains(role))
        throw CheckpointError(path + ": " + official_name(role) + ": missing");
    }
    if (!rows.tensors.contains(kEmbedding)) {
      throw CheckpointError(rows_path + ": " +
                            (rows_file
                                 ? std::string("tensor ") + kEmbedding + ": missing"
                                 : "not found, and no adapter carries " + std::string(kEmbedding)));
    }
  }

  LoraAdapter adapter(AdapterRole role, const LoraSettings& settings, const BaseConfig& base,
                      torch::Device device) const {
    auto found = adapters.find(role);
    // As that code does: a query reasoner that was never trained starts from the compressor.
    if (found == adapters.end()) found = adapters.find(AdapterRole::kCompressor);
    return adapter_from_tensors(found->second, base, settings, std::vector<std::string>{}, device);
  }

  TorchFile adapters_file;
  std::optional<TorchFile> rows_file;
  std::map<AdapterRole, LoraTensors> adapters;
  OfficialRows rows;
};

/// Checks one of the two matrices and returns its added rows, float32 [names, D].
torch::Tensor added_rows(const OfficialFiles& files, const char* name,
                         const OfficialVocabulary& vocabulary, const torch::Tensor& base_rows) {
  const auto& [place, entry] = files.rows.tensors.at(name);
  const auto fail = [&, &where = place](const std::string& what) {
    return CheckpointError(where + "tensor " + name + ": " + what);
  };
  const std::vector<std::int64_t> expected = {vocabulary.num_rows, base_rows.size(1)};
  if (entry.shape != expected) {
    throw fail("expected " + shape_string(expected) + " (" +
               std::to_string(vocabulary.num_base_rows) + " tokens of the base's tokenizer and " +
               std::to_string(vocabulary.num_rows - vocabulary.num_base_rows) +
               " added ones), found " + shape_string(entry.shape) +
               "; another base model or number of memory tokens");
  }
  // `files` keeps the mapped bytes alive.
  const torch::Tensor rows = map_tensor(entry, nullptr);
  if (!rows.is_floating_point())
    throw fail("expected float32, bfloat16 or float16, found " +
               std::string(dtype_name(entry.dtype)));
  // Either side may have been rounded to a shorter type before.
  const auto is_either = [&](torch::Dtype dtype) {
    return rows.scalar_type() == dtype || base_rows.scalar_type() == dtype;
  };
  const torch::Dtype common = is_either(torch::kBFloat16)  ? torch::kBFloat16
                              : is_either(torch::kFloat16) ? torch::kFloat16
                                                           : rows.scalar_type();
  // In blocks: the embedding of a large model is not to be converted as a whole.
  constexpr std::int64_t kBlock = 4096;
  std::vector<bool> is_added(static_cast<std::size_t>(vocabulary.num_rows), false);
  for (const std::int64_t row : vocabulary.rows) is_added[static_cast<std::size_t>(row)] = true;
  const std::int64_t num_shared = std::min(vocabulary.num_base_rows, base_rows.size(0));
  for (std::int64_t begin = 0; begin < num_shared; begin += kBlock) {
    const std::int64_t size = std::min(kBlock, num_shared - begin);
    const torch::Tensor ours = base_rows.narrow(0, begin, size).to(torch::kCPU, common);
    const torch::Tensor theirs = rows.narrow(0, begin, size).to(common);
    if (torch::equal(ours, theirs)) continue;
    const torch::Tensor differs = ours.ne(theirs).any(1);
    for (std::int64_t i = 0; i < size; ++i) {
      if (differs[i].item<bool>() && !is_added[static_cast<std::size_t>(begin + i)])
        throw fail("row " + std::to_string(begin + i) +
                   " differs from that of the base model; the checkpoint was trained on another "
                   "base (give its folder with --base, model.base)");
    }
  }
  return rows.index_select(0, torch::tensor(vocabulary.rows, torch::kInt64)).to(torch::kFloat32);
}

}  // namespace

bool is_official_checkpoint(const fs::path& folder) { return fs::exists(folder / kAdaptersFile); }

ModelDescription read_official_description(const fs::path& folder) {
  const OfficialConfig config(folder);
  if (!config.flag("lora", false)) config.fail("lora", "expected true: only adapters are read");
  if (const std::string quantization = config.text("quantization", "no"); quantization != "no")
    config.fail("quantization",
                "expected no, found " + quantization + "; quantised base models are not supported");
  if (config.flag("kbtc_training", false))
    config.fail("kbtc_training", "the token <KBTC> is not supported");
  ModelDescription d;
  d.base = config.text("decoder_model_name");
  const std::string stage = config.text("training_stage", "stage1");
  for (const StageName& known : kStages) {
    if (stage == known.official) d.stage = known.ours;
  }
  if (d.stage.empty())
    config.fail("training_stage",
                "expected stage1, stage1_2, stage2 or stage2_reasoning, found " + stage);
  d.doc_max_tokens = config.count("doc_max_length");
  d.compression_rate = config.count("compr_rate");
  d.num_memory_tokens = d.doc_max_tokens / d.compression_rate;
  if (d.num_memory_tokens < 1)
    config.fail("compr_rate",
                "expected at most doc_max_length = " + std::to_string(d.doc_max_tokens) +
                    ", found " + std::to_string(d.compression_rate));
  d.num_selected = config.count("generation_top_k", 1);
  if (!config.flag("sep", false) && d.num_selected > 1) {
    config.fail("sep",
                "false is supported with one document in the prompt (generation_top_k: 1) alone: "
                "with several, that code lays their latents over the separators it put between "
                "them");
  }
  d.document_format = "ml_clara";
  d.lora.rank = config.count("lora_r", 16);
  d.lora.alpha = 2.0 * static_cast<double>(d.lora.rank);
  d.lora.dropout = 0.1;
  return d;
}

void load_official_checkpoint(const fs::path& folder, const Tokenizer& tokenizer,
                              ClaraModel& model) {
  const torch::NoGradGuard no_grad;
  const ModelDescription description = read_official_description(folder);
  const bool shares_row = shares_memory_row(OfficialConfig(folder));
  const OfficialFiles files(folder);
  const BaseLlm& base = model.base();
  const OfficialVocabulary vocabulary =
      official_vocabulary(tokenizer, description.num_memory_tokens, shares_row);
  const torch::Device device = model.device();
  const torch::Tensor embedding =
      added_rows(files, kEmbedding, vocabulary, base.weights().embedding).to(device);
  torch::Tensor head;
  if (files.rows.tensors.contains(kHead)) {
    head = added_rows(files, kHead, vocabulary, base.weights().head).to(device);
  } else if (!base.config().tie_word_embeddings) {
    throw CheckpointError((folder / kRowsFile).string() + ": tensor " + kHead +
                          ": missing (the base model's head is not tied to its embedding)");
  }
  if (base.config().tie_word_embeddings && head.defined() && !torch::equal(head, embedding)) {
    throw CheckpointError((folder / kRowsFile).string() + ": tensor " + kHead +
                          ": expected the rows of the embedding, which the base model's head is "
                          "tied to, found others");
  }
  for (AdapterRole role : kAdapterRoles)
    model.adapter(role) = files.adapter(role, description.lora, base.config(), device);
  MemoryTokens& memory = model.memory();
  if (shares_row) share_memory_row(memory, description.num_memory_tokens);
  const std::int64_t num_rows = memory.memory_rows.size(0);
  if (num_rows + 3 != embedding.size(0)) {
    throw CheckpointError(folder.string() + ": expected " + std::to_string(num_rows) +
                          " memory tokens, as the model has, found " +
                          std::to_string(embedding.size(0) - 3));
  }
  memory.memory_rows.copy_(embedding.narrow(0, 0, num_rows));
  memory.fixed_rows.copy_(embedding.narrow(0, num_rows, 3));
  if (memory.head_rows.defined()) memory.head_rows.copy_(head);
}

LoraAdapter read_official_adapter(const fs::path& folder, AdapterRole role, const BaseConfig& base,
                                  torch::Device device) {
  return OfficialFiles(folder).adapter(role, read_official_description(folder).lora, base, device);
}

void save_official_checkpoint(const fs::path& folder, const ClaraModel& model,
                              const ModelDescription& description, const Tokenizer& tokenizer) {
  const torch::NoGradGuard no_grad;
  const BaseConfig& base = model.base().config();
  const std::int64_t rank = model.adapter(AdapterRole::kCompressor).settings().rank;
  std::vector<torch::Tensor> alive;
  const auto entry_of = [&alive](const std::string& name, const torch::Tensor& tensor) {
    alive.push_back(tensor.to(torch::kCPU, torch::kFloat32).contiguous());
    const torch::Tensor& t = alive.back();
    return TensorEntry{name, TensorDtype::kF32, t.sizes().vec(),
                       static_cast<const std::byte*>(t.const_data_ptr()), t.nbytes()};
  };
  std::vector<TorchFileGroup> adapters;
  for (AdapterRole role : kAdapterRoles) {
    const LoraAdapter& adapter = model.adapter(role);
    const LoraSettings all{adapter.settings().rank, 1, 0, {}};
    if (adapter.settings().rank != rank ||
        adapter.num_parameters() != count_lora_parameters(base, all)) {
      throw CheckpointError(
          adapter_name(role) +
          ": the official layout has one rank for the three adapters, on all linear layers; found "
          "rank " +
          std::to_string(adapter.settings().rank) + " beside rank " + std::to_string(rank) +
          ", or layers without an adapter");
    }
    // That code always scales by alpha / rank = 2.
    const double factor = adapter.scale() / 2.0;
    TorchFileGroup group{official_name(role), {}};
    for (const NamedTensor& named : adapter.named_tensors()) {
      const bool is_b = named.name.ends_with("lora_B.weight");
      group.tensors.push_back(entry_of(without_peft_prefix(named.name), is_b && factor != 1.0
                                                                            ? named.tensor * factor
                                                                            : named.tensor));
    }
    adapters.push_back(std::move(group));
  }

  const MemoryTokens& memory = model.memory();
  const bool shares_row = memory.num_sharing > 0;
  const OfficialVocabulary vocabulary =
      official_vocabulary(tokenizer, memory.num_memory(), shares_row);
  const torch::Tensor places = torch::tensor(vocabulary.rows, torch::kInt64);
  const auto with_added = [&](const torch::Tensor& base_rows, const torch::Tensor& added) {
    torch::Tensor rows = torch::empty({vocabulary.num_rows, base.hidden_size});
    rows.narrow(0, 0, vocabulary.num_base_rows)
        .copy_(base_rows.narrow(0, 0, vocabulary.num_base_rows));
    return rows.index_copy_(0, places, added.to(torch::kCPU, torch::kFloat32));
  };
  TorchFileGroup rows;
  rows.tensors.push_back(
      entry_of(kEmbedding, with_added(model.base().weights().embedding,
                                      torch::cat({memory.memory_rows, memory.fixed_rows}))));
  if (memory.head_rows.defined())
    rows.tensors.push_back(
        entry_of(kHead, with_added(model.base().weights().head, memory.head_rows)));

  std::string stage = "stage2";  // the retriever baseline trains what that stage trains
  for (const StageName& known : kStages) {
    if (description.stage == known.ours) {
      stage = known.official;
      break;
    }
  }
  const Json config = {
      {"model_type", "CLaRa"},
      {"architectures", {"CLaRa"}},
      {"auto_map",
       {{"AutoConfig", "modeling_clara.CLaRaConfig"}, {"AutoModel", "modeling_clara.CLaRa"}}},
      {"decoder_model_name", description.base},
      {"doc_max_length", description.doc_max_tokens},
      {"compr_rate", description.compression_rate},
      {"compr_model_name", nullptr},
      {"compr_use_mlp", false},
      {"quantization", "no"},
      {"sep", true},
      {"lora", true},
      {"lora_r", rank},
      {"lora_compressor", false},
      {"load_adapters", true},
      {"kbtc_training", false},
      {"optimize_mem_tokens", true},
      {"different_mem_tokens", !shares_row},
      {"training_form", "both_separately"},
      {"training_stage", stage},
      {"generation_top_k", description.num_selected},
  };
  write_torch_file(folder / kAdaptersFile, adapters);
  write_torch_file(folder / kRowsFile, {rows});
  write_file_atomically(folder / "config.json", config.dump(2) + "\n");
}

}  // namespace clara
