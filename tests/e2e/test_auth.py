# SPDX-License-Identifier: Apache-2.0
"""Authentication decides what is forwarded (spec 4 to 7, 9, 10), seen from outside: a
sender with DNS records of its own, the relay, a store and a recovery host."""
import os

import dkim
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
def test_disposition_6_5_and_6_8(world, record, source, forwarded, reason):
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


def test_spec_0_4_dns_trouble_is_looked_at_again(world):
    """The sender's DNS fails when the mail comes: the reply does not wait for it, the copy
    does. One sender's DNS comes back, the other's never does."""
    names = ["sender.example", "_dmarc.sender.example", "dead.example", "_dmarc.dead.example"]
    for name in names:
        world.dns.set(name, "SERVFAIL")
    relay = active(world, top="recheck-interval = 2s\nrecheck-tries = 8\ndns-timeout = 1s\n"
                   "dns-tries = 1\nevaluate-timeout = 4s")
    other = "news@dead.example"
    data = {s: mail.message(s, USER) for s in (SENDER, other)}
    for s in data:
        assert mail.send(relay.port, s, USER, data[s])[0] == 250
    relay.wait_balance(received=2, held=2, forwarded=0, forward_waiting=2)
    assert {shown(relay, n)["reason"] for n in (0, 1)} == {"dmarc-temperror"}
    world.dns.set("sender.example", {"TXT": ["v=spf1 ip4:127.0.0.5 -all"]})
    policy(world, "p=reject")
    copy = world.recovery.wait(1, timeout=30)[0].data
    head = copy.split(b"From: <news")[0]
    assert b"spf=pass" in head and b"dmarc=pass" in head and b"temperror" not in head
    assert copy.endswith(data[SENDER].split(b"\r\n\r\n", 1)[1])
    relay.wait_balance(timeout=40, received=2, held=2, forwarded=1, forward_waiting=0)
    listed = relay.command("queue", "list", "--domain", "shop.example")["messages"]
    assert sorted((m["forward"]["state"], m["forward"]["note"] == "dmarc-temperror")
                  for m in listed) == [("delivered", False), ("skipped", True)]
    # 6.8: what is held tells the primary what was known when it came
    world.up()
    relay.failover("off")
    held = world.store.wait(2)
    assert all(b"dmarc=temperror" in m.data for m in held)
    assert sorted(m.mail_from for m in held) == sorted([SENDER, other])
    assert len(world.recovery.messages) == 1


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
    body = b"x" * 65536 + b"\r\n" + b"\xe8" * 2000 + b"\r\n"
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


def signing(world, rsa, **more):
    """What a forwarder needs to sign and seal, with its record in DNS."""
    pem, public = rsa
    path = os.path.join(world.folder, "dkim.pem")
    with open(path, "wb") as f:
        f.write(pem)
    os.chmod(path, 0o600)
    world.dns.set("s1._domainkey.fwd.relay.example", {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
    return 'dkim-selector = "s1"\n    dkim-key-file = "%s"' % path


def resolver(world):
    def ask(name, timeout=5):
        found = world.dns.zones.get(name.decode().rstrip("."))
        return found["TXT"][0].encode() if found else None
    return ask


def arc(world, data):
    return dkim.ARC(data).verify(dnsfunc=resolver(world))[0]


def test_forward_copies_are_signed_and_sealed_5_2(world, rsa):
    policy(world, "p=reject")
    relay = active(world, forwarder=signing(world, rsa))
    data = mail.message(SENDER, USER, body="perch\u00e9\r\n.\r\n".encode())
    mail.send(relay.port, SENDER, USER, data)
    got = world.recovery.wait(1)[0].data
    assert arc(world, got) == b"pass"
    assert dkim.DKIM(got).verify(dnsfunc=resolver(world))
    order = [l.split(b":")[0] for l in got[:len(got) - len(data)].split(b"\r\n")
             if l and l[:1] not in b" \t"]
    assert order == [b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results",  # 3.3
                     b"DKIM-Signature", b"X-Fwd-Loop", b"Delivered-To", b"X-Forwarded-For",
                     b"Authentication-Results", b"Received"]
    flat = got.replace(b"\r\n\t", b" ")
    aar = [l for l in flat.split(b"\r\n") if l.startswith(b"ARC-Authentication-Results")][0]
    ar = [l for l in flat.split(b"\r\n") if l.startswith(b"Authentication-Results")][0]
    assert aar.split(b"i=1; ")[1] == ar.split(b": ", 1)[1]      # 5.5
    # the store gets the message as it came: no seal on a replay
    world.up()
    relay.failover("off")
    assert b"ARC-Seal" not in world.store.wait(1)[0].data


def test_arc_can_be_switched_off_5_0(world, rsa):
    relay = active(world, forwarder=signing(world, rsa) + "\n    arc = off")
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    got = world.recovery.wait(1)[0].data
    assert b"DKIM-Signature" in got and b"ARC-Seal" not in got


@pytest.fixture
def list_mail(world, rsa):
    """Mail of SENDER, changed and sealed by a list that says dmarc=pass; from a stranger."""
    pem, public = rsa
    world.dns.set("a1._domainkey.lists.example", {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
    policy(world, "p=reject")
    data = (b"Authentication-Results: lists.example; dmarc=pass header.from=sender.example\r\n" +
            mail.message(SENDER, USER, "[list] prova"))
    sealed = b"".join(dkim.arc_sign(data, b"a1", b"lists.example", pem, b"lists.example")) + data
    assert dkim.ARC(sealed).verify(dnsfunc=resolver(world))[0] == b"pass"
    return sealed


def test_a_trusted_sealer_is_believed_6_6(world, rsa, list_mail):
    """14.4 case 17: held, until the sealer is trusted; the override is logged."""
    relay = active(world, forwarder=signing(world, rsa))
    assert mail.send(relay.port, SENDER, USER, list_mail, source=STRANGER)[0] == 250
    relay.wait_balance(received=1, held=1, forwarded=0)
    m = shown(relay)
    assert (m["dmarc"], m["arc"], m["reason"]) == ("fail", "pass", "dmarc-reject")
    relay.kill()
    relay.write_conf(top='trusted-arc-sealers = { "lists.example" }')
    relay.start()
    assert mail.send(relay.port, SENDER, USER, list_mail, source=STRANGER)[0] == 250
    got = world.recovery.wait(1)[0].data
    assert "rule=\"dmarc-override-arc\"" in relay.log()
    # 5.9: a chain of two sealers
    assert got.count(b"ARC-Seal: i=2;") == 1 and b"cv=pass" in got
    assert arc(world, got) == b"pass"


def test_a_broken_chain_is_sealed_as_failed_5_3(world, rsa, list_mail):
    world.dns.set("_dmarc.sender.example", {})
    relay = active(world, forwarder=signing(world, rsa))
    assert mail.send(relay.port, SENDER, USER, list_mail.replace(b"ciao", b"addio"))[0] == 250
    got = world.recovery.wait(1)[0].data
    assert b"arc=fail" in got and got.startswith(b"ARC-Seal: i=2;") and b"cv=fail" in got.split(b"d=")[0]
    assert arc(world, got) != b"pass"


def test_a_copy_that_comes_back_goes_no_further_9_1(world):
    """The recovery host forwards to us: one hold copy, no loop, 250."""
    policy(world, "p=none")
    relay = active(world)
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    back = world.recovery.wait(1)[0].data
    back = back.replace(b"Delivered-To: mario@shop.example\r\n", b"")     # which would tell as well
    assert mail.send(relay.port, SENDER, USER, b"Received: from a by b\r\n" + back)[0] == 250
    relay.wait_balance(received=2, held=1, dropped=1, forwarded=1, forward_waiting=0)
    assert len(world.recovery.messages) == 1
    # the tag is of one mailbox: mail to another one is no loop
    assert mail.send(relay.port, SENDER, "anna@shop.example", back)[0] == 250
    relay.wait_balance(received=3, forwarded=2)


def test_mail_that_would_not_survive_is_munged_7_3_and_7_7(world, rsa):
    """p=quarantine and SPF alone: at once. 7.7: the store gets the genuine message."""
    policy(world, "p=quarantine")
    relay = active(world, forwarder=signing(world, rsa), in_domain='brand = "Posta Bottega"')
    data = mail.message(SENDER, USER)
    mail.send(relay.port, SENDER, USER, data)
    m = world.recovery.wait(1)[0]
    token = m.mail_from.split("=")[-1].split("@")[0]
    head, body = m.data.split(b"\r\n\r\n", 1)
    flat = head.replace(b"\r\n ", b" ")
    assert b'From: "news@sender.example via Posta Bottega" <fwd+%s@fwd.relay.example>' % token.encode() in flat
    assert flat.count(b"\r\nFrom: ") == 1
    for name in (b"Author", b"X-Original-From", b"Reply-To"):
        assert b"\r\n" + name + b": <news@sender.example>" in flat
    assert body == b"ciao\r\n" and arc(world, m.data) == b"pass"
    assert dkim.DKIM(m.data).verify(dnsfunc=resolver(world))
    world.up()
    relay.failover("off")
    assert mail.below_trace(world.store.wait(1)[0].data, data)


def test_what_a_signature_carries_is_not_touched_7_1(world, rsa):
    pem, public = rsa
    world.dns.set("s1._domainkey.sender.example", {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
    policy(world, "p=quarantine")
    relay = active(world, in_domain="unsurvivable = munge")
    data = mail.dkim_sign(mail.message(SENDER, USER), "s1", "sender.example", pem)
    mail.send(relay.port, SENDER, USER, data)
    assert mail.below_trace(world.recovery.wait(1)[0].data, data)


@pytest.mark.parametrize("mode,form", [("auto", "as-is"), ("try", "as-is"), ("munge", "munge"),
                                       ("wrap", "wrap"), ("hold", None)])
def test_unsurvivable_as_configured_7_3(world, rsa, mode, form):
    policy(world, "p=reject")
    relay = active(world, forwarder=signing(world, rsa), in_domain="unsurvivable = " + mode)
    data = mail.message(SENDER, USER)
    mail.send(relay.port, SENDER, USER, data)
    if form is None:
        relay.wait_balance(received=1, held=1, forward_skipped=1)
        assert world.recovery.messages == []
        return
    got = world.recovery.wait(1)[0].data
    assert dkim.DKIM(got).verify(dnsfunc=resolver(world))
    assert (form == "as-is") == mail.below_trace(got, data)
    assert (form == "munge") == (b"\r\nX-Original-From: " in got)
    if form == "wrap":
        head, inside = got.split(b"Content-Type: message/rfc822", 1)
        assert data in inside and b"\r\nSubject: prova\r\n" in head
        assert b"Auto-Submitted: auto-generated" in head


def test_spec_2_3_10_receipts_are_not_asked_of_the_recovery_mailbox(world, rsa):
    """Out of the copy, unless a passing signature covers the field: then it stays, counted. One
    that covers only one of the two keeps only that one. The store gets all of it."""
    pem, public = rsa
    world.dns.set("s1._domainkey.sender.example", {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
    relay = active(world)
    asks = (b"Disposition-Notification-To", b"Return-Receipt-To")
    data = mail.message(SENDER, USER, extra=b"".join(a + b": x@sender.example\r\n" for a in asks))
    signed = mail.dkim_sign(data, "s1", "sender.example", pem,
                            include_headers=[b"from", b"disposition-notification-to"])
    both = mail.dkim_sign(data, "s1", "sender.example", pem,
                          include_headers=[b"from", b"return-receipt-to", b"disposition-notification-to"])
    broken = both.replace(b"Subject: ", b"Subject: changed ").replace(
        b"Disposition-Notification-To: x@", b"Disposition-Notification-To: y@")
    for i, (message, kept) in enumerate(((data, 0), (signed, 1), (both, 2), (broken, 0))):
        mail.send(relay.port, SENDER, USER, message)
        copy = world.recovery.wait(i + 1)[i].data.split(b"\r\n\r\n")[0]
        assert [b"\r\n" + a + b":" in copy for a in asks] == [kept > 0, kept > 1], i
        if kept == 2:
            assert mail.below_trace(world.recovery.messages[i].data, message)
            assert dkim.DKIM(world.recovery.messages[i].data).verify(dnsfunc=resolver(world))
    assert sum(r["receipts"] for r in relay.roles("seal")) == 3
    world.up()
    relay.failover("off")
    assert all(a in m.data for m in world.store.wait(4) for a in asks)


def test_a_front_server_says_what_spf_found_0_5(world):
    """Behind a front that does not name its client: its topmost field, for DMARC as well."""
    policy(world, "p=reject")
    relay = active(world, top='trusted-relay = { "127.0.0.7" }\ntrust-authserv-id = { "mx1.shop.example" }')
    data = mail.message(SENDER, USER)
    field = b"Authentication-Results: mx1.shop.example;\r\n\tspf=%s smtp.mailfrom=sender.example\r\n"
    for n, (result, forwarded) in enumerate(((b"pass", 1), (b"fail", 0))):
        mail.send(relay.port, SENDER, USER, field % result + data, source="127.0.0.7")
        relay.wait_balance(received=n + 1, held=n + 1, forwarded=1)
        assert shown(relay, n)["dmarc"] == ("pass" if forwarded else "fail")
    # without it nothing is known; said by somebody else it is nothing
    mail.send(relay.port, SENDER, USER, data, source="127.0.0.7")
    mail.send(relay.port, SENDER, USER, field % b"pass" + data, source=STRANGER)
    relay.wait_balance(received=4, held=4, forwarded=1)
    assert [shown(relay, n)["dmarc"] for n in (2, 3)] == ["fail", "fail"]
