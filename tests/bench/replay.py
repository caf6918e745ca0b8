#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Replay into Debian's Dovecot over LMTP against a plain LMTP injector on the same Dovecot
in the same run, and how long new mail takes meanwhile.

    make bench BENCH="--replay"            100,000 messages, some minutes
    tests/bench/replay.py --messages 5000  smaller

The ramp is part of the replay: with replay-step = 1s (30s by default) it needs some
seconds of the run to reach its ceiling; that time is in the rate."""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

from tests.lib import mail  # noqa: E402
from tests.lib.dnsd import Dns, reverse  # noqa: E402
from tests.lib.dovecot import Dovecot  # noqa: E402
from tests.lib.relay import Relay  # noqa: E402

LOAD = os.path.join(ROOT, "build", "tests", "bench", "load")
DOMAIN, SESSIONS, USERS, SIZE = "shop.example", 20, 500, 4096


def load(port, messages, *words):
    out = subprocess.run([LOAD, "--port", str(port), "--sessions", str(SESSIONS), "--messages", str(messages),
                          "--size", str(SIZE), "--per-connection", "100", "--from", "news@sender.example",
                          "--to", "u%d@" + DOMAIN, "--users", str(USERS), "--pipeline", "--timeout", "1200", *words],
                         capture_output=True, text=True, timeout=1300).stdout
    r = json.loads(out)
    if r["errors"]:
        print("errors: %r" % r["errors"])
    return r["messages"] / r["seconds"]


class Fresh(threading.Thread):
    """New mail now and then, and how long it takes into its mailbox."""

    def __init__(self, relay, store):
        super().__init__(daemon=True)
        self.port, self.store, self.on, self.seconds = relay.port, store, True, []
        self.start()

    def run(self):
        n = 0
        while self.on:
            user = "fresh%d@%s" % (n % 20, DOMAIN)
            data, before = mail.message("news@sender.example", user, "fresh %d" % n), len(self.names(user))
            began = time.monotonic()
            if mail.send(self.port, "news@sender.example", user, data, source="127.0.0.1")[0] != 250:
                continue
            while len(self.names(user)) == before and time.monotonic() - began < 60:
                time.sleep(0.05)
            self.seconds.append(time.monotonic() - began)
            n += 1
            time.sleep(0.3)

    def names(self, user):
        folder = os.path.join(self.store.base, "mail", user, "new")
        return os.listdir(folder) if os.path.isdir(folder) else []


def replay(relay, store, messages):
    load(relay.port, messages)
    held = relay.balance()["held"]
    cpu = cpu_of(relay)
    began = time.monotonic()
    relay.failover("off")
    fresh = Fresh(relay, store)
    seen = []
    while True:
        d = relay.command("replay", "status", DOMAIN)["domains"][0]
        seen.append((time.monotonic() - began, d["delivered"], d["limit"], d["p95_ms"] or 0))
        if d["phase"] != "replay":
            break
        time.sleep(1)
    seconds = time.monotonic() - began
    fresh.on = False
    fresh.join(70)
    top = [s for s in seen if s[2] == max(x[2] for x in seen)]
    steady = (top[-1][1] - top[0][1]) / (top[-1][0] - top[0][0]) if len(top) > 2 else 0
    return dict(rate=held / seconds, steady=steady, limit=max(s[2] for s in seen), p95=max(s[3] for s in seen),
                fresh=fresh.seconds, cpu_ms=(cpu_of(relay) - cpu) * 1000 / held)


def cpu_of(relay):
    """Seconds of user and system time of all its roles so far."""
    total, hertz = 0, os.sysconf("SC_CLK_TCK")
    for pid in [relay.process.pid] + [r["pid"] for r in relay.roles()]:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / hertz


def run(messages):
    folder = tempfile.mkdtemp(prefix="salvaposta-replay-")
    os.chmod(folder, 0o755)
    dns = Dns({"sender.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]}, reverse("127.0.0.1"): {"PTR": ["localhost."]}})
    store = Dovecot(folder, extra="service lmtp {\n  process_min_avail = %d\n  process_limit = 100\n}" % SESSIONS)
    relay = Relay(os.path.join(folder, "relay"), "lmtp://127.0.0.1:%d" % store.port, dns.port, 9,
                  top="messages-max = 1000000\nlog-level = warn\nreplay-connections-max = %d\nbody-memory-max = 512M"
                      % SESSIONS)
    try:
        store.start()
        relay.import_users(["%s%d@%s," % (k, i, DOMAIN) for k, n in (("u", USERS), ("fresh", 20)) for i in range(n)])
        relay.start()
        relay.failover("on")
        share = max(1000, messages // 10)
        load(store.port, min(2000, share), "--lmtp")            # mailboxes exist, caches are warm
        before = load(store.port, share, "--lmtp")
        r = replay(relay, store, messages)
        after = load(store.port, share, "--lmtp")
        r["plain"] = (before + after) / 2
        r["plain_runs"] = (before, after)
        relay.stop()
        return r
    finally:
        if relay.process is not None and relay.process.poll() is None:
            relay.kill()
        store.stop()
        dns.close()
        shutil.rmtree(folder, ignore_errors=True)


def report(messages):
    r = run(messages)
    fresh = sorted(r["fresh"])
    print("replay of %d messages of %d bytes into Dovecot LMTP (%d connections at most, reached %d)"
          % (messages, SIZE, SESSIONS, r["limit"]))
    print("  plain LMTP injector  %8.0f msg/s (before %.0f, after %.0f)" % (r["plain"], *r["plain_runs"]))
    print("  replay               %8.0f msg/s, ramp included; %.0f at its ceiling; p95 %d ms; CPU of the relay %.3f ms "
          "per message" % (r["rate"], r["steady"], r["p95"], r["cpu_ms"]))
    print("  ratio                %8.2f (aim 0.80)" % (r["rate"] / r["plain"]))
    if fresh:
        print("  new mail meanwhile   %8.2f s at most, median %.2f s, %d messages (aim 2 s)"
              % (fresh[-1], fresh[len(fresh) // 2], len(fresh)))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--messages", type=int, default=100000)
    report(p.parse_args().messages)


if __name__ == "__main__":
    main()
