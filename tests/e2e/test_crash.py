# SPDX-License-Identifier: Apache-2.0
"""P1 from outside: the whole relay is killed with -9 at random instants under load;
every message that was answered 250 is in the store at the end, none damaged."""
import hashlib
import os
import random
import smtplib
import threading
import time

from tests.lib import mail
from tests.lib.sink import Sink

KILLS = int(os.environ.get("CRASH_KILLS", "20"))
SENDER, USER = "news@sender.example", "mario@shop.example"


def body_for(n):
    seed = hashlib.sha256(str(n).encode()).hexdigest().encode()
    size = random.choice([1, 3, 60, 900])
    return (seed + b"\r\n.\r\n..x\r\n") * size


class Load(threading.Thread):
    """Sends until told to stop; remembers exactly what was acknowledged."""

    def __init__(self, port, number):
        super().__init__(daemon=True)
        self.port, self.number = port, number
        self.acknowledged, self.stop, self.refused = {}, False, []

    def run(self):
        n = 0
        while not self.stop:
            try:
                c = smtplib.SMTP("127.0.0.1", self.port, timeout=20,
                                 source_address=("127.0.0.5", 0))
                c.ehlo("load.example")
                for _ in range(10):
                    n += 1
                    key = "%d-%d" % (self.number, n)
                    data = mail.message(SENDER, USER, key, body_for(key))
                    if c.mail(SENDER)[0] != 250 or c.rcpt(USER)[0] != 250:
                        break
                    code, text = c.data(data)
                    if code == 250:
                        self.acknowledged[key] = data
                    elif code >= 500:
                        self.refused.append((code, text))
                    if self.stop:
                        break
                c.quit()
            except (OSError, EOFError, smtplib.SMTPException):
                time.sleep(0.02)


def test_kill_the_whole_relay_at_random_instants(world):
    rng = random.Random(20230123)
    relay = world.relay()
    world.down()
    relay.failover("on")
    loads = [Load(relay.port, i) for i in range(4)]
    for load in loads:
        load.start()
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.05, 0.7))
        relay.kill()
        relay.start()
    time.sleep(0.3)
    for load in loads:
        load.stop = True
    for load in loads:
        load.join(60)
    acknowledged = {k: d for load in loads for k, d in load.acknowledged.items()}
    assert not [r for load in loads for r in load.refused], "5xx for our own trouble (P2)"
    assert len(acknowledged) > KILLS, "the load was too light to show anything"
    relay.kill()        # once more with nothing arriving
    relay.start()
    held = relay.balance()["received"]
    assert held >= len(acknowledged)
    world.up()
    relay.failover("off")
    relay.wait_balance(timeout=120, held=0)
    b = relay.balance()
    assert b["received"] == b["replayed"] + b["bounced"] + b["dropped"] + b["forwarded_only"] + b["held"]

    def digest(data):
        return hashlib.sha256(data).digest()

    arrived = {}
    for m in world.store.messages:
        at = m.data.index(b"From: <" + SENDER.encode())
        arrived.setdefault(digest(m.data[at:]), []).append(m)
    lost = [k for k, d in acknowledged.items() if digest(d) not in arrived]
    assert not lost, "%d of %d acknowledged messages lost" % (len(lost), len(acknowledged))
    known = {digest(d) for d in acknowledged.values()}
    # What was committed but not answered before the kill may arrive too; it must be
    # whole: its subject names the body it must have.
    for key, copies in arrived.items():
        if key not in known:
            data = copies[0].data[copies[0].data.index(b"From: <"):]
            seed = hashlib.sha256(data.split(b"Subject: ")[1].split(b"\r\n")[0]).hexdigest().encode()
            assert data.split(b"\r\n\r\n", 1)[1].startswith(seed)
            assert data.endswith(b"..x\r\n")
    duplicates = sum(len(v) - 1 for v in arrived.values())
    print("kills %d, acknowledged %d, delivered %d, duplicates %d, lost 0"
          % (KILLS, len(acknowledged), len(world.store.messages), duplicates))


def test_kill_during_replay_duplicates_at_most_what_was_in_flight(world):
    relay = world.relay(top="connections-max = 4")
    world.down()
    relay.failover("on")
    count = 200
    c = smtplib.SMTP("127.0.0.1", relay.port, timeout=20, source_address=("127.0.0.5", 0))
    for i in range(count):
        c.sendmail(SENDER, [USER], mail.message(SENDER, USER, "r%d" % i))
    c.quit()
    world.up()
    relay.failover("off")
    kills = 5
    for i in range(kills):
        world.store.wait(min(count, 20 * (i + 1)))
        relay.kill()
        relay.start()
    relay.wait_balance(timeout=60, held=0, received=count, replayed=count)
    subjects = [s for m in world.store.messages for s in m.data.split(b"\r\n") if s.startswith(b"Subject: r")]
    assert len(set(subjects)) == count
    print("kills %d, delivered %d, duplicates %d" % (kills, count, len(subjects) - count))
