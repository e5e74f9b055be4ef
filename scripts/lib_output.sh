# shellcheck shell=bash
# What the scripts share: messages and the elapsed time of each phase. It only defines functions.

phase_names=()
phase_seconds=()
phase_started=0

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
# fail EXIT_CODE MESSAGE...
fail() {
  local code=$1
  shift
  printf 'error: %s\n' "$*" >&2
  exit "$code"
}

# begin_phase NAME: ends the phase before it.
begin_phase() {
  end_phase
  phase_names+=("$1")
  phase_started=$SECONDS
  printf '\n== %s\n' "$1"
}

end_phase() {
  if ((${#phase_names[@]} > ${#phase_seconds[@]})); then
    phase_seconds+=($((SECONDS - phase_started)))
  fi
}

print_phases() {
  end_phase
  local index
  for index in "${!phase_names[@]}"; do
    printf '  %-28s %5d s\n' "${phase_names[index]}" "${phase_seconds[index]}"
  done
}

# build_jobs: as many compilers as there are cores, but no more than fit into memory (a file that
# includes LibTorch takes up to 2 GB).
build_jobs() {
  local cores available_mb fit
  cores=$(nproc)
  available_mb=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
  fit=$((${available_mb:-2048} / 2048))
  ((fit >= 1)) || fit=1
  printf '%d\n' "$((fit < cores ? fit : cores))"
}
