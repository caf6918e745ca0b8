#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every test, suite by suite; the last line is `N passed, N failed`.
cd "$(dirname "$0")/.." || exit 1
pass=0 fail=0 skip=0 summary=
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

# suite NAME COMMAND...: counts from the suite's own last line.
suite() {
	name=$1
	shift
	echo "== $name"
	began=$(date +%s)
	"$@" >"$log" 2>&1
	rc=$?
	if [ "${VERBOSE-}" ] || [ $rc -ne 0 ]; then cat "$log"; else grep -E '^(ok|FAIL) ' "$log"; fi
	line=$(grep -E '[0-9]+ (passed|failed|skipped)' "$log" | tail -n 1)
	p=$(echo "$line" | grep -oE '[0-9]+ passed' | cut -d' ' -f1)
	f=$(echo "$line" | grep -oE '[0-9]+ (failed|errors?)' | awk "{ n += \$1 } END { print n + 0 }")
	s=$(echo "$line" | grep -oE '[0-9]+ skipped' | cut -d' ' -f1)
	[ $rc -eq 0 ] || [ "${f:-0}" -gt 0 ] || f=1
	[ "${p:-0}" -gt 0 ] || [ "${f:-0}" -gt 0 ] || f=1
	pass=$((pass + ${p:-0})) fail=$((fail + ${f:-0})) skip=$((skip + ${s:-0}))
	summary="$summary$(printf '%-34s %5d passed %4d failed %4d skipped %5ds' "$name" "${p:-0}" \
	    "${f:-0}" "${s:-0}" $(($(date +%s) - began)))
"
}

jobs=$(nproc)
suite "unit and wire tests" make -s -j"$jobs" check
suite "unit and wire tests, ASan+UBSan" make -s -j"$jobs" check SAN=1
suite "fuzz corpora again" make -s -j"$jobs" fuzz-replay
# Most of these wait for clocks and peers: some at a time. Those that measure run alone.
alone="tests/e2e/test_flood.py tests/e2e/test_scale.py"
others=$(ls tests/e2e/test_*.py | grep -vxF "$(echo $alone | tr ' ' '\n')")
pytest="/usr/bin/python3 -m pytest -q -p no:cacheprovider -rs"
# shellcheck disable=SC2086
suite "end to end" $pytest -n $((jobs + 1)) $others
# shellcheck disable=SC2086
suite "end to end, floods and size" $pytest $alone
echo
printf '%s' "$summary"
[ $skip -eq 0 ] || echo "$skip skipped: the reasons are in the lines above"
echo "$pass passed, $fail failed"
[ $fail -eq 0 ]
