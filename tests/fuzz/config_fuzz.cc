// Configs: a config that prints as itself, or the list of mistakes.
#include "tests/fuzz/fuzz_input.h"

#include "clara/common/error.h"
#include "clara/config/load_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clara;
  const std::string text = fuzz::text_of(data, size);
  try {
    const RunConfig config = parse_run_config(text, "fuzz");
    const RunConfig again = parse_run_config(print_run_config(config), "printed");
    fuzz::require(print_run_config(again) == print_run_config(config));
  } catch (const ConfigError&) {
  }
  try {
    ConfigOverrides overrides;
    overrides.assignments = {text};
    (void)parse_run_config("stage: scp\nmodel: {base: b}\ndata: {train: [t]}\noutput: {folder: o}",
                           "fuzz", overrides);
  } catch (const ConfigError&) {
  }
  return 0;
}
