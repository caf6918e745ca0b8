#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs cmocka programs one after the other; ends with `N passed, N failed`.
# A program that dies without a count is one failure: silence is not success.
pass=0 fail=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
for t in "$@"; do
	timeout 300 "$t" >"$log" 2>&1
	rc=$?
	p=$(grep -c '^\[       OK \]' "$log")
	# cmocka names each failure twice: as it happens and in the summary.
	f=$(grep '^\[  FAILED  \] [a-zA-Z0-9_]*$' "$log" | sort -u | wc -l)
	if [ "$rc" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
	if [ "$rc" -eq 0 ] && [ "$p" -eq 0 ]; then f=1; fi
	pass=$((pass + p)) fail=$((fail + f))
	if [ "$f" -ne 0 ]; then
		echo "FAIL $t (exit $rc)"
		tail -n 60 "$log"
	else
		echo "ok   $t ($p)"
	fi
done
echo "$pass passed, $fail failed"
[ "$fail" -eq 0 ]
