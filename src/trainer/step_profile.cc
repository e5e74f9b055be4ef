// LibTorch's profiler around some steps; phases are its user scopes.
#include "clara/trainer/step_profile.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <set>

#include <torch/csrc/autograd/profiler_kineto.h>
#include <torch/cuda.h>

#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
namespace impl = torch::profiler::impl;

constexpr std::string_view kPhasePrefix = "clara::";
/// A validation runs the objective's passes too, which are no part of a step.
constexpr std::string_view kValidation = "clara::validate";

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::set<impl::ActivityType> activities() {
  std::set<impl::ActivityType> result = {impl::ActivityType::CPU};
#if defined(CLARA_WITH_CUDA)
  if (torch::cuda::is_available()) result.insert(impl::ActivityType::CUDA);
#endif
  return result;
}

using torch::autograd::profiler::KinetoEvent;

bool encloses(const KinetoEvent& outer, const KinetoEvent& inner) {
  return &outer != &inner && outer.startNs() <= inner.startNs() && inner.endNs() <= outer.endNs();
}

}  // namespace

std::string render_profile(const ProfileReport& report) {
  const double steps = static_cast<double>(std::max<std::int64_t>(report.num_steps, 1));
  std::string text = "profile of " + std::to_string(report.num_steps) + " steps, " +
                     report.trace.string() + " (open in ui.perfetto.dev or chrome://tracing)\n";
  char line[128];
  std::snprintf(line, sizeof line, "  %-12s %14s %8s %12s\n", "phase", "seconds a step", "share",
                "calls a step");
  text += line;
  for (const PhaseTime& phase : report.phases) {
    std::snprintf(line, sizeof line, "  %-12s %14.4f %7.1f%% %12.1f\n", phase.name.c_str(),
                  phase.seconds / steps,
                  report.seconds > 0 ? 100 * phase.seconds / report.seconds : 0.0,
                  static_cast<double>(phase.calls) / steps);
    text += line;
  }
  std::snprintf(line, sizeof line, "  %-12s %14.4f %7.1f%%", "step", report.seconds / steps, 100.0);
  return text + line;
}

StepProfile::StepProfile(std::int64_t num_steps, fs::path folder)
    : num_steps_(num_steps), folder_(std::move(folder)) {}

StepProfile::~StepProfile() {
  if (recording_) (void)torch::autograd::profiler::disableProfiler();
}

void StepProfile::begin_step() {
  if (steps_recorded_ >= num_steps_ || recording_ || steps_seen_++ == 0) return;
  const impl::ProfilerConfig config(impl::ProfilerState::KINETO);
  torch::autograd::profiler::prepareProfiler(config, activities());
  torch::autograd::profiler::enableProfiler(
      config, activities(), {at::RecordScope::FUNCTION, at::RecordScope::USER_SCOPE});
  recording_ = true;
  started_ = now_seconds();
}

std::optional<ProfileReport> StepProfile::end_step(bool is_last) {
  if (!recording_) return std::nullopt;
  ++steps_recorded_;
  if (steps_recorded_ < num_steps_ && !is_last) return std::nullopt;
  num_steps_ = steps_recorded_;
  return finish();
}

ProfileReport StepProfile::finish() {
  ProfileReport report;
  report.num_steps = steps_recorded_;
  report.seconds = now_seconds() - started_;
  recording_ = false;
  const auto result = torch::autograd::profiler::disableProfiler();
  std::map<std::string, PhaseTime> phases;
  double covered = 0;
  std::vector<const KinetoEvent*> scopes, validations;
  for (const KinetoEvent& event : result->events()) {
    if (!event.name().starts_with(kPhasePrefix) || event.deviceType() != c10::DeviceType::CPU)
      continue;
    scopes.push_back(&event);
    if (event.name() == kValidation) validations.push_back(&event);
  }
  for (const KinetoEvent* scope : scopes) {
    const bool is_validating =
        std::any_of(validations.begin(), validations.end(),
                    [&](const KinetoEvent* validation) { return encloses(*validation, *scope); });
    if (is_validating) continue;
    const double seconds = static_cast<double>(scope->durationNs()) * 1e-9;
    PhaseTime& phase = phases[scope->name().substr(kPhasePrefix.size())];
    ++phase.calls;
    phase.seconds += seconds;
    covered += seconds;
  }
  phases["other"] = {"", 0, std::max(0.0, report.seconds - covered)};
  for (auto& [name, phase] : phases) {
    phase.name = name;
    report.phases.push_back(phase);
  }
  std::sort(report.phases.begin(), report.phases.end(),
            [](const PhaseTime& a, const PhaseTime& b) { return a.seconds > b.seconds; });
  report.trace = folder_ / "trace.json";
  std::error_code error;
  fs::create_directories(folder_, error);
  result->save(report.trace.string());
  if (!fs::exists(report.trace))
    throw Error(report.trace.string() + ": the trace could not be written");
  return report;
}

}  // namespace clara
