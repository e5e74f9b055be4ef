// Results of the analyses as tables for a person and as JSON for scripts/plot_analysis.py.
#pragma once

#include <string>
#include <vector>

#include "clara/analysis/efficiency.h"
#include "clara/analysis/gap_check.h"
#include "clara/analysis/latent_space.h"
#include "clara/analysis/logit_lens.h"
#include "clara/analysis/paraphrase_check.h"
#include "clara/data/records.h"

namespace clara {

/// A question's reading beside its record.
struct LensRow {
  LensReading reading;
  LensOverlap overlap;  ///< evidence: the record's gold documents; others: its other candidates
};

LensRow make_lens_row(const QaRecord& record, const LensReading& reading);

std::string render_lens(const std::vector<LensRow>& rows);
std::string lens_to_json(const std::string& adapter, const std::vector<LensRow>& rows);

std::string render_latent_space(const LatentSpace& space);
/// Numbers alone: the vectors go to a file of their own (save_latent_space).
std::string latent_space_to_json(const LatentSpace& space);

std::string render_paraphrases(const std::vector<ParaphraseCheck>& checks);
std::string paraphrases_to_json(const std::vector<ParaphraseCheck>& checks);

std::string render_gaps(const std::vector<GapCheck>& checks);
std::string gaps_to_json(const std::vector<GapCheck>& checks);

std::string render_efficiency(const std::vector<Efficiency>& rows);
std::string efficiency_to_json(const std::vector<Efficiency>& rows);

}  // namespace clara
