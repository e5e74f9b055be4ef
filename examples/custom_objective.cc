// An objective of your own, trained by the library's train_loop: the generator learns to answer
// from the latents of a frozen compressor while a second term keeps its adapter near where it
// began. Usage: custom_objective BASE_FOLDER RUN_FOLDER (a Hugging Face folder; writes a run
// folder)
#include <iostream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <torch/torch.h>

#include "clara/checkpoint/open_model.h"
#include "clara/checkpoint/tokenizer_export.h"
#include "clara/data/prompts.h"
#include "clara/latents/document_latents.h"
#include "clara/objectives/objective.h"
#include "clara/trainer/train_loop.h"

namespace {

/// L = CE + μ · ‖generator − its start‖². The terms are sums with counts: the trainer divides the
/// sums of a whole step by its counts, however it splits the step into micro-batches.
class NearStartObjective final : public clara::Objective {
 public:
  NearStartObjective(clara::ClaraModel& model, clara::DocumentLatents& documents, double mu)
      : model_(model), documents_(documents), mu_(mu) {
    for (const clara::AdapterRole role : clara::kAdapterRoles) {
      model_.adapter(role).set_requires_grad(role == clara::AdapterRole::kGenerator);
    }
    model_.memory().memory_rows.set_requires_grad(false);
    for (const clara::NamedTensor& named : generator().named_tensors()) {
      start_.push_back(named.tensor.detach().clone());
    }
  }

  std::vector<clara::TrainedParameter> trained_parameters() override {
    std::vector<clara::TrainedParameter> parameters;
    for (const clara::NamedTensor& named : generator().named_tensors()) {
      parameters.push_back({"generator/" + named.name, named.tensor, 1.0});
    }
    return parameters;
  }

  std::vector<clara::TermSpec> terms(std::int64_t /*step*/) const override {
    return {{"cross_entropy", 1.0}, {"distance", mu_}};
  }

  /// Cross-entropy is a mean over answer tokens. The distance is no sum over rows: each row brings
  /// it once and counts once, so that the mean over the step is the distance itself.
  std::vector<std::int64_t> counts(const clara::Example& example,
                                   std::int64_t /*step*/) const override {
    return {example.num_answer_tokens(), 1};
  }

  std::int64_t num_tokens(const clara::Example& example) const override {
    return static_cast<std::int64_t>(example.tokens.size());
  }

  std::vector<clara::LossTerm> forward(const clara::MicroBatch& batch,
                                       const clara::MicroBatchContext& /*context*/) override {
    std::vector<const clara::TokenIds*> documents, sequences;
    std::vector<std::int32_t> prompt_lengths;
    for (const clara::Example* example : batch) {
      for (const clara::TokenIds& document : example->documents) documents.push_back(&document);
      sequences.push_back(&example->tokens);
      prompt_lengths.push_back(example->prompt_length);
    }
    const clara::AnswerBatch answers = model_.pack_answers(sequences, prompt_lengths);
    const clara::CrossEntropyResult answer =
        model_.answer_loss(answers, documents_.fetch(documents));
    return {{"cross_entropy", answer.sum},
            {"distance", static_cast<double>(batch.size()) * squared_distance()}};
  }

  std::map<std::string, double> validate(const std::vector<clara::Example>& examples,
                                         std::int64_t /*max_tokens_per_micro_batch*/) override {
    const torch::NoGradGuard no_grad;
    double sum = 0;
    std::int64_t answer_tokens = 0;
    for (const clara::Example& example : examples) {
      sum += forward({&example}, {}).front().sum.item<double>();
      answer_tokens += example.num_answer_tokens();
    }
    return {{"loss", sum / static_cast<double>(answer_tokens)}};
  }

 private:
  clara::LoraAdapter& generator() { return model_.adapter(clara::AdapterRole::kGenerator); }

  torch::Tensor squared_distance() {
    torch::Tensor sum = torch::zeros({}, torch::TensorOptions().device(model_.device()));
    const std::vector<clara::NamedTensor> now = generator().named_tensors();
    for (std::size_t i = 0; i < now.size(); ++i) {
      sum = sum + (now[i].tensor - start_[i]).square().sum();
    }
    return sum;
  }

  clara::ClaraModel& model_;
  clara::DocumentLatents& documents_;
  double mu_;
  std::vector<torch::Tensor> start_;  // of the generator's tensors, in their order
};

/// Prints every tenth step.
class StepPrinter final : public clara::TrainObserver {
 public:
  void on_step(std::int64_t step, std::int64_t total, const clara::MetricRow& metrics) override {
    if (step != 1 && step % 10 != 0) return;
    std::cout << "step " << step << "/" << total << "  loss " << metrics.at("loss")
              << "  cross_entropy " << metrics.at("cross_entropy") << "  distance "
              << metrics.at("distance") << std::endl;
  }
};

std::vector<clara::Example> make_examples(const clara::PromptBuilder& prompts) {
  const std::vector<std::pair<std::string, std::string>> facts = {
      {"The lighthouse of Orvane was built by Tessa Marl.", "Tessa Marl"},
      {"The lighthouse of Brill was built by Hugo Venn.", "Hugo Venn"},
      {"The lighthouse of Calder was built by Ines Roth.", "Ines Roth"},
      {"The lighthouse of Dunmere was built by Paul Oake.", "Paul Oake"}};
  std::vector<clara::Example> examples;
  for (const auto& [document, answer] : facts) {
    clara::QaRecord record;
    record.question = "Who built the lighthouse?";
    record.documents = {document};
    record.answers = {answer};
    record.place = {"facts", static_cast<std::int64_t>(examples.size()) + 1};
    examples.push_back(prompts.tune_example(record));
  }
  return examples;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) {
    std::cerr << "usage: custom_objective BASE_FOLDER RUN_FOLDER\n";
    return 2;
  }
  clara::ModelDescription description;
  description.base = argv[1];
  description.stage = "tune";  // what the checkpoint is evaluated like: documents as they are given
  description.doc_max_tokens = 64;
  description.compression_rate = 16;
  description.num_memory_tokens = 4;
  description.num_selected = 1;
  description.lora.rank = 8;
  description.lora.alpha = 16;

  const clara::TextSide text = clara::open_text_side(argv[1], description.num_memory_tokens);
  description.chat_format = text.chat_format.description;
  clara::PromptSettings settings;
  settings.doc_max_tokens = description.doc_max_tokens;
  const clara::PromptBuilder prompts(*text.tokenizer, text.chat_format, text.special_tokens,
                                     text.bos_id, text.eos_id, settings);
  const std::vector<clara::Example> examples = make_examples(prompts);

  const torch::Device device = clara::resolve_device(clara::Device::kAuto);
  clara::ClaraModel model(clara::load_base_llm(argv[1], torch::kFloat32, device), description.lora,
                          description.num_memory_tokens, "noise", /*seed=*/17);
  clara::DocumentLatents documents(model, std::make_unique<clara::MemoryLatentStore>(), 8192);
  NearStartObjective objective(model, documents, /*mu=*/1e-3);
  clara::ExampleList data(examples);
  clara::SingleProcessCommunicator communicator;

  clara::TrainerConfig trainer;
  trainer.rows_per_step = 4;
  trainer.num_epochs = 60;
  trainer.peak_learning_rate = 2e-3;
  trainer.validate_every_steps = 0;
  clara::OutputConfig output;
  output.folder = argv[2];
  output.save_every_steps = 0;
  const std::string config = "# written by custom_objective\n";
  const clara::TrainLoopInputs run{model,   objective, data, examples, communicator, description,
                                   trainer, output,    {},   config,   {},           {}};
  StepPrinter printer;
  const clara::TrainLoopResult result = clara::train_loop(run, printer);
  const std::string final_folder = output.folder + "/final";
  clara::export_tokenizer(argv[1], final_folder, *text.tokenizer, text.special_tokens);
  std::cout << "finished after " << result.step << " steps: " << final_folder << "\n";
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
