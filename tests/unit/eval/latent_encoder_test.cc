// CLaRa's own index: what it finds is what the model selects, whatever the index' type and kind.
#include "clara/eval/latent_encoder.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/support/opened_model.h"
#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/eval/row_answerer.h"
#include "clara/retrieval/dense_index.h"
#include "clara/retrieval/dense_passage_search.h"
#include "clara/retrieval/index_folder.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::int32_t kNumMemory = 4, kDocMaxTokens = 24;
const fs::path kBase = fs::path(CLARA_SOURCE_DIR) / "tests/fixtures/parity/llama/base";

void randomise(LoraAdapter& adapter, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(seed);
  for (NamedTensor& named : adapter.named_tensors()) {
    if (named.name.ends_with("lora_B.weight"))
      named.tensor.copy_(0.2 * torch::randn_like(named.tensor));
  }
}

/// Seeds of the two adapters.
OpenedModel model_of(std::uint64_t compressor = 1, std::uint64_t query_reasoner = 2) {
  OpenedModel opened = testing::random_opened_model(kNumMemory, kDocMaxTokens);
  opened.description.base = kBase.string();
  randomise(opened.model->adapter(AdapterRole::kCompressor), compressor);
  randomise(opened.model->adapter(AdapterRole::kQueryReasoner), query_reasoner);
  return opened;
}

std::unique_ptr<const LatentEncoder> encoder_of(OpenedModel opened,
                                                const std::string& checkpoint = "runs/a/final") {
  std::vector<OpenedModel> models;
  models.push_back(std::move(opened));
  LatentEncoderSettings settings;
  settings.checkpoint = checkpoint;
  settings.max_batch_tokens = 100;
  return std::make_unique<const LatentEncoder>(std::move(models), kBase, settings);
}

/// Three models of one checkpoint, as on three devices.
std::unique_ptr<const LatentEncoder> encoder_of_three(std::int64_t max_batch_tokens) {
  std::vector<OpenedModel> models;
  for (int i = 0; i < 3; ++i) models.push_back(model_of());
  LatentEncoderSettings settings;
  settings.checkpoint = "runs/a/final";
  settings.max_batch_tokens = max_batch_tokens;
  return std::make_unique<const LatentEncoder>(std::move(models), kBase, settings);
}

float largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<float>();
}

class LatentIndex : public ::testing::Test {
 protected:
  LatentIndex() {
    const char* const subjects[] = {"The tower of Paris", "A river in the north", "The old bridge",
                                    "This garden",        "Her second letter",    "The harbour",
                                    "A mountain village"};
    const char* const ends[] = {
        "stands by the water.", "was built by Gustave in 1889 and is made of iron.",
        "is not what it seems; people came from far away to see it, wrote about it, and left "
        "again, and what they wrote was longer than a document may be."};
    std::string rows;
    for (const char* subject : subjects) {
      for (const char* end : ends) {
        passages_.push_back({std::to_string(passages_.size()),
                             passages_.size() % 2 == 0 ? subject : "",
                             std::string(subject) + " " + end});
        const Passage& passage = passages_.back();
        rows += Json({{"id", passage.id}, {"title", passage.title}, {"text", passage.text}}).dump();
        rows += "\n";
      }
    }
    write_text(place_ / "corpus.jsonl", rows);
  }

  DenseIndexReport build(const VectorEncoder& encoder, const std::string& name,
                         const DenseIndexSettings& settings = {},
                         const DenseIndexHooks& hooks = {}) {
    CorpusReader corpus({(place_ / "corpus.jsonl").string()});
    return build_dense_index(corpus, place_ / name, encoder, settings, hooks);
  }
  static DenseIndexSettings stored_as(TensorDtype dtype) {
    DenseIndexSettings settings;
    settings.dtype = dtype;
    settings.shard_passages = 4;
    return settings;
  }

  std::vector<std::string> documents() const {
    std::vector<std::string> out;
    for (const Passage& passage : passages_)
      out.push_back(document_of(passage, DocumentFormat::kTitleNewline));
    return out;
  }

  const std::vector<std::string> questions_ = {"Who built the tower of Paris?", "Which river?",
                                               "What did her second letter say about the garden?"};
  TemporaryFolder place_;
  std::vector<Passage> passages_;
};

TEST_F(LatentIndex, ExactSearchRanksAndScoresAsTheModelSelects) {
  build(*encoder_of(model_of()), "index", stored_as(TensorDtype::kF32));
  const DensePassageSearch index(place_ / "index", encoder_of(model_of()));
  const auto found = index.search(questions_, 1000);

  const OpenedModel opened = model_of();
  EvalSettings settings;
  settings.select = DocumentSelector::kQueryReasoner;
  settings.num_selected = 3;
  settings.max_new_tokens = 1;
  RowAnswerer answerer(opened, settings);
  std::vector<AnswerRequest> requests;
  for (const std::string& question : questions_) {
    AnswerRequest request;
    request.question = question;
    request.candidates.documents = documents();
    requests.push_back(request);
  }
  const std::vector<RowAnswer> answers = answerer.answer(requests);
  for (std::size_t q = 0; q < questions_.size(); ++q) {
    ASSERT_EQ(found[q].size(), passages_.size());
    const auto score_of = [&](std::int64_t candidate) {
      return answers[q].scores[static_cast<std::size_t>(candidate)];
    };
    for (std::size_t i = 0; i < found[q].size(); ++i) {
      // The same document at every rank, but where rounding decides.
      EXPECT_NEAR(score_of(found[q][i].passage), score_of(answers[q].ranking[i]), 1e-5) << i;
      EXPECT_NEAR(found[q][i].score, score_of(found[q][i].passage), 1e-5) << i;
      if (i < answers[q].selected.size()) {
        EXPECT_NEAR(score_of(found[q][i].passage), score_of(answers[q].selected[i]), 1e-5);
      }
    }
    EXPECT_GT(found[q].front().score, found[q].back().score + 1e-2);  // the order says something
  }
  EXPECT_GE(answerer.counts().num_cut_documents, 3 * 7);  // the long ones are cut here as there
}

TEST_F(LatentIndex, CodesThatAreAllComparedAgainAreExact) {
  DenseIndexSettings settings = stored_as(TensorDtype::kBF16);
  settings.index.kind = VectorIndexKind::kIvfPq;
  settings.index.nlist = 3;
  settings.index.pq_bits = 4;
  settings.index.pq_bytes = 4;
  const auto encoder = encoder_of(model_of());
  const torch::Tensor queries = encoder->encode_queries(questions_);
  for (const bool opq : {false, true}) {
    settings.index.opq = opq;
    settings.index.reduced_dimension = 8;
    settings.replaces = true;
    const DenseIndexReport report = build(*encoder, "index", settings);
    VectorIndex index(place_ / "index", report.index);
    index.set_search(3, 21, 0);
    EXPECT_EQ(index.search(queries, 5), index.search_exact(queries, 5));
  }
}

TEST_F(LatentIndex, HalfTheBytesAndAQuarterFindNearlyTheSame) {
  const auto encoder = encoder_of(model_of());
  const torch::Tensor queries =
      torch::cat({encoder->encode_queries(questions_), encoder->encode_queries(documents())});
  build(*encoder, "exact", stored_as(TensorDtype::kF32));
  const auto exact = VectorIndex(place_ / "exact", {}).search(queries, 5);
  for (const auto& [dtype, name, bytes] :
       {std::tuple(TensorDtype::kBF16, "bf16", 2.0), std::tuple(TensorDtype::kI8, "int8", 1.04)}) {
    build(*encoder, name, stored_as(dtype));
    const VectorIndex index(place_ / name, {});
    const auto found = index.search(queries, 5);
    EXPECT_GE(recall(found, exact), 0.9) << name;
    EXPECT_LE(static_cast<double>(index.vectors().vector_bytes()),
              bytes * static_cast<double>(index.vectors().dimension()));
    for (std::size_t q = 0; q < found.size(); ++q)
      EXPECT_NEAR(found[q][0].score, exact[q][0].score, 5e-3) << name;
  }
}

TEST_F(LatentIndex, AStoppedRunGoesOnToTheSameBytes) {
  const auto encoder = encoder_of(model_of());
  build(*encoder, "whole", stored_as(TensorDtype::kI8));
  std::int64_t done = 0;
  DenseIndexHooks hooks;
  hooks.on_encoded = [&](std::int64_t now, std::int64_t) { done = now; };
  hooks.should_stop = [&] { return done >= 8; };
  EXPECT_TRUE(build(*encoder, "parts", stored_as(TensorDtype::kI8), hooks).was_stopped);
  const DenseIndexReport report = build(*encoder, "parts", stored_as(TensorDtype::kI8));
  EXPECT_EQ(report.num_done, std::ssize(passages_));
  EXPECT_EQ(report.num_encoded, std::ssize(passages_) - 8);
  for (const auto& entry : fs::directory_iterator(place_ / "whole")) {
    EXPECT_EQ(read_file(place_ / "parts" / entry.path().filename()), read_file(entry.path()))
        << entry.path();
  }
}

TEST_F(LatentIndex, UnfinishedWorkOfAnotherCheckpointIsRefused) {
  DenseIndexHooks hooks;
  std::int64_t done = 0;
  hooks.on_encoded = [&](std::int64_t now, std::int64_t) { done = now; };
  hooks.should_stop = [&] { return done > 0; };
  build(*encoder_of(model_of()), "index", stored_as(TensorDtype::kBF16), hooks);
  EXPECT_THAT(data_error_of(
                  [&] { build(*encoder_of(model_of(5)), "index", stored_as(TensorDtype::kBF16)); }),
              AllOf(HasSubstr("another encoder"), HasSubstr("--force")));
}

TEST_F(LatentIndex, OneIndexServesEveryQueryReasonerOfItsCompressorAndNoOther) {
  build(*encoder_of(model_of(1, 2), "runs/a/final"), "index", stored_as(TensorDtype::kF32));
  const DensePassageSearch own(place_ / "index", encoder_of(model_of(1, 2)));
  const DensePassageSearch later(place_ / "index", encoder_of(model_of(1, 3), "runs/b/final"));
  EXPECT_NE(own.search(questions_, 5), later.search(questions_, 5));
  const std::string error = data_error_of(
      [&] { DensePassageSearch(place_ / "index", encoder_of(model_of(4, 2), "runs/c/final")); });
  EXPECT_THAT(error, AllOf(HasSubstr("runs/c/final: expected the checkpoint"),
                           HasSubstr((place_ / "index").string()), HasSubstr("runs/a/final)")));
  EXPECT_THAT(error, AllOf(HasSubstr("--checkpoint"), HasSubstr("clara-data index latent")));
  OpenedModel longer = model_of();
  longer.description.doc_max_tokens = kDocMaxTokens + 1;
  EXPECT_THAT(
      data_error_of([&] { DensePassageSearch(place_ / "index", encoder_of(std::move(longer))); }),
      AllOf(HasSubstr("another one"), HasSubstr("doc_max_tokens: built with 24, found 25")));
}

TEST_F(LatentIndex, AVectorThatIsNotFiniteIsRefusedWithItsText) {
  OpenedModel opened = model_of();
  {
    const torch::NoGradGuard no_grad;
    for (const AdapterRole role : {AdapterRole::kCompressor, AdapterRole::kQueryReasoner})
      opened.model->adapter(role).named_tensors().front().tensor.fill_(NAN);
  }
  const auto encoder = encoder_of(std::move(opened));
  const auto error = [&](auto encode) {
    try {
      encode();
    } catch (const NonFiniteError& refused) {
      return std::string(refused.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(error([&] { encoder->encode_passages({"The tower"}); }),
              HasSubstr("passage \"The tower\""));
  EXPECT_THAT(error([&] { encoder->encode_queries({"Which tower?"}); }),
              HasSubstr("question \"Which tower?\""));
  EXPECT_THAT(error([&] { build(*encoder, "index", stored_as(TensorDtype::kBF16)); }),
              HasSubstr("passage"));
  EXPECT_FALSE(fs::exists(place_ / "index"));
}

TEST_F(LatentIndex, BeforeJointTrainingTheCompressorReadsTheQuestions) {
  const auto joint = encoder_of(model_of());
  EXPECT_TRUE(joint->has_query_reasoner());
  EXPECT_GT(
      largest_difference(joint->encode_queries(questions_), joint->encode_passages(questions_)),
      1e-3);
  OpenedModel tuned = model_of();
  tuned.description.stage = "tune";
  OpenedModel exported = model_of();
  exported.description.adapters = {"compressor", "generator"};
  for (OpenedModel* opened : {&tuned, &exported}) {
    const auto encoder = encoder_of(std::move(*opened));
    EXPECT_FALSE(encoder->has_query_reasoner());
    EXPECT_LT(largest_difference(encoder->encode_queries(questions_),
                                 encoder->encode_passages(questions_)),
              1e-6);
  }
}

TEST_F(LatentIndex, SeveralModelsShareThePassages) {
  const auto encoder = encoder_of_three(/*max_batch_tokens=*/60);
  const LatentEncoder& shared = *encoder;
  std::vector<std::int64_t> told;
  const torch::Tensor vectors =
      shared.encode_passages(documents(), [&](std::int64_t done) { told.push_back(done); });
  EXPECT_LT(largest_difference(vectors, encoder_of(model_of())->encode_passages(documents())),
            1e-6);
  EXPECT_LT(largest_difference(vectors.norm(2, 1), torch::ones({vectors.size(0)})), 1e-5);
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_EQ(told.back(), std::ssize(passages_));
  EXPECT_GE(shared.num_cut_passages(), 7);
  EXPECT_LT(shared.num_cut_passages(), std::ssize(passages_));
  EXPECT_EQ(vectors.size(1), shared.dimension());
  EXPECT_EQ(shared.encode_passages({}).size(0), 0);
  EXPECT_EQ(shared.encode_queries({}).size(0), 0);
}

TEST_F(LatentIndex, WhereOneModelFailsTheOthersEnd) {
  const auto encoder = encoder_of_three(/*max_batch_tokens=*/1);
  const LatentEncoder& shared = *encoder;
  int calls = 0;
  const auto fails_first = [&](std::int64_t) {
    if (++calls == 1) throw DataError("the first");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));  // until the others are told
  };
  EXPECT_EQ(data_error_of([&] { shared.encode_passages(documents(), fails_first); }), "the first");
  EXPECT_LT(calls, std::ssize(passages_) / 2);
}

class LatentCheckpoint : public LatentIndex {
 protected:
  LatentCheckpoint() { save("run/final", model_of()); }

  void save(const std::string& name, const OpenedModel& opened) {
    fs::create_directories(place_ / name);
    save_model_files(place_ / name, *opened.model, opened.description);
  }
  LatentEncoderSettings settings_of(const std::string& name) {
    LatentEncoderSettings settings;
    settings.checkpoint = place_ / name;
    settings.dtype = Dtype::kFloat32;
    settings.device = Device::kCpu;
    return settings;
  }
};

TEST_F(LatentCheckpoint, TheIndexKnowsItsCheckpointAndType) {
  const LatentEncoder encoder(settings_of("run"));
  EXPECT_EQ(encoder.fingerprint(), encoder_of(model_of())->fingerprint());
  build(encoder, "index", stored_as(TensorDtype::kF32));
  const Json manifest = Json::parse(read_file(place_ / "index" / kIndexManifestName));
  EXPECT_EQ(manifest["kind"], "latent");
  EXPECT_EQ(manifest["names"]["checkpoint"], (place_ / "run/final").string());
  EXPECT_EQ(manifest["names"]["dtype"], "float32");
  EXPECT_EQ(manifest["settings"]["num_memory_tokens"], kNumMemory);
  LatentEncoderSettings on_cpu;
  on_cpu.device = Device::kCpu;
  const DensePassageSearch search(place_ / "index", open_latent_encoder(place_ / "index", on_cpu));
  EXPECT_EQ(search.search(questions_, 5),
            DensePassageSearch(place_ / "index", encoder_of(model_of())).search(questions_, 5));
}

TEST_F(LatentCheckpoint, WhatIsNotTheIndexesIsToldWithTheWayOut) {
  build(LatentEncoder(settings_of("run/final")), "index", stored_as(TensorDtype::kBF16));
  LatentEncoderSettings settings;
  settings.device = Device::kCpu;
  settings.dtype = Dtype::kBfloat16;
  EXPECT_THROW(
      {
        try {
          open_latent_encoder(place_ / "index", settings);
        } catch (const ConfigError& error) {
          EXPECT_THAT(error.what(),
                      AllOf(HasSubstr("dtype: expected float32"), HasSubstr("index")));
          throw;
        }
      },
      ConfigError);
  settings.dtype = Dtype::kAuto;
  fs::rename(place_ / "run", place_ / "moved");
  EXPECT_THAT(data_error_of([&] { open_latent_encoder(place_ / "index", settings); }),
              AllOf(HasSubstr("run/final: expected the checkpoint"), HasSubstr("--checkpoint")));
  settings.checkpoint = place_ / "moved";
  EXPECT_NO_THROW(
      DensePassageSearch(place_ / "index", open_latent_encoder(place_ / "index", settings)));
  settings.checkpoint = place_ / "nowhere";
  EXPECT_THROW(open_latent_encoder(place_ / "index", settings), CheckpointError);
  save("other/final", model_of(7));
  settings.checkpoint = place_ / "other";
  EXPECT_THAT(data_error_of([&] {
                DensePassageSearch(place_ / "index",
                                   open_latent_encoder(place_ / "index", settings));
              }),
              AllOf(HasSubstr("other/final: expected the checkpoint"), HasSubstr("run/final)")));
}

TEST_F(LatentCheckpoint, AnotherTokenizerIsToldWithTheBase) {
  build(LatentEncoder(settings_of("run")), "index", stored_as(TensorDtype::kF32));
  fs::copy(kBase, place_ / "other_base", fs::copy_options::recursive);
  write_text(place_ / "other_base/tokenizer.json", read_file(kBase / "tokenizer.json") + "\n");
  LatentEncoderSettings settings;
  settings.device = Device::kCpu;
  settings.base = (place_ / "other_base").string();
  const std::string error = data_error_of([&] {
    DensePassageSearch(place_ / "index", open_latent_encoder(place_ / "index", settings));
  });
  EXPECT_THAT(error, AllOf(HasSubstr("base: built with " + kBase.string()),
                           HasSubstr("found " + settings.base), HasSubstr("--base another base")));
}

TEST_F(LatentCheckpoint, SettingsThatCannotBeAreRefused) {
  LatentEncoderSettings settings = settings_of("run");
  settings.num_devices = 2;
  EXPECT_THROW(LatentEncoder{settings}, ConfigError);
  settings.num_devices = 0;
  EXPECT_THROW(LatentEncoder{settings}, ConfigError);
  settings = settings_of("run");
  settings.max_batch_tokens = 0;
  EXPECT_THROW(LatentEncoder{settings}, ConfigError);
}

}  // namespace
}  // namespace clara
