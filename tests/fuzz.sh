#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fuzz.sh SECONDS TARGET...: runs each libFuzzer target so long (0: only its corpus
# again). Ends with `N passed, N failed`; a finding's input stays in build-fuzz/.
seconds=$1 pass=0 fail=0
shift
for t in "$@"; do
	name=$(basename "$t" _fuzz)
	seeds=tests/fuzz/corpus/$name
	learnt=build-fuzz/corpus/$name
	mkdir -p "$learnt"
	log=build-fuzz/$name.log
	if [ "$seconds" -eq 0 ]; then how="-runs=0"; else how="-max_total_time=$seconds"; fi
	if [ ! -d "$seeds" ]; then
		fail=$((fail + 1))
		echo "FAIL $name: no seeds in $seeds"
		continue
	fi
	# shellcheck disable=SC2086
	if "$t" $how -timeout=10 -rss_limit_mb=2048 -max_len=65536 -artifact_prefix="build-fuzz/$name-" \
	    "$learnt" $seeds >"$log" 2>&1; then
		pass=$((pass + 1))
		echo "ok   $name: $(grep -oE '#[0-9]+' "$log" | tail -n 1 | tr -d '#') runs"
	else
		fail=$((fail + 1))
		echo "FAIL $name"
		tail -n 30 "$log"
	fi
done
echo "$pass passed, $fail failed"
[ "$fail" -eq 0 ]
