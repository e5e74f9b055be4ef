// Natural Questions v1.0, raw and simplified: the same record comes of both. Passages are the
// page's top-level long-answer candidates, as their tokens without HTML.
#include <algorithm>

#include "benchmarks/layouts.h"
#include "benchmarks/row_parts.h"

#include "clara/common/text.h"

namespace clara {
namespace {

struct Token {
  std::string_view text;
  bool is_html = false;
};

/// Tokens [begin, end).
struct Span {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

std::vector<Token> raw_tokens(const JsonValue& list) {
  std::vector<Token> tokens;
  for (const JsonValue& item : list.items()) {
    tokens.push_back({item.require("token", "a string").text(),
                      item.require("html_token", "true or false").truth()});
  }
  return tokens;
}

// The simplified form separates its tokens by single blanks; inside of tags blanks became "_".
std::vector<Token> simplified_tokens(std::string_view document) {
  std::vector<Token> tokens;
  while (true) {
    const std::size_t end = std::min(document.find(' '), document.size());
    const std::string_view text = document.substr(0, end);
    tokens.push_back({text, text.size() > 2 && text.front() == '<' && text.back() == '>'});
    if (end == document.size()) return tokens;
    document.remove_prefix(end + 1);
  }
}

std::string joined(const std::vector<Token>& tokens, Span span) {
  std::string text;
  for (std::int64_t i = span.begin; i < span.end; ++i) {
    const Token& token = tokens[static_cast<std::size_t>(i)];
    if (token.is_html || token.text.empty()) continue;
    if (!text.empty()) text += ' ';
    text += token.text;
  }
  return text;
}

Span span_of(const JsonValue& object, std::size_t num_tokens) {
  const auto last = static_cast<std::int64_t>(num_tokens);
  const JsonValue begin = object.require("start_token", "a whole number");
  const JsonValue end = object.require("end_token", "a whole number");
  const Span span{begin.whole_number(), end.whole_number()};
  if (span.begin < 0 || span.begin > last) {
    begin.fail("a token's number from 0 to " + std::to_string(last));
  }
  if (span.end < span.begin || span.end > last) {
    end.fail("a token's number from start_token to " + std::to_string(last));
  }
  return span;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Title of the page by its address "…title=Email_marketing&amp;oldid=…"; empty if it has none.
std::string title_of_address(std::string_view address) {
  constexpr std::string_view kField = "title=";
  const std::size_t begin = address.find(kField);
  if (begin == std::string_view::npos) return {};
  address.remove_prefix(begin + kField.size());
  address = address.substr(0, address.find('&'));
  std::string title;
  for (std::size_t i = 0; i < address.size(); ++i) {
    const bool is_escape = address[i] == '%' && i + 2 < address.size() &&
                           hex_digit(address[i + 1]) >= 0 && hex_digit(address[i + 2]) >= 0;
    if (is_escape) {
      title += static_cast<char>(hex_digit(address[i + 1]) * 16 + hex_digit(address[i + 2]));
      i += 2;
    } else {
      title += address[i] == '_' ? ' ' : address[i];
    }
  }
  return find_invalid_utf8(title) ? std::string() : title;
}

std::string title_of(const JsonValue& row) {
  if (const auto title = row.find("document_title")) return std::string(title->text());
  const auto address = row.find("document_url");
  return address ? title_of_address(address->text()) : std::string();
}

// Position in `passages` of the top-level candidate that holds `span`; passages.size() if none.
std::size_t holder_of(Span span, const std::vector<Span>& passages) {
  const auto holds = [&](const Span& passage) {
    return passage.begin <= span.begin && span.end <= passage.end;
  };
  return static_cast<std::size_t>(std::find_if(passages.begin(), passages.end(), holds) -
                                  passages.begin());
}

void read_annotation(const JsonValue& annotation, const std::vector<Token>& tokens,
                     const std::vector<Span>& spans, BenchmarkQuestion& question) {
  if (const auto short_answers = annotation.find("short_answers")) {
    for (const JsonValue& answer : short_answers->items()) {
      add_answer(question, joined(tokens, span_of(answer, tokens.size())));
    }
  }
  if (const auto yes_no = annotation.find("yes_no_answer")) {
    if (yes_no->text() == "YES") add_answer(question, "yes");
    if (yes_no->text() == "NO") add_answer(question, "no");
  }
  const auto long_answer = annotation.find("long_answer");
  if (!long_answer) return;
  // A null answer is at token -1.
  if (long_answer->require("start_token", "a whole number").whole_number() < 0) return;
  const std::size_t holder = holder_of(span_of(*long_answer, tokens.size()), spans);
  if (holder < spans.size()) {
    question.passages[holder].is_relevant = true;
    add_once(question.supporting_titles, question.passages[holder].title);
  }
}

}  // namespace

bool is_nq(const JsonValue& row) {
  return row.find("question_text") && (row.find("document_text") || row.find("document_tokens"));
}

BenchmarkRecord read_nq(const JsonValue& row) {
  BenchmarkQuestion question = begin_question(row, "example_id", "question_text");
  const auto text = row.find("document_text");
  const std::vector<Token> tokens =
      text ? simplified_tokens(text->text())
           : raw_tokens(row.require("document_tokens", "a list of tokens, or document_text"));
  const std::string title = title_of(row);
  std::vector<Span> spans;
  for (const JsonValue& candidate :
       row.require("long_answer_candidates", "a list of candidates").items()) {
    if (!candidate.require("top_level", "true or false").truth()) continue;
    spans.push_back(span_of(candidate, tokens.size()));
    BenchmarkPassage passage;
    passage.title = title;
    passage.sentences.push_back(joined(tokens, spans.back()));
    question.passages.push_back(std::move(passage));
  }
  if (const auto annotations = row.find("annotations")) {
    question.has_relevance = true;
    for (const JsonValue& annotation : annotations->items()) {
      read_annotation(annotation, tokens, spans, question);
    }
  }
  return question;
}

}  // namespace clara
