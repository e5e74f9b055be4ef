// Differences of two sets of tensors: what counts as equal, what is named, what sorts first.
#include "clara/analysis/diff_tensors.h"

#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <string>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Tensors = std::map<std::string, torch::Tensor>;

class DiffTensors : public ::testing::Test {
 protected:
  fs::path file(const std::string& name, const Tensors& tensors) {
    const fs::path path = folder_.path() / name;
    fs::create_directories(path.parent_path());
    save_tensors(path, tensors);
    return path;
  }
  void text(const std::string& name, const std::string& content) {
    const fs::path path = folder_.path() / name;
    fs::create_directories(path.parent_path());
    write_file_atomically(path, content);
  }
  fs::path at(const std::string& name) const { return folder_.path() / name; }
  DiffReport diff(const Tensors& a, const Tensors& b, double tolerance = 0) {
    return diff_tensors(file("a.safetensors", a), file("b.safetensors", b), {tolerance, true});
  }

  TemporaryFolder folder_;
};

std::vector<std::string> names(const DiffReport& report) {
  std::vector<std::string> result;
  for (const TensorDiff& tensor : report.tensors) result.push_back(tensor.name);
  return result;
}

TEST_F(DiffTensors, EqualFilesAreEqualWhateverTheirTypes) {
  const Tensors tensors = {
      {"f", torch::randn({3, 4})},    {"h", torch::randn({5}).to(torch::kBFloat16)},
      {"i", torch::arange(6)},        {"b", torch::ones({2}, torch::kBool)},
      {"none", torch::zeros({0, 4})}, {"scalar", torch::tensor(2.0)}};
  const DiffReport report = diff(tensors, tensors);
  EXPECT_TRUE(report.is_equal());
  EXPECT_EQ(report.count(TensorMatch::kEqual), 6);
  EXPECT_THAT(render_diff(report), HasSubstr("6 tensors: 6 equal"));
}

TEST_F(DiffTensors, MissingTensorsAreNamedOnTheirSide) {
  const DiffReport report = diff({{"x", torch::ones({2})}, {"left", torch::ones({2, 3})}},
                                 {{"x", torch::ones({2})}, {"right", torch::ones({1})}}, 1e9);
  EXPECT_FALSE(report.is_equal()) << "no tolerance makes up for a missing tensor";
  EXPECT_THAT(names(report), ElementsAre("left", "right", "x"));
  EXPECT_EQ(report.tensors[0].match, TensorMatch::kOnlyInA);
  EXPECT_EQ(report.tensors[0].a, "F32 [2, 3]");
  EXPECT_EQ(report.tensors[0].b, "");
  EXPECT_EQ(report.tensors[1].match, TensorMatch::kOnlyInB);
  EXPECT_THAT(render_diff(report), HasSubstr("3 tensors: 1 equal, 1 only in A, 1 only in B"));
}

TEST_F(DiffTensors, AnotherShapeIsADifferenceEvenOfEqualBytes) {
  const DiffReport report = diff({{"x", torch::ones({2, 3})}}, {{"x", torch::ones({3, 2})}}, 1e9);
  ASSERT_EQ(report.tensors[0].match, TensorMatch::kOtherShape);
  EXPECT_FALSE(report.is_equal());
  EXPECT_THAT(render_diff(report), HasSubstr("F32 [2, 3] | F32 [3, 2]"));
}

TEST_F(DiffTensors, MeasuresTheLargestDifferenceAndHowManyElementsDiffer) {
  const DiffReport report = diff({{"x", torch::tensor({3.0, 0.0, 4.0, 8.0})}},
                                 {{"x", torch::tensor({3.0, 0.5, 4.0, 6.0})}});
  const TensorDiff& x = report.tensors.at(0);
  EXPECT_EQ(x.match, TensorMatch::kDifferent);
  EXPECT_EQ(x.num_elements, 4);
  EXPECT_EQ(x.num_different, 2);
  EXPECT_DOUBLE_EQ(x.max_absolute, 2.0);
  EXPECT_DOUBLE_EQ(x.relative, 2.0 / 8.0);
  EXPECT_NEAR(x.relative_norm, std::sqrt(4.25 / 89.0), 1e-12);
}

TEST_F(DiffTensors, ToleranceIsRelativeToTheLargestValueOfTheTensor) {
  const Tensors a = {{"x", torch::tensor({1000.0, 1.0})}},
                b = {{"x", torch::tensor({1000.0, 1.5})}};
  EXPECT_TRUE(diff(a, b, 5e-4).is_equal());
  EXPECT_EQ(diff(a, b, 5e-4).count(TensorMatch::kWithinTolerance), 1);
  EXPECT_FALSE(diff(a, b, 4.9e-4).is_equal());
  EXPECT_FALSE(diff(a, b, 0).is_equal());
}

TEST_F(DiffTensors, AnotherDtypeIsADifferenceUnlessATolerancePermitsIt) {
  const torch::Tensor values = torch::randn({64});
  const Tensors a = {{"x", values}}, b = {{"x", values.to(torch::kBFloat16)}};
  EXPECT_EQ(diff(a, b, 0).tensors[0].match, TensorMatch::kDifferent);
  EXPECT_EQ(diff(a, b, 1e-2).tensors[0].match, TensorMatch::kWithinTolerance);
  const Tensors halves = {{"x", torch::full({4}, 0.5)}},
                halves16 = {{"x", torch::full({4}, 0.5).to(torch::kBFloat16)}};
  EXPECT_FALSE(diff(halves, halves16, 0).is_equal()) << "equal values of two types";
}

TEST_F(DiffTensors, ValuesThatAreNoNumbersAreEqualOnlyToThemselves) {
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(diff({{"x", torch::tensor({nan, infinity, 1.0})}},
                   {{"x", torch::tensor({nan, infinity, 1.0})}})
                  .is_equal());
  for (const double other : {nan, infinity}) {
    const DiffReport report =
        diff({{"x", torch::tensor({1.0, 2.0})}}, {{"x", torch::tensor({1.0, other})}}, 1e9);
    EXPECT_FALSE(report.is_equal());
    EXPECT_EQ(report.tensors[0].num_different, 1);
    EXPECT_TRUE(std::isinf(report.tensors[0].max_absolute));
  }
}

TEST_F(DiffTensors, WholeNumbersTooLargeForADoubleStillDiffer) {
  const std::int64_t large = (std::int64_t{1} << 53) + 1;
  const DiffReport report =
      diff({{"x", torch::tensor({large})}}, {{"x", torch::tensor({large - 1})}});
  EXPECT_FALSE(report.is_equal());
  EXPECT_EQ(report.tensors[0].num_different, 1);
}

TEST_F(DiffTensors, ADifferenceInAnyPieceOfALargeTensorIsFound) {
  const torch::Tensor a = torch::zeros({(std::int64_t{1} << 21) + 10});
  const torch::Tensor b = a.clone();
  b[(std::int64_t{1} << 21) + 9] = 1.0;
  const DiffReport report = diff({{"x", a}}, {{"x", b}});
  EXPECT_EQ(report.tensors[0].num_different, 1);
  EXPECT_DOUBLE_EQ(report.tensors[0].max_absolute, 1.0);
}

TEST_F(DiffTensors, TheLargestDifferenceComesFirst) {
  const torch::Tensor one = torch::ones({2});
  const Tensors a = {{"a", one}, {"b", one}, {"c", one}, {"d", one}, {"e", one}};
  const Tensors b = {{"a", one}, {"b", one * 1.1}, {"c", one * 3}, {"d", torch::ones({3})}};
  EXPECT_THAT(names(diff(a, b)), ElementsAre("d", "c", "b", "e", "a"));
}

TEST_F(DiffTensors, TheTableHoldsWhatDiffersAndCountsTheRest) {
  const torch::Tensor one = torch::ones({2});
  const DiffReport report = diff({{"same", one}, {"x", one}, {"y", one}, {"z", one}},
                                 {{"same", one}, {"x", one * 2}, {"y", one * 3}, {"z", one * 4}});
  const std::string table = render_diff(report);
  EXPECT_THAT(table, Not(HasSubstr("same")));
  EXPECT_THAT(table, Not(HasSubstr("\x1b")));
  DiffStyle style;
  style.all = true;
  EXPECT_THAT(render_diff(report, style), HasSubstr("same"));
  style.max_rows = 1;
  style.colors = true;
  EXPECT_THAT(render_diff(report, style), HasSubstr("… and 3 more"));
  EXPECT_THAT(render_diff(report, style), HasSubstr("\x1b["));
}

TEST_F(DiffTensors, FoldersAreNamedByAdapterSoThatCheckpointsAndExportsMeet) {
  const torch::Tensor one = torch::ones({2});
  file("run/adapters/compressor/adapter_model.safetensors", {{"lora_A", one}});
  file("run/adapters/generator/adapter_model.safetensors", {{"lora_A", one}});
  file("run/memory_tokens.safetensors", {{"memory_rows", one}});
  file("export/compressor/adapter_model.safetensors", {{"lora_A", one}});
  file("export/generator/adapter_model.safetensors", {{"lora_A", one * 2}});
  file("export/memory_tokens.safetensors", {{"memory_rows", one}});
  const DiffReport report = diff_tensors(at("run"), at("export"));
  EXPECT_THAT(names(report), ElementsAre("generator/lora_A", "compressor/lora_A", "memory_rows"));
  EXPECT_EQ(report.count(TensorMatch::kEqual), 2);
  // A single adapter's folder, and its file alone.
  EXPECT_TRUE(diff_tensors(at("run/adapters/compressor"), at("export/compressor")).is_equal());
  EXPECT_TRUE(
      diff_tensors(at("run/adapters/compressor"), at("export/compressor/adapter_model.safetensors"))
          .is_equal());
}

TEST_F(DiffTensors, TensorsOfOneNameInTwoFilesOfAFolderAreBothCompared) {
  const torch::Tensor one = torch::ones({2});
  for (const std::string side : {"a/", "b/"}) {
    file(side + "first.safetensors", {{"x", one}});
    file(side + "second.safetensors", {{"x", side == "a/" ? one : one * 2}});
  }
  EXPECT_THAT(names(diff_tensors(at("a"), at("b"))),
              ElementsAre("second.safetensors:x", "first.safetensors:x"));
}

TEST_F(DiffTensors, ValuesOfTheJsonFilesAreCompared) {
  for (const std::string side : {"a/", "b/"}) {
    file(side + "memory_tokens.safetensors", {{"memory_rows", torch::ones({2})}});
    file(side + "adapters/compressor/adapter_model.safetensors", {{"lora_A", torch::ones({2})}});
    text(side + "adapters/compressor/adapter_config.json",
         side == "a/" ? R"({"r": 8, "target_modules": ["q_proj", "k_proj"]})"
                      : R"({"target_modules": ["k_proj", "q_proj"], "r": 8})");
  }
  text("a/clara.json", R"({"step": 10, "lora": {"rank": 8, "alpha": 16}, "stage": "scp"})");
  text("b/clara.json", R"({"step": 10, "lora": {"rank": 8, "alpha": 32}})");
  const DiffReport report = diff_tensors(at("a"), at("b"));
  ASSERT_EQ(report.values.size(), 2U) << "the order of keys and of target_modules means nothing";
  EXPECT_EQ(report.values[0].key, "lora.alpha");
  EXPECT_EQ(report.values[0].a, "16");
  EXPECT_EQ(report.values[0].b, "32");
  EXPECT_EQ(report.values[1].key, "stage");
  EXPECT_EQ(report.values[1].b, "");
  EXPECT_FALSE(report.is_equal());
  DiffSettings tensors_only;
  tensors_only.compare_values = false;
  EXPECT_TRUE(diff_tensors(at("a"), at("b"), tensors_only).is_equal());
}

TEST_F(DiffTensors, AJsonFileOnOneSideIsADifference) {
  file("a/x.safetensors", {{"x", torch::ones({2})}});
  file("b/x.safetensors", {{"x", torch::ones({2})}});
  text("b/adapter_config.json", "{}");
  const DiffReport report = diff_tensors(at("a"), at("b"));
  ASSERT_EQ(report.values.size(), 1U);
  EXPECT_EQ(report.values[0].file, "adapter_config.json");
  EXPECT_FALSE(report.is_equal());
}

std::string message_of(const fs::path& a, const fs::path& b) {
  try {
    diff_tensors(a, b);
  } catch (const DataError& error) {
    return error.what();
  }
  return "no DataError";
}

TEST_F(DiffTensors, WhatCannotBeReadIsADataErrorThatNamesIt) {
  const fs::path good = file("good.safetensors", {{"x", torch::ones({2})}});
  EXPECT_THAT(message_of(good, at("nowhere")), HasSubstr("nowhere: expected a .safetensors file"));
  fs::create_directories(at("empty"));
  EXPECT_THAT(message_of(at("empty"), good), HasSubstr("empty: expected a checkpoint"));
  text("torn.safetensors", "not a header");
  EXPECT_THAT(message_of(good, at("torn.safetensors")), HasSubstr("torn.safetensors: header"));
  file("bad/x.safetensors", {{"x", torch::ones({2})}});
  text("bad/clara.json", "{");
  EXPECT_THAT(message_of(at("bad"), at("bad")), HasSubstr("clara.json: expected a JSON object"));
}

}  // namespace
}  // namespace clara
