// A small made-up row of every layout in its published shape, and how tests read rows.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "clara/benchmarks/benchmark_format.h"

namespace clara {

inline constexpr const char* kHotpotRow =
    R"({"_id": "5a", "answer": "Belmar", "question": "Where was the founder of Oskel Mills born?",)"
    R"( "supporting_facts": [["Oskel Mills", 0], ["Mara Tolvek", 1]],)"
    R"( "context": [["Tolvek", ["A family.", " Nothing more."]],)"
    R"( ["Mara Tolvek", ["Mara Tolvek is a miller.", " She is from Belmar.", ""]],)"
    R"( ["Oskel Mills", ["Founded by Mara Tolvek.", "It mills."]]], "type": "bridge", "level": "hard"})";

inline constexpr const char* kTwoWikiRow =
    R"({"_id": "7b", "type": "compositional", "question": "When did the mother of Otto die?",)"
    R"( "context": [["Otto", ["Otto was a king.", "Ada was his mother."]], ["Otto", ["A name."]],)"
    R"( ["Ada", ["She died in 851."]]], "entity_ids": "Q1_Q2",)"
    R"( "supporting_facts": [["Otto", 1], ["Ada", 7]],)"
    R"( "evidences": [["Otto", "mother", "Ada"], ["Ada", "date of death", "851"]], "answer": "851",)"
    R"( "evidences_id": [], "answer_id": null})";

inline constexpr const char* kMuSiQueRow =
    R"({"id": "2hop__1_2", "paragraphs": [)"
    R"({"idx": 0, "title": "A", "paragraph_text": "First. ", "is_supporting": false},)"
    R"({"idx": 1, "title": "B", "paragraph_text": "Second.", "is_supporting": true},)"
    R"({"idx": 2, "title": "B", "paragraph_text": "Third.", "is_supporting": false}],)"
    R"( "question": "Who?", "question_decomposition": [{"id": 1, "question": "q", "answer": "a",)"
    R"( "paragraph_support_idx": 1}], "answer": "Stanley Hall",)"
    R"( "answer_aliases": ["Hall", "Stanley Hall", "G. S. Hall"], "answerable": true})";

inline constexpr const char* kMuSiQueFullRow =
    R"({"id": "2hop__1_2", "paragraphs": [)"
    R"({"idx": 0, "title": "A", "paragraph_text": "First.", "is_supporting": false}],)"
    R"( "question": "Who?", "question_decomposition": [{"id": 1, "question": "q", "answer": "a",)"
    R"( "paragraph_support_idx": null}], "answer": "Hall", "answer_aliases": [],)"
    R"( "answerable": false})";

/// Tokens: 0 Reed, 1 <P>, 2 a, 3 plant, 4 .., 5 </P>, 6 <Ul>, 7 <P>, 8 of, 9 wet, 10 soil, 11 </P>,
/// 12 </Ul>.
inline constexpr const char* kNqSimplifiedRow =
    R"({"document_text": "Reed <P> a plant . </P> <Ul> <P_id=\"x\"> of wet soil </P> </Ul>",)"
    R"( "long_answer_candidates": [{"start_token": 1, "top_level": true, "end_token": 6},)"
    R"( {"start_token": 6, "top_level": true, "end_token": 13},)"
    R"( {"start_token": 7, "top_level": false, "end_token": 12}],)"
    R"( "question_text": "where does reed grow", "annotations": [{"yes_no_answer": "NONE",)"
    R"( "long_answer": {"start_token": 7, "candidate_index": 2, "end_token": 12},)"
    R"( "short_answers": [{"start_token": 9, "end_token": 11}, {"start_token": 10, "end_token": 11}],)"
    R"( "annotation_id": 593165450220027640}, {"yes_no_answer": "YES", "short_answers": [],)"
    R"( "long_answer": {"start_token": -1, "candidate_index": -1, "end_token": -1},)"
    R"( "annotation_id": 13676402902866580638}],)"
    R"( "document_url": "https://en.wikipedia.org//w/index.php?title=Reed_%28plant%29&amp;oldid=8",)"
    R"( "example_id": -5655493461695504401})";

inline constexpr const char* kNqRawRow =
    R"({"annotations": [{"annotation_id": 593165450220027640, "long_answer": {"candidate_index": 2,)"
    R"( "end_byte": 90, "end_token": 12, "start_byte": 50, "start_token": 7}, "short_answers":)"
    R"( [{"end_byte": 80, "end_token": 11, "start_byte": 60, "start_token": 9}, {"end_byte": 80,)"
    R"( "end_token": 11, "start_byte": 70, "start_token": 10}], "yes_no_answer": "NONE"},)"
    R"( {"annotation_id": 13676402902866580638, "long_answer": {"candidate_index": -1, "end_byte": -1,)"
    R"( "end_token": -1, "start_byte": -1, "start_token": -1}, "short_answers": [],)"
    R"x( "yes_no_answer": "YES"}], "document_html": "<html>", "document_title": "Reed (plant)",)x"
    R"( "document_tokens": [{"html_token": false, "token": "Reed"}, {"html_token": true,)"
    R"( "token": "<P>"}, {"html_token": false, "token": "a"}, {"html_token": false,)"
    R"( "token": "plant"}, {"html_token": false, "token": "."}, {"html_token": true,)"
    R"( "token": "</P>"}, {"html_token": true, "token": "<Ul>"}, {"html_token": true,)"
    R"( "token": "<P id=\"x\">"}, {"html_token": false, "token": "of"}, {"html_token": false,)"
    R"( "token": "wet"}, {"html_token": false, "token": "soil"}, {"html_token": true,)"
    R"( "token": "</P>"}, {"html_token": true, "token": "</Ul>"}], "document_url": "u",)"
    R"( "example_id": -5655493461695504401, "long_answer_candidates": [{"start_token": 1,)"
    R"( "end_token": 6, "top_level": true}, {"start_token": 6, "end_token": 13, "top_level": true},)"
    R"( {"start_token": 7, "end_token": 12, "top_level": false}], "question_text":)"
    R"( "where does reed grow", "question_tokens": ["where", "does", "reed", "grow"]})";

inline constexpr const char* kNqOpenRow =
    R"({"question": "where does reed grow", "answer": ["wet soil", "soil", "wet soil"]})";

inline constexpr const char* kDprRow =
    R"({"dataset": "nq_dev_psgs_w100", "question": "who sings", "answers": ["Linda", "L. D."],)"
    R"( "positive_ctxs": [{"title": "Song", "text": "Linda sings.", "score": 1000, "title_score": 1,)"
    R"( "passage_id": "11"}, {"title": "Song", "text": "Linda sings", "score": 13.39,)"
    R"( "title_score": 0, "passage_id": "11"}], "negative_ctxs": [{"title": "N", "text": "n",)"
    R"( "score": 0, "title_score": 0, "passage_id": "12"}], "hard_negative_ctxs": [{"title": "H",)"
    R"( "text": "h", "score": 14.6, "title_score": 0, "passage_id": "13"}]})";

inline constexpr const char* kKiltRow =
    R"({"id": "-123", "input": "who sings", "output": [{"answer": "Linda", "provenance":)"
    R"( [{"wikipedia_id": "9", "title": "Song", "start_paragraph_id": 1, "bleu_score": 1.0},)"
    R"( {"wikipedia_id": "8", "title": "Duet"}]}, {"answer": "L. D."}, {"provenance":)"
    R"( [{"wikipedia_id": "9", "title": "Song"}]}], "meta": {}})";

inline constexpr const char* kFlashRagRow =
    R"({"id": "dev_0", "question": "who sings", "golden_answers": ["Linda", "L. D."]})";

inline constexpr const char* kFlashRagContextRow =
    R"({"id": "dev_1", "question": "where", "golden_answers": ["Belmar"], "metadata":)"
    R"( {"type": "bridge", "supporting_facts": {"title": ["B"], "sent_id": [0]}, "context":)"
    R"( {"title": ["A", "B"], "content": [["x.", "y."], ["z."]]}}})";

inline constexpr const char* kRankedContextsRow =
    R"({"question": "who sings", "answers": ["Linda"], "ctxs": [{"id": "1", "title": "N",)"
    R"( "text": "n", "hasanswer": true, "isgold": false}, {"id": "2", "title": "Song",)"
    R"( "text": "Linda sings.", "hasanswer": true, "isgold": true}]})";

inline constexpr const char* kMlClaraRow =
    R"({"question": "who?", "docs": ["This a document about A. \n one", "two"], "answer": "x",)"
    R"( "gold_answer": "y", "pos_index": [1]})";

inline constexpr const char* kPretrainingRow =
    R"({"data_type": "qa", "question": ["q", "r"], "answers": ["a", "b"], "docs": ["d"]})";

inline constexpr const char* kParaphraseRow =
    R"({"data_type": "paraphrase", "question": ["ignored"], "answers": ["v", "w"], "docs": ["d"],)"
    R"( "instruction": 13})";

/// Name of the layout that a row is recognised as, and the row.
inline std::vector<std::pair<std::string, std::string>> rows_of_all_layouts() {
  return {{"hotpotqa", kHotpotRow},
          {"2wiki", kTwoWikiRow},
          {"musique", kMuSiQueRow},
          {"musique", kMuSiQueFullRow},
          {"nq", kNqSimplifiedRow},
          {"nq", kNqRawRow},
          {"nq_open", kNqOpenRow},
          {"dpr", kDprRow},
          {"kilt", kKiltRow},
          {"flashrag", kFlashRagRow},
          {"flashrag", kFlashRagContextRow},
          {"ctxs", kRankedContextsRow},
          {"ml_clara", kMlClaraRow},
          {"ml_clara", kPretrainingRow},
          {"ml_clara", kParaphraseRow}};
}

inline StreamedRow line_of(std::string_view text) {
  StreamedRow row;
  row.text = text;
  row.place = {"f.jsonl", 3};
  return row;
}

inline BenchmarkRecord read_row(std::string_view text,
                                std::optional<BenchmarkFormat> format = std::nullopt) {
  BenchmarkReader reader(format);
  return reader.read(line_of(text));
}

inline BenchmarkQuestion read_question(std::string_view text) {
  return std::get<BenchmarkQuestion>(read_row(text));
}

}  // namespace clara
