#!/usr/bin/env bash
# Builds the benchmark programs and times whole steps, document encoding, generation and start-up on SmolLM2-135M, beside
# the Python reference where there is one. The table goes to stdout, everything measured to a JSON file.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib_output.sh
source "$project/scripts/lib_output.sh"

usage() {
  cat <<'TEXT'
usage: scripts/bench.sh [--pieces] [options of scripts/bench.py]
  --pieces       the Google Benchmark programs of the pieces instead of whole steps
  --no-install   do not look for missing packages
  --help         this text and that of scripts/bench.py
TEXT
}

pieces=false
with_install=true
arguments=()
for argument in "$@"; do
  case $argument in
    --pieces) pieces=true ;;
    --no-install) with_install=false ;;
    -h | --help)
      usage
      printf '\n'
      exec python3 "$project/scripts/bench.py" --help
      ;;
    *) arguments+=("$argument") ;;
  esac
done

cd "$project"
if $with_install; then
  scripts/install_deps.sh --dev
fi
cmake --preset release -DCLARA_BUILD_BENCH=ON
cmake --build --preset release --parallel "$(build_jobs)" --target clara_step_bench clara_piece_bench clara_row_bench clara_vector_search_bench clara-data clara-train
.venv/bin/python scripts/fetch_smollm2.py --out models/smollm2-135m
if $pieces; then
  exec build/release/bin/clara_piece_bench "${arguments[@]}"
fi
exec .venv/bin/python scripts/bench.py "${arguments[@]}"
