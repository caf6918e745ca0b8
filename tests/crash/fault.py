# SPDX-License-Identifier: Apache-2.0
"""fault.so from a script: rules that strike the queue role's calls on its files, set
and lifted while the relay runs (tests/crash/fault.h has the layout)."""
import errno
import mmap
import os
import struct
import subprocess

from tests.lib import relay as relay_lib

CALLS = ["write", "sync", "open", "rename", "unlink", "truncate", "allocate", "read", "mkdir",
         "statvfs"]
FILES = ["log", "prg", "idx", "dir", "other"]
FLAGS = {"torn": 1, "noop": 2, "after": 4}
MAGIC = 0x31544c5541465053
HEAD, RULE, RULES = 16 + 8 * len(CALLS), 80, 16


def shared_object():
    """Beside the binary under test; made when its source is newer."""
    out = os.path.join(os.path.dirname(os.path.abspath(relay_lib.BINARY)), "tests/crash/fault.so")
    subprocess.run(["make", "-s", "O=" + os.path.dirname(os.path.abspath(relay_lib.BINARY)), out],
                   cwd=relay_lib.ROOT, check=True, stdout=subprocess.DEVNULL)
    return out


class Fault:
    """One page of rules. `env` is what the relay must be started with."""

    def __init__(self, folder, record=False):
        self.path = os.path.join(str(folder), "fault.page")
        with open(self.path, "wb") as f:
            f.write(struct.pack("<Q", MAGIC) + bytes(HEAD - 8 + RULE * RULES))
        os.chmod(self.path, 0o666)
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)
        self.env = {"LD_PRELOAD": shared_object(), "FAULT_CONTROL": self.path}
        self.record = os.path.join(str(folder), "fault.record") if record else None
        if record:
            self.env["FAULT_RECORD"] = self.record

    def start(self, relay, **kw):
        """The relay with the shim in its roles; the environment of this process is
        as before afterwards."""
        old = {k: os.environ.get(k) for k in self.env}
        os.environ.update(self.env)
        try:
            relay.start(wait=False)
        finally:
            for k, v in old.items():
                if v is None:
                    del os.environ[k]
                else:
                    os.environ[k] = v
        relay.wait_ready(**kw)
        return relay

    def _at(self, slot, member):
        return HEAD + slot * RULE + 8 * member

    def _get(self, slot, member):
        return struct.unpack_from("<Q", self.map, self._at(slot, member))[0]

    def set(self, calls, files=FILES, error=0, slot=0, skip=0, count=0, delay=0.0, flags=()):
        """From now on: `calls` on `files` fail with `error` (a name of errno), or take
        `delay` seconds longer."""
        self.lift(slot)
        calls, files = [calls] if isinstance(calls, str) else calls, \
            [files] if isinstance(files, str) else files
        number = getattr(errno, error) if error else 0
        values = [sum(1 << CALLS.index(c) for c in calls), sum(1 << FILES.index(f) for f in files),
                  skip, count, number, int(delay * 1e6), sum(FLAGS[f] for f in flags), 0, 0]
        struct.pack_into("<9Q", self.map, self._at(slot, 1), *values)
        struct.pack_into("<Q", self.map, self._at(slot, 0), 1)

    def lift(self, slot=None):
        for i in range(RULES) if slot is None else [slot]:
            struct.pack_into("<Q", self.map, self._at(i, 0), 0)

    def hits(self, slot=0):
        return self._get(slot, 9)

    def done(self, call):
        """Calls on files so far, whether hit or not."""
        return struct.unpack_from("<Q", self.map, 16 + 8 * CALLS.index(call))[0]
