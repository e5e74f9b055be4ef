#!/usr/bin/env bash
# The one command for the tests: installs what is missing (in CI also clang-format, doxygen, chromium), builds (in
# CI with warnings as errors), gets the base model, runs ctest.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib_output.sh
source "$project/scripts/lib_output.sh"

usage() {
  cat <<'TEXT'
usage: scripts/test.sh [options]
  --quick        leave out the tests labelled slow
  --no-model     do not get SmolLM2; the tests that need it are skipped and say so
  --no-install   do not look for missing packages
  -R REGEX       only the tests whose name matches (as ctest -R)
  -j N           N compilers and N tests at a time (default: what cores and memory allow)
  --help         this text
Exit code: 0 when everything was built and every test passed.
TEXT
}

quick=false
with_model=true
with_install=true
pattern=
jobs=
while (($#)); do
  case $1 in
    --quick) quick=true ;;
    --no-model) with_model=false ;;
    --no-install) with_install=false ;;
    -R | -j)
      (($# >= 2)) || fail 2 "$1 needs a value"
      if [[ $1 == -R ]]; then pattern=$2; else jobs=$2; fi
      shift
      ;;
    -j*) jobs=${1#-j} ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail 2 "unknown option $1" ;;
  esac
  shift
done
if [[ -n $jobs && ! $jobs =~ ^[1-9][0-9]*$ ]]; then
  fail 2 "-j: expected a number of at least 1, found '$jobs'"
fi

model=$project/models/smollm2-135m
build=$project/build/release
log=$build/test.log
cd "$project"
# Until the tests have run, an end is a failure of the phase it happened in.
trap 'printf "error: stopped in phase: %s\n" "${phase_names[-1]:-start}" >&2' ERR

# report_skipped CTEST_OUTPUT LASTTEST_LOG: which tests were skipped, and why.
report_skipped() {
  local skipped
  skipped=$(awk -f scripts/skipped_tests.awk "$1" "$2")
  if [[ -n $skipped ]]; then
    say "skipped tests, with the reason:"
    say "$skipped"
  fi
}

if $with_install; then
  begin_phase "install"
  if [[ ${CI:-} == true ]]; then
    # The tests of style and reference need clang-format and doxygen, that of the report page a browser; elsewhere they may be skipped.
    scripts/install_deps.sh --dev
  else
    scripts/install_deps.sh
  fi
fi
jobs=${jobs:-$(build_jobs)}

begin_phase "configure"
# Elsewhere than in CI a build that the quickstart made is used as it is.
warnings_as_errors=OFF
if [[ ${CI:-} == true ]]; then warnings_as_errors=ON; fi
cmake --preset release -DCLARA_BUILD_TESTS=ON -DCLARA_BUILD_TOOLS=ON \
  -DCLARA_WARNINGS_AS_ERRORS=$warnings_as_errors

begin_phase "build"
say "$jobs compilers at a time"
cmake --build --preset release --parallel "$jobs"

if $with_model; then
  begin_phase "base model"
  if ! .venv/bin/python scripts/fetch_smollm2.py --out "$model"; then
    warn "SmolLM2 could not be had (see above); the tests that need it will be skipped"
  fi
fi

begin_phase "tests"
arguments=(--test-dir "$build" --output-on-failure --no-tests=error --parallel "$jobs")
if $quick; then
  arguments+=(--label-exclude '^slow$')
fi
if [[ -n $pattern ]]; then
  arguments+=(--tests-regex "$pattern")
fi
# Tests that run side by side share the cores; more threads than cores only wait for each other.
if [[ -z ${OMP_NUM_THREADS:-} ]]; then
  threads=$(($(nproc) / jobs))
  export OMP_NUM_THREADS=$((threads >= 1 ? threads : 1))
fi
status=0
ctest "${arguments[@]}" </dev/null 2>&1 | tee "$log" || status=$?

printf '\n== summary\n'
print_phases
if [[ -f $build/Testing/Temporary/LastTest.log ]]; then
  report_skipped "$log" "$build/Testing/Temporary/LastTest.log"
fi
grep -E '^[0-9]+% tests passed|^No tests were found' "$log" | tail -n 1 ||
  say "ctest ended without a result"
exit "$status"
