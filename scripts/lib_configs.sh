# shellcheck shell=bash
# What scripts take from the configs that they run, so that a value stands in one place; $project is the caller's.
# shellcheck disable=SC2154

# model_setting CONFIG NAME: a scalar of the section "model" of a file in configs/.
model_setting() {
  sed -n "/^model:/,/^[^ ]/s/^  $2: //p" "$project/configs/$1"
}
