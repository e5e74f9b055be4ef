// config.json of BERT and XLM-RoBERTa models and what sentence-transformers writes beside it;
// whatever would change the result and is not supported is refused by name.
#include "retrieval/encoder_folder.h"

#include <algorithm>
#include <utility>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// The values of a file, with errors that name file and key.
class JsonFile {
 public:
  explicit JsonFile(const fs::path& path) : path_(path.string()) {
    json_ = parse_json<Json>(read_file(path));
    if (json_.is_discarded()) {
      throw DataError(path_ + ": not a JSON file, or one that is damaged or cut short");
    }
  }

  [[noreturn]] void fail(const std::string& key, const std::string& message) const {
    throw DataError(path_ + ": " + key + ": " + message);
  }

  const Json& json() const { return json_; }

  // Null where the key is missing or null.
  const Json* find(const std::string& key) const {
    if (!json_.is_object()) throw DataError(path_ + ": expected an object");
    const auto it = json_.find(key);
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }

  std::int64_t positive_integer(const std::string& key,
                                std::optional<std::int64_t> fallback = {}) const {
    constexpr std::int64_t kMost = std::int64_t{1} << 31;
    const Json* value = find(key);
    if (value == nullptr && fallback) return *fallback;
    if (value == nullptr) fail(key, "expected a positive integer, found nothing");
    const bool fits = value->is_number_integer() && value->get<std::int64_t>() > 0 &&
                      value->get<std::int64_t>() <= kMost;
    if (!fits) fail(key, "expected a positive integer, found " + value->dump());
    return value->get<std::int64_t>();
  }

  bool boolean(const std::string& key, bool fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) fail(key, "expected true or false, found " + value->dump());
    return value->get<bool>();
  }

  double number(const std::string& key, double fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_number()) fail(key, "expected a number, found " + value->dump());
    return value->get<double>();
  }

  // `expected` is the only supported value, and the default.
  void require(const std::string& key, const Json& expected) const {
    const Json* value = find(key);
    if (value != nullptr && *value != expected) {
      fail(key,
           "expected " + expected.dump() + ", found " + value->dump() + ", which is not supported");
    }
  }

 private:
  std::string path_;
  Json json_;
};

BertConfig read_bert_config(const fs::path& path) {
  const JsonFile file(path);
  const Json* type = file.find("model_type");
  BertConfig config;
  config.is_xlm_roberta = type != nullptr && *type == "xlm-roberta";
  if (type == nullptr || (*type != "bert" && !config.is_xlm_roberta)) {
    file.fail("model_type",
              "expected \"bert\" (BGE v1.5, MiniLM, E5, GTE of that kind) or \"xlm-roberta\" "
              "(BGE-M3, BGE's rerankers), found " +
                  (type == nullptr ? std::string("nothing") : type->dump()) +
                  ", which is not supported");
  }
  file.require("hidden_act", "gelu");
  file.require("position_embedding_type", "absolute");
  file.require("is_decoder", false);
  file.require("add_cross_attention", false);
  if (file.find("quantization_config") != nullptr) {
    file.fail("quantization_config", "expected plain weights, found quantised ones");
  }
  config.hidden_size = file.positive_integer("hidden_size");
  config.intermediate_size = file.positive_integer("intermediate_size");
  config.num_layers = file.positive_integer("num_hidden_layers");
  config.num_heads = file.positive_integer("num_attention_heads");
  config.vocab_rows = file.positive_integer("vocab_size");
  config.max_positions = file.positive_integer("max_position_embeddings", 512);
  if (config.is_xlm_roberta) {
    // Positions are counted from behind that of the padding token.
    file.require("pad_token_id", 1);
    config.first_position = 2;
    config.max_positions -= config.first_position;
    if (config.max_positions < 1) file.fail("max_position_embeddings", "expected 3 at least");
  }
  config.num_types = file.positive_integer("type_vocab_size", 2);
  config.layer_norm_eps = file.number("layer_norm_eps", 1e-12);
  if (config.hidden_size % config.num_heads != 0) {
    file.fail("num_attention_heads", "expected a divisor of hidden_size " +
                                         std::to_string(config.hidden_size) + ", found " +
                                         std::to_string(config.num_heads));
  }
  return config;
}

Pooling read_pooling(const fs::path& path, std::int64_t hidden_size) {
  const JsonFile file(path);
  std::optional<Pooling> pooling;
  for (const auto& [key, value] : file.json().items()) {
    if (!key.starts_with("pooling_mode_") || !file.boolean(key, false)) continue;
    const bool is_cls = key == "pooling_mode_cls_token";
    if ((!is_cls && key != "pooling_mode_mean_tokens") || pooling) {
      file.fail(key,
                "expected either pooling_mode_cls_token or pooling_mode_mean_tokens, found "
                "another mode or several");
    }
    pooling = is_cls ? Pooling::kCls : Pooling::kMean;
  }
  if (!pooling) file.fail("pooling_mode_cls_token", "expected one pooling mode, found none");
  if (file.positive_integer("word_embedding_dimension", hidden_size) != hidden_size) {
    file.fail("word_embedding_dimension", "expected the model's hidden_size " +
                                              std::to_string(hidden_size) + ", found " +
                                              file.find("word_embedding_dimension")->dump());
  }
  return *pooling;
}

// Where modules.json says that transformer and pooling are.
struct Modules {
  std::string transformer, pooling;
};

Modules read_modules(const fs::path& path) {
  const JsonFile file(path);
  Modules out;
  if (!file.json().is_array()) throw DataError(path.string() + ": expected a list of modules");
  for (const Json& module : file.json()) {
    const std::string type = module.is_object() ? module.value("type", "") : "";
    const std::string folder = module.is_object() ? module.value("path", "") : "";
    const std::string name = type.substr(type.rfind('.') + 1);
    if (name == "Transformer") {
      out.transformer = folder;
    } else if (name == "Pooling") {
      out.pooling = folder;
    } else if (name != "Normalize") {
      file.fail("type", "expected Transformer, Pooling or Normalize, found \"" + type +
                            "\", which is not supported");
    }
  }
  return out;
}

void read_prompts(const fs::path& path, EncoderFolder& out) {
  const JsonFile file(path);
  const Json* prompts = file.find("prompts");
  if (prompts == nullptr) return;
  if (!prompts->is_object()) file.fail("prompts", "expected an object");
  const auto prompt = [&](std::initializer_list<std::string> names) -> std::string {
    for (const std::string& name : names) {
      const auto it = prompts->find(name);
      if (it == prompts->end()) continue;
      if (!it->is_string()) file.fail("prompts." + name, "expected text, found " + it->dump());
      return it->get<std::string>();
    }
    return "";
  };
  const Json* by_default = file.find("default_prompt_name");
  const std::string fallback =
      by_default != nullptr && by_default->is_string() ? by_default->get<std::string>() : "";
  out.query_prefix = prompt({"query", fallback});
  out.passage_prefix = prompt({"document", "passage", "corpus", fallback});
}

}  // namespace

EncoderFolder read_encoder_folder(const fs::path& folder) {
  EncoderFolder out;
  Modules modules{"", "1_Pooling"};
  if (fs::exists(folder / "modules.json")) modules = read_modules(folder / "modules.json");
  out.folder = modules.transformer.empty() ? folder : folder / modules.transformer;
  out.model = read_bert_config(out.folder / "config.json");
  const fs::path pooling = folder / modules.pooling / "config.json";
  if (!modules.pooling.empty() && fs::exists(pooling)) {
    out.pooling = read_pooling(pooling, out.model.hidden_size);
  }
  out.max_tokens = out.model.max_positions;
  const fs::path sentence_bert = out.folder / "sentence_bert_config.json";
  const fs::path tokenizer = out.folder / "tokenizer_config.json";
  bool has_limit = false;
  if (fs::exists(sentence_bert)) {
    const JsonFile file(sentence_bert);
    out.lowercases_text = file.boolean("do_lower_case", false);
    has_limit = file.find("max_seq_length") != nullptr;
    out.max_tokens =
        std::min(out.max_tokens, file.positive_integer("max_seq_length", out.max_tokens));
  }
  if (!has_limit && fs::exists(tokenizer)) {
    const double limit = JsonFile(tokenizer).number("model_max_length", 1e30);
    if (limit >= 1 && limit < static_cast<double>(out.max_tokens)) {
      out.max_tokens = static_cast<std::int64_t>(limit);
    }
  }
  const fs::path prompts = folder / "config_sentence_transformers.json";
  if (fs::exists(prompts)) read_prompts(prompts, out);
  return out;
}

}  // namespace clara
