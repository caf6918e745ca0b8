# SPDX-License-Identifier: Apache-2.0
"""Thousands of generated cases against other implementations, which are no measure each
but have other mistakes than we."""
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_spf_against_pyspf_7208():
    """4,000 zones, good and broken; tests/policy/spf_diff.py says where pyspf is wrong."""
    subprocess.run(["make", "-s", "build/tests/policy/spf_test"], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL)
    r = subprocess.run(["/usr/bin/python3", "tests/policy/spf_diff.py",
                        "build/tests/policy/spf_test", "4000", "4408"], cwd=ROOT,
                       capture_output=True, text=True, timeout=120)
    assert r.returncode == 0 and "4000 compared, 0 differ" in r.stdout, r.stdout[-4000:] + r.stderr
