// The steps of a row.
#include "synthesis/synthesis_task.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "clara/common/error.h"
#include "clara/common/seeds.h"

namespace clara {
namespace {

constexpr const char* kNothing = "(nothing)";
constexpr std::size_t kMaxProblems = 10;

std::string bullet_list(const std::vector<std::string>& items) {
  if (items.empty()) return kNothing;
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "- " : "\n- ") + item;
  return text;
}

std::string numbered_pairs(const std::vector<QaPair>& pairs) {
  if (pairs.empty()) return kNothing;
  std::string text;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    text += (i == 0 ? "" : "\n") + std::to_string(i + 1) + ". Question: " + pairs[i].question +
            "\n   Answer: " + pairs[i].answer;
  }
  return text;
}

void set_schema(ChatRequest& request, const AnswerSchema& schema) {
  request.schema_name = schema.name;
  request.schema = schema.json;
}

bool is_cut_off(const ChatReply& reply) { return reply.finish_reason == "length"; }

}  // namespace

SynthesisTask::SynthesisTask(std::string document, SynthesisKind kind,
                             const SynthesisSettings& settings, const SynthesisPrompts& prompts,
                             TaskState state)
    : document_(std::move(document)),
      kind_(kind),
      settings_(settings),
      prompts_(prompts),
      checker_(document_, kind, settings.checks),
      state_(std::move(state)) {}

bool SynthesisTask::is_done() const {
  return state_.step == TaskState::Step::kComplete || state_.step == TaskState::Step::kDropped;
}

ChatRequest SynthesisTask::next_request() const {
  if (is_done()) throw Error("expected a row that is not done, found one that is");
  const bool writes = state_.step == TaskState::Step::kWrite;
  ChatRequest request = writes ? write_request() : verify_request();
  request.system = prompts_.render(PromptName::kSystem, {});
  request.temperature = writes ? settings_.temperature : 0;
  request.seed = derive_seed(settings_.seed, writes ? "write" : "verify",
                             {hash_bytes(document_).lo, static_cast<std::uint64_t>(kind_),
                              static_cast<std::uint64_t>(state_.round)});
  request.max_tokens = settings_.max_answer_tokens;
  return request;
}

ChatRequest SynthesisTask::write_request() const {
  PromptValues values = {{"document", document_},
                         {"num_pairs", std::to_string(settings_.num_pairs)}};
  values["missing"] = bullet_list(state_.missing);
  values["problems"] = bullet_list(state_.problems);
  ChatRequest request;
  if (is_paraphrase()) {
    set_schema(request, kParaphraseSchema);
    values["paraphrase"] = state_.paraphrase;
    request.user = prompts_.render(
        state_.paraphrase.empty() ? PromptName::kParaphrase : PromptName::kNextParaphrase, values);
    return request;
  }
  set_schema(request, kPairsSchema);
  values["questions"] = numbered_pairs(state_.pairs);
  const bool is_simple = kind_ == SynthesisKind::kSimpleQa;
  // Without anything to build on, the round begins as the first did.
  const PromptName name =
      state_.pairs.empty() ? (is_simple ? PromptName::kSimpleQa : PromptName::kComplexQa)
                           : (is_simple ? PromptName::kMoreSimpleQa : PromptName::kMoreComplexQa);
  request.user = prompts_.render(name, values);
  return request;
}

ChatRequest SynthesisTask::verify_request() const {
  ChatRequest request;
  if (is_paraphrase()) {
    set_schema(request, kParaphraseVerdictSchema);
    request.user = prompts_.render(PromptName::kVerifyParaphrase,
                                   {{"document", document_}, {"paraphrase", state_.paraphrase}});
    return request;
  }
  set_schema(request, kQuestionsVerdictSchema);
  request.user =
      prompts_.render(PromptName::kVerifyQuestions,
                      {{"document", document_}, {"questions", numbered_pairs(state_.pairs)}});
  return request;
}

RefusedCounts SynthesisTask::accept(const ChatReply& reply) {
  RefusedCounts refused;
  if (reply.status == ChatReply::Status::kRefused) {
    state_.step = TaskState::Step::kDropped;
    state_.reason = kRefusedRequest;
  } else if (state_.step == TaskState::Step::kVerify) {
    accept_verdict(reply, refused);
  } else if (is_paraphrase()) {
    accept_paraphrase(reply, refused);
  } else {
    accept_pairs(reply, refused);
  }
  return refused;
}

void SynthesisTask::accept_pairs(const ChatReply& reply, RefusedCounts& refused) {
  const auto answer = read_pairs(reply.text);
  if (!answer) {
    end_round(is_cut_off(reply) ? kCutOffAnswer : kMalformedAnswer);
    return;
  }
  state_.problems.clear();
  if (answer->num_malformed > 0)
    refused[kMalformedPair] += static_cast<std::int64_t>(answer->num_malformed);
  std::size_t num_added = 0;
  for (const QaPair& pair : answer->pairs) {
    const bool is_full = static_cast<std::int64_t>(state_.pairs.size()) >= settings_.max_pairs;
    const char* reason = is_full ? kTooMany : checker_.refuse_pair(pair, state_.pairs);
    if (reason == nullptr) {
      state_.pairs.push_back(pair);
      ++num_added;
      continue;
    }
    ++refused[reason];
    if (reason != kBadCharacters && reason != kTooLong && state_.problems.size() < kMaxProblems)
      state_.problems.push_back(std::string(reason) + ": " + pair.question);
  }
  if (num_added > 0) {
    state_.step = TaskState::Step::kVerify;
  } else {
    // Nothing new to judge: what was missing still is.
    end_round(state_.pairs.empty() ? kNoPair : kIncomplete);
  }
}

void SynthesisTask::accept_paraphrase(const ChatReply& reply, RefusedCounts& refused) {
  const auto paraphrase = read_paraphrase(reply.text);
  if (!paraphrase) {
    end_round(is_cut_off(reply) ? kCutOffAnswer : kMalformedAnswer);
    return;
  }
  state_.problems.clear();
  if (const char* reason = checker_.refuse_paraphrase(*paraphrase)) {
    ++refused[reason];
    const bool is_readable = reason != kBadCharacters && reason != kEmptyText;
    state_.paraphrase = is_readable ? *paraphrase : "";
    state_.missing.clear();
    if (is_readable) state_.problems.emplace_back(reason);
    end_round(reason);
    return;
  }
  state_.paraphrase = *paraphrase;
  state_.step = TaskState::Step::kVerify;
}

void SynthesisTask::accept_verdict(const ChatReply& reply, RefusedCounts& refused) {
  const auto verdict = read_verdict(reply.text, is_paraphrase() ? 0 : state_.pairs.size());
  if (!verdict) {
    // Judged again in the next round: writing anew would throw away what may be good.
    end_round(kMalformedVerdict);
    return;
  }
  if (verdict->is_complete) {
    state_.step = TaskState::Step::kComplete;
    state_.reason.clear();
    return;
  }
  state_.missing = verdict->missing;
  std::vector<QaPair> kept;
  for (std::size_t i = 0; i < state_.pairs.size(); ++i) {
    const auto& wrong = verdict->wrong_pairs;
    if (std::find(wrong.begin(), wrong.end(), i) == wrong.end()) {
      kept.push_back(state_.pairs[i]);
      continue;
    }
    ++refused[kJudgedWrong];
    if (state_.problems.size() < kMaxProblems)
      state_.problems.push_back("the answer is not what the text says: " +
                                state_.pairs[i].question);
  }
  state_.pairs = std::move(kept);
  for (const std::string& claim : verdict->wrong_claims) {
    if (state_.problems.size() < kMaxProblems)
      state_.problems.push_back("the text does not say: " + claim);
  }
  state_.step = TaskState::Step::kWrite;
  end_round(kIncomplete);
}

void SynthesisTask::end_round(const std::string& reason) {
  state_.reason = reason;
  if (state_.round >= settings_.max_rounds) {
    state_.step = TaskState::Step::kDropped;
  } else {
    ++state_.round;
  }
}

std::string synthesis_row(const SynthesisTask& task, const Hash128& document_id) {
  using Json = nlohmann::ordered_json;
  const bool is_paraphrase = task.kind() == SynthesisKind::kParaphrase;
  Json row;
  row["data_type"] = is_paraphrase ? "paraphrase" : "qa";
  Json answers = Json::array();
  if (is_paraphrase) {
    answers.push_back(task.state().paraphrase);
  } else {
    row["question"] = Json::array();
    for (const QaPair& pair : task.state().pairs) {
      row["question"].push_back(pair.question);
      answers.push_back(pair.answer);
    }
  }
  row["answers"] = std::move(answers);
  row["docs"] = Json::array({task.document()});
  row["document_id"] = document_id.hex();
  row["kind"] = to_string(task.kind());
  return row.dump() + "\n";
}

}  // namespace clara
