# shellcheck shell=bash
# shellcheck disable=SC2154 # lab/lib.sh, sourced before it, sets the names used here
# Reads what the steps left: $results/TIME-NAME with "name rc seconds", and $log_dir/NAME.log.

# Sum of "N passed" (failed, errors, skipped) over the closing lines of one log: pytest's, and "NAME: N passed, N failed".
test_counts() {
  sed -nE 's/\x1b\[[0-9;]*m//g; s/ in: .*//; /^=+ .* in [0-9.]+s.*=+$|^[a-z0-9]+: [0-9]+ passed, [0-9]+ failed/p' "$1" | awk '
    {
      for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) passed += $(i - 1)
        if ($i ~ /^(failed|error)/) failed += $(i - 1)
        if ($i ~ /^skipped/) skipped += $(i - 1)
      }
    }
    END { print passed + 0, failed + 0, skipped + 0 }'
}

# Where Molecule did less than the scenario says, and still calls it a success.
molecule_skipped() { grep -iEm1 'no tests found|missing playbook' "$1"; }

# Prints the table; its last line counts single tests where a step reports them, and the step itself
# otherwise. False if anything failed, or if nothing ran.
summary() {
  local file name rc seconds passed=0 failed=0 skipped=0 p f s
  printf '\n%-30s %8s %8s %8s %8s\n' step seconds passed failed skipped
  for file in "$results"/*; do
    [[ -e $file ]] || continue
    read -r name rc seconds <"$file"
    read -r p f s < <(test_counts "$log_dir/$name.log")
    if ((rc == 0 && p + f + s == 0)); then p=1; fi
    # A step that failed counts so even if every test in it passed; failed tests count whatever the step says.
    if ((rc != 0 && f == 0)); then f=1; fi
    printf '%-30s %8s %8s %8s %8s\n' "$name" "$seconds" "$p" "$f" "$s"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  done
  printf '\ntook %s s; logs are in %s\n' "$SECONDS" "${log_dir#"$lab_root"/}"
  printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
  ((failed == 0 && passed > 0))
}
