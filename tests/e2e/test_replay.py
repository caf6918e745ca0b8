# SPDX-License-Identifier: Apache-2.0
"""Replay into the primary with real daemons (spec 11): the ramp, what an operator may say,
another primary, over quota, refusals, and what a killed queue does with the copy it sent."""
import json
import os
import signal
import subprocess
import time

from tests.e2e.conftest import zones
from tests.lib import mail
from tests.lib.relay import BINARY
from tests.lib.sink import Sink

SENDER, USER, ANNA = "news@sender.example", "mario@shop.example", "anna@shop.example"


def until(what, timeout=20):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        got = what()
        if got:
            return got
        time.sleep(0.05)
    raise AssertionError("not in time")


def hold(world, relay, count, users=(USER, ANNA)):
    """`count` messages held while failover is on; their bytes."""
    relay.failover("on")
    sent = [mail.message(SENDER, users[i % len(users)], "n%d" % i) for i in range(count)]
    for i, data in enumerate(sent):
        assert mail.send(relay.port, SENDER, users[i % len(users)], data)[0] == 250
    relay.wait_balance(received=count, held=count)
    return sent


def replay(relay, *words):
    return relay.command("replay", *words)["domains"][0]


def queue_id(data):
    return [l for l in data.split(b"\r\n") if l.startswith(b"X-Fwd-Queue-Id: ")][0]


def audited(relay, event):
    with open(os.path.join(relay.state, "queue", "audit.log")) as f:
        return [r for r in map(json.loads, f) if r.get("event") == event]


def test_a_paused_replay_lets_new_mail_through_and_goes_on_when_resumed(world):
    relay = world.relay()
    sent = hold(world, relay, 6)
    relay.command("replay", "pause", "shop.example", "--reason", "store admin asked", json_out=False)
    relay.failover("off")
    fresh = mail.message(SENDER, USER, "fresh")
    assert mail.send(relay.port, SENDER, USER, fresh)[0] == 250
    got = world.store.wait(1)
    assert len(got) == 1 and got[0].data.endswith(fresh)          # spec 11.5
    d = replay(relay, "status", "shop.example")
    assert (d["state"], d["held"], d["phase"]) == ("paused", 6, "replay")
    relay.kill()                                                  # an operator's word outlives us
    relay.start()
    time.sleep(0.5)
    assert replay(relay)["state"] == "paused" and len(world.store.messages) == 1
    dry = relay.command("replay", "--dry-run", "shop.example")["domains"][0]
    assert dry["would_replay"] == 6 and dry["bytes"] == sum(map(len, sent))
    assert replay(relay, "resume", "shop.example")["state"] != "paused"
    got = world.store.wait(7)
    relay.wait_balance(received=7, replayed=7, held=0)
    for user in (USER, ANNA):                                     # spec 11.4
        mine = [m.data for m in got[1:] if m.rcpts == [user]]
        want = [d for i, d in enumerate(sent) if (USER, ANNA)[i % 2] == user]
        assert len(mine) == 3 and all(m.endswith(d) for m, d in zip(mine, want))
    words = [(r["to"].split()[0], r["reason"]) for r in audited(relay, "replay")]
    assert words == [("paused", "store admin asked"), ("running", "resume")]
    until(lambda: relay.command("failover", "show")["domains"][0]["phase"] == "standby")


def test_a_rate_holds_and_status_tells_the_end(world):
    relay = world.relay()
    hold(world, relay, 30)
    relay.command("replay", "rate", "shop.example", "4/s", json_out=False)
    relay.failover("off")
    began = time.monotonic()
    world.store.wait(8)
    d = until(lambda: (lambda d: d if d["left_s"] is not None else None)(replay(relay)))
    assert d["state"] == "running" and d["rate_max"] == 240 and d["delivered"] >= 4
    assert 1 <= d["left_s"] <= 60 and d["p95_ms"] >= 1
    assert len(world.store.messages) <= 4 * (time.monotonic() - began) + 5
    relay.command("replay", "rate", "shop.example", "none", json_out=False)
    assert len(world.store.wait(30)) == 30
    relay.wait_balance(replayed=30, held=0)
    text = relay.command("replay", json_out=False)
    assert "shop.example" in text and "IN FLIGHT" in text


def test_another_primary_when_the_old_one_is_gone_for_good(world):
    """Permanent loss: held and new mail goes to the other store, across a restart, until
    the operator takes it back."""
    relay = world.relay()
    sent = hold(world, relay, 4)
    world.down()
    other = Sink(lmtp=True)
    try:
        relay.failover("off")
        relay.command("replay", "--to", "lmtp://127.0.0.1:%d" % other.port, "shop.example",
                      "--reason", "shelf burnt")
        assert len(other.wait(4)) == 4
        relay.kill()
        relay.start()
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
        # a kill between a 250 and our note of it may repeat one (11.3)
        until(lambda: len({queue_id(m.data) for m in other.messages}) == 5)
        assert all(any(m.data.endswith(d) for m in other.messages) for d in sent)
        relay.wait_balance(received=5, replayed=5, held=0, bounced=0)
        d = replay(relay)
        assert d["to"].endswith(":%d" % other.port) and d["primary"] == "lmtp:127.0.0.1:%d" % other.port
        world.up()
        relay.command("replay", "--to", "primary", "shop.example", "--reason", "new shelf")
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
        assert len(world.store.wait(1)) == 1 and len({queue_id(m.data) for m in other.messages}) == 5
        words = [r["to"] for r in audited(relay, "replay")]
        assert len(words) == 2 and "to=lmtp://" in words[0] and "to=primary" in words[1]
        for bad in ("mx", "http://x", "lmtp://", "lmtp://h:0"):
            r = relay.command("replay", "--to", bad, "shop.example", "--reason", "x", check=False)
            assert r.returncode == 1, bad
    finally:
        other.close()


def test_spec_11_2_over_quota_is_kept_and_tried_again(world):
    """452 4.2.2 and 552 5.2.2: not refused, not parked, no alarm, and the ramp does not mind."""
    relay = world.relay()
    hold(world, relay, 4)
    full = {USER: "452 4.2.2 over quota", ANNA: "552 5.2.2 over quota"}
    world.down()
    world.up(script=lambda stage, arg: full.get(arg) if stage == "end" else None)
    relay.failover("off")
    d = until(lambda: (lambda d: d if d["over_quota"] >= 4 else None)(replay(relay)))
    assert d["held"] == 4 and d["deferred"] == 0 and d["refused"] == 0
    m = relay.command("queue", "list")["messages"][0]
    shown = relay.command("queue", "show", m["id"])["message"]["recipients"][0]["hold"]
    assert shown["state"] == "waiting" and shown["code"] in (452, 552) and "2.2" in shown["note"]
    assert relay.log().count("primary-refused") == 0
    full.clear()
    assert len(world.store.wait(4)) == 4
    relay.wait_balance(replayed=4, held=0, bounced=0)


def test_spec_11_2_a_550_storm_is_not_believed_and_start_tries_again(world):
    relay = world.relay()
    hold(world, relay, 5)
    denied = {"on": True}
    world.down()
    world.up(script=lambda stage, arg: "550 5.1.1 who?" if stage == "rcpt" and denied["on"] else None)
    relay.failover("off")
    d = until(lambda: (lambda d: d if d["refused"] == 5 else None)(replay(relay)))
    assert d["held"] == 5
    b = relay.balance()
    assert b["bounced"] == 0 and b["held"] == 5
    assert relay.log().count("what=primary-refused id=") == 5
    denied["on"] = False
    r = relay.command("replay", "start", "shop.example", "--reason", "index rebuilt")
    assert r["count"] == 5
    assert len(world.store.wait(5)) == 5
    relay.wait_balance(replayed=5, held=0, bounced=0)


def test_spec_11_2_any_refusal_is_an_alarm_until_nothing_is_held(world):
    """Not only "no such user": a 554 about the content waits for the operator as well."""
    alarms = lambda: [a["alarm"] for a in relay.status()["alarms"]]
    relay = world.relay()
    hold(world, relay, 1)
    world.down()
    world.up(script=lambda stage, arg: "554 5.6.0 what is this" if stage == "end" else None)
    relay.failover("off")
    until(lambda: "primary-refused" in alarms())
    assert relay.balance()["held"] == 1
    relay.command("queue", "bounce", "--domain", "shop.example", "--reason", "it is right")
    relay.wait_balance(bounced=1, held=0)
    until(lambda: "primary-refused" not in alarms())


def test_spec_11_2_a_refusal_ends_with_retention(world):
    """Nobody confirms the refusal and the time is over: tried again to be sure, then its sender
    is told; not while failover is on, and not what an operator has put on hold."""
    relay = world.relay(top="hold-retention = 3s\nretention-attempts = 3")
    no = {"on": True}
    world.store.script = lambda stage, arg: "550 5.1.1 who?" if stage == "rcpt" and no["on"] else None
    zone = dict(zones()["sender.example"], MX=["10 mx.recovery.example."])
    world.dns.set("sender.example", zone)
    for user in ("solo@shop.example", ANNA):
        assert mail.send(relay.port, SENDER, user, mail.message(SENDER, user))[0] == 250
    until(lambda: len(relay.command("queue", "list", "--state", "refused")["messages"]) == 2)
    relay.command("queue", "hold", "--user", ANNA)
    relay.failover("on")
    time.sleep(4)       # old enough by now, and nothing has happened
    assert relay.balance()["bounced"] == 0
    relay.failover("off")
    relay.wait_balance(bounced=1, held=1, replayed=0)
    told = until(lambda: [m for m in world.recovery.messages if SENDER in m.rcpts])
    assert told[0].mail_from == "" and b"550 5.1.1" in told[0].data
    assert b"Final-Recipient: rfc822; solo@shop.example" in told[0].data
    no["on"] = False
    relay.command("queue", "release", "--user", ANNA)
    relay.wait_balance(bounced=1, held=0, replayed=1)


def test_spec_11_4_oldest_first_over_several_incidents(world):
    """Failover goes off too early and on again, with mail left and new mail in between: each
    mailbox gets its mail in the order in which it came. Twice, as files of the first time are
    there in the second."""
    relay = world.relay()

    def say(subject):
        data = mail.message(SENDER, USER, subject)
        assert mail.send(relay.port, SENDER, USER, data)[0] == 250

    for incident in "ab":
        world.store.messages.clear()
        world.down()
        for i, mode in enumerate(("off", "on", "off", "on")):
            relay.failover(mode)
            say("%s%d" % (incident, 2 * i))
            say("%s%d" % (incident, 2 * i + 1))
        relay.wait_balance(held=8)
        world.up()
        relay.failover("off")
        got = world.store.wait(8)
        relay.wait_balance(held=0)
        subjects = [l for m in got for l in m.data.split(b"\r\n") if l.startswith(b"Subject: ")]
        assert subjects == [b"Subject: %s%d" % (incident.encode(), i) for i in range(8)]


def test_replay_start_says_what_to_do_while_failover_is_on(world):
    relay = world.relay()
    hold(world, relay, 1)
    r = relay.command("replay", "start", "shop.example", "--reason", "x", check=False)
    assert r.returncode == 1 and "failover off" in r.stdout + r.stderr
    r = relay.command("replay", "pause", "nowhere.example", "--reason", "x", check=False)
    assert r.returncode == 1 and "no such domain" in r.stdout + r.stderr
    for words in (("replay", "pause", "shop.example"), ("replay", "rate", "shop.example", "fast"),
                  ("replay", "--dry-run"), ("replay", "a.example", "b.example")):
        r = subprocess.run([BINARY, words[0], "-c", relay.conf] + list(words[1:]), capture_output=True)
        assert r.returncode == 2, words


def test_spec_14_4_case_20(world):
    """kill -9 between the store's 250 and our record of it: the copy that comes again has the
    same X-Fwd-Queue-Id, and the balance counts it once."""
    relay = world.relay()
    sent = hold(world, relay, 3, users=(USER,))
    armed = {"left": 3}

    def script(stage, arg):
        # All roles die in the moment in which the store has the message and its 250 leaves.
        if stage == "end" and armed["left"] > 0 and len(world.store.messages) > 3 - armed["left"]:
            armed["left"] -= 1
            os.kill([r["pid"] for r in roles if r["role"] == "queue"][0], signal.SIGKILL)
        return None

    world.down()
    world.up(script=script)
    relay.command("replay", "pause", "shop.example", "--reason", "arm the trap", json_out=False)
    relay.failover("off")
    roles = relay.status()["roles"]
    relay.command("replay", "resume", "shop.example", json_out=False)
    until(lambda: armed["left"] < 3)
    armed["left"] = 0
    relay.wait_ready()
    relay.wait_balance(received=3, replayed=3, held=0)
    got = [m.data for m in world.store.messages]
    ids = [queue_id(d) for d in got]
    assert len(set(ids)) == 3 and len(got) == 4, ids              # the duplicate has the same id
    for data in sent:
        copies = [d for d in got if d.endswith(data)]
        assert copies and len({queue_id(c) for c in copies}) == 1


def test_spec_12_5_replayed_mail_is_kept_for_a_grace_and_can_be_replayed_again(world):
    """A store that loses what it took: again, by user and time, with the ids of the first
    time; then the grace is over and the space comes back."""
    relay = world.relay()
    relay.write_conf(top="segment-size = 64K", grace="1h")
    relay.stop()
    relay.start()
    sent = hold(world, relay, 6)
    relay.failover("off")
    first = {queue_id(m.data) for m in world.store.wait(6)}
    relay.wait_balance(replayed=6, held=0)
    until(lambda: relay.command("failover", "show")["domains"][0]["phase"] == "standby")
    relay.stop()                        # kept over a stop,
    relay.start()
    relay.kill()                        # and over a crash
    relay.start()
    r = relay.command("replay", "again", "shop.example", "--since", "1h", "--user", USER, "--reason", "x", "--dry-run")
    assert r["count"] == 3 and len(world.store.messages) == 6
    del world.store.messages[:]         # lost
    r = relay.command("replay", "again", "shop.example", "--since", "1h", "--user", USER, "--reason", "backup of noon")
    assert r["count"] == 3
    assert [m.rcpts for m in world.store.wait(3)] == [[USER]] * 3
    relay.wait_balance(replayed=6, held=0)      # the store has it a moment before we know
    r = relay.command("replay", "again", "shop.example", "--since", "1h", "--reason", "backup of noon")
    assert r["count"] == 6
    got = world.store.wait(9)
    relay.wait_balance(received=6, replayed=6, held=0)
    assert {queue_id(m.data) for m in got} == first and len(got) == 9
    assert all(any(m.data.endswith(d) for m in got) for d in sent)
    assert relay.command("replay", "again", "shop.example", "--since", "1s", "--user", ANNA, "--reason", "x")["count"] in (0, 3)
    assert [a["reason"] for a in audited(relay, "again")][:2] == ["backup of noon"] * 2
    relay.wait_balance(received=6, replayed=6, held=0)
    until(lambda: relay.command("failover", "show")["domains"][0]["phase"] == "standby")
    relay.stop()
    relay.write_conf(grace="1s")
    relay.start()
    until(lambda: relay.status()["queue"]["segments"] == 0, 60)
    relay.wait_balance(received=6, replayed=6, held=0)
    assert relay.command("replay", "again", "shop.example", "--since", "1h", "--reason", "x")["count"] == 0
