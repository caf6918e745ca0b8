# SPDX-License-Identifier: Apache-2.0
"""A user stops his copies (spec 12.3): by mail to the address his notice names, or through an
operator. It takes effect at once and is kept, over kill -9 and imports."""
import hashlib
import hmac
import json
import time

from tests.lib import mail

SENDER, USER, RECOVERY = "news@sender.example", "mario@shop.example", "mario@recovery.example"
SECRET = b"correct-horse-battery"
BASE32 = "0123456789abcdefghijklmnopqrstuv"


def user_key(user):
    return hashlib.sha256(b"salvaposta user 1\0" + user.encode()).digest()[:10]


def stop_address(user=USER, domain="fwd.relay.example", day=None, secret=SECRET, handle=0):
    """As docs/forwarding.md says it is made; the handle is the queue's own and may be 0."""
    day = int(time.time()) // 86400 if day is None else day
    token = user_key(user) + handle.to_bytes(8, "big") + (day % 65536).to_bytes(2, "big")
    key = hmac.new(secret, b"salvaposta stop address 1", "sha256").digest()
    token += hmac.new(key, token + domain.encode(), "sha256").digest()[:10]
    n = int.from_bytes(token, "big")
    return "stop+%s@%s" % ("".join(BASE32[n >> (5 * i) & 31] for i in range(47, -1, -1)), domain)


def wish(to, sender=RECOVERY, extra=b""):
    return (b"From: <" + sender.encode() + b">\r\nTo: <" + to.encode() + b">\r\n"
            b"Subject: unsubscribe\r\nMessage-ID: <u@recovery.example>\r\n" + extra + b"\r\n\r\n")


def bounces(relay):
    return relay.roles("queue")[0]["bounces"]


def until(true, timeout=15):
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def audit(relay, event):
    with open(relay.state + "/queue/audit.log") as f:
        return [o for o in map(json.loads, f) if o["event"] == event]


def outage(world, **kw):
    relay = world.relay(**kw)
    world.down()
    relay.failover("on")
    return relay


def put(relay, rcpt=USER, subject="prova"):
    assert mail.send(relay.port, SENDER, rcpt, mail.message(SENDER, rcpt, subject))[0] == 250


def identity(b):
    return b["received"] == (b["replayed"] + b["forwarded_only"] + b["bounced"] + b["dropped"] +
                             b["held"])


def test_spec_12_3_a_stop_takes_effect_at_once_and_is_kept(world):
    relay = outage(world)
    put(relay)
    world.recovery.wait(1)
    stop = stop_address()
    # mail programs fold case, and some say that a program wrote it
    assert mail.send(relay.port, RECOVERY, stop.upper(),
                     wish(stop, extra=b"Auto-Submitted: auto-generated\r\n"))[0] == 250
    until(lambda: bounces(relay)["stopped"] == 1)
    put(relay)
    b = relay.wait_balance(received=2, held=2, forwarded=1, forward_skipped=1)
    assert identity(b)
    put(relay, "anna@shop.example")                 # nobody else is meant
    relay.wait_balance(forwarded=2)
    # again: nothing more happens
    assert mail.send(relay.port, RECOVERY, stop, wish(stop))[0] == 250
    until(lambda: bounces(relay)["stopped"] == 2)
    # over kill -9 and a new import of the same users
    relay.kill()
    relay.start()
    world_users = ["mario@shop.example,mario@recovery.example",
                   "anna@shop.example,anna@recovery.example", "solo@shop.example,"]
    relay.import_users(world_users)
    put(relay)
    relay.wait_balance(received=4, held=4, forwarded=2, forward_skipped=2)
    # what is seen of it
    shown = relay.command("users", "show", USER)
    assert shown["forwarded"] is False and shown["reason"] == "opted-out"
    assert shown["opted_out"]["by"] == "mail" and shown["user_hash"] == user_key(USER).hex()
    assert relay.command("users", "show", "anna@shop.example")["forwarded"] is True
    why = "\n".join(w for r in relay.command("why", USER)["recipients"] for w in r["why"])
    assert "the user has opted out" in why and "by the user, by mail" in why
    lines = audit(relay, "opt-out")
    assert len(lines) == 1 and lines[0]["user"] == user_key(USER).hex()
    assert RECOVERY not in json.dumps(lines) and USER not in json.dumps(lines)
    assert "recovery.example" not in relay.log()
    # an operator undoes it: mail from now on
    assert "needs --reason" in relay.command("users", "optin", USER, check=False).stderr
    assert relay.command("users", "optin", USER, "--reason", "he called")["changed"] is True
    assert relay.command("users", "optin", USER, "--reason", "he called")["changed"] is False
    put(relay)
    relay.wait_balance(received=5, held=5, forwarded=3, forward_skipped=2)
    assert [x["reason"] for x in audit(relay, "opt-in")] == ["he called"]
    assert relay.command("users", "show", USER)["forwarded"] is True
    assert relay.command("audit", "verify", "--file", relay.state + "/queue/audit.log")["ok"]
    # nothing was lost for the store
    world.up()
    relay.failover("off")
    b = relay.wait_balance(received=5, replayed=5, held=0)
    assert identity(b)


def test_spec_12_3_copies_that_wait_end_and_the_mail_stays(world):
    world.recovery.script = lambda stage, arg: \
        "452 4.2.2 full" if stage == "rcpt" and "mario" in arg else None
    relay = outage(world)           # a full mailbox is asked again tomorrow (8.4)
    for _ in range(3):
        put(relay)
    put(relay, "anna@shop.example")
    relay.wait_balance(received=4, held=4, forwarded=1)
    until(lambda: "code=452" in relay.log())
    assert relay.balance()["forward_waiting"] == 3
    r = relay.command("users", "optout", "Mario+tag@shop.example", "--reason", "a letter")
    assert r["changed"] is True and r["count"] == 1
    b = relay.wait_balance(received=4, held=4, forwarded=1, forward_skipped=3, forward_waiting=0)
    assert identity(b)
    assert relay.command("users", "show", USER)["opted_out"]["by"] == "operator"
    assert [x["reason"] for x in audit(relay, "opt-out")] == ["a letter"]


def test_spec_12_3_what_is_no_wish(world):
    relay = outage(world)
    put(relay)
    world.recovery.wait(1)
    stop = stop_address()
    # forged, of another installation, too old, not of this form
    bad = stop[:20] + ("1" if stop[20] != "1" else "2") + stop[21:]
    today = int(time.time()) // 86400
    for address in (bad, stop_address(secret=b"another"), stop_address(day=today - 401),
                    stop_address(day=today + 2), "stop+@fwd.relay.example", "stop@fwd.relay.example"):
        code, text = mail.send(relay.port, RECOVERY, address, wish(address))
        assert code == 550, address
    # automatic answers and reports: by their sender, or by what they say
    code, text = mail.send(relay.port, "", stop, wish(stop))
    assert code == 550 and b"5.7.1" in text
    vacation = wish(stop, extra=b"Auto-Submitted: auto-replied (vacation)\r\n")
    assert mail.send(relay.port, RECOVERY, stop, vacation)[0] == 250
    until(lambda: bounces(relay)["stop_ignored"] == 1)
    receipt = wish(stop, extra=b"Auto-Submitted: auto-generated\r\nX-Autoreply: yes\r\n")
    assert mail.send(relay.port, RECOVERY, stop, receipt)[0] == 250
    until(lambda: bounces(relay)["stop_ignored"] == 2)
    # to somebody else as well: two messages
    assert mail.send(relay.port, RECOVERY, [stop, USER], wish(stop))[0] == 452
    put(relay)
    relay.wait_balance(received=2, held=2, forwarded=2, forward_skipped=0)
    assert bounces(relay)["stopped"] == 0 and audit(relay, "opt-out") == []


def test_opt_outs_max_makes_the_wish_wait(world):
    relay = outage(world, top="opt-outs-max = 1")
    anna = "anna@shop.example"
    relay.command("users", "optout", anna, "--reason", "x")
    r = relay.command("users", "optout", USER, "--reason", "x", check=False)
    assert r.returncode == 1 and "opt-outs-max" in r.stderr + r.stdout
    stop = stop_address()
    assert mail.send(relay.port, RECOVERY, stop, wish(stop))[0] == 250
    until(lambda: "raise opt-outs-max" in relay.log())
    relay.command("users", "optin", anna, "--reason", "x")
    until(lambda: bounces(relay)["stopped"] == 1, 40)
    assert relay.command("users", "show", USER)["forwarded"] is False


def test_spec_12_8_a_recovery_address_that_was_changed_lately_is_not_used(world):
    """Taken over during the outage: the new address gets nothing, the mail is held. A third import
    does not make it old; others, and who is new, are forwarded. 12.2 beside it: a proof that
    is too old, or that there never was."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    head = "address,recovery,verified_at"
    rows = {"mario": "mario@recovery.example," + today, "anna": "anna@recovery.example," + today,
            "old": "old@recovery.example,2020-01-01", "never": "never@recovery.example,"}
    text = lambda: ["%s@shop.example,%s" % row for row in rows.items()]
    relay = world.relay(start=False, users=None, top="max-verified-age = 365d")
    relay.import_users(text(), head)
    relay.start()
    relay.failover("on")
    rows["mario"] = "thief@recovery.example," + today
    rows["new"] = "new@recovery.example," + today
    for _ in range(2):
        relay.import_users(text(), head)
    for user in rows:
        rcpt = user + "@shop.example"
        data = mail.message("news@sender.example", rcpt)
        assert mail.send(relay.port, "news@sender.example", rcpt, data)[0] == 250
    relay.wait_balance(held=5, forwarded=2, forward_skipped=3)
    assert sorted(m.rcpts[0] for m in world.recovery.messages) == ["anna@recovery.example",
                                                                  "new@recovery.example"]
    notes = {m["rcpt"].split("@")[0]: m["forward"]["note"]
             for m in relay.command("queue", "list")["messages"]}
    assert (notes["mario"], notes["old"], notes["never"]) == ("recovery-new", "unverified", "unverified")
    shown = relay.command("users", "show", "mario@shop.example")
    assert (shown["forwarded"], shown["reason"]) == (False, "recovery-new")
    assert "changed lately" in relay.command("why", "mario@shop.example", json_out=False)
