#!/usr/bin/env bash
# From a fresh machine to a trained, evaluated CLaRa: installs, builds, gets SmolLM2, makes the data of a fictional world,
# trains scp, tune and joint, evaluates Normal and Oracle, prints the tables. Run it again at any time: it does only what is
# missing, and goes on with a training run where it was stopped.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib_output.sh
source "$project/scripts/lib_output.sh"

usage() {
  cat <<'TEXT'
usage: scripts/quickstart.sh [options]
  --fresh        delete data/quickstart and runs/quickstart first
  --no-install   do not look for missing packages
  --help         this text
TEXT
}

fresh=false
with_install=true
while (($#)); do
  case $1 in
    --fresh) fresh=true ;;
    --no-install) with_install=false ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; fail 2 "unknown option $1" ;;
  esac
  shift
done

cd "$project"
trap 'printf "error: stopped in phase: %s\n" "${phase_names[-1]:-start}" >&2' ERR
model=models/smollm2-135m
data=data/quickstart
runs=runs/quickstart
bin=build/release/bin
if $fresh; then
  rm -rf "$data" "$runs"
fi

if $with_install; then
  begin_phase "install"
  scripts/install_deps.sh
fi

begin_phase "build"
cmake --preset release
cmake --build --preset release --parallel "$(build_jobs)" --target clara-train clara-eval

begin_phase "base model"
.venv/bin/python scripts/fetch_smollm2.py --out "$model"

begin_phase "data"
if [[ ! -f $data/eval.jsonl ]]; then
  # Written beside and moved when whole, so that an interrupted run leaves nothing half-made.
  rm -rf "$data.part"
  .venv/bin/python scripts/make_world_data.py --out "$data.part" --seed 17 --max-document-tokens-hint short \
    --paraphrase-share 0.5 --copy-share 0.5 --pairs 3
  rm -rf "$data"
  mv "$data.part" "$data"
else
  say "$data is there"
fi

for stage in scp tune joint; do
  begin_phase "train $stage"
  if [[ -f $runs/$stage/final/tokenizer.json ]]; then
    say "$runs/$stage/final is there"
  else
    "$bin/clara-train" "$stage" --config "configs/quickstart_$stage.yaml" --resume auto
  fi
  .venv/bin/python scripts/plot_run.py "$runs/$stage"
done

# evaluate NAME [OPTION...]: the joint run on questions about things never seen in training.
evaluate() {
  local name=$1
  shift
  if [[ -f $runs/joint/eval/$name/scores.json ]]; then
    say "$runs/joint/eval/$name is there"
  else
    "$bin/clara-eval" --run "$runs/joint" --benchmark records --data "$data/eval.jsonl" --max-rows 40 \
      --max-new-tokens 16 --output "$runs/joint/eval/$name" "$@"
  fi
}
begin_phase "evaluate"
evaluate records_normal --setting normal
evaluate records_oracle --setting oracle
evaluate records_normal_random --setting normal --select random
evaluate records_normal_none --setting normal --context none

end_phase
printf '\nResults on %s (entities never seen in training):\n\n' "$data/eval.jsonl"
"$bin/clara-eval" report "$runs"/joint/eval/records_* --out "$runs/report"
printf '\nPlots:\n'
for stage in scp tune joint; do
  for plot in "$runs/$stage"/plots/*.png; do
    [[ -e $plot ]] && printf '  %s\n' "$plot"
  done
done
printf 'Curves: tensorboard --logdir %s\n' "$runs"
printf '\nTime:\n'
print_phases
