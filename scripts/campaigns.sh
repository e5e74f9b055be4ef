#!/usr/bin/env bash
# The reliability campaigns at full length: runs killed at random moments and compared bit for bit with
# undisturbed ones, damaged checkpoints, killed ranks. The tests run a short part of each but the one in
# bfloat16.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib_output.sh
source "$project/scripts/lib_output.sh"

usage() {
  cat <<'TEXT'
usage: scripts/campaigns.sh [options] [CAMPAIGN...]
  --runs N      killed runs of each stage (default 70: 210 in float32, and a third as many in bfloat16 on two
                threads)
  --rank-kills N  kills of one of three ranks (default 50)
  --program P   clara-train (default build/release/bin/clara-train, built first if it is missing)
  --out FOLDER  where the logs go (default build/campaigns)
  --help        this text
  CAMPAIGN      kill, kill_bfloat16, fault, ranks (default: all)
Exit code: 0 when no campaign found a difference, a wrong outcome or a failure.
TEXT
}

runs=70
rank_kills=50
program=$project/build/release/bin/clara-train
out=$project/build/campaigns
campaigns=()
while (($#)); do
  case $1 in
    --runs | --rank-kills)
      [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || fail 2 "$1 needs a number of at least 1"
      if [[ $1 == --runs ]]; then runs=$2; else rank_kills=$2; fi
      shift
      ;;
    --program | --out)
      (($# >= 2)) || fail 2 "$1 needs a value"
      if [[ $1 == --program ]]; then program=$(realpath -m -- "$2"); else out=$(realpath -m -- "$2"); fi
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    kill | kill_bfloat16 | fault | ranks) campaigns+=("$1") ;;
    *) usage >&2; fail 2 "unknown option or campaign $1" ;;
  esac
  shift
done
((${#campaigns[@]})) || campaigns=(kill kill_bfloat16 fault ranks)

cd "$project"
if [[ ! -x $program ]]; then
  [[ $program == "$project/build/release/bin/clara-train" ]] || fail 2 "--program: $program is no program"
  begin_phase "build"
  cmake --preset release
  cmake --build --preset release --parallel "$(build_jobs)" --target clara-train
fi
mkdir -p "$out"
export CLARA_TRAIN=$program
stages=(scp tune joint)

status=0
logs=()
# run NAME SCRIPT...: shows a campaign and keeps its log.
run() {
  logs+=("$out/$1.txt")
  shift
  python3 -B "$@" 2>&1 | tee "${logs[-1]}" || status=1
}
for campaign in "${campaigns[@]}"; do
  begin_phase "$campaign"
  case $campaign in
    kill) run kill tests/reliability/kill_campaign.py --runs "$runs" --stages "${stages[@]}" ;;
    kill_bfloat16)
      run kill_bfloat16 tests/reliability/kill_campaign.py --runs $(((runs + 2) / 3)) --stages "${stages[@]}" \
        --dtype bfloat16 --threads 2
      ;;
    fault)
      for stage in "${stages[@]}"; do
        run "fault_$stage" tests/reliability/fault_campaign.py --stage "$stage"
      done
      ;;
    ranks) run ranks tests/distributed/kill_campaign.py --runs "$rank_kills" ;;
  esac
done

printf '\n== summary\n'
print_phases
grep -hE '^(kill campaign|fault campaign|time to end):' "${logs[@]}" || say "no campaign ended"
exit "$status"
