# SPDX-License-Identifier: Apache-2.0
"""The story of an outage with the real daemons of a provider: Postfix in front, Dovecot as
the store, the relay beside them. The store dies under load; the relay sees it and holds and
forwards by itself; its roles are killed; the store comes back slow and half broken, then
well, which the relay sees as well. At the end the books balance and every acknowledged
message is in its mailbox."""
import collections
import datetime
import email.utils
import os
import random
import re
import signal
import smtplib
import threading
import time

import pytest

from tests.lib import mail
from tests.lib.dovecot import Dovecot
from tests.lib.ports import free_port
from tests.lib.storefront import Door, Postfix

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="Debian's Postfix runs only as root")
USERS = ["u%d@shop.example" % i for i in range(12)]
LONG = bool(os.environ.get("STORY_LONG"))
AUTO = """failover = auto
probe { depth = greeting every = 1s timeout = 2s enter-after = 2 leave-after = 2 settle = 1s }"""


class Load(threading.Thread):
    """Sends through the front until stopped; remembers what was acknowledged."""

    def __init__(self, port, number):
        super().__init__(daemon=True)
        self.port, self.number, self.on, self.sent, self.pace = port, number, True, {}, 0.02
        self.random = random.Random(number)
        self.start()

    def run(self):
        client, n = None, 0
        while self.on:
            n += 1
            tag, user = "tag-%d-%d" % (self.number, n), self.random.choice(USERS)
            body = b"".join(b"%s %d\r\n.\r\n..dots \xe8\r\n" % (tag.encode(), i)
                            for i in range(self.random.randint(1, 60)))
            data = mail.message("a%d@sender.example" % self.number, user, tag, body)
            try:
                if client is None:
                    client = smtplib.SMTP("127.0.0.1", self.port, local_hostname="mail.sender.example", timeout=60)
                    client.ehlo()
                client.sendmail("a%d@sender.example" % self.number, [user], data, ["BODY=8BITMIME"])
                self.sent[tag] = (user, data)
            except (smtplib.SMTPException, OSError):
                client = None
            time.sleep(self.pace)

    def stop(self):
        self.on = False
        self.join(70)


class Site:
    def __init__(self, world):
        self.world = world
        self.dovecot = Dovecot(world.folder)
        self.dovecot.start()
        self.front_door, self.door = Door(self.dovecot.port), Door(self.dovecot.port)
        self.front_door.open()
        self.door.open()               # before the relay looks at it
        self.lmtp = free_port()
        world.dns.set("sender.example", {"TXT": ["v=spf1 ip4:127.0.0.5 -all"], "MX": ["10 mx.recovery.example."]})
        self.relay = world.relay(
            users=["%s,%s" % (u, u.replace("shop", "recovery")) for u in USERS],
            primary="lmtp://127.0.0.1:%d" % self.door.port, in_domain=AUTO,
            top='trusted-relay = { "127.0.0.1/32" }\nforward-unauthenticated = yes\nreplay-connections-max = 8\n'
                'replay-latency = 1s\nreply-timeout = 10s\n'
                'listen "127.0.0.1:%d" { protocol = lmtp }' % self.lmtp)
        self.front = Postfix(world.folder, self.front_door.port, self.lmtp, world.recovery.port).start()
        self.loads = []
        self.kills, self.shut_at = collections.Counter(), []

    def close(self):
        for l in self.loads:
            l.on = False
        self.front.stop()
        for d in (self.front_door, self.door):
            d.close()
        self.dovecot.stop()

    def kill_a_role(self, name):
        pids = [r["pid"] for r in self.relay.roles(name)]
        os.kill(random.choice(pids), signal.SIGKILL)
        self.kills[name] += 1

    def shut(self, *doors):
        self.shut_at.append(time.time())
        for d in doors:
            d.shut()

    def group(self):
        return self.relay.command("failover", "list")["domains"][0]

    def replay(self):
        return self.relay.command("replay", "status", "shop.example")["domains"][0]

    def store(self):
        """{tag: [(user, bytes)]} of all mailboxes."""
        found = collections.defaultdict(list)
        for u in USERS:
            for data in self.dovecot.mails(u):
                tag = [l for l in data.split(b"\r\n") if l.startswith(b"Subject: ")][0][9:].decode()
                found[tag].append((u, data))
        return found


@pytest.fixture
def site(world, request):
    s = Site(world)
    yield s
    if getattr(request.node, "failed_call", False):
        print("--- postfix\n" + "\n".join(s.front.log().splitlines()[-30:]))
    s.close()


def until(what, timeout=30):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        got = what()
        if got:
            return got
        time.sleep(0.1)
    raise AssertionError("not in time")


def queue_ids(copies):
    return [l for _, data in copies for l in data.split(b"\r\n") if l.startswith(b"X-Fwd-Queue-Id: ")]


def log_time(line):
    return datetime.datetime.fromisoformat(line.split(" ", 1)[0].replace("Z", "+00:00")).timestamp()


def stored(data):
    """When Dovecot wrote it: its own Received is the first."""
    text = re.search(rb"^Received:.*?;\s*([^;]*?)\r\n(?![ \t])", data, re.M | re.S).group(1)
    return email.utils.parsedate_to_datetime(text.decode()).timestamp()


def near(when, events):
    return any(-10 <= when - e <= 5 for e in events)


def explain_double(header, copies, lines, deaths):
    """The relay sends twice only what it could not know the end of: it was cut off after the
    final dot, or a role died while the result was on its way to the disk."""
    number = header.split(b": ")[1].decode()
    cut = [l for l in lines if " not-delivered id=%s leg=hold outcome=3 " % number in l]
    assert len(cut) >= len(copies) - 1 or near(min(stored(c) for c in copies), deaths), (number, cut, deaths)


def explain_front(copies, lines, events):
    """The front sends twice when its connection ended before the reply."""
    first = min(stored(d) for _, d in copies if not queue_ids([(None, d)])) if any(
        not queue_ids([c]) for c in copies) else None
    taken = [log_time(l) for i in queue_ids(copies) for l in lines
             if " accepted id=%s " % i.split(b": ")[1].decode().split("/")[0] in l]
    assert near(first, events) if first is not None else any(near(t, events) for t in taken), (first, taken, events)


def check(site, sent):
    """Each acknowledged message is there, whole; doubles carry the id of the first, and each
    has its reason in the log."""
    relay, found = site.relay, site.store()
    missing = [t for t in sent if t not in found]
    assert not missing, "%d of %d lost: %s" % (len(missing), len(sent), missing[:5])
    ids, doubles, front_doubles, lines = set(), 0, 0, relay.log().splitlines()
    deaths = [log_time(l) for l in lines if " role-died " in l and re.search(r"role=(relay|queue) ", l)]
    for tag, copies in found.items():
        if tag in sent:
            user, data = sent[tag]
            assert all(u == user and d.endswith(data) for u, d in copies), tag
        mine = queue_ids(copies)
        doubles += len(mine) - len(set(mine))
        front_doubles += len(copies) - len(mine) + len(set(mine)) - 1
        ids |= set(mine)
        for i in {i for i in mine if mine.count(i) > 1}:
            explain_double(i, [d for _, d in copies if i in d.split(b"\r\n")], lines, deaths)
        if len(copies) - len(mine) + len(set(mine)) > 1:
            explain_front(copies, lines, deaths + site.shut_at)
    b = relay.balance()
    assert b["received"] == b["replayed"] == len(ids) and b["held"] == 0 and b["balanced"], (b, len(ids))
    assert b["bounced"] == b["dropped"] == 0
    return doubles, front_doubles


def test_the_story_of_an_outage(site, world):
    relay, seconds = site.relay, 10 if LONG else 3
    site.loads = [Load(site.front.port, i) for i in range(2)]
    time.sleep(2)
    until(lambda: site.front_door.delivered > 10)                 # peace: the front uses the store
    assert relay.balance()["received"] == 0

    # The store dies under load. What the front has goes to the relay; it sees for itself that
    # the store is dead, holds and forwards.
    assert site.group()["phase"] == "standby"
    site.shut(site.front_door, site.door)
    g = until(lambda: (lambda g: g if g["phase"] == "active" else None)(site.group()))
    assert g["mode"] == "auto" and "probes failed" in g["phase_reason"], g
    assert g["phase_evidence"]["cause"] == "probes"
    until(lambda: relay.balance()["held"] > 20)
    until(lambda: len(world.recovery.messages) > 10)
    for name in ("relay", "verify", "queue", "seal", "directory"):
        site.kill_a_role(name)
        time.sleep(0.7)
        relay.wait_ready()
    time.sleep(seconds)
    held = relay.balance()["held"]
    assert held > 50 and site.door.delivered == 0

    # It comes back slow and half broken: some 4xx, a mailbox denied, another one full, and
    # now and then the connection is lost after the message.
    dice = random.Random(7)

    def broken(stage, rcpt):
        if stage == "rcpt":
            return {USERS[1]: "550 5.1.1 who?"}.get(rcpt)
        if rcpt == USERS[2]:
            return "452 4.2.2 mailbox full"
        return "451 4.3.0 busy" if dice.random() < 0.2 else "LOST" if dice.random() < 0.03 else None
    site.door.script, site.door.delay = broken, 0.05
    site.door.open()
    until(lambda: site.group()["phase"] == "replay")              # seen as well
    until(lambda: site.replay()["deferred"] > 5)
    until(lambda: site.replay()["limit"] <= 4)                    # it backs off
    for name in ("queue", "relay"):
        site.kill_a_role(name)
        time.sleep(0.7)
        relay.wait_ready()
    # Dead again in the middle of it, then back and well, but for the mailboxes.
    site.shut(site.door)
    until(lambda: site.group()["phase"] == "active")              # and this
    site.door.script = lambda stage, rcpt: broken(stage, rcpt) if rcpt in USERS[1:3] else None
    site.door.delay = 0.01
    site.door.open()
    for l in site.loads:
        l.stop()
    sent = {t: v for l in site.loads for t, v in l.sent.items()}
    until(lambda: site.front.queued() == 0, 60)
    until(lambda: not any(u not in USERS[1:3] for u in held_users(relay)), 60)
    assert site.replay()["refused"] + len(held_users(relay)) > 0
    b = relay.balance()
    assert b["bounced"] == 0 and b["held"] > 0                    # 550 and full: kept, not believed

    # All is well: the full one by itself, the denied one when the operator says so.
    site.door.script = lambda stage, rcpt: None
    relay.command("replay", "start", "shop.example", "--reason", "index rebuilt")
    relay.wait_balance(held=0, timeout=60)
    until(lambda: relay.command("failover", "show")["domains"][0]["phase"] == "standby")
    site.front_door.open()

    doubles, front_doubles = check(site, sent)
    assert doubles <= 60 and front_doubles <= 40
    assert not [m for m in world.recovery.messages if m.mail_from == "" or
                any(r.endswith("@sender.example") for r in m.rcpts)], "somebody was told"
    b = relay.balance()
    assert b["forwarded"] > 10
    print("sent %d, held %d, doubles %d, of the front %d, kills %r" % (
        len(sent), b["received"], doubles, front_doubles, dict(site.kills)))


def held_users(relay):
    return [m["rcpt"] for m in relay.command("queue", "list", "--state", "held", "--limit", "0")["messages"]]
