# SPDX-License-Identifier: Apache-2.0
"""How forward copies go out (spec 7, 8, 9.3, 10): the end-to-end cases of 14.4 that a
destination's replies decide. Pauses of hours are seconds here, by configuration."""
import base64
import hmac
import re
import smtplib
import time

import dkim
import pytest

from tests.lib import mail
from tests.lib.sink import Sink

SENDER, USER = "news@sender.example", "mario@shop.example"
USERS = ["mario@shop.example,mario@recovery.example", "anna@shop.example,anna@recovery.example",
         "carla@shop.example,carla@sister.example"]
FAST = 'provider "default" { slow-start = 0s rate-pause = 3s }\n'


def active(world, **kw):
    relay = world.relay(**kw)
    world.down()
    relay.failover("on")
    return relay


def retarget(world, script=None, **kw):
    """The recovery host answers as `script` says; on the same port."""
    world.recovery.close()
    world.recovery = Sink(port=world.recovery.port, script=script, **kw)
    return world.recovery


def until(what, timeout=30):
    end = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def queue_status(relay):
    return [r for r in relay.status()["roles"] if r["role"] == "queue"][0]


def leg(relay):
    listed = relay.command("queue", "list", "--domain", "shop.example")["messages"]
    return [m["forward"] for m in listed]


def test_spec_14_4_case_2_auth_refusal_is_retried_as_munge(world, rsa):
    """Refused for DMARC: one retry munged, our DKIM aligned with its From, the hold copy
    untouched, no DSN."""
    pem, public = rsa
    key = world.folder + "/dkim.pem"
    with open(key, "wb") as f:
        f.write(pem)
    world.dns.set("s1._domainkey.fwd.relay.example", {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
    world.dns.set("_dmarc.sender.example", {"TXT": ["v=DMARC1; p=reject"]})
    sink = retarget(world, extensions=["8BITMIME", "ENHANCEDSTATUSCODES"])
    seen = []

    def ours(stage, arg):
        if stage == "data":
            seen.append(arg)
        if stage == "end" and len(seen) == 1:
            return "550-5.7.26 Unauthenticated email is not accepted due to\r\n" \
                   "550 5.7.26 domain's DMARC policy"
        return None
    sink.script = ours
    relay = active(world, forwarder='dkim-selector = "s1"\ndkim-key-file = "%s"' % key)
    data = mail.message(SENDER, USER)
    assert mail.send(relay.port, SENDER, USER, data)[0] == 250
    copy = sink.wait(1)[0]
    assert re.search(rb'^From: [^>]*@fwd\.relay\.example>', copy.data, re.M)
    assert b"X-Original-From: <news@sender.example>" in copy.data

    def keys(name, timeout=5):
        return b"v=DKIM1; k=rsa; p=" + public.encode() if b"s1._domainkey.fwd.relay" in name else None
    assert dkim.verify(copy.data, dnsfunc=keys)
    relay.wait_balance(received=1, held=1, forwarded=1, forward_waiting=0)
    assert len(sink.messages) == 1
    world.up()
    relay.failover("off")
    assert world.store.wait(1)[0].data.endswith(data)
    assert len(sink.messages) == 1          # no DSN, no third copy


def munged(message):
    return b"\r\nX-Original-From: " in message.data


def refuses_unmunged(sink, seen):
    """A provider that takes what aligns with our own domain only; `seen`: was it munged?"""
    def script(stage, arg):
        if stage == "end":
            if not seen or seen[-1][0] is not sink.arriving:
                seen.append((sink.arriving, munged(sink.arriving)))
            if not munged(sink.arriving):
                return "550 5.7.26 DMARC policy"
        return None
    sink.script = script


@pytest.mark.parametrize("mode,untouched", [("auto", 3), ("try", 4)])
def test_spec_7_3_auto_learns_from_three_refusals_and_try_never(world, mode, untouched):
    """p=reject, SPF alone, always the same author: sent as it is and, refused, munged; auto
    gives that up for a provider after three."""
    world.dns.set("_dmarc.sender.example", {"TXT": ["v=DMARC1; p=reject"]})
    relay, seen = active(world, in_domain="unsurvivable = " + mode), []
    refuses_unmunged(world.recovery, seen)
    for n in range(4):
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
        assert munged(world.recovery.wait(n + 1)[n])
        relay.wait_balance(received=n + 1, forwarded=n + 1, forward_waiting=0)
    assert [m for _, m in seen] == [False, True] * untouched + [True] * (4 - untouched)


def test_spec_7_5_a_surprise_marks_the_author(world, rsa):
    """An aligned signature passed and it is refused all the same: the author's next go munged
    at once to that provider, another author's do not."""
    pem, public = rsa
    relay, seen = active(world), []
    refuses_unmunged(world.recovery, seen)
    for n, domain in enumerate(("sender.example", "sender.example", "other.example")):
        world.dns.set("s1._domainkey." + domain, {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
        world.dns.set("_dmarc." + domain, {"TXT": ["v=DMARC1; p=reject"]})
        data = mail.dkim_sign(mail.message("news@" + domain, USER), "s1", domain, pem)
        assert mail.send(relay.port, SENDER, USER, data)[0] == 250
        assert munged(world.recovery.wait(n + 1)[n])
        relay.wait_balance(received=n + 1, forwarded=n + 1, forward_waiting=0)
    assert [m for _, m in seen] == [False, True, True, False, True]


def test_spec_14_4_case_9_recovery_addresses_that_lead_to_us(world):
    """In a failed-over domain of ours, equal to the original, MX pointing to us, null MX,
    literals: hold only, and no connection to ourselves."""
    world.dns.set("ours.example", {"MX": ["10 mx2.relay.example."]})
    world.dns.set("null.example", {"MX": ["0 ."]})
    users = ["a@shop.example,x@third.example", "c@shop.example,x@ours.example",
             "d@shop.example,x@null.example", "e@shop.example,x@nowhere.example",
             "f@shop.example,x@other.example", "ok@shop.example,ok@recovery.example"]
    other = Sink(lmtp=True)
    try:
        relay = world.relay(users=users, start=False)
        # An import refuses what is in a domain of ours; these became ours later.
        served = 'domain "%%s" { primary = "lmtp://127.0.0.1:%d" failover = %%s }\n' % other.port
        relay.write_conf(more=served % ("other.example", "off") + served % ("third.example", "on"))
        relay.start()
        world.down()
        relay.failover("on")
        for user in "acdef":
            assert mail.send(relay.port, SENDER, user + "@shop.example",
                             mail.message(SENDER, user + "@shop.example"))[0] == 250
        relay.wait_balance(received=5, held=5, forward_waiting=0, forwarded=1)
        # a domain of ours that works gets it straight into its store, sender and all
        assert [(m.mail_from, m.rcpts) for m in other.wait(1)] == [(SENDER, ["x@other.example"])]
        notes = sorted(l["note"] for l in leg(relay) if l["state"] == "skipped")
        assert notes == ["chain", "no-domain", "null-mx", "self"]
        assert world.recovery.messages == [] and world.recovery.connections == 0
        assert relay.roles("relay")[0]["sessions_total"] == 5       # nobody but the sender came
    finally:
        other.close()


def test_spec_14_4_case_11_rate_closes_the_provider(world):
    """421 4.7.28: all connections of the scope close, silence, then exactly one."""
    world.dns.set("sister.example", {"MX": ["10 mx.recovery.example."]})
    times, state = [], {"angry": False}

    def script(stage, arg):
        if stage == "connect":
            times.append(time.monotonic())
        if stage == "mail" and state["angry"]:
            return "421 4.7.28 Our system has detected an unusual rate of mail"
        return None
    sink = retarget(world, script)
    relay = active(world, users=USERS, more=FAST)
    for i in range(8):
        user = ("mario", "carla")[i % 2] + "@shop.example"
        mail.send(relay.port, SENDER, user, mail.message(SENDER, user))
    sink.wait(8)
    until(lambda: sink.open > 0)
    state["angry"] = True
    del times[:]
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    until(lambda: queue_status(relay)["providers_closed"] == 1)
    closed = time.monotonic()
    until(lambda: sink.open == 0, 5)        # idle-timeout is 10 s: they were closed
    state["angry"] = False
    before, sink.most_open = sink.connections, 0
    for i in range(10):
        user = ("mario", "carla")[i % 2] + "@shop.example"
        mail.send(relay.port, SENDER, user, mail.message(SENDER, user))
    sink.wait(19, 60)
    assert len(sink.messages) == 19
    assert min(t for t in times if t > closed) - closed > 2.5, "silence was not kept"
    assert sink.most_open == 1 and sink.connections == before + 1
    relay.wait_balance(received=19, forwarded=19)
    log = relay.log()
    assert log.count(" provider-closed ") == 1
    assert "recovery.example" not in log.split("provider-closed")[1].split("\n")[0]


def test_spec_14_4_case_12_one_mailbox_waits_alone(world):
    """450 4.2.1 for one mailbox: the others on the provider go on."""
    def script(stage, arg):
        if stage == "rcpt" and arg.startswith("mario@"):
            return "450 4.2.1 The user you are trying to contact is receiving mail too quickly"
        return None
    sink = retarget(world, script)
    relay = active(world, users=USERS, more=FAST)
    for i in range(10):
        user = ("mario", "anna")[i % 2] + "@shop.example"
        mail.send(relay.port, SENDER, user, mail.message(SENDER, user))
    started = time.monotonic()
    sink.wait(5)
    assert time.monotonic() - started < 10
    assert [m.rcpts for m in sink.messages] == [["anna@recovery.example"]] * 5
    relay.wait_balance(received=10, forwarded=5, forward_waiting=5)
    assert queue_status(relay)["providers_closed"] == 0
    until(lambda: queue_status(relay)["replies"]["userrate"] >= 1)
    tries = sum(1 for l in relay.log().splitlines() if "class=userrate" in l)
    assert tries <= 5       # those under way together; then the mailbox is left alone
    time.sleep(2.5)         # retry-max is 2 s, this pause an hour
    assert sum(1 for l in relay.log().splitlines() if "class=userrate" in l) == tries


def test_spec_14_4_case_13_a_server_that_closes_after_20(world):
    """Closing after 20 messages is no deferral, and doubles nothing."""
    counts = {"n": 0}

    def script(stage, arg):
        if stage == "connect":
            counts["n"] = 0
        if stage == "mail":
            counts["n"] += 1
            if counts["n"] > 20:
                return "CLOSE"
        return None
    sink = retarget(world, script)
    relay = active(world, users=USERS,
                   more='provider "default" { slow-start = 0s connections = 1 }')
    for i in range(50):
        mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER, "m%d" % i))
    sink.wait(50, 60)
    relay.wait_balance(received=50, forwarded=50, forward_waiting=0)
    assert len(sink.messages) == 50
    assert len({re.search(rb"^Subject: (.*)\r$", m.data, re.M).group(1) for m in sink.messages}) == 50
    replies = queue_status(relay)["replies"]
    assert replies["ok"] == 50 and sum(replies.values()) == 50      # no temporary failure at all


def test_spec_14_4_case_16_structure_refusal_is_retried_as_wrap(world):
    """No Message-ID, refused 5.7.1: one wrap retry with the original inside, byte by byte."""
    world.dns.set("_dmarc.sender.example", {"TXT": ["v=DMARC1; p=none"]})
    refused = []

    def script(stage, arg):
        if stage == "data":
            refused.append(arg)
        if stage == "end" and len(refused) == 1:
            return "550 5.7.1 Messages without 'Message-ID' header are not accepted"
        return None
    sink = retarget(world, script)
    relay = active(world)
    data = re.sub(rb"Message-ID: [^\r]*\r\n", b"", mail.message(SENDER, USER))
    assert mail.send(relay.port, SENDER, USER, data)[0] == 250
    copy = sink.wait(1)[0].data
    relay.wait_balance(received=1, held=1, forwarded=1, forward_waiting=0)
    assert b"message/rfc822" in copy and data in copy
    assert len(sink.messages) == 1 and len(refused) == 2
    world.up()
    relay.failover("off")
    assert world.store.wait(1)[0].data.endswith(data)


def test_spec_14_4_case_18_urgent_mail_overtakes_bulk(world):
    """The short form; ten thousand of them with scripted time: tests/queue/schedule_test.c."""
    world.dns.set("_dmarc.sender.example", {"TXT": ["v=DMARC1; p=none"]})

    def script(stage, arg):
        if stage == "data":
            time.sleep(0.05)        # a shaped provider: one connection, slowly
        return None
    sink = retarget(world, script)
    relay = active(world, more='provider "default" { connections = 1 }')
    for i in range(60):
        mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER, "bulk%d" % i,
                                                         extra=b"List-Id: <x.sender.example>\r\n"))
    done = len(sink.messages)
    for i in range(10):
        code = "no-reply@sender.example"
        mail.send(relay.port, code, USER, mail.message(code, USER, "code%d" % i))
    sink.wait(70, 60)
    relay.wait_balance(received=70, forwarded=70, forward_waiting=0)
    order = [re.search(rb"^Subject: (\w+)\r$", m.data, re.M).group(1).decode() for m in sink.messages]
    assert done < 40, "the provider was not slow enough to say anything"
    last = max(i for i, s in enumerate(order) if s.startswith("code"))
    behind = [s for s in order[last + 1:] if s.startswith("bulk")]
    assert len(behind) >= 10, order
    first = min(i for i, s in enumerate(order) if s.startswith("code"))
    assert sum(s.startswith("bulk") for s in order[first:last]) <= 3, order
    assert sink.most_open == 1


def test_why_tells_the_whole_path(world):
    """Results, rule, legs, attempts with classes, marks, what comes next; no address (P4)."""
    world.dns.set("_dmarc.sender.example", {"TXT": ["v=DMARC1; p=reject"]})

    def script(stage, arg):
        if stage == "rcpt" and arg.startswith("mario@"):
            return "452 4.2.2 The email account mario@recovery.example is over quota"
        return None
    retarget(world, script)
    relay = active(world, users=USERS, more=FAST)
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    until(lambda: queue_status(relay)["replies"]["full"] == 1)
    until(lambda: leg(relay)[0]["attempts"] == 1)
    one = relay.command("why", USER)["recipients"][0]
    assert (one["rcpt"], one["forward"]["state"], one["hold"]["state"]) == (USER, "waiting", "parked")
    assert [(a["leg"], a["class"], a["code"], a["enhanced"], a["form"]) for a in one["attempts"]] == \
        [("forward", "full", 452, "4.2.2", "as-is")]
    assert "full" in [m["mark"] for m in one["recovery"]["marks"]]
    text = relay.command("why", one["id"], json_out=False)
    for words in ("SPF pass", "DMARC pass (policy reject)", "may be forwarded", "class 1 by rule T9",
                  "forwarding breaks it", "held until failover ends", "1 try so far, next 20", "that is too late: given up 20",
                  "as it is first, munged once refused",
                  "not now 452 4.2.2 class full", "it is full (until 20", "recovery mailbox "):
        assert words in text, text
    for all_of_it in (text, str(one)):
        assert "recovery.example" not in all_of_it
    assert one["recovery"]["hash"] in relay.log()
    mail.send(relay.port, "x@sender.example", "anna@shop.example",
              mail.message("x@sender.example", "anna@shop.example"), source="127.0.0.6")
    relay.wait_balance(received=2)
    text = relay.command("why", "anna@shop.example", json_out=False)
    assert "never forwarded: rule dmarc-reject (DMARC fails, and the author" in text and "copy: none" in text
    assert relay.command("why", one["id"] + "/0", json_out=False).startswith(one["id"])
    assert relay.command("why", one["id"] + "/1", check=False).returncode == 1
    # of a user without mail it is the directory's word; of nobody that there is none
    text = relay.command("why", "Carla@shop.example", json_out=False)
    assert "no mail for this address is here" in text and "recovery mailbox " in text
    for nobody, said in (("nobody@shop.example", "knows no such user"),
                         ("mario@recovery.example", "none of this relay's")):
        r = relay.command("why", nobody, check=False, json_out=False)
        assert r.returncode == 1 and said in r.stderr, r.stderr
    assert relay.command("why", "0000000000000000", check=False).returncode == 1
    assert relay.command("why", check=False).returncode == 2


def test_spec_9_3_one_recovery_address_of_many_users(world):
    """More than recovery-users-max (5) users: nothing leaves for it until an operator confirms;
    at import it is said, at send time it is held."""
    names = ["mario", "anna"] + ["u%d" % i for i in range(4)]
    rows = ["%s@shop.example,%s" % (n, "Family@recovery.example" if i % 2 else
            "family@RECOVERY.example") for i, n in enumerate(names)] + ["solo@shop.example,solo@recovery.example"]
    relay = world.relay(users=None, start=False)
    said = relay.import_users(rows)
    assert "6 users share 1 recovery addresses with more than 5 users" in said, said
    relay.start()
    world.down()
    relay.failover("on")
    for user in ("mario", "anna", "solo"):
        to = user + "@shop.example"
        assert mail.send(relay.port, "news@sender.example", to, mail.message("news@sender.example", to))[0] == 250
    relay.wait_balance(received=3, held=3, forwarded=1, forward_skipped=2)
    assert [m.rcpts for m in world.recovery.messages] == [["solo@recovery.example"]]
    listed = relay.command("queue", "list", "--user", "mario@shop.example")["messages"]
    shown = relay.command("queue", "show", listed[0]["id"])["message"]["recipients"][0]
    assert shown["forward"]["note"] == "shared"
    said = relay.import_users(rows, "address,recovery", "--confirm-shared", "FAMILY@recovery.example")
    assert "share" not in said
    assert mail.send(relay.port, "news@sender.example", "mario@shop.example",
                     mail.message("news@sender.example", "mario@shop.example", subject="due"))[0] == 250
    relay.wait_balance(received=4, held=4, forwarded=2)
    assert "recovery.example" not in relay.log().lower()


def test_spec_1_1_5_return_paths_are_opaque_unless_told_otherwise(world):
    """The recovery host learns neither sender nor user from the return path."""
    relay = active(world)
    mail.send(relay.port, "news@sender.example", "mario@shop.example",
              mail.message("news@sender.example", "mario@shop.example"))
    path = world.recovery.wait(1)[0].mail_from
    assert re.fullmatch(r"SRS0=[A-Za-z0-9_-]{8}=[A-Z2-7]{2}=n1=[0-9a-v]{24}@fwd.relay.example", path)
    assert "sender.example" not in path and "mario" not in path


def test_spec_1_2_3_the_separator_is_a_choice(world):
    """In both forms of return paths; a bounce comes back with any of the three."""
    relay = active(world, forwarder="separator = plus", in_domain="return-path = srs")
    for sender in ("news@sender.example", "a" * 60 + "@sender.example"):
        mail.send(relay.port, sender, "mario@shop.example", mail.message(SENDER, "mario@shop.example"))
    short, long = [m.mail_from for m in world.recovery.wait(2)]
    assert re.fullmatch(r"SRS0\+[A-Za-z0-9_-]{8}=[A-Z2-7]{2}=sender.example=news@fwd.relay.example", short)
    assert re.fullmatch(r"SRS0\+[A-Za-z0-9_-]{8}=[A-Z2-7]{2}=n1=[0-9a-v]{24}@fwd.relay.example", long)
    for path in (long, long.replace("SRS0+", "SRS0="), long.replace("SRS0+", "srs0-")):
        session = mail.Session(relay.port)
        assert session.say("MAIL FROM:<>", "RCPT TO:<%s>" % path)[:3] == "250"
        session.close()


def test_spec_3_7_and_3_9_nothing_is_downgraded(world):
    """A recovery host without 8BITMIME or SMTPUTF8: held only, its bytes as they came; the store,
    which has both, gets them."""
    world.recovery.extensions = [e for e in world.recovery.extensions if e not in ("8BITMIME", "SMTPUTF8")]
    relay = active(world)
    eight = mail.message(SENDER, USER, body=b"perch\xc3\xa9\r\n")
    utf8 = mail.message(SENDER, USER).replace(b"prova", b"perch\xc3\xa9")
    assert mail.send(relay.port, SENDER, USER, eight, options=["BODY=8BITMIME"])[0] == 250
    assert mail.send(relay.port, SENDER, USER, utf8, options=["SMTPUTF8"])[0] == 250
    relay.wait_balance(received=2, held=2, forwarded=0, forward_waiting=0, forward_failed=2)
    assert world.recovery.messages == []
    world.up()
    world.store.extensions = world.store.extensions + ["SMTPUTF8"]
    relay.failover("off")
    got = {m.data.split(b"\r\n\r\n", 1)[1]: m.options for m in world.store.wait(2)}
    assert sorted(got) == [b"ciao\r\n", b"perch\xc3\xa9\r\n"]
    assert "BODY=8BITMIME" in got[b"perch\xc3\xa9\r\n"] and "SMTPUTF8" in got[b"ciao\r\n"]


def test_spec_3_9_who_asks_for_smtputf8_and_needs_none_of_it(world):
    """Large providers ask with each message; what is ASCII reaches hosts that do not offer it."""
    relay = active(world)
    plain = mail.message(SENDER, USER)
    assert mail.send(relay.port, SENDER, USER, plain, options=["SMTPUTF8"])[0] == 250
    relay.wait_balance(received=1, held=1, forwarded=1)
    world.up()
    relay.failover("off")
    for m in world.recovery.wait(1)[0], world.store.wait(1)[0]:
        assert m.data.endswith(plain) and "SMTPUTF8" not in m.options


def test_spec_3_9_users_and_recovery_addresses_beyond_ascii(world):
    """RFC 6531: who is written to so is found, kept, copied and replayed under that name."""
    user, recovery = "jos\u00e9@shop.example", "z\u00e9@recovery.example"
    world.recovery.extensions = world.recovery.extensions + ["SMTPUTF8"]
    relay = active(world, users=[user + "," + recovery])
    data = mail.message(SENDER, "x@shop.example")
    with smtplib.SMTP("127.0.0.1", relay.port, source_address=("127.0.0.5", 0)) as c:
        c.ehlo("mail.sender.example")
        assert c.docmd("MAIL FROM:<%s>" % SENDER)[0] == 250
        c.send(("RCPT TO:<%s>\r\n" % user).encode())
        code, text = c.getreply()
        assert code in (501, 550, 553) and b"5." in text     # it was not asked for (3.4)
        assert c.rset()[0] == 250
        assert c.docmd("MAIL FROM:<%s> SMTPUTF8" % SENDER)[0] == 250
        c.send(("RCPT TO:<%s>\r\n" % user).encode())
        assert c.getreply()[0] == 250
        assert c.data(data)[0] == 250
    copy = world.recovery.wait(1)[0]
    assert copy.rcpts == [recovery] and "SMTPUTF8" in copy.options and copy.data.endswith(data)
    assert relay.command("queue", "list", "--user", user)["messages"][0]["rcpt"] == user
    world.up()
    world.store.extensions = world.store.extensions + ["SMTPUTF8"]
    relay.failover("off")
    kept = world.store.wait(1)[0]
    assert kept.rcpts == [user] and "SMTPUTF8" in kept.options and kept.data.endswith(data)
    assert recovery not in relay.log()


def srs(kind, *parts, secret=b"correct-horse-battery"):
    """An address of the return-path domain as rules 1.2.2 to 1.2.5 write it."""
    mac = hmac.new(secret, "".join(parts).lower().encode(), "sha1").digest()
    mark = base64.urlsafe_b64encode(mac).decode()[:8]
    return "=".join((kind, mark) + parts) + "@fwd.relay.example"


def test_spec_1_1_4_and_1_2_4_and_1_2_5_and_1_2_14_and_1_3_2_senders_of_copies(world):
    """return-path = srs: SRS0, SRS1 that never nests, quotes, opaque where it would be too long,
    our own as it is; return-path = null beside it (1.1.3)."""
    old = "AAAA=2W=orig.example=user"
    hosts = ("sender.example", "hop1.example", "hop2.example", "fwd.relay.example")
    for host in hosts:
        world.dns.set(host, {"TXT": ["v=spf1 ip4:127.0.0.5 -all"]})
    relay = active(world, in_domain="return-path = srs", top="forward-unauthenticated = yes", users=world.USERS + [
        "null@null.example,null@recovery.example"], more='domain "null.example" {\n primary = "lmtp://127.0.0.1:%d"\n'
        ' return-path = null\n failover = on\n}' % world.store.port)
    day = int(time.time()) // 86400 % 1024
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    tt = alphabet[day >> 5] + alphabet[day & 31]
    want = [("Mario.Rossi@Sender.Example", srs("SRS0", tt, "Sender.Example", "Mario.Rossi")),
            ("b+1=2@sender.example", srs("SRS0", tt, "sender.example", "b+1=2")),
            ("srs0+%s@hop1.example" % old, srs("SRS1", "hop1.example", "+" + old)),
            ("SRS1=BBBB=hop1.example==%s@hop2.example" % old, srs("SRS1", "hop1.example", "=" + old)),
            ('"john doe"@sender.example', '"%s"@%s' % tuple(srs("SRS0", tt, "sender.example", "john doe").split("@"))),
            ("a" * 32 + "@sender.example", srs("SRS0", tt, "sender.example", "a" * 32)),     # 64 octets
            ("a" * 33 + "@sender.example", None), ("x@fwd.relay.example", "x@fwd.relay.example")]
    for i, (sender, copy) in enumerate(want):
        assert mail.send(relay.port, sender, USER, mail.message(SENDER, USER))[0] == 250
        got = world.recovery.wait(i + 1)[i].mail_from
        assert got == copy if copy else re.fullmatch(r"SRS0=[\w-]{8}=%s=n1=[0-9a-v]{24}@fwd.relay.example" % tt, got)
    assert mail.send(relay.port, SENDER, "null@null.example", mail.message(SENDER, "null@null.example"))[0] == 250
    assert world.recovery.wait(len(want) + 1)[-1].mail_from == ""
