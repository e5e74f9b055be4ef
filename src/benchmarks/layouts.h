// One reader a published layout; each knows by which fields its rows are recognised.
#pragma once

#include "clara/benchmarks/benchmark_format.h"
#include "clara/data/json_row.h"

namespace clara {

/// How rows of a layout are told apart and read. `read` throws DataError (json_row.h).
struct Layout {
  BenchmarkFormat format;
  const char* name;
  bool (*recognises)(const JsonValue& row);
  BenchmarkRecord (*read)(const JsonValue& row);
};

// titled_context_layout.cc
bool is_two_wiki(const JsonValue& row);
bool is_hotpot_qa(const JsonValue& row);
BenchmarkRecord read_titled_context(const JsonValue& row);
// musique_layout.cc
bool is_musique(const JsonValue& row);
BenchmarkRecord read_musique(const JsonValue& row);
// nq_layout.cc
bool is_nq(const JsonValue& row);
BenchmarkRecord read_nq(const JsonValue& row);
// question_layouts.cc
bool is_nq_open(const JsonValue& row);
BenchmarkRecord read_nq_open(const JsonValue& row);
bool is_kilt(const JsonValue& row);
BenchmarkRecord read_kilt(const JsonValue& row);
bool is_flash_rag(const JsonValue& row);
BenchmarkRecord read_flash_rag(const JsonValue& row);
// ranked_layouts.cc
bool is_dpr(const JsonValue& row);
BenchmarkRecord read_dpr(const JsonValue& row);
bool is_ranked_contexts(const JsonValue& row);
BenchmarkRecord read_ranked_contexts(const JsonValue& row);
// ml_clara_layout.cc
bool is_ml_clara(const JsonValue& row);
BenchmarkRecord read_ml_clara(const JsonValue& row);

}  // namespace clara
