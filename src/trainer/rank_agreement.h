// What the ranks of a run must have alike, and what they put together. All are collectives.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "clara/parallel/communicator.h"
#include "clara/trainer/training_data.h"

namespace clara {

/// Compares `lines` of all ranks; each line begins with its name. Throws DataError that names the
/// first difference and its rank.
void check_same_on_all_ranks(const std::string& lines, Communicator& communicator);

/// For check_same_on_all_ranks, a line of each data file (each after a line break): the rows must
/// be the same everywhere.
std::string data_fingerprint_lines(const std::map<std::string, std::string>& fingerprints);

/// The base must be the same everywhere. One rank of a node reads large files whole, once; the
/// others find its result.
/// Throws DataError.
void check_same_base(const std::string& base, Communicator& communicator);

/// Bad rows that any rank met; each counts once.
std::map<std::int64_t, std::string> skipped_rows_of_all(const RecordTrainingData& data,
                                                        Communicator& communicator);

}  // namespace clara
