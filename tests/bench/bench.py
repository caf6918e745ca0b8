#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Salvaposta against Debian's Postfix in one run, the same client, the same sink, the
same machine: accept (mail is kept for a store that is down) and forward (mail leaves
for a recovery host). Prints ratios; a figure alone says more about the machine.

    make bench                  everything, some minutes
    make bench BENCH="--quick"  smaller counts"""
import argparse
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from tests.bench import auth, doors, replay  # noqa: E402
from tests.lib.dnsd import Dns, reverse  # noqa: E402
from tests.lib.ports import free_port  # noqa: E402
from tests.lib.relay import BINARY, Relay, children  # noqa: E402

LOAD = os.path.join(ROOT, "build", "tests", "bench", "load")
SINK = os.path.join(ROOT, "build", "tests", "bench", "sink")
FAULT = os.path.join(ROOT, "build", "tests", "crash", "fault.so")
DOMAIN, RECOVERY = "shop.example", "recovery.example"


def tree(pid):
    found = [pid]
    for p in found:
        found += children(p)
    return found


def pss_kib(pid):
    total = 0
    for p in tree(pid):
        try:
            with open("/proc/%d/smaps_rollup" % p) as f:
                total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
        except (OSError, AttributeError):
            pass
    return total


def shmem_kib():
    """Message bodies live in memory files: no process's own, but memory."""
    with open("/proc/meminfo") as f:
        return int(re.search(r"^Shmem:\s+(\d+)", f.read(), re.M).group(1))


class Peak(threading.Thread):
    """Samples the memory (PSS of the whole tree, and memory files) until stopped."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.on, self.shmem = pid, 0, True, shmem_kib()
        self.start()

    def run(self):
        while self.on:
            self.peak = max(self.peak, pss_kib(self.pid) + max(0, shmem_kib() - self.shmem))
            time.sleep(0.25)


class Sink:
    """Ends by itself after `count` messages."""

    def __init__(self, count):
        self.port = free_port()
        self.process = subprocess.Popen([SINK, "--port", str(self.port), "--count", str(count)],
                                        stdout=subprocess.PIPE, text=True)
        wait_port(self.port)

    def wait(self):
        out, _ = self.process.communicate(timeout=600)
        return json.loads(out)


def wait_port(port, process=None, timeout=20):
    import socket
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as s:
                if s.recv(3) == b"220":
                    return
        except OSError:
            pass
        if process is not None and process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError("nothing answers on port %d" % port)


class Salvaposta:
    name = "salvaposta"

    def __init__(self, folder, job, sink_port, users, dns):
        self.relay = Relay(os.path.join(folder, "salvaposta"), "lmtp://127.0.0.1:9", dns.port, sink_port,
                           top="messages-max = 1000000\nlog-level = warn\nconnections-max = 20\n"
                               "messages-per-connection = 100\nmessage-size-max = 100M\n"
                               "body-memory-max = 512M\nforward-unauthenticated = yes",
                           more='provider "default" { slow-start = 0s }\n')
        if job == "accept":
            # Hold only: what a relay without a forwarding part does.
            text = open(self.relay.conf).read()
            open(self.relay.conf, "w").write(re.sub(r"forwarder \{.*?\n\}", "", text, flags=re.S))
        self.relay.import_users(["u%d@%s,u%d@%s" % (i, DOMAIN, i, RECOVERY if job == "forward" else "x.example")
                                 for i in range(users)])
        self.port = self.relay.port
        self.spool = os.path.join(self.relay.state, "queue")

    def start(self, wrap=(), env=None):
        self.log = open(self.relay.log_file, "ab")
        self.process = subprocess.Popen([*wrap, BINARY, "run", "-c", self.relay.conf],
                                        env=dict(os.environ, **(env or {})),
                                        stdout=self.log, stderr=self.log, start_new_session=True)
        self.relay.process = self.process
        self.relay.wait_ready()
        self.relay.failover("on")

    def stop(self):
        pid = self.process.pid
        if self.process.args[0] == "strace":
            pid = children(pid)[0]
        os.kill(pid, signal.SIGTERM)
        return finished(self.process)


def adopt_orphans():
    """Postfix's master does not wait for its daemons; here they come to us, so that
    their CPU time counts and none is left behind."""
    if ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0) != 0:      # PR_SET_CHILD_SUBREAPER
        raise OSError(ctypes.get_errno(), "prctl")


def finished(process):
    """CPU seconds of it and of all that came from it; none of it runs any more."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    end = time.monotonic() + 5
    while True:
        try:
            if os.waitid(os.P_PGID, process.pid, os.WEXITED | os.WNOHANG) is None:
                if time.monotonic() > end:
                    os.killpg(process.pid, signal.SIGKILL)
                time.sleep(0.01)
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Postfix:
    name = "postfix"

    def __init__(self, folder, job, sink_port, users, dns):
        self.base = os.path.join(folder, "postfix")
        self.port = free_port()
        for sub in ("etc", "queue", "data"):
            os.makedirs(os.path.join(self.base, sub))
        etc = os.path.join(self.base, "etc")
        shutil.chown(os.path.join(self.base, "data"), "postfix", "postfix")
        with open(os.path.join(etc, "main.cf"), "w") as f:
            f.write("""compatibility_level = 3.6
queue_directory = {b}/queue
data_directory = {b}/data
myhostname = mx2.relay.example
mydestination =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 192.0.2.1/32
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_relay_restrictions = reject_unauth_destination
relay_recipient_maps = texthash:{e}/users
virtual_alias_domains =
maillog_file = {b}/log
default_process_limit = 200
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
alias_maps =
alias_database =
smtp_dns_support_level = disabled
smtputf8_enable = no
in_flow_delay = 0
message_size_limit = 0
import_environment = MAIL_CONFIG LD_PRELOAD FAULT_ROLE FAULT_SYNC_US FAULT_SYNC_ALONE
export_environment = MAIL_CONFIG LD_PRELOAD FAULT_ROLE FAULT_SYNC_US FAULT_SYNC_ALONE
maillog_file_prefixes = /
""".format(b=self.base, e=etc))
            if job == "accept":
                f.write("relay_domains = %s\ndefer_transports = relay, smtp\n" % DOMAIN)
            else:
                f.write("relay_domains = %s %s\nvirtual_alias_maps = texthash:%s/alias\n"
                        "transport_maps = inline:{{%s=smtp:[127.0.0.1]:%d}}\n"
                        % (DOMAIN, RECOVERY, etc, RECOVERY, sink_port))
        with open(os.path.join(etc, "users"), "w") as f, open(os.path.join(etc, "alias"), "w") as a:
            for i in range(users):
                f.write("u%d@%s x\n" % (i, DOMAIN))
                a.write("u%d@%s u%d@%s\n" % (i, DOMAIN, i, RECOVERY))
        with open("/etc/postfix/master.cf.proto" if os.path.exists("/etc/postfix/master.cf.proto")
                  else "/usr/share/postfix/master.cf.dist") as f:
            master = re.sub(r"^(\S+\s+(?:unix|fifo|inet|pass)\s+\S+\s+\S+\s+)[yn-](\s)", r"\1n\2",
                            f.read(), flags=re.M)
        master = re.sub(r"^smtp\s+inet.*$", "127.0.0.1:%d inet n - n - - smtpd" % self.port, master, flags=re.M)
        with open(os.path.join(etc, "master.cf"), "w") as f:
            f.write(master)
        self.etc = etc
        self.spool = os.path.join(self.base, "queue")

    def start(self, wrap=(), env=None):
        # The first start builds the queue; `check` does it outside the measurement.
        subprocess.run(["postfix", "-c", self.etc, "check"], capture_output=True, check=True)
        env = dict(os.environ, MAIL_CONFIG=self.etc, **(env or {}))
        self.process = subprocess.Popen([*wrap, "/usr/lib/postfix/sbin/master", "-d", "-c", self.etc], env=env,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        wait_port(self.port, self.process)

    def stop(self):
        with open(os.path.join(self.base, "queue", "pid", "master.pid")) as f:
            os.kill(int(f.read()), signal.SIGTERM)
        return finished(self.process)


def slow_disk(sync_us, folder):
    """The environment in which every sync of every process takes so much longer, one
    after the other as a disk without a queue does it."""
    if not sync_us:
        return {}
    lock = os.path.join(folder, "disk")
    open(lock, "w").close()
    return dict(LD_PRELOAD=FAULT, FAULT_ROLE="", FAULT_SYNC_US=str(sync_us), FAULT_SYNC_ALONE=lock)


def on_disk(folder):
    """Bytes in files below it, as the file system counts them."""
    total = 0
    for base, _, names in os.walk(folder):
        for n in names:
            try:
                total += os.lstat(os.path.join(base, n)).st_blocks * 512
            except OSError:
                pass
    return total


def measure(kind, job, size, messages, sessions, users, dns, wrap=(), sync_us=0):
    folder = tempfile.mkdtemp(prefix="salvaposta-bench-")
    os.chmod(folder, 0o755)
    sink = Sink(messages)
    server = kind(folder, job, sink.port, users, dns)
    try:
        server.start(wrap, slow_disk(sync_us, folder))
        idle = pss_kib(server.process.pid)
        server.empty = on_disk(server.spool)
        peak = Peak(server.process.pid)
        began = time.monotonic()
        r = json.loads(subprocess.run(
            [LOAD, "--host", "127.0.0.1", "--port", str(server.port), "--sessions", str(sessions),
             "--messages", str(messages), "--size", str(size), "--per-connection", "100",
             "--from", "news@sender.example", "--to", "u%d@" + DOMAIN, "--users", str(users), "--pipeline"],
            capture_output=True, text=True, check=True, timeout=600).stdout)
        if job == "forward":
            sink.wait()
            seconds = time.monotonic() - began
        else:
            seconds = r["seconds"]
        peak.on = False
        disk = on_disk(server.spool) - server.empty
        cpu = server.stop()
        return dict(rate=messages / seconds, cpu_ms=cpu * 1000 / messages, idle_mib=idle / 1024,
                    peak_mib=peak.peak / 1024, disk_kib=disk / 1024 / messages, errors=r["errors"], ok=r["messages"], p99=r["latency_ms"]["p99"])
    finally:
        if server.process.returncode is None:
            os.killpg(server.process.pid, signal.SIGKILL)
        if sink.process.poll() is None:
            sink.process.kill()
            sink.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def syncs(kind, job, size, messages, sessions, users, dns):
    """fdatasync and fsync calls per message, counted in a run of its own: tracing is
    slow and would spoil the rates."""
    trace = tempfile.NamedTemporaryFile(prefix="salvaposta-sync-", delete=False)
    trace.close()
    try:
        measure(kind, job, size, messages, sessions, users, dns,
                ("strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o", trace.name))
        with open(trace.name) as f:
            return sum(1 for line in f if re.search(r"\bf(data)?sync\(", line)) / messages
    finally:
        os.unlink(trace.name)


# job, bytes, messages, sessions, microseconds a sync takes longer
CASES = [
    ("accept", 4096, 20000, 100, 0), ("accept", 51200, 6000, 100, 0),
    ("forward", 4096, 20000, 100, 0), ("forward", 51200, 6000, 100, 0),
    ("accept", 4096, 5000, 20, 0), ("accept", 4096, 20000, 400, 0),
    ("accept", 4096, 3000, 100, 2000),
    ("accept", 65536, 4000, 100, 0), ("accept", 1 << 20, 400, 20, 0), ("accept", 50 << 20, 8, 4, 0),
]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--quick", action="store_true", help="a quarter of the messages, first four cases")
    p.add_argument("--only", choices=["salvaposta", "postfix"])
    p.add_argument("--job", choices=["accept", "forward"])
    p.add_argument("--size", type=int)
    p.add_argument("--sessions", type=int)
    p.add_argument("--part", choices=["auth", "doors"], help="nothing but this")
    p.add_argument("--replay", type=int, nargs="?", const=100000, metavar="N",
                   help="only the replay of N messages into Dovecot (tests/bench/replay.py)")
    p.add_argument("--no-syncs", action="store_true", help="do not count syncs in runs of their own")
    a = p.parse_args()
    if os.getuid() != 0:
        sys.exit("make bench needs root: Debian's Postfix runs only as root")
    if a.replay:
        replay.report(a.replay)
        return
    adopt_orphans()
    dns = Dns({"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]},
               reverse("127.0.0.1"): {"PTR": ["localhost."]},
               RECOVERY: {"MX": ["10 mx." + RECOVERY + "."]}, "mx." + RECOVERY: {"A": ["127.0.0.1"]}})
    if a.part == "auth":
        auth.run(sys.modules[__name__], dns, a.quick, a.only)
        return
    if a.part == "doors":
        doors.run(sys.modules[__name__], dns, a.quick)
        return
    print("job         bytes sess  sync+  server          msg/s  p99 ms   CPU ms  idle MiB  peak MiB  "
          "KiB disk  syncs/msg | times Postfix: msg/s   1/CPU  1/disk 1/syncs")
    for job, size, messages, sessions, sync_us in CASES[:4] if a.quick else CASES:
        if (a.job or job) != job or (a.size or size) != size or (a.sessions or sessions) != sessions:
            continue
        case(a, job, size, messages // 4 if a.quick else messages, sessions, sync_us, dns)
    if not (a.job or a.size or a.sessions):
        auth.run(sys.modules[__name__], dns, a.quick, a.only)
        if not a.only:
            doors.run(sys.modules[__name__], dns, a.quick)
    dns.close()
    if not (a.job or a.size or a.sessions or a.only):
        replay.report(10000 if a.quick else 100000)


def case(a, job, size, messages, sessions, sync_us, dns):
    postfix = None
    for kind in (Postfix, Salvaposta):
        if a.only and kind.name != a.only:
            continue
        r = measure(kind, job, size, messages, sessions, 100, dns, sync_us=sync_us)
        if r["errors"]:
            print("errors: %r" % r["errors"])
        r["syncs"] = None if a.no_syncs or sync_us or size > 100000 else syncs(
            kind, job, size, min(messages, 2000), sessions, 100, dns)
        print("%-8s %8d %4d %4.1fms  %-11s %9.0f %7.0f %8.3f %9.1f %9.1f %9.1f %10s %s"
              % (job, size, sessions, sync_us / 1000, kind.name, r["rate"], r["p99"] or 0, r["cpu_ms"],
                 r["idle_mib"], r["peak_mib"], r["disk_kib"],
                 "-" if r["syncs"] is None else "%.3f" % r["syncs"],
                 "" if postfix is None else "|                %s" % ratios(r, postfix)), flush=True)
        if kind is Postfix:
            postfix = r


def ratios(r, postfix):
    """More is better, in each of them."""
    def part(key):
        return "%7.2f" % (postfix[key] / r[key]) if r[key] and postfix[key] else "      -"
    return "%6.2f %s %s %s" % (r["rate"] / postfix["rate"], part("cpu_ms"), part("disk_kib"), part("syncs"))


if __name__ == "__main__":
    main()
