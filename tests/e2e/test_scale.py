# SPDX-License-Identifier: Apache-2.0
"""P6: a long queue costs disk, not memory and not time. A stopped relay's spool is filled
by the spool's own code (tests/bench/fill.c), then the whole relay runs on it and is
measured from outside. Short here; `make scale` does the same with ten million messages
and then also holds the times of design 5."""
import json
import os
import re
import subprocess
import threading
import time

from tests.crash.kit import Loads, identity, wait_for
from tests.lib.relay import ROOT, children

COUNT = int(os.environ.get("SCALE_COUNT", "200000"))
FULL = COUNT >= 5000000
USERS = 100000 if FULL else 2000
DOMAINS = ["shop.example"] + ["d%d.example" % i for i in range(9)]
MEMORY_MAX = 256 << 20
TOOLS = os.path.join(ROOT, "build", "tests", "bench")


def tool(name):
    path = os.path.join(TOOLS, name)
    subprocess.run(["make", "-s", os.path.relpath(path, ROOT)], cwd=ROOT, check=True,
                   stdout=subprocess.DEVNULL)
    return path


def tree(pid):
    found = [pid]
    for p in found:
        found += children(p)
    return found


def memory(pid):
    """Of all roles, bytes: PSS, and the memory files that carry bodies (which PSS has
    only while they are mapped)."""
    total = 0
    for p in tree(pid):
        try:
            with open("/proc/%d/smaps_rollup" % p) as f:
                total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1)) << 10
            for fd in os.listdir("/proc/%d/fd" % p):
                path = "/proc/%d/fd/%s" % (p, fd)
                if os.readlink(path).startswith("/memfd:"):
                    st = os.stat(path)
                    total += st.st_blocks * 512
        except OSError:
            pass
    return total


class Watch(threading.Thread):
    """The peak of memory() until stopped. A body that several roles hold counts for each:
    the sum is an upper bound."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.on = pid, 0, True
        self.start()

    def run(self):
        while self.on:
            self.peak = max(self.peak, memory(self.pid))
            time.sleep(0.2)


def owned_by(path, like):
    st = os.stat(like)
    for base, _, names in os.walk(path):
        os.chown(base, st.st_uid, st.st_gid)
        for n in names:
            os.chown(os.path.join(base, n), st.st_uid, st.st_gid)


def new_relay(world):
    """Stopped, failover on for all its domains, its queue empty. Copies go to a host that is
    dead."""
    more = "".join('domain "%s" {\n primary = "lmtp://127.0.0.1:9"\n}\n' % d for d in DOMAINS[1:])
    relay = world.relay(start=False, users=None, primary="lmtp://127.0.0.1:9", more=more,
                        top="log-level = warn\nforward-unauthenticated = yes\n")
    # The tests' short pauses between retries are none for a long queue.
    text = open(relay.conf).read()
    with open(relay.conf, "w") as f:
        f.write(re.sub(r"(?m)^retry-(min|max) = .*\n", "", text))
    users = os.path.join(relay.folder, "users.csv")
    with open(users, "w") as f:
        f.write("address,recovery\n" + "\n".join(world.USERS) + "\n")
        f.writelines("u%d@%s,u%d@recovery.example\n" % (i, d, i) for d in DOMAINS for i in range(USERS))
    relay.command("users", "import", users, json_out=False, timeout=600)
    relay.start()
    for d in DOMAINS:
        relay.command("failover", "on", d, "--reason", "test")
    relay.stop()
    return relay


def fill(relay):
    """Seconds it took."""
    queue = os.path.join(relay.state, "queue")
    began, seg = time.monotonic(), os.path.join(queue, "seg")
    if os.environ.get("SCALE_FILLED"):
        # By an earlier run of fill with the same counts: not made twice while measuring.
        os.rename(os.path.join(os.environ["SCALE_FILLED"], "seg"), seg)
    else:
        subprocess.run([tool("fill"), "--queue", queue, "--count", str(COUNT), "--users", str(USERS),
                        "--domains", ",".join(DOMAINS)], check=True, stdout=subprocess.DEVNULL)
    owned_by(queue, os.path.join(queue, "audit.log"))
    return time.monotonic() - began


def drop_caches():
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("3\n")
    except OSError:
        pass


def timed(relay, *words):
    began = time.monotonic()
    r = relay.command(*words)
    return r, time.monotonic() - began


def rate(relay, messages, sessions=20):
    r = subprocess.run([tool("load"), "--host", "127.0.0.1", "--port", str(relay.port), "--sessions",
                        str(sessions), "--messages", str(messages), "--size", "4096",
                        "--per-connection", "100", "--from", "news@sender.example", "--to",
                        "mario@shop.example", "--pipeline"],
                       capture_output=True, text=True, timeout=600)
    assert r.returncode == 0, r.stdout + r.stderr
    out = json.loads(r.stdout)
    assert not any(out["errors"].values() if isinstance(out["errors"], dict) else out["errors"]), out
    return out["messages"] / out["seconds"]


def look_ups(relay):
    """Each finds what is there, and looks at few entries for it. Returns the slowest."""
    user, domain = COUNT // 2 % USERS, COUNT // 2 // 7 % len(DOMAINS)
    wanted = [i for i in range(user, COUNT, USERS) if i // 7 % len(DOMAINS) == domain]
    name = "u%d@%s" % (user, DOMAINS[domain])
    got, slowest, after, looked = 0, 0, "", 0
    while True:
        words = ["queue", "list", "--user", name, "--limit", "1000"]
        r, took = timed(relay, *(words + (["--after", after] if after else [])))
        slowest = max(slowest, took)
        looked += r["looked"]
        got += len(r["messages"])
        if not r["more"]:
            break
        after = r["after"]
    assert got == len(wanted)
    segments = relay.status()["queue"]["segments"]
    # His entries in all domains, a table of each sealed segment, and the open one.
    assert looked <= COUNT // USERS + 64 * (segments + 1) + 1000, (looked, segments)
    for what, most in (
            (["queue", "list", "--user", "nobody@shop.example"], 64 * (segments + 1) + 1000),
            (["queue", "list", "--domain", "d3.example"], None),
            (["queue", "list", "--sender", "s4242@h%d.sender.example" % (4242 % 997)], None),
            (["queue", "list", "--sender", "none@h5.sender.example"], 64 * (segments + 1) + 2000 +
             COUNT // 1000),
            (["queue", "hold", "--user", name, "--dry-run"], None)):
        r, took = timed(relay, *what)
        slowest = max(slowest, took)
        print("  %-60s %6.3f s, %s" % (" ".join(what[1:]), took, r.get("looked", r.get("count"))))
        assert most is None or r["looked"] <= most, (what, r["looked"])
    one = relay.command("queue", "list", "--user", name, "--limit", "1")
    ident = one["messages"][0]["id"]
    r, took = timed(relay, "queue", "show", ident)
    print("  %-60s %6.3f s" % ("show " + ident, took))
    assert r["message"]["id"] == ident
    return max(slowest, took)


def queue_cpu(relay):
    pid = relay.roles("queue")[0]["pid"]
    with open("/proc/%d/stat" % pid) as f:
        words = f.read().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def settle(relay, limit):
    """Until the sweep that follows a start, and the forward copies it asked for, are through;
    seconds. Whatever it takes, mail is accepted meanwhile (switches())."""
    began = time.monotonic()
    while time.monotonic() - began < limit:
        before = queue_cpu(relay)
        time.sleep(2)
        if queue_cpu(relay) - before < 0.3:
            break
    return time.monotonic() - began


def switches(relay, seconds):
    """Failover off and on again under load, all held mail swept each time; no client waits
    for it."""
    loads = Loads(relay.port, pause=0.004)
    end, n = time.monotonic() + seconds, 0
    while time.monotonic() < end or n < 4:
        relay.failover("off" if n % 2 == 0 else "on")
        n += 1
        time.sleep(0.7)
    loads.stop()
    loads.check_answers()
    assert len(loads.acknowledged()) > 20
    return n, loads.slowest()


def test_a_queue_of_many(world):
    # The same work for each message, with and without the queue.
    world.recovery.close()
    empty = new_relay(world)
    empty.start()
    rate(empty, 500)
    rates_empty = [rate(empty, 20000 if FULL else 2000) for _ in range(5 if FULL else 1)]
    empty.stop()
    relay = new_relay(world)
    filled = fill(relay)
    drop_caches()
    began = time.monotonic()
    relay.start()
    ready = time.monotonic() - began
    watch = Watch(relay.process.pid)
    b = relay.balance("shop.example")
    assert identity(b)
    total = sum(d["held"] for d in relay.status()["domains"])
    assert total == COUNT
    idle = memory(relay.process.pid)
    _, cold = timed(relay, "queue", "list", "--user", "u5@shop.example")
    slowest = look_ups(relay)
    r, summary = timed(relay, "queue", "summary")
    assert r["all"]["held"] == COUNT == sum(d["held"] for d in r["domains"])
    assert r["complete"] or r["counted"] < COUNT
    print("  summary: complete %s, counted %d" % (r["complete"], r["counted"]))
    settled = settle(relay, 60 if FULL else 10)
    cpu = queue_cpu(relay)
    rates = [rate(relay, 20000 if FULL else 2000) for _ in range(5 if FULL else 1)]
    cpu = (queue_cpu(relay) - cpu) / (len(rates) * (20000 if FULL else 2000))
    switched, worst = switches(relay, 60 if FULL else 3)
    watch.on = False
    watch.join(10)
    relay.failover("on")
    wait_for(lambda: relay.status()["queue"]["in_flight"] >= 0, 10, "the queue answers")
    for d in relay.status()["domains"]:
        assert identity(d), d
    print("held %d (filled in %.0f s): ready %.2f s, memory %.0f MiB, peak %.0f MiB; list --user cold "
          "%.3f s, slowest look-up %.3f s, summary %.3f s; accepts %.0f/s, %.0f/s with an empty queue "
          "(ratio %.2f), %.3f ms CPU of the queue role each; quiet after %.0f s; %d switches, slowest answer %.2f s" % (
              COUNT, filled, ready, idle / 2**20, watch.peak / 2**20, cold, slowest, summary, max(rates),
              max(rates_empty), max(rates) / max(rates_empty), cpu * 1000,
              settled, switched, worst))
    assert watch.peak < MEMORY_MAX
    if FULL:
        assert ready < 5
        assert cold < 1
        assert max(rates) >= 0.8 * max(rates_empty)
    relay.stop()
