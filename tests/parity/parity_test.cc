// Parity with the Python reference: token ids, every intermediate tensor, every gradient, ten
// optimizer steps, greedy answers (numerics §8 states the tolerances).
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "parity/parity_fixture.h"
#include "support/tensor_compare.h"
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/eval/generate.h"
#include "clara/model/selection.h"
#include "clara/parallel/communicator.h"
#include "clara/trainer/lr_schedule.h"
#include "clara/trainer/optimizer.h"
#include "clara/trainer/train_step.h"

namespace clara::testing {
namespace {

using Json = nlohmann::json;

constexpr double kForward = 2e-4;   // of the largest value, float32
constexpr double kGradient = 1e-3;  // relative in norm, float32
constexpr double kTenSteps = 1e-4;  // relative loss, float32

/// Rows of a padded [N, T] tensor, by its mask.
std::vector<TokenIds> unpadded(const torch::Tensor& ids, const torch::Tensor& mask) {
  std::vector<TokenIds> rows;
  for (std::int64_t n = 0; n < ids.size(0); ++n) {
    TokenIds row;
    for (std::int64_t t = 0; t < ids.size(1); ++t) {
      if (mask[n][t].item<std::int64_t>() != 0) row.push_back(ids[n][t].item<std::int32_t>());
    }
    rows.push_back(row);
  }
  return rows;
}

std::vector<const TokenIds*> documents_of(const std::vector<Example>& examples) {
  std::vector<const TokenIds*> documents;
  for (const Example& example : examples) {
    for (const TokenIds& document : example.documents) documents.push_back(&document);
  }
  return documents;
}

class Parity : public ::testing::TestWithParam<std::filesystem::path> {
 protected:
  ParityFixture fixture_{GetParam()};

  AnswerBatch answers(const ClaraModel& model, const std::vector<Example>& examples) const {
    std::vector<const TokenIds*> sequences;
    std::vector<std::int32_t> prompts;
    for (const Example& example : examples) {
      sequences.push_back(&example.tokens);
      prompts.push_back(example.prompt_length);
    }
    return model.pack_answers(sequences, prompts);
  }

  /// Loss of a stage and the gradients of everything it trains.
  struct Gradients {
    StepResult result;
    std::map<std::string, torch::Tensor> by_name;
  };
  Gradients gradients(ClaraModel& model, const std::string& stage,
                      std::int64_t rows_per_micro_batch) const {
    const StageSetup setup = make_stage(fixture_, model, stage);
    const std::vector<TrainedParameter> trained = setup.objective->trained_parameters();
    AdamW optimizer(trained, TrainerConfig{});
    SingleProcessCommunicator communicator;
    StepSettings settings;
    settings.rows_per_micro_batch = rows_per_micro_batch;
    Gradients out;
    out.result = accumulate_gradients(*setup.objective, optimizer, communicator,
                                      fixture_.examples(stage), 0, settings);
    for (const TrainedParameter& parameter : trained)
      out.by_name[parameter.name] = parameter.tensor.grad().clone();
    return out;
  }

  std::vector<double> training_losses(ClaraModel& model, const std::string& stage,
                                      std::vector<StepResult>* steps = nullptr,
                                      double* loss_after = nullptr) const {
    const Json& record = fixture_.json().at("training").at(stage);
    const StageSetup setup = make_stage(fixture_, model, stage);
    TrainerConfig config;
    config.peak_learning_rate = record.at("peak_lr").get<double>();
    AdamW optimizer(setup.objective->trained_parameters(), config);
    SingleProcessCommunicator communicator;
    StepSettings settings;
    settings.rows_per_micro_batch = record.at("micro_batch").get<std::int64_t>();
    const std::vector<Example> examples = fixture_.examples(stage);
    const auto total = static_cast<std::int64_t>(record.at("loss").size());
    const LearningRateSchedule schedule(config, total);
    std::vector<double> losses;
    for (std::int64_t step = 0; step < total; ++step) {
      const StepResult result = train_step(*setup.objective, optimizer, communicator, examples,
                                           step, schedule.rate(step), settings);
      losses.push_back(result.loss);
      if (steps != nullptr) steps->push_back(result);
    }
    if (loss_after != nullptr) {
      *loss_after =
          accumulate_gradients(*setup.objective, optimizer, communicator, examples, total, settings)
              .loss;
    }
    return losses;
  }
};

TEST_P(Parity, TokenIdsMasksAndLabelsAreTheReferences) {
  for (const std::string stage : {"scp", "tune", "joint", "retriever"}) {
    SCOPED_TRACE(stage);
    const std::vector<Example> examples = fixture_.examples(stage);
    std::vector<TokenIds> documents, questions, tokens;
    for (const Example& example : examples) {
      documents.insert(documents.end(), example.documents.begin(), example.documents.end());
      questions.push_back(example.question);
      tokens.push_back(example.tokens);
    }
    EXPECT_EQ(documents, unpadded(fixture_.tensor(stage + ".documents.input_ids"),
                                  fixture_.tensor(stage + ".documents.attention_mask")));
    if (stage == "joint" || stage == "retriever") {
      EXPECT_EQ(questions, unpadded(fixture_.tensor(stage + ".questions.input_ids"),
                                    fixture_.tensor(stage + ".questions.attention_mask")));
    }
    if (stage == "retriever") continue;
    EXPECT_EQ(tokens, unpadded(fixture_.tensor(stage + ".generator.input_ids"),
                               fixture_.tensor(stage + ".generator.attention_mask")));
    const torch::Tensor labels = fixture_.tensor(stage + ".generator.labels");
    for (std::size_t n = 0; n < examples.size(); ++n) {
      for (std::size_t t = 0; t < examples[n].tokens.size(); ++t) {
        const bool has_loss = t >= static_cast<std::size_t>(examples[n].prompt_length);
        EXPECT_EQ(
            labels[static_cast<std::int64_t>(n)][static_cast<std::int64_t>(t)].item<std::int64_t>(),
            has_loss ? examples[n].tokens[t] : -100)
            << "row " << n << " token " << t;
      }
    }
  }
}

TEST_P(Parity, LatentsAlignmentAndAnswerLossesOfScpAndTune) {
  const auto model = fixture_.load_model(torch::kFloat32, parity_device());
  for (const std::string stage : {"scp", "tune"}) {
    SCOPED_TRACE(stage);
    const std::vector<Example> examples = fixture_.examples(stage);
    const CompressedDocuments compressed = model->compress(model->pack(documents_of(examples)));
    EXPECT_TRUE(all_close(compressed.latents_NMD, fixture_.tensor(stage + ".latents"), kForward));
    EXPECT_TRUE(all_close(compressed.alignment_N, fixture_.tensor(stage + ".alignment"), kForward));
    const AnswerBatch batch = answers(*model, examples);
    EXPECT_TRUE(all_close(model->answer_loss(batch, compressed.latents_NMD).nll,
                          fixture_.tensor(stage + ".nll"), kForward));
    const torch::Tensor logits =
        answer_logits(model->answer_states(batch, compressed.latents_NMD),
                      model->base().weights().head, model->memory().output_rows());
    const torch::Tensor expected = fixture_.tensor(stage + ".logits");
    EXPECT_TRUE(all_close(logits.narrow(0, 0, expected.size(0)), expected, kForward));
  }
}

TEST_P(Parity, QuestionVectorsScoresAndStraightThroughWeightsOfJoint) {
  const auto model = fixture_.load_model(torch::kFloat32, parity_device());
  const std::vector<Example> examples = fixture_.examples("joint");
  std::vector<const TokenIds*> questions;
  for (const Example& example : examples) questions.push_back(&example.question);
  const torch::Tensor vectors = model->encode_questions(model->pack(questions));
  EXPECT_TRUE(all_close(vectors, fixture_.tensor("joint.query_vectors"), kForward));
  const torch::Tensor latents =
      encode_documents(*model, AdapterRole::kCompressor, documents_of(examples), 4096);
  EXPECT_TRUE(all_close(latents, fixture_.tensor("joint.latents"), kForward));
  const Json& settings = fixture_.json().at("settings");
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const std::string row = std::to_string(i);
    const auto num = static_cast<std::int64_t>(examples[i].documents.size());
    const torch::Tensor scores = cosine_scores(vectors[static_cast<std::int64_t>(i)],
                                               latents.narrow(0, begin, num).flatten(1));
    begin += num;
    EXPECT_TRUE(all_close(scores, fixture_.tensor("joint.scores." + row), kForward));
    const StraightThroughSelection selection =
        straight_through_topk(scores, settings.at("top_k").get<std::int64_t>(),
                              settings.at("tau").get<double>(), TopkMask::kLeaky);
    EXPECT_TRUE(torch::equal(selection.indices_S.cpu(), fixture_.tensor("joint.indices." + row)));
    EXPECT_TRUE(torch::equal(selection.weights_SK.cpu(), fixture_.tensor("joint.weights." + row)));
  }
}

TEST_P(Parity, ScoreGradientOfTheExactMask) {
  const torch::Tensor scores = fixture_.tensor("joint.scores.0").clone().set_requires_grad(true);
  const StraightThroughSelection selection =
      straight_through_topk(scores, 3, 0.02, TopkMask::kExact);
  const torch::Tensor weights =
      torch::arange(selection.weights_SK.numel(), torch::kFloat32).view_as(selection.weights_SK);
  (selection.weights_SK * weights).sum().backward();
  EXPECT_LE(relative_error(scores.grad(), fixture_.tensor("exact_topk.score_gradient")), kGradient);
}

TEST_P(Parity, LossAndEveryGradientOfEveryStage) {
  for (const std::string stage : {"scp", "tune", "joint", "retriever"}) {
    SCOPED_TRACE(stage);
    const auto model = fixture_.load_model(torch::kFloat32, parity_device());
    const Gradients found = gradients(*model, stage, 0);
    const Json& record = fixture_.json().at("stages").at(stage);
    EXPECT_NEAR(found.result.loss, record.at("loss").get<double>(),
                kTenSteps * record.at("loss").get<double>());
    std::vector<std::string> names;
    for (const auto& [name, gradient] : found.by_name) names.push_back(name);
    EXPECT_EQ(names, record.at("trained").get<std::vector<std::string>>()) << "the trained set";
    for (const auto& [name, gradient] : found.by_name) {
      const std::string key = stage + ".grad/" + name;
      if (fixture_.has(key)) {
        EXPECT_LE(relative_error(gradient, fixture_.tensor(key)), kGradient) << name;
      } else {
        const double expected = record.at("gradient_norms").at(name).get<double>();
        EXPECT_NEAR(gradient.to(torch::kFloat64).norm().item<double>(), expected,
                    kGradient * expected)
            << name;
      }
    }
  }
}

TEST_P(Parity, TenOptimizerStepsOfScpAndJoint) {
  for (const std::string stage : {"scp", "joint"}) {
    SCOPED_TRACE(stage);
    const auto model = fixture_.load_model(torch::kFloat32, parity_device());
    const Json& record = fixture_.json().at("training").at(stage);
    std::vector<StepResult> steps;
    double loss_after = 0;
    training_losses(*model, stage, &steps, &loss_after);
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const auto expected = [&](const char* key) { return record.at(key)[i].get<double>(); };
      EXPECT_NEAR(steps[i].loss, expected("loss"), kTenSteps * expected("loss")) << "step " << i;
      EXPECT_NEAR(steps[i].learning_rate, expected("learning_rate"), 1e-12) << "step " << i;
      EXPECT_NEAR(steps[i].gradient_norm, expected("gradient_norm"),
                  5e-3 * expected("gradient_norm"))
          << "step " << i;
    }
    EXPECT_NEAR(loss_after, record.at("loss_after").get<double>(),
                kTenSteps * record.at("loss_after").get<double>());
    const StageSetup setup = make_stage(fixture_, *model, stage);
    for (const TrainedParameter& parameter : setup.objective->trained_parameters()) {
      const double expected = record.at("parameter_norms_after").at(parameter.name).get<double>();
      EXPECT_NEAR(parameter.tensor.to(torch::kFloat64).norm().item<double>(), expected,
                  1e-3 * expected)
          << parameter.name;
    }
  }
}

TEST_P(Parity, GreedyAnswersWithTheirPromptsAndChosenDocuments) {
  const auto model = fixture_.load_model(torch::kFloat32, parity_device());
  const PromptBuilder builder = fixture_.prompts("joint");
  const Json& settings = fixture_.json().at("settings");
  std::vector<TokenIds> prompts, expected_ids;
  std::vector<torch::Tensor> latents;
  for (const Json& answer : fixture_.json().at("generation")) {
    SCOPED_TRACE(answer.at("question").get<std::string>());
    std::vector<TokenIds> documents;
    std::vector<const TokenIds*> pointers;
    for (const Json& text : answer.at("docs"))
      documents.push_back(builder.encoder_ids(text.get<std::string>()));
    for (const TokenIds& document : documents) pointers.push_back(&document);
    const TokenIds question = builder.encoder_ids(answer.at("question").get<std::string>());
    const torch::NoGradGuard no_grad;
    const torch::Tensor docs = encode_documents(*model, AdapterRole::kCompressor, pointers, 4096);
    const torch::Tensor scores =
        cosine_scores(model->encode_questions(model->pack({&question}))[0], docs.flatten(1));
    EXPECT_TRUE(
        all_close(scores, torch::tensor(answer.at("scores").get<std::vector<float>>()), kForward));
    const torch::Tensor indices = topk_indices(scores, settings.at("top_k").get<std::int64_t>());
    EXPECT_TRUE(torch::equal(indices.cpu(),
                             torch::tensor(answer.at("indices").get<std::vector<std::int64_t>>())));
    prompts.push_back(builder.answer_prompt(answer.at("question").get<std::string>(),
                                            static_cast<std::int32_t>(indices.size(0))));
    EXPECT_EQ(prompts.back(), answer.at("prompt_ids").get<TokenIds>());
    latents.push_back(docs.index_select(0, indices));
    expected_ids.push_back(answer.at("ids").get<TokenIds>());
  }
  GenerationSettings generation;
  generation.max_new_tokens = fixture_.json().at("max_new_tokens").get<std::int64_t>();
  // The reference ends at the tokens of config.json and generation_config.json alone; the token
  // that ends the assistant's turn comes on top (numerics §9).
  const auto recorded_ends = fixture_.json().at("end_ids").get<std::vector<TokenId>>();
  EXPECT_EQ(generate_answers(*model, prompts, torch::cat(latents), recorded_ends, generation),
            expected_ids);
  std::set<TokenId> end_ids(recorded_ends.begin(), recorded_ends.end());
  if (const auto id =
          fixture_.text().tokenizer->token_to_id(fixture_.text().chat_format.end_of_turn))
    end_ids.insert(*id);
  EXPECT_EQ(std::set<TokenId>(fixture_.text().end_ids.begin(), fixture_.text().end_ids.end()),
            end_ids);
}

TEST_P(Parity, SplittingAStepIntoMicroBatchesChangesNothing) {
  for (const std::string stage : {"scp", "tune", "joint", "retriever"}) {
    SCOPED_TRACE(stage);
    const auto model = fixture_.load_model(torch::kFloat32, parity_device());
    const Gradients whole = gradients(*model, stage, 0), split = gradients(*model, stage, 1);
    EXPECT_GT(split.result.micro_batches, whole.result.micro_batches);
    EXPECT_NEAR(whole.result.loss, split.result.loss, 1e-5 * whole.result.loss);
    for (const auto& [name, gradient] : whole.by_name)
      EXPECT_LE(relative_error(split.by_name.at(name), gradient), 1e-4) << name;
  }
}

TEST_P(Parity, Bfloat16StaysNearTheFloat32Fixture) {
  for (const std::string stage : {"scp", "tune", "joint"}) {
    SCOPED_TRACE(stage);
    const auto model = fixture_.load_model(torch::kBFloat16, parity_device());
    const Gradients found = gradients(*model, stage, 0);
    const Json& record = fixture_.json().at("stages").at(stage);
    EXPECT_NEAR(found.result.loss, record.at("loss").get<double>(),
                0.01 * record.at("loss").get<double>());
    if (!fixture_.has(stage + ".grad/" + found.by_name.begin()->first)) continue;
    std::map<std::string, std::pair<std::vector<torch::Tensor>, std::vector<torch::Tensor>>>
        by_adapter;
    for (const auto& [name, gradient] : found.by_name) {
      auto& [ours, theirs] = by_adapter[name.substr(0, name.find('/'))];
      ours.push_back(gradient.cpu().reshape({-1}));
      theirs.push_back(fixture_.tensor(stage + ".grad/" + name).reshape({-1}));
    }
    for (const auto& [adapter, pair] : by_adapter) {
      EXPECT_GE(cosine(torch::cat(pair.first), torch::cat(pair.second)), 0.99) << adapter;
    }
  }
  for (const std::string stage : {"scp", "joint"}) {
    SCOPED_TRACE(stage);
    const auto model = fixture_.load_model(torch::kBFloat16, parity_device());
    const std::vector<double> losses = training_losses(*model, stage);
    const Json& expected = fixture_.json().at("training").at(stage).at("loss");
    for (std::size_t i = 0; i < losses.size(); ++i) {
      EXPECT_NEAR(losses[i], expected[i].get<double>(), 0.02 * expected[i].get<double>())
          << "step " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Parity, ::testing::ValuesIn(find_parity_fixtures()),
                         [](const auto& param) {
                           std::string name = param.param.filename().string();
                           for (char& c : name) {
                             if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           }
                           return name + "_" + std::to_string(param.index);
                         });

TEST(ParityFixtures, AtLeastOneIsFound) {
  EXPECT_FALSE(find_parity_fixtures().empty()) << "see CLARA_PARITY_FIXTURES";
}

}  // namespace
}  // namespace clara::testing
