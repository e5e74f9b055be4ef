# Which tests were skipped and why: awk -f skipped_tests.awk CTEST_OUTPUT LastTest.log
# A program that ended with 77 is listed with its line "skipped: ..."; reasons that GoogleTest and
# Python's unittest (with -v) printed, each once with the number of tests.

# What ctest printed: the names.
FNR == NR {
  if ($0 ~ /\*\*\*Skipped/) {
    name = $0
    sub(/^ *[0-9]+\/[0-9]+ +Test +#[0-9]+: /, "", name)
    sub(/ *\.*\*\*\*Skipped.*/, "", name)
    is_skipped[name] = 1
  }
  next
}

/^[0-9]+\/[0-9]+ Testing: / {
  tell_without_reason()
  name = $0
  sub(/^[0-9]+\/[0-9]+ Testing: /, "", name)
  wants_reason = name in is_skipped
  reason_follows = 0
}
reason_follows {
  count[$0]++
  reason_follows = 0
  wants_reason = 0
}
/: Skipped$/ { reason_follows = 1 }
!/^Command: / && / \.\.\. skipped ['"].*['"]$/ {
  reason = $0
  sub(/^.* \.\.\. skipped ['"]/, "", reason)
  count[substr(reason, 1, length(reason) - 1)]++
}
wants_reason && /^skipped: / {
  print "  " name ": " substr($0, length("skipped: ") + 1)
  wants_reason = 0
}
END {
  tell_without_reason()
  for (reason in count) printf "  %d: %s\n", count[reason], reason
}

function tell_without_reason() {
  if (wants_reason) print "  " name ": skipped, no reason was printed"
  wants_reason = 0
}
