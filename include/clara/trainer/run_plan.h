// What a run will need, counted before any weight is read (interface.md: --plan).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clara/config/run_config.h"

namespace clara {

struct PlanLine {
  std::string name;
  double value = 0;
};

/// Parameters, bytes, operations and steps of a run.
struct RunPlan {
  Stage stage = Stage::kScp;
  std::string base;
  std::int64_t num_gpus = 1;
  std::vector<PlanLine> parameters;    ///< counts: frozen, each adapter, memory rows, trained
  std::vector<PlanLine> memory_bytes;  ///< of one device: weights, adapters, gradients, optimizer,
                                       ///< activations, logits, latent store
  double total_bytes = 0;
  bool fits_80_gb = false;
  std::int64_t rows = 0;
  /// Rows that the token averages come from; 0: there is no tokenizer, and every row is taken to be
  /// as long as the config lets it be.
  std::int64_t rows_sampled = 0;
  double documents = 0;  ///< averages, per row
  double document_tokens = 0;
  double prompt_tokens = 0;
  double question_tokens = 0;
  double answer_tokens = 0;
  double longest_row_tokens = 0;  ///< of what gradients pass through
  std::int64_t total_steps = 0;
  double operations_per_step = 0;  ///< floating point operations, cold latent store
  double warm_operations_per_step =
      0;  ///< every document found in the store; 0 where the stage has no store
  std::int64_t rows_per_device = 0;       ///< of a step
  double device_operations_per_step = 0;  ///< of the device with the most rows, cold store
};

/// Reads config.json, the tokenizer (if there is one) and a sample of the rows; throws what these
/// throw, and what check_sequence_limits throws.
RunPlan make_run_plan(const RunConfig& config, std::int64_t num_gpus);

/// Aligned text for a terminal.
std::string render_plan(const RunPlan& plan);

}  // namespace clara
