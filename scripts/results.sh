#!/usr/bin/env bash
# Results on real text (docs/results.md): published questions become records, their passages a corpus with
# BM25, dense and latent indexes; scp, tune, joint and a supervised retriever train on a split by question; held-out questions are answered by
# every method, from their own candidates and from the whole corpus. Run it again at any time: it does only what is missing.
set -Eeuo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib_configs.sh
source "$project/scripts/lib_configs.sh"
# shellcheck source=scripts/lib_output.sh
source "$project/scripts/lib_output.sh"

usage() {
  cat <<'TEXT'
usage: scripts/results.sh --scp-rows FILE --questions FILE... [options]
  --scp-rows FILE      first-stage rows (apple/ml-clara's pretrain_data.jsonl): the last 100 are held out
  --questions FILE...  published training files of HotpotQA, 2WikiMultihopQA, MuSiQue
  --encoder DIR        sentence encoder of the dense baseline (BGE, MiniLM); without it there is none
  --reranker DIR       cross-encoder that orders a question's passages, and BM25's best 100 of the corpus; without it there is none
  --rows N             questions read of each file (default 0: all); every fifth is held out
  --held-out N         held-out questions that are answered (default 0: all)
  --init-from DIR      what scp starts from (default data/adapters/smollm2-135m-world, with --base none); none: fresh adapters
  --steps S,T,J        steps of scp, of tune, and of joint and retriever (default 180,60,60)
  --out DIR            default runs/results
  --base DIR           base model (default models/smollm2-135m)
  --programs DIR       where clara-train, clara-eval and clara-data are (default build/release/bin)
TEXT
}

scp_rows='' questions=() encoder='' reranker='' rows=0 held_out=0 steps=180,60,60
out=$project/runs/results model=$project/models/smollm2-135m bin=$project/build/release/bin
init_from=''
# Paths are those of the caller's folder.
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --scp-rows | --encoder | --reranker | --rows | --held-out | --init-from | --steps | --out | --base | --programs | --questions)
      (($# > 1)) && [[ $2 != --* ]] || { usage >&2; fail 2 "$1 needs a value"; } ;;
    *) usage >&2; fail 2 "unknown option $1" ;;
  esac
  case $1 in
    --scp-rows) scp_rows=$(realpath -m -- "$2") ;;
    --questions)
      while (($# > 2)) && [[ $3 != --* ]]; do questions+=("$(realpath -m -- "$2")"); shift; done
      questions+=("$(realpath -m -- "$2")") ;;
    --encoder) encoder=$(realpath -m -- "$2") ;;
    --reranker) reranker=$(realpath -m -- "$2") ;;
    --rows) rows=$2 ;;
    --held-out) held_out=$2 ;;
    --init-from) init_from=none; [[ $2 == none ]] || init_from=$(realpath -m -- "$2") ;;
    --steps) steps=$2 ;;
    --out) out=$(realpath -m -- "$2") ;;
    --base) model=$(realpath -m -- "$2") init_from=${init_from:-none} ;;
    --programs) bin=$(realpath -m -- "$2") ;;
  esac
  shift 2
done
[[ -n $scp_rows && ${#questions[@]} -gt 0 ]] || { usage >&2; fail 2 "--scp-rows and --questions are needed"; }
[[ $rows =~ ^[0-9]+$ ]] || fail 2 "--rows: expected a number, found $rows"
[[ $held_out =~ ^[0-9]+$ ]] || fail 2 "--held-out: expected a number, found $held_out"
[[ $steps =~ ^[1-9][0-9]*,[1-9][0-9]*,[1-9][0-9]*$ ]] || fail 2 "--steps: expected three numbers as in 180,60,60, found $steps"
IFS=, read -r scp_steps tune_steps joint_steps <<<"$steps"
doc_max_tokens=$(model_setting results_scp.yaml doc_max_tokens) rate=$(model_setting results_scp.yaml compression_rate)
for file in "$scp_rows" "${questions[@]}"; do
  [[ -f $file ]] || fail 3 "$file: no such file"
done
for folder in "$model" ${encoder:+"$encoder"} ${reranker:+"$reranker"}; do
  [[ -f $folder/config.json ]] || fail 3 "$folder: expected a model's folder with its config.json"
done
init_from=${init_from:-$project/data/adapters/smollm2-135m-world}
[[ $init_from == none || -f $init_from/clara.json ]] || fail 3 "$init_from: expected a checkpoint's folder with its clara.json"
python=$project/.venv/bin/python
[[ -x $python ]] || { python=''; warn "no pictures of the runs: $project/.venv is missing (scripts/install_deps.sh)"; }

cd "$project"
trap 'printf "error: stopped in phase: %s\n" "${phase_names[-1]:-start}" >&2' ERR
data=$out/data
for program in clara-train clara-eval clara-data; do
  [[ -x $bin/$program ]] || fail 3 "$bin/$program is missing: run scripts/quickstart.sh or scripts/test.sh first"
done
mkdir -p "$data"
# What is there is used again: it must be of the same arguments.
arguments=$(printf '%s\n' "scp rows $scp_rows" "${questions[@]/#/questions }" "encoder $encoder" "reranker $reranker" \
  "rows $rows" "held out $held_out" "steps $steps" "base $model" "init from $init_from" \
  "documents of $doc_max_tokens tokens, rate $rate")
if [[ ! -f $out/arguments.txt ]]; then
  printf '%s\n' "$arguments" >"$out/arguments.txt"
elif ! diff "$out/arguments.txt" - <<<"$arguments" >&2; then
  fail 2 "$out: has results of other arguments (above); give another folder with --out"
fi

# whole FILE COMMAND...: the command's output becomes FILE, whole or not at all; a FILE that is there stays.
whole() {
  local file=$1
  shift
  [[ -f $file ]] && return
  "$@" >"$file.part"
  mv "$file.part" "$file"
}

begin_phase "records"
whole "$data/scp_questions.jsonl" head -n -100 "$scp_rows"
whole "$data/scp_valid.jsonl" tail -n 100 "$scp_rows"
limit=()
((rows == 0)) || limit=(--max-rows "$rows")
# convert_all RECORD OPTION...: the files of questions into data/RECORD.jsonl.
convert_all() {
  local record=$1 question_file
  shift
  [[ ! -f $data/$record.jsonl ]] || return 0
  for question_file in "${questions[@]}"; do
    "$bin/clara-data" convert --data "$question_file" --record "$record" "${limit[@]}" "$@" --out - >>"$data/$record.part"
  done
  # Passages of several files are told once.
  if [[ $record == scp ]]; then
    awk '!seen[$0]++' "$data/scp.part" >"$data/scp_once.part"
    mv "$data/scp_once.part" "$data/scp.part"
  fi
  mv "$data/$record.part" "$data/$record.jsonl"
}
rm -f "$data"/*.part
convert_all evaluation
convert_all tune
# Every passage, those of held-out questions too, to be told from its latents; long ones in parts that the compressor can read whole.
convert_all scp --doc-max-tokens "$doc_max_tokens" --overlap 0 --tokenizer "$model"
# Of 25 questions five are held out and one validates: the same of both records.
(($(wc -l <"$data/tune.jsonl") == $(wc -l <"$data/evaluation.jsonl"))) ||
  fail 3 "expected questions with documents in every row, found some without (clara-data convert drops these for tune)"
for record in tune evaluation; do
  name=${record/evaluation/joint}
  whole "$data/${name}_train.jsonl" awk 'NR % 5 != 0 && NR % 25 != 1' "$data/$record.jsonl"
  whole "$data/${name}_valid.jsonl" awk 'NR % 25 == 1' "$data/$record.jsonl"
done
whole "$data/own.jsonl" awk -v most="$held_out" 'NR % 5 == 0 && (most == 0 || ++n <= most)' "$data/evaluation.jsonl"

# train STAGE STEPS [OPTION...]: as configs/results_STAGE.yaml says, on the files of this folder.
train() {
  local stage=$1 max_steps=$2
  shift 2
  begin_phase "train $stage"
  if [[ -f $out/$stage/final/tokenizer.json ]]; then
    say "$out/$stage/final is there"
  else
    "$bin/clara-train" "$stage" --config "configs/results_$stage.yaml" --output "$out/$stage" --resume auto \
      --set "model.base=$model" --set "trainer.max_steps=$max_steps" "$@"
  fi
  [[ -z $python ]] || "$python" scripts/plot_run.py "$out/$stage"
}
# warm_up STEPS: the warm-up term lasts as long as the stage.
warm_up() { printf 'objective.latent_token_loss={weight: 0.3, steps: %d, target: document}' "$1"; }
pretraining="{path: $data/scp_questions.jsonl, weight: 8.0}, {path: $data/scp.jsonl}"
joint_data=(--set "data.train=[$data/joint_train.jsonl]" --set "data.validation=[$data/joint_valid.jsonl]"
  --set "objective.latent_cache_folder=$out/latents" --set "model.init_from=$out/tune/final")
train scp "$scp_steps" --set "data.train=[$pretraining]" --set "data.validation=[$data/scp_valid.jsonl]" \
  --set "model.init_from=${init_from#none}" --set "$(warm_up "$scp_steps")"
train tune "$tune_steps" --set "data.train=[$data/tune_train.jsonl]" --set "data.validation=[$data/tune_valid.jsonl]" \
  --set "model.init_from=$out/scp/final" --set "$(warm_up "$tune_steps")"
train joint "$joint_steps" "${joint_data[@]}"
train retriever "$joint_steps" "${joint_data[@]}"

begin_phase "indexes"
passages=(--corpus "$data/evaluation.jsonl")
[[ -d $out/index/bm25 ]] || "$bin/clara-data" index bm25 "${passages[@]}" --out "$out/index/bm25"
[[ -z $encoder || -d $out/index/dense ]] || "$bin/clara-data" index dense "${passages[@]}" --encoder "$encoder" --out "$out/index/dense"
[[ -d $out/index/latent ]] || "$bin/clara-data" index latent "${passages[@]}" --checkpoint "$out/joint/final" --out "$out/index/latent"

begin_phase "candidates from the whole corpus"
# corpus_of NAME: the file with what index NAME finds; all have one name, so that they are one benchmark in the report.
corpus_of() { printf '%s/candidates/%s/corpus.jsonl' "$data" "$1"; }
# search NAME OPTION...
search() {
  local file
  file=$(corpus_of "$1")
  shift
  mkdir -p "$(dirname "$file")"
  [[ -f $file ]] || "$bin/clara-data" candidates --data "$data/own.jsonl" --out "$file" "$@"
}
for index in "$out"/index/*; do
  search "$(basename "$index")" --index "$index"
done
[[ -z $reranker ]] || search reranked --index "$out/index/bm25" --rerank "$reranker"

begin_phase "evaluate"
results=()
# evaluate METHOD FILE SETTING OPTION...: "text" is read by the base model, what "tune" and "joint" read are latents.
evaluate() {
  local method=$1 file=$2 setting=$3 folder
  shift 3
  folder=$out/eval/$(tr -cs 'a-z0-9\n' _ <<<"${method,,} $(basename "$file" .jsonl) $setting")
  results+=("$method=$folder")
  [[ -f $folder/scores.json ]] ||
    "$bin/clara-eval" --data "$file" --setting "$setting" --max-new-tokens 16 --output "$folder" "$@"
}
tuned=(--checkpoint "$out/tune/final") joint=(--checkpoint "$out/joint/final") supervised=(--checkpoint "$out/retriever/final")
own=$data/own.jsonl corpus=$(corpus_of bm25)
# The passages that a question was published with.
evaluate "no document" "$own" normal "${tuned[@]}" --context none
evaluate "text, BM25" "$own" normal "${tuned[@]}" --select bm25 --context text
evaluate "tune, random" "$own" normal "${tuned[@]}" --select random
evaluate "tune, BM25" "$own" normal "${tuned[@]}" --select bm25
[[ -z $encoder ]] || evaluate "tune, dense" "$own" normal "${tuned[@]}" --select dense --encoder "$encoder"
[[ -z $reranker ]] || evaluate "tune, reranker" "$own" normal "${tuned[@]}" --select cross_encoder --encoder "$reranker"
evaluate "tune, compressor" "$own" normal "${tuned[@]}" --select query_reasoner
evaluate "tune, supervised" "$own" normal "${supervised[@]}"
evaluate "joint" "$own" normal "${joint[@]}"
# Twenty from the whole corpus, without and with the gold ones put in. The first five are BM25's best; with the gold ones put in it
# ranks the twenty, since "given" would put all gold ones into the prompt.
for setting in normal oracle; do
  evaluate "no document" "$corpus" "$setting" "${tuned[@]}" --context none
  bm25=(--select given)
  [[ $setting == normal ]] || bm25=(--select bm25)
  evaluate "text, BM25" "$corpus" "$setting" "${tuned[@]}" "${bm25[@]}" --context text
  evaluate "tune, BM25" "$corpus" "$setting" "${tuned[@]}" "${bm25[@]}"
  [[ -z $encoder ]] || evaluate "tune, dense" "$corpus" "$setting" "${tuned[@]}" --select dense --encoder "$encoder"
  [[ -z $reranker ]] || evaluate "tune, reranker" "$corpus" "$setting" "${tuned[@]}" --select cross_encoder --encoder "$reranker"
  evaluate "tune, compressor" "$corpus" "$setting" "${tuned[@]}" --select query_reasoner
  evaluate "tune, supervised" "$corpus" "$setting" "${supervised[@]}"
  evaluate "joint" "$corpus" "$setting" "${joint[@]}"
done
# The best of the whole corpus as other indexes see it.
[[ -z $encoder ]] || evaluate "text, dense index" "$(corpus_of dense)" normal "${tuned[@]}" --select given --context text
[[ -z $encoder ]] || evaluate "tune, dense index" "$(corpus_of dense)" normal "${tuned[@]}" --select given
[[ -z $reranker ]] || evaluate "text, reranked index" "$(corpus_of reranked)" normal "${tuned[@]}" --select given --context text
evaluate "joint, latent index" "$(corpus_of latent)" normal "${joint[@]}" --select given

begin_phase "analysis"
# analyze FILE KIND OPTION...: one look into a checkpoint, whose results are FILE in analysis/.
analyze() {
  local file=$1 kind=$2
  shift 2
  [[ -f $out/analysis/$file ]] || "$bin/clara-eval" analyze "$kind" --output "$out/analysis" "$@"
}
analyze logit_lens_compressor.json logit-lens "${joint[@]}" --adapter compressor --data "$own" --max-rows 100
analyze logit_lens_query_reasoner.json logit-lens "${joint[@]}" --data "$own" --max-rows 100
analyze latent_space.json latents --checkpoint "$out/scp/final" --data "$data/scp_valid.jsonl"
analyze gap.json gap --checkpoint "$out/scp/final" --data "$data/scp_valid.jsonl"
analyze paraphrase.json paraphrase --checkpoint "$out/scp/final" --data "$data/scp_valid.jsonl" --max-rows 40 --max-new-tokens 128
analyze efficiency.json efficiency "${joint[@]}" --data "$own" --max-rows 8
[[ -z $python ]] || "$python" scripts/plot_analysis.py "$out/analysis"

end_phase
printf '\n'
"$bin/clara-eval" report "${results[@]}" --protocol best --baseline "no document" --out "$out/report"
printf '\nTime:\n'
print_phases
