// Reads config.json of the supported families; whatever would change the result and is not
// supported is refused by name.
#include "clara/model/base_config.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using Json = nlohmann::json;

/// Which linear layers have a bias.
enum class Biases {
  kNone,
  kFromConfig,  // q, k, v, o: attention_bias; gate, up, down: mlp_bias
  kQkv,
};

/// When config.json's sliding_window is in use.
enum class Window {
  kWhereSaid,  // use_sliding_window is true, or layer_types has a sliding_attention
  kWhereGiven,
};

/// A family: how its blocks differ from each other's. All are RMSNorm, rotary attention and SwiGLU.
struct Family {
  const char* model_type;
  bool fused_projections;  // qkv_proj and gate_up_proj instead of q, k, v and gate, up
  Biases biases;
  bool qk_norm;
  bool partial_rotary;  // reads partial_rotary_factor
  Window window;
  std::int64_t default_window;  // where config.json has no sliding_window; 0: none
};

constexpr Family kFamilies[] = {
    {"llama", false, Biases::kFromConfig, false, false, Window::kWhereSaid, 0},
    {"mistral", false, Biases::kNone, false, false, Window::kWhereGiven, 4096},
    {"qwen2", false, Biases::kQkv, false, false, Window::kWhereSaid, 4096},
    {"qwen3", false, Biases::kFromConfig, true, false, Window::kWhereSaid, 4096},
    {"phi3", true, Biases::kNone, false, true, Window::kWhereGiven, 0},
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

  /// The key is there, be it null.
  bool has(const std::string& key) const { return json_.contains(key); }
  bool equals(const ConfigReader& other) const { return json_ == other.json_; }

  std::int64_t positive_integer(const std::string& key,
                                std::optional<std::int64_t> fallback = {}) const {
    const Json* value = find(key);
    if (value == nullptr) {
      if (fallback) return *fallback;
      fail(key, "expected a positive integer, found nothing");
    }
    const auto number = whole_number<std::int64_t>(*value);
    if (!number || *number <= 0) fail(key, "expected a positive integer, found " + value->dump());
    return *number;
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

  std::vector<double> positive_numbers(const std::string& key, std::int64_t count) const {
    const Json* value = find(key);
    const std::string expected = "expected a list of " + std::to_string(count) +
                                 " positive numbers (half the rotary dimensions of a head)";
    if (value == nullptr) fail(key, expected + ", found nothing");
    if (!value->is_array()) fail(key, expected + ", found " + value->dump());
    if (static_cast<std::int64_t>(value->size()) != count)
      fail(key, expected + ", found " + std::to_string(value->size()) + " values");
    std::vector<double> numbers;
    for (const Json& number : *value) {
      if (!number.is_number() || !(number.get<double>() > 0))
        fail(key, expected + ", found " + number.dump() + " among them");
      numbers.push_back(number.get<double>());
    }
    return numbers;
  }

  std::vector<std::string> texts(const std::string& key) const {
    const Json* value = find(key);
    std::vector<std::string> list;
    if (value == nullptr) return list;
    if (!value->is_array()) fail(key, "expected a list of strings, found " + value->dump());
    for (const Json& text : *value) {
      if (!text.is_string()) fail(key, "expected a list of strings, found " + value->dump());
      list.push_back(text.get<std::string>());
    }
    return list;
  }

  /// The first key whose value is an object; empty if none is.
  std::string first_object() const {
    for (const auto& [key, value] : json_.items()) {
      if (value.is_object()) return key;
    }
    return "";
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
  Json json = parse_json<Json>(read_file(path));
  if (!json.is_object())
    throw DataError(path.string() + ": expected a JSON object; the file is damaged or is not JSON");
  return {std::move(json), path.string()};
}

/// Rotary settings stand under rope_scaling or, in newer files, under rope_parameters.
std::optional<ConfigReader> rope_section(const ConfigReader& config) {
  std::optional<ConfigReader> scaling = config.section("rope_scaling"),
                              parameters = config.section("rope_parameters");
  if (scaling && parameters && !scaling->equals(*parameters))
    config.fail("rope_parameters", "differs from rope_scaling; keep one of them");
  if (!scaling) scaling = std::move(parameters);
  if (scaling && !scaling->first_object().empty()) {
    scaling->fail(scaling->first_object(),
                  "rotary settings that differ by layer are not supported");
  }
  return scaling;
}

/// LongRoPE. What its queries and keys are scaled by follows from how far the positions were
/// stretched, unless the file says.
void read_longrope(const ConfigReader& config, const ConfigReader& scaling, const BaseConfig& base,
                   RopeConfig& rope) {
  rope.kind = RopeConfig::Kind::kLongRope;
  const std::int64_t count = rope.rotary_dims(base.head_dim) / 2;
  rope.short_factor = scaling.positive_numbers("short_factor", count);
  rope.long_factor = scaling.positive_numbers("long_factor", count);
  for (const char* key : {"short_mscale", "long_mscale"}) {
    if (scaling.find(key) != nullptr) scaling.fail(key, "is not supported");
  }
  const std::string original = "original_max_position_embeddings";
  const std::int64_t limit =
      scaling.positive_integer(original, config.positive_integer(original, base.max_positions));
  rope.original_max_positions = static_cast<double>(limit);
  double factor = static_cast<double>(base.max_positions) / static_cast<double>(limit);
  // As transformers: the ratio of the positions goes before a factor of the section.
  if (!config.has(original)) factor = scaling.number("factor", factor);
  const double scale =
      factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(rope.original_max_positions));
  rope.attention_factor = scaling.number("attention_factor", scale);
  if (!(rope.attention_factor > 0) || !std::isfinite(rope.attention_factor)) {
    scaling.fail("attention_factor",
                 "expected more than 0, found " + std::to_string(rope.attention_factor));
  }
}

RopeConfig read_rope(const ConfigReader& config, const Family& family, const BaseConfig& base) {
  const std::optional<ConfigReader> scaling = rope_section(config);
  const ConfigReader& section = scaling ? *scaling : config;
  RopeConfig rope;
  rope.theta = section.number("rope_theta", config.number("rope_theta", 10000.0));
  if (!(rope.theta > 1))
    config.fail("rope_theta", "expected more than 1, found " + std::to_string(rope.theta));
  const std::string partial = "partial_rotary_factor";
  rope.partial_rotary_factor = section.number(partial, config.number(partial, 1.0));
  const bool is_part = rope.partial_rotary_factor > 0 && rope.partial_rotary_factor <= 1;
  const std::int64_t dims = is_part ? rope.rotary_dims(base.head_dim) : 0;
  if (rope.partial_rotary_factor != 1.0 && !family.partial_rotary) {
    config.fail(partial, "only 1 is supported for model_type \"" + base.model_type + "\", found " +
                             std::to_string(rope.partial_rotary_factor));
  }
  if (dims < 2 || dims % 2 != 0) {
    config.fail(partial, "expected a part of head_dim (" + std::to_string(base.head_dim) +
                             ") that is an even number of dimensions, found " +
                             std::to_string(rope.partial_rotary_factor));
  }
  const std::string kind =
      scaling ? scaling->text("rope_type", scaling->text("type", "default")) : "default";
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
  } else if (kind == "longrope" || kind == "su") {  // "su": its name before it had a paper
    read_longrope(config, *scaling, base, rope);
  } else {
    scaling->fail("rope_type", "\"" + kind +
                                   "\" is not supported (supported: default, linear, llama3, "
                                   "longrope)");
  }
  return rope;
}

/// 0: no window.
std::int64_t read_window(const ConfigReader& config, const Family& family, const BaseConfig& base) {
  bool in_use = family.window == Window::kWhereGiven || config.boolean("use_sliding_window", false);
  bool is_named = false;
  for (const std::string& type : config.texts("layer_types")) {
    if (type == "sliding_attention") {
      in_use = is_named = true;
    } else if (type != "full_attention") {
      config.fail("layer_types", "\"" + type + "\" is not supported");
    }
  }
  if (!in_use || (config.has("sliding_window") && config.find("sliding_window") == nullptr))
    return 0;
  if (family.default_window == 0 && !config.has("sliding_window")) return 0;
  const std::int64_t window = config.positive_integer("sliding_window", family.default_window);
  // Layers below max_window_layers attend to everything.
  const auto num_layers = static_cast<double>(base.num_layers);
  const bool is_above_all = family.window == Window::kWhereSaid && !is_named &&
                            config.number("max_window_layers", 0) >= num_layers;
  return is_above_all ? 0 : window;
}

void read_biases(const ConfigReader& config, const Family& family, BaseConfig& base) {
  const bool attention = config.boolean("attention_bias", false),
             mlp = config.boolean("mlp_bias", false);
  base.qkv_bias = family.biases == Biases::kQkv || attention;
  base.output_bias = family.biases == Biases::kFromConfig && attention;
  base.mlp_bias = mlp;
  const auto refuse = [&](const char* key) {
    config.fail(key, "true is not supported for model_type \"" + base.model_type + "\"");
  };
  if (family.biases == Biases::kNone && attention) refuse("attention_bias");
  if (family.biases != Biases::kFromConfig && mlp) refuse("mlp_bias");
  if (config.boolean("lm_head_bias", false)) refuse("lm_head_bias");
}

void refuse_unsupported(const ConfigReader& config) {
  const std::string activation = config.text("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") {
    config.fail("hidden_act", "\"" + activation + "\" is not supported (supported: silu)");
  }
  if (config.find("quantization_config") != nullptr) {
    config.fail("quantization_config",
                "quantised bases (QLoRA) are not supported; use the float32, bfloat16 or float16 "
                "weights");
  }
  for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping", "num_local_experts",
                          "num_experts", "dual_chunk_attention_config"}) {
    if (config.find(key) != nullptr)
      config.fail(key, "is not supported (it changes what the model computes)");
  }
}

}  // namespace

std::vector<ProjectionSpec> BaseConfig::projections() const {
  using Group = ProjectionGroup;
  const std::int64_t q = num_heads * head_dim, kv = num_kv_heads * head_dim,
                     inner = intermediate_size;
  const ProjectionSpec output = {"self_attn.o_proj", q, hidden_size, output_bias, Group::kOutput},
                       down = {"mlp.down_proj", inner, hidden_size, mlp_bias, Group::kDown};
  if (fused_projections) {
    return {{"self_attn.qkv_proj", hidden_size, q + 2 * kv, qkv_bias, Group::kQkv},
            output,
            {"mlp.gate_up_proj", hidden_size, 2 * inner, mlp_bias, Group::kGateUp},
            down};
  }
  return {{"self_attn.q_proj", hidden_size, q, qkv_bias, Group::kQkv},
          {"self_attn.k_proj", hidden_size, kv, qkv_bias, Group::kQkv},
          {"self_attn.v_proj", hidden_size, kv, qkv_bias, Group::kQkv},
          output,
          {"mlp.gate_proj", hidden_size, inner, mlp_bias, Group::kGateUp},
          {"mlp.up_proj", hidden_size, inner, mlp_bias, Group::kGateUp},
          down};
}

ProjectionRange BaseConfig::projection_range(ProjectionGroup group) const {
  const std::size_t qkv = fused_projections ? 1 : 3, gate_up = fused_projections ? 1 : 2;
  switch (group) {
    case ProjectionGroup::kQkv:
      return {0, qkv};
    case ProjectionGroup::kOutput:
      return {qkv, 1};
    case ProjectionGroup::kGateUp:
      return {qkv + 1, gate_up};
    case ProjectionGroup::kDown:
      break;
  }
  return {qkv + 1 + gate_up, 1};
}

std::int64_t BaseConfig::longest_sequence() const {
  return sliding_window > 0 ? std::min(sliding_window, max_positions) : max_positions;
}

std::string BaseConfig::longest_sequence_reason() const {
  if (longest_sequence() == max_positions)
    return std::to_string(max_positions) + " positions (config.json: max_position_embeddings)";
  return "sliding window of " + std::to_string(sliding_window) +
         " tokens (config.json: sliding_window)";
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
  base.fused_projections = family->fused_projections;
  base.qk_norm = family->qk_norm;
  read_biases(config, *family, base);
  base.rope = read_rope(config, *family, base);
  base.sliding_window = read_window(config, *family, base);
  refuse_unsupported(config);
  config.add_token_ids("eos_token_id", base.end_ids);
  if (std::filesystem::exists(folder / "generation_config.json")) {
    open_json(folder / "generation_config.json").add_token_ids("eos_token_id", base.end_ids);
  }
  return base;
}

}  // namespace clara
