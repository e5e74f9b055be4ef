// clara-data index latent: the options of the checkpoint whose latents are indexed.
#include "tools/data_index_latent.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/corpus_arguments.h"
#include "tools/model_place.h"
#include "tools/vector_index_command.h"

#include "clara/common/error.h"
#include "clara/data/document_format.h"
#include "clara/eval/latent_encoder.h"

namespace clara::tools {
namespace {

struct LatentArguments {
  CorpusArguments corpus;
  VectorIndexArguments index;
  ModelPlace place;
  std::string checkpoint;
  std::string store = "bfloat16";
  std::string document_format;  // empty: the checkpoint's
  LatentEncoderSettings encoding;
};

TensorDtype stored_type(const std::string& name) {
  if (name == "float32") return TensorDtype::kF32;
  if (name == "float16") return TensorDtype::kF16;
  return name == "int8" ? TensorDtype::kI8 : TensorDtype::kBF16;
}

int index_latent(LatentArguments arguments) {
  arguments.encoding.checkpoint = arguments.checkpoint;
  arguments.encoding.base = arguments.place.base;
  arguments.encoding.device = arguments.place.device();
  arguments.encoding.dtype = arguments.place.dtype();
  const OpenEncoder open_encoder = [&](const LaunchEnv& env) {
    if (env.world_size > 1 && arguments.encoding.num_devices > 1) {
      throw ConfigError(
          "--num-devices: expected 1 with several ranks, each of which takes the "
          "device of its number, found " +
          std::to_string(arguments.encoding.num_devices));
    }
    arguments.encoding.first_device = env.local_rank;
    auto encoder = std::make_unique<const LatentEncoder>(arguments.encoding);
    DenseIndexSettings& settings = arguments.index.settings;
    settings.dtype = stored_type(arguments.store);
    settings.document_format = parse_document_format(arguments.document_format.empty()
                                                         ? encoder->description().document_format
                                                         : arguments.document_format);
    arguments.index.cut_hint =
        "longer than " + std::to_string(encoder->description().doc_max_tokens) +
        " tokens and were cut; clara-data convert --doc-max-tokens and clara-data chunk split the "
        "documents of records";
    return encoder;
  };
  return build_vector_index(arguments.corpus, open_encoder, arguments.index);
}

}  // namespace

std::function<int()> add_index_latent_command(CLI::App& index, std::vector<std::string> words) {
  const auto arguments = std::make_shared<LatentArguments>();
  arguments->index.words = std::move(words);
  CLI::App* command = index.add_subcommand(
      "latent",
      "latents of passages by a checkpoint's compressor, and an index over them, which its query "
      "reasoner searches; a run that was killed goes on where it stopped");
  add_corpus_options(*command, arguments->corpus);
  command
      ->add_option("--checkpoint", arguments->checkpoint,
                   "folder of a run, of a checkpoint, or a final/")
      ->required();
  add_model_place_options(*command, arguments->place);
  add_vector_index_options(*command, arguments->index);
  command->add_option("--store", arguments->store, "type of the vectors on the disk")
      ->check(CLI::IsMember({"float32", "float16", "bfloat16", "int8"}))
      ->capture_default_str();
  command
      ->add_option("--document-format", arguments->document_format,
                   "how title and text become the passage (default: as the checkpoint says)")
      ->check(CLI::IsMember({"title_newline", "ml_clara"}));
  command
      ->add_option("--num-devices", arguments->encoding.num_devices,
                   "CUDA devices that share the passages")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--batch-tokens", arguments->encoding.max_batch_tokens,
                   "tokens that are computed together; lower it where memory is short")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  return [arguments] { return index_latent(*arguments); };
}

}  // namespace clara::tools
