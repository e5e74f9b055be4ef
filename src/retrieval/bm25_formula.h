// The formula of bm25.h in one place: the list in memory and the index on disk agree to the bit.
#pragma once

#include <cmath>

#include "clara/retrieval/bm25.h"

namespace clara {

inline double bm25_idf(double num_documents, double num_holders) {
  return std::log1p((num_documents - num_holders + 0.5) / (num_holders + 0.5));
}

inline double bm25_norm(const Bm25Settings& settings, double length, double mean_length) {
  return settings.k1 * (1 - settings.b + settings.b * (length / mean_length));
}

inline double bm25_part(double idf, double frequency, double norm) {
  return idf * frequency / (frequency + norm);
}

}  // namespace clara
