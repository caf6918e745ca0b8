# SPDX-License-Identifier: Apache-2.0
"""docs/rules.md tells which test shows which rule, and every rule has one."""
import re

from tests.lib import rules


def test_every_rule_has_a_test_and_the_page_says_which():
    found = rules.tests()
    assert [r for r in rules.RULES if r not in found] == sorted(rules.WITHOUT)
    with open(rules.ROOT + "/docs/rules.md") as f:
        rows = dict(re.findall(r"^\| ([0-9.]+) \| (.*) \|$", f.read(), re.M))
    assert sorted(rows) == sorted(rules.RULES)
    for rule, named in rows.items():
        gone = [t for t in named.split("<br>") if not t.startswith("none: ") and t not in found.get(rule, [])]
        assert gone == [], "python3 -m tests.lib.rules > docs/rules.md"
