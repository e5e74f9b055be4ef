// The two vectors of a document against the compressor's own pass; the file that plots read.
#include "clara/analysis/latent_space.h"

#include "tests/support/opened_model.h"
#include "tests/support/tensor_compare.h"
#include "tests/unit/common/temporary_folder.h"
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/tensor_file.h"
#include "clara/eval/opened_prompts.h"

namespace clara {
namespace {

using testing::all_close;

const std::vector<std::string> kDocuments = {"Author 1 wrote book 4.", "The river runs south.",
                                             "A third document, which is rather longer than two."};

const OpenedModel& opened_model() {
  static const OpenedModel opened = testing::random_opened_model(4);
  return opened;
}

TEST(LatentSpace, VectorsAndNumbersAreThoseOfEachDocumentAlone) {
  const torch::NoGradGuard no_grad;
  const OpenedModel& opened = opened_model();
  const LatentSpace space = measure_latent_space(opened, kDocuments, 64);
  ASSERT_EQ(space.latent_means_ND.size(0), 3);
  const PromptBuilder prompts = make_prompt_builder(opened, 1, 0);
  double alignment = 0, cosine = 0;
  for (std::size_t n = 0; n < kDocuments.size(); ++n) {
    const TokenIds input = prompts.encoder_ids(kDocuments[n]);
    const PackedSequences packed = opened.model->pack({&input});
    const torch::Tensor hidden =
        opened.model->base().forward(opened.model->embed(packed), packed.layout,
                                     &opened.model->adapter(AdapterRole::kCompressor));
    const std::int64_t length = hidden.size(0) - 4;
    const torch::Tensor text = hidden.narrow(0, 0, length).mean(0);
    const torch::Tensor latent = hidden.narrow(0, length, 4).mean(0);
    const auto place = static_cast<std::int64_t>(n);
    EXPECT_TRUE(all_close(space.text_means_ND[place], text, 1e-5));
    EXPECT_TRUE(all_close(space.latent_means_ND[place], latent, 1e-5));
    alignment += (text - latent).square().mean().item<double>() / 3;
    cosine += torch::cosine_similarity(text, latent, 0).item<double>() / 3;
  }
  EXPECT_NEAR(space.alignment, alignment, 1e-5 * alignment);
  EXPECT_NEAR(space.cosine_own_text, cosine, 1e-5);
  EXPECT_GE(space.nearest_is_own, 0);
  EXPECT_LE(space.nearest_is_own, 1);
}

TEST(LatentSpace, BatchesChangeNothing) {
  const LatentSpace one = measure_latent_space(opened_model(), kDocuments, 8192);
  const LatentSpace each = measure_latent_space(opened_model(), kDocuments, 1);
  EXPECT_TRUE(all_close(one.latent_means_ND, each.latent_means_ND, 1e-5));
  EXPECT_NEAR(one.cosine_other_text, each.cosine_other_text, 1e-5);
}

TEST(LatentSpace, IsSavedForPlots) {
  const TemporaryFolder folder;
  const LatentSpace space = measure_latent_space(opened_model(), kDocuments, 8192);
  save_latent_space(folder.path() / "space.safetensors", space);
  const auto tensors = load_tensors(folder.path() / "space.safetensors");
  EXPECT_TRUE(torch::equal(tensors.at("latents"), space.latent_means_ND));
  EXPECT_TRUE(torch::equal(tensors.at("texts"), space.text_means_ND));
}

TEST(LatentSpace, NeedsTwoDocuments) {
  EXPECT_THROW(measure_latent_space(opened_model(), {"one"}, 64), DataError);
  EXPECT_THROW(measure_latent_space(opened_model(), {"one", ""}, 64), DataError);
}

}  // namespace
}  // namespace clara
