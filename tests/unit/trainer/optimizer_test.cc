// The schedule against its table, and AdamW over flat buffers against LibTorch's own.
#include "clara/trainer/optimizer.h"

#include <cmath>

#include "tests/support/tensor_compare.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/trainer/lr_schedule.h"

namespace clara::testing {
namespace {

using ::testing::HasSubstr;
using torch::Tensor;

TrainerConfig schedule_config(double warmup_ratio, const std::string& schedule = "cosine") {
  TrainerConfig config;
  config.peak_learning_rate = 2e-4;
  config.warmup_ratio = warmup_ratio;
  config.schedule = schedule;
  return config;
}

TEST(LearningRateSchedule, FollowsItsTable) {
  // 100 updates of which ⌈3⌉ warm up, then half a cosine to a tenth of the peak.
  const LearningRateSchedule schedule(schedule_config(0.03), 100);
  EXPECT_EQ(schedule.warmup_steps(), 3);
  const std::vector<std::pair<std::int64_t, double>> table = {
      {0, 1.0 / 3},
      {1, 2.0 / 3},
      {2, 1.0},
      {3, 1.0},
      {27, 0.1 + 0.45 * (1 + std::cos(M_PI * 24 / 97))},
      {50, 0.1 + 0.45 * (1 + std::cos(M_PI * 47 / 97))},
      {99, 0.1 + 0.45 * (1 + std::cos(M_PI * 96 / 97))},
      {100, 0.1},
      {500, 0.1}};
  for (const auto& [step, ratio] : table)
    EXPECT_NEAR(schedule.rate(step), 2e-4 * ratio, 1e-12) << step;
}

TEST(LearningRateSchedule, WarmUpRoundsUp) {
  EXPECT_EQ(LearningRateSchedule(schedule_config(0.03), 1).warmup_steps(), 1);
  EXPECT_EQ(LearningRateSchedule(schedule_config(0.03), 101).warmup_steps(), 4);
  EXPECT_EQ(LearningRateSchedule(schedule_config(0), 50).warmup_steps(), 0);
}

TEST(LearningRateSchedule, NeverIsZeroAndNeverExceedsThePeak) {
  for (const std::int64_t total : {1, 2, 3, 10, 1000}) {
    for (const double ratio : {0.0, 0.03, 0.5, 1.0}) {
      for (const char* kind : {"cosine", "constant"}) {
        const LearningRateSchedule schedule(schedule_config(ratio, kind), total);
        for (std::int64_t step = 0; step < total; ++step) {
          EXPECT_GT(schedule.rate(step), 0);
          EXPECT_LE(schedule.rate(step), 2e-4 * (1 + 1e-12));
        }
      }
    }
  }
}

TEST(LearningRateSchedule, ConstantStaysAtThePeakAfterTheWarmUp) {
  const LearningRateSchedule schedule(schedule_config(0.1, "constant"), 40);
  EXPECT_NEAR(schedule.rate(0), 2e-4 / 4, 1e-12);
  for (const std::int64_t step : {4, 20, 39}) EXPECT_EQ(schedule.rate(step), 2e-4);
}

// ---- AdamW --------------------------------------------------------------------------------------

class FlatAdamW : public ::testing::Test {
 protected:
  void SetUp() override { torch::manual_seed(3); }

  static std::vector<TrainedParameter> parameters(double last_ratio = 1.0) {
    std::vector<TrainedParameter> result;
    result.push_back({"a", torch::randn({3, 5}).set_requires_grad(true), 1.0});
    result.push_back({"b", torch::randn({7}).set_requires_grad(true), 1.0});
    result.push_back({"c", torch::randn({2, 2, 2}).set_requires_grad(true), last_ratio});
    return result;
  }
  static std::vector<Tensor> copies(const std::vector<TrainedParameter>& parameters) {
    std::vector<Tensor> result;
    for (const TrainedParameter& p : parameters)
      result.push_back(p.tensor.detach().clone().set_requires_grad(true));
    return result;
  }
  /// A gradient that depends on the parameters, so that errors would grow.
  static Tensor loss(const std::vector<Tensor>& tensors, double step) {
    Tensor sum = torch::zeros({});
    for (const Tensor& t : tensors)
      sum = sum + ((t - 0.1 * step).pow(2) * torch::linspace(0.01, 3, t.numel()).view_as(t)).sum();
    return sum;
  }
  static std::vector<Tensor> tensors(const std::vector<TrainedParameter>& parameters) {
    std::vector<Tensor> result;
    for (const TrainedParameter& p : parameters) result.push_back(p.tensor);
    return result;
  }
};

TEST_F(FlatAdamW, EqualsTorchsOverFiveSteps) {
  for (const double decay : {0.0, 0.1}) {
    const std::vector<TrainedParameter> own = parameters(0.5);
    const std::vector<Tensor> theirs = copies(own);
    TrainerConfig config;
    config.weight_decay = decay;
    AdamW optimizer(own, config);
    const auto options = [&](double rate) {
      return torch::optim::AdamWOptions(rate).betas({0.9, 0.95}).eps(1e-8).weight_decay(decay);
    };
    torch::optim::AdamW first({theirs[0], theirs[1]}, options(1)),
        second(std::vector<Tensor>{theirs[2]}, options(1));
    for (std::int64_t step = 0; step < 5; ++step) {
      const double rate = 1e-2 * static_cast<double>(step + 1);
      static_cast<torch::optim::AdamWOptions&>(first.param_groups()[0].options()).lr(rate);
      static_cast<torch::optim::AdamWOptions&>(second.param_groups()[0].options()).lr(0.5 * rate);
      optimizer.zero_gradients();
      loss(tensors(own), static_cast<double>(step)).backward();
      first.zero_grad();
      second.zero_grad();
      loss(theirs, static_cast<double>(step)).backward();
      std::vector<Tensor> flat;
      for (const Tensor& t : theirs) flat.push_back(t.grad().reshape({-1}));
      EXPECT_TRUE(all_close(optimizer.gradients(), torch::cat(flat), 1e-6));
      optimizer.step(rate);
      first.step();
      second.step();
      for (std::size_t i = 0; i < theirs.size(); ++i)
        EXPECT_TRUE(all_close(own[i].tensor, theirs[i], 1e-6)) << "step " << step << " " << i;
    }
    EXPECT_EQ(optimizer.num_updates(), 5);
    EXPECT_EQ(optimizer.num_values(), 15 + 7 + 8);
  }
}

TEST_F(FlatAdamW, KeepsTheValuesItTakesOver) {
  const std::vector<TrainedParameter> own = parameters();
  const std::vector<Tensor> before = copies(own);
  const AdamW optimizer(own, TrainerConfig{});
  for (std::size_t i = 0; i < own.size(); ++i) EXPECT_TRUE(torch::equal(own[i].tensor, before[i]));
}

TEST_F(FlatAdamW, ClippingBoundsTheGlobalNorm) {
  const std::vector<TrainedParameter> own = parameters();
  TrainerConfig config;
  config.max_gradient_norm = 0.5;
  AdamW optimizer(own, config);
  loss(tensors(own), 0).backward();
  const Tensor before = optimizer.gradients().clone();
  double squares = 0;
  for (const TrainedParameter& p : own)
    squares += p.tensor.grad().to(torch::kFloat64).square().sum().item<double>();
  EXPECT_NEAR(optimizer.gradient_norm().item<double>(), std::sqrt(squares),
              1e-5 * std::sqrt(squares));
  ASSERT_GT(optimizer.gradient_norm().item<double>(), 0.5);
  optimizer.clip(optimizer.gradient_norm().item<double>());
  EXPECT_NEAR(optimizer.gradient_norm().item<double>(), 0.5, 1e-4);
  EXPECT_NEAR(cosine(optimizer.gradients(), before), 1, 1e-6) << "the direction stays";
  const Tensor clipped = optimizer.gradients().clone();
  optimizer.clip(optimizer.gradient_norm().item<double>() * 0.9);
  EXPECT_TRUE(torch::equal(optimizer.gradients(), clipped)) << "a smaller norm is left alone";
}

TEST_F(FlatAdamW, GoesOnExactlyFromItsState) {
  const std::vector<TrainedParameter> own = parameters();
  AdamW optimizer(own, TrainerConfig{});
  const auto update = [](AdamW& which, const std::vector<TrainedParameter>& of, std::int64_t step) {
    which.zero_gradients();
    loss(tensors(of), static_cast<double>(step)).backward();
    which.step(1e-2);
  };
  for (std::int64_t step = 0; step < 3; ++step) update(optimizer, own, step);
  std::map<std::string, Tensor> state;
  for (const auto& [name, tensor] : optimizer.state()) state[name] = tensor.clone();
  EXPECT_EQ(state.size(), 7U);
  std::vector<TrainedParameter> resumed = own;
  const std::vector<Tensor> values = copies(own);
  for (std::size_t i = 0; i < resumed.size(); ++i) resumed[i].tensor = values[i];
  AdamW second(resumed, TrainerConfig{});
  second.load_state(state);
  EXPECT_EQ(second.num_updates(), 3);
  for (std::int64_t step = 3; step < 6; ++step) {
    update(optimizer, own, step);
    update(second, resumed, step);
  }
  for (std::size_t i = 0; i < own.size(); ++i)
    EXPECT_TRUE(torch::equal(own[i].tensor, resumed[i].tensor)) << own[i].name;
}

TEST_F(FlatAdamW, NamesAStateThatDoesNotFit) {
  AdamW optimizer(parameters(), TrainerConfig{});
  const std::map<std::string, Tensor> sound = optimizer.state();
  const auto refusal = [&](std::map<std::string, Tensor> state) -> std::string {
    try {
      optimizer.load_state(state);
    } catch (const CheckpointError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal(sound), "accepted");
  std::map<std::string, Tensor> state = sound;
  state.erase("exp_avg_sq/b");
  EXPECT_THAT(refusal(state), HasSubstr("exp_avg_sq/b"));
  state = sound;
  state["exp_avg/a"] = torch::zeros({5, 3});
  EXPECT_THAT(refusal(state),
              ::testing::AllOf(HasSubstr("exp_avg/a"), HasSubstr("[3, 5]"), HasSubstr("[5, 3]")));
  state = sound;
  state["exp_avg/d"] = torch::zeros({1});
  EXPECT_THAT(refusal(state), HasSubstr("expected 7 tensors, found 8"));
  state = sound;
  state.erase("num_updates");
  EXPECT_NE(refusal(state), "accepted");
}

TEST_F(FlatAdamW, RefusesWhatIsNoFloat32Leaf) {
  EXPECT_THROW(AdamW({}, TrainerConfig{}), Error);
  EXPECT_THROW(AdamW({{"frozen", torch::zeros({2}), 1.0}}, TrainerConfig{}), Error);
  EXPECT_THROW(AdamW({{"half", torch::zeros({2}, torch::kBFloat16).set_requires_grad(true), 1.0}},
                     TrainerConfig{}),
               Error);
}

}  // namespace
}  // namespace clara::testing
