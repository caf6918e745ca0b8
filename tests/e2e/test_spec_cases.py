# SPDX-License-Identifier: Apache-2.0
"""End-to-end cases of spec 14.4 about bytes and authentication: 1, 14, 15, 17, 20."""
import itertools
import re

import dkim
import pytest

from tests.e2e.test_auth import (SENDER, STRANGER, USER, active, arc, list_mail,  # noqa: F401
                                 policy, resolver, shown, signing)
from tests.e2e.test_front import Talk
from tests.lib import mail

BODY = ("Ciao  Mario, perch\u00e9 no?\r\n.\r\n.x\r\n..\r\ntrailing blanks \t \r\nFrom me\r\n-- \r\n"
        "\r\n\r\n").encode()
FIELDS = (b"X-Folded: one\r\n\ttwo\r\n   three  \r\nx-cASe:  caff\xc3\xa8 \t \r\nX-Latin: \xe8\xe9\r\n")


def test_spec_14_4_case_1_signatures_survive_forward_and_replay(world, rsa):
    """8-bit body, dot lines, trailing blanks and folded fields, in every canonicalization: DKIM
    verifies on the forward copy and on replay, and the bytes held are those that came."""
    pem, public = rsa
    world.dns.set("s1._domainkey.sender.example", {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
    policy(world, "p=reject")
    relay = active(world, forwarder=signing(world, rsa))
    sent = {}
    for n, canon in enumerate(itertools.product((b"simple", b"relaxed"), repeat=2)):
        for chunked in (False, True):
            data = mail.dkim_sign(mail.message(SENDER, USER, "n%d%d" % (n, chunked), BODY, FIELDS), "s1",
                                  "sender.example", pem, canonicalize=canon, include_headers=[
                                      b"From", b"To", b"Subject", b"X-Folded", b"X-Case", b"X-Latin"])
            sent[b"n%d%d" % (n, chunked)] = data
            session = mail.Session(relay.port)
            assert session.send(SENDER, USER, data, chunked).startswith("250")
            session.close()

    def check(messages):
        assert len(messages) == len(sent)
        for m in messages:
            data = sent[re.search(rb"\r\nSubject: (n\d+)\r\n", m.data).group(1)]
            assert mail.below_trace(m.data, data)
            at = m.data[:-len(data)].count(b"DKIM-Signature: v=1")
            assert dkim.DKIM(m.data).verify(idx=at, dnsfunc=resolver(world))
            head = m.data[:-len(data)].replace(b"\r\n\t", b" ")
            assert b" dkim=pass header.d=sender.example" in head and b" dmarc=pass " in head
    check(world.recovery.wait(len(sent)))
    out = relay.command("queue", "list", "--domain", "shop.example")["messages"]
    assert len(out) == len(sent)
    world.up()
    relay.failover("off")
    check(world.store.wait(len(sent)))


FORGED = [
    b"Authentication-Results: mx2.relay.example; spf=pass",
    b"Authentication-Results: MX2.Relay.EXAMPLE; spf=pass",
    b"authentication-results:mx2.relay.example;spf=pass",
    b"AUTHENTICATION-RESULTS : mx2.relay.example; spf=pass",
    b"Authentication-Results: (hi (there)) mx2.relay.example (x); spf=pass",
    b"Authentication-Results: mx2.relay.example 1; spf=pass",
    b"Authentication-Results: mx2.relay.example/1; spf=pass",
    b"Authentication-Results:\r\n\t mx2.relay.example\r\n ;\r\n\tspf=pass",
    b"Authentication-Results: \"mx2.relay.example\"; spf=pass",
    b"Authentication-Results: \"mx2\\.relay.example\" 2; spf=pass",
    b"Authentication-Results: mx2.relay.example.; spf=pass",
    b"Authentication-Results: mx2.relay.example; none",
]
OTHERS = [b"Authentication-Results: mx.other.example; spf=pass",
          b"Authentication-Results: mx2.relay.example.evil.example; spf=pass",
          b"X-Authentication-Results: mx2.relay.example; spf=pass"]


def test_spec_14_4_case_14_forged_results_are_removed_in_all_forms(world):
    """From the forward copy and from the replay; neighbours stay to the octet."""
    relay = active(world)
    data = mail.message(SENDER, USER)
    fields = [f + b"\r\n" for pair in itertools.zip_longest(FORGED, OTHERS) for f in pair if f]
    assert mail.send(relay.port, SENDER, USER, b"".join(fields) + data)[0] == 250
    left = b"".join(f + b"\r\n" for f in OTHERS) + data
    assert mail.below_trace(world.recovery.wait(1)[0].data, left)
    world.up()
    relay.failover("off")
    assert mail.below_trace(world.store.wait(1)[0].data, left)


ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\r\n.\r\r\n", b"\n\n.\n\n",
        b"\r\n\0.\r\n", b"\r\n.\0\r\n", b"\r\n. \r\n", b"\n\r.\n\r"]
EVIL = b"MAIL FROM:<evil@sender.example>\r\nRCPT TO:<mario@shop.example>\r\nDATA\r\nFrom: <evil@sender.example>\r\n\r\nevil"


@pytest.mark.parametrize("mode", ["normalize", "reject"])
def test_spec_14_4_case_15_smuggling_gives_one_message_or_550(world, mode):
    """Never two, and nothing bare leaves us, however the packets are cut."""
    relay = active(world, top="bare-newline = " + mode)
    taken = 0
    for end in ENDS:
        for cut in (1, len(end) - 1):
            t = Talk(relay.port, source="127.0.0.5")
            t.say(b"EHLO mail.sender.example\r\n")
            for line in (b"MAIL FROM:<news@sender.example>", b"RCPT TO:<mario@shop.example>", b"DATA"):
                reply = t.say(line + b"\r\n")
            assert reply.startswith(b"354")
            head = b"From: <news@sender.example>\r\nSubject: x\r\n\r\nhello"
            t.sock.sendall(head + end[:cut])
            t.sock.sendall(end[cut:] + EVIL + b"\r\n.\r\n")
            reply = t.reply()
            assert reply[:3] in ((b"250",) if mode == "normalize" else (b"250", b"550")), (end, reply)
            taken += reply.startswith(b"250")
            # the next command is answered as the next command
            assert t.say(b"NOOP\r\n").startswith(b"250 2.0.0 ok")
            t.close()
    assert taken == 2 * len(ENDS) if mode == "normalize" else 0 < taken < len(ENDS)
    relay.wait_balance(received=taken)
    world.up()
    relay.failover("off")
    got = world.store.wait(taken, 60)
    assert len(got) == taken
    for m in got + world.recovery.messages:
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)", m.data), m.data
        assert b"hello" in m.data and b"evil" in m.data     # all of it, as one


def test_spec_14_4_case_17_a_fake_is_held_unless_a_trusted_sealer_speaks_for_it(world, rsa, list_mail):  # noqa: F811
    """p=reject and fail: 250, held, not forwarded; with a trusted sealer's dmarc=pass forwarded,
    and the override is in the log."""
    relay = active(world, forwarder=signing(world, rsa), top='trusted-arc-sealers = { "lists.example" }')
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER), source=STRANGER)[0] == 250
    relay.wait_balance(received=1, held=1, forwarded=0)
    m = shown(relay)
    assert (m["dmarc"], m["reason"]) == ("fail", "dmarc-reject")
    assert "rule=\"dmarc-override-arc\"" not in relay.log()
    assert mail.send(relay.port, SENDER, USER, list_mail, source=STRANGER)[0] == 250
    got = world.recovery.wait(1)
    relay.wait_balance(received=2, held=2, forwarded=1)
    assert "rule=\"dmarc-override-arc\"" in relay.log()
    assert len(got) == 1 and arc(world, got[0].data) == b"pass"


def test_spec_14_4_case_20_killed_at_the_250_the_copy_is_known_by_its_queue_id(world):
    """kill -9 of everything while the store says 250: it comes twice, under one id."""
    relay, calls = world.relay(start=False), []

    def script(stage, arg):
        if stage == "end" and not calls.count("dead"):
            calls.append(stage)
            if calls.count("end") == 3:     # kept, and the reply is about to go
                relay.kill()
                calls.append("dead")
        return None
    world.store.script = script
    relay.start()
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    assert len(world.store.wait(1)) == 1
    relay.process.wait(20)
    relay.start()
    got = world.store.wait(2)
    ids = [[l for l in m.data.split(b"\r\n") if l.startswith(b"X-Fwd-Queue-Id: ")] for m in got]
    assert len(got) == 2 and len(ids[0]) == 1 and ids[0] == ids[1]
    relay.wait_balance(replayed=1, held=0)
