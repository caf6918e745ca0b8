# SPDX-License-Identifier: Apache-2.0
"""P7: the balance is exact per domain and shard at any time, over kills and restarts,
and after the segments it was counted in are gone."""
import random

from tests.crash.kit import SEED, identity, wait_for
from tests.lib import mail
from tests.lib.sink import Sink

SENDER = "news@sender.example"
ROWS = ["mario@shop.example,mario@recovery.example,s1", "anna@shop.example,anna@recovery.example,s2",
        "solo@shop.example,,s2"]
USERS = [r.split(",")[0] for r in ROWS]
SHARD = {r.split(",")[0]: r.split(",")[2] for r in ROWS}


def by_shard(relay):
    out = {}
    for d in relay.command("report")["domains"]:
        assert d["balanced"] and identity(d), d
        out[d["shard"]] = d
    return out


def check(relay, want):
    got = by_shard(relay)
    for shard, sums in want.items():
        assert {k: got[shard][k] for k in sums} == sums, (shard, got[shard], sums)


def test_every_shard_comes_out_exactly(world):
    second = Sink(lmtp=True)
    rng = random.Random(SEED)
    try:
        relay = world.relay(start=False, users=None, top="segment-size = 64K\n",
                            in_domain='shard "s1" { primary = "lmtp://127.0.0.1:%d" }\n'
                                      'shard "s2" { primary = "lmtp://127.0.0.1:%d" }\n'
                                      % (world.store.port, second.port))
        relay.import_users(ROWS, "address,recovery,shard")
        relay.start()
        relay.failover("on")
        want = {s: dict(received=0, replayed=0, dropped=0, bounced=0, held=0) for s in ("s1", "s2")}
        for i in range(60):
            user = rng.choice(USERS)
            code, _ = mail.send(relay.port, SENDER, user, mail.message(SENDER, user, "b%d" % i,
                                                                       b"x" * 3000 + b"\r\n"))
            assert code == 250
            want[SHARD[user]]["received"] += 1
            want[SHARD[user]]["held"] += 1
            if i % 20 == 10:
                relay.kill()
                relay.start()
                check(relay, want)
        # Dropped by an operator: all of one user, then a kill before anything is written out.
        n = relay.command("queue", "drop", "--user", "solo@shop.example", "--reason", "test")["count"]
        assert n > 5
        want["s2"]["dropped"] += n
        want["s2"]["held"] -= n
        check(relay, want)
        relay.command("failover", "off", "shop.example", "--shard", "s1", "--reason", "test")
        want["s1"].update(held=0, replayed=want["s1"]["held"])
        wait_for(lambda: by_shard(relay)["s1"]["held"] == 0, 60, "the replay of shard s1")
        check(relay, want)
        relay.stop()
        relay.start()
        check(relay, want)
        relay.kill()
        relay.start()
        got = by_shard(relay)
        # A kill may take a lazily written result with it, never the sum.
        assert got["s1"]["received"] == want["s1"]["received"]
        assert got["s2"]["dropped"] == want["s2"]["dropped"]
    finally:
        second.close()
