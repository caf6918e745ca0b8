# SPDX-License-Identifier: Apache-2.0
"""The report after an incident: timeline, balance, delays by class, refusals, audit log."""
import json
import os
import time

from tests.lib import mail

SENDER, USER, ANNA = "news@sender.example", "mario@shop.example", "anna@shop.example"


def test_the_report_after_an_incident(world):
    relay = world.relay()
    began = time.time()
    relay.failover("on", "shelf 7 is dead")
    for i in range(6):
        assert mail.send(relay.port, SENDER, (USER, ANNA)[i % 2], mail.message(SENDER, USER))[0] == 250
    relay.wait_balance(held=6, forwarded=6)
    denied = {ANNA: "550 5.1.1 who?"}
    world.down()
    world.up(script=lambda stage, arg: denied.get(arg) if stage == "rcpt" else None)
    relay.failover("off", "shelf 8 is in")
    relay.wait_balance(replayed=3, held=3)
    end = time.monotonic() + 10
    while relay.command("replay")["domains"][0]["refused"] < 3 and time.monotonic() < end:
        time.sleep(0.05)
    relay.stop()                # what was counted outlives the process
    relay.start()
    denied.clear()
    relay.command("replay", "start", "shop.example", "--reason", "index rebuilt")
    relay.wait_balance(replayed=6, held=0)

    r = relay.command("report", "shop.example", "--since", "1h")
    reasons = [e.get("reason") for e in r["timeline"]]
    assert [x for x in reasons if x in ("shelf 7 is dead", "shelf 8 is in")] == ["shelf 7 is dead", "shelf 8 is in"]
    assert r["audit"]["ok"] and r["audit"]["lines"] >= 3
    d = r["domains"][0]
    assert d["balanced"] and (d["received"], d["replayed"], d["forwarded"]) == (6, 6, 6)
    inc = d["incident"]
    assert sum(h["count"] for h in inc["replayed"].values()) == 6
    assert sum(h["count"] for h in inc["forwarded"].values()) == 6
    longest = max(h["max_ms"] for h in inc["replayed"].values())
    assert 1 <= longest <= (time.time() - began) * 1000
    assert {"leg": "hold", "code": 550, "enhanced": "5.1.1", "count": 3} in inc["replies"]
    assert "recovery.example" not in json.dumps(r)              # P4

    text = relay.command("report", "shop.example", "--since", "1h", json_out=False)
    for word in ("What happened", "shelf 7 is dead", "550 5.1.1", "hash chain holds"):
        assert word in text, text
    # Only what happened since then.
    assert relay.command("report", "shop.example", "--since", "1s", check=False).returncode == 0
    # Somebody edits the log: the report says so and fails.
    path = os.path.join(relay.state, "queue", "audit.log")
    with open(path) as f:
        log = f.read()
    if '"hash"' not in log:
        return
    with open(path, "r+") as f:
        f.write(log.replace("shelf 7", "shelf 9"))
    bad = relay.command("report", "shop.example", "--since", "1h", check=False)
    assert bad.returncode == 1 and not json.loads(bad.stdout)["audit"]["ok"]


def test_a_new_incident_is_counted_apart(world):
    relay = world.relay()
    for n in (1, 2):
        relay.failover("on", "outage %d" % n)
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
        relay.failover("off", "over %d" % n)
        relay.wait_balance(replayed=n, held=0)
        middle = time.time()
        time.sleep(1.2)
    r = relay.command("report", "shop.example", "--since", "%ds" % (time.time() - middle + 1))
    assert sum(h["count"] for h in r["domains"][0]["incident"]["replayed"].values()) == 1
    for words in (("--since", "1h"), ("shop.example", "--since", "soon"), ("shop.example", "--since", "2999-01-01T00:00Z")):
        assert relay.command("report", *words, check=False).returncode == 2, words
