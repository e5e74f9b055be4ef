// Choice, order and text of the documents; JSON written by hand, since it is only strings and
// numbers.
#include "clara/benchmarks/benchmark_record.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string_view>
#include <utility>

#include "clara/common/error.h"
#include "clara/common/seeds.h"
#include "clara/common/text.h"

namespace clara {
namespace {

struct Document {
  std::string text;
  bool is_relevant = false;
};

// Whether one of eight bytes may need an escape (a control character, a quote, a backslash).
bool may_need_escape(const char* bytes) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  constexpr std::uint64_t kHighBits = 0x8080808080808080;
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  const auto zeros = [](std::uint64_t x) { return (x - kOnes) & ~x & kHighBits; };
  const std::uint64_t controls = (word - kOnes * 0x20) & ~word & kHighBits;
  return (controls | zeros(word ^ (kOnes * '"')) | zeros(word ^ (kOnes * '\\'))) != 0;
}

void append_json(std::string& json, std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  constexpr std::size_t kWordBytes = 8;
  json += '"';
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    while (i + kWordBytes < text.size() && !may_need_escape(text.data() + i)) i += kWordBytes;
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x20 && byte != '"' && byte != '\\') continue;
    json.append(text, begin, i - begin);
    begin = i + 1;
    switch (byte) {
      case '"':
        json += "\\\"";
        break;
      case '\\':
        json += "\\\\";
        break;
      case '\n':
        json += "\\n";
        break;
      default:
        json += "\\u00";
        json += kDigits[byte >> 4];
        json += kDigits[byte & 15];
    }
  }
  json.append(text, begin, text.size() - begin);
  json += '"';
}

template <class Items, class Append>
void append_list(std::string& json, const Items& items, Append append) {
  json += '[';
  bool is_first = true;
  for (const auto& item : items) {
    if (!is_first) json += ',';
    is_first = false;
    append(item);
  }
  json += ']';
}

void append_texts(std::string& json, const std::vector<std::string>& texts) {
  append_list(json, texts, [&](const std::string& text) { append_json(json, text); });
}

bool is_blank(const BenchmarkPassage& passage) {
  const auto is_blank_text = [](const std::string& text) { return strip_whitespace(text).empty(); };
  return is_blank_text(passage.title) &&
         std::all_of(passage.sentences.begin(), passage.sentences.end(), is_blank_text);
}

std::string text_of(const BenchmarkPassage& passage, DocumentFormat format) {
  if (passage.is_document) return passage.sentences.front();
  if (!strip_whitespace(passage.title).empty()) {
    return format_passage(passage.title, passage.sentences, format);
  }
  // Without a title there is no line for it.
  const std::string text = format_passage("", passage.sentences, DocumentFormat::kTitleNewline);
  return text.substr(1);
}

// Positions of the passages that are written, in the order of the record.
std::vector<std::size_t> chosen_passages(const BenchmarkQuestion& question,
                                         const BenchmarkRecordSettings& settings,
                                         BenchmarkRecordLine& line) {
  std::vector<std::size_t> chosen(question.passages.size());
  std::iota(chosen.begin(), chosen.end(), std::size_t{0});
  std::erase_if(chosen, [&](std::size_t i) { return is_blank(question.passages[i]); });
  line.num_blank_passages = static_cast<std::int64_t>(question.passages.size() - chosen.size());
  const auto limit = static_cast<std::size_t>(settings.max_documents);
  // Rows of pretraining hold one passage each.
  if (chosen.size() > limit && settings.kind != RecordKind::kScp) {
    line.num_left_out_passages = static_cast<std::int64_t>(chosen.size() - limit);
    std::stable_partition(chosen.begin(), chosen.end(),
                          [&](std::size_t i) { return question.passages[i].is_relevant; });
    chosen.resize(limit);
    std::sort(chosen.begin(), chosen.end());
  }
  if (question.is_ranked) {
    SeedStream random(derive_seed(settings.seed, question.question));
    for (std::size_t i = chosen.size(); i > 1; --i) {
      std::swap(chosen[i - 1], chosen[static_cast<std::size_t>(random.below(i))]);
    }
  }
  return chosen;
}

// Chunks may be more than a record holds: the last ones go, those that are not relevant first.
void keep_what_a_record_holds(std::vector<Document>& documents, BenchmarkRecordLine& line) {
  for (const bool is_relevant : {false, true}) {
    for (std::size_t i = documents.size(); i > 0; --i) {
      if (documents.size() <= static_cast<std::size_t>(kMaxDocuments)) break;
      if (documents[i - 1].is_relevant != is_relevant) continue;
      documents.erase(documents.begin() + static_cast<std::ptrdiff_t>(i - 1));
      ++line.num_left_out_chunks;
    }
  }
}

std::vector<Document> documents_of(const BenchmarkQuestion& question,
                                   const BenchmarkRecordSettings& settings,
                                   BenchmarkRecordLine& line) {
  if (settings.max_documents < 1 || settings.max_documents > kMaxDocuments) {
    throw ConfigError("max_documents: expected 1 to " + std::to_string(kMaxDocuments) + ", found " +
                      std::to_string(settings.max_documents));
  }
  std::vector<Document> documents;
  for (const std::size_t i : chosen_passages(question, settings, line)) {
    const BenchmarkPassage& passage = question.passages[i];
    std::string text = text_of(passage, settings.document_format);
    if (settings.tokenizer == nullptr) {
      documents.push_back({std::move(text), passage.is_relevant});
      continue;
    }
    ChunkSettings chunks = settings.chunks;
    chunks.repeat_title = !strip_whitespace(passage.title).empty();
    std::vector<DocumentChunk> parts = split_document(*settings.tokenizer, text, chunks);
    if (parts.size() > 1) ++line.num_split_documents;
    for (DocumentChunk& part : parts) {
      documents.push_back({std::move(part.text), passage.is_relevant});
    }
  }
  if (settings.kind != RecordKind::kScp) keep_what_a_record_holds(documents, line);
  return documents;
}

}  // namespace

RecordKind parse_record_kind(std::string_view name) {
  if (name == "scp") return RecordKind::kScp;
  if (name == "tune") return RecordKind::kTune;
  if (name == "joint") return RecordKind::kJoint;
  if (name == "evaluation") return RecordKind::kEvaluation;
  throw ConfigError("record: expected scp, tune, joint or evaluation, found \"" +
                    std::string(name) + "\"");
}

std::int64_t default_max_documents(RecordKind kind) { return kind == RecordKind::kTune ? 5 : 20; }

BenchmarkRecordLine to_record_line(const BenchmarkQuestion& question,
                                   const BenchmarkRecordSettings& settings) {
  BenchmarkRecordLine line;
  const std::vector<Document> documents = documents_of(question, settings, line);
  line.num_documents = static_cast<std::int64_t>(documents.size());
  std::string& json = line.json;
  json = "{";
  if (!question.id.empty()) {
    json += "\"id\":";
    append_json(json, question.id);
    json += ',';
  }
  json += "\"question\":";
  append_json(json, question.question);
  json += ",\"answers\":";
  append_texts(json, question.answers);
  if (!documents.empty()) {
    json += ",\"docs\":";
    append_list(json, documents,
                [&](const Document& document) { append_json(json, document.text); });
    if (question.has_relevance) {
      std::vector<std::size_t> positives;
      for (std::size_t i = 0; i < documents.size(); ++i) {
        if (documents[i].is_relevant) positives.push_back(i);
      }
      line.num_relevant = static_cast<std::int64_t>(positives.size());
      json += ",\"pos_index\":";
      append_list(json, positives, [&](std::size_t i) { json += std::to_string(i); });
    }
  }
  if (!question.supporting_titles.empty()) {
    json += ",\"supporting_titles\":";
    append_texts(json, question.supporting_titles);
  }
  if (!question.type.empty()) {
    json += ",\"question_type\":";
    append_json(json, question.type);
  }
  if (!question.is_answerable) json += ",\"answerable\":false";
  json += "}\n";
  return line;
}

PassageTexts passage_texts(const BenchmarkQuestion& question,
                           const BenchmarkRecordSettings& settings) {
  PassageTexts passages;
  for (Document& document : documents_of(question, settings, passages.counts))
    passages.texts.push_back(std::move(document.text));
  return passages;
}

std::string to_record_line(const ScpRecord& record) {
  const bool is_qa = record.kind == ScpRecord::Kind::kQa;
  std::string json =
      is_qa ? "{\"data_type\":\"qa\",\"question\":" : "{\"data_type\":\"paraphrase\"";
  if (is_qa) append_texts(json, record.questions);
  json += ",\"answers\":";
  append_texts(json, record.answers);
  json += ",\"docs\":";
  append_texts(json, {record.document});
  if (record.instruction) json += ",\"instruction\":" + std::to_string(*record.instruction);
  json += "}\n";
  return json;
}

}  // namespace clara
