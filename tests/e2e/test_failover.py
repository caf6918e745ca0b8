# SPDX-License-Identifier: Apache-2.0
"""Failover as an administrator meets it: switches under load, ends and windows, the audit
log, and the relay's own decisions."""
import json
import os
import random
import socket
import subprocess
import threading
import time

from tests.lib import mail
from tests.lib.relay import BINARY

SENDER, USER = "news@sender.example", "mario@shop.example"


def wait(what, timeout=20):
    """Until what() is true; what it gave."""
    end = time.monotonic() + timeout
    while True:
        got = what()
        if got or time.monotonic() > end:
            assert got, what
            return got
        time.sleep(0.05)


def group(relay, domain=None, shard=""):
    for d in relay.command("failover", "list")["domains"]:
        if d["domain"] == (domain or relay.domain) and d["shard"] == shard:
            return d
    return None


def in_phase(relay, phase, domain=None, shard="", timeout=20):
    return wait(lambda: (lambda g: g if g and g["phase"] == phase else None)(
        group(relay, domain, shard)), timeout)


def audit(relay, *words):
    r = relay.command("audit", *words, json_out=False)
    return r


def audit_lines(relay):
    text = relay.command("audit", "show", "--json", json_out=False)
    return [json.loads(line) for line in text.splitlines()]


def control(relay, requests):
    """Many requests over one connection of the control socket; their replies."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(os.path.join(relay.state, "control.sock"))
        s.settimeout(120)
        f = s.makefile("rwb")
        replies = []
        for q in requests:
            f.write(json.dumps(q).encode() + b"\n")
            f.flush()
            replies.append(json.loads(f.readline()))
        return replies


def test_toggle_storm_loses_nothing_and_ends_as_asked(world):
    """1,000 switches while mail comes in, over the socket as fast as they are taken."""
    relay = world.relay()
    stop, sent = threading.Event(), []

    def load(n):
        while not stop.is_set():
            data = mail.message(SENDER, USER, "storm %d %d" % (n, len(sent)))
            if mail.send(relay.port, SENDER, USER, data)[0] == 250:
                sent.append(data)
    threads = [threading.Thread(target=load, args=(n,)) for n in range(2)]
    for t in threads:
        t.start()
    try:
        rng = random.Random(5)
        modes = [rng.choice(["on", "off", "auto"]) for _ in range(999)] + ["off"]
        replies = control(relay, [{"cmd": "failover-set", "domain": "shop.example", "mode": m,
                                   "reason": "storm %d" % i} for i, m in enumerate(modes)])
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert all(r["ok"] for r in replies)
    assert group(relay)["mode"] == "off" and group(relay)["reason"].startswith("storm ")
    assert len(sent) > 20
    in_phase(relay, "standby", timeout=60)
    b = relay.wait_balance(timeout=60, received=len(sent), replayed=len(sent), held=0)
    assert b["bounced"] == b["dropped"] == 0
    at_store = [m for d in sent for m in world.store.messages if m.data.endswith(d)]
    assert len(at_store) == len(sent)
    assert json.loads(relay.command("audit", "verify", "--json", json_out=False))["ok"]


def test_mode_with_an_end_survives_kill_and_ends(world):
    relay = world.relay()
    r = relay.command("failover", "on", "shop.example", "--reason", "short", "--until", "4s")
    assert r["phase"] == "active" and r["then"] == "off"
    relay.kill()
    relay.start()
    g = group(relay)
    assert g["phase"] == "active" and g["until"] == r["until"] and g["base"] == "off"
    in_phase(relay, "standby")
    assert group(relay)["mode"] == "off"
    events = [x["event"] for x in audit_lines(relay)]
    assert "failover-expired" in events


def test_window_begins_and_ends_by_itself(world):
    relay = world.relay()
    w = relay.command("failover", "schedule", "shop.example", "--from", "2s", "--until", "2s",
                      "--reason", "new disks")
    gone = relay.command("failover", "schedule", "shop.example", "--from", "1h", "--until", "2h",
                         "--reason", "not this one")
    assert group(relay)["phase"] == "standby"
    relay.command("failover", "cancel", str(gone["window"]))
    assert [x["window"] for x in relay.command("failover", "schedule")["windows"]] == [w["window"]]
    relay.kill()            # windows are on disk
    relay.start()
    in_phase(relay, "active")
    assert group(relay)["reason"] == "window 1: new disks"
    in_phase(relay, "standby")
    assert relay.command("failover", "schedule")["windows"] == []


def test_audit_of_a_stopped_relay_names_the_broken_line(world):
    relay = world.relay()
    for mode in ("on", "off", "on", "off"):
        relay.failover(mode)
    relay.stop()
    log = os.path.join(relay.state, "queue", "audit.log")
    good = open(log).read()
    assert "chained lines hold" in audit(relay, "verify")
    n = len(good.splitlines())
    assert n >= 4 and len(audit_lines(relay)) == n
    lines = good.splitlines(True)
    with open(log, "w") as f:
        f.write("".join(lines[:1] + [lines[1].replace('"uid"', '"uie"')] + lines[2:]))
    r = subprocess.run([BINARY, "audit", "verify", "-c", relay.conf], capture_output=True, text=True)
    assert r.returncode == 1 and "line 2 is the first that is wrong" in r.stdout
    with open(log, "w") as f:
        f.write(good[:-20])     # a crash in the middle of the last line
    assert "torn" in audit(relay, "verify")
    relay.start()
    relay.failover("on")
    v = json.loads(audit(relay, "verify", "--json"))
    assert v["ok"] and v["torn"] == 1
