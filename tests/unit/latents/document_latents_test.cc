// Latents do not depend on batches or stores, and a damaged or foreign store is never believed.
#include "clara/latents/document_latents.h"

#include <fstream>
#include <mutex>
#include <string_view>

#include "tests/support/tensor_compare.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include <ATen/record_function.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara::testing {
namespace {

using ::testing::HasSubstr;
using torch::Tensor;

constexpr double kSame = 1e-5;  // of the largest value: the same up to the order of additions
const std::vector<std::int64_t> kShape = {kTinyNumMemory, kTinyWidth};

/// Overwrites one byte with another.
void flip_byte(const std::filesystem::path& path, std::int64_t offset) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(offset);
  const int byte = file.get();
  ASSERT_NE(byte, EOF);
  file.seekp(offset);
  file.put(static_cast<char>(byte ^ 0x10));
}

std::unique_ptr<DiskLatentStore> open_store(const std::filesystem::path& folder,
                                            const Hash128& fingerprint = {1, 2}) {
  return std::make_unique<DiskLatentStore>(folder, fingerprint, kShape, torch::kFloat32, 0);
}

TEST(EncodeDocuments, GivesTheOrderAskedForWhateverTheBatches) {
  const auto model = tiny_model();
  const std::vector<Example> rows = scp_rows(7);
  std::vector<const TokenIds*> documents = documents_of(rows);
  const Tensor one_batch = encode_documents(*model, AdapterRole::kCompressor, documents, 1 << 20);
  EXPECT_FALSE(one_batch.requires_grad());
  for (std::size_t i = 0; i < documents.size(); ++i) {
    EXPECT_TRUE(all_close(one_batch[static_cast<std::int64_t>(i)],
                          model->encode(AdapterRole::kCompressor, model->pack({documents[i]}))[0],
                          kSame));
  }
  for (const std::int64_t limit : {1, 20, 37}) {
    EXPECT_TRUE(all_close(encode_documents(*model, AdapterRole::kCompressor, documents, limit),
                          one_batch, kSame))
        << limit;
  }
  std::reverse(documents.begin(), documents.end());
  EXPECT_TRUE(all_close(encode_documents(*model, AdapterRole::kCompressor, documents, 37).flip(0),
                        one_batch, kSame));
}

TEST(EncodeDocuments, UsesTheAdapterAskedFor) {
  const auto model = tiny_model();
  const std::vector<Example> rows = scp_rows(2);
  EXPECT_GT(
      relative_error(encode_documents(*model, AdapterRole::kQueryReasoner, documents_of(rows), 64),
                     encode_documents(*model, AdapterRole::kCompressor, documents_of(rows), 64)),
      0.01);
}

TEST(CompressorFingerprint, ChangesWithWhateverLatentsDependOn) {
  const Hash128 reference = compressor_fingerprint(*tiny_model());
  EXPECT_EQ(compressor_fingerprint(*tiny_model()), reference);
  const auto after = [&](auto change) {
    const torch::NoGradGuard no_grad;
    const auto model = tiny_model();
    change(*model);
    return compressor_fingerprint(*model);
  };
  const auto bump = [](const Tensor& t) { t.view({-1})[0].add_(1e-3); };
  for (const NamedTensor& named : tiny_model()->adapter(AdapterRole::kCompressor).named_tensors()) {
    EXPECT_NE(
        after([&](ClaraModel& model) {
          for (const NamedTensor& own : model.adapter(AdapterRole::kCompressor).named_tensors()) {
            if (own.name == named.name) bump(own.tensor);
          }
        }),
        reference)
        << named.name;
  }
  EXPECT_NE(after([&](ClaraModel& m) { bump(m.memory().memory_rows); }), reference);
  EXPECT_NE(after([&](ClaraModel& m) { bump(m.memory().fixed_rows); }), reference);
  EXPECT_NE(after([&](ClaraModel& m) { bump(m.base().weights().embedding); }), reference);
  EXPECT_NE(after([&](ClaraModel& m) { bump(m.base().weights().layers[1].projections.back()); }),
            reference);
  EXPECT_EQ(after([&](ClaraModel& m) {
              bump(m.adapter(AdapterRole::kGenerator).named_tensors()[0].tensor);
              bump(m.adapter(AdapterRole::kQueryReasoner).named_tensors()[0].tensor);
            }),
            reference)
      << "what joint training moves does not matter";
}

TEST(CompressorFingerprint, ChangesWithNormsBiasesAndArchitecture) {
  const Hash128 reference = compressor_fingerprint(*tiny_model());
  const auto bump = [](const Tensor& t) { t.view({-1})[0].add_(1e-3); };
  const auto model = tiny_model();
  bump(model->base().weights().final_norm);
  EXPECT_NE(compressor_fingerprint(*model), reference) << "final norm";
  const auto block = tiny_model();
  bump(block->base().weights().layers[0].input_norm);
  EXPECT_NE(compressor_fingerprint(*block), reference) << "a block's norm";
  BaseConfig config = tiny_config();
  config.rope.theta = 500000;
  const ClaraModel turned(BaseLlm(config, tiny_weights(config)), tiny_lora(), kTinyNumMemory,
                          "noise", 1);
  config.rope.theta = 10000;
  const ClaraModel plain(BaseLlm(config, tiny_weights(config)), tiny_lora(), kTinyNumMemory,
                         "noise", 1);
  EXPECT_NE(compressor_fingerprint(turned), compressor_fingerprint(plain)) << "rope_theta";
  TinyModelOptions options;
  options.phi3 = true;
  BaseConfig stretched = tiny_config(options);
  const auto fingerprint = [&] {
    return compressor_fingerprint(ClaraModel(BaseLlm(stretched, tiny_weights(stretched)),
                                             tiny_lora(), kTinyNumMemory, "noise", 1));
  };
  const Hash128 before = fingerprint();
  stretched.rope.long_factor[1] += 0.5;
  EXPECT_NE(fingerprint(), before) << "a LongRoPE factor";
  stretched = tiny_config(options);
  stretched.rope.attention_factor += 0.1;
  EXPECT_NE(fingerprint(), before) << "the attention factor";
}

TEST(DocumentKey, DistinguishesDocuments) {
  EXPECT_EQ(document_key({1, 2, 3}), document_key({1, 2, 3}));
  EXPECT_NE(document_key({1, 2, 3}), document_key({1, 3, 2}));
  EXPECT_NE(document_key({1, 2}), document_key({1, 2, 0}));
}

TEST(DocumentLatents, AStoreGivesWhatNoStoreGives) {
  const TemporaryFolder folder;
  const auto model = tiny_model();
  const std::vector<Example> rows = joint_rows(3);
  const std::vector<const TokenIds*> documents = documents_of(rows);
  DocumentLatents none(*model, nullptr, 1);  // a batch for each document, as with a store
  DocumentLatents memory(*model, std::make_unique<MemoryLatentStore>(), 64);
  DocumentLatents disk(*model, open_store(folder.path()), 64);
  const Tensor expected = none.fetch(documents);
  EXPECT_EQ(none.num_stored(), 0);
  for (DocumentLatents* latents : {&memory, &disk}) {
    EXPECT_TRUE(torch::equal(latents->fetch(documents), expected)) << "encoded";
    EXPECT_EQ(latents->num_encoded(), 18);
    EXPECT_EQ(latents->num_stored(), 18);
    EXPECT_TRUE(torch::equal(latents->fetch(documents), expected)) << "found";
    EXPECT_EQ(latents->num_encoded(), 18) << "nothing is encoded twice";
    EXPECT_EQ(latents->num_found(), 18);
    EXPECT_GT(latents->store_seconds(), 0);
    const Tensor some = latents->fetch({documents[5], documents[0], documents[5]});
    EXPECT_TRUE(torch::equal(some, expected.index_select(0, torch::tensor({5, 0, 5}))));
    EXPECT_FALSE(some.requires_grad());
  }
}

TEST(DocumentLatents, TheFillerOfBfloat16RowsChangesNoLatentBeyondRounding) {
  const auto model = tiny_model({.dtype = torch::kBFloat16});
  std::vector<TokenIds> texts;
  for (std::int32_t length = 1; length <= 34; ++length) {  // more than two multiples of 16
    TokenIds& text = texts.emplace_back();
    for (std::int32_t i = 0; i < length; ++i) text.push_back(1 + (7 * i + length) % 11);
    for (std::int32_t m = 0; m < kTinyNumMemory; ++m)
      text.push_back(static_cast<std::int32_t>(model->base().config().vocab_rows) + m);
  }
  std::vector<const TokenIds*> documents;
  for (const TokenIds& text : texts) documents.push_back(&text);
  DocumentLatents none(*model, nullptr, 1);
  DocumentLatents memory(*model, std::make_unique<MemoryLatentStore>(), 64);
  const Tensor expected = none.fetch(documents), found = memory.fetch(documents);
  ASSERT_EQ(found.sizes(), expected.sizes());
  for (std::int64_t i = 0; i < found.size(0); ++i) {
    EXPECT_LT(relative_error(found[i].to(torch::kFloat32), expected[i].to(torch::kFloat32)), 0.02)
        << texts[static_cast<std::size_t>(i)].size() << " tokens";
  }
}

/// Notes how many rows the products have that are computed while it lives.
class ProductRows {
 public:
  ProductRows() {
    found_.clear();
    handle_ = at::addGlobalCallback(
        at::RecordFunctionCallback(
            [](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
              if (std::string_view(function.name()) == "aten::mm") {
                const std::lock_guard lock(mutex_);
                found_.push_back(function.inputs()[0].toTensor().size(0));
              }
              return nullptr;
            })
            .needsInputs(true)
            .scopes({at::RecordScope::FUNCTION}));
  }
  ~ProductRows() { at::removeCallback(handle_); }
  const std::vector<std::int64_t>& found() const { return found_; }

 private:
  static inline std::mutex mutex_;
  static inline std::vector<std::int64_t> found_;
  at::CallbackHandle handle_;
};

TEST(DocumentLatents, ProductsOfBfloat16HaveFewNumbersOfRows) {
  const auto model = tiny_model({.dtype = torch::kBFloat16});
  const std::vector<Example> rows = joint_rows(3);
  DocumentLatents latents(*model, std::make_unique<MemoryLatentStore>(), 64);
  const ProductRows products;
  latents.fetch(documents_of(rows));
  EXPECT_FALSE(products.found().empty());
  for (const std::int64_t num : products.found()) EXPECT_EQ(num % 16, 0) << num;
}

TEST(DocumentLatents, WhatIsStoredDoesNotDependOnWhatElseWasMissing) {
  // As a resumed run, whose store is empty, and the run that it continues.
  const int threads = at::get_num_threads();
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    const auto model = tiny_model({.dtype = dtype});
    at::set_num_threads(2);
    const std::vector<Example> rows = joint_rows(3);
    const std::vector<const TokenIds*> documents = documents_of(rows);
    DocumentLatents together(*model, std::make_unique<MemoryLatentStore>(), 1 << 20);
    DocumentLatents apart(*model, std::make_unique<MemoryLatentStore>(), 1 << 20);
    const Tensor expected = together.fetch(documents);
    for (std::size_t i = documents.size(); i > 0; i -= 3) {
      apart.fetch({documents[i - 1]});
      apart.fetch({documents[i - 2], documents[i - 3]});
    }
    EXPECT_TRUE(torch::equal(apart.fetch(documents), expected));
  }
  at::set_num_threads(threads);
}

TEST(DocumentLatents, ADocumentThatOccursTwiceIsEncodedOnce) {
  const auto model = tiny_model();
  const std::vector<Example> rows = scp_rows(2);
  const TokenIds copy = rows[0].documents[0];
  DocumentLatents latents(*model, nullptr, 64);
  const Tensor found = latents.fetch({&rows[0].documents[0], &rows[1].documents[0], &copy});
  EXPECT_EQ(latents.num_encoded(), 2);
  EXPECT_TRUE(torch::equal(found[0], found[2]));
  EXPECT_FALSE(torch::equal(found[0], found[1]));
}

TEST(DocumentLatents, StoredBfloat16ComesBackBitForBit) {
  const TemporaryFolder folder;
  TinyModelOptions options;
  options.dtype = torch::kBFloat16;
  const auto model = tiny_model(options);
  const std::vector<Example> rows = scp_rows(3);
  DocumentLatents latents(
      *model,
      std::make_unique<DiskLatentStore>(folder.path(), Hash128{}, kShape, torch::kBFloat16, 0), 64);
  const Tensor encoded = latents.fetch(documents_of(rows));
  EXPECT_EQ(encoded.dtype(), torch::kBFloat16);
  EXPECT_TRUE(torch::equal(latents.fetch(documents_of(rows)), encoded));
}

TEST(MemoryLatentStore, KeepsACopy) {
  MemoryLatentStore store;
  const Tensor latents = torch::randn(kShape), before = latents.clone();
  store.put({1, 1}, latents);
  latents.zero_();
  EXPECT_TRUE(torch::equal(store.find({1, 1}).value(), before));
  EXPECT_FALSE(store.find({1, 2}).has_value());
  store.put({1, 1}, before);
  EXPECT_EQ(store.size(), 1);
}

/// A disk store with three documents, closed again.
class DiskStore : public ::testing::Test {
 protected:
  void SetUp() override {
    torch::manual_seed(1);
    const auto store = open_store(folder.path());
    path = store->path();
    empty_bytes = static_cast<std::int64_t>(std::filesystem::file_size(path));
    for (std::uint64_t i = 0; i < 3; ++i) {
      latents.push_back(torch::randn(kShape));
      store->put({i, 7}, latents.back());
    }
    record_bytes = (static_cast<std::int64_t>(std::filesystem::file_size(path)) - empty_bytes) / 3;
  }

  void expect_found(const DiskLatentStore& store, std::uint64_t i) const {
    const auto found = store.find({i, 7});
    ASSERT_TRUE(found.has_value()) << i;
    EXPECT_TRUE(torch::equal(*found, latents[i])) << i;
  }

  TemporaryFolder folder;
  std::filesystem::path path;
  std::int64_t empty_bytes = 0, record_bytes = 0;
  std::vector<Tensor> latents;
};

TEST_F(DiskStore, IsThereWhenItIsOpenedAgain) {
  const auto store = open_store(folder.path());
  EXPECT_EQ(store->size(), 3);
  for (std::uint64_t i = 0; i < 3; ++i) expect_found(*store, i);
  EXPECT_FALSE(store->find({9, 7}).has_value());
  store->put({1, 7}, latents[1]);
  EXPECT_EQ(std::filesystem::file_size(path),
            static_cast<std::uintmax_t>(empty_bytes + 3 * record_bytes))
      << "the same latents are stored once";
}

TEST_F(DiskStore, ATornTailIsCutOff) {
  for (const std::int64_t torn : {std::int64_t{1}, record_bytes / 2, record_bytes - 1}) {
    std::filesystem::resize_file(
        path, static_cast<std::uintmax_t>(empty_bytes + 2 * record_bytes + torn));
    const auto store = open_store(folder.path());
    EXPECT_EQ(store->size(), 2);
    expect_found(*store, 0);
    expect_found(*store, 1);
    EXPECT_FALSE(store->find({2, 7}).has_value());
    store->put({2, 7}, latents[2]);
    expect_found(*store, 2);
  }
  const auto store = open_store(folder.path());
  EXPECT_EQ(store->size(), 3) << "what was put after the cut is there";
  expect_found(*store, 2);
}

TEST_F(DiskStore, ATornHeaderStartsAnew) {
  std::filesystem::resize_file(path, static_cast<std::uintmax_t>(empty_bytes - 1));
  {
    const auto store = open_store(folder.path());
    EXPECT_EQ(store->size(), 0);
    store->put({0, 7}, latents[0]);
  }
  expect_found(*open_store(folder.path()), 0);
}

TEST_F(DiskStore, DamagedLatentsAreNotFound) {
  flip_byte(path, empty_bytes + 2 * record_bytes - 5);  // in the latents of the second record
  const auto store = open_store(folder.path());
  expect_found(*store, 0);
  EXPECT_FALSE(store->find({1, 7}).has_value());
  expect_found(*store, 2);
}

TEST_F(DiskStore, DamagedLatentsAreReplacedForGood) {
  flip_byte(path, empty_bytes + 2 * record_bytes - 5);
  {
    const auto store = open_store(folder.path());
    EXPECT_FALSE(store->find({1, 7}).has_value());
    store->put({1, 7}, latents[1]);
    expect_found(*store, 1);
  }
  const auto store = open_store(folder.path());
  EXPECT_EQ(store->size(), 3);
  expect_found(*store, 1);
}

TEST_F(DiskStore, ADamagedChecksumIsReplacedForGood) {
  flip_byte(path, empty_bytes + record_bytes + 20);  // in the second record's header
  {
    const auto store = open_store(folder.path());
    EXPECT_FALSE(store->find({1, 7}).has_value());
    store->put({1, 7}, latents[1]);
    expect_found(*store, 1);
  }
  expect_found(*open_store(folder.path()), 1);
}

TEST_F(DiskStore, BelongsToOneShapeAndType) {
  EXPECT_THROW(
      DiskLatentStore(folder.path(), {1, 2}, {kTinyNumMemory * 2, kTinyWidth}, torch::kFloat32, 0),
      DataError);
  EXPECT_THROW(DiskLatentStore(folder.path(), {1, 2}, kShape, torch::kBFloat16, 0), DataError);
  const auto store = open_store(folder.path());
  EXPECT_THROW(store->put({5, 5}, torch::zeros({1, kTinyWidth})), Error);
}

TEST_F(DiskStore, AFileThatIsNoStoreIsNamedAndKept) {
  flip_byte(path, 0);
  try {
    open_store(folder.path());
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr(path.string()));
  }
  EXPECT_EQ(std::filesystem::file_size(path),
            static_cast<std::uintmax_t>(empty_bytes + 3 * record_bytes));
}

TEST_F(DiskStore, EveryCompressorHasItsOwnFile) {
  const auto store = open_store(folder.path()), other = open_store(folder.path(), {1, 3});
  EXPECT_EQ(other->size(), 0);
  EXPECT_NE(other->path(), store->path());
}

TEST_F(DiskStore, TwoWritersAreRefused) {
  const auto store = open_store(folder.path());
  try {
    open_store(folder.path());
    FAIL() << "a second writer was let in";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("latent_cache_folder"));
  }
}

TEST_F(DiskStore, AnUnwritableFolderIsNamed) {
  const std::filesystem::path file = folder / "file";
  std::ofstream(file) << "x";
  try {
    open_store(file / "below");
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr((file / "below").string()));
  }
}

TEST(DocumentLatents, ADamagedRecordIsEncodedAgainOnce) {
  const auto model = tiny_model();
  const std::vector<Example> rows = scp_rows(3);
  const TemporaryFolder folder;
  const Hash128 fingerprint = compressor_fingerprint(*model);
  Tensor expected;
  std::filesystem::path file;
  {
    auto store = open_store(folder.path(), fingerprint);
    file = store->path();
    DocumentLatents latents(*model, std::move(store), 64);
    expected = latents.fetch(documents_of(rows));
  }
  flip_byte(file, static_cast<std::int64_t>(std::filesystem::file_size(file)) - 3);
  DocumentLatents latents(*model, open_store(folder.path(), fingerprint), 64);
  EXPECT_TRUE(all_close(latents.fetch(documents_of(rows)), expected, kSame));
  EXPECT_EQ(latents.num_encoded(), 1) << "the damaged one, again";
  EXPECT_TRUE(all_close(latents.fetch(documents_of(rows)), expected, kSame));
  EXPECT_EQ(latents.num_encoded(), 1) << "and only once";
}

}  // namespace
}  // namespace clara::testing
