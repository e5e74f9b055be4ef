// Names of the kinds.
#include "clara/synthesis/synthesis_settings.h"

#include "clara/common/error.h"

namespace clara {

std::string to_string(SynthesisKind kind) {
  switch (kind) {
    case SynthesisKind::kSimpleQa:
      return "simple_qa";
    case SynthesisKind::kComplexQa:
      return "complex_qa";
    default:
      return "paraphrase";
  }
}

SynthesisKind parse_synthesis_kind(std::string_view name) {
  for (const SynthesisKind kind : kSynthesisKinds) {
    if (to_string(kind) == name) return kind;
  }
  throw ConfigError("expected simple_qa, complex_qa or paraphrase, found \"" + std::string(name) +
                    "\"");
}

}  // namespace clara
