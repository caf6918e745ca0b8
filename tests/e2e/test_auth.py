# SPDX-License-Identifier: Apache-2.0
"""Authentication decides what is forwarded (spec 4 to 7, 9, 10), seen from outside: a
sender with DNS records of its own, the relay, a store and a recovery host."""
import pytest

from tests.lib import mail

SENDER, USER = "news@sender.example", "mario@shop.example"
STRANGER = "127.0.0.6"      # no SPF record names it


def policy(world, text, domain="sender.example"):
    world.dns.set("_dmarc." + domain, {"TXT": ["v=DMARC1; " + text]})


def active(world, **kw):
    relay = world.relay(**kw)
    world.down()
    relay.failover("on")
    return relay


def shown(relay, n=0):
    """The n-th message that the relay has, oldest first."""
    listed = relay.command("queue", "list", "--domain", "shop.example")["messages"]
    listed.sort(key=lambda m: m["received"])
    return relay.command("queue", "show", listed[n]["id"])["message"]


def test_the_whole_result_is_in_the_header_4_2(world, rsa):
    pem, public = rsa
    world.dns.set("s1._domainkey.sender.example", {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
    policy(world, "p=reject")
    relay = world.relay()
    data = mail.dkim_sign(mail.message(SENDER, USER), "s1", "sender.example", pem)
    assert mail.send(relay.port, SENDER, USER, data)[0] == 250
    head = world.store.wait(1)[0].data.split(b"From: <news")[0].replace(b"\r\n\t", b" ")
    field = [l for l in head.split(b"\r\n") if l.startswith(b"Authentication-Results: ")][0]
    results = field.split(b": ", 1)[1].split(b"; ")
    assert results[0] == b"mx2.relay.example"
    assert [r.split(b"=")[0] for r in results[1:]] == [b"iprev", b"spf", b"dkim", b"dmarc", b"arc"]
    assert results[4] == b"dmarc=pass header.from=sender.example policy.dmarc=reject"
    assert results[5] == b"arc=none smtp.remote-ip=127.0.0.5"


@pytest.mark.parametrize("record,source,forwarded,reason", [
    ("p=reject", "127.0.0.5", True, ""),
    ("p=reject", STRANGER, False, "dmarc-reject"),
    ("p=quarantine", STRANGER, False, "dmarc-quarantine"),
    ("p=none", STRANGER, False, "dmarc-fail"),
    (None, STRANGER, False, "dmarc-unauthenticated"),
    (None, "127.0.0.5", True, ""),
])
def test_disposition_6_5(world, record, source, forwarded, reason):
    if record:
        policy(world, record)
    relay = active(world)
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER), source=source)[0] == 250
    if forwarded:
        assert len(world.recovery.wait(1)) == 1
    relay.wait_balance(received=1, held=1, forwarded=int(forwarded), forward_waiting=0)
    assert shown(relay)["reason"] == reason
    # 6.8: held is not lost, and the primary sees why
    world.up()
    relay.failover("off")
    got = world.store.wait(1)[0].data
    assert b"dmarc=" in got.split(b"From: <news")[0]
    assert len(world.recovery.messages) == int(forwarded)


def test_unauthenticated_mail_is_forwarded_where_that_is_configured_6_5(world):
    relay = active(world, top="forward-unauthenticated = yes")
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER), source=STRANGER)
    assert len(world.recovery.wait(1)) == 1


def test_reject_is_a_reply_at_the_end_of_data_6_7(world):
    policy(world, "p=reject")
    relay = active(world, top="dmarc-reject = reject")
    code, text = mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER), source=STRANGER)
    assert (code, text) == (550, b"5.7.1 Refused by the DMARC policy for sender.example")
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
    relay.wait_balance(received=1, forwarded=1)


def test_dns_trouble_holds_and_never_refuses_6_7(world):
    world.dns.set("_dmarc.sender.example", "SERVFAIL")
    relay = active(world, top="dmarc-reject = reject\nevaluate-timeout = 2s\ndns-timeout = 1s\n"
                   "dns-tries = 1")
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER), source=STRANGER)[0] == 250
    relay.wait_balance(received=1, held=1, forwarded=0)
    m = shown(relay)
    assert (m["dmarc"], m["reason"]) == ("temperror", "dmarc-temperror")


def test_two_authors_are_held_6_1(world):
    policy(world, "p=reject")
    relay = active(world)
    data = mail.message(SENDER, USER).replace(b"From: <", b"From: <boss@bank.example>, <")
    assert mail.send(relay.port, SENDER, USER, data)[0] == 250
    relay.wait_balance(received=1, held=1, forwarded=0)
    assert shown(relay)["reason"] == "dmarc-permerror"


def test_doubled_fields_need_a_dmarc_pass_3_16(world):
    relay = active(world)
    data = b"Date: Mon, 23 Jan 2023 10:00:00 +0100\r\n" + mail.message(SENDER, USER)
    mail.send(relay.port, SENDER, USER, data)
    relay.wait_balance(received=1, held=1, forwarded=0)
    assert shown(relay)["reason"] == "duplicate-fields"
    world.dns.set("_dmarc.other.example", {"TXT": ["v=DMARC1; p=none"]})
    world.dns.set("other.example", {"TXT": ["v=spf1 ip4:127.0.0.5 -all"]})
    mail.send(relay.port, "x@other.example", USER, data.replace(SENDER.encode(), b"x@other.example"))
    assert len(world.recovery.wait(1)) == 1


def test_null_sender_needs_a_dmarc_pass_9_5(world):
    relay = active(world)
    mail.send(relay.port, "", USER, mail.message("mailer-daemon@sender.example", USER))
    relay.wait_balance(received=1, held=1, forwarded=0)
    m = shown(relay)
    assert (m["reason"], m["class"]) == ("null-sender", 3)


def test_received_spf_is_an_option_4_4(world):
    relay = world.relay(top="received-spf = yes")
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    head = world.store.wait(1)[0].data.split(b"From: <news")[0]
    assert head.count(b"Received-SPF: pass") == 1
    assert head.index(b"Authentication-Results") < head.index(b"Received-SPF") < head.index(b"Received: ")


@pytest.mark.parametrize("extra,sender,klass", [
    (b"", SENDER, 1), (b"List-Id: <x.sender.example>\r\n", SENDER, 3),
    (b"", "no-reply@sender.example", 0), (b"Auto-Submitted: auto-replied\r\n", SENDER, 3),
    (b"Feedback-ID: 1:2\r\n", SENDER, 2),
])
def test_classes_10_2(world, extra, sender, klass):
    policy(world, "p=none")
    relay = active(world)
    mail.send(relay.port, sender, USER, mail.message(sender, USER, extra=extra))
    assert len(world.recovery.wait(1)) == 1
    assert shown(relay)["class"] == klass


def test_lines_of_any_length_and_8bit_go_unchanged_3_12(world):
    relay = active(world)
    body = b"x" * 60000 + b"\r\n" + b"\xe8" * 2000 + b"\r\n"
    data = mail.message(SENDER, USER, body=body)
    assert mail.send(relay.port, SENDER, USER, data)[0] == 250
    assert mail.below_trace(world.recovery.wait(1)[0].data, data)
    # a host that does not take it: hold only
    world.recovery.script = lambda stage, arg: "554 5.6.0 line too long" if stage == "end" else None
    assert mail.send(relay.port, SENDER, USER, data)[0] == 250
    relay.wait_balance(received=2, held=2, forwarded=1, forward_failed=1, bounced=0)


def test_a_nul_in_the_body_is_held_3_11(world):
    relay = active(world)
    data = mail.message(SENDER, USER, body=b"a\0b\r\n")
    assert mail.send(relay.port, SENDER, USER, data)[0] == 250
    relay.wait_balance(received=1, held=1, forwarded=0)
    assert shown(relay)["reason"] == "nul"
    assert mail.send(relay.port, SENDER, USER, b"X: a\0b\r\n" + data)[0] == 550
