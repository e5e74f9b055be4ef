// Where the host waits for the device in a step. Tensors on the meta device have shapes and no
// values: whoever looks at one throws, so a pass that goes through there looks at none. An operator
// that takes tensors of the host beside tensors of the device copies them from pageable memory,
// which also waits: only to_device may do that.
#include <atomic>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "common/device_copy.h"
#include "tests/support/tiny_model.h"
#include <ATen/ExpandUtils.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/record_function.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/library.h>
#include <torch/torch.h>

#include "clara/latents/document_latents.h"
#include "clara/latents/latent_store.h"
#include "clara/objectives/compression_objective.h"
#include "clara/objectives/joint_objective.h"
#include "clara/objectives/retriever_objective.h"
#include "clara/trainer/optimizer.h"
#include "clara/trainer/train_step.h"

namespace {

// PyTorch has the shapes of these in Python only.
torch::Tensor index_select_shape(const torch::Tensor& self, std::int64_t dim,
                                 const torch::Tensor& index) {
  std::vector<std::int64_t> sizes = self.sizes().vec();
  sizes[static_cast<std::size_t>(at::maybe_wrap_dim(dim, self.dim()))] = index.numel();
  return torch::empty(sizes, self.options());
}

torch::Tensor where_shape(const torch::Tensor& condition, const torch::Tensor& self,
                          const torch::Tensor& other) {
  const auto both = at::infer_size(self.sizes(), other.sizes());
  return torch::empty(at::infer_size(condition.sizes(), both), self.options());
}

torch::Tensor& where_out_shape(const torch::Tensor& condition, const torch::Tensor& self,
                               const torch::Tensor& other, torch::Tensor& out) {
  const auto both = at::infer_size(self.sizes(), other.sizes());
  out.resize_(at::infer_size(condition.sizes(), both));
  return out;
}

torch::Tensor& abs_out_shape(const torch::Tensor& self, torch::Tensor& out) {
  out.resize_(self.sizes());
  return out;
}

// The number of updates must be on the device: from the host it would be read there.
void fused_adamw_shape(at::TensorList, at::TensorList, at::TensorList, at::TensorList,
                       at::TensorList, at::TensorList num_updates, double, double, double, double,
                       double, bool, bool, const std::optional<at::Tensor>&,
                       const std::optional<at::Tensor>&) {
  for (const torch::Tensor& number : num_updates) TORCH_CHECK(number.is_meta());
}

}  // namespace

TORCH_LIBRARY_IMPL(aten, Meta, library) {
  library.impl("index_select", index_select_shape);
  library.impl("abs.out", abs_out_shape);
  library.impl("where.self", where_shape);
  library.impl("where.self_out", where_out_shape);
  library.impl("_fused_adamw_", fused_adamw_shape);
}

namespace clara::testing {
namespace {

struct Stage {
  std::unique_ptr<ClaraModel> model;
  std::unique_ptr<DocumentLatents> documents;
  std::unique_ptr<Objective> objective;
  std::vector<Example> rows;
};

std::unique_ptr<ClaraModel> tiny_model_on(torch::Device device) {
  const BaseConfig config = tiny_config();
  BaseWeights weights = tiny_weights(config);
  const auto move = [&](torch::Tensor& t) {
    if (t.defined()) t = t.to(device);
  };
  move(weights.embedding);
  move(weights.final_norm);
  weights.head = weights.embedding;
  for (DecoderLayerWeights& layer : weights.layers) {
    move(layer.input_norm);
    move(layer.post_attention_norm);
    for (torch::Tensor& t : layer.projections) move(t);
  }
  return std::make_unique<ClaraModel>(BaseLlm(config, std::move(weights)), tiny_lora(),
                                      kTinyNumMemory, "noise", 1);
}

struct StageOptions {
  torch::Device device = torch::kCPU;
  bool stores = true;
  bool warm = true;  ///< the store has every document
  double dropout = 0.1;
  bool checkpointing = false;
};

Stage make_stage(const std::string& name, const StageOptions& options) {
  Stage stage;
  stage.model = tiny_model_on(options.device);
  if (name == "scp" || name == "tune") {
    CompressionSettings settings;
    settings.lora_dropout = options.dropout;
    settings.activation_checkpointing = options.checkpointing;
    settings.bos_id = kTinyBos;
    settings.eos_id = kTinyEos;
    stage.objective = std::make_unique<CompressionObjective>(*stage.model, settings);
    stage.rows = scp_rows(4);
    return stage;
  }
  stage.rows = joint_rows(3);
  auto store = options.stores ? std::make_unique<MemoryLatentStore>() : nullptr;
  if (options.stores && options.warm) {
    for (const TokenIds* document : documents_of(stage.rows))
      store->put(document_key(*document), torch::randn({kTinyNumMemory, kTinyWidth}));
  }
  stage.documents = std::make_unique<DocumentLatents>(*stage.model, std::move(store), 4096);
  if (name == "joint") {
    stage.objective = std::make_unique<JointObjective>(
        *stage.model, *stage.documents,
        JointSettings{2, 0.2, TopkMask::kLeaky, options.dropout, options.checkpointing});
  } else {
    stage.objective = std::make_unique<RetrieverObjective>(
        *stage.model, *stage.documents,
        RetrieverSettings{0.2, options.dropout, options.checkpointing});
  }
  return stage;
}

std::atomic<std::int64_t> num_waits{0};

/// Counts the waits while it lives.
class WaitCounter {
 public:
  WaitCounter() {
    num_waits = 0;
    handle_ = at::addGlobalCallback(
        at::RecordFunctionCallback([](const at::RecordFunction& function)
                                       -> std::unique_ptr<at::ObserverContext> {
          if (std::string_view(function.name()) == kHostWait) ++num_waits;
          return nullptr;
        }).scopes({at::RecordScope::USER_SCOPE}));
  }
  ~WaitCounter() { at::removeCallback(handle_); }

 private:
  at::CallbackHandle handle_;
};

std::int64_t waits_of_a_step(Stage& stage) {
  AdamW optimizer(stage.objective->trained_parameters(), TrainerConfig{});
  SingleProcessCommunicator communicator;
  const WaitCounter counter;
  StepSettings settings;
  settings.rows_per_micro_batch = 1;
  train_step(*stage.objective, optimizer, communicator, stage.rows, 0, 1e-3, settings);
  return num_waits;
}

/// Collects the operators that take host tensors and device tensors together while it lives, but
/// those inside to_device. Single numbers of the host count in copies alone: elsewhere they travel
/// as arguments.
class PageableCopies {
 public:
  PageableCopies() {
    found_.clear();
    handle_ = at::addGlobalCallback(
        at::RecordFunctionCallback(enter, leave)
            .needsInputs(true)
            .scopes({at::RecordScope::FUNCTION, at::RecordScope::USER_SCOPE}));
  }
  ~PageableCopies() { at::removeCallback(handle_); }
  const std::vector<std::string>& operators() const { return found_; }

 private:
  struct InToDevice : at::ObserverContext {};

  static std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction& function) {
    if (std::string_view(function.name()) == kToDevice) {
      ++depth_;
      return std::make_unique<InToDevice>();
    }
    if (depth_ > 0) return nullptr;
    bool host = false, device = false;
    const bool copies = std::string_view(function.name()) == "aten::copy_";
    const std::function<void(const c10::IValue&)> look = [&](const c10::IValue& value) {
      if (value.isList()) {
        for (const c10::IValue& element : value.toListRef()) look(element);
      } else if (value.isTensor() && value.toTensor().defined()) {
        const torch::Tensor& t = value.toTensor();
        if (t.is_meta()) device = true;
        if (t.is_cpu() && (copies || t.dim() > 0)) host = true;
      }
    };
    for (const c10::IValue& value : function.inputs()) look(value);
    if (host && device) found_.emplace_back(function.name());
    return nullptr;
  }
  static void leave(const at::RecordFunction&, at::ObserverContext* context) {
    if (dynamic_cast<InToDevice*>(context) != nullptr) --depth_;
  }

  // A pass on the meta device stays on the thread that runs it.
  static inline thread_local int depth_ = 0;
  static inline std::vector<std::string> found_;
  at::CallbackHandle handle_;
};

class HostWaits : public ::testing::TestWithParam<const char*> {};

/// Passes of two micro-batches, the norm, clipping and the update, all but the read between them.
void step_on_meta_device(Stage& stage) {
  AdamW optimizer(stage.objective->trained_parameters(), TrainerConfig{});
  const std::vector<TermSpec> terms = stage.objective->terms(0);
  const PageableCopies copies;
  for (std::uint64_t b = 0; b < 2; ++b) {
    const MicroBatchContext context{0, 0, static_cast<std::int64_t>(b), 17, true};
    torch::Tensor loss;
    const std::vector<LossTerm> losses = stage.objective->forward(pointers_to(stage.rows), context);
    for (std::size_t i = 0; i < terms.size(); ++i) {
      const torch::Tensor share = losses[i].sum * terms[i].weight;
      loss = loss.defined() ? loss + share : share;
    }
    ASSERT_TRUE(loss.is_meta());
    loss.backward();
  }
  EXPECT_TRUE(optimizer.gradient_norm().is_meta());
  optimizer.clip(2.0);
  optimizer.step(1e-3);
  EXPECT_THAT(copies.operators(), ::testing::IsEmpty());
}

TEST_P(HostWaits, NoPassLooksAtAValueOrCopiesFromPageableMemory) {
  Stage stage = make_stage(GetParam(), {.device = torch::kMeta});
  step_on_meta_device(stage);
}

TEST_P(HostWaits, NoneWithActivationCheckpointingEither) {
  Stage stage = make_stage(GetParam(), {.device = torch::kMeta, .checkpointing = true});
  step_on_meta_device(stage);
}

TEST_P(HostWaits, AStepWaitsOnceHoweverManyMicroBatches) {
  Stage stage = make_stage(GetParam(), {});
  EXPECT_EQ(waits_of_a_step(stage), 1);
}

INSTANTIATE_TEST_SUITE_P(Stages, HostWaits, ::testing::Values("scp", "tune", "joint", "retriever"),
                         [](const auto& stage) { return std::string(stage.param); });

TEST(HostWaits, DocumentsThatAreNotInTheStoreCostNone) {
  Stage on_host = make_stage("joint", {.warm = false});
  EXPECT_EQ(waits_of_a_step(on_host), 1);
  EXPECT_EQ(on_host.documents->num_found(), 0);
  Stage stage = make_stage("joint", {.device = torch::kMeta, .warm = false});
  step_on_meta_device(stage);
  // The second micro-batch has found the documents of the first, on their way to the store.
  const std::int64_t num_documents = stage.documents->num_encoded();
  EXPECT_GT(num_documents, 0);
  EXPECT_EQ(stage.documents->num_found(), num_documents);
  EXPECT_EQ(stage.documents->num_stored(), num_documents);
}

TEST(HostWaits, DocumentsThatNoStoreKeepsCostNone) {
  Stage on_host = make_stage("joint", {.stores = false});
  EXPECT_EQ(waits_of_a_step(on_host), 1);
  Stage stage = make_stage("joint", {.device = torch::kMeta, .stores = false});
  step_on_meta_device(stage);
}

TEST(HostWaits, AValueOnTheMetaDeviceCannotBeLookedAt) {
  EXPECT_ANY_THROW((void)torch::zeros({}, torch::kMeta).item<double>());
  EXPECT_ANY_THROW((void)read_on_host(torch::zeros({2}, torch::kMeta)));
  const HostCopy copy(torch::zeros({2}, torch::kMeta));
  EXPECT_FALSE(copy.is_ready());
  const WaitCounter counter;
  EXPECT_ANY_THROW((void)copy.values());
  EXPECT_EQ(num_waits, 1);
}

TEST(HostWaits, ACopyFromPageableMemoryIsSeen) {
  const torch::Tensor host = torch::zeros({2}, torch::kInt64),
                      device = torch::zeros({3}, torch::kMeta);
  const PageableCopies copies;
  (void)to_device(host, torch::kMeta);
  EXPECT_THAT(copies.operators(), ::testing::IsEmpty());
  (void)host.to(torch::kMeta);
  (void)host.sum().to(torch::kMeta);
  (void)device.index_select(0, host);
  (void)device.index({host});
  (void)(device * 2);
  // The last one is that operator's own copy of the indices.
  EXPECT_THAT(copies.operators(),
              ::testing::ElementsAre("aten::copy_", "aten::copy_", "aten::index_select",
                                     "aten::index", "aten::copy_"));
}

}  // namespace
}  // namespace clara::testing
