# SPDX-License-Identifier: Apache-2.0
"""Which test shows which rule of the forwarding specification (sections 0 to 7 and 9): a test
belongs to a rule when its name has the number, as in test_spec_2_3_10_receipts or munge_7_3.
`python3 -m tests.lib.rules` prints docs/rules.md; tests/e2e/test_rules.py keeps it true."""
import glob
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LAST = {"0": (1, 5), "1.1": (1, 5), "1.2": (1, 14), "1.3": (1, 3), "1.4": (1, 4), "2.1": (1, 3), "2.2": (1, 6),
        "2.3": (1, 10), "3": (1, 17), "4": (1, 5), "5": (0, 9), "6": (1, 10), "7": (1, 7), "9": (1, 5)}
RULES = ["%s.%d" % (s, n) for s, (a, b) in LAST.items() for n in range(a, b + 1)]
# What no test of the program can show.
WITHOUT = {}

HEAD = """# Rules and their tests

Each rule of the forwarding specification, sections 0 to 7 and 9, and the tests that have its number in their name. Made by
`python3 -m tests.lib.rules > docs/rules.md`; tests/e2e/test_rules.py fails when a test named here
is gone or a rule has none.

| rule | tests |
|---|---|
"""


def tests():
    """{rule: ["file: test", ...]}"""
    found = {}
    for path in sorted(glob.glob(ROOT + "/tests/*/*_test.c") + glob.glob(ROOT + "/tests/e2e/test_*.py")):
        with open(path, errors="replace") as f:
            text = f.read()
        form = r"^def (test_\w+)\(" if path.endswith(".py") else r"^static void\n(\w+)\(void \*\*"
        for name in re.findall(form, text, re.M):
            for number in re.findall(r"(?<![0-9a-z])(\d+(?:_\d+)+)(?![0-9])", name):
                found.setdefault(number.replace("_", "."), []).append(
                    "%s: %s" % (os.path.relpath(path, ROOT + "/tests"), name))
    return found


def page():
    found = tests()
    return HEAD + "".join("| %s | %s |\n" % (r, "<br>".join(found.get(r, [])) or "none: " + WITHOUT.get(r, "?"))
                          for r in RULES)


if __name__ == "__main__":
    print(page(), end="")
