# SPDX-License-Identifier: Apache-2.0
"""The recipes of docs/, as they are printed there: a test that runs one runs what
administrators will copy."""
import os

from .relay import ROOT


def blocks(name):
    """The fenced blocks of docs/NAME, in order."""
    with open(os.path.join(ROOT, "docs", name)) as f:
        return f.read().split("```\n")[1::2]


def recipe(name, *words):
    """The one block with all these words in it."""
    (found,) = [b for b in blocks(name) if all(w in b for w in words)]
    return found


def adapt(text, *changes):
    """`text` with each (old, new) exchanged; what is not there has left the recipe."""
    for old, new in changes:
        assert old in text, "the recipe has no %r:\n%s" % (old, text)
        text = text.replace(old, new)
    return text
