// Settings of a trained adapter's pass, and marking what is trained.
#pragma once

#include "clara/model/clara_model.h"
#include "clara/objectives/objective.h"

namespace clara {

/// Dropout stream of one pass ("compressor", …) of a micro-batch; no dropout outside training.
PassSettings training_pass(const MicroBatchContext& context, double dropout, const char* pass_name,
                           bool activation_checkpointing);

/// Makes exactly these adapters (and the memory rows) require grad.
void mark_trained(ClaraModel& model, const std::vector<AdapterRole>& roles, bool memory_rows);

/// Their parameters under "<adapter>/<PEFT key>", then "memory_rows".
std::vector<TrainedParameter> collect_trained(ClaraModel& model,
                                              const std::vector<AdapterRole>& roles,
                                              bool memory_rows, double memory_learning_rate_ratio);

/// Pointers to the token sequences of a micro-batch.
std::vector<const TokenIds*> all_documents(const MicroBatch& batch);
std::vector<const TokenIds*> all_questions(const MicroBatch& batch);
AnswerBatch pack_answers(const ClaraModel& model, const MicroBatch& batch);

}  // namespace clara
