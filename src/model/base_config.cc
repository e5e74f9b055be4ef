// Reads config.json of the supported families; whatever would change the result and is not
// supported is refused by name.
#include "clara/model/base_config.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using Json = nlohmann::json;

/// What distinguishes one family from Llama.
struct Family {
  const char* model_type;
  bool qkv_bias;  // biases of q, k, v unless config.json says otherwise
  bool qk_norm;
};

constexpr Family kFamilies[] = {
    {"llama", false, false},
    {"mistral", false, false},
    {"qwen2", true, false},
    {"qwen3", false, true},
};

/// Values of config.json, with errors that name file and key.
class ConfigReader {
 public:
  ConfigReader(Json json, std::string file) : json_(std::move(json)), file_(std::move(file)) {}

  [[noreturn]] void fail(const std::string& key, const std::string& message) const {
    throw DataError(file_ + ": " + key + ": " + message);
  }

  const Json* find(const std::string& key) const {
    auto it = json_.find(key);
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }

  std::int64_t positive_integer(const std::string& key,
                                std::optional<std::int64_t> fallback = {}) const {
    const Json* value = find(key);
    if (value == nullptr) {
      if (fallback) return *fallback;
      fail(key, "expected a positive integer, found nothing");
    }
    if (!value->is_number_integer() || value->get<std::int64_t>() <= 0) {
      fail(key, "expected a positive integer, found " + value->dump());
    }
    return value->get<std::int64_t>();
  }

  double number(const std::string& key, std::optional<double> fallback = {}) const {
    const Json* value = find(key);
    if (value == nullptr) {
      if (fallback) return *fallback;
      fail(key, "expected a number, found nothing");
    }
    if (!value->is_number()) fail(key, "expected a number, found " + value->dump());
    return value->get<double>();
  }

  bool boolean(const std::string& key, bool fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) fail(key, "expected true or false, found " + value->dump());
    return value->get<bool>();
  }

  std::string text(const std::string& key, const std::string& fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string()) fail(key, "expected a string, found " + value->dump());
    return value->get<std::string>();
  }

  std::optional<ConfigReader> section(const std::string& key) const {
    const Json* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_object()) fail(key, "expected an object, found " + value->dump());
    return ConfigReader(*value, file_ + ": " + key);
  }

  void add_token_ids(const std::string& key, std::vector<std::int32_t>& ids) const {
    const Json* value = find(key);
    if (value == nullptr) return;
    const Json list = value->is_array() ? *value : Json::array({*value});
    for (const Json& id : list) {
      if (!id.is_number_integer() || id.get<std::int64_t>() < 0 ||
          id.get<std::int64_t>() > INT32_MAX) {
        fail(key, "expected a token id or a list of them, found " + value->dump());
      }
      if (std::find(ids.begin(), ids.end(), id.get<std::int32_t>()) == ids.end()) {
        ids.push_back(id.get<std::int32_t>());
      }
    }
  }

 private:
  Json json_;
  std::string file_;
};

ConfigReader open_json(const std::filesystem::path& path) {
  Json json = Json::parse(read_file(path), nullptr, false);
  if (!json.is_object())
    throw DataError(path.string() + ": expected a JSON object; the file is damaged or is not JSON");
  return {std::move(json), path.string()};
}

RopeConfig read_rope(const ConfigReader& config) {
  RopeConfig rope;
  rope.theta = config.number("rope_theta", 10000.0);
  std::optional<ConfigReader> scaling = config.section("rope_scaling");
  if (!scaling) scaling = config.section("rope_parameters");
  if (!scaling) return rope;
  rope.theta = scaling->number("rope_theta", rope.theta);
  const std::string kind = scaling->text("rope_type", scaling->text("type", "default"));
  if (kind == "default") return rope;
  if (kind == "linear" || kind == "llama3") {
    rope.factor = scaling->number("factor");
    if (!(rope.factor >= 1))
      scaling->fail("factor", "expected at least 1, found " + std::to_string(rope.factor));
  }
  if (kind == "linear") {
    rope.kind = RopeConfig::Kind::kLinear;
  } else if (kind == "llama3") {
    rope.kind = RopeConfig::Kind::kLlama3;
    rope.low_freq_factor = scaling->number("low_freq_factor");
    rope.high_freq_factor = scaling->number("high_freq_factor");
    rope.original_max_positions = scaling->number("original_max_position_embeddings");
    if (!(rope.high_freq_factor > rope.low_freq_factor)) {
      scaling->fail("high_freq_factor", "expected more than low_freq_factor");
    }
  } else {
    scaling->fail("rope_type",
                  "\"" + kind + "\" is not supported (supported: default, linear, llama3)");
  }
  return rope;
}

void refuse_unsupported(const ConfigReader& config, const BaseConfig& base) {
  const std::string activation = config.text("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") {
    config.fail("hidden_act", "\"" + activation + "\" is not supported (supported: silu)");
  }
  if (config.find("quantization_config") != nullptr) {
    config.fail("quantization_config",
                "quantised bases are not supported; use the float32, bfloat16 or float16 weights");
  }
  for (const char* key :
       {"attn_logit_softcapping", "final_logit_softcapping", "num_local_experts", "num_experts"}) {
    if (config.find(key) != nullptr)
      config.fail(key, "is not supported (it changes what the model computes)");
  }
  if (const double partial = config.number("partial_rotary_factor", 1.0); partial != 1.0) {
    config.fail("partial_rotary_factor", "only 1 is supported, found " + std::to_string(partial));
  }
  const bool window_in_use = config.boolean("use_sliding_window", base.model_type == "mistral");
  if (window_in_use && config.find("sliding_window") != nullptr) {
    const std::int64_t window = config.positive_integer("sliding_window");
    if (window < base.max_positions) {
      config.fail("sliding_window", "a window of " + std::to_string(window) +
                                        " tokens is not supported; set it to null if "
                                        "trainer.max_sequence_tokens stays below it");
    }
  }
}

}  // namespace

std::vector<ProjectionSpec> BaseConfig::projections() const {
  const std::int64_t q = num_heads * head_dim, kv = num_kv_heads * head_dim;
  return {
      {"self_attn.q_proj", hidden_size, q, qkv_bias},
      {"self_attn.k_proj", hidden_size, kv, qkv_bias},
      {"self_attn.v_proj", hidden_size, kv, qkv_bias},
      {"self_attn.o_proj", q, hidden_size, output_bias},
      {"mlp.gate_proj", hidden_size, intermediate_size, mlp_bias},
      {"mlp.up_proj", hidden_size, intermediate_size, mlp_bias},
      {"mlp.down_proj", intermediate_size, hidden_size, mlp_bias},
  };
}

std::int64_t BaseConfig::num_matrix_parameters() const {
  std::int64_t total = 0;
  for (const ProjectionSpec& p : projections()) total += p.in_features * p.out_features;
  return total * num_layers;
}

std::int64_t BaseConfig::num_parameters() const {
  std::int64_t per_layer = 2 * hidden_size + (qk_norm ? 2 * head_dim : 0);
  for (const ProjectionSpec& p : projections()) per_layer += p.bias ? p.out_features : 0;
  return num_matrix_parameters() + num_layers * per_layer + hidden_size +
         vocab_rows * hidden_size * (tie_word_embeddings ? 1 : 2);
}

BaseConfig load_base_config(const std::filesystem::path& folder) {
  if (!std::filesystem::is_directory(folder)) {
    throw DataError(folder.string() +
                    ": expected a folder with a Hugging Face model (config.json, *.safetensors, "
                    "tokenizer files)");
  }
  const ConfigReader config = open_json(folder / "config.json");
  BaseConfig base;
  base.model_type = config.text("model_type", "");
  const Family* family = nullptr;
  std::string known;
  for (const Family& candidate : kFamilies) {
    if (base.model_type == candidate.model_type) family = &candidate;
    known += (known.empty() ? "" : ", ") + std::string(candidate.model_type);
  }
  if (family == nullptr) {
    config.fail("model_type",
                "\"" + base.model_type + "\" is not supported (supported: " + known + ")");
  }
  base.hidden_size = config.positive_integer("hidden_size");
  base.intermediate_size = config.positive_integer("intermediate_size");
  base.num_layers = config.positive_integer("num_hidden_layers");
  base.num_heads = config.positive_integer("num_attention_heads");
  base.num_kv_heads = config.positive_integer("num_key_value_heads", base.num_heads);
  base.vocab_rows = config.positive_integer("vocab_size");
  base.max_positions = config.positive_integer("max_position_embeddings");
  base.rms_norm_eps = config.number("rms_norm_eps");
  base.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  if (base.num_heads % base.num_kv_heads != 0) {
    config.fail("num_key_value_heads", "expected a divisor of num_attention_heads (" +
                                           std::to_string(base.num_heads) + "), found " +
                                           std::to_string(base.num_kv_heads));
  }
  if (config.find("head_dim") == nullptr && base.hidden_size % base.num_heads != 0) {
    config.fail("num_attention_heads", "expected a divisor of hidden_size (" +
                                           std::to_string(base.hidden_size) +
                                           ") or an explicit head_dim");
  }
  base.head_dim = config.positive_integer("head_dim", base.hidden_size / base.num_heads);
  if (base.head_dim % 2 != 0)
    config.fail("head_dim", "expected an even number, found " + std::to_string(base.head_dim));
  const bool attention_bias = config.boolean("attention_bias", false);
  base.qkv_bias = family->qkv_bias || attention_bias;
  base.output_bias = attention_bias && !family->qkv_bias;
  base.mlp_bias = config.boolean("mlp_bias", false);
  base.qk_norm = family->qk_norm;
  base.rope = read_rope(config);
  refuse_unsupported(config, base);
  config.add_token_ids("eos_token_id", base.end_ids);
  if (std::filesystem::exists(folder / "generation_config.json")) {
    open_json(folder / "generation_config.json").add_token_ids("eos_token_id", base.end_ids);
  }
  return base;
}

}  // namespace clara
