# SPDX-License-Identifier: Apache-2.0
"""Keeping the sending addresses warm (spec 8.11): a share of ordinary mail is copied in peace
time, to users who agreed to it and to nobody else; and no provider gets much more in a day
than it is used to."""
import re
import threading

from tests.lib import mail

SENDER, WARM, COLD = "news@sender.example", "mario@shop.example", "anna@shop.example"
HEADER = "address,recovery,baseline"
ROWS = ["mario@shop.example,mario@recovery.example,yes",
        "anna@shop.example,anna@recovery.example,", "solo@shop.example,,yes"]
FAST = 'provider "default" { slow-start = 0s }\n'


def peace(world, share=50, **kw):
    kw.setdefault("more", FAST)
    relay = world.relay(users=None, start=False, in_domain="baseline-share = %d" % share, **kw)
    relay.import_users(ROWS, HEADER)
    return relay.start()


def put(relay, rcpt, n=1, extra=b"", source="127.0.0.5"):
    for _ in range(n):
        data = mail.message(SENDER, rcpt, extra=extra)
        assert mail.send(relay.port, SENDER, rcpt, data, source=source)[0] == 250


def ids(messages):
    return [re.search(rb"^Message-ID: (\S+)", m.data, re.M).group(1) for m in messages]


def identity(b):
    return b["received"] == (b["replayed"] + b["forwarded_only"] + b["bounced"] + b["dropped"] +
                             b["held"])


def test_spec_8_11_a_share_is_copied_in_peace_time(world):
    n = 60
    relay = peace(world)
    put(relay, WARM, n)
    put(relay, COLD, n)
    b = relay.wait_balance(received=2 * n, replayed=2 * n, held=0, forward_waiting=0)
    copies = world.recovery.messages
    assert n / 6 < len(copies) < n * 5 / 6          # five times the spread of a fair draw
    assert b["forwarded"] == len(copies) and identity(b)
    assert n / 6 < b["forward_skipped"] < n * 5 / 6     # drawn, but anna had not agreed
    assert {r for m in copies for r in m.rcpts} == {"mario@recovery.example"}
    stored = ids(world.store.messages)
    assert len(set(stored)) == 2 * n and len(set(ids(copies))) == len(copies)
    assert set(ids(copies)) < set(stored)
    for m in copies:            # our return path, and all that a copy of an outage has
        assert m.mail_from.endswith("@fwd.relay.example")
        assert b"X-Forwarded-For: mario@shop.example" in m.data
    # mail that is not ordinary: bulk, what did not prove its author, who has no address
    put(relay, WARM, 6, extra=b"List-Id: <l.sender.example>\r\n")
    put(relay, WARM, 6, source="127.0.0.6")
    put(relay, "solo@shop.example", 6)
    relay.wait_balance(received=2 * n + 18, replayed=2 * n + 18, forward_waiting=0)
    assert len(world.recovery.messages) == len(copies)
    # he has had enough: at once, whatever the directory says
    relay.command("users", "optout", WARM, "--reason", "asked by phone")
    put(relay, WARM, 10)
    relay.wait_balance(replayed=2 * n + 28, forward_waiting=0, forwarded=len(copies))


def test_spec_8_11_an_outage_between(world):
    """Failover forwards for everybody, also what was passed over before; after it peace again."""
    relay = peace(world)
    world.down()
    put(relay, COLD, 8)             # the primary is gone, nobody has noticed yet
    relay.wait_balance(received=8, held=8, forwarded=0, forward_waiting=0)
    relay.failover("on")
    relay.wait_balance(forwarded=8, forward_waiting=0, forward_skipped=0)
    put(relay, COLD, 2)
    relay.wait_balance(forwarded=10, held=10)
    world.up()
    relay.failover("off")
    relay.wait_balance(replayed=10, held=0)
    put(relay, COLD, 8)
    b = relay.wait_balance(received=18, replayed=18, forward_waiting=0, forwarded=10)
    assert identity(b)
    assert len(set(ids(world.store.messages))) == 18


def test_spec_8_11_kill_9_with_copies_under_way(world):
    relay = peace(world)
    acked = []

    def client():
        while len(acked) < 150:
            data = mail.message(SENDER, WARM)
            try:
                if mail.send(relay.port, SENDER, WARM, data)[0] == 250:
                    acked.append(re.search(rb"^Message-ID: (\S+)", data, re.M).group(1))
            except OSError:
                if stop.wait(0.05):
                    return

    stop = threading.Event()
    threads = [threading.Thread(target=client) for _ in range(3)]
    for t in threads:
        t.start()
    try:
        for at in (30, 80):
            world.store.wait(at)
            relay.kill()
            relay.start()
        for t in threads:
            t.join(60)
    finally:
        stop.set()
    assert not any(t.is_alive() for t in threads)
    b = relay.wait_balance(held=0, forward_waiting=0)
    assert identity(b) and b["received"] >= len(acked)
    assert set(acked) <= set(ids(world.store.messages))     # nothing lost
    copies = ids(world.recovery.messages)
    assert len(copies) > len(acked) / 6
    twice = len(copies) - len(set(copies))
    assert twice <= 2 * 10                                  # what was in flight at two kills


def test_spec_8_11_a_share_that_cannot_work_is_refused(world):
    relay = world.relay(users=None, start=False, in_domain="baseline-share = 5\nstandby = defer")
    r = relay.command("check", check=False, json_out=False)
    assert r.returncode != 0
    assert "baseline-share" in r.stdout + r.stderr and "standby = relay" in r.stdout + r.stderr


def volume(relay):
    found = relay.roles("queue")[0]["volumes"]
    return [(v["today"], v["allowed"]) for v in found]


def test_spec_8_11_a_day_is_full_but_for_what_is_urgent(world):
    """The first day takes volume-start copies; a one-time code goes all the same, the rest waits
    and stays here, and a restart forgets nothing of it."""
    world.dns.set("_dmarc.sender.example", {"TXT": ["v=DMARC1; p=none"]})
    relay = world.relay(start=False, more=FAST)
    relay.write_conf(volume=4)
    relay.start()
    world.down()
    relay.failover("on")
    put(relay, WARM, 7)
    relay.wait_balance(received=7, forwarded=4, forward_waiting=3)
    relay.stop()
    relay.start()
    put(relay, WARM, 2)
    put(relay, COLD, 2, extra=b"Auto-Submitted: auto-generated\r\n")     # class 0 (T3)
    b = relay.wait_balance(received=11, held=11, forwarded=6, forward_waiting=5)
    assert identity(b)
    assert volume(relay) == [(6, 4)]
    assert {m.rcpts[0] for m in world.recovery.messages[4:]} == {"anna@recovery.example"}
    assert "provider-volume" in [a["what"] for a in relay.roles("queue")[0]["alarms"]]
    words = relay.command("why", WARM, json_out=False)
    assert "6 copies today of 4" in words and "only class 0 goes" in words
    assert "LARGEST" in relay.command("status", json_out=False)
    world.up()
    relay.failover("off")
    relay.wait_balance(replayed=11, held=0, forward_waiting=0)
    assert len(world.store.wait(11)) == 11
