// Where the time of a step goes: a trace for Perfetto or Chrome and a table by phase (clara-train
// --profile).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace clara {

/// Time of one phase over the profiled steps. Phases are the scopes named "clara::…" in the code
/// (RECORD_USER_SCOPE, which costs nothing while nothing records); they do not overlap. "validate"
/// is a whole validation, its passes and its saving of a best checkpoint with it.
struct PhaseTime {
  std::string name;  ///< "compress", "backward", …
  std::int64_t calls = 0;
  double seconds = 0;
};

struct ProfileReport {
  std::int64_t num_steps = 0;
  double seconds = 0;             ///< wall time of these steps, with what came between them
  std::vector<PhaseTime> phases;  ///< by time, the longest first; what no phase covers is "other"
  std::filesystem::path trace;
};

/// Aligned text for a terminal.
std::string render_profile(const ProfileReport& report);

/// Records `num_steps` steps with LibTorch's profiler, the first of the process left out: it pays
/// for memory and compiled kernels that the others find. On CUDA the phases show when work was
/// queued; the trace has the kernels' own times.
class StepProfile {
 public:
  /// `num_steps` 0: records nothing. The trace goes to `folder`/trace.json.
  StepProfile(std::int64_t num_steps, std::filesystem::path folder);
  StepProfile(const StepProfile&) = delete;
  StepProfile& operator=(const StepProfile&) = delete;
  /// Stops a recording that was not finished.
  ~StepProfile();

  /// Before every step.
  void begin_step();
  /// After every step and what belongs to it (saving). The report once the last step was recorded,
  /// or `is_last` ends it early. Throws Error if the trace cannot be written.
  std::optional<ProfileReport> end_step(bool is_last);

 private:
  ProfileReport finish();

  std::int64_t num_steps_;
  std::filesystem::path folder_;
  std::int64_t steps_seen_ = 0;
  std::int64_t steps_recorded_ = 0;
  bool recording_ = false;
  double started_ = 0;
};

}  // namespace clara
