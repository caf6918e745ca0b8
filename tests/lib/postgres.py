# SPDX-License-Identifier: Apache-2.0
"""Debian's PostgreSQL as a provider's user database: a cluster of its own in a folder, reached
through a unix socket only, run by somebody who is not root, for it refuses root."""
import glob
import os
import shutil
import signal
import subprocess
import time


def postgres_folder():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
    assert found, "PostgreSQL is not installed: packaging/deps.sh test"
    return os.path.dirname(found[-1])


class Postgres:
    """`owner` runs it and is its superuser; the socket is in `base`."""

    def __init__(self, folder, owner="nobody"):
        self.bin, self.base = postgres_folder(), os.path.join(folder, "postgres")
        os.mkdir(self.base)
        os.chmod(self.base, 0o755)
        self.runas = []
        if os.getuid() == 0:
            shutil.chown(self.base, owner)
            self.runas = ["runuser", "-u", owner, "--"]
        self.data, self.process = os.path.join(self.base, "data"), None
        self._run([self.bin + "/initdb", "-D", self.data, "-A", "peer", "-N", "-E", "UTF8", "--locale=C"])

    def _run(self, command, **kw):
        r = subprocess.run(self.runas + command, capture_output=True, text=True, timeout=60,
                           cwd=self.base, **kw)
        assert r.returncode == 0, (command, r.stdout, r.stderr)
        return r.stdout

    def start(self):
        log = open(os.path.join(self.base, "log"), "ab")
        settings = ["listen_addresses=", "unix_socket_directories=" + self.base, "fsync=off",
                    "max_connections=10", "shared_buffers=1MB"]
        command = [self.bin + "/postgres", "-D", self.data]
        for s in settings:
            command += ["-c", s]
        # Without runuser between us and it: its pid is the one to be stopped.
        who = ["setpriv", "--reuid=" + self.runas[2], "--regid=nogroup", "--clear-groups"] if self.runas else []
        self.process = subprocess.Popen(who + command, cwd=self.base, stdout=log, stderr=log)
        log.close()
        end = time.monotonic() + 30
        while subprocess.run([self.bin + "/pg_isready", "-q", "-h", self.base]).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("postgres does not answer:\n" + self.log())
            time.sleep(0.05)
        return self

    def log(self):
        with open(os.path.join(self.base, "log"), errors="replace") as f:
            return f.read()

    def sql(self, text, database="mail"):
        return self._run([self.bin + "/psql", "-X", "-q", "-h", self.base, "-d", database, "-v",
                          "ON_ERROR_STOP=1", "-f", "-"], input=text)

    def stop(self):
        """A fast shutdown, as pg_ctl stop does it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
