// Times whole steps of a stage on a real base model, and what they are compared with: document
// encoding, greedy generation, the machine's GEMM peak. One JSON object on stdout; scripts/bench.py
// runs it beside the Python reference.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "latents/repeatable_encoder.h"
#include "tools/process_setup.h"
#include <ATen/Parallel.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <torch/torch.h>

#include "clara/checkpoint/open_model.h"
#include "clara/data/row_source.h"
#include "clara/eval/generate.h"
#include "clara/latents/document_latents.h"
#include "clara/objectives/compression_objective.h"
#include "clara/objectives/joint_objective.h"
#include "clara/parallel/communicator.h"
#include "clara/trainer/train_step.h"
#include "clara/trainer/training_data.h"

namespace clara {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Options {
  std::string base, kind, data, dtype = "bfloat16";
  std::int32_t doc_max_tokens = 256, compression_rate = 16, num_selected = 5, threads = 2;
  std::int64_t rows = 8, steps = 1, micro_batch = 0, max_tokens = 8192, new_tokens = 64;
  double dropout = 0.1;
};

/// The model, the rows and what they are tokenised with.
struct Setup {
  TextSide text;
  std::unique_ptr<PromptBuilder> prompts;
  std::unique_ptr<ClaraModel> model;
  std::unique_ptr<RowSource> rows;
  Stage stage = Stage::kScp;
};

Setup open_setup(const Options& o) {
  Setup s;
  const std::int32_t num_memory = o.doc_max_tokens / o.compression_rate;
  const bool tunes = o.kind == "tune" || o.kind == "startup";
  s.stage = o.kind == "scp" ? Stage::kScp : (tunes ? Stage::kTune : Stage::kJoint);
  s.text = open_text_side(o.base, num_memory);
  s.prompts = std::make_unique<PromptBuilder>(
      *s.text.tokenizer, s.text.chat_format, s.text.special_tokens, s.text.bos_id, s.text.eos_id,
      PromptSettings{o.doc_max_tokens, s.stage == Stage::kJoint ? 1024 : 2048, o.num_selected, 17});
  LoraSettings lora;
  lora.dropout = o.dropout;
  const torch::Dtype dtype = o.dtype == "float32" ? torch::kFloat32 : torch::kBFloat16;
  s.model = std::make_unique<ClaraModel>(load_base_llm(o.base, dtype, torch::kCPU), lora,
                                         num_memory, "noise", 17);
  s.rows = std::make_unique<RowSource>(std::vector<DataSource>{{o.data, 1.0, 0}}, o.rows);
  if (s.rows->size() < o.rows)
    throw std::runtime_error(o.data + ": fewer than " + std::to_string(o.rows) + " rows");
  return s;
}

std::vector<Example> tokenise(const Setup& s) {
  const ExampleBuilder builder(s.stage, *s.prompts);
  std::vector<Example> examples;
  for (std::int64_t i = 0; i < s.rows->size(); ++i)
    examples.push_back(builder.build(s.rows->row(i), 0, static_cast<std::uint64_t>(i)));
  return examples;
}

/// Useful arithmetic of a step, by the rules of docs/performance.md: 4·N a token that is trained
/// through, 2·N a token of a frozen document, 4·V·D an answer token; LoRA and attention scores not
/// counted.
struct Arithmetic {
  std::int64_t trained_tokens = 0, frozen_tokens = 0, answer_tokens = 0;
  double operations(const BaseConfig& c, bool warm) const {
    const auto matrices = static_cast<double>(c.num_matrix_parameters());
    const auto head = static_cast<double>(c.vocab_rows * c.hidden_size);
    return 4 * matrices * static_cast<double>(trained_tokens) +
           (warm ? 0.0 : 2 * matrices * static_cast<double>(frozen_tokens)) +
           4 * head * static_cast<double>(answer_tokens);
  }
};

Arithmetic count_arithmetic(const std::vector<Example>& examples, Stage stage) {
  Arithmetic a;
  for (const Example& example : examples) {
    a.trained_tokens += static_cast<std::int64_t>(example.tokens.size() + example.question.size());
    a.answer_tokens += example.num_answer_tokens();
    for (const TokenIds& document : example.documents) {
      (stage == Stage::kJoint ? a.frozen_tokens : a.trained_tokens) +=
          static_cast<std::int64_t>(document.size());
    }
  }
  return a;
}

/// Multiplications at the shapes of the base model's own layers with 2048 tokens: the best rate in
/// GFLOP/s.
double gemm_peak(const BaseConfig& c, torch::Dtype dtype) {
  const torch::NoGradGuard no_grad;
  const std::int64_t tokens = 2048;
  double best = 0;
  for (const auto& [in, out] :
       {std::pair{c.hidden_size, c.intermediate_size}, {c.intermediate_size, c.hidden_size}}) {
    const torch::Tensor x = torch::randn({tokens, in}).to(dtype),
                        w = torch::randn({out, in}).to(dtype);
    const double operations = 2.0 * static_cast<double>(tokens * in * out);
    for (int repetition = 0; repetition < 30; ++repetition) {
      const Clock::time_point start = Clock::now();
      const torch::Tensor y = torch::mm(x, w.t());
      best = std::max(best, operations / seconds_since(start) * 1e-9);
    }
  }
  return best;
}

/// What a stage trains with: everything that exists before its first step.
struct Training {
  std::unique_ptr<DocumentLatents> documents;
  std::unique_ptr<Objective> objective;
  std::unique_ptr<AdamW> optimizer;
};

Training start_training(const Setup& s, const Options& o) {
  Training t;
  t.documents = std::make_unique<DocumentLatents>(*s.model, std::make_unique<MemoryLatentStore>(),
                                                  o.max_tokens);
  if (s.stage == Stage::kJoint) {
    JointSettings settings;
    settings.num_selected = o.num_selected;
    settings.lora_dropout = o.dropout;
    t.objective = std::make_unique<JointObjective>(*s.model, *t.documents, settings);
  } else {
    CompressionSettings settings;
    settings.lora_dropout = o.dropout;
    t.objective = std::make_unique<CompressionObjective>(*s.model, settings);
  }
  t.optimizer = std::make_unique<AdamW>(t.objective->trained_parameters(), TrainerConfig{});
  return t;
}

Json time_steps(const Setup& s, const Options& o, bool warm) {
  if (s.stage == Stage::kJoint && !warm && o.steps > 1)
    throw std::runtime_error("--kind joint: only the first step finds a cold store; --steps 1");
  const Training training = start_training(s, o);
  Objective* objective = training.objective.get();
  AdamW& optimizer = *training.optimizer;
  SingleProcessCommunicator communicator;
  const StepSettings settings{o.micro_batch, o.max_tokens, 17};
  if (warm) {
    const std::vector<Example> examples = tokenise(s);
    for (const Example& example : examples) {
      std::vector<const TokenIds*> all;
      for (const TokenIds& document : example.documents) all.push_back(&document);
      (void)training.documents->fetch(all);
    }
  }
  std::vector<double> step_seconds, update_seconds;
  Json result;
  for (std::int64_t step = 0; step < o.steps; ++step) {
    Clock::time_point start = Clock::now();
    const std::vector<Example> examples = tokenise(s);
    const StepResult done =
        accumulate_gradients(*objective, optimizer, communicator, examples, step, settings);
    step_seconds.push_back(seconds_since(start));
    start = Clock::now();
    optimizer.clip(done.gradient_norm);
    optimizer.step(1e-9);
    update_seconds.push_back(seconds_since(start));
    if (step == 0) {
      const Arithmetic a = count_arithmetic(examples, s.stage);
      result["loss"] = done.loss;
      result["micro_batches"] = done.micro_batches;
      result["trained_tokens"] = a.trained_tokens;
      result["frozen_tokens"] = a.frozen_tokens;
      result["answer_tokens"] = a.answer_tokens;
      result["useful_gflop"] = a.operations(s.model->base().config(), warm) * 1e-9;
    }
  }
  result["step_seconds"] = step_seconds;
  result["update_seconds"] = update_seconds;
  return result;
}

/// Every document of the rows, as often as it stands there.
std::vector<const TokenIds*> documents_of(const std::vector<Example>& examples) {
  std::vector<const TokenIds*> documents;
  for (const Example& example : examples) {
    for (const TokenIds& document : example.documents) documents.push_back(&document);
  }
  return documents;
}

Json time_encoding(const Setup& s, const Options& o) {
  const std::vector<Example> examples = tokenise(s);
  const std::vector<const TokenIds*> documents = documents_of(examples);
  std::size_t tokens = 0;
  for (const TokenIds* document : documents) tokens += document->size();
  std::vector<double> seconds;
  for (std::int64_t step = 0; step < o.steps; ++step) {
    const Clock::time_point start = Clock::now();
    (void)encode_documents(*s.model, AdapterRole::kCompressor, documents, o.max_tokens);
    seconds.push_back(seconds_since(start));
  }
  return {{"step_seconds", seconds}, {"documents", documents.size()}, {"document_tokens", tokens}};
}

/// The rows' documents through an empty store, which encodes the distinct ones, as when a joint
/// step first meets them.
Json time_store(const Setup& s, const Options& o) {
  const std::vector<Example> examples = tokenise(s);
  const std::vector<const TokenIds*> documents = documents_of(examples);
  std::vector<double> seconds;
  std::int64_t num_encoded = 0;
  for (std::int64_t step = 0; step < o.steps; ++step) {
    DocumentLatents latents(*s.model, std::make_unique<MemoryLatentStore>(), o.max_tokens);
    const Clock::time_point start = Clock::now();
    (void)latents.fetch(documents);
    seconds.push_back(seconds_since(start));
    num_encoded = latents.num_encoded();
  }
  return {{"step_seconds", seconds},
          {"documents", num_encoded},
          {"shares_batches", batches_keep_bits(*s.model)}};
}

/// Every answer is as long as allowed: no token ends it.
Json time_generation(const Setup& s, const Options& o) {
  const torch::NoGradGuard no_grad;
  const std::vector<Example> examples = tokenise(s);
  std::vector<TokenIds> prompts;
  std::vector<const TokenIds*> documents;
  for (const Example& example : examples) {
    prompts.emplace_back(example.tokens.begin(), example.tokens.begin() + example.prompt_length);
    for (std::int32_t d = 0; d < example.num_slots; ++d)
      documents.push_back(&example.documents[static_cast<std::size_t>(d)]);
  }
  const torch::Tensor latents =
      encode_documents(*s.model, AdapterRole::kCompressor, documents, o.max_tokens);
  GenerationSettings settings;
  settings.max_new_tokens = o.new_tokens;
  std::vector<double> seconds;
  for (std::int64_t step = 0; step < o.steps; ++step) {
    const Clock::time_point start = Clock::now();
    (void)generate_answers(*s.model, prompts, latents, {}, settings);
    seconds.push_back(seconds_since(start));
  }
  return {{"step_seconds", seconds}, {"prompts", prompts.size()}, {"new_tokens", o.new_tokens}};
}

/// Every document of the rows as text, one after the other on one thread.
Json time_tokeniser(const Options& o) {
  const TextSide text = open_text_side(o.base, o.doc_max_tokens / o.compression_rate);
  const RowSource rows({{o.data, 1.0, 0}}, 0);
  std::vector<std::string> documents;
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    const Json row = Json::parse(rows.row(i).text);
    for (const Json& document : row.at("docs")) documents.push_back(document.get<std::string>());
  }
  std::vector<double> seconds;
  std::size_t tokens = 0, bytes = 0;
  for (std::int64_t step = 0; step < o.steps; ++step) {
    tokens = bytes = 0;
    const Clock::time_point start = Clock::now();
    for (const std::string& document : documents) {
      tokens += text.tokenizer->encode(document, SpecialTokenText::kAsText).size();
      bytes += document.size();
    }
    seconds.push_back(seconds_since(start));
  }
  return {{"step_seconds", seconds}, {"tokens", tokens}, {"bytes", bytes}};
}

int run(int argc, char** argv) {
  Options o;
  CLI::App app{"Times whole steps; prints one JSON object."};
  app.add_option("--base", o.base, "Hugging Face folder")->required();
  app.add_option(
         "--kind", o.kind,
         "scp, tune, joint, joint_warm, encode, encode_store, generate, tokenise, startup or gemm")
      ->required();
  app.add_option("--data", o.data, "record file (.jsonl)");
  app.add_option("--dtype", o.dtype, "float32 or bfloat16");
  app.add_option("--rows", o.rows, "rows of a step");
  app.add_option("--steps", o.steps, "repetitions over the same rows");
  app.add_option("--micro-batch", o.micro_batch, "rows of a micro-batch; 0: by tokens");
  app.add_option("--max-tokens", o.max_tokens, "tokens of a micro-batch");
  app.add_option("--threads", o.threads);
  app.add_option("--doc-max-tokens", o.doc_max_tokens);
  app.add_option("--compression-rate", o.compression_rate);
  app.add_option("--num-selected", o.num_selected);
  app.add_option("--new-tokens", o.new_tokens, "generate: tokens of an answer");
  app.add_option("--dropout", o.dropout);
  CLI11_PARSE(app, argc, argv);
  at::set_num_threads(o.threads);

  Json result;
  if (o.kind == "gemm") {
    const BaseConfig config = load_base_config(o.base);
    result["gflops"] = gemm_peak(config, o.dtype == "float32" ? torch::kFloat32 : torch::kBFloat16);
  } else if (o.kind == "tokenise") {
    result = time_tokeniser(o);
  } else {
    const Clock::time_point start = Clock::now();
    const Setup s = open_setup(o);
    const double open_seconds = seconds_since(start);
    if (o.kind == "encode_store") {
      result = time_store(s, o);
    } else if (o.kind == "encode") {
      result = time_encoding(s, o);
    } else if (o.kind == "generate") {
      result = time_generation(s, o);
    } else if (o.kind == "startup") {
      (void)tokenise(s);
      (void)start_training(s, o);
    } else {
      result = time_steps(s, o, o.kind == "joint_warm");
    }
    result["open_seconds"] = open_seconds;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  result["kind"] = o.kind;
  result["dtype"] = o.dtype;
  result["threads"] = o.threads;
  result["peak_rss_mib"] = usage.ru_maxrss / 1024;
  std::cout << result.dump() << "\n";
  return 0;
}

}  // namespace
}  // namespace clara

int main(int argc, char** argv) {
  clara::tools::keep_heap_memory();
  try {
    return clara::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
