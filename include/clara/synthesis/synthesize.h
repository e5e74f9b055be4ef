// clara-data synthesize: training rows of the first stage from documents, by a teacher that writes,
// judges and completes them (paper, section 3.1).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "clara/data/document_format.h"
#include "clara/synthesis/api_key.h"
#include "clara/synthesis/chat_client.h"
#include "clara/synthesis/synthesis_settings.h"

namespace clara {

struct SynthesisJob {
  std::vector<std::string> files;  ///< documents: rows of JSON, or .txt with blank lines between
  DocumentFormat document_format = DocumentFormat::kTitleNewline;
  bool skips_bad_rows = false;
  std::int64_t shard = 1;  ///< of num_shards, from 1: its documents, by their hash
  std::int64_t num_shards = 1;
  std::int64_t max_documents = 0;  ///< of this shard, from the first one on; 0 = all
  std::filesystem::path prompts;   ///< folder
  std::filesystem::path output;    ///< folder; of several shards each has shard-N-of-M in it
  SynthesisSettings settings;
  ChatSettings server;
};

/// Rows of one kind, of all runs in a folder.
struct KindTotals {
  std::int64_t num_kept = 0;
  std::int64_t num_pairs = 0;                   ///< in rows that were kept
  std::map<std::int64_t, std::int64_t> rounds;  ///< rows that were kept, by their rounds
  std::map<std::string, std::int64_t> dropped;  ///< by reason
};

struct SynthesisTotals {
  std::array<KindTotals, 3> kinds;  ///< by SynthesisKind
  std::int64_t num_answers = 0;
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::map<std::string, std::int64_t> refused;  ///< pairs and paraphrases, by the check
};

struct SynthesisReport {
  std::filesystem::path folder;
  SynthesisTotals totals;
  // of this run
  std::int64_t num_documents = 0;  ///< met that are asked about
  std::int64_t num_repeated = 0;
  std::int64_t num_short = 0;
  std::int64_t num_long = 0;
  std::int64_t num_bad_rows = 0;
  std::vector<std::string> bad_rows;     ///< the first of them
  std::int64_t num_finished_before = 0;  ///< rows that an earlier run had finished
  std::int64_t num_finished = 0;         ///< rows that this run finished
  std::int64_t num_failed = 0;  ///< rows left to the next run because the server did not answer
  std::string failure;          ///< the last such message
  bool is_stopped = false;      ///< by should_stop
  double seconds = 0;
  ChatStatistics requests;
};

struct SynthesisProgress {
  std::int64_t num_bytes = 0;  ///< of the files
  std::int64_t num_bytes_read = 0;
  const SynthesisReport* report = nullptr;
};

/// What a program shows and decides meanwhile; each may be null.
struct SynthesisHooks {
  std::function<bool()> should_stop;
  std::function<void(const SynthesisProgress&)> progress;
  std::function<void(const std::string&)> notify;
};

/// Goes on with what is in the output folder. Throws ConfigError (settings that differ from those
/// of the folder, prompts), DataError (documents, a full disk), ServerError (ChatClient::poll).
/// Whatever it throws, the folder is good and the same job goes on where this one ended.
SynthesisReport synthesize(const SynthesisJob& job, const ApiKey& key,
                           const SynthesisHooks& hooks = {});

struct TokenPrices {
  double per_million_in = 0;
  double per_million_out = 0;
};
double cost_of(const SynthesisTotals& totals, const TokenPrices& prices);

/// A table for a person.
std::string render_synthesis_report(const SynthesisReport& report, const TokenPrices& prices);
/// The same as a JSON object.
std::string synthesis_summary_json(const SynthesisReport& report, const TokenPrices& prices);

}  // namespace clara
