#!/usr/bin/env bash
# Builds the fuzz targets with clang and runs each for some minutes. New inputs that reach new code are kept in
# build/fuzz/corpus; what crashes is left in build/fuzz/found and named.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib_output.sh
source "$project/scripts/lib_output.sh"

usage() {
  cat <<'TEXT'
usage: scripts/fuzz.sh [--minutes N] [TARGET...]
  --minutes N   of each target (default 60)
  TARGET        safetensors, records, benchmarks, tokenizer, config, manifest (default: all)
Needs clang++ with libFuzzer (Debian: clang libclang-rt-14-dev). Exit code: 0 when nothing was found.
TEXT
}

minutes=60
targets=()
while (($#)); do
  case $1 in
    --minutes)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail 2 "--minutes needs a number of at least 1"
      minutes=$2
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    safetensors | records | benchmarks | tokenizer | config | manifest) targets+=("$1") ;;
    *) usage >&2; fail 2 "unknown option or target $1" ;;
  esac
  shift
done
((${#targets[@]})) || targets=(safetensors records benchmarks tokenizer config manifest)

cd "$project"
command -v clang++ >/dev/null || fail 2 "clang++ was not found. Debian packages: clang libclang-rt-14-dev"
begin_phase "build"
programs=("${targets[@]/#/clara_}")
cmake --preset fuzz
cmake --build --preset fuzz --target "${programs[@]/%/_fuzz}"

build=$project/build/fuzz
mkdir -p "$build/found"
# The targets write each input to a file, which a disk would slow down.
if [[ -z ${TMPDIR:-} && -d /dev/shm && -w /dev/shm ]]; then
  export TMPDIR=/dev/shm
fi
status=0
for target in "${targets[@]}"; do
  begin_phase "$target, $minutes min"
  mkdir -p "$build/corpus/$target"
  # libFuzzer writes into the first folder and reads the others.
  "$build/bin/clara_${target}_fuzz" -max_total_time=$((minutes * 60)) -timeout=20 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$build/found/${target}_" \
    "$build/corpus/$target" "tests/fuzz/corpus/$target" || status=1
done
if ((status)); then
  warn "inputs that fail were left in $build/found"
fi
exit "$status"
