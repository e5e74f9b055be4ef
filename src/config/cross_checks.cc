// Required fields and the relations between fields.
#include "config/cross_checks.h"

#include <cstddef>
#include <string>
#include <vector>

#include "config/field_table.h"

namespace clara {
namespace {

template <class Owner>
void check_required(const std::vector<Field<Owner>>& fields, Owner owner, const std::string& base,
                    ConfigReader& reader) {
  for (const Field<Owner>& field : fields) {
    if (!field.rule.required || reader.is_bad(base + field.path)) continue;
    const bool is_empty = std::visit(
        [&](auto access) {
          const auto& value = access(owner);
          if constexpr (requires { value.empty(); }) {
            return value.empty();
          } else {
            return false;
          }
        },
        field.access);
    if (!is_empty) continue;
    const std::string path = base + field.path;
    const Place place =
        base.empty() ? reader.place_of(path) : reader.place_of(base.substr(0, base.size() - 1));
    reader.report(place, path, "required key is missing (" + field.rule.doc + ")");
  }
}

/// The place of whichever of two fields was given; the first wins.
Place place_of_either(const ConfigReader& reader, const std::string& first,
                      const std::string& second) {
  return reader.place_of(reader.is_given(first) ? first : second);
}

std::string divisors_of(std::int32_t number) {
  std::string text;
  for (std::int32_t divisor = 1; divisor <= number / 2; ++divisor) {
    if (number % divisor == 0) text += std::to_string(divisor) + ", ";
  }
  return text + std::to_string(number);
}

void check_compression(const ModelConfig& model, ConfigReader& reader) {
  const std::string rate = "model.compression_rate";
  const std::string tokens = "model.doc_max_tokens";
  if (reader.is_bad(rate) || reader.is_bad(tokens)) return;
  if (model.doc_max_tokens % model.compression_rate == 0) return;
  reader.report(place_of_either(reader, rate, tokens), rate,
                "expected a rate that divides " + tokens + " = " +
                    std::to_string(model.doc_max_tokens) + " (" +
                    divisors_of(model.doc_max_tokens) + "), found " +
                    std::to_string(model.compression_rate));
}

void check_latent_token_loss(const LatentTokenLossConfig& loss, ConfigReader& reader) {
  const std::string section = "objective.latent_token_loss";
  if (reader.is_bad(section)) return;
  const std::string only = section + ".only_steps";
  if (loss.only_steps > loss.steps) {
    reader.report(place_of_either(reader, only, section), only,
                  "expected at most " + section + ".steps = " + std::to_string(loss.steps) +
                      ", found " + std::to_string(loss.only_steps));
  } else if (loss.only_steps > 0 && loss.weight == 0) {
    reader.report(place_of_either(reader, only, section), only,
                  "expected 0 where " + section +
                      ".weight = 0 (those steps would have no loss), "
                      "found " +
                      std::to_string(loss.only_steps));
  }
}

/// Without latents there is nothing that the term could act on.
void check_context(const ObjectiveConfig& objective, ConfigReader& reader) {
  const std::string weight = "objective.latent_token_loss.weight";
  if (objective.context == "latents" || objective.latent_token_loss.weight == 0) return;
  if (reader.is_bad("objective.context") || reader.is_bad(weight)) return;
  reader.report(place_of_either(reader, weight, "objective.context"), weight,
                "expected 0 where objective.context = " + objective.context +
                    " (no latents are made), found " +
                    std::to_string(objective.latent_token_loss.weight));
}

void check_query_reasoner(const RunConfig& config, ConfigReader& reader) {
  const std::string init = "objective.query_reasoner_init";
  if (config.objective.query_reasoner_init != "checkpoint" || !config.model.init_from.empty() ||
      !config.model.adapters.query_reasoner.empty())
    return;
  if (reader.is_bad(init) || reader.is_bad("model.init_from") || reader.is_bad("model.adapters"))
    return;
  reader.report(reader.place_of(init), init,
                "expected model.init_from to name the checkpoint, found it empty (give it or "
                "model.adapters.query_reasoner, or use compressor or random)");
}

/// What validation of a run reports, "validation/" before each (the objectives' validate()).
std::vector<std::string> validation_metrics(const RunConfig& config) {
  if (config.stage == Stage::kTune && config.objective.context != "latents") return {"loss"};
  if (config.stage == Stage::kScp || config.stage == Stage::kTune) {
    return {"loss", "latent_gap", "latent_cosine", "latent_between_variance", "alignment"};
  }
  return {"loss", "recall@1", "recall@3", "recall@5", "num_with_positives"};
}

/// A mistyped metric would otherwise show only when the run has ended without a best checkpoint.
void check_keep_best_metric(const RunConfig& config, ConfigReader& reader) {
  const std::string path = "output.keep_best.metric", &metric = config.output.keep_best->metric;
  std::string known;
  for (const std::string& name : validation_metrics(config)) {
    if (metric == "validation/" + name) return;
    known += (known.empty() ? "validation/" : ", validation/") + name;
  }
  reader.report(reader.place_of(path), path,
                "expected one of " + known + ", found \"" + metric + "\"");
}

void check_keep_best(const RunConfig& config, ConfigReader& reader) {
  const std::string path = "output.keep_best";
  if (!config.output.keep_best) return;
  check_required(keep_best_fields(), *config.output.keep_best, path + ".", reader);
  if (reader.is_bad(path) || reader.is_bad("data.validation")) return;
  if (!reader.is_bad(path + ".metric") && !config.output.keep_best->metric.empty())
    check_keep_best_metric(config, reader);
  if (config.data.validation.empty()) {
    reader.report(reader.place_of(path + ".metric"), path + ".metric",
                  "expected data.validation to be given for " + config.output.keep_best->metric +
                      ", found it empty (give validation files, or keep_best: null)");
  }
}

void check_sources(const std::vector<DataSource>& sources, const std::string& path,
                   ConfigReader& reader) {
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const std::string base = path + "." + std::to_string(i);
    if (!reader.is_bad(base)) check_required(data_source_fields(), sources[i], base + ".", reader);
  }
}

}  // namespace

void check_run_config(const RunConfig& config, ConfigReader& reader) {
  check_required(run_config_fields(), config, "", reader);
  check_sources(config.data.train, "data.train", reader);
  check_sources(config.data.validation, "data.validation", reader);
  check_compression(config.model, reader);
  check_latent_token_loss(config.objective.latent_token_loss, reader);
  check_context(config.objective, reader);
  check_query_reasoner(config, reader);
  check_keep_best(config, reader);
}

}  // namespace clara
