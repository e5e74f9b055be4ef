// Prompts, answers and compressor inputs as token ids (numerics §3, §4, §10).
#include "clara/data/prompts.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "clara/common/error.h"
#include "clara/common/seeds.h"
#include "clara/common/text.h"

namespace clara {

// The wording (mistakes included) is that of the published checkpoints' training prompts.
const std::string_view kSystemQa =
    "You are a helpful assistant. Given a document, your task is to generate some single questions "
    "to cover all key information of the document and answer them sequentially.";
const std::string_view kSystemParaphrase =
    "You are a helpful assistant. Your task is follow the instructions to paraphrase the "
    "background "
    "information.";
const std::string_view kSystemAnswer =
    "You are a helpful assistant. Your task is to extract relevant information from provided "
    "documents and to answer to questions as briefly as possible.";

const std::array<std::string_view, 13> kParaphraseInstructions = {
    "Background: {docs} means the same as",
    "Background: {docs} Can you put the above sentences in your own terms?",
    "Background: {docs} Please provide a reinterpretation of the preceding background text.",
    "These two expressions are equivalent in essence:\n(1) {docs}\n(2)",
    "Background: {docs} is a paraphrase of what?",
    "Background: {docs} Could you give me a different version of the background sentences above?",
    "In other words, background: {docs} is just another way of saying:",
    "You're getting across the same point whether you say background: {docs} or",
    "Background: {docs} After unpacking the ideas in the background information above, we got:",
    "Background: {docs} Please offer a restatement of the background sentences I've just read.",
    "Background: {docs}, which also means:",
    "Strip away the mystery, and you'll find background: {docs} is simply another rendition of:",
    "The essence of background: {docs} is captured again in the following statement:",
};

namespace {

constexpr std::string_view kDocumentsMark = "{docs}";

ChatSegment text_segment(std::string_view text) {
  return {ChatSegment::Kind::kText, std::string(text)};
}

// A template of ours around the documents. Texts of users are never searched for the mark.
std::vector<ChatSegment> split_at_documents(std::string_view instruction) {
  const std::size_t mark = instruction.find(kDocumentsMark);
  return {text_segment(instruction.substr(0, mark)),
          {ChatSegment::Kind::kDocuments, ""},
          text_segment(instruction.substr(mark + kDocumentsMark.size()))};
}

std::vector<ChatSegment> background_and_question(std::string_view question) {
  return {text_segment("Background:\n"),
          {ChatSegment::Kind::kDocuments, ""},
          text_segment("\n\nQuestion:" + std::string(question))};
}

std::string text_background(std::string_view question, std::span<const std::string> documents) {
  std::string text = "Background:\n";
  for (std::size_t i = 0; i < documents.size(); ++i) {
    if (i > 0) text += '\n';
    text += documents[i];
  }
  text += "\n\nQuestion:";
  text += question;
  return text;
}

std::string join_pairs(const ScpRecord& record) {
  std::string text;
  for (std::size_t i = 0; i < record.questions.size(); ++i) {
    if (i > 0) text += '\n';
    text += "Question: " + record.questions[i] + "\nAnswer: " + record.answers[i];
  }
  return text;
}

}  // namespace

PromptBuilder::PromptBuilder(const Tokenizer& tokenizer, ChatFormat format,
                             SpecialTokens special_tokens, std::int32_t bos_id, std::int32_t eos_id,
                             PromptSettings settings)
    : tokenizer_(tokenizer),
      format_(std::move(format)),
      special_tokens_(special_tokens),
      bos_id_(bos_id),
      eos_id_(eos_id),
      settings_(settings) {}

TokenIds PromptBuilder::encoder_ids(std::string_view text, bool* was_cut) const {
  TokenIds ids = {special_tokens_.enc()};
  if (bos_id_ >= 0) ids.push_back(bos_id_);
  const TokenIds text_ids = tokenizer_.encode(text, SpecialTokenText::kAsText);
  ids.insert(ids.end(), text_ids.begin(), text_ids.end());
  if (eos_id_ >= 0) ids.push_back(eos_id_);
  const auto limit = static_cast<std::size_t>(settings_.doc_max_tokens) + 3;
  if (was_cut != nullptr) *was_cut = ids.size() > limit;
  if (ids.size() > limit) ids.resize(limit);
  for (std::int32_t j = 0; j < special_tokens_.num_memory; ++j) {
    ids.push_back(special_tokens_.memory(j));
  }
  return ids;
}

Example PromptBuilder::scp_example(const ScpRecord& record, std::uint64_t epoch,
                                   std::uint64_t row) const {
  Example example;
  example.place = record.place.str();
  example.num_slots = 1;
  add_document(example, record.document);
  if (record.kind == ScpRecord::Kind::kQa) {
    const std::vector<ChatSegment> user = {text_segment("Background:\n"),
                                           {ChatSegment::Kind::kDocuments, ""}};
    add_conversation(example, kSystemQa, user, join_pairs(record));
    return example;
  }
  std::size_t instruction = 0;
  if (record.instruction) {
    instruction = static_cast<std::size_t>(*record.instruction) - 1;
  } else {
    SeedStream stream(derive_seed(settings_.seed, "paraphrase_instruction", {row}));
    instruction = static_cast<std::size_t>(stream.below(kParaphraseInstructions.size()));
  }
  SeedStream stream(derive_seed(settings_.seed, "paraphrase_version", {epoch, row}));
  const auto version = static_cast<std::size_t>(stream.below(record.answers.size()));
  add_conversation(example, kSystemParaphrase,
                   split_at_documents(kParaphraseInstructions.at(instruction)),
                   record.answers[version]);
  return example;
}

Example PromptBuilder::tune_example(const QaRecord& record) const {
  const std::size_t count =
      std::min(static_cast<std::size_t>(settings_.num_selected), record.documents.size());
  if (settings_.context != AnswerContext::kLatents) {
    const bool has_text = settings_.context == AnswerContext::kText;
    Example example = start_example(record, 0);
    if (has_text) {
      example.num_dropped_documents = static_cast<std::int32_t>(record.documents.size() - count);
    }
    const std::span<const std::string> documents(record.documents.data(), has_text ? count : 0);
    add_conversation(example, kSystemAnswer,
                     {text_segment(text_background(record.question, documents))},
                     record.answers.front());
    return example;
  }
  Example example = start_example(record, count);
  example.num_slots = static_cast<std::int32_t>(count);
  example.num_dropped_documents = static_cast<std::int32_t>(record.documents.size() - count);
  add_conversation(example, kSystemAnswer, background_and_question(record.question),
                   record.answers.front());
  return example;
}

Example PromptBuilder::joint_example(const QaRecord& record) const {
  Example example = retriever_example(record);
  example.num_slots =
      std::min(settings_.num_selected, static_cast<std::int32_t>(record.documents.size()));
  add_conversation(example, kSystemAnswer, background_and_question(record.question),
                   record.answers.front());
  return example;
}

Example PromptBuilder::retriever_example(const QaRecord& record) const {
  Example example = start_example(record, record.documents.size());
  example.question = encoder_ids(record.question, &example.cut_question);
  return example;
}

TokenIds PromptBuilder::answer_prompt(std::string_view question, std::int32_t num_slots) const {
  return encode_with_slots(render_chat(format_, kSystemAnswer, background_and_question(question)),
                           num_slots);
}

TokenIds PromptBuilder::text_answer_prompt(std::string_view question,
                                           const std::vector<std::string>& documents) const {
  return encode_segments(tokenizer_,
                         render_chat(format_, kSystemAnswer, text_background(question, documents)));
}

TokenIds PromptBuilder::encode_with_slots(const std::vector<ChatSegment>& segments,
                                          std::int32_t num_slots) const {
  TokenIds ids;
  std::vector<ChatSegment> run;
  const auto encode_run = [&] {
    const TokenIds run_ids =
        encode_segments(tokenizer_, run, ids.empty() ? TextPlace::kStart : TextPlace::kAfterTokens);
    ids.insert(ids.end(), run_ids.begin(), run_ids.end());
    run.clear();
  };
  for (const ChatSegment& segment : segments) {
    if (segment.kind != ChatSegment::Kind::kDocuments) {
      run.push_back(segment);
      continue;
    }
    encode_run();
    for (std::int32_t slot = 0; slot < num_slots; ++slot) {
      for (std::int32_t j = 0; j < special_tokens_.num_memory; ++j) {
        ids.push_back(special_tokens_.memory(j));
      }
      ids.push_back(special_tokens_.sep());
    }
  }
  encode_run();
  return ids;
}

void PromptBuilder::add_conversation(Example& example, std::string_view system,
                                     const std::vector<ChatSegment>& user,
                                     std::string_view answer) const {
  const std::string_view stripped = strip_whitespace(answer);
  const TokenIds prompt = encode_with_slots(render_chat(format_, system, user), example.num_slots);
  TokenIds whole =
      encode_with_slots(render_chat(format_, system, user, stripped), example.num_slots);
  if (whole.size() < prompt.size() || !std::equal(prompt.begin(), prompt.end(), whole.begin())) {
    throw DataError(example.place +
                    ": answer: expected tokens that continue the prompt's, found that tokens merge "
                    "across the border between prompt and answer in chat format " +
                    format_.name + "; change how the answer begins");
  }
  const auto limit = static_cast<std::size_t>(settings_.max_sequence_tokens);
  if (prompt.size() >= limit) {
    const std::string slots =
        example.num_slots == 0 ? std::string(": cutting would lose")
                               : " with " + std::to_string(example.num_slots) + " documents of " +
                                     std::to_string(special_tokens_.num_memory) +
                                     " memory tokens: cutting would lose memory tokens or";
    throw DataError(
        example.place + ": expected a prompt of fewer than " + std::to_string(limit) +
        " tokens (trainer.max_sequence_tokens), found " + std::to_string(prompt.size()) + slots +
        " the whole answer of " + std::to_string(whole.size() - prompt.size()) +
        " tokens; raise trainer.max_sequence_tokens or give the prompt fewer documents");
  }
  example.cut_answer = whole.size() > limit;
  if (example.cut_answer) whole.resize(limit);
  example.prompt_length = static_cast<std::int32_t>(prompt.size());
  example.tokens = std::move(whole);
}

Example PromptBuilder::start_example(const QaRecord& record, std::size_t count) const {
  Example example;
  example.place = record.place.str();
  for (std::size_t i = 0; i < count; ++i) add_document(example, record.documents[i]);
  for (const std::int32_t index : record.positives) {
    if (static_cast<std::size_t>(index) < count) example.positives.push_back(index);
  }
  return example;
}

void PromptBuilder::add_document(Example& example, std::string_view text) const {
  bool was_cut = false;
  example.documents.push_back(encoder_ids(text, &was_cut));
  if (was_cut) ++example.num_cut_documents;
}

}  // namespace clara
