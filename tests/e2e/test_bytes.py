# SPDX-License-Identifier: Apache-2.0
"""What arrived is what is kept and sent on (P3, spec 0.3, 3.1): a thousand ugly messages
through hold, forward and replay."""
import base64
import random
import re

import dkim
import nacl.signing

from tests.lib import mail, ugly

USERS, COUNT = 50, 1000
SENDER = b"news@sender.example"
SEED = nacl.signing.SigningKey(bytes(range(32)))
KEY = base64.b64encode(bytes(SEED))
CANON = [(a, b) for a in (b"simple", b"relaxed") for b in (b"simple", b"relaxed")]


def signed(r, data):
    """With a signature of dkimpy where it can make one, now and then oversigned."""
    names = [b"from", b"to", b"subject", b"date", b"message-id"]
    if r.random() < 0.3:
        names += [b"from", b"subject", b"list-id", b"reply-to"]
    try:
        return dkim.sign(data, b"e1", b"sender.example", KEY, canonicalize=r.choice(CANON),
                         signature_algorithm=b"ed25519-sha256", include_headers=names,
                         linesep=b"\r\n") + data
    except dkim.DKIMException:
        return data


def verifies(data):
    """The signature of sender.example, whichever it is."""
    d = dkim.DKIM(data)
    names = [v for k, v in d.headers if k.lower() == b"dkim-signature"]
    at = next(i for i, v in enumerate(names) if b"sender.example" in v)
    return d.verify(idx=at, dnsfunc=lambda name, timeout=5: b"v=DKIM1; k=ed25519; p=" +
                    base64.b64encode(bytes(SEED.verify_key)))


def number(data):
    return int(re.search(rb"^X-N: (\d+)\r$", data, re.M).group(1))


def same_below(arrived, sent):
    """3.13: a last line that does not end is ended."""
    return mail.below_trace(arrived, sent) or \
        (not sent.endswith(b"\r\n") and mail.below_trace(arrived, sent + b"\r\n"))


def test_spec_3_1_a_thousand_ugly_messages_keep_every_octet(world):
    r = random.Random(20230123)
    world.dns.set("e1._domainkey.sender.example",
                  {"TXT": ["v=DKIM1; k=ed25519; p=" + base64.b64encode(bytes(SEED.verify_key)).decode()]})
    world.dns.set("_dmarc.sender.example", {"TXT": ["v=DMARC1; p=none"]})
    relay = world.relay(top="messages-max = 10000",
                        users=["u%d@shop.example,u%d@recovery.example" % (i, i) for i in range(USERS)])
    world.down()
    relay.failover("on")
    session, sent = mail.Session(relay.port), {}
    for n in range(COUNT):
        rcpt = b"u%d@shop.example" % (n % USERS)
        data = signed(r, ugly.message(r, n, SENDER, rcpt))
        chunked = not data.endswith(b"\r\n") or r.random() < 0.5
        reply = session.send(SENDER.decode(), rcpt.decode(), data, chunked)
        assert reply.startswith("250"), (n, reply, data[:300])
        sent[n] = data
    session.close()
    held = [n for n in sent if b"\0" in sent[n]]        # 3.11
    assert 10 < len(held) < 100
    got = {number(m.data): m.data for m in world.recovery.wait(COUNT - len(held), 120)}
    assert sorted(got) == [n for n in sent if n not in held]
    wrong = [n for n in got if not same_below(got[n], sent[n])]
    assert not wrong, "%d copies differ, first %r" % (len(wrong), sent[wrong[0]])
    # what verifies before it verifies after it
    checked = 0
    for n in list(got)[::4]:
        if sent[n].startswith(b"DKIM-Signature") and sent[n].endswith(b"\r\n") and verifies(sent[n]):
            assert verifies(got[n]), got[n][:2000]
            checked += 1
    assert checked > 100
    world.up()
    relay.failover("off")
    back = {number(m.data): m.data for m in world.store.wait(COUNT, 120)}
    assert len(back) == COUNT
    wrong = [n for n in back if not same_below(back[n], sent[n])]
    assert not wrong, "%d replayed differ, first %r" % (len(wrong), sent[wrong[0]])
    relay.wait_balance(received=COUNT, held=0)
