// What a checkpoint says of itself: manifest.json and trainer_state.json.
#include "tests/fuzz/fuzz_input.h"

#include "clara/checkpoint/manifest.h"
#include "clara/checkpoint/run_progress.h"
#include "clara/common/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clara;
  const std::string text = fuzz::text_of(data, size);
  try {
    const std::string rendered = render_manifest(parse_manifest(text));
    fuzz::require(render_manifest(parse_manifest(rendered)) == rendered);
  } catch (const CheckpointError&) {
  }
  try {
    const std::string rendered = render_run_progress(parse_run_progress(text));
    fuzz::require(render_run_progress(parse_run_progress(rendered)) == rendered);
  } catch (const CheckpointError&) {
  }
  fuzz::scratch_file("manifest.json", text);
  (void)find_manifest_damage(fuzz::scratch_folder());
  return 0;
}
