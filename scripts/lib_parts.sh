# shellcheck shell=bash
# Training on parts of documents before whole ones, as quickstart.sh --from-scratch and comparisons.sh do. It only defines functions and
# a table; $bin, $data and $model are the caller's.
# shellcheck disable=SC2154

# A compressor learns to write parts of a few tokens first, and the generator to read them: one token a memory token at first, or the eight
# that clara-data chunk makes at least, then parts twice as long each time, of less than a whole document's tokens.
declare -A parts_of_documents=()
part_runs=()
# plan_parts RATE FIRST NEXT: the runs of a compression rate, of documents of at most 64 tokens, in their order into part_runs, and their
# steps, the weight of the latent token loss and the steps that it trains alone into parts_of_documents. FIRST are the steps of the first
# run, up to thirty of them alone (a run of 60, fifteen alone, did not begin to read), NEXT those of each later one.
plan_parts() {
  local rate=$1 first=$2 next=$3 tokens
  part_runs=() parts_of_documents=()
  tokens=$((64 / rate))
  for ((tokens = tokens < 8 ? 8 : tokens; tokens < 64; tokens *= 2)); do
    parts_of_documents[scp_$tokens]="$next 0.3 0"
    ((${#part_runs[@]})) || parts_of_documents[scp_$tokens]="$first 1.0 $((first < 60 ? first / 2 : 30))"
    part_runs+=("scp_$tokens")
  done
}

# tell_parts SPLIT TOKENS: the documents of a split's scp rows in parts of at most so many tokens, each a row that tells the part.
tell_parts() {
  local file=$data/scp_$1_$2.jsonl
  [[ -f $file ]] ||
    "$bin/clara-data" chunk --data "$data/scp_$1.jsonl" --tokenizer "$model" --record scp --max-tokens "$2" --output "$file"
}

# set_part_options RUN: puts what such a run changes of the config of scp into the array part_options; nothing for another run. Makes
# its data where they are missing.
set_part_options() {
  part_options=()
  [[ -v parts_of_documents[$1] ]] || return 0
  local tokens=${1#scp_} steps weight only_steps
  read -r steps weight only_steps <<<"${parts_of_documents[$1]}"
  tell_parts train "$tokens"
  tell_parts valid "$tokens"
  # The caller reads it.
  # shellcheck disable=SC2034
  part_options=(--set "data.train=[$data/scp_train_$tokens.jsonl]" --set "data.validation=[$data/scp_valid_$tokens.jsonl]"
    --set "trainer.max_steps=$steps" --set "trainer.validate_every_steps=10"
    --set "objective.latent_token_loss={weight: $weight, steps: $steps, only_steps: $only_steps, target: span}")
}
