// clara-data: records as the model sees them, differences of tensors, published benchmarks as
// records, training rows by a teacher, indexes over corpora and candidates from them, long
// documents in chunks, exports (interface.md "Commands"). Arguments and what is shown; the work is
// in the library.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "tools/data_candidates.h"
#include "tools/data_convert.h"
#include "tools/data_index.h"
#include "tools/data_review.h"
#include "tools/data_synthesize.h"
#include "tools/exit_codes.h"
#include "tools/process_setup.h"
#include <CLI/CLI.hpp>
#include <unistd.h>

#include "clara/analysis/diff_tensors.h"
#include "clara/analysis/inspect_record.h"
#include "clara/checkpoint/merged_model.h"
#include "clara/checkpoint/model_files.h"
#include "clara/checkpoint/official_checkpoint.h"
#include "clara/checkpoint/open_model.h"
#include "clara/checkpoint/peft_adapter.h"
#include "clara/common/error.h"
#include "clara/common/version.h"
#include "clara/data/chunk_records.h"
#include "clara/data/row_source.h"
#include "clara/tokenizer/tokenizer.h"

namespace {

namespace fs = std::filesystem;

constexpr int kExitDifferent = 1;

struct InspectArguments {
  std::string data;
  std::optional<std::int64_t> row;  // from 1
  std::string stage;                // empty: recognised from the record
  std::string config, checkpoint, base;
  std::string dtype = "float32";
  std::string device = "auto";
  std::uint64_t epoch = 0;
  std::string dump;
  bool all_tokens = false;
};

struct DiffArguments {
  std::string a, b;
  double tolerance = 0;
  bool tensors_only = false;
  bool all = false;
  std::size_t max_rows = 50;
};

struct ChunkArguments {
  std::string data, tokenizer, output;
  clara::ChunkSettings settings;
  bool has_overlap = false;  // was given
  std::string record = "same";
  std::string on_bad_record = "stop";
};

struct ExportArguments {
  std::string checkpoint, output, base;
  std::string merge;                  // an adapter's name
  std::string format;                 // "official", "clara"
  std::vector<std::string> adapters;  // empty: all
  std::string dtype = "auto";
  std::uint64_t max_shard_bytes = clara::MergeSettings{}.max_shard_bytes;
};

bool stdout_is_terminal() { return isatty(STDOUT_FILENO) == 1; }

std::optional<clara::Stage> stage_of(const std::string& name) {
  for (const clara::Stage stage :
       {clara::Stage::kScp, clara::Stage::kTune, clara::Stage::kJoint, clara::Stage::kRetriever}) {
    if (clara::to_string(stage) == name) return stage;
  }
  return std::nullopt;
}

int inspect(const InspectArguments& arguments) {
  if (!arguments.row)
    throw clara::ConfigError("expected --row N or --sample N, found neither (see --help)");
  const std::int64_t row = *arguments.row;
  const clara::RowSource rows({{arguments.data, 1.0, 0}});
  if (row < 1 || row > rows.size()) {
    throw clara::DataError(arguments.data + ": expected a row from 1 to " +
                           std::to_string(rows.size()) + ", found --row " + std::to_string(row));
  }
  clara::InspectionSource source;
  source.config = arguments.config;
  source.checkpoint = arguments.checkpoint;
  source.base = arguments.base;
  source.stage = stage_of(arguments.stage);
  source.dtype = arguments.dtype == "bfloat16"  ? clara::Dtype::kBfloat16
                 : arguments.dtype == "float32" ? clara::Dtype::kFloat32
                                                : clara::Dtype::kAuto;
  source.device = arguments.device == "cpu"    ? clara::Device::kCpu
                  : arguments.device == "cuda" ? clara::Device::kCuda
                                               : clara::Device::kAuto;
  clara::InspectionSettings settings;
  settings.epoch = arguments.epoch;
  settings.row = static_cast<std::uint64_t>(row - 1);
  settings.keep_logits = !arguments.dump.empty();
  const clara::RecordInspection inspection =
      clara::inspect_row(rows.row(row - 1), source, settings);
  if (!arguments.dump.empty()) clara::save_inspection(arguments.dump, inspection);
  std::cout << clara::render_inspection(inspection, {stdout_is_terminal(), arguments.all_tokens});
  if (!arguments.dump.empty()) std::cerr << "tensors: " << arguments.dump << "\n";
  return clara::tools::kExitOk;
}

int diff(const DiffArguments& arguments) {
  const clara::DiffReport report =
      clara::diff_tensors(arguments.a, arguments.b, {arguments.tolerance, !arguments.tensors_only});
  std::cout << clara::render_diff(report,
                                  {stdout_is_terminal(), arguments.all, arguments.max_rows});
  return report.is_equal() ? clara::tools::kExitOk : kExitDifferent;
}

int chunk(const ChunkArguments& arguments) {
  const auto tokenizer = clara::load_tokenizer(arguments.tokenizer);
  clara::ChunkFileSettings settings;
  settings.chunks = arguments.settings;
  settings.writes_chunks_as_rows = arguments.record == "scp";
  settings.skips_bad_rows = arguments.on_bad_record == "skip";
  if (settings.writes_chunks_as_rows) {
    settings.chunks.fills_chunks = true;
    // What is told once needs no repetition.
    if (!arguments.has_overlap) settings.chunks.overlap_tokens = 0;
  }
  const clara::ChunkReport report =
      clara::chunk_record_file(arguments.data, arguments.output, *tokenizer, settings);
  std::cout << arguments.output << ": " << report.num_rows << " rows, " << report.num_documents
            << " documents became " << report.num_chunks << " (" << report.num_split_documents
            << " were split)\n";
  if (report.num_met_documents > 0) {
    std::cerr << report.num_met_documents
              << " documents of earlier rows came again and were told once\n";
  }
  if (report.num_scp_rows > 0) {
    std::cerr << report.num_scp_rows << " scp rows have a document of more than "
              << arguments.settings.max_tokens
              << " tokens and stayed as they are: their questions are about all of it\n";
  }
  if (report.num_crowded_rows > 0) {
    std::cerr << report.num_crowded_rows << " rows have more than " << clara::kMaxDocuments
              << " documents now, which training refuses: raise --max-tokens or lower --overlap\n";
  }
  if (!report.bad_rows.empty()) {
    std::cerr << report.bad_rows.size() << " bad rows were left out (--on-bad-record skip):\n";
    for (const std::string& message : report.bad_rows) std::cerr << "  " << message << "\n";
  }
  return clara::tools::kExitOk;
}

clara::Dtype dtype_of(const std::string& name) {
  if (name == "float32") return clara::Dtype::kFloat32;
  return name == "bfloat16" ? clara::Dtype::kBfloat16 : clara::Dtype::kAuto;
}

int export_merged(const ExportArguments& arguments) {
  const fs::path checkpoint = arguments.checkpoint;
  // A PEFT folder is one adapter by itself; its base is told by --base.
  if (clara::is_peft_folder(checkpoint) && arguments.base.empty())
    throw clara::ConfigError("expected --base FOLDER beside the PEFT folder " +
                             checkpoint.string() + ", found none");
  const fs::path base = clara::is_peft_folder(checkpoint)
                            ? fs::path(arguments.base)
                            : clara::find_base_folder(clara::describe_model_folder(checkpoint),
                                                      checkpoint, arguments.base);
  clara::AdapterRole role = clara::AdapterRole::kGenerator;
  for (const clara::AdapterRole candidate : clara::kAdapterRoles) {
    if (clara::adapter_name(candidate) == arguments.merge) role = candidate;
  }
  const clara::LoraAdapter adapter =
      clara::read_adapter(checkpoint, role, clara::load_base_config(base), torch::kCPU);
  clara::export_merged_model(base, adapter, arguments.output,
                             {dtype_of(arguments.dtype), arguments.max_shard_bytes});
  return clara::tools::kExitOk;
}

int export_official(const ExportArguments& arguments) {
  const clara::OpenedModel opened = clara::open_checkpoint(
      arguments.checkpoint, arguments.base, clara::Dtype::kFloat32, clara::Device::kCpu);
  clara::make_export_folder(arguments.output);
  clara::save_official_checkpoint(arguments.output, *opened.model, opened.description,
                                  *opened.text.tokenizer);
  return clara::tools::kExitOk;
}

int export_smaller(const ExportArguments& arguments) {
  const clara::OpenedModel opened = clara::open_checkpoint(
      arguments.checkpoint, arguments.base, clara::Dtype::kFloat32, clara::Device::kCpu);
  clara::ModelDescription description = opened.description;
  if (!arguments.adapters.empty()) description.adapters = arguments.adapters;
  clara::make_export_folder(arguments.output);
  const bool is_bfloat16 = dtype_of(arguments.dtype) == clara::Dtype::kBfloat16;
  clara::write_model_files(
      arguments.output,
      clara::convert_model_files(clara::describe_model_files(*opened.model, description),
                                 is_bfloat16 ? torch::kBFloat16 : torch::kFloat32));
  return clara::tools::kExitOk;
}

int export_model(const ExportArguments& arguments) {
  if (arguments.merge.empty() == arguments.format.empty()) {
    throw clara::ConfigError(
        "expected --merge ADAPTER, --format official or --format clara, found " +
        std::string(arguments.merge.empty() ? "neither" : "both") + " (see --help)");
  }
  if (arguments.format == "official" && arguments.dtype != "auto")
    throw clara::ConfigError(
        "--dtype belongs to --merge and --format clara; the official layout is written in float32");
  if (arguments.format != "clara" && !arguments.adapters.empty())
    throw clara::ConfigError("--adapters belongs to --format clara");
  const int code = !arguments.merge.empty()         ? export_merged(arguments)
                   : arguments.format == "official" ? export_official(arguments)
                                                    : export_smaller(arguments);
  std::cout << arguments.output << "\n";
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  clara::tools::keep_heap_memory();
  CLI::App app{
      "Look at records as the model sees them, compare sets of tensors, convert published "
      "benchmarks, write training rows with a teacher, index corpora, find candidates, split long "
      "documents, export models.",
      "clara-data"};
  app.set_version_flag("--version", std::string("clara-data ") + clara::kVersion);
  app.require_subcommand(1);

  InspectArguments inspecting;
  CLI::App* inspect_command = app.add_subcommand(
      "inspect",
      "show a record as the model sees it: rendered prompt, memory slots, tokens with ids, which "
      "of them carry loss; with a checkpoint scores, chosen documents and losses");
  inspect_command->add_option("--data", inspecting.data, "records: .jsonl, .jsonl.gz or .json")
      ->required();
  CLI::Option* row_option =
      inspect_command->add_option("--row", inspecting.row, "number of the record, from 1");
  clara::tools::ReviewArguments reviewing;
  CLI::Option* sample_option =
      inspect_command
          ->add_option("--sample", reviewing.num_rows,
                       "instead of one record: so many drawn from --seed, beside their documents")
          ->check(CLI::PositiveNumber)
          ->excludes(row_option);
  inspect_command->add_flag("--review", reviewing.asks, "ask for a verdict on each, and keep it")
      ->needs(sample_option);
  inspect_command
      ->add_option("--verdicts", reviewing.verdicts,
                   "where verdicts are kept (default: the data's name with .verdicts.jsonl)")
      ->needs(sample_option);
  inspect_command->add_option("--seed", reviewing.seed, "of the sample")->capture_default_str();
  inspect_command
      ->add_option("--stage", inspecting.stage,
                   "what the record is for (default: recognised from the record, then from config "
                   "or checkpoint)")
      ->check(CLI::IsMember({"scp", "tune", "joint", "retriever"}));
  inspect_command->add_option("--config", inspecting.config,
                              "config of a run: its base model and settings; may stand beside "
                              "--checkpoint");
  inspect_command->add_option("--checkpoint", inspecting.checkpoint,
                              "folder of a checkpoint, or a run's final/: its model, with the "
                              "settings of its run");
  inspect_command->add_option("--base", inspecting.base,
                              "Hugging Face folder of the base model; alone: with the stage's "
                              "default settings");
  inspect_command->add_option("--epoch", inspecting.epoch, "draws the version of a paraphrase row")
      ->capture_default_str();
  inspect_command->add_option("--dtype", inspecting.dtype, "of the base model and the compute")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16"}))
      ->capture_default_str();
  inspect_command->add_option("--device", inspecting.device, "where to compute")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  inspect_command->add_option("--dump", inspecting.dump,
                              "write ids, masks, labels and, with a checkpoint, latents, question "
                              "vector, scores, W, losses and logits to this .safetensors file");
  inspect_command->add_flag("--all-tokens", inspecting.all_tokens,
                            "also the tokens of every document");

  DiffArguments differing;
  CLI::App* diff_command = app.add_subcommand(
      "diff",
      "compare two checkpoints, final/ folders, PEFT folders or .safetensors files tensor by "
      "tensor; the exit code is 0 where they are equal within the tolerance, 1 where they differ");
  diff_command->add_option("A", differing.a, "folder or .safetensors file")->required();
  diff_command->add_option("B", differing.b, "folder or .safetensors file")->required();
  diff_command
      ->add_option("--tolerance", differing.tolerance,
                   "largest difference that passes, relative to the largest absolute value of "
                   "the two tensors; above 0 the dtypes may differ")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  diff_command->add_flag("--tensors-only", differing.tensors_only,
                         "leave clara.json, adapter_config.json and config.json out");
  diff_command->add_flag("--all", differing.all, "list equal tensors too");
  diff_command->add_option("--max-rows", differing.max_rows, "tensors listed; 0 = all")
      ->capture_default_str();

  ChunkArguments chunking;
  CLI::App* chunk_command = app.add_subcommand(
      "chunk",
      "split the long documents of tune, joint and evaluation records into several; pos_index then "
      "names every chunk of a relevant document");
  chunk_command->add_option("--data", chunking.data, "records: .jsonl, .jsonl.gz or .json")
      ->required();
  chunk_command
      ->add_option("--tokenizer", chunking.tokenizer, "folder with the tokenizer of the base model")
      ->required();
  chunk_command->add_option("--output", chunking.output, "the .jsonl file to write")->required();
  chunk_command
      ->add_option("--max-tokens", chunking.settings.max_tokens,
                   "of a chunk; model.doc_max_tokens of the training config")
      ->capture_default_str();
  CLI::Option* overlap_option =
      chunk_command
          ->add_option("--overlap", chunking.settings.overlap_tokens,
                       "tokens of one chunk that the next repeats, at most; with --record scp 0")
          ->capture_default_str();
  chunk_command->add_flag("--title-line", chunking.settings.repeat_title,
                          "the first line of a document is a title: put it before every chunk");
  chunk_command
      ->add_option(
          "--record", chunking.record,
          "same: as they are read, or scp: each chunk of any record's documents once, as a "
          "row that is to give it back from its latents; short ones are learnt first")
      ->check(CLI::IsMember({"same", "scp"}))
      ->capture_default_str();
  chunk_command
      ->add_option("--on-bad-record", chunking.on_bad_record, "stop, or skip: leave out and list")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str();

  const std::function<int()> convert = clara::tools::add_convert_command(app);
  const std::function<int()> synthesize = clara::tools::add_synthesize_command(app);
  const std::function<int()> index = clara::tools::add_index_command(app, {argv + 1, argv + argc});
  const std::function<int()> candidates = clara::tools::add_candidates_command(app);

  ExportArguments exporting;
  CLI::App* export_command = app.add_subcommand(
      "export",
      "write a trained model for other programs: one adapter merged into a plain Hugging Face "
      "model, or the layout of apple/ml-clara");
  export_command
      ->add_option("--checkpoint", exporting.checkpoint,
                   "checkpoint, final/ folder or official folder; for --merge also a PEFT folder")
      ->required();
  export_command->add_option("--output", exporting.output, "folder to write; empty or not there")
      ->required();
  export_command
      ->add_option("--merge", exporting.merge, "the adapter to merge into the base model's weights")
      ->check(CLI::IsMember({"compressor", "query_reasoner", "generator"}));
  export_command
      ->add_option("--format", exporting.format,
                   "official: config.json, adapters.pth and decoder_first_last_layers.pth; clara: "
                   "this project's own layout, smaller by --dtype bfloat16 and --adapters")
      ->check(CLI::IsMember({"official", "clara"}));
  export_command
      ->add_option("--adapters", exporting.adapters,
                   "that --format clara writes (default: all); training starts the others anew")
      ->delimiter(',')
      ->check(CLI::IsMember({"compressor", "query_reasoner", "generator"}));
  export_command->add_option("--base", exporting.base,
                             "Hugging Face folder of the base model (default: the checkpoint's)");
  export_command
      ->add_option("--dtype", exporting.dtype,
                   "of what is written; auto = as in the base for --merge (bfloat16 rounds what is "
                   "added), float32 for --format clara")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16"}))
      ->capture_default_str();
  export_command
      ->add_option("--max-shard-bytes", exporting.max_shard_bytes,
                   "a larger merged model is written in several files")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();

  return clara::tools::run_main(app, argc, argv, [&] {
    if (*inspect_command && *sample_option) {
      reviewing.data = inspecting.data;
      return clara::tools::review_rows(reviewing);
    }
    if (*inspect_command) return inspect(inspecting);
    if (*chunk_command) {
      chunking.has_overlap = overlap_option->count() > 0;
      return chunk(chunking);
    }
    if (app.got_subcommand("convert")) return convert();
    if (app.got_subcommand("synthesize")) return synthesize();
    if (app.got_subcommand("index")) return index();
    if (app.got_subcommand("candidates")) return candidates();
    return *export_command ? export_model(exporting) : diff(differing);
  });
}
