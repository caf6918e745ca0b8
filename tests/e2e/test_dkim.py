# SPDX-License-Identifier: Apache-2.0
"""DKIM from outside: the matrix of spec 3, thousands of broken octets judged beside dkimpy,
and Debian's opendkim, which takes our signatures and makes some for us."""
import base64
import hashlib
import os
import random
import re
import subprocess

import dkim
import nacl.signing
from dkim.crypto import RSASSA_PKCS1_v1_5_sign, parse_pem_private_key

from tests.e2e.test_auth import active, signing
from tests.lib import mail, ugly

SENDER, USER = "news@sender.example", "mario@shop.example"
SEED = nacl.signing.SigningKey(bytes(range(32)))
KEY = base64.b64encode(bytes(SEED))
PUBLIC = b"v=DKIM1; k=ed25519; p=" + base64.b64encode(bytes(SEED.verify_key))
CANON = [(a, b) for a in (b"simple", b"relaxed") for b in (b"simple", b"relaxed")]
MSG = (b"Received: from a by b; Mon, 1 Jan 2024 00:00:00 +0000\r\nFrom: Brand <news@sender.example>\r\n"
       b"To: Mario Rossi\r\n\t<mario@shop.example>\r\nSubject: caff\xc3\xa8  and  more\r\n"
       b"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@sender.example>\r\n\r\n"
       b"Ciao  Mario, perch\xc3\xa9 no?\r\n.x\r\n..\r\ntrailing blanks \t\r\nFrom me\r\n\r\nend\r\n")


def sign(data, canon=(b"relaxed", b"relaxed"), names=(b"From", b"To", b"Subject", b"Date", b"Message-ID"), **kw):
    return dkim.sign(data, b"e1", b"sender.example", KEY, canonicalize=canon, linesep=b"\r\n",
                     signature_algorithm=b"ed25519-sha256", include_headers=list(names), **kw) + data


def raw(data, signer, **tags):
    """A signature made by hand, relaxed/relaxed: with tags that no library would write."""
    head, body = data.split(b"\r\n\r\n", 1)
    relaxed = re.sub(rb" (?=\r\n)", b"", re.sub(rb"[ \t]+", b" ", body)).rstrip(b"\r\n") + b"\r\n"
    tags = {"v": b"1", "a": b"rsa-sha256", "c": b"relaxed/relaxed", "d": b"sender.example", "s": b"s1", "h": b"From",
            "bh": base64.b64encode(hashlib.sha256(relaxed).digest()), **tags}
    field = b"DKIM-Signature: " + b"; ".join(k.encode() + b"=" + v for k, v in tags.items()) + b"; b="
    sender = re.search(rb"(?m)^From: (.*?)\r$", head).group(1)
    text = b"from:" + sender + b"\r\ndkim-signature:" + field.split(b": ", 1)[1]
    return field + base64.b64encode(signer(text)) + b"\r\n" + data, len(relaxed)


class Judge:
    """Sends messages and tells what the relay's field says of each."""

    def __init__(self, world, **kw):
        world.dns.set("e1._domainkey.sender.example", {"TXT": [PUBLIC]})
        self.world = world
        self.relay = world.relay(top="messages-max = 100000\nerrors-max = 10000", **kw)
        self.session = mail.Session(self.relay.port)

    def results(self, messages):
        """For each: the words after dkim=, [] when it was refused."""
        at, ids = len(self.world.store.messages), []
        for data in messages:
            reply = re.match(r"250 .* kept as (\w+)", self.session.send(SENDER, USER, data))
            ids.append(reply.group(1).encode() if reply else None)
        taken = len(ids) - ids.count(None)
        # By id: several connections to the store keep no order.
        got = {re.search(rb"(?m)^X-Fwd-Queue-Id: (\w+)/", m.data).group(1): m.data
               for m in self.world.store.wait(at + taken, 60)[at:]}
        return [[] if i is None else
                re.findall(rb"\sdkim=(\w+)", got[i].split(b"\r\nReceived: from ")[0]) for i in ids]


def change(old, new):
    def do(data):
        assert old in data
        return data.replace(old, new, 1)
    return do


# The rows of the matrix; P or F for simple/simple, relaxed/simple, simple/relaxed,
# relaxed/relaxed, relaxed and oversigned.
MATRIX = [
    ("PPPPP", lambda d: b"Received: x\r\nDelivered-To: y\r\nAuthentication-Results: z; none\r\nReturn-Path: <w>\r\n" + d),
    ("PPPPF", lambda d: b"Subject: other\r\n" + d),
    ("PPPPF", lambda d: b"Reply-To: other@sender.example\r\n" + d),
    ("PPPPF", lambda d: b"List-Id: <other.example>\r\n" + d),
    ("FPFPP", change(b"Rossi\r\n\t<", b"Rossi <")),
    ("FPFPP", change(b"\r\nSubject:", b"\r\nSUBJECT:")),
    ("FFPPP", change(b"blanks \t\r\n", b"blanks\r\n")),
    ("FFFFF", change(b"\r\n..\r\n", b"\r\n.\r\n")),
    ("FFFFF", change(b"\r\n.x\r\n", b"\r\n..x\r\n")),
    ("FFFFF", change(b"\r\nFrom me", b"\r\n>From me")),
    ("PPPPP", lambda d: d + b"\r\n\r\n"),
    ("PPPPP", lambda d: d[:-2]),
    ("FFFFF", change(b"perch\xc3\xa9", b"perch=C3=A9")),
    ("FFFFF", lambda d: d + b"a footer\r\n"),
    ("PPPPP", lambda d: change(b"Message-ID: <1@sender.example>\r\n", b"")(d).replace(
        b"\r\nDate:", b"\r\nMessage-ID: <1@sender.example>\r\nDate:", 1)),
]


def test_spec_3_matrix(world):
    over = (b"From", b"To", b"Subject", b"Date", b"Message-ID", b"From", b"Subject", b"Reply-To", b"List-Id")
    columns = [sign(MSG, c) for c in ((b"simple", b"simple"), (b"relaxed", b"simple"), (b"simple", b"relaxed"),
                                      (b"relaxed", b"relaxed"))] + [sign(MSG, names=over)]
    got = Judge(world).results([f(c) for _, f in MATRIX for c in columns] + columns)
    assert got[len(MATRIX) * 5:] == [[b"pass"]] * 5
    for i, (row, _) in enumerate(MATRIX):
        told = "".join({b"pass": "P", b"fail": "F"}[r[0]] for r in got[5 * i:5 * i + 5])
        assert told == row, (i, told, row)


def unpadded(data):
    """b= without its last "=", which the grammar of RFC 6376 allows and dkimpy does not."""
    b = re.search(rb"\sb=([A-Za-z0-9+/=\s]*)\r\n\S", data)
    return b is not None and len(re.sub(rb"\s", b"", b.group(1))) % 4 != 0


def test_broken_octets_are_seen_as_dkimpy_sees_them_6376(world):
    """300 messages with one to three octets changed, lost or added."""
    r = random.Random(6376)
    judge, cases = Judge(world), []
    while len(cases) < 300:
        data = ugly.message(r, len(cases), SENDER.encode(), USER.encode())
        if b"\0" in data or not data.endswith(b"\r\n") or b"\r\n\r\n" not in data or b"DKIM-Signature" in data:
            continue
        try:
            data = bytearray(sign(data, r.choice(CANON)))
        except dkim.DKIMException:      # fields that it cannot read
            continue
        for _ in range(r.choice([0, 1, 1, 1, 2, 3])):
            at = r.randrange(len(data))
            if data[at] in b"\r\n" or at < 5:
                continue
            what = r.randrange(3)
            if what == 0:
                data[at] = r.choice(b"abcXYZ019 \t.:;=+-\xe8")
            elif what == 1:
                del data[at]
            else:
                data[at:at] = bytes([r.choice(b"ax \t.;")])
        cases.append(bytes(data))
    wrong, seen = [], {}
    for data, mine in zip(cases, judge.results(cases)):
        try:
            their = dkim.verify(data, dnsfunc=lambda name, timeout=5: PUBLIC)
        except Exception:
            their = False
        if not mine:
            continue            # a broken header may be refused
        seen[mine[0]] = seen.get(mine[0], 0) + 1
        if (mine[0] == b"pass") != their and not unpadded(data):
            wrong.append((mine, their, data[:600]))
    assert not wrong, "%d, first %r" % (len(wrong), wrong[0])
    assert seen[b"pass"] > 60 and seen[b"fail"] > 60, seen


def test_every_signature_is_reported_and_eight_are_enough_4_1(world, rsa):
    pem, public = rsa
    world.dns.set("s1._domainkey.sender.example", {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
    world.dns.set("gone._domainkey.sender.example", {"TXT": ["v=DKIM1; p="]})
    world.dns.set("late._domainkey.sender.example", "SERVFAIL")
    both = mail.dkim_sign(sign(MSG), "s1", "sender.example", pem)
    odd = sign(MSG)
    for selector in (b"gone", b"none", b"late"):
        odd = dkim.sign(odd, selector, b"sender.example", KEY, signature_algorithm=b"ed25519-sha256",
                        linesep=b"\r\n") + odd
    ten = MSG
    for _ in range(10):
        ten = dkim.sign(ten, b"e1", b"sender.example", KEY, signature_algorithm=b"ed25519-sha256",
                        include_headers=[b"From"], linesep=b"\r\n") + ten
    big = sign(b"".join(b"X-Fill-%d: %s\r\n" % (i, b"y" * 900) for i in range(68)) + MSG)
    got = Judge(world).results([both, odd, ten, big])
    assert got[0] == [b"pass", b"pass"]
    assert got[1] == [b"temperror", b"permerror", b"permerror", b"pass"]
    assert got[2] == [b"pass"] * 8
    assert got[3] == [b"pass"]


def test_signatures_and_keys_to_the_letter_of_rfc6376(world, rsa):
    pem, public = rsa
    key = parse_pem_private_key(pem)
    signer = lambda text: RSASSA_PKCS1_v1_5_sign(hashlib.sha256(text), key)
    bare = subprocess.run(["openssl", "rsa", "-RSAPublicKey_out", "-outform", "DER"], input=pem,
                          capture_output=True, check=True).stdout
    for name, p in (("s1", public), ("bare", base64.b64encode(bare).decode())):
        world.dns.set(name + "._domainkey.sender.example", {"TXT": ["v=DKIM1; p=" + p]})
    world.dns.set("pair._domainkey.sender.example", {"TXT": [
        "v=DKIM1; p=", "v=DKIM1; s=web; p=" + public, PUBLIC, "v=DKIM1; k=rsa; p=" + public, "other text"]})
    whole = raw(MSG, signer)[1]
    rows = [
        (b"pass", {}),
        (b"pass", {"s": b"bare"}),                      # 3.6.1: an RSAPublicKey, as its text has it
        (b"pass", {"s": b"pair"}),                      # 3.6.2.2: several records, ours among them
        (b"pass", {"l": b"%076d" % whole}),             # 3.5: 1*76DIGIT
        (b"fail", {"l": b"%076d" % (whole + 1)}),
        (b"neutral", {"l": b"%077d" % whole}),
        (b"neutral", {"l": b"-1"}),
        (b"neutral", {"d": b"sender.example."}),        # 3.5: domain-name ends without a dot
        (b"pass", {"d": b"SENDER.example", "i": b"@Sender.Example"}),
        (b"neutral", {"i": b"@other.example"}),
        (b"pass", {"t": b"1000", "x": b"999999999999"}),
        (b"neutral", {"t": b"2000", "x": b"2000"}),
    ]
    sent = [raw(MSG, signer, **tags)[0] for _, tags in rows]
    ed = lambda text: SEED.sign(hashlib.sha256(text).digest()).signature
    sent.append(raw(MSG, ed, s=b"pair", a=b"ed25519-sha256")[0])
    assert Judge(world).results(sent) == [[want] for want, _ in rows] + [[b"pass"]]


class Opendkim:
    """Debian's filter in its test mode: no DNS, no socket."""

    def __init__(self, folder, keys):
        self.folder = os.path.join(folder, "opendkim")
        os.mkdir(self.folder)
        self.keys = os.path.join(self.folder, "keys")
        with open(self.keys, "w") as f:
            f.writelines("%s %s\n" % kv for kv in keys)

    def run(self, text, messages, *verbose):
        conf, files = os.path.join(self.folder, "conf"), []
        with open(conf, "w") as f:
            f.write(text)
        for i, data in enumerate(messages):
            files.append(os.path.join(self.folder, "m%d" % i))
            with open(files[-1], "wb") as f:
                f.write(data)
        return subprocess.run(["/usr/sbin/opendkim", "-x", conf, "-v", *verbose, "-t", ",".join(files)],
                              capture_output=True, timeout=120)

    def sign(self, pem_file, canon, messages):
        r = self.run("Mode s\nKeyFile %s\nSelector s1\nDomain sender.example\nRequireSafeKeys no\n"
                     "SignatureAlgorithm rsa-sha256\nCanonicalization %s\n" % (pem_file, canon), messages, "-v")
        values = re.findall(rb"hname='DKIM-Signature' hvalue='(.*?)'\n", r.stdout, re.S)
        assert len(values) == len(messages), r.stderr
        return [b"DKIM-Signature: " + v.replace(b"\n", b"\r\n") + b"\r\n" + m for v, m in zip(values, messages)]

    def verify(self, messages):
        r = self.run("Mode v\nTestPublicKeys %s\n" % self.keys, messages)
        text = r.stdout.decode("utf-8", "replace")
        return ["/m%d: verification (s=s1, d=fwd.relay.example, 2048-bit key) succeeded" % i in text
                for i in range(len(messages))]


def plain(r, n):
    """Ugly, but of a form that the filter's test mode reads."""
    while True:
        data = ugly.message(r, n, SENDER.encode(), USER.encode())
        if (b"\0" not in data and data.endswith(b"\r\n") and b"\r\n\r\n" in data and b"X-Blank-Fold" not in data
                and b"DKIM-Sig" not in data and max(map(len, data.split(b"\r\n"))) < 900
                and b"\r\nDate" in data and b"X-Spaces" not in data and b"X-Empty" not in data
                and not re.search(rb"^Subject:[ \t]*\r$", data, re.M)):
            return data


def test_opendkim_takes_our_signatures_and_we_take_its(world, rsa):
    pem, public = rsa
    r = random.Random(8463)
    record = "v=DKIM1; k=rsa; p=" + public
    od = Opendkim(world.folder, [("s1._domainkey.fwd.relay.example", record)])
    world.dns.set("s1._domainkey.sender.example", {"TXT": [record]})
    relay = active(world, forwarder=signing(world, rsa), top="messages-max = 1000")
    clean = [plain(r, n) for n in range(24)]
    theirs = []
    for i, canon in enumerate(("simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed")):
        theirs += od.sign(os.path.join(world.folder, "dkim.pem"), canon, clean[6 * i:6 * i + 6])
    broken = [m[:-3] + bytes([m[-3] ^ 1]) + b"\r\n" if m[-3] not in b"\r\n \t" else m + b"x\r\n" for m in theirs]
    session = mail.Session(relay.port)
    for data in theirs + broken + clean:
        assert session.send(SENDER, "mario@shop.example", data).startswith("250")
    got = [m.data for m in world.recovery.wait(3 * len(clean), 60)]
    said = [re.findall(rb"\sdkim=(\w+)", g.split(b"\r\nReceived: from ")[0].split(b"\r\nAuthentication-Results")[1])
            for g in got]
    by = {g[-len(t):]: s for g, s in zip(got, said) for t in theirs + broken if g.endswith(t)}
    assert [by[t] for t in theirs] == [[b"pass"]] * len(theirs)
    assert [by[t] for t in broken] == [[b"fail"]] * len(broken)
    # of several signatures the filter names one: those copies that carry ours alone
    ours = [g for g in got if g.count(b"DKIM-Signature:") == 1]
    assert od.verify(ours) == [True] * len(clean)
    assert od.verify([g + b"x\r\n" for g in ours]) == [False] * len(clean)


def test_spec_3_2_a_field_that_a_signer_forbade_is_not_added(world):
    """Listed in h= more often than it occurs: adding it would break the signature."""
    world.dns.set("e1._domainkey.sender.example", {"TXT": [PUBLIC]})
    relay = active(world, top="received-spf = yes")
    base = (b"From", b"To", b"Subject", b"Date")
    for n, more in enumerate(((), (b"X-Forwarded-For", b"X-Fwd-Loop", b"Received-SPF"))):
        data = sign(mail.message(SENDER, USER, "n%d" % n), names=base + more)
        assert mail.send(relay.port, SENDER, USER, data)[0] == 250
        got = world.recovery.wait(n + 1)[n].data
        head = got[:-len(data)]
        assert mail.below_trace(got, data)
        assert [name in head for name in (b"X-Forwarded-For: ", b"X-Fwd-Loop: ", b"Received-SPF: ")] == [not more] * 3
        assert b"Received: " in head and b"Delivered-To: " in head      # those need no leave
        assert dkim.DKIM(got).verify(dnsfunc=lambda name, timeout=5: PUBLIC)
