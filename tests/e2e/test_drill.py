# SPDX-License-Identifier: Apache-2.0
"""`salvaposta drill`: the whole chain for test users of a shard of their own."""
import json

from tests.lib import mail
from tests.lib.sink import Sink

SENDER, USER = "news@sender.example", "mario@shop.example"
USERS = ["mario@shop.example,mario@recovery.example,", "t1@shop.example,t1@recovery.example,drill",
         "t2@shop.example,t2@recovery.example,drill"]


def drilled(world, store, **kw):
    relay = world.relay(users=None, start=False, in_domain='shard "drill" { primary = "lmtp://127.0.0.1:%d" }' % store.port, **kw)
    relay.import_users(USERS, "address,recovery,shard")
    return relay.start()


def steps(r):
    return [s["result"] for s in json.loads(r.stdout)["steps"]]


def test_a_drill_goes_through_the_whole_chain_and_touches_nobody(world):
    store = Sink(lmtp=True)
    try:
        relay = drilled(world, store)
        r = relay.command("drill", "shop.example", "--to", "t1@shop.example,t2@shop.example", check=False)
        assert r.returncode == 0, r.stdout + r.stderr
        assert steps(r) == ["ok"] * 7
        token = json.loads(r.stdout)["token"]
        assert sorted(m.rcpts[0] for m in world.recovery.messages) == ["t1@recovery.example", "t2@recovery.example"]
        assert sorted(m.rcpts[0] for m in store.messages) == ["t1@shop.example", "t2@shop.example"]
        assert all(b"X-Salvaposta-Drill: " + token.encode() in m.data for m in store.messages)
        # Nobody else: mail of real users goes to the store as ever, and is not forwarded.
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
        assert world.store.wait(1)[0].rcpts == [USER]
        assert len(world.recovery.messages) == 2
        assert all(d["phase"] == "standby" and d["mode"] == "off" for d in relay.command("failover", "show")["domains"])
        text = relay.command("drill", "shop.example", "--to", "t1@shop.example", json_out=False)
        assert "drill PASSED" in text
    finally:
        store.close()


def test_a_drill_finds_what_is_broken_and_leaves_nothing_on(world):
    store = Sink(lmtp=True)
    relay = drilled(world, store)
    world.recovery.script = lambda stage, arg: "550 5.7.1 no" if stage == "rcpt" else None
    r = relay.command("drill", "shop.example", "--to", "t1@shop.example", "--timeout", "5", check=False)
    assert r.returncode == 1 and steps(r) == ["ok"] * 4 + ["failed", "ok", "ok"]
    assert "forward failed (550)" in json.loads(r.stdout)["steps"][4]["detail"]
    world.recovery.script = lambda stage, arg: None
    store.close()
    r = relay.command("drill", "shop.example", "--to", "t1@shop.example", "--timeout", "3", check=False)
    assert r.returncode == 1 and steps(r) == ["ok"] * 6 + ["failed"]
    assert all(d["mode"] == "off" for d in relay.command("failover", "show")["domains"])


def test_a_drill_is_refused_where_it_would_touch_real_users(world):
    relay = drilled(world, world.store)
    r = relay.command("drill", "shop.example", "--to", USER, "--timeout", "3", check=False)
    assert r.returncode == 1 and 'not in shard \\"drill' in r.stdout      # sent, seen, and said
    relay.failover("on")
    r = relay.command("drill", "shop.example", "--to", "t1@shop.example", check=False)
    assert r.returncode == 1 and "no drill during an incident" in r.stdout
    assert relay.command("failover", "show")["domains"][0]["mode"] == "on"
    for words in (("shop.example",), ("shop.example", "--to", "x@other.example"),
                  ("shop.example", "--to", "t1@shop.example", "--timeout", "0")):
        assert relay.command("drill", *words, check=False).returncode == 2, words
