// The prompts and token sequences of numerics §3, §4 and §10.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clara/data/answer_context.h"
#include "clara/data/example.h"
#include "clara/data/records.h"
#include "clara/tokenizer/chat_format.h"
#include "clara/tokenizer/special_tokens.h"
#include "clara/tokenizer/tokenizer.h"

namespace clara {

extern const std::string_view kSystemQa;
extern const std::string_view kSystemParaphrase;
extern const std::string_view kSystemAnswer;
/// The 13 paraphrase instructions (numerics §10); "{docs}" stands where the documents go.
extern const std::array<std::string_view, 13> kParaphraseInstructions;

struct PromptSettings {
  std::int32_t doc_max_tokens = 256;
  std::int32_t max_sequence_tokens = 2048;  ///< 2048 for scp and tune, 1024 for joint
  std::int32_t num_selected = 5;            ///< S of joint rows; tune: documents of a row at most
  std::uint64_t seed = 17;                  ///< draws paraphrase instructions and versions
  /// Of tune rows: what of the documents stands in the prompt. Without latents an example has no
  /// documents of its own.
  AnswerContext context = AnswerContext::kLatents;
};

/// Builds Examples. Text of documents, questions and answers never becomes a control token. Rows
/// that cannot be trained on are DataErrors with the row's place: tokens that merge across the
/// border between prompt and answer; a cut to max_sequence_tokens that would lose a memory token or
/// the whole answer. Safe for use from several threads if the tokenizer is, which must outlive it.
class PromptBuilder {
 public:
  /// `bos_id`, `eos_id`: of compressor and query reasoner inputs (numerics §3); -1: none.
  PromptBuilder(const Tokenizer& tokenizer, ChatFormat format, SpecialTokens special_tokens,
                std::int32_t bos_id, std::int32_t eos_id, PromptSettings settings);

  /// <ENC> BOS text EOS, cut on the right to doc_max_tokens + 3, then M memory tokens. `was_cut`
  /// (optional) tells of a cut.
  TokenIds encoder_ids(std::string_view text, bool* was_cut = nullptr) const;

  /// One document. `epoch` draws the version of a paraphrase row; `row` is the row's number in the
  /// data set, which also draws its instruction if the record fixes none.
  Example scp_example(const ScpRecord& record, std::uint64_t epoch, std::uint64_t row) const;
  /// The first S documents of the row in the prompt; the others are left out and counted
  /// (num_dropped_documents), positives among them too. Where the context is text they stand in the
  /// prompt as text_answer_prompt() has them, where it is none they are left out.
  Example tune_example(const QaRecord& record) const;
  /// K candidates, min(S, K) slots in the prompt, the question for the query reasoner.
  Example joint_example(const QaRecord& record) const;
  /// As joint, without generator tokens.
  Example retriever_example(const QaRecord& record) const;
  /// Prompt only: "Background:\n{docs}\n\nQuestion:{question}" with `num_slots` documents and the
  /// generation prompt. Not cut.
  TokenIds answer_prompt(std::string_view question, std::int32_t num_slots) const;
  /// Prompt with the texts of documents in place of latents (full-text baseline), joined by "\n".
  /// Not cut.
  TokenIds text_answer_prompt(std::string_view question,
                              const std::vector<std::string>& documents) const;

  const SpecialTokens& special_tokens() const { return special_tokens_; }
  const PromptSettings& settings() const { return settings_; }
  const ChatFormat& format() const { return format_; }

 private:
  // Ids of rendered segments, each documents placeholder as `num_slots` times M memory tokens and
  // <SEP>.
  TokenIds encode_with_slots(const std::vector<ChatSegment>& segments,
                             std::int32_t num_slots) const;
  // Fills tokens, prompt_length, num_slots and cut_answer.
  void add_conversation(Example& example, std::string_view system,
                        const std::vector<ChatSegment>& user, std::string_view answer) const;
  // Documents (the first `count` of the record), positives among them and the place.
  Example start_example(const QaRecord& record, std::size_t count) const;
  void add_document(Example& example, std::string_view text) const;

  const Tokenizer& tokenizer_;
  ChatFormat format_;
  SpecialTokens special_tokens_;
  std::int32_t bos_id_;
  std::int32_t eos_id_;
  PromptSettings settings_;
};

}  // namespace clara
