// Encoders against recordings of transformers (tests/fixtures/retrieval/record_encoders.py), the
// laws of batching, and what is refused. CLARA_ENCODER_FIXTURE names a folder with a real encoder
// and its recording (record_real_encoder.py), which is compared too.
#include "clara/retrieval/text_encoder.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "retrieval/bert_kernels.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;
namespace fs = std::filesystem;

const fs::path kFixtures = fs::path(CLARA_SOURCE_DIR) / "tests/fixtures/retrieval";

Json recording() { return Json::parse(read_file(kFixtures / "expected.json")); }

std::vector<std::string> texts() { return recording()["texts"].get<std::vector<std::string>>(); }

torch::Tensor to_tensor(const Json& rows) {
  std::vector<torch::Tensor> tensors;
  for (const Json& row : rows) tensors.push_back(torch::tensor(row.get<std::vector<float>>()));
  return torch::stack(tensors);
}

double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return (a - b).abs().max().item<double>();
}

/// A copy of a recorded encoder that may be altered.
class EncoderCopy {
 public:
  explicit EncoderCopy(const std::string& name) {
    fs::copy(kFixtures / name, folder_.path(), fs::copy_options::recursive);
  }
  fs::path path() const { return folder_.path(); }
  template <typename Change>
  void edit(const std::string& file, const Change& change) const {
    Json json = Json::parse(read_file(path() / file));
    change(json);
    std::ofstream(path() / file) << json.dump();
  }
  template <typename Change>
  void edit_weights(const Change& change) const {
    auto tensors = load_tensors(path() / "model.safetensors");
    change(tensors);
    save_tensors(path() / "model.safetensors", tensors);
  }
  std::string error(const EncoderSettings& settings = {}) const {
    try {
      const TextEncoder encoder(path(), settings);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

 private:
  TemporaryFolder folder_;
};

TEST(TextEncoder, VectorsEqualThoseOfTransformers) {
  const Json expected = recording();
  for (const char* pooling : {"cls", "mean"}) {
    const TextEncoder encoder(kFixtures / pooling);
    const torch::Tensor vectors = encoder.encode_passages(texts());
    EXPECT_EQ(vectors.scalar_type(), torch::kFloat32);
    EXPECT_EQ(encoder.dimension(), 24);
    EXPECT_LT(largest_difference(vectors, to_tensor(expected["vectors"][pooling])), 1e-5)
        << pooling;
  }
}

TEST(TextEncoder, OfXlmRobertaGivesTheVectorsOfTransformers) {
  const EncoderCopy copy("xlm_roberta");
  copy.edit_weights([](auto& tensors) {
    std::erase_if(tensors, [](const auto& item) { return item.first.starts_with("classifier."); });
  });
  const Json expected = Json::parse(read_file(copy.path() / "expected.json"));
  EncoderSettings settings;
  settings.pooling = Pooling::kCls;
  const TextEncoder encoder(copy.path(), settings);
  EXPECT_EQ(encoder.settings().max_tokens, 40);
  const torch::Tensor vectors =
      encoder.encode_passages(expected["texts"].get<std::vector<std::string>>());
  EXPECT_LT(largest_difference(vectors, to_tensor(expected["vectors"])), 1e-5);
  // 66 rows of positions are room for 64 tokens.
  settings.max_tokens = 64;
  EXPECT_NO_THROW(TextEncoder(copy.path(), settings));
  settings.max_tokens = 65;
  EXPECT_THAT(copy.error(settings), HasSubstr("expected at most the 64 positions"));
  copy.edit("config.json", [](Json& json) { json["pad_token_id"] = 0; });
  EXPECT_THAT(copy.error(), HasSubstr("pad_token_id: expected 1"));
}

TEST(TextEncoder, VectorsHaveLengthOne) {
  const torch::Tensor norms = TextEncoder(kFixtures / "mean").encode_passages(texts()).norm(2, 1);
  EXPECT_LT((norms - 1).abs().max().item<double>(), 1e-6);
}

TEST(TextEncoder, AVectorThatIsNotFiniteIsRefusedWithItsText) {
  const EncoderCopy copy("cls");
  copy.edit_weights([](auto& tensors) {
    for (auto& [name, tensor] : tensors) {
      if (name.ends_with("embeddings.word_embeddings.weight")) tensor.fill_(NAN);
    }
  });
  const TextEncoder encoder(copy.path());
  const auto error = [&](auto encode) {
    try {
      encode();
    } catch (const NonFiniteError& refused) {
      return std::string(refused.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(error([&] { encoder.encode_passages({"Paris"}); }), HasSubstr("passage \"Paris\""));
  EXPECT_THAT(error([&] { encoder.encode_queries({std::string(59, 'x') + "\u00e9 and more"}); }),
              AllOf(HasSubstr("question \"xxx"), HasSubstr("xxx...\"")));
}

TEST(TextEncoder, BatchesChangeNothingButRounding) {
  const torch::Tensor together = TextEncoder(kFixtures / "cls").encode_passages(texts());
  for (const std::int64_t batch_tokens : {1, 50, 100000}) {
    EncoderSettings settings;
    settings.batch_tokens = batch_tokens;
    const TextEncoder encoder(kFixtures / "cls", settings);
    EXPECT_LT(largest_difference(encoder.encode_passages(texts()), together), 1e-6);
  }
}

TEST(TextEncoder, ProgressCountsEveryText) {
  EncoderSettings settings;
  settings.batch_tokens = 64;
  std::int64_t last = 0;
  TextEncoder(kFixtures / "cls", settings).encode_passages(texts(), [&](std::int64_t done) {
    EXPECT_GT(done, last);
    last = done;
  });
  EXPECT_EQ(last, static_cast<std::int64_t>(texts().size()));
}

TEST(TextEncoder, QueriesGetThePromptOfTheFolder) {
  const TextEncoder encoder(kFixtures / "mean");
  EXPECT_EQ(encoder.settings().query_prefix, "the tower: ");
  EXPECT_TRUE(torch::equal(encoder.encode_queries({"Paris"}),
                           encoder.encode_passages({"the tower: Paris"})));
  EncoderSettings settings;
  settings.query_prefix = "";
  settings.passage_prefix = "the ";
  const TextEncoder other(kFixtures / "mean", settings);
  EXPECT_TRUE(torch::equal(other.encode_queries({"the tower"}), other.encode_passages({"tower"})));
}

TEST(TextEncoder, LimitsComeFromTheFolderUnlessGiven) {
  EXPECT_EQ(TextEncoder(kFixtures / "cls").settings().max_tokens, 40);
  EncoderSettings settings;
  settings.max_tokens = 8;
  const TextEncoder encoder(kFixtures / "cls", settings);
  EXPECT_TRUE(torch::allclose(encoder.encode_passages({"the the the the the the tower"}),
                              encoder.encode_passages({"the the the the the the paris"})));
  // Both were cut; what just fits is not, and questions do not count.
  EXPECT_EQ(encoder.num_cut_passages(), 2);
  encoder.encode_passages({"the the the the the tower", "the"});
  encoder.encode_queries({"the the the the the the tower"});
  EXPECT_EQ(encoder.num_cut_passages(), 2);
}

TEST(TextEncoder, FingerprintsTellWhatChangesVectorsOfPassages) {
  const Hash128 original = TextEncoder(kFixtures / "cls").fingerprint();
  EncoderSettings settings;
  settings.batch_tokens = 7;
  settings.query_prefix = "query: ";
  EXPECT_EQ(TextEncoder(kFixtures / "cls", settings).fingerprint(), original);
  settings.passage_prefix = "passage: ";
  EXPECT_NE(TextEncoder(kFixtures / "cls", settings).fingerprint(), original);
  settings = {};
  settings.pooling = Pooling::kMean;
  EXPECT_NE(TextEncoder(kFixtures / "cls", settings).fingerprint(), original);
  const EncoderCopy copy("cls");
  EXPECT_EQ(TextEncoder(copy.path()).fingerprint(), original);
  copy.edit_weights([](auto& tensors) { tensors.begin()->second += 1e-3; });
  EXPECT_NE(TextEncoder(copy.path()).fingerprint(), original);
}

TEST(TextEncoder, TextThatIsNoUtf8IsAnError) {
  const TextEncoder encoder(kFixtures / "cls");
  EXPECT_THROW(encoder.encode_passages({"good", "bad \xff"}), DataError);
}

TEST(TextEncoder, OldNamesOfNormsAndPrefixesAreRead) {
  const EncoderCopy copy("cls");
  copy.edit_weights([](auto& tensors) {
    std::map<std::string, torch::Tensor> renamed;
    for (auto& [name, tensor] : tensors) {
      std::string old = "bert." + name;
      for (const auto& [now, before] :
           {std::pair<std::string, std::string>{"Norm.weight", "Norm.gamma"},
            {"Norm.bias", "Norm.beta"}}) {
        if (old.ends_with(now)) old.replace(old.size() - now.size(), now.size(), before);
      }
      renamed[old] = tensor;
    }
    tensors = renamed;
  });
  EXPECT_TRUE(torch::equal(TextEncoder(copy.path()).encode_passages(texts()),
                           TextEncoder(kFixtures / "cls").encode_passages(texts())));
}

TEST(TextEncoder, NamesWhatIsNotSupported) {
  const std::pair<const char*, Json> changes[] = {{"model_type", "roberta"},
                                                  {"hidden_act", "relu"},
                                                  {"position_embedding_type", "relative_key"},
                                                  {"is_decoder", true},
                                                  {"num_attention_heads", 5},
                                                  {"hidden_size", -1},
                                                  {"quantization_config", {{"bits", 8}}}};
  for (const auto& [key, value] : changes) {
    const EncoderCopy copy("cls");
    copy.edit("config.json", [&](Json& json) { json[key] = value; });
    EXPECT_THAT(copy.error(), AllOf(HasSubstr("config.json: " + std::string(key)),
                                    HasSubstr("expected"), HasSubstr("found")));
  }
  const EncoderCopy modules("cls");
  modules.edit("modules.json",
               [](Json& json) { json[1]["type"] = "sentence_transformers.models.Dense"; });
  EXPECT_THAT(modules.error(), AllOf(HasSubstr("modules.json"), HasSubstr("Dense")));
  const EncoderCopy pooling("cls");
  pooling.edit("1_Pooling/config.json", [](Json& json) { json["pooling_mode_max_tokens"] = true; });
  EXPECT_THAT(pooling.error(), HasSubstr("pooling_mode"));
  const EncoderCopy none("cls");
  fs::remove_all(none.path() / "1_Pooling");
  EXPECT_THAT(none.error(), AllOf(HasSubstr("pooling"), HasSubstr("1_Pooling/config.json")));
  const EncoderCopy lower("cls");
  lower.edit("sentence_bert_config.json", [](Json& json) { json["do_lower_case"] = true; });
  EXPECT_EQ(lower.error(), "no error");
  lower.edit("tokenizer.json", [](Json& json) { json["normalizer"]["lowercase"] = false; });
  EXPECT_THAT(lower.error(), HasSubstr("do_lower_case"));
}

TEST(TextEncoder, EveryTensorIsAccountedFor) {
  const EncoderCopy extra("cls");
  extra.edit_weights(
      [](auto& tensors) { tensors["encoder.layer.2.output.dense.bias"] = torch::ones({24}); });
  EXPECT_THAT(extra.error(), HasSubstr("tensor encoder.layer.2.output.dense.bias"));
  const EncoderCopy missing("cls");
  missing.edit_weights(
      [](auto& tensors) { tensors.erase("encoder.layer.1.output.LayerNorm.bias"); });
  EXPECT_THAT(missing.error(),
              HasSubstr("tensor encoder.layer.1.output.LayerNorm.bias is missing"));
  const EncoderCopy shape("cls");
  shape.edit_weights(
      [](auto& tensors) { tensors["embeddings.LayerNorm.bias"] = torch::ones({23}); });
  EXPECT_THAT(shape.error(),
              AllOf(HasSubstr("embeddings.LayerNorm.bias"), HasSubstr("[24]"), HasSubstr("[23]")));
  const EncoderCopy no_weights("cls");
  fs::remove(no_weights.path() / "model.safetensors");
  EXPECT_THAT(no_weights.error(), HasSubstr("expected model.safetensors or pytorch_model.bin"));
  const EncoderCopy small("cls");
  small.edit("config.json", [](Json& json) { json["vocab_size"] = 3; });
  EXPECT_THAT(small.error(), HasSubstr("word_embeddings"));
}

TEST(TextEncoder, SettingsMustFit) {
  EncoderSettings settings;
  settings.max_tokens = 65;
  EXPECT_THROW(TextEncoder(kFixtures / "cls", settings), ConfigError);
  settings.max_tokens = 3;
  EXPECT_THROW(TextEncoder(kFixtures / "cls", settings), ConfigError);
  settings.max_tokens = 0;
  settings.batch_tokens = 0;
  EXPECT_THROW(TextEncoder(kFixtures / "cls", settings), ConfigError);
}

TEST(CrossEncoder, ScoresEqualThoseOfTransformers) {
  const Json expected = recording();
  const std::vector<std::string> all = texts();
  const CrossEncoder encoder(kFixtures / "cross");
  for (std::size_t i = 0; i < expected["pairs"].size(); ++i) {
    const auto pair = expected["pairs"][i].get<std::vector<std::size_t>>();
    EXPECT_NEAR(encoder.scores(all[pair[0]], {all[pair[1]]})[0], expected["scores"][i].get<float>(),
                1e-5)
        << i;
  }
}

TEST(CrossEncoder, OfXlmRobertaScoresAsTransformersDoes) {
  const Json expected = Json::parse(read_file(kFixtures / "xlm_roberta/expected.json"));
  const auto all = expected["texts"].get<std::vector<std::string>>();
  const CrossEncoder encoder(kFixtures / "xlm_roberta");
  for (std::size_t i = 0; i < expected["pairs"].size(); ++i) {
    const auto pair = expected["pairs"][i].get<std::vector<std::size_t>>();
    EXPECT_NEAR(encoder.scores(all[pair[0]], {all[pair[1]]})[0], expected["scores"][i].get<float>(),
                1e-5)
        << i;
  }
}

TEST(CrossEncoder, ScoresComeInTheOrderOfThePassages) {
  const CrossEncoder encoder(kFixtures / "cross");
  const std::vector<std::string> passages = texts();
  const std::vector<float> together = encoder.scores("tower", passages);
  ASSERT_EQ(together.size(), passages.size());
  for (std::size_t i = 0; i < passages.size(); ++i) {
    EXPECT_NEAR(encoder.scores("tower", {passages[i]})[0], together[i], 1e-6);
  }
  EXPECT_TRUE(encoder.scores("tower", {}).empty());
}

TEST(CrossEncoder, NeedsAClassifierOfOneLabel) {
  try {
    const CrossEncoder encoder(kFixtures / "cls");
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("BertForSequenceClassification"));
  }
  // A bi-encoder's folder is not what a cross-encoder's weights fit either.
  EncoderSettings settings;
  settings.pooling = Pooling::kCls;
  EXPECT_THROW(TextEncoder(kFixtures / "cross", settings), DataError);
}

TEST(BertKernels, AttentionIsSoftmaxOfScaledProducts) {
  torch::manual_seed(3);
  for (const std::int64_t length : {1, 5, 6, 7, 16, 33}) {
    for (const std::int64_t dim : {8, 16, 20, 32}) {
      const torch::Tensor qkv = torch::randn({length, 3 * dim}), bias = torch::randn({3 * dim});
      const torch::Tensor with_bias = qkv + bias;
      const torch::Tensor scores =
          torch::mm(with_bias.narrow(1, 0, dim), with_bias.narrow(1, dim, dim).t()) * 0.3;
      const torch::Tensor expected =
          torch::mm(torch::softmax(scores, 1), with_bias.narrow(1, 2 * dim, dim));
      torch::Tensor out = torch::empty({length, dim});
      std::vector<float> scratch;
      const float* data = qkv.const_data_ptr<float>();
      const float* biases = bias.const_data_ptr<float>();
      bert::attend(
          {data, data + dim, data + 2 * dim, biases, biases + dim, biases + 2 * dim,
           out.mutable_data_ptr<float>(), length, length, dim, 3 * dim, 3 * dim, dim, 0.3F},
          scratch);
      EXPECT_LT(largest_difference(out, expected), 2e-6) << length << " " << dim;
    }
  }
}

TEST(BertKernels, GeluIsExact) {
  torch::Tensor x = torch::linspace(-12, 12, 4001).view({-1, 1});
  const torch::Tensor expected = torch::gelu(x.to(torch::kFloat64) + 0.25).to(torch::kFloat32);
  const float bias = 0.25F;
  bert::bias_gelu(x.mutable_data_ptr<float>(), &bias, 1, 0, x.size(0));
  EXPECT_LT(largest_difference(x, expected), 1e-6);
}

TEST(TextEncoder, ARealEncoderEqualsItsRecording) {
  const char* folder = std::getenv("CLARA_ENCODER_FIXTURE");
  if (folder == nullptr) {
    GTEST_SKIP() << "CLARA_ENCODER_FIXTURE names no folder that record_real_encoder.py wrote";
  }
  const Json expected = Json::parse(read_file(fs::path(folder) / "expected.json"));
  const TextEncoder encoder(expected["encoder"].get<std::string>());
  const auto passages = expected["texts"].get<std::vector<std::string>>();
  const torch::Tensor vectors = encoder.encode_passages(passages);
  const torch::Tensor recorded =
      load_tensors(fs::path(folder) / "vectors.safetensors").at("vectors");
  const double cosine = (vectors * recorded).sum(1).min().item<double>();
  const double difference = largest_difference(vectors, recorded);
  std::cout << passages.size() << " texts: smallest cosine " << cosine << ", largest difference "
            << difference << "\n";
  EXPECT_GE(cosine, 0.99999);
  EXPECT_LT(difference, 1e-5);
}

}  // namespace
}  // namespace clara
