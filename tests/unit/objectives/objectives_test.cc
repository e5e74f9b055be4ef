// Laws of the training stages: what is trained, what a step's split may not change, how the frozen
// documents enter, and each loss against its equation.
#include <cmath>
#include <functional>
#include <set>

#include "tests/support/tensor_compare.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/objectives/compression_objective.h"
#include "clara/objectives/generator_objective.h"
#include "clara/objectives/joint_objective.h"
#include "clara/objectives/loss_terms.h"
#include "clara/objectives/objective.h"
#include "clara/objectives/retriever_objective.h"
#include "clara/parallel/communicator.h"
#include "clara/trainer/optimizer.h"
#include "clara/trainer/train_step.h"

namespace clara::testing {
namespace {

using ::testing::ElementsAre;
using torch::Tensor;
using Gradients = std::map<std::string, Tensor>;

/// A tiny model at the start of a stage.
struct TinyStage {
  std::unique_ptr<ClaraModel> model;
  std::unique_ptr<DocumentLatents> documents;
  std::unique_ptr<Objective> objective;
  std::vector<Example> rows;
};

struct StageOptions {
  TinyModelOptions model;
  double dropout = 0;
  bool activation_checkpointing = false;
  double temperature = 0.2;
  LatentTokenLossConfig latent_token_loss;
  std::unique_ptr<LatentStore> store;
};

// "text": tune where the documents stand in the prompt.
const std::vector<std::string> kStages = {"scp", "tune", "text", "joint", "retriever"};

TinyStage make_stage(const std::string& stage, StageOptions options = {}) {
  TinyStage tiny;
  tiny.model = tiny_model(options.model);
  if (stage == "scp" || stage == "tune") {
    CompressionSettings settings;
    settings.lora_dropout = options.dropout;
    settings.activation_checkpointing = options.activation_checkpointing;
    settings.latent_token_loss = options.latent_token_loss;
    settings.bos_id = kTinyBos;
    settings.eos_id = kTinyEos;
    tiny.objective = std::make_unique<CompressionObjective>(*tiny.model, settings);
    if (stage == "scp") {
      tiny.rows = scp_rows(6);
    } else {
      for (std::uint64_t i = 0; i < 6; ++i) {
        const auto documents = static_cast<std::int32_t>(1 + i % 3);
        tiny.rows.push_back(tiny_example(200 + i, {documents, documents, false, {}}));
      }
    }
    return tiny;
  }
  if (stage == "text") {
    tiny.objective = std::make_unique<GeneratorObjective>(
        *tiny.model, GeneratorSettings{options.dropout, options.activation_checkpointing});
    for (std::uint64_t i = 0; i < 6; ++i)
      tiny.rows.push_back(tiny_example(300 + i, {0, 0, false, {}}));
    return tiny;
  }
  tiny.documents = std::make_unique<DocumentLatents>(*tiny.model, std::move(options.store), 128);
  tiny.rows = joint_rows(5);
  if (stage == "joint") {
    tiny.objective = std::make_unique<JointObjective>(
        *tiny.model, *tiny.documents,
        JointSettings{2, options.temperature, TopkMask::kLeaky, options.dropout,
                      options.activation_checkpointing});
  } else {
    tiny.rows[3].positives.clear();
    tiny.objective = std::make_unique<RetrieverObjective>(
        *tiny.model, *tiny.documents,
        RetrieverSettings{options.temperature, options.dropout, options.activation_checkpointing});
  }
  return tiny;
}

struct StepOutcome {
  StepResult result;
  Gradients gradients;
};

StepOutcome gradients_of(TinyStage& tiny, const std::vector<Example>& rows,
                         const StepSettings& settings = {}, std::int64_t step = 0) {
  const std::vector<TrainedParameter> trained = tiny.objective->trained_parameters();
  AdamW optimizer(trained, TrainerConfig{});
  SingleProcessCommunicator communicator;
  StepOutcome outcome;
  outcome.result =
      accumulate_gradients(*tiny.objective, optimizer, communicator, rows, step, settings);
  for (const TrainedParameter& p : trained) outcome.gradients[p.name] = p.tensor.grad().clone();
  return outcome;
}

void expect_same(const StepOutcome& found, const StepOutcome& expected, double gradient = 1e-4) {
  EXPECT_NEAR(found.result.loss, expected.result.loss, 1e-5 * std::abs(expected.result.loss));
  ASSERT_EQ(found.gradients.size(), expected.gradients.size());
  for (const auto& [name, value] : expected.gradients)
    EXPECT_LE(relative_error(found.gradients.at(name), value), gradient) << name;
}

/// Every tensor of the model that could be trained, by name.
std::map<std::string, Tensor> all_tensors(const ClaraModel& model) {
  std::map<std::string, Tensor> tensors = {{"memory_rows", model.memory().memory_rows},
                                           {"fixed_rows", model.memory().fixed_rows},
                                           {"base/embedding", model.base().weights().embedding},
                                           {"base/final_norm", model.base().weights().final_norm},
                                           {"base/head", model.base().weights().head}};
  if (model.memory().head_rows.defined()) tensors["head_rows"] = model.memory().head_rows;
  for (AdapterRole role : kAdapterRoles) {
    for (const NamedTensor& named : model.adapter(role).named_tensors())
      tensors[adapter_name(role) + "/" + named.name] = named.tensor;
  }
  std::int64_t layer = 0;
  for (const DecoderLayerWeights& block : model.base().weights().layers) {
    const std::string prefix = "base/" + std::to_string(layer++) + ".";
    tensors[prefix + "input_norm"] = block.input_norm;
    tensors[prefix + "post_attention_norm"] = block.post_attention_norm;
    for (std::size_t p = 0; p < block.projections.size(); ++p)
      tensors[prefix + std::to_string(p)] = block.projections[p];
  }
  return tensors;
}

std::set<std::string> adapter_tensor_names(const std::string& adapter) {
  std::set<std::string> names;
  for (const char* layer : {"0", "1"}) {
    for (const char* module :
         {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
          "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
      for (const char* part : {"lora_A", "lora_B"}) {
        names.insert(adapter + "/base_model.model.model.layers." + layer + "." + module + "." +
                     part + ".weight");
      }
    }
  }
  return names;
}

std::set<std::string> trained_set(const std::string& stage) {
  std::set<std::string> names;
  const auto add = [&](const std::string& adapter) { names.merge(adapter_tensor_names(adapter)); };
  if (stage == "scp" || stage == "tune") {
    add("compressor");
    add("generator");
    names.insert("memory_rows");
  } else if (stage == "text") {
    add("generator");
  } else {
    add("query_reasoner");
    if (stage == "joint") add("generator");
  }
  return names;
}

TEST(Objectives, TheTrainedSetIsExactlyAsListed) {
  for (const bool tied : {true, false}) {
    for (const std::string& stage : kStages) {
      SCOPED_TRACE(stage);
      StageOptions options;
      options.model.tied = tied;
      TinyStage tiny = make_stage(stage, std::move(options));
      const std::set<std::string> expected = trained_set(stage);
      std::set<std::string> names;
      for (const TrainedParameter& p : tiny.objective->trained_parameters()) {
        EXPECT_TRUE(names.insert(p.name).second) << p.name << " is listed twice";
        EXPECT_TRUE(p.tensor.requires_grad() && p.tensor.is_leaf()) << p.name;
      }
      EXPECT_EQ(names, expected);
      for (const auto& [name, tensor] : all_tensors(*tiny.model))
        EXPECT_EQ(tensor.requires_grad(), expected.contains(name)) << name;
    }
  }
}

TEST(Objectives, AStageTakesOverFromAnotherOne) {
  TinyStage tiny = make_stage("scp");
  DocumentLatents documents(*tiny.model, nullptr, 128);
  const JointObjective joint(*tiny.model, documents, {});
  for (const auto& [name, tensor] : all_tensors(*tiny.model))
    EXPECT_EQ(tensor.requires_grad(), trained_set("joint").contains(name)) << name;
}

TEST(Objectives, EveryTrainedParameterGetsGradientAndNothingElseDoes) {
  for (const bool tied : {true, false}) {
    for (const std::string& stage : kStages) {
      SCOPED_TRACE(stage);
      StageOptions options;
      options.model.tied = tied;
      TinyStage tiny = make_stage(stage, std::move(options));
      const StepOutcome outcome = gradients_of(tiny, tiny.rows);
      for (const auto& [name, gradient] : outcome.gradients)
        EXPECT_GT(gradient.norm().item<double>(), 0) << name;
      if (outcome.gradients.contains("memory_rows")) {
        EXPECT_GT(outcome.gradients.at("memory_rows").norm(2, 1).min().item<double>(), 0)
            << "each memory row";
      }
      for (const auto& [name, tensor] : all_tensors(*tiny.model)) {
        if (!trained_set(stage).contains(name)) {
          EXPECT_FALSE(tensor.grad().defined()) << name;
        }
      }
    }
  }
}

TEST(Objectives, MicroBatchSplitsChangeNothing) {
  for (const std::string& stage : kStages) {
    SCOPED_TRACE(stage);
    TinyStage tiny = make_stage(stage);
    const StepOutcome whole = gradients_of(tiny, tiny.rows, {0, 1 << 20, 0});
    EXPECT_EQ(whole.result.micro_batches, 1);
    for (const StepSettings& split : {StepSettings{1, 8192, 0}, StepSettings{2, 8192, 0},
                                      StepSettings{0, 30, 0}, StepSettings{0, 1, 0}}) {
      const StepOutcome found = gradients_of(tiny, tiny.rows, split);
      EXPECT_GT(found.result.micro_batches, 1);
      EXPECT_EQ(found.result.rows, whole.result.rows);
      EXPECT_EQ(found.result.answer_tokens, whole.result.answer_tokens);
      EXPECT_EQ(found.result.terms.size(), whole.result.terms.size());
      expect_same(found, whole);
    }
  }
}

TEST(Objectives, TheOrderOfRowsChangesNothing) {
  for (const std::string& stage : kStages) {
    SCOPED_TRACE(stage);
    TinyStage tiny = make_stage(stage);
    const std::vector<Example> reversed(tiny.rows.rbegin(), tiny.rows.rend());
    expect_same(gradients_of(tiny, reversed, {2, 8192, 0}), gradients_of(tiny, tiny.rows));
  }
}

TEST(Objectives, ActivationCheckpointingChangesNothing) {
  for (const std::string& stage : kStages) {
    SCOPED_TRACE(stage);
    StageOptions plain, checkpointed;
    plain.dropout = checkpointed.dropout = 0.2;
    checkpointed.activation_checkpointing = true;
    TinyStage first = make_stage(stage, std::move(plain)),
              second = make_stage(stage, std::move(checkpointed));
    expect_same(gradients_of(second, second.rows, {2, 8192, 3}),
                gradients_of(first, first.rows, {2, 8192, 3}));
  }
}

TEST(Objectives, DropoutFollowsSeedStepAndMicroBatch) {
  for (const std::string& stage : kStages) {
    SCOPED_TRACE(stage);
    StageOptions options;
    options.dropout = 0.3;
    TinyStage tiny = make_stage(stage, std::move(options));
    const auto loss = [&](const MicroBatchContext& context) {
      return tiny.objective->forward(pointers_to(tiny.rows), context)[0].sum.item<double>();
    };
    const double reference = loss({4, 0, 1, 9, true});
    EXPECT_EQ(loss({4, 0, 1, 9, true}), reference);
    EXPECT_NE(loss({5, 0, 1, 9, true}), reference) << "step";
    EXPECT_NE(loss({4, 1, 1, 9, true}), reference) << "rank";
    EXPECT_NE(loss({4, 0, 2, 9, true}), reference) << "micro-batch";
    EXPECT_NE(loss({4, 0, 1, 8, true}), reference) << "seed";
    EXPECT_EQ(loss({4, 0, 1, 9, false}), loss({5, 1, 2, 8, false})) << "no dropout in validation";
  }
}

TEST(Objectives, CountsAddUpOverRows) {
  for (const std::string& stage : kStages) {
    SCOPED_TRACE(stage);
    TinyStage tiny = make_stage(stage);
    const std::vector<TermSpec> terms = tiny.objective->terms(0);
    const std::vector<LossTerm> losses =
        tiny.objective->forward(pointers_to(tiny.rows), {0, 0, 0, 0, true});
    const StepOutcome outcome = gradients_of(tiny, tiny.rows);
    ASSERT_EQ(losses.size(), terms.size());
    double loss = 0;
    for (std::size_t i = 0; i < terms.size(); ++i) {
      EXPECT_EQ(losses[i].name, terms[i].name);
      EXPECT_EQ(losses[i].sum.dtype(), torch::kFloat32);
      std::int64_t count = 0;
      for (const Example& row : tiny.rows) {
        ASSERT_EQ(tiny.objective->counts(row, 0).size(), terms.size());
        count += tiny.objective->counts(row, 0)[i];
      }
      const double mean = losses[i].sum.item<double>() / static_cast<double>(count);
      EXPECT_NEAR(outcome.result.terms.at(terms[i].name), mean, 1e-5 * std::abs(mean));
      loss += terms[i].weight * mean;
    }
    EXPECT_NEAR(outcome.result.loss, loss, 1e-5 * std::abs(loss));
  }
}

// ---- scp, tune ----------------------------------------------------------------------------------

TEST(CompressionObjective, LossIsTheCrossEntropyPlusTheWeightedAlignment) {
  TinyStage tiny = make_stage("tune");
  const StepOutcome outcome = gradients_of(tiny, tiny.rows);
  const torch::NoGradGuard no_grad;
  const CompressedDocuments compressed =
      tiny.model->compress(tiny.model->pack(documents_of(tiny.rows)));
  const double ce =
      tiny.model->answer_loss(answers_of(*tiny.model, tiny.rows), compressed.latents_NMD)
          .nll.mean()
          .item<double>();
  const double alignment = compressed.alignment_N.mean().item<double>();
  EXPECT_NEAR(outcome.result.loss, ce + 0.1 * alignment, 1e-4);
}

TEST(CompressionObjective, WarmUpTermIsOnForItsStepsAndAloneForItsFirst) {
  StageOptions options;
  options.latent_token_loss = {0.5, 4, 2, "span"};
  TinyStage tiny = make_stage("scp", std::move(options));
  const auto names = [&](std::int64_t step) {
    std::vector<std::string> result;
    for (const TermSpec& term : tiny.objective->terms(step)) result.push_back(term.name);
    const std::vector<LossTerm> losses =
        tiny.objective->forward(pointers_to(tiny.rows), {step, 0, 0, 0, true});
    EXPECT_EQ(losses.size(), result.size()) << step;
    return result;
  };
  EXPECT_THAT(names(0), ElementsAre("alignment", "latent_token"));
  EXPECT_THAT(names(1), ElementsAre("alignment", "latent_token"));
  EXPECT_THAT(names(2), ElementsAre("cross_entropy", "alignment", "latent_token"));
  EXPECT_THAT(names(3), ElementsAre("cross_entropy", "alignment", "latent_token"));
  EXPECT_THAT(names(4), ElementsAre("cross_entropy", "alignment"));
  EXPECT_EQ(tiny.objective->terms(0)[1].weight, 0.5);
  EXPECT_EQ(tiny.objective->terms(0)[0].weight, 0.1);
}

TEST(CompressionObjective, TheWarmUpTermHasTheTargetOfTheConfig) {
  for (const bool whole : {false, true}) {
    StageOptions options;
    options.latent_token_loss = {0.5, 4, 4, whole ? "document" : "span", "uniform"};
    TinyStage tiny = make_stage("tune", std::move(options));
    const torch::NoGradGuard no_grad;
    const LossTerm term =
        tiny.objective->forward(pointers_to(tiny.rows), {0, 0, 0, 0, true}).back();
    const std::vector<const TokenIds*> documents = documents_of(tiny.rows);
    const Tensor expected = latent_token_loss(
        *tiny.model, tiny.model->compress(tiny.model->pack(documents)).latents_NMD, documents,
        {whole ? LatentTokenTarget::kDocument : LatentTokenTarget::kSpan, kTinyBos, kTinyEos, {}});
    EXPECT_NEAR(term.sum.item<float>(), expected.item<float>(), 1e-4) << whole;
  }
}

TEST(CompressionObjective, TheWarmUpTermIsOffByDefault) {
  const TinyStage tiny = make_stage("scp");
  EXPECT_EQ(tiny.objective->terms(0).size(), 2U);
}

TEST(CompressionObjective, TokenWeightsMustFitTheVocabulary) {
  const auto model = tiny_model();
  CompressionSettings settings;
  settings.token_weights.assign(kTinyVocabRows, 0.5F);
  EXPECT_NO_THROW(CompressionObjective(*model, settings));
  settings.token_weights[3] = 0;
  EXPECT_THROW(CompressionObjective(*model, settings), ConfigError);
  settings.token_weights.assign(kTinyVocabRows - 1, 0.5F);
  EXPECT_THROW(CompressionObjective(*model, settings), ConfigError);
}

TEST(CompressionObjective, ValidationDoesNotDependOnItsBatches) {
  for (const std::string stage : {"scp", "tune"}) {
    TinyStage tiny = make_stage(stage);
    const auto whole = tiny.objective->validate(tiny.rows, 1 << 20);
    for (const char* name :
         {"loss", "latent_gap", "alignment", "latent_cosine", "latent_between_variance"})
      EXPECT_TRUE(whole.contains(name)) << name;
    for (const std::int64_t limit : {1, 70}) {
      for (const auto& [name, value] : tiny.objective->validate(tiny.rows, limit))
        EXPECT_NEAR(value, whole.at(name), 1e-4 * (1 + std::abs(whole.at(name)))) << name;
    }
    const StepOutcome outcome = gradients_of(tiny, tiny.rows);
    EXPECT_NEAR(whole.at("loss"), outcome.result.terms.at("cross_entropy"), 1e-4);
    EXPECT_NEAR(whole.at("alignment"), outcome.result.terms.at("alignment"), 1e-4);
  }
}

TEST(CompressionObjective, TheLatentGapIsTheLossWithAnotherRowsLatentsMinusTheOwn) {
  TinyStage tiny = make_stage("scp");
  const auto metrics = tiny.objective->validate(tiny.rows, 8192);
  const torch::NoGradGuard no_grad;
  const Tensor latents =
      tiny.model->compress(tiny.model->pack(documents_of(tiny.rows))).latents_NMD;
  const AnswerBatch answers = answers_of(*tiny.model, tiny.rows);
  const double own = tiny.model->answer_loss(answers, latents).nll.mean().item<double>();
  const double other =
      tiny.model->answer_loss(answers, latents.roll(-1, 0)).nll.mean().item<double>();
  EXPECT_NEAR(metrics.at("latent_gap"), other - own, 1e-4);
  EXPECT_NE(metrics.at("latent_gap"), 0);
}

TEST(CompressionObjective, TheLatentGapIsZeroWhereAllDocumentsAreTheSame) {
  TinyStage tiny = make_stage("scp");
  for (Example& row : tiny.rows) row.documents = tiny.rows[0].documents;
  const auto metrics = tiny.objective->validate(tiny.rows, 8192);
  EXPECT_NEAR(metrics.at("latent_gap"), 0, 1e-6);
  EXPECT_NEAR(metrics.at("latent_cosine"), 1, 1e-5) << "collapse";
  EXPECT_NEAR(metrics.at("latent_between_variance"), 0, 1e-6) << "collapse";
}

TEST(GeneratorObjective, LossIsThatOfTheAnswersAlone) {
  TinyStage tiny = make_stage("text");
  double sum = 0;
  std::int64_t num_tokens = 0;
  for (const Example& row : tiny.rows) {
    const torch::NoGradGuard no_grad;
    const AnswerBatch alone = answers_of(*tiny.model, {row});
    sum += tiny.model->answer_loss(alone, {}).sum.item<double>();
    num_tokens += row.num_answer_tokens();
  }
  const double mean = sum / static_cast<double>(num_tokens);
  for (const std::int64_t batch_tokens : {1, 30, 8192}) {
    const auto metrics = tiny.objective->validate(tiny.rows, batch_tokens);
    ASSERT_EQ(metrics.size(), 1u);
    EXPECT_NEAR(metrics.at("loss"), mean, 1e-5 * mean);
  }
  EXPECT_NEAR(gradients_of(tiny, tiny.rows).result.loss, mean, 1e-5 * mean);
}

TEST(Objectives, ValidationOfNoRowsIsEmptyOrZero) {
  for (const std::string& stage : kStages) {
    TinyStage tiny = make_stage(stage);
    const auto metrics = tiny.objective->validate({}, 8192);
    EXPECT_FALSE(metrics.contains("loss")) << stage;
  }
}

// ---- joint --------------------------------------------------------------------------------------

TEST(JointObjective, TheFrozenCompressorIsUntouchedBitForBit) {
  for (const std::string stage : {"joint", "retriever"}) {
    StageOptions options;
    options.dropout = 0.1;
    options.store = std::make_unique<MemoryLatentStore>();
    TinyStage tiny = make_stage(stage, std::move(options));
    std::map<std::string, Tensor> before;
    for (const auto& [name, tensor] : all_tensors(*tiny.model))
      before[name] = tensor.detach().clone();
    TrainerConfig config;
    AdamW optimizer(tiny.objective->trained_parameters(), config);
    SingleProcessCommunicator communicator;
    for (std::int64_t step = 0; step < 3; ++step) {
      train_step(*tiny.objective, optimizer, communicator, tiny.rows, step, 1e-2, {2, 8192, 1});
    }
    for (const auto& [name, tensor] : all_tensors(*tiny.model)) {
      EXPECT_EQ(torch::equal(tensor, before.at(name)), !trained_set(stage).contains(name)) << name;
    }
  }
}

TEST(JointObjective, TheStoreGivesTheLossOfNoStore) {
  const TemporaryFolder folder;
  const std::vector<std::int64_t> shape = {kTinyNumMemory, kTinyWidth};
  TinyStage none = make_stage("joint");
  const Hash128 fingerprint = compressor_fingerprint(*none.model);
  const StepOutcome expected = gradients_of(none, none.rows);
  const auto open_disk = [&] {
    return std::make_unique<DiskLatentStore>(folder.path(), fingerprint, shape, torch::kFloat32, 0);
  };
  const std::vector<std::function<std::unique_ptr<LatentStore>()>> stores = {
      [] { return std::make_unique<MemoryLatentStore>(); }, open_disk, open_disk};
  for (std::size_t i = 0; i < stores.size(); ++i) {
    SCOPED_TRACE(i);
    StageOptions options;
    options.store = stores[i]();
    TinyStage tiny = make_stage("joint", std::move(options));
    for (int round = 0; round < 2; ++round) {
      const StepOutcome found = gradients_of(tiny, tiny.rows);
      EXPECT_EQ(found.result.loss, expected.result.loss) << "round " << round;
      expect_same(found, expected, 1e-6);
    }
    EXPECT_EQ(tiny.documents->num_encoded(), i == 2 ? 0 : 30)
        << "a store opened again has everything";
  }
}

TEST(JointObjective, ForwardIsTheLossOfTheSelectedDocuments) {
  for (const double temperature : {0.02, 1.0}) {
    StageOptions options;
    options.temperature = temperature;
    TinyStage tiny = make_stage("joint", std::move(options));
    const double found =
        tiny.objective->forward(pointers_to(tiny.rows), {0, 0, 0, 0, false})[0].sum.item<double>();
    const torch::NoGradGuard no_grad;
    const ClaraModel& model = *tiny.model;
    std::vector<Tensor> selected;
    for (const Example& row : tiny.rows) {
      const Tensor latents =
          model.encode(AdapterRole::kCompressor, model.pack(documents_of({row})));
      const Tensor question = model.encode_questions(model.pack({&row.question}))[0];
      const Tensor best = std::get<1>(torch::topk(cosine_scores(question, latents.flatten(1)), 2));
      selected.push_back(latents.index_select(0, best));
    }
    const double expected =
        model.answer_loss(answers_of(model, tiny.rows), torch::cat(selected)).sum.item<double>();
    EXPECT_NEAR(found, expected, 1e-4 * expected);
  }
}

TEST(JointObjective, UnselectedCandidatesTeachTheQueryReasoner) {
  // Another document in an unselected place leaves the loss as it is and moves the gradient.
  TinyStage tiny = make_stage("joint");
  std::vector<Example> rows = {tiny.rows[0]};
  const StepOutcome before = gradients_of(tiny, rows);
  std::int64_t unselected = -1;
  {
    const torch::NoGradGuard no_grad;
    const Tensor scores =
        cosine_scores(tiny.model->encode_questions(tiny.model->pack({&rows[0].question}))[0],
                      tiny.documents->fetch(documents_of(rows)).flatten(1));
    unselected = scores.argmin().item<std::int64_t>();
  }
  TokenIds& document = rows[0].documents[static_cast<std::size_t>(unselected)];
  document[2] = document[2] == 7 ? 8 : 7;
  const StepOutcome after = gradients_of(tiny, rows);
  ASSERT_NEAR(after.result.loss, before.result.loss, 1e-6) << "the place stays unselected";
  double moved = 0;
  for (const auto& [name, gradient] : before.gradients) {
    const double error = relative_error(after.gradients.at(name), gradient);
    if (name.starts_with("query_reasoner/")) {
      moved = std::max(moved, error);
    } else {
      EXPECT_LT(error, 1e-5) << name;
    }
  }
  EXPECT_GT(moved, 1e-4);
}

TEST(JointObjective, RelevanceLabelsDoNotEnterTheLoss) {
  TinyStage tiny = make_stage("joint");
  const StepOutcome with = gradients_of(tiny, tiny.rows);
  for (Example& row : tiny.rows) row.positives.clear();
  const StepOutcome without = gradients_of(tiny, tiny.rows);
  EXPECT_EQ(with.result.loss, without.result.loss);
  for (const auto& [name, gradient] : with.gradients)
    EXPECT_TRUE(torch::equal(gradient, without.gradients.at(name))) << name;
}

TEST(JointObjective, RowsMayHaveDifferentNumbersOfCandidates) {
  TinyStage tiny = make_stage("joint");
  std::vector<Example> rows = {tiny_example(1, {7, 2, true, {}}), tiny_example(2, {1, 1, true, {}}),
                               tiny_example(3, {2, 2, true, {}})};
  const StepOutcome together = gradients_of(tiny, rows);
  EXPECT_TRUE(std::isfinite(together.result.loss));
  expect_same(gradients_of(tiny, rows, {1, 8192, 0}), together);
}

TEST(JointObjective, ValidationReportsLossAndRecall) {
  TinyStage tiny = make_stage("joint");
  const torch::NoGradGuard no_grad;
  // Label each row with its best candidate: every recall is 1.
  for (Example& row : tiny.rows) {
    const Tensor scores =
        cosine_scores(tiny.model->encode_questions(tiny.model->pack({&row.question}))[0],
                      tiny.documents->fetch(documents_of({row})).flatten(1));
    row.positives = {scores.argmax().item<std::int32_t>()};
  }
  auto metrics = tiny.objective->validate(tiny.rows, 8192);
  EXPECT_EQ(metrics.at("recall@1"), 1);
  EXPECT_EQ(metrics.at("num_with_positives"), 5);
  const double loss =
      tiny.objective->forward(pointers_to(tiny.rows), {0, 0, 0, 0, false})[0].sum.item<double>();
  std::int64_t answer_tokens = 0;
  for (const Example& row : tiny.rows) answer_tokens += row.num_answer_tokens();
  EXPECT_NEAR(metrics.at("loss"), loss / static_cast<double>(answer_tokens), 1e-4);
  for (const std::int64_t limit : {1, 100}) {
    for (const auto& [name, value] : tiny.objective->validate(tiny.rows, limit))
      EXPECT_NEAR(value, metrics.at(name), 1e-4) << name;
  }
  for (Example& row : tiny.rows) row.positives.clear();
  metrics = tiny.objective->validate(tiny.rows, 8192);
  EXPECT_EQ(metrics.at("num_with_positives"), 0);
  EXPECT_FALSE(metrics.contains("recall@1"));
}

// ---- supervised retriever -----------------------------------------------------------------------

TEST(RetrieverObjective, LossIsItsEquationOverRowsWithPositives) {
  TinyStage tiny = make_stage("retriever");
  const StepOutcome outcome = gradients_of(tiny, tiny.rows);
  const torch::NoGradGuard no_grad;
  double sum = 0, count = 0;
  for (const Example& row : tiny.rows) {
    if (row.positives.empty()) continue;
    const Tensor scores =
        cosine_scores(tiny.model->encode_questions(tiny.model->pack({&row.question}))[0],
                      tiny.documents->fetch(documents_of({row})).flatten(1));
    double all = 0, positive = 0;
    for (std::int64_t k = 0; k < 6; ++k) {
      const double weight = std::exp(scores[k].item<double>() / 0.2);
      all += weight;
      if (k == 1 || k == 2) positive += weight;
    }
    sum += std::log(all / positive);
    ++count;
  }
  EXPECT_EQ(count, 4);
  EXPECT_NEAR(outcome.result.loss, sum / count, 1e-4);
}

TEST(RetrieverObjective, AStepWithoutPositivesTrainsNothing) {
  TinyStage tiny = make_stage("retriever");
  for (Example& row : tiny.rows) row.positives.clear();
  const StepOutcome outcome = gradients_of(tiny, tiny.rows);
  EXPECT_EQ(outcome.result.loss, 0);
  EXPECT_EQ(outcome.result.gradient_norm, 0);
}

}  // namespace
}  // namespace clara::testing
