// What every objective does before its own equation.
#include "objectives/training_pass.h"

#include "clara/common/seeds.h"

namespace clara {

PassSettings training_pass(const MicroBatchContext& context, double dropout, const char* pass_name,
                           bool activation_checkpointing) {
  if (!context.training) return {};
  return {dropout,
          derive_seed(
              context.seed, pass_name,
              {static_cast<std::uint64_t>(context.step), static_cast<std::uint64_t>(context.rank),
               static_cast<std::uint64_t>(context.micro_batch)}),
          activation_checkpointing};
}

void mark_trained(ClaraModel& model, const std::vector<AdapterRole>& roles, bool memory_rows) {
  for (AdapterRole role : kAdapterRoles) {
    bool trained = false;
    for (AdapterRole r : roles) trained = trained || r == role;
    model.adapter(role).set_requires_grad(trained);
  }
  model.memory().memory_rows.set_requires_grad(memory_rows);
}

std::vector<TrainedParameter> collect_trained(ClaraModel& model,
                                              const std::vector<AdapterRole>& roles,
                                              bool memory_rows, double memory_learning_rate_ratio) {
  std::vector<TrainedParameter> result;
  for (AdapterRole role : roles) {
    for (const NamedTensor& named : model.adapter(role).named_tensors()) {
      result.push_back({adapter_name(role) + "/" + named.name, named.tensor, 1.0});
    }
  }
  if (memory_rows)
    result.push_back({"memory_rows", model.memory().memory_rows, memory_learning_rate_ratio});
  return result;
}

std::vector<const TokenIds*> all_documents(const MicroBatch& batch) {
  std::vector<const TokenIds*> documents;
  for (const Example* example : batch) {
    for (const TokenIds& document : example->documents) documents.push_back(&document);
  }
  return documents;
}

std::vector<const TokenIds*> all_questions(const MicroBatch& batch) {
  std::vector<const TokenIds*> questions;
  for (const Example* example : batch) questions.push_back(&example->question);
  return questions;
}

AnswerBatch pack_answers(const ClaraModel& model, const MicroBatch& batch) {
  std::vector<const TokenIds*> sequences;
  std::vector<std::int32_t> prompt_lengths;
  for (const Example* example : batch) {
    sequences.push_back(&example->tokens);
    prompt_lengths.push_back(example->prompt_length);
  }
  return model.pack_answers(sequences, prompt_lengths);
}

}  // namespace clara
