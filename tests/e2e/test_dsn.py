# SPDX-License-Identifier: Apache-2.0
"""Notifications to senders (spec 2.3), and that nothing that goes towards a sender knows of
the recovery address (2.1.3, 2.3.9). The sender's MX is a sink of its own."""
import email
import socket
import time

import pytest

from tests.lib import mail
from tests.lib.sink import Sink

SENDER, USER, RECOVERY = "news@sender.example", "mario@shop.example", "mario@recovery.example"
SECRETS = [b"recovery.example", b"mx.recovery", b"mario@recovery"]
STRANGER = "127.0.0.6"      # no SPF record names it


class Place:
    """A world whose sender has an MX of his own: on the port of the recovery host, at another
    address."""

    def __init__(self, world, script=None, sender_script=None):
        self.world = world
        self.inbox = Sink(host="127.0.0.7", port=world.recovery.port, script=sender_script)
        world.dns.set("sender.example", {"TXT": ["v=spf1 ip4:127.0.0.5 -all"],
                                         "MX": ["10 mx.sender.example."]})
        world.dns.set("mx.sender.example", {"A": ["127.0.0.7"]})
        if script is not None:
            world.recovery.script = script

    def close(self):
        self.inbox.close()


@pytest.fixture
def place(world):
    p = Place(world)
    yield p
    p.close()


def refuse_all(stage, arg):
    return "550 5.1.1 <mario@recovery.example> unknown at mx.recovery.example" \
        if stage == "rcpt" else None


def store_refuses(stage, arg):
    return "550 5.1.1 no such mailbox here" if stage == "rcpt" else None


def until(true, timeout=15):
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def queue_status(relay):
    return relay.roles("queue")[0]


def suppressed(relay):
    return {k: v for k, v in queue_status(relay)["dsn_suppressed"].items() if v}


def refused(world, relay, source="127.0.0.5", sender=SENDER, rcpts=USER, options=(), data=None):
    """Mail in an outage, the copy refused, and the primary refuses it on replay."""
    world.recovery.script = refuse_all
    world.down()
    relay.failover("on")
    data = data or mail.message(SENDER, USER)
    assert mail.send(relay.port, sender, rcpts, data, source=source, options=options)[0] == 250
    if source == "127.0.0.5" and sender:
        relay.wait_balance(forward_failed=1)
    world.up(script=store_refuses)
    relay.failover("off")
    until(lambda: "primary-refused" in relay.log())
    relay.wait_balance(held=1, bounced=0)
    return data


def identity(b):
    return b["received"] == (b["replayed"] + b["forwarded_only"] + b["bounced"] + b["dropped"] +
                             b["held"])


def parts(raw):
    m = email.message_from_bytes(raw)
    assert m.get_content_type() == "multipart/report"
    return [m] + m.get_payload()


def no_secret(*texts):
    for text in texts:
        for s in SECRETS:
            assert s not in text.lower(), text


def test_spec_14_4_case_4_the_primary_refuses_and_no_copy_was_taken(world, place, rsa):
    pem, public = rsa
    key = world.folder + "/shop.pem"
    with open(key, "wb") as f:
        f.write(pem)
    world.dns.set("s1._domainkey.shop.example", {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
    relay = world.relay(in_domain='dkim-selector = "s1"\n dkim-key-file = "%s"' % key)
    data = refused(world, relay)
    assert place.inbox.messages == []
    dry = relay.command("queue", "bounce", "--state", "refused", "--reason", "gone", "--dry-run")
    assert dry["count"] == 1 and relay.balance()["held"] == 1
    relay.command("queue", "bounce", "--state", "refused", "--reason", "the user left")
    dsn = place.inbox.wait(1)[0]
    b = relay.wait_balance(bounced=1, held=0)
    assert identity(b) and b["received"] == 1
    assert dsn.mail_from == "" and dsn.rcpts == [SENDER]
    no_secret(dsn.data)
    top, text, status, header = parts(dsn.data)
    assert top["From"] == "Mail Delivery <postmaster@shop.example>" and top["To"] == "<%s>" % SENDER
    assert top["Auto-Submitted"] == "auto-replied"
    words = status.as_bytes()
    assert b"Final-Recipient: rfc822; mario@shop.example" in words
    assert b"Action: failed" in words and b"Status: 5.1.1" in words
    assert b"Reporting-MTA: dns; mx2.relay.example" in words and b"Remote-MTA" not in words
    assert header.get_payload().replace("\r\n", "\n").strip().encode() == \
        data.split(b"\r\n\r\n")[0].replace(b"\r\n", b"\n")      # 2.3.7: as it came
    import dkim
    assert dkim.verify(dsn.data, dnsfunc=lambda n, timeout=5: b"v=DKIM1; k=rsa; p=" +
                       public.encode() if n.startswith(b"s1._domainkey.shop") else None)
    # one, also after another look at everything
    relay.command("queue", "retry", "--domain", "shop.example")
    relay.stop()
    relay.start()
    time.sleep(0.5)
    assert len(place.inbox.messages) == 1
    log = open(relay.state + "/queue/audit.log").read()
    assert '"bounce"' in log and "the user left" in log and "the user left" not in str(dsn.data)


def test_spec_14_4_case_5_spf_fail_no_notification(world, place):
    relay = world.relay()
    refused(world, relay, source=STRANGER)
    relay.command("queue", "bounce", "--state", "refused", "--reason", "x")
    relay.wait_balance(bounced=1, held=0)
    assert suppressed(relay) == {"unauthenticated": 1}
    assert place.inbox.messages == []


def test_spec_14_4_case_6_the_null_sender_is_told_nothing(world, place):
    relay = world.relay(top="forward-null-sender = all")
    world.recovery.script = refuse_all
    refused(world, relay, sender="", data=mail.message(SENDER, USER))
    relay.command("queue", "bounce", "--state", "refused", "--reason", "x")
    relay.wait_balance(bounced=1, held=0)
    assert suppressed(relay) == {"null-sender": 1}
    assert place.inbox.messages == [] and world.recovery.messages == []
    assert not [m for m in world.recovery.messages if m.mail_from != ""]


@pytest.mark.parametrize("lmtp,action,status", [(True, b"delivered", b"2.0.0"),
                                                (False, b"relayed", b"2.0.0")])
def test_spec_2_3_1_success_is_told_to_who_asked(world, place, lmtp, action, status):
    store = Sink(lmtp=lmtp)
    relay = world.relay(primary="%s://127.0.0.1:%d" % ("lmtp" if lmtp else "smtp", store.port))
    c = mail.smtplib.SMTP("127.0.0.1", relay.port, source_address=("127.0.0.5", 0))
    c.ehlo("mail.sender.example")
    assert c.mail(SENDER)[0] == 250
    assert c.rcpt(USER, ["NOTIFY=SUCCESS", "ORCPT=rfc822;Mario@shop.example"])[0] == 250
    assert c.rcpt("anna@shop.example", ["NOTIFY=NEVER"])[0] == 250
    assert c.data(mail.message(SENDER, USER))[0] == 250
    c.quit()
    dsn = place.inbox.wait(1)[0]
    words = parts(dsn.data)[2].as_bytes()
    assert b"Action: " + action in words and b"Status: " + status in words
    assert b"Original-Recipient: rfc822;Mario@shop.example" in words.replace(b"; ", b";") or \
        b"Original-Recipient: rfc822; Mario@shop.example" in words
    assert b"anna" not in words
    b = relay.wait_balance(received=2, replayed=2)
    assert identity(b)
    until(lambda: queue_status(relay)["dsn_sent"][action.decode()] == 1)
    assert len(place.inbox.messages) == 1 and suppressed(relay) == {}
    store.close()


def test_spec_2_3_3_a_store_that_knows_dsn_does_it_itself(world, place):
    world.store.extensions = ["PIPELINING", "8BITMIME", "DSN"]
    relay = world.relay()
    c = mail.smtplib.SMTP("127.0.0.1", relay.port, source_address=("127.0.0.5", 0))
    c.ehlo("mail.sender.example")
    assert c.mail(SENDER, ["ENVID=abc"])[0] == 250
    assert c.rcpt(USER, ["NOTIFY=SUCCESS"])[0] == 250
    assert c.data(mail.message(SENDER, USER))[0] == 250
    relay.wait_balance(replayed=1)
    assert "ENVID=abc" in world.store.messages[0].options
    assert place.inbox.messages == []


def test_spec_14_4_case_7_success_and_delay(world, place):
    world.recovery.extensions = world.recovery.extensions + ["DSN"]
    relay = world.relay(top="delay-notice = 1s")
    world.down()
    relay.failover("on")
    c = mail.smtplib.SMTP("127.0.0.1", relay.port, source_address=("127.0.0.5", 0))
    c.ehlo("mail.sender.example")
    assert c.mail(SENDER, ["ENVID=QQ314159", "RET=FULL"])[0] == 250
    assert c.rcpt(USER, ["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;secret-orcpt@shop.example"])[0] == 250
    assert c.data(mail.message(SENDER, USER))[0] == 250
    c.quit()
    copy = world.recovery.wait(1)[0]
    assert "QQ314159" not in copy.options and "FULL" not in copy.options
    # and the recovery host was asked in our own name only (2.3.3)
    assert "RET=HDRS" in copy.options and "ENVID=" + copy.mail_from.split("=")[4].split("@")[0] in copy.options
    late = place.inbox.wait(1)[0]
    words = parts(late.data)[2].as_bytes()
    assert b"Action: delayed" in words and b"Original-Envelope-Id: QQ314159" in words
    time.sleep(1.5)
    assert len(place.inbox.messages) == 1       # once
    world.up()
    relay.failover("off")
    done = place.inbox.wait(2)[1]
    words = parts(done.data)[2].as_bytes()
    assert b"Action: delivered" in words and b"secret-orcpt@shop.example" in words
    no_secret(late.data, done.data)
    assert identity(relay.wait_balance(received=1, replayed=1))


def test_spec_2_3_1_no_notification_when_a_copy_was_taken(world, place):
    relay = world.relay()
    world.down()
    relay.failover("on")
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
    world.recovery.wait(1)
    relay.wait_balance(forwarded=1)
    world.up(script=store_refuses)
    relay.failover("off")
    until(lambda: "primary-refused" in relay.log())
    relay.command("queue", "bounce", "--domain", "shop.example", "--reason", "x")
    relay.wait_balance(bounced=1, held=0)
    assert suppressed(relay) == {"forwarded": 1} and place.inbox.messages == []


def test_spec_2_3_7_a_host_of_seven_bits_gets_the_header_only(world, place):
    """RET=FULL of a message with 8 bits, and the sender's host does not know 8BITMIME: what was
    refused is said all the same, without the content."""
    place.inbox.extensions = ["PIPELINING", "ENHANCEDSTATUSCODES"]
    relay = world.relay()
    data = refused(world, relay, data=mail.message(SENDER, USER, body=b"perch\xc3\xa9\r\n"),
                   options=["RET=FULL", "BODY=8BITMIME"])
    relay.command("queue", "bounce", "--state", "refused", "--reason", "x")
    dsn = place.inbox.wait(1)[0]
    text, status, header = parts(dsn.data)[1:]
    assert b"Status: 5.1.1" in status.as_bytes() and header.get_content_type() == "text/rfc822-headers"
    assert b"Diagnostic-Code: smtp; 550 5.1.1" in status.as_bytes()
    assert dsn.data.isascii() and b"perch" not in dsn.data and data.split(b"\r\n\r\n")[0] in dsn.data
    relay.wait_balance(bounced=1, held=0)
    no_secret(dsn.data)
    time.sleep(0.5)
    assert len(place.inbox.messages) == 1
    relay.stop()


def test_spec_2_3_8_why_the_store_cannot_take_it(world, place):
    """Not the store's reply, but the reason of ours that it has no SMTPUTF8 (3.9)."""
    relay = world.relay()
    relay.failover("off")
    data = mail.message(SENDER, USER).replace(b"prova", "perch\u00e9".encode())
    assert mail.send(relay.port, SENDER, USER, data, options=["SMTPUTF8"])[0] == 250
    until(lambda: relay.command("queue", "bounce", "--state", "refused", "--reason", "x")["count"] == 1)
    status = parts(place.inbox.wait(1)[0].data)[2].as_bytes()
    assert b"Status: 5.6.7" in status and b"Diagnostic-Code: X-Salvaposta;" in status
    relay.stop()


def test_spec_2_3_5_limits_per_target(world, place):
    relay = world.relay(top="dsn-per-target = 2")
    world.down()
    world.up(script=store_refuses)
    for _ in range(4):
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
    relay.wait_balance(received=4, held=4)
    until(lambda: relay.log().count("primary-refused") >= 4)
    relay.command("queue", "bounce", "--state", "refused", "--reason", "x")
    relay.wait_balance(bounced=4, held=0)
    until(lambda: len(place.inbox.messages) == 2)
    assert suppressed(relay) == {"rate-target": 2}


def test_spec_2_3_an_mx_that_is_away_is_tried_again(world):
    tries = []

    def later(stage, arg):
        if stage == "rcpt":
            tries.append(arg)
            return "450 4.2.1 later" if len(tries) < 3 else None
    place = Place(world, sender_script=later)
    try:
        relay = world.relay()
        refused(world, relay)
        relay.command("queue", "bounce", "--state", "refused", "--reason", "x")
        assert place.inbox.wait(1, timeout=20)[0].rcpts == [SENDER]
        assert len(tries) == 3 and identity(relay.balance())
    finally:
        place.close()


def test_spec_2_3_a_notification_survives_a_crash(world, place):
    place.inbox.close()
    relay = world.relay()
    refused(world, relay)
    relay.command("queue", "bounce", "--state", "refused", "--reason", "x")
    until(lambda: queue_status(relay)["dsn_sent"]["failed"] == 1)
    relay.kill()
    place.inbox = Sink(host="127.0.0.7", port=world.recovery.port)
    relay.start()
    dsn = place.inbox.wait(1, timeout=20)[0]
    assert dsn.rcpts == [SENDER] and dsn.mail_from == ""
    b = relay.wait_balance(bounced=1, held=0)
    assert identity(b) and b["received"] == 1


class Recorder:
    """An SMTP client that keeps every byte it is told."""

    def __init__(self, port, source="127.0.0.5"):
        self.heard = b""
        self.s = socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0))
        self.reply()

    def reply(self):
        got = b""
        while not (got.endswith(b"\r\n") and got.split(b"\r\n")[-2][3:4] == b" "):
            more = self.s.recv(4096)
            if not more:
                break
            got += more
        self.heard += got
        return got

    def say(self, *lines):
        for line in lines:
            self.s.sendall(line + b"\r\n")
            last = self.reply()
        return last


def test_spec_2_1_3_and_2_3_9_no_byte_towards_a_sender_knows_the_recovery_address(world, place):
    """An outage, a copy refused with a text that names it, a late bounce that names it, replay
    550, a bounce, a held message with every field of the checklist, and what clients try."""
    relay = world.relay(top="delay-notice = 1s")
    world.down()
    relay.failover("on")
    heard = []
    marked = (b"Received: from a by b for <someone@else.example>; Mon, 1 Jan 2024 00:00:00 +0000\r\n" +
              mail.message(SENDER, USER))
    c = Recorder(relay.port)
    heard.append(c)
    c.say(b"EHLO mail.sender.example", b"MAIL FROM:<news@sender.example> RET=FULL ENVID=e1",
          b"RCPT TO:<mario@shop.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;mario@shop.example",
          b"RCPT TO:<anna@shop.example> NOTIFY=SUCCESS,FAILURE",
          b"RCPT TO:<mario@recovery.example>", b"VRFY mario@shop.example", b"EXPN mario@shop.example")
    assert b"354" in c.say(b"DATA")
    assert c.say(marked + b".").startswith(b"250")
    copies = world.recovery.wait(2)
    token = [m for m in copies if m.rcpts == [RECOVERY]][0].mail_from
    world.recovery.script = refuse_all
    c.say(b"MAIL FROM:<news@sender.example>", b"RCPT TO:<mario@shop.example>", b"DATA")
    c.say(mail.message(SENDER, USER, subject="second") + b".")
    relay.wait_balance(forward_failed=1)
    from tests.e2e.test_bounce import report
    b = Recorder(relay.port, "127.0.0.8")
    heard.append(b)
    b.say(b"EHLO mx.recovery.example", b"MAIL FROM:<>", b"RCPT TO:<" + token.encode() + b">",
          b"RCPT TO:<SRS0=AAAAAAAA=AA=n1=0123456789abcdefghijklmn@fwd.relay.example>", b"DATA")
    b.say(report(token) + b".")
    relay.wait_balance(forward_failed=2)
    place.inbox.wait(1)         # delayed
    world.up(script=store_refuses)
    relay.failover("off")
    until(lambda: relay.log().count("primary-refused") >= 3)
    relay.command("queue", "bounce", "--state", "refused", "--reason", "x")
    told = place.inbox.wait(3)
    assert {parts(m.data)[2].as_bytes().split(b"Action: ")[1].split(b"\n")[0].strip() for m in told} \
        >= {b"delayed", b"failed"}
    no_secret(*[m.data + m.options.encode() + " ".join(m.rcpts).encode() for m in told])
    for r in heard:
        no_secret(r.heard)
    for m in told:
        top = parts(m.data)
        for name in ("X-Actual-Recipient", "Delivered-To", "X-Forwarded-To", "X-Original-To"):
            assert name not in top[0] and name not in str(top[2])
        assert b"Remote-MTA" not in m.data
        if b"Action: failed" in m.data:
            inner = top[3].as_bytes()
            # the sender's own field, as it came
            assert (b"someone@else.example" in inner) == (b"Subject: prova" in inner)
            assert b"mx2.relay.example" not in inner    # and none of ours
    no_secret(*[m.data for m in world.store.messages])


def test_spec_2_3_1_the_end_of_retention_is_told(world, place):
    relay = world.relay(top="hold-retention = 2s\nretention-attempts = 1")
    world.down()
    world.up(script=lambda stage, arg: "450 4.2.1 not now" if stage == "rcpt" else None)
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
    dsn = place.inbox.wait(1, timeout=20)[0]
    words = parts(dsn.data)[2].as_bytes()
    assert b"Action: failed" in words and b"Status: 5.4.7" in words
    assert b"Diagnostic-Code" not in words or b"smtp" not in words
    assert identity(relay.wait_balance(received=1, bounced=1, held=0))


GATE = [  # sender, From, who signs, parameters of MAIL and RCPT, is he told
    ("a@pass.example", None, "", "", True),
    ("a@fail.example", None, "", "", False), ("a@soft.example", None, "", "", False),
    ("a@neutral.example", None, "", "", False), ("a@nospf.example", None, "", "", False),
    ("b@bounce.author.example", "x@author.example", "", "", True),      # DMARC, one organization
    ("b@fail.example", "x@author.example", "", "", False),              # DMARC, another's envelope
    ("PostMaster@pass.example", None, "", "", False), ("mailer-daemon@pass.example", None, "", "", False),
    ("x@fwd.relay.example", None, "", "", False),
    ("a@pass.example", None, "", " NOTIFY=NEVER", False), ("a@pass.example", None, "", " NOTIFY=SUCCESS,DELAY", False),
    ("a@pass.example", None, " RET=FULL ENVID=q+2B1", " NOTIFY=FAILURE ORCPT=rfc822;Old+2Bone@x.example", True),
]


def test_spec_2_3_4_and_2_3_5_and_2_3_7_and_2_3_8_who_is_told_and_what(world, place, rsa):
    pem, public = rsa
    mx = {"MX": ["10 mx.sender.example."]}
    for name, spf in (("pass", "ip4:127.0.0.5 -all"), ("fail", "-all"), ("soft", "~all"), ("neutral", "?all")):
        world.dns.set(name + ".example", dict(mx, TXT=["v=spf1 " + spf]))
    for name in ("nospf.example", "author.example", "bounce.author.example"):
        world.dns.set(name, mx)
    world.dns.set("_dmarc.author.example", {"TXT": ["v=DMARC1; p=none"]})
    world.dns.set("s._domainkey.author.example", {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
    world.recovery.script = refuse_all
    relay = world.relay(users=["u%d@shop.example,u%d@recovery.example" % (i, i) for i in range(len(GATE))])
    world.down()
    relay.failover("on")
    session, sent = mail.Session(relay.port), {}
    for i, (sender, author, options, rcpt_options, _) in enumerate(GATE):
        user = "u%d@shop.example" % i
        sent[user] = mail.message(author or "n@sender.example", user, body=b"--x\r\n.dot\r\n")
        if author:
            sent[user] = mail.dkim_sign(sent[user], "s", "author.example", pem)
        session.say("MAIL FROM:<%s>%s" % (sender, options), "RCPT TO:<%s>%s" % (user, rcpt_options))
        assert session.say(b"BDAT %d LAST\r\n" % len(sent[user]) + sent[user])[:3] == "250"
    session.close()
    relay.wait_balance(received=len(GATE), forward_waiting=0)
    world.up(script=store_refuses)
    relay.failover("off")
    until(lambda: relay.log().count("note=\"primary-refused 550 5.1.1\"") == len(GATE))
    relay.command("queue", "bounce", "--domain", "shop.example", "--reason", "x")
    relay.wait_balance(bounced=len(GATE), held=0)
    told = sum(1 for row in GATE if row[4])
    got = {email.message_from_bytes(m.data).get_payload(1).get_payload(1)["Final-Recipient"][8:]: m.data
           for m in place.inbox.wait(told)}
    assert sorted(got) == sorted("u%d@shop.example" % i for i, row in enumerate(GATE) if row[4])
    assert sum(suppressed(relay).values()) == len(GATE) - told
    no_secret(*got.values())
    last = "u%d@shop.example" % (len(GATE) - 1)
    _, _, status, content = parts(got[last])
    assert status.get_payload(0)["Original-Envelope-Id"] == "q+1"
    assert status.get_payload(1)["Original-Recipient"] == "rfc822; Old+one@x.example"
    assert content.get_content_type() == "message/rfc822" and b"\r\n\r\n" + sent[last] in got[last]
    assert parts(got["u0@shop.example"])[3].get_content_type() == "text/rfc822-headers"
