// clara-data index dense: the options of its encoder.
#include "tools/data_index_dense.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/corpus_arguments.h"
#include "tools/vector_index_command.h"

#include "clara/data/document_format.h"
#include "clara/retrieval/text_encoder.h"

namespace clara::tools {
namespace {

struct DenseArguments {
  CorpusArguments corpus;
  VectorIndexArguments index;
  std::string encoder;
  std::string pooling;  // empty: as the encoder's folder says
  std::string dtype = "float16";
  std::string document_format = "title_newline";
  std::optional<std::string> passage_prefix;
  EncoderSettings encoding;
};

int index_dense(DenseArguments arguments) {
  if (!arguments.pooling.empty()) arguments.encoding.pooling = parse_pooling(arguments.pooling);
  arguments.encoding.passage_prefix = arguments.passage_prefix;
  DenseIndexSettings& settings = arguments.index.settings;
  settings.dtype = arguments.dtype == "float16" ? TensorDtype::kF16 : TensorDtype::kF32;
  settings.document_format = parse_document_format(arguments.document_format);
  const OpenEncoder open_encoder = [&](const LaunchEnv&) {
    auto encoder = std::make_unique<const TextEncoder>(arguments.encoder, arguments.encoding);
    arguments.index.cut_hint = "longer than the " + std::to_string(encoder->settings().max_tokens) +
                               " tokens that the encoder reads and were cut";
    return encoder;
  };
  return build_vector_index(arguments.corpus, open_encoder, arguments.index);
}

}  // namespace

std::function<int()> add_index_dense_command(CLI::App& index, std::vector<std::string> words) {
  const auto arguments = std::make_shared<DenseArguments>();
  arguments->index.words = std::move(words);
  CLI::App* command = index.add_subcommand(
      "dense",
      "vectors of passages by a BERT-family encoder (BGE, MiniLM, E5), and an index over them; a "
      "run that was killed goes on where it stopped");
  add_corpus_options(*command, arguments->corpus);
  command
      ->add_option("--encoder", arguments->encoder,
                   "Hugging Face or sentence-transformers folder of a BERT or XLM-RoBERTa encoder")
      ->required();
  add_vector_index_options(*command, arguments->index);
  command
      ->add_option("--pooling", arguments->pooling,
                   "cls or mean (default: as 1_Pooling/config.json of the encoder says)")
      ->check(CLI::IsMember({"cls", "mean"}));
  command
      ->add_option("--max-tokens", arguments->encoding.max_tokens,
                   "longer passages are cut (default: as the encoder's folder says)")
      ->check(CLI::PositiveNumber);
  command->add_option("--passage-prefix", arguments->passage_prefix,
                      "goes before every passage (default: as the encoder's folder says)");
  command
      ->add_option("--document-format", arguments->document_format,
                   "how title and text become the passage, as data.document_format")
      ->check(CLI::IsMember({"title_newline", "ml_clara"}))
      ->capture_default_str();
  command->add_option("--dtype", arguments->dtype, "of the stored vectors")
      ->check(CLI::IsMember({"float16", "float32"}))
      ->capture_default_str();
  command
      ->add_option("--batch-tokens", arguments->encoding.batch_tokens,
                   "tokens that are computed together; changes speed alone")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  return [arguments] { return index_dense(*arguments); };
}

}  // namespace clara::tools
