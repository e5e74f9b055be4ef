#!/usr/bin/env bash
# Controlled comparisons on the fictional world (docs/results.md), each variant from several seeds: how the latent information gap of
# things never seen in training depends on compression rate, alignment, the target of the latent token loss and the mix of rows; what a
# generator learns from text, from latents and from nothing; who ranks best after joint training. Run it again at any time: it does
# only what is missing, and goes on with a training run where it was stopped.
set -Eeuo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib_output.sh
source "$project/scripts/lib_output.sh"
# shellcheck source=scripts/lib_parts.sh
source "$project/scripts/lib_parts.sh"

usage() {
  cat <<'TEXT'
usage: scripts/comparisons.sh [options]
  --only A,B,...    of rates, alignment, target, mix, context, joint (default: all)
  --seeds N,N,...   of every variant (default 17,18,19)
  --parts F,N       steps on parts of one token a memory token (eight at least), and on each twice as long (default 80,30)
  --steps S,T,J     steps of scp, of tune, and of joint and retriever (default 60,40,40)
  --init-from DIR   what tune, joint and retriever start from (default data/adapters/smollm2-135m-world)
  --rows N          held-out rows that are measured and answered (default 200)
  --entities N      things in the world of training (default 16000)
  --out DIR         default runs/comparisons
  --base DIR        base model (default models/smollm2-135m)
  --programs DIR    where clara-train, clara-eval and clara-data are (default build/release/bin)
TEXT
}

all_comparisons=(rates alignment target mix context joint)
only=$(IFS=,; printf '%s' "${all_comparisons[*]}")
seeds=17,18,19 parts=80,30 steps=60,40,40 rows=200 entities=16000
init_from=$project/data/adapters/smollm2-135m-world out=$project/runs/comparisons model=$project/models/smollm2-135m
bin=$project/build/release/bin
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --only | --seeds | --parts | --steps | --init-from | --rows | --entities | --out | --base | --programs)
      (($# > 1)) && [[ $2 != --* ]] || { usage >&2; fail 2 "$1 needs a value"; } ;;
    *) usage >&2; fail 2 "unknown option $1" ;;
  esac
  case $1 in
    --only) only=$2 ;;
    --seeds) seeds=$2 ;;
    --parts) parts=$2 ;;
    --steps) steps=$2 ;;
    --rows) rows=$2 ;;
    --entities) entities=$2 ;;
    --init-from) init_from=$(realpath -m -- "$2") ;;
    --out) out=$(realpath -m -- "$2"); [[ $out != *,* ]] || fail 2 "--out: expected a folder without a comma, found $out" ;;
    --base) model=$(realpath -m -- "$2") ;;
    --programs) bin=$(realpath -m -- "$2") ;;
  esac
  shift 2
done
number='[1-9][0-9]*'
[[ $seeds =~ ^$number(,$number)*$ ]] || fail 2 "--seeds: expected numbers as in 17,18,19, found $seeds"
[[ $parts =~ ^$number,$number$ ]] || fail 2 "--parts: expected two numbers as in 80,30, found $parts"
[[ $steps =~ ^$number,$number,$number$ ]] || fail 2 "--steps: expected three numbers as in 60,40,40, found $steps"
[[ $rows =~ ^$number$ ]] || fail 2 "--rows: expected a number, found $rows"
[[ $entities =~ ^$number$ ]] || fail 2 "--entities: expected a number, found $entities"
IFS=, read -ra seed_list <<<"$seeds"
IFS=, read -r first_part next_parts <<<"$parts"
IFS=, read -r scp_steps tune_steps joint_steps <<<"$steps"
IFS=, read -ra only_list <<<"$only"
for name in "${only_list[@]}"; do
  [[ " ${all_comparisons[*]} " == *" $name "* ]] || fail 2 "--only: expected some of ${all_comparisons[*]}, found $name"
done
[[ -f $model/config.json ]] || fail 3 "$model: expected a model's folder with its config.json"
for program in clara-train clara-eval clara-data; do
  [[ -x $bin/$program ]] || fail 3 "$bin/$program is missing: run scripts/quickstart.sh or scripts/test.sh first"
done
[[ -f $init_from/clara.json ]] || fail 3 "$init_from: expected a checkpoint's folder with its clara.json"
python=$project/.venv/bin/python
[[ -x $python ]] || python=python3
"$python" -c 'import numpy' 2>/dev/null || fail 3 "$python has no numpy, which the tables need: run scripts/install_deps.sh"

cd "$project"
trap 'printf "error: stopped in phase: %s\n" "${phase_names[-1]:-start}" >&2' ERR
data=$out/data
mkdir -p "$out"
# What is there is used again: it must be of the same arguments. Seeds and comparisons may be added.
arguments="parts $parts, steps $steps, rows $rows, entities $entities, base $model, init from $init_from"
if [[ ! -f $out/arguments.txt ]]; then
  printf '%s\n' "$arguments" >"$out/arguments.txt"
elif [[ $(<"$out/arguments.txt") != "$arguments" ]]; then
  fail 2 "$out: has results of other arguments ($(<"$out/arguments.txt")); give another folder with --out"
fi

begin_phase "data"
if [[ ! -d $data ]]; then
  rm -rf "$data.part"
  "$python" scripts/make_world_data.py --out "$data.part" --seed 17 --max-document-tokens-hint short --train-entities "$entities" \
    --scp-rows $((entities * 3 / 4)) --brief-share 0.2 --paraphrase-share 0.5 --copy-share 1 --pairs 3 --tune-rows $((entities / 8)) \
    --joint-rows $((entities * 3 / 16)) --joint-entities 1000 --tell-share 0.4 --two-hop-share 0 --valid-rows "$rows" --eval-rows "$rows"
  mv "$data.part" "$data"
fi
# Of the mix of rows: those that ask, and those that are told again.
if [[ ! -f $data/scp_texts.jsonl ]]; then
  grep -v '"data_type": "paraphrase"' "$data/scp_train.jsonl" >"$data/scp_questions.jsonl"
  grep '"data_type": "paraphrase"' "$data/scp_train.jsonl" >"$data/scp_texts.part"
  mv "$data/scp_texts.part" "$data/scp_texts.jsonl"
fi

# train STAGE FOLDER SEED [OPTION...]
train() {
  local stage=$1 folder=$out/$2 seed=$3
  shift 3
  if [[ -f $folder/final/tokenizer.json ]]; then
    say "$folder/final is there"
    return
  fi
  begin_phase "${folder#"$out"/}"
  # The supervised retriever has the settings of joint training.
  "$bin/clara-train" "$stage" --config "configs/quickstart_${stage/retriever/joint}.yaml" --set "stage=$stage" --output "$folder" \
    --resume auto --set "model.base=$model" --set "trainer.seed=$seed" --set "data.shuffle_seed=$seed" --set output.keep_best=null \
    --set output.keep_last=1 "$@"
}
scp_data=(--set "data.train=[$data/scp_train.jsonl]" --set "data.validation=[$data/scp_valid.jsonl]")
# term STEPS TARGET [TOKEN_WEIGHTS]
term() { printf 'objective.latent_token_loss={weight: 0.3, steps: %d, target: %s, token_weights: %s}' "$1" "$2" "${3:-uniform}"; }
# scp FOLDER FROM SEED RATE [OPTION...]: whole documents, from the last of the parts' runs.
scp() {
  local folder=$1 from=$2 seed=$3 rate=$4
  shift 4
  train scp "$folder" "$seed" --set "model.init_from=$out/$from/final" --set "model.compression_rate=$rate" \
    --set "trainer.max_steps=$scp_steps" "${scp_data[@]}" --set "$(term "$scp_steps" document)" "$@"
}
# parts_of RATE SEED: the runs on parts of documents, which all variants of a rate share.
parts_of() {
  local rate=$1 seed=$2 run start=(--set model.init_from=)
  plan_parts "$rate" "$first_part" "$next_parts"
  for run in "${part_runs[@]}"; do
    set_part_options "$run"
    train scp "parts/rate_$rate/seed_$seed/$run" "$seed" --set "model.compression_rate=$rate" "${start[@]}" "${part_options[@]}"
    start=(--set "model.init_from=$out/parts/rate_$rate/seed_$seed/$run/final")
  done
}
# evaluate METHOD FOLDER CHECKPOINT DATA [OPTION...]: results of one run, whose seeds the report averages.
answer_tokens=16
declare -A results=()
methods=()
evaluate() {
  local method=$1 folder=$out/$2 checkpoint=$3 file=$4
  shift 4
  if [[ ! -f $folder/scores.json ]]; then
    begin_phase "evaluate ${folder#"$out"/}"
    "$bin/clara-eval" --checkpoint "$checkpoint" --base "$model" --data "$file" --max-rows "$rows" --max-new-tokens "$answer_tokens" --output "$folder" "$@"
  fi
  [[ -v results[$method] ]] || methods+=("$method")
  results[$method]+=${results[$method]:+,}$folder
}
# report NAME BASELINE
report() {
  local method arguments=()
  for method in "${methods[@]}"; do arguments+=("$method=${results[$method]}"); done
  "$bin/clara-eval" report "${arguments[@]}" --baseline "$2" --protocol best --out "$out/report/$1"
  results=() methods=()
}

# variant COMPARISON NAME RATE [OPTION...]: scp from every seed's parts, then of each the gap, and how well it ranks as a query reasoner
# that was never taught to (its answers are of no interest: scp writes a question first). Without options it is the variant that all
# comparisons of the rate share.
variant() {
  local comparison=$1 name=$2 rate=$3 folder=$1/$2 seed checkpoints=() seeds_measured
  shift 3
  (($#)) || folder=scp/rate_$rate
  for seed in "${seed_list[@]}"; do
    parts_of "$rate" "$seed"
    scp "$folder/seed_$seed" "parts/rate_$rate/seed_$seed/${part_runs[-1]}" "$seed" "$rate" "$@"
    checkpoints+=(--checkpoint "$out/$folder/seed_$seed/final")
    answer_tokens=1 evaluate "$name" "$folder/seed_$seed/eval/ranks" "$out/$folder/seed_$seed/final" "$data/eval.jsonl" \
      --select query_reasoner --num-selected 1
  done
  seeds_measured=$(cat "$out/$folder/analysis/seeds.txt" 2>/dev/null || true)
  if [[ $seeds_measured != "$seeds" ]]; then
    begin_phase "gap of $comparison, $name"
    "$bin/clara-eval" analyze gap "${checkpoints[@]}" --base "$model" --data "$data/scp_valid.jsonl" --max-rows "$rows" \
      --output "$out/$folder/analysis"
    printf '%s\n' "$seeds" >"$out/$folder/analysis/seeds.txt"
  fi
  measured+=("$name=$out/$folder/analysis")
}
# table_of COMPARISON: of what variant() measured.
table_of() {
  "$python" scripts/gap_table.py "${measured[@]}" --title "$1" --out "$out/report/gap_$1"
  measured=()
  report "ranks_$1" "${methods[0]}"
}
measured=()
wants() { [[ " ${only_list[*]} " == *" $1 "* ]]; }

if wants rates; then
  for rate in 4 8 16 64; do variant rates "rate_$rate" "$rate"; done
  table_of rates
fi
if wants alignment; then
  variant alignment on 8
  variant alignment off 8 --set objective.alignment_weight=0
  table_of alignment
fi
if wants target; then
  variant target document 8
  variant target document_rare_words 8 --set "$(term "$scp_steps" document idf)"
  variant target span 8 --set "$(term "$scp_steps" span)"
  variant target none 8 --set "objective.latent_token_loss={weight: 0}"
  table_of target
fi
if wants mix; then
  variant mix both 8
  variant mix questions 8 --set "data.train=[$data/scp_questions.jsonl]"
  variant mix texts 8 --set "data.train=[$data/scp_texts.jsonl]"
  table_of mix
fi

if wants context; then
  # Five documents a row, the right one among them.
  for context in latents text none; do
    term_option=(--set "objective.latent_token_loss={weight: 0}")
    [[ $context != latents ]] || term_option=(--set "$(term "$tune_steps" document idf)")
    for seed in "${seed_list[@]}"; do
      train tune "context/$context/seed_$seed" "$seed" --set "model.init_from=$init_from" --set "trainer.max_steps=$tune_steps" \
        --set "data.train=[$data/tune_train.jsonl]" --set "data.validation=[$data/tune_valid.jsonl]" \
        --set "objective.context=$context" --set trainer.max_sequence_tokens=2048 "${term_option[@]}"
      evaluate "tuned on $context" "context/$context/seed_$seed/eval/five_documents" "$out/context/$context/seed_$seed/final" "$data/tune_valid.jsonl"
    done
  done
  evaluate "base model, text" context/base_text "$init_from" "$data/tune_valid.jsonl" --context text
  report context "tuned on none"
fi

if wants joint; then
  joint_data=(--set "data.train=[$data/joint_train.jsonl]" --set "data.validation=[$data/joint_valid.jsonl]" --set "model.init_from=$init_from"
    --set "trainer.max_steps=$joint_steps" --set objective.latent_cache=disk --set "objective.latent_cache_folder=$out/latents")
  for seed in "${seed_list[@]}"; do
    train joint "joint/compressor/seed_$seed" "$seed" "${joint_data[@]}"
    train joint "joint/random/seed_$seed" "$seed" "${joint_data[@]}" --set objective.query_reasoner_init=random
    train retriever "joint/supervised/seed_$seed" "$seed" "${joint_data[@]}"
  done
  asked=$data/eval.jsonl
  evaluate "no document" joint/no_document "$init_from" "$asked" --context none
  evaluate "text, BM25, base model" joint/text_bm25 "$init_from" "$asked" --context text --select bm25 --num-selected 1
  evaluate "before, random" joint/before_random "$init_from" "$asked" --select random --num-selected 1
  evaluate "before, BM25" joint/before_bm25 "$init_from" "$asked" --select bm25 --num-selected 1
  evaluate "before, compressor" joint/before_compressor "$init_from" "$asked" --select query_reasoner --num-selected 1
  for seed in "${seed_list[@]}"; do
    evaluate "joint" "joint/compressor/seed_$seed/eval/world" "$out/joint/compressor/seed_$seed/final" "$asked"
    evaluate "joint, reasoner from random" "joint/random/seed_$seed/eval/world" "$out/joint/random/seed_$seed/final" "$asked"
    evaluate "supervised" "joint/supervised/seed_$seed/eval/world" "$out/joint/supervised/seed_$seed/final" "$asked"
    for count in 3 5 10; do
      evaluate "joint, $count documents" "joint/compressor/seed_$seed/eval/world_$count" "$out/joint/compressor/seed_$seed/final" "$asked" \
        --num-selected "$count"
    done
  done
  report joint "before, compressor"
fi

end_phase
printf '\nTables and pictures: %s\n' "$out/report"
printf '\nTime:\n'
print_phases
