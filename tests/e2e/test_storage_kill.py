# SPDX-License-Identifier: Apache-2.0
"""P1 and P7 under kill -9: all roles at once, or any one of them, at random instants
while mail comes in, is held, forwarded and replayed, and logs are rewritten (one of the
two users is refused throughout, so that segments stay with a few messages each; held
mail is compressed). Nothing acknowledged is lost or damaged, and a delivery is repeated
only if it was in flight at a kill."""
import os
import random
import signal
import time

from tests.crash.kit import LONG, SEED, Loads, Tally, accepts, identity
from tests.lib.relay import alive

KILLS = int(os.environ.get("CRASH_STORM", "200" if LONG else "20"))
CONNECTIONS = 4
TOP = "segment-size = 64K\nconnections-max = %d\n" % CONNECTIONS


def kill_one(relay, rng):
    """The kind of role that died; it is back when this returns."""
    roles = relay.roles()
    kind = rng.choice(sorted({r["role"] for r in roles}))
    role = rng.choice([r for r in roles if r["role"] == kind])
    os.kill(role["pid"], signal.SIGKILL)
    end = time.monotonic() + 10
    while alive(role["pid"]) and time.monotonic() < end:
        time.sleep(0.002)
    relay.wait_ready()
    return role["role"]


def test_a_storm_of_kills(world):
    rng = random.Random(SEED)
    closed, shy = [False], [True]
    world.down()
    world.up(script=lambda stage, arg: "451 4.3.2 later" if (closed[0] and
             stage in ("mail", "rcpt")) or (shy[0] and stage == "rcpt" and "anna" in arg)
             else None)
    relay = world.relay(top=TOP)
    loads = Loads(relay.port, pause=0.004)
    killed, began = {}, time.monotonic()
    for i in range(KILLS):
        closed[0] = rng.random() < 0.3
        if rng.random() < 0.2:
            relay.failover(rng.choice(["on", "off"]))
        time.sleep(rng.uniform(0.02, 0.5))
        if rng.random() < 0.5:
            relay.kill()
            relay.start()
            what = "all"
        else:
            what = kill_one(relay, rng)
        killed[what] = killed.get(what, 0) + 1
    back, _ = accepts(relay.port, "after", 5)
    loads.stop()
    loads.check_answers(limit=20)	# a verify that died is waited for; 5 s are for the disk
    closed[0] = shy[0] = False
    relay.failover("off")
    b = relay.wait_balance(timeout=120, held=0, forward_waiting=0)
    tally = Tally(world.store.messages, loads.acknowledged()).check()
    copies = Tally(world.recovery.messages, {}, forward=True)
    assert not copies.corrupt and not copies.strange
    assert identity(b) and b["replayed"] == tally.distinct, (b, str(tally))
    print("kills %r in %.0f s: %s; forwarded %d, duplicates %d; log %r" % (
        killed, time.monotonic() - began, tally, copies.distinct, copies.duplicates,
        relay.log().count(" error ")))
    # Whoever dies between the store's 250 and our note of it: the queue or the relay.
    deadly = killed.get("all", 0) + killed.get("queue", 0) + killed.get("relay", 0)
    assert tally.duplicates <= deadly * CONNECTIONS
    assert copies.duplicates <= deadly * CONNECTIONS
    assert len(tally.wanted) > 10 * KILLS, "the load was too light to show anything"
    log = relay.log()
    print("rewritten %d, of them compressed %d" % (log.count("spool-rewritten"),
                                                   log.count("packed=yes")))
    assert log.count("spool-rewritten") > KILLS // 4
    assert "spool-damaged" not in log, "kill -9 leaves torn records at most"
