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

import pytest

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


# ---- the relay decides ----

FAST = "probe {{ every = 1s timeout = 1s enter-after = 2 leave-after = 2 settle = 1s %s }}"


def auto(more="", extra=""):
    return ("failover = auto\n" + (FAST % more) + "\n" + extra).replace("{{", "{").replace("}}", "}")


def alarms(relay):
    return [a["alarm"] for a in relay.status()["alarms"]]


def test_dead_store_is_seen_held_for_and_replayed_into(world):
    """From the first failing probe to the last replayed message, with nobody at the keyboard."""
    relay = world.relay(in_domain=auto())
    wait(lambda: (group(relay)["probe"] or {}).get("result") == "ok")
    assert group(relay)["phase"] == "standby"
    world.down()
    early = mail.message(SENDER, USER, "before it was seen")
    assert mail.send(relay.port, SENDER, USER, early)[0] == 250
    in_phase(relay, "active")
    data = mail.message(SENDER, USER, "while it is down")
    assert mail.send(relay.port, SENDER, USER, data)[0] == 250
    copies = world.recovery.wait(2)
    assert {m.rcpts[0] for m in copies} == {"mario@recovery.example"} and len(copies) == 2
    relay.kill()                # the state is on disk
    relay.start()
    g = group(relay)            # and so is what made it so
    assert g["phase"] == "active" and "probes failed" in g["phase_reason"]
    assert g["phase_evidence"]["cause"] == "probes" and g["phase_evidence"]["recent"][-1]["result"] == "no-connection"
    assert g["reason"] == "configuration"
    for words in (("failover", "list"), ("status",)):
        assert g["phase_reason"] in relay.command(*words, json_out=False)
    assert "last words: " in relay.command("failover", "list", json_out=False)
    world.up()
    in_phase(relay, "standby", timeout=40)
    relay.wait_balance(received=2, replayed=2, held=0)
    assert len(world.store.messages) == 2
    lines = [x for x in audit_lines(relay) if x["event"] == "phase"]
    assert [(x["from"], x["to"]) for x in lines[:2]] == [("standby", "active"), ("active", "replay")]
    assert lines[0]["evidence"]["cause"] == "probes" and lines[0]["evidence"]["recent"]
    assert lines[1]["evidence"]["cause"] == "recovery"
    assert json.loads(audit(relay, "verify", "--json"))["ok"]


def test_shard_outage_is_of_that_shard_alone(world):
    from tests.lib.sink import Sink
    second = Sink(lmtp=True)
    try:
        relay = world.relay(users=None, start=False, in_domain=auto(
            extra='shard "s2" {{ primary = "lmtp://127.0.0.1:%d" }}' % second.port))
        relay.import_users(["mario@shop.example,mario@recovery.example,",
                            "anna@shop.example,anna@recovery.example,s2"],
                           header="address,recovery,shard")
        relay.start()
        second.close()
        in_phase(relay, "active", shard="s2")
        assert group(relay)["phase"] == "standby"
        for user in ("mario", "anna"):
            to = user + "@shop.example"
            assert mail.send(relay.port, SENDER, to, mail.message(SENDER, to))[0] == 250
        assert world.store.wait(1)[0].rcpts == ["mario@shop.example"]
        assert world.recovery.wait(1)[0].rcpts == ["anna@recovery.example"]
        assert len(world.store.messages) == 1 and len(world.recovery.messages) == 1
    finally:
        second.close()


def test_all_primaries_dark_at_once_is_our_own_fault(world):
    from tests.lib.sink import Sink
    second = Sink(lmtp=True)
    reference = Sink()
    try:
        relay = world.relay(in_domain=auto(), more='domain "two.example" { primary = '
                            '"lmtp://127.0.0.1:%d"\n%s }' % (second.port, auto()))
        for d in ("shop.example", "two.example"):
            wait(lambda: (group(relay, d)["probe"] or {}).get("result") == "ok")
        world.down()
        second.close()
        wait(lambda: "own-network" in alarms(relay))
        wait(lambda: group(relay)["probe"]["failed_in_row"] >= 4)
        assert group(relay)["phase"] == group(relay, "two.example")["phase"] == "standby"
        assert relay.status()["probes"]["own_network_fault"] is True
        # Mail is kept all the while, and nothing is forwarded.
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
        # Told that the network works, it believes its eyes.
        relay.write_conf(top='probe-reference = {{ "127.0.0.1:%d" }}'.replace("{{", "{")
                         .replace("}}", "}") % reference.port)
        relay.process.send_signal(1)
        in_phase(relay, "active")
        in_phase(relay, "active", "two.example")
        wait(lambda: "own-network" not in alarms(relay))
    finally:
        second.close()
        reference.close()


def test_spec_11_2_store_that_knows_nobody_any_more(world):
    """550 5.1.1 to everybody: nothing bounces, everything is held, then forwarded."""
    relay = world.relay(in_domain=auto("bad-min = 4"))
    world.down()
    world.up(script=lambda stage, arg: "550 5.1.1 who is that" if stage == "rcpt" else None)
    for i in range(8):
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER, "n%d" % i))[0] == 250
    in_phase(relay, "active")
    assert "refused" in group(relay)["probe"] or "primary-refuses" in alarms(relay)
    line = [x for x in audit_lines(relay) if x["event"] == "phase"][0]
    assert line["evidence"]["cause"] == "refusals"
    copies = world.recovery.wait(8)
    assert {m.rcpts[0] for m in copies} == {"mario@recovery.example"}
    b = relay.wait_balance(received=8, held=8, bounced=0, replayed=0)
    assert b["dropped"] == 0
    world.down()
    world.up()                  # it has its users again
    in_phase(relay, "standby", timeout=40)
    relay.wait_balance(received=8, replayed=8, held=0, bounced=0)


def test_canary_message_is_delivered_and_never_counted(world):
    relay = world.relay(start=False, in_domain=auto('depth = data canary = "canary@shop.example"'))
    relay.import_users(list(world.USERS) + ["canary@shop.example,canary@recovery.example"])
    relay.start()
    got = world.store.wait(1)[0]
    assert got.mail_from == "" and got.rcpts == ["canary@shop.example"]
    assert b"X-Salvaposta-Canary: " in got.data and b"Auto-Submitted: auto-generated" in got.data
    # It comes round, through a front that has put its trace on top.
    assert mail.send(relay.port, "", "canary@shop.example", b"Received: from store\r\n" + got.data)[0] == 250
    # The same to somebody else is just mail, and so is other mail to the canary.
    assert mail.send(relay.port, "", USER, got.data)[0] == 250
    relay.wait_balance(received=1)
    assert relay.roles("relay")[0]["accepted"] == 1
    # The store cannot write: only this depth sees it.
    world.down()
    world.up(script=lambda stage, arg: "452 4.3.1 disk full" if stage == "end" else None)
    in_phase(relay, "active")
    assert group(relay)["probe"]["stage"] == "end"
    relay.stop()
    assert "canary@recovery.example" not in [r for m in world.recovery.messages for r in m.rcpts]


def test_standby_defer_sends_known_users_to_the_primary_mx(world):
    relay = world.relay(in_domain=auto(extra="standby = defer"))
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER)) == \
        (451, b"4.3.2 use the primary MX")
    code, text = mail.send(relay.port, SENDER, "nobody@shop.example", b"x\r\n")
    assert code == 550 and text.startswith(b"5.1.1")
    relay.kill()                # the relays are told anew after a restart
    relay.start()
    wait(lambda: mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 451, 5)
    os.kill(relay.roles("relay")[0]["pid"], 9)      # and a single one that comes back
    relay.wait_ready()
    wait(lambda: mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 451, 5)
    began = time.monotonic()
    relay.failover("on")
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
    assert time.monotonic() - began < 5     # of which the command itself takes most
    relay.command("failover", "auto", "shop.example", "--reason", "back")
    wait(lambda: mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 451)


def test_real_dovecot_dies_and_comes_back(world):
    from tests.lib.dovecot import Dovecot
    store = Dovecot(world.folder)
    store.start()
    try:
        relay = world.relay(primary="lmtp://127.0.0.1:%d" % store.port,
                            in_domain=auto('depth = data canary = "canary@shop.example"'))
        wait(lambda: len(store.mails("canary@shop.example")) >= 1)
        store.stop()
        in_phase(relay, "active")
        data = mail.message(SENDER, USER, "kept")
        assert mail.send(relay.port, SENDER, USER, data)[0] == 250
        world.recovery.wait(1)
        store.start()
        in_phase(relay, "standby", timeout=40)
        relay.wait_balance(received=1, replayed=1, held=0)
        assert any(m.endswith(data) for m in store.mails(USER))
    finally:
        store.stop()


@pytest.mark.skipif(os.getuid() != 0, reason="Debian's Postfix runs only as root")
@pytest.mark.parametrize("depth", ["rcpt", "data"])
def test_real_postfix_as_primary_dies_and_comes_back(world, depth):
    """An SMTP primary: the canary is asked for, and with data delivered; a Postfix that does
    not know it is a mistake of the configuration, not an outage."""
    from tests.lib.storefront import Postfix
    primary = Postfix(world.folder, world.store.port, world.store.port, world.recovery.port)
    known = "relay_recipient_maps = inline:{ %s }\n"
    with open(os.path.join(primary.etc, "main.cf"), "a") as f:
        f.write(known % "mario@shop.example=ok")
    primary.start()
    at_store = lambda rcpt: [m for m in world.store.messages if m.rcpts == [rcpt]]
    try:
        relay = world.relay(primary="smtp://127.0.0.1:%d" % primary.port,
                            in_domain=auto('depth = %s canary = "canary@shop.example"' % depth))
        wait(lambda: "canary-refused" in alarms(relay))
        g = group(relay)
        assert g["probe"]["stage"] == "rcpt" and g["phase"] == "standby", g
        primary.stop()
        with open(os.path.join(primary.etc, "main.cf"), "a") as f:
            f.write(known % "mario@shop.example=ok, canary@shop.example=ok")
        primary.start()
        wait(lambda: group(relay)["probe"]["result"] == "ok" and group(relay)["phase"] == "standby")
        assert group(relay)["probe"]["stage"] == ("rcpt" if depth == "rcpt" else "end")
        if depth == "data":
            wait(lambda: at_store("canary@shop.example"))
        primary.stop()
        in_phase(relay, "active")
        data = mail.message(SENDER, USER, "kept")
        assert mail.send(relay.port, SENDER, USER, data)[0] == 250
        world.recovery.wait(1)
        primary.start()
        in_phase(relay, "standby", timeout=40)
        relay.wait_balance(received=1, replayed=1, held=0)
        assert wait(lambda: at_store(USER))[0].data.endswith(data)
        assert depth == "data" or not at_store("canary@shop.example")
    finally:
        primary.stop()
