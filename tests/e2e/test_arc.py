# SPDX-License-Identifier: Apache-2.0
"""Our seals before other validators (spec 5.9): dkimpy and Debian's rspamd, whole, broken, and
in chains of two sealers. The validator's own table is tests/policy/arc_verify_cases.py."""
import random
import re

import dkim
import pytest

from tests.e2e.test_auth import SENDER, USER, active, resolver, signing
from tests.lib import mail, ugly
from tests.lib.rspamd import Rspamd


@pytest.fixture
def judge(world):
    r = Rspamd(world.folder, world.dns.port)
    yield r
    r.close()


def seal(world, data, domain, pem, public):
    """With one more set by dkimpy."""
    world.dns.set("a1._domainkey." + domain, {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
    cv = b"; arc=pass" if b"ARC-Seal:" in data else b""
    data = b"Authentication-Results: %s; spf=pass smtp.mailfrom=x.example%s\r\n" % (domain.encode(), cv) + data
    fields = dkim.arc_sign(data, b"a1", domain.encode(), pem, domain.encode())
    assert len(fields) == 3
    return b"".join(fields) + data


def both(world, judge, data):
    return dkim.ARC(data).verify(dnsfunc=resolver(world))[0].decode(), judge.arc(data)


def tame(data):
    """What those two read in a way of their own is no fault of our seals: rspamd takes control
    octets for blanks and a last line of blanks for text, dkimpy some fields for none."""
    return (not re.search(rb"[\0-\x08\x0b\x0c\x0e-\x1f]|\r\n[ \t]+\r\n", data) and
            data.endswith(b"\r\n") and not data.endswith(b"\r\n\r\n") and b"\r\n\r\n" in data and
            b"\r\nDate" in data and not re.search(rb"X-Spaces|X-Blank-Fold|X-!", data))


def test_spec_5_9_seals_stand_before_dkimpy_and_rspamd(world, rsa, judge):
    pem, public = rsa
    relay = active(world, forwarder=signing(world, rsa))
    r, sent = random.Random(8617), []
    session = mail.Session(relay.port)
    while len(sent) < 12:
        data = ugly.message(r, len(sent), SENDER.encode(), USER.encode())
        if not tame(data):
            continue
        reply = session.send(SENDER, USER, data)
        assert reply.startswith("250"), reply
        sent.append(data)
    got = [m.data for m in world.recovery.wait(len(sent))]
    assert [both(world, judge, g) for g in got] == [("pass", "pass")] * len(got)
    one = got[0]
    # A-R fields and Received may go or come; one octet of the rest may not
    assert both(world, judge, re.sub(rb"\r\nAuthentication-Results: .*?\r\n(?=\S)", b"\r\n", one, 1, re.S)) == \
        ("pass", "pass")
    assert both(world, judge, b"Received: from x by y; Mon, 1 Jan 2024 00:00:00 +0000\r\n" + one) == ("pass", "pass")
    for broken in (one[:-2] + b"x\r\n", one.replace(b"\r\nSubject: ", b"\r\nSubject: x", 1),
                   one.replace(b"spf=pass smtp", b"spf=fail smtp", 1), one.replace(b"cv=none", b"cv=pass", 1),
                   re.sub(rb"ARC-Authentication-Results: .*?\r\n(?=\S)", b"", one, 1, re.S)):
        assert broken != one
        assert "pass" not in both(world, judge, broken)
    # ours, then another's
    assert both(world, judge, seal(world, one, "second.example", pem, public)) == ("pass", "pass")


def test_spec_5_9_another_sealer_then_ours(world, rsa, judge):
    pem, public = rsa
    relay = active(world, forwarder=signing(world, rsa))
    chain = seal(world, mail.message(SENDER, USER), "first.example", pem, public)
    for n, message in enumerate((chain, seal(world, chain, "second.example", pem, public))):
        assert mail.send(relay.port, SENDER, USER, message)[0] == 250
        world.recovery.wait(2 * n + 1)
        got = [m.data for m in world.recovery.messages if b"\r\nX-Seal" not in m.data][n]
        assert got.startswith(b"ARC-Seal: i=%d;" % (n + 2)) and b"cv=pass" in got.split(b"\r\n\tb=")[0]
        assert b"\tarc=pass " in got
        assert both(world, judge, got) == ("pass", "pass")
        # a set of the chain is gone: ours says so for good, and the next cannot repair it
        holed = b"X-Seal:".join(message.rsplit(b"ARC-Seal:", 1))
        assert mail.send(relay.port, SENDER, "anna@shop.example", holed)[0] == 250
    failed = [m.data for m in world.recovery.wait(4) if b"\r\nX-Seal" in m.data]
    assert len(failed) == 2
    for f in failed:
        assert b"\tarc=fail " in f and b"cv=fail" in f.split(b"\r\n\tb=")[0]
        assert "pass" not in both(world, judge, f)
