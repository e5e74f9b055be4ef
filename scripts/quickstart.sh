#!/usr/bin/env bash
# From a fresh machine to a trained, evaluated CLaRa: installs, builds, gets SmolLM2, makes the data of a fictional world,
# trains retrieval and generation jointly from the adapters of this repository (or with --from-scratch from nothing),
# evaluates Normal and Oracle, prints the tables. Run it again at any time: it does only what is missing, and goes on with
# a training run where it was stopped.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib_output.sh
source "$project/scripts/lib_output.sh"
# shellcheck source=scripts/lib_configs.sh
source "$project/scripts/lib_configs.sh"
# shellcheck source=scripts/lib_parts.sh
source "$project/scripts/lib_parts.sh"

usage() {
  cat <<'TEXT'
usage: scripts/quickstart.sh [options]
  --from-scratch  train the compressor and generator anew, too (scp on parts of documents, on whole ones, on these again
                  with rare words counting most, then tune), instead of starting from data/adapters/smollm2-135m-world;
                  the runs are in runs/quickstart_from_scratch
  --fresh         delete data/quickstart and the runs of both kinds first
  --no-install    do not look for missing packages
  --help          this text
TEXT
}

rate=$(model_setting quickstart_scp.yaml compression_rate)
runs_of_training=(joint)
runs=runs/quickstart
fresh=false
with_install=true
while (($#)); do
  case $1 in
    --from-scratch)
      plan_parts "$rate" 120 40
      runs_of_training=("${part_runs[@]}" scp scp_names tune joint)
      runs=runs/quickstart_from_scratch
      ;;
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
bin=build/release/bin
if $fresh; then
  rm -rf "$data" runs/quickstart runs/quickstart_from_scratch
fi

if $with_install; then
  begin_phase "install"
  scripts/install_deps.sh
fi

begin_phase "build"
cmake --preset release
cmake --build --preset release --parallel "$(build_jobs)" --target clara-train clara-eval clara-data

begin_phase "base model"
.venv/bin/python scripts/fetch_smollm2.py --out "$model"

begin_phase "data"
world=(--seed 17 --max-document-tokens-hint short --train-entities 16000 --scp-rows 12000 --brief-share 0.2 --paraphrase-share 0.5
  --copy-share 1 --pairs 3 --tune-rows 2000 --joint-rows 3000 --joint-entities 1000 --tell-share 0.4 --two-hop-share 0)
if [[ ! -d $data ]]; then
  # Written beside and moved when whole, so that an interrupted run leaves nothing half-made.
  rm -rf "$data.part"
  .venv/bin/python scripts/make_world_data.py --out "$data.part" "${world[@]}"
  printf '%s\n' "${world[*]}" >"$data.part/made_with.txt"
  mv "$data.part" "$data"
elif [[ -f $data/made_with.txt && $(<"$data/made_with.txt") == "${world[*]}" ]]; then
  say "$data is there"
else
  fail 3 "$data was made with other settings than this script's, and the runs with it; --fresh deletes both and begins anew"
fi

# The first run starts as its config says, from the adapters that are shipped or from nothing, each later one from the run before.
start=()
for run in "${runs_of_training[@]}"; do
  begin_phase "train $run"
  stage=${run%%_*} config=configs/quickstart_$run.yaml
  set_part_options "$run"
  [[ -f $config ]] || config=configs/quickstart_$stage.yaml  # runs on parts have the config of scp
  if [[ -f $runs/$run/final/tokenizer.json ]]; then
    grep -q "\"compression_rate\": $rate," "$runs/$run/final/clara.json" ||
      fail 3 "$runs/$run was trained at another compression rate than this script's; --fresh deletes it and begins anew"
    say "$runs/$run/final is there"
  else
    "$bin/clara-train" "$stage" --config "$config" --output "$runs/$run" --resume auto "${start[@]}" "${part_options[@]}"
  fi
  .venv/bin/python scripts/plot_run.py "$runs/$run"
  start=(--set "model.init_from=$runs/$run/final")
done

# evaluate NAME [OPTION...]: the joint run on questions about things never seen in training.
evaluate() {
  local name=$1
  shift
  if [[ -f $runs/joint/eval/$name/scores.json ]]; then
    say "$runs/joint/eval/$name is there"
  else
    "$bin/clara-eval" --run "$runs/joint" --benchmark records --data "$data/eval.jsonl" --max-rows 100 \
      --max-new-tokens 16 --output "$runs/joint/eval/$name" "$@"
  fi
}
begin_phase "evaluate"
evaluate records_normal --setting normal
evaluate records_oracle --setting oracle
evaluate records_normal_random --setting normal --select random
evaluate records_normal_text --setting normal --context text
evaluate records_normal_none --setting normal --context none

end_phase
printf '\nResults on %s (entities never seen in training):\n\n' "$data/eval.jsonl"
"$bin/clara-eval" report "$runs"/joint/eval/records_* --out "$runs/report"
printf '\nPlots:\n'
for run in "${runs_of_training[@]}"; do
  for plot in "$runs/$run"/plots/*.png; do
    [[ -e $plot ]] && printf '  %s\n' "$plot"
  done
done
printf 'Curves: tensorboard --logdir %s\n' "$runs"
printf '\nTime:\n'
print_phases
