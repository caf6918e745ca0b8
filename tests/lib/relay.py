# SPDX-License-Identifier: Apache-2.0
"""The relay under test: a configuration with loopback ports in a folder of its
own, `salvaposta run` as a child, and the command line as an administrator has it."""
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import time

from .ports import free_port

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("SALVAPOSTA", os.path.join(ROOT, "build", "salvaposta"))

CONF = """
hostname = "mx2.relay.example"
state-dir = "{state}"
listen "127.0.0.1:{port}" {{ }}
resolver = {{ "127.0.0.1:{dns}" }}
smtp-port = {out_port}
deliver-to-loopback = yes
disk-reserve = 1M
retry-min = 1s
retry-max = 2s
sandbox = kill
replay-step = 1s
replay-grace = {grace}
mailbox-burst-max = 1000000
mailbox-day-max = 1000000
volume-start = {volume}
{top}
forwarder {{
    domain = "fwd.relay.example"
    secret-file = "{folder}/secret"
    node = "n1"
    {forwarder}
}}
domain "{domain}" {{
    primary = "{primary}"
    {in_domain}
}}
{more}
"""


class Relay:
    def __init__(self, folder, primary, dns, out_port, domain="shop.example", top="", more="",
                 in_domain="", forwarder="", port=None, notices=False):
        self.folder, self.domain = str(folder), domain
        self.state = os.path.join(self.folder, "state")
        self.conf = os.path.join(self.folder, "relay.conf")
        self.log_file = os.path.join(self.folder, "relay.log")
        self.port = port or free_port()
        self.process, self.prefix = None, []    # prefix: what it is started through
        self.notices = notices      # to users (spec 12.3): one more message before the first copy
        os.makedirs(self.folder, exist_ok=True)
        if os.getuid() == 0:
            # The roles give root up; they must be able to reach their folders.
            os.chmod(self.folder, 0o755)
        with open(os.path.join(self.folder, "secret"), "w") as f:
            f.write("correct-horse-battery\n")
        os.chmod(os.path.join(self.folder, "secret"), 0o600)
        self.values = dict(state=self.state, port=self.port, dns=dns, out_port=out_port, top=top,
                           folder=self.folder, domain=domain, primary=primary, more=more,
                           in_domain=in_domain, forwarder=forwarder, grace="0s", volume=0)
        self.write_conf()

    def write_conf(self, **changes):
        self.values.update(changes)
        text = CONF.format(**self.values)
        if not self.notices:
            text = re.sub(r'(?m)^(domain "[^"]+" \{)', r'\1\n    user-notice = off\n   ', text)
        with open(self.conf, "w") as f:
            f.write(text)

    def command(self, *words, check=True, json_out=True, timeout=60):
        """A subcommand; its JSON (or text), or CalledProcessError with both outputs."""
        line = [BINARY, words[0], "-c", self.conf] + list(words[1:])
        if json_out:
            line.append("--json")
        r = subprocess.run(line, capture_output=True, text=True, timeout=timeout)
        if check and r.returncode != 0:
            raise AssertionError("%s: exit %d\n%s%s" % (line, r.returncode, r.stdout, r.stderr))
        if not check:
            return r
        return json.loads(r.stdout) if json_out else r.stdout

    def import_users(self, rows, header="address,recovery", *words):
        path = os.path.join(self.folder, "users.csv")
        with open(path, "w") as f:
            f.write(header + "\n" + "".join(r + "\n" for r in rows))
        return self.command("users", "import", path, *words, json_out=False)

    def start(self, wait=True):
        self.log_handle = open(self.log_file, "ab")
        self.process = subprocess.Popen(self.prefix + [BINARY, "run", "-c", self.conf],
                                        stdout=self.log_handle, stderr=self.log_handle)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout=20):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError("the relay did not start:\n" + self.log())
            r = self.command("status", check=False)
            if r.returncode == 0 and all(x["ready"] for x in json.loads(r.stdout)["roles"]):
                return
            time.sleep(0.05)
        raise AssertionError("the relay is not ready:\n" + self.log())

    def log(self):
        return open(self.log_file, errors="replace").read()

    def log_hash(self, name):
        """As the relay writes names into its log that are nobody's to read (P4)."""
        with open(os.path.join(self.state, "log.key"), "rb") as f:
            key = hashlib.sha256(f.read(32)).digest()
        return hmac.new(key, name.lower().encode(), "sha256").hexdigest()[:12]

    def status(self):
        return self.command("status")

    def roles(self, name=None):
        return [r for r in self.status()["roles"] if name in (None, r["role"])]

    def balance(self, domain=None):
        for d in self.status()["domains"]:
            if d["domain"] == (domain or self.domain):
                return d
        return None

    def wait_balance(self, timeout=30, domain=None, **want):
        end = time.monotonic() + timeout
        while True:
            b = self.balance(domain)
            if b is not None and all(b[k] == v for k, v in want.items()):
                return b
            if time.monotonic() > end:
                raise AssertionError("balance %r, wanted %r\n%s" % (b, want, self.log()[-4000:]))
            time.sleep(0.05)

    def failover(self, mode, reason="test"):
        return self.command("failover", mode, self.domain, "--reason", reason)

    def stop(self, expect=0):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.log_handle.close()
        assert expect is None or code == expect, "exit %d\n%s" % (code, self.log()[-4000:])

    def kill(self):
        """kill -9 of the supervisor and of every role it started."""
        pids = children(self.process.pid)
        self.process.kill()
        for p in pids:
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        end = time.monotonic() + 10
        while any(alive(p) for p in pids) and time.monotonic() < end:
            time.sleep(0.01)
        self.log_handle.close()


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % entry) as f:
                if int(f.read().rsplit(")", 1)[1].split()[1]) == pid:
                    found.append(int(entry))
        except (OSError, IndexError):
            pass
    return found


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
