// One row in the making: write, check, have it judged, write what is missing, until it is complete.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "synthesis/answer_checks.h"
#include "synthesis/teacher_answers.h"

#include "clara/common/content_hash.h"
#include "clara/synthesis/chat_client.h"
#include "clara/synthesis/synthesis_prompts.h"
#include "clara/synthesis/synthesis_settings.h"

namespace clara {

// Why a row is given up, besides the reasons of its last paraphrase (answer_checks.h).
inline constexpr const char* kIncomplete = "coverage incomplete";
inline constexpr const char* kMalformedAnswer = "malformed answer";
inline constexpr const char* kMalformedVerdict = "malformed verdict";
inline constexpr const char* kCutOffAnswer = "answer cut off";
inline constexpr const char* kNoPair = "no pair passed the checks";
inline constexpr const char* kRefusedRequest = "refused by the server";

/// What a row has come to; all of it that the journal must keep.
struct TaskState {
  enum class Step { kWrite, kVerify, kComplete, kDropped };
  Step step = Step::kWrite;
  std::int64_t round = 1;
  std::vector<QaPair> pairs;
  std::string paraphrase;
  std::vector<std::string> missing;   ///< what the teacher found missing last
  std::vector<std::string> problems;  ///< of the last attempts, for the teacher
  std::string reason;                 ///< why the last round, or the row, failed
};

class SynthesisTask {
 public:
  /// What is referred to must outlive the task. `state`: where an earlier run left it.
  SynthesisTask(std::string document, SynthesisKind kind, const SynthesisSettings& settings,
                const SynthesisPrompts& prompts, TaskState state = {});

  const std::string& document() const { return document_; }
  SynthesisKind kind() const { return kind_; }
  const TaskState& state() const { return state_; }
  bool is_done() const;

  /// What to ask the teacher now; not once it is done.
  ChatRequest next_request() const;
  /// Takes the answer to next_request(): answered or refused, not failed. Returns what the checks
  /// refused of it.
  RefusedCounts accept(const ChatReply& reply);

 private:
  bool is_paraphrase() const { return kind_ == SynthesisKind::kParaphrase; }
  ChatRequest write_request() const;
  ChatRequest verify_request() const;
  void accept_pairs(const ChatReply& reply, RefusedCounts& refused);
  void accept_paraphrase(const ChatReply& reply, RefusedCounts& refused);
  void accept_verdict(const ChatReply& reply, RefusedCounts& refused);
  void end_round(const std::string& reason);

  std::string document_;
  SynthesisKind kind_;
  const SynthesisSettings& settings_;
  const SynthesisPrompts& prompts_;
  AnswerChecker checker_;
  TaskState state_;
};

/// The finished row, with a line break: an scp record (data/README.md) with `document_id` and
/// `kind` beside it.
std::string synthesis_row(const SynthesisTask& task, const Hash128& document_id);

}  // namespace clara
