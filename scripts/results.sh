#!/usr/bin/env bash
# Results on real text (docs/results.md): published questions become records, their passages a corpus with
# BM25, dense and latent indexes; scp, tune and joint train on a split by question; held-out questions are answered by every
# method, from their own candidates and from the whole corpus. Run it again at any time: it does only what is missing.
set -euo pipefail

project=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lib_output.sh
source "$project/scripts/lib_output.sh"

usage() {
  cat <<'TEXT'
usage: scripts/results.sh --scp-rows FILE --questions FILE... [options]
  --scp-rows FILE      first-stage rows (apple/ml-clara's pretrain_data.jsonl): the last 100 are held out
  --questions FILE...  published training files of HotpotQA, 2WikiMultihopQA, MuSiQue
  --encoder DIR        sentence encoder of the dense baseline (BGE, MiniLM); without it there is none
  --reranker DIR       cross-encoder that orders BM25's best 100 of the corpus anew; without it there is no such baseline
  --rows N             questions read of each file (default 0: all); every fifth is held out
  --held-out N         held-out questions that are answered (default 0: all)
  --steps S,T,J        steps of scp, tune and joint (default 150,60,60)
  --out DIR            default runs/results
  --base DIR           base model (default models/smollm2-135m)
  --programs DIR       where clara-train, clara-eval and clara-data are (default build/release/bin)
TEXT
}

scp_rows='' questions=() encoder='' reranker='' rows=0 held_out=0 steps=150,60,60
out=$project/runs/results model=$project/models/smollm2-135m bin=$project/build/release/bin
# Paths are those of the caller's folder.
while (($#)); do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --scp-rows | --encoder | --reranker | --rows | --held-out | --steps | --out | --base | --programs | --questions)
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
    --steps) steps=$2 ;;
    --out) out=$(realpath -m -- "$2") ;;
    --base) model=$(realpath -m -- "$2") ;;
    --programs) bin=$(realpath -m -- "$2") ;;
  esac
  shift 2
done
[[ -n $scp_rows && ${#questions[@]} -gt 0 ]] || { usage >&2; fail 2 "--scp-rows and --questions are needed"; }
[[ $rows =~ ^[0-9]+$ ]] || fail 2 "--rows: expected a number, found $rows"
[[ $held_out =~ ^[0-9]+$ ]] || fail 2 "--held-out: expected a number, found $held_out"
[[ $steps =~ ^[1-9][0-9]*,[1-9][0-9]*,[1-9][0-9]*$ ]] || fail 2 "--steps: expected three numbers as in 150,60,60, found $steps"
IFS=, read -r scp_steps tune_steps joint_steps <<<"$steps"
for file in "$scp_rows" "${questions[@]}"; do
  [[ -f $file ]] || fail 3 "$file: no such file"
done
for folder in "$model" ${encoder:+"$encoder"} ${reranker:+"$reranker"}; do
  [[ -f $folder/config.json ]] || fail 3 "$folder: expected a model's folder with its config.json"
done
python=$project/.venv/bin/python
[[ -x $python ]] || { python=''; warn "no pictures of the runs: $project/.venv is missing (scripts/install_deps.sh)"; }

cd "$project"
trap 'printf "error: stopped in phase: %s\n" "${phase_names[-1]:-start}" >&2' ERR
data=$out/data
for program in clara-train clara-eval clara-data; do
  [[ -x $bin/$program ]] || fail 3 "$bin/$program is missing: run scripts/quickstart.sh or scripts/test.sh first"
done
mkdir -p "$data"

# whole FILE COMMAND...: the command's output becomes FILE, whole or not at all; a FILE that is there stays.
whole() {
  local file=$1
  shift
  [[ -f $file ]] && return
  "$@" >"$file.part"
  mv "$file.part" "$file"
}

begin_phase "records"
whole "$data/scp_train.jsonl" head -n -100 "$scp_rows"
whole "$data/scp_valid.jsonl" tail -n 100 "$scp_rows"
limit=()
((rows == 0)) || limit=(--max-rows "$rows")
for record in evaluation tune; do
  [[ -f $data/$record.jsonl ]] && continue
  files=()
  for question_file in "${questions[@]}"; do
    files+=("$data/$record.$(basename "$question_file").jsonl")
    "$bin/clara-data" convert --data "$question_file" --record "$record" "${limit[@]}" --force --out "${files[-1]}"
  done
  whole "$data/$record.jsonl" cat "${files[@]}"
  rm "${files[@]}"
done
whole "$data/tune_train.jsonl" awk 'NR % 5 != 0' "$data/tune.jsonl"
whole "$data/joint_train.jsonl" awk 'NR % 5 != 0' "$data/evaluation.jsonl"
whole "$data/held_out.jsonl" awk -v most="$held_out" 'NR % 5 == 0 && (most == 0 || ++n <= most)' "$data/evaluation.jsonl"

# train STAGE STEPS [OPTION...]: with the quickstart's settings, but for longer documents and plain data.
train() {
  local stage=$1 max_steps=$2
  shift 2
  begin_phase "train $stage"
  if [[ -f $out/$stage/final/tokenizer.json ]]; then
    say "$out/$stage/final is there"
  else
    "$bin/clara-train" "$stage" --config "configs/quickstart_$stage.yaml" --output "$out/$stage" --resume auto \
      --set "model.base=$model" \
      --set model.compression_rate=16 --set model.doc_max_tokens=128 --set trainer.max_sequence_tokens=1024 \
      --set "trainer.max_steps=$max_steps" --set trainer.rows_per_step=8 --set "data.train=[$data/${stage}_train.jsonl]" \
      --set data.validation="[$data/${stage}_valid.jsonl]" --set "trainer.validate_every_steps=$max_steps" \
      --set "output.save_every_steps=$max_steps" "$@"
  fi
  [[ -z $python ]] || "$python" scripts/plot_run.py "$out/$stage"
}
whole "$data/tune_valid.jsonl" awk 'NR % 25 == 1' "$data/tune_train.jsonl"
whole "$data/joint_valid.jsonl" awk 'NR % 25 == 1' "$data/joint_train.jsonl"
train scp "$scp_steps" --set "objective.latent_token_loss={weight: 1.0, steps: $scp_steps, only_steps: $((scp_steps / 3))}"
train tune "$tune_steps" --set "model.init_from=$out/scp/final" \
  --set "objective.latent_token_loss={weight: 0.3, steps: $tune_steps, target: document}"
train joint "$joint_steps" --set "model.init_from=$out/tune/final" --set objective.num_selected=5 \
  --set "output.keep_best={metric: validation/recall@5, mode: max}"

begin_phase "indexes"
corpus=(--corpus "$data/evaluation.jsonl")
[[ -d $out/index/bm25 ]] || "$bin/clara-data" index bm25 "${corpus[@]}" --out "$out/index/bm25"
[[ -z $encoder || -d $out/index/dense ]] || "$bin/clara-data" index dense "${corpus[@]}" --encoder "$encoder" --out "$out/index/dense"
[[ -d $out/index/latent ]] || "$bin/clara-data" index latent "${corpus[@]}" --checkpoint "$out/joint/final" --out "$out/index/latent"

begin_phase "candidates from the whole corpus"
for index in "$out"/index/*; do
  found=$data/corpus_$(basename "$index").jsonl
  [[ -f $found ]] || "$bin/clara-data" candidates --data "$data/held_out.jsonl" --index "$index" --out "$found"
done
reranked=$data/corpus_reranked.jsonl
[[ -z $reranker || -f $reranked ]] ||
  "$bin/clara-data" candidates --data "$data/held_out.jsonl" --index "$out/index/bm25" --rerank "$reranker" --out "$reranked"

begin_phase "evaluate"
methods=()
# evaluate NAME DATA [OPTION...]
evaluate() {
  local name=$1 file=$2 folder
  shift 2
  folder=$out/eval/$(tr -cs 'a-z0-9\n' _ <<<"${name,,}")
  methods+=("$name=$folder")
  [[ -f $folder/scores.json ]] || "$bin/clara-eval" --data "$file" --max-new-tokens 16 --output "$folder" "$@"
}
tuned=(--checkpoint "$out/tune/final") joint=(--checkpoint "$out/joint/final")
candidates=$data/held_out.jsonl
evaluate "no document" "$candidates" "${joint[@]}" --context none
evaluate "text, BM25's 5" "$candidates" "${joint[@]}" --select bm25 --context text
evaluate "latents of tune, BM25's 5" "$candidates" "${tuned[@]}" --select bm25
evaluate "latents of tune, random 5" "$candidates" "${tuned[@]}" --select random
evaluate "latents of joint" "$candidates" "${joint[@]}"
evaluate "latents of joint, Oracle" "$candidates" "${joint[@]}" --setting oracle
evaluate "corpus: BM25, text" "$data/corpus_bm25.jsonl" "${joint[@]}" --select given --context text
evaluate "corpus: BM25, latents" "$data/corpus_bm25.jsonl" "${joint[@]}" --select given
if [[ -n $encoder ]]; then
  evaluate "corpus: dense, text" "$data/corpus_dense.jsonl" "${joint[@]}" --select given --context text
fi
if [[ -n $reranker ]]; then
  evaluate "corpus: BM25 reranked, text" "$reranked" "${joint[@]}" --select given --context text
fi
evaluate "corpus: latent index, latents" "$data/corpus_latent.jsonl" "${joint[@]}" --select given

end_phase
printf '\n'
"$bin/clara-eval" report "${methods[@]}" --protocol best --baseline "no document" --out "$out/report"
printf '\nTime:\n'
print_phases
