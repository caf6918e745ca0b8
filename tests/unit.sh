#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs cmocka programs, as many at once as there are cores; ends with `N passed, N failed`.
# A program that dies without a count is one failure: silence is not success.
if [ "$1" = --one ]; then
	log=$(mktemp) || exit 1
	timeout 300 "$3" >"$log" 2>&1
	rc=$?
	p=$(grep -c '^\[       OK \]' "$log")
	# cmocka names each failure twice: as it happens and in the summary.
	f=$(grep '^\[  FAILED  \] [a-zA-Z0-9_]*$' "$log" | sort -u | wc -l)
	if [ "$rc" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
	if [ "$rc" -eq 0 ] && [ "$p" -eq 0 ]; then f=1; fi
	echo "$p $f" >>"$2/counts"
	if [ "$f" -ne 0 ]; then
		printf 'FAIL %s (exit %s)\n%s\n' "$3" "$rc" "$(tail -n 60 "$log")"
	else
		printf 'ok   %s (%s)\n' "$3" "$p"
	fi
	rm -f "$log"
	exit 0
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 "$0" --one "$dir"
total=$(awk '{ p += $1; f += $2; n++ } END { print p + 0, f + 0, n + 0 }' "$dir/counts")
# shellcheck disable=SC2086
set -- $# $total
[ "$4" -eq "$1" ] || set -- "$1" "$2" $(($3 + $1 - $4))
echo "$2 passed, $3 failed"
[ "$3" -eq 0 ]
