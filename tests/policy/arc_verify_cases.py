#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Chains for arc_verify_test.c: sealed by dkimpy and by a small sealer of our own that can
be told to break any rule, each with the verdict of dkimpy's validator beside ours.

    arc_verify_cases.py DIR

reads keys and a message sealed by the relay in DIR and writes DIR/cases: the length of the
zone, the zone, then for each case a line "name\\tours\\tdkimpy\\toldest-pass\\tlength" and
the message. Where dkimpy's verdict is not ours the case says why; a difference without a
reason, or a reason without a difference, is an error.
"""
import base64
import hashlib
import re
import sys

import dkim
from dkim.crypto import HASH_ALGORITHMS, RSASSA_PKCS1_v1_5_sign, parse_pem_private_key

PEM = open(sys.argv[1] + "/key", "rb").read()
KEY = parse_pem_private_key(PEM)
PUB = open(sys.argv[1] + "/pub", "rb").read()          # base64 of the SubjectPublicKeyInfo
PKCS1 = open(sys.argv[1] + "/pkcs1", "rb").read()      # base64 of the bare RSAPublicKey
SMALL = open(sys.argv[1] + "/small", "rb").read()      # a 768 bit key
SMALL_PUB = open(sys.argv[1] + "/smallpub", "rb").read()

try:
    import nacl.signing
    ED = nacl.signing.SigningKey(bytes(range(32)))
except ImportError:
    ED = None

ZONE = {
    b"s": b"v=DKIM1; k=rsa; p=" + PUB,
    b"bare": b"p=" + PUB,
    b"pkcs1": b"v=DKIM1; p=" + PKCS1,
    b"small": b"v=DKIM1; k=rsa; p=" + SMALL_PUB,
    b"nopad": b"p=" + PKCS1.rstrip(b"="),
    b"revoked": b"v=DKIM1; p=",
    b"junk": b"this is no key",
    b"badb64": b"v=DKIM1; p=!!!!",
    b"v2": b"v=DKIM2; p=" + PUB,
    b"sha1only": b"v=DKIM1; h=sha1; p=" + PUB,
    b"web": b"v=DKIM1; s=web; p=" + PUB,
    b"edtype": b"v=DKIM1; k=ed25519; p=" + PUB,
}
if ED is not None:
    ZONE[b"ed"] = b"v=DKIM1; k=ed25519; p=" + base64.b64encode(bytes(ED.verify_key))
# Records that stand before those of ZONE at the same name.
BEFORE = {b"pair": [b"v=DKIM1; p=", b"v=DKIM1; k=ed25519; p=" + b"A" * 43 + b"=", b"v=DKIM1; s=web; p=" + PUB]}
ZONE[b"pair"] = b"v=DKIM1; p=" + PUB
DOMAINS = [b"hop1.example", b"hop2.example", b"hop3.example", b"fwd.example.it"]


def dns(name, timeout=5):
    sel, _, domain = name.rstrip(b".").partition(b"._domainkey.")
    return ZONE.get(sel) if domain.lower() in DOMAINS else None


# -- A sealer that does as it is told ------------------------------------------------------


def relax(raw):
    name, _, value = raw.partition(b":")
    value = re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip(b" \t")
    return name.strip(b" \t").lower() + b":" + value


def split(msg):
    head, _, body = msg.partition(b"\r\n\r\n")
    return re.findall(rb"[^\r\n][^\r\n]*(?:\r\n[ \t][^\r\n]*)*", head), body


def canon_body(body, relaxed):
    if relaxed:
        body = re.sub(rb"[ \t]+", b" ", body)
        body = re.sub(rb" (?=\r\n|$)", b"", body)
    body = re.sub(rb"(\r\n)+$", b"", body)
    return body + b"\r\n" if body or not relaxed else b""


def select(fields, h):
    left, out = list(fields), []
    for name in h:
        for i in range(len(left) - 1, -1, -1):
            if left[i].partition(b":")[0].strip().lower() == name.strip().lower():
                out.append(left.pop(i))
                break
    return out


def sign(data, ed=False, key=None):
    h = hashlib.sha256(data)
    if ed:
        return base64.b64encode(ED.sign(h.digest()).signature)
    return base64.b64encode(RSASSA_PKCS1_v1_5_sign(h, key or KEY))


def tags(pairs):
    return b"; ".join(k + b"=" + v for k, v in pairs.items() if v is not None)


def instance_of(field):
    m = re.search(rb"[:;\s]i\s*=\s*(\d+)", field)
    return int(m.group(1)) if m else 0


ORDER = {b"arc-authentication-results": 0, b"arc-message-signature": 1, b"arc-seal": 2}


def arc_fields(fields):
    out = [f for f in fields if f.partition(b":")[0].strip().lower() in ORDER]
    return sorted(out, key=lambda f: (instance_of(f), ORDER[f.partition(b":")[0].strip().lower()]))


def seal(msg, i=None, d=b"hop1.example", s=b"s", cv=None, c=b"relaxed/relaxed",
         h=b"From:To:Subject:Date:Message-ID", aar=None, ams={}, seal_tags={}, ed=False,
         ams_key=None, as_key=None, canon=None, end=b"", drop=(), fold=b"\r\n\t"):
    """One set. c: what the message signature says (None: nothing), canon: what it does.
    ams, seal_tags: tags to set (a value of None removes)."""
    fields, body = split(msg)
    i = i or 1 + len({instance_of(f) for f in arc_fields(fields)})
    cv = cv or (b"none" if i == 1 else b"pass")
    num = str(i).encode()
    alg = b"ed25519-sha256" if ed else b"rsa-sha256"
    how = (canon or c or b"simple/simple").split(b"/")
    how = [x == b"relaxed" for x in how] + [False] * (2 - len(how))
    cbody = canon_body(body, how[1])
    if "l" in ams and ams["l"] == "cut":
        cbody, ams = cbody[:-10], dict(ams, l=str(len(cbody) - 10).encode())
    elif "l" in ams and ams["l"] == "whole":
        ams = dict(ams, l=str(len(cbody)).encode())
    elif "l" in ams and ams["l"] == "more":
        ams = dict(ams, l=str(len(cbody) + 1).encode())
    pairs = {b"i": num, b"a": alg, b"c": c, b"d": d, b"s": s, b"t": b"1728000000",
             b"h": h, b"bh": base64.b64encode(hashlib.sha256(cbody).digest())}
    pairs.update({k.encode(): v for k, v in ams.items()})
    raw_aar = aar if aar is not None else (
        b"ARC-Authentication-Results: i=" + num + b"; " + d +
        b";\r\n\tspf=pass smtp.mailfrom=esp.example;\r\n\tdmarc=pass header.from=esp.example")
    with_aar = [raw_aar] + fields
    raw_ams = b"ARC-Message-Signature: " + tags(pairs).replace(b"; bh", b";" + fold + b"bh") + \
        b";" + fold + b"b="
    form = relax if how[0] else (lambda f: f)
    # dkimpy, too, lets AAR(i) be signed by AMS(i)
    data = b"".join(form(f) + b"\r\n" for f in select(with_aar, (pairs[b"h"] or b"").split(b":")))
    # RFC 6376 3.7: the white space around the value goes with it
    raw_ams += sign(data + form(raw_ams + end.lstrip(b" ")), ed, ams_key) + end
    pairs = {b"i": num, b"a": alg, b"t": b"1728000000", b"cv": cv, b"d": d, b"s": s}
    pairs.update({k.encode(): v for k, v in seal_tags.items()})
    raw_as = b"ARC-Seal: " + tags(pairs) + b";" + fold + b"b="
    data = b"".join(relax(f) + b"\r\n" for f in arc_fields(fields) + [raw_aar, raw_ams])
    raw_as += sign(data + relax(raw_as), ed, as_key)
    new = [("as", raw_as), ("ams", raw_ams), ("aar", raw_aar)]
    return b"".join(f + b"\r\n" for k, f in new if k not in drop) + msg


def dkimpy_seal(msg, domain, cv=b"none", sel=b"s"):
    ar = b"Authentication-Results: " + domain + b"; spf=pass; dmarc=pass; arc=" + cv + b"\r\n"
    return b"".join(dkim.arc_sign(ar + msg, sel, domain, PEM, domain)) + ar + msg


# -- The cases -----------------------------------------------------------------------------

CASES, WRONG = [], []


def dkimpy(msg):
    try:
        cv = dkim.ARC(msg, minkey=1024).verify(dnsfunc=dns)[0]
    except Exception:           # dkimpy stumbles over some of these
        cv = b"fail"
    return {b"pass": "pass", b"none": "none"}.get(cv, "fail")


def case(name, want, msg, why=None, oldest=0):
    theirs = dkimpy(msg)
    if (theirs == want) != (why is None):
        WRONG.append("%s: ours %s, dkimpy %s, reason %s" % (name, want, theirs, why))
    CASES.append((name, want, theirs, oldest, msg))


HEAD = (b"Received: from a.example by b.example; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
        b"From: Brand <news@esp.example>\r\n"
        b"To: Mario Rossi\r\n <mario@primary.example>\r\n"
        b"Subject:   caff\xc3\xa8  e   folded\r\n\ttext  \r\n"
        b"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n"
        b"Message-ID: <1@esp.example>\r\n")
BODY = (b"Ciao  Mario, perch\xc3\xa9 no? \xff\xfe\r\n.\r\n.x\r\n..\r\n"
        b"trailing blanks  \t \r\n\r\nFrom me\r\n--\r\n\r\n\r\n")
MSG = HEAD + b"\r\n" + BODY


def sub(msg, old, new, count=1):
    if old not in msg:
        sys.exit("nothing to replace: %r" % old)
    return msg.replace(old, new, count)


def field(msg, name, i):
    for f in split(msg)[0]:
        if f.lower().startswith(name.lower() + b":") and instance_of(f) == i:
            return f + b"\r\n"
    sys.exit("no %s %d" % (name, i))


case("no chain", "none", MSG)
case("empty message", "none", b"")

# dkimpy's own chains
one = dkimpy_seal(MSG, b"hop1.example")
two = dkimpy_seal(one, b"hop2.example", b"pass")
three = dkimpy_seal(two, b"hop3.example", b"pass")
case("dkimpy i=1", "pass", one)
case("dkimpy i=2", "pass", two)
case("dkimpy i=3", "pass", three)
case("dkimpy i=1, Received added", "pass", b"Received: z\r\n" + one)
case("dkimpy then ours", "pass", seal(one, d=b"hop2.example"))
case("ours then dkimpy", "pass", dkimpy_seal(seal(MSG), b"hop2.example", b"pass"))
changed = dkimpy_seal(sub(one, b"Subject: ", b"Subject: [list] "), b"hop2.example", b"pass")
case("changed between 1 and 2", "pass", changed, oldest=2)
case("changed between 2 and 3", "pass",
     dkimpy_seal(sub(two, b"no?", b"no!"), b"hop3.example", b"pass"), oldest=3)
case("changed between 1 and 2, then not", "pass",
     dkimpy_seal(changed, b"hop3.example", b"pass"), oldest=2)

# every canonicalization
for c in (b"simple/simple", b"simple/relaxed", b"relaxed/simple", b"relaxed/relaxed", b"simple",
          b"relaxed"):
    for n, body in enumerate((BODY, b"", b"\r\n", b"Ciao", b"Ciao\r\n\r\n", b"Ciao \r\n")):
        m = HEAD + b"\r\n" + body
        case("c=%s body %d" % (c.decode(), n), "pass", seal(m, c=c))
    good = seal(MSG, c=c)
    case("c=%s body octet changed" % c.decode(), "fail", sub(good, b"Ciao ", b"Ciap "))
    case("c=%s blank at end of line gone" % c.decode(),
         "pass" if c.endswith(b"/relaxed") else "fail", sub(good, b"  \t \r\n", b"\r\n"))
    case("c=%s field refolded" % c.decode(), "pass" if c.startswith(b"relaxed") else "fail",
         sub(good, b"Rossi\r\n <", b"Rossi <"))
    case("c=%s name in capitals" % c.decode(), "pass" if c.startswith(b"relaxed") else "fail",
         sub(good, b"\nSubject:", b"\nSUBJECT:"))
case("no c=, made relaxed", "pass", seal(MSG, c=None, canon=b"relaxed/relaxed"))
case("no c=, made simple", "pass", seal(MSG, c=None, canon=b"simple/simple"),
     "dkimpy takes relaxed for the default")
case("no c=, made mixed", "fail", seal(MSG, c=None, canon=b"relaxed/simple"))
case("c= unknown", "fail", seal(MSG, c=b"lax/lax", canon=b"relaxed/relaxed"))

# keys and algorithms
if ED is not None:
    case("ed25519", "pass", seal(MSG, s=b"ed", ed=True), "dkimpy does RFC 8463 for DKIM only")
    case("ed25519, body changed", "fail", sub(seal(MSG, s=b"ed", ed=True), b"Ciao", b"Ciap"))
    case("rsa, then ed25519", "pass", seal(seal(MSG), d=b"hop2.example", s=b"ed", ed=True),
         "dkimpy does RFC 8463 for DKIM only")
case("key without v= and k=", "pass", seal(MSG, s=b"bare"))
case("key as RSAPublicKey", "pass", seal(MSG, s=b"pkcs1"))
small = parse_pem_private_key(SMALL)
case("RFC 8301 3.2: 768 bits", "fail", seal(MSG, s=b"small", ams_key=small, as_key=small))
case("768 bits under an older seal", "fail", seal(
    seal(MSG, s=b"small", ams_key=small, as_key=small), d=b"hop2.example"))
case("RFC 8301 3.1: a=rsa-sha1", "fail",
     seal(MSG, ams={"a": b"rsa-sha1"}, seal_tags={"a": b"rsa-sha1"}))
case("a= unknown", "fail", seal(MSG, seal_tags={"a": b"rsa-sha512"}))
for sel in (b"revoked", b"junk", b"badb64", b"v2", b"sha1only", b"web", b"edtype", b"nothere"):
    case("key " + sel.decode(), "fail", seal(MSG, s=sel),
         "dkimpy does not look at h=" if sel == b"sha1only" else None)
case("RFC 6376 3.6.2.2: one of several records", "pass", seal(MSG, s=b"pair"))
case("key of the message signature missing", "fail", seal(MSG, ams={"s": b"nothere"}))
case("key of another domain", "fail", seal(MSG, d=b"other.example"))

# structure, RFC 8617 5.2 steps 1 to 3
base = seal(seal(MSG), d=b"hop2.example")
case("two sets", "pass", base)
for part in (b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"):
    p = part.decode()
    for i in (1, 2):
        f = field(base, part, i)
        case("%s %d missing" % (p, i), "fail", sub(base, f, b""))
        case("%s %d twice" % (p, i), "fail", f + base)
        case("%s %d twice, below" % (p, i), "fail", sub(base, b"\r\n\r\n", b"\r\n" + f + b"\r\n"))
    bare = field(seal(MSG), part, 1)
    case("only " + p, "fail", bare + MSG)
    case(p + " without i=", "fail", sub(seal(MSG), bare, re.sub(rb"i=1; ?", b"", bare)))
case("first set missing", "fail", seal(MSG, i=2))
case("set 2 of 3 missing", "fail", seal(seal(MSG), i=3, d=b"hop3.example"))
case("instance 0", "fail", seal(MSG, i=1, aar=b"ARC-Authentication-Results: i=0; x; none",
                               ams={"i": b"0"}, seal_tags={"i": b"0"}),
     "dkimpy ignores fields without an instance")
case("instance 51 alone", "fail", seal(MSG, i=51))
case("instance 051", "fail", seal(MSG, ams={"i": b"001"}, seal_tags={"i": b"001"},
     aar=b"ARC-Authentication-Results: i=001; x; none"),
     "1*2DIGIT in RFC 8617 4.2.1")
case("instance 01", "pass", seal(MSG, ams={"i": b"01"}, seal_tags={"i": b"01"},
     aar=b"ARC-Authentication-Results: i=01; x; none"))
case("i= negative", "fail", seal(MSG, ams={"i": b"-1"}, seal_tags={"i": b"-1"},
     aar=b"ARC-Authentication-Results: i=-1; x; none"),
     "dkimpy ignores fields without an instance")
case("instances differ in a set", "fail", seal(MSG, ams={"i": b"2"}))
case("AAR of another instance", "fail",
     seal(MSG, aar=b"ARC-Authentication-Results: i=2; x; none"))
case("i= not first in AAR", "fail", seal(MSG, aar=b"ARC-Authentication-Results: x; i=1; none"),
     "RFC 8617 4.1.1: i= comes first")
case("comment before i= in AAR", "pass",
     seal(MSG, aar=b"ARC-Authentication-Results: (first) i = 1 ; x; none"))
case("AAR with nothing", "fail", seal(MSG, aar=b"ARC-Authentication-Results:"))
case("seal and AMS swapped places", "pass", field(seal(MSG), b"ARC-Message-Signature", 1) +
     sub(seal(MSG), field(seal(MSG), b"ARC-Message-Signature", 1), b""))
m = base
for part in (b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"):
    f = field(m, part, 1)
    m = f + sub(m, f, b"")
case("set 1 above set 2", "pass", m, "their order is that of instances, not of places")

# cv
for i, cv in ((1, b"pass"), (1, b"fail"), (2, b"none"), (2, b"fail"), (1, b"bogus"), (2, b"bogus")):
    m = seal(MSG, cv=cv) if i == 1 else seal(seal(MSG), cv=cv, d=b"hop2.example")
    case("cv=%s at i=%d" % (cv.decode(), i), "fail", m)
case("no cv=", "fail", seal(MSG, seal_tags={"cv": None}))
case("cv=fail below cv=pass", "fail", seal(seal(MSG, cv=b"fail"), d=b"hop2.example"))
case("cv=none below, cv=none above", "fail", seal(seal(MSG), cv=b"none", d=b"hop2.example"))
failed = seal(seal(MSG), d=b"hop2.example", cv=b"fail")
case("after a failed chain", "fail", seal(failed, d=b"hop3.example"))

# seals
good = seal(MSG)
case("h= in a seal", "fail", seal(MSG, seal_tags={"h": b"From"}))
case("seal tag twice", "fail", seal(MSG, seal_tags={"x": b"1; x=1"}))
case("seal tag name in capitals", "fail", seal(MSG, seal_tags={"d": None, "D": b"hop1.example"}))
case("seal with ;;", "fail", seal(MSG, seal_tags={"x": b"1;"}))
case("seal with a bad tag name", "fail", seal(MSG, seal_tags={"_": b"1"}))
case("seal with an unknown tag", "pass", seal(MSG, seal_tags={"zz": b"top"}))
case("seal without t=", "pass", seal(MSG, seal_tags={"t": None}))
case("seal with a bad t=", "fail", seal(MSG, seal_tags={"t": b"12 34"}))
for t in ("a", "d", "s", "i"):
    case("seal without %s=" % t, "fail", seal(MSG, seal_tags={t: None}))
case("seal b= empty", "fail", re.sub(rb"(ARC-Seal:[^\r]*;\r\n\tb=)[^\r]*", rb"\1", good))
case("RFC 6376 2.10: b= without its last =", "pass",
     sub(good, b"=\r\nARC-Message", b"\r\nARC-Message"), "dkimpy wants it")
case("RFC 6376 2.10: bh= without its last =", "pass", seal(MSG, ams={"bh": base64.b64encode(
    hashlib.sha256(canon_body(split(MSG)[1], True)).digest()).rstrip(b"=")}), "dkimpy wants it")
case("RFC 6376 2.10: key without its last =", "pass", seal(MSG, s=b"nopad"), "dkimpy wants it")
case("RFC 6376 3.5: l= of 76 digits", "pass", seal(MSG, ams={
    "l": b"%076d" % len(canon_body(split(MSG)[1], True))}))
case("RFC 6376 3.5: l= of 77 digits", "fail", seal(MSG, ams={
    "l": b"%077d" % len(canon_body(split(MSG)[1], True))}))
case("RFC 6376 3.5: d= with a last dot", "fail", seal(MSG, seal_tags={"d": b"hop1.example."}),
     "domain-name has none")
case("seal b= damaged", "fail", re.sub(
    rb"(ARC-Seal:[^\r]*;\r\n\tb=)(.)", lambda m: m[1] + (b"B" if m[2] == b"A" else b"A"), good))
case("seal b= of the message signature", "fail", sub(
    good, re.search(rb"ARC-Seal:[^\r]*;\r\n\tb=([^\r]*)", good).group(1),
    re.search(rb"ARC-Message-Signature:.*\r\n.*\r\n\tb=([^\r]*)", good).group(1)))
case("seal refolded", "pass", sub(good, b"; cv=none; ", b";\r\n   cv=none;\r\n\t"))
case("seal d= changed", "fail", sub(good, b"d=hop1.example", b"d=hop2.example"))
case("AAR changed", "fail", sub(good, b"spf=pass", b"spf=fail"))
case("AAR 1 of 2 changed", "fail",
     sub(base, field(base, b"ARC-Authentication-Results", 1),
         field(base, b"ARC-Authentication-Results", 1).replace(b"dmarc=pass", b"dmarc=fail")))
case("AAR refolded", "pass", sub(good, b";\r\n\tspf=pass", b"; spf=pass"))
case("seal 1 of 2 changed", "fail",
     sub(base, field(base, b"ARC-Seal", 1), field(base, b"ARC-Seal", 1).replace(b"t=1", b"t=2")))
f1 = field(base, b"ARC-Message-Signature", 1)
case("AMS 1 of 2 changed", "fail", sub(base, f1, f1.replace(b"t=1", b"t=2")))
other = seal(seal(MSG, d=b"hop3.example"), d=b"hop2.example")
case("set 1 of another chain", "fail", sub(
    base, b"".join(field(base, p, 1) for p in (b"ARC-Seal", b"ARC-Message-Signature",
                                               b"ARC-Authentication-Results")),
    b"".join(field(other, p, 1) for p in (b"ARC-Seal", b"ARC-Message-Signature",
                                          b"ARC-Authentication-Results"))))
case("set 2 taken off", "pass", seal(MSG))
case("seal 2 over set 2 only", "fail", field(base, b"ARC-Seal", 2) + sub(
    seal(seal(MSG, d=b"hop3.example"), d=b"hop2.example"),
    field(other, b"ARC-Seal", 2), b""))

# message signatures
case("body octet changed", "fail", sub(good, b"no?", b"no!"))
case("dot lost", "fail", sub(good, b"\r\n..\r\n", b"\r\n.\r\n"))
case("footer", "fail", good + b"footer\r\n")
case("empty lines at the end", "pass", good + b"\r\n\r\n")
case("last CRLF gone", "pass", good[:-2])
case("subject changed", "fail", sub(good, b"caff", b"Caff"))
case("From changed", "fail", sub(good, b"news@", b"evil@"))
case("second From on top", "fail", b"From: evil@evil.example\r\n" + good)
over = seal(MSG, h=b"From:From:To:Subject:Date")
case("oversigned", "pass", over)
case("oversigned, second From on top", "fail", b"From: evil@evil.example\r\n" + over)
case("h= with ARC-Seal", "fail", seal(MSG, h=b"From:ARC-Seal"))
case("h= with arc-seal of an older set", "fail",
     seal(seal(MSG), d=b"hop2.example", h=b"From:arc-seal"))
case("h= with the AAR", "pass", seal(MSG, h=b"From:To:ARC-Authentication-Results"))
case("h= with the older AMS", "pass",
     seal(seal(MSG), d=b"hop2.example", h=b"From:ARC-Message-Signature"))
case("h= without From", "fail", seal(MSG, h=b"To:Subject"), "RFC 6376 5.4: From MUST be signed")
case("h= empty", "fail", seal(MSG, h=b""), "RFC 6376 3.5: h= MUST NOT be empty")
case("h= missing", "fail", seal(MSG, ams={"h": None}))
case("h= with spaces and folds", "pass", seal(MSG, h=b"From : To :\r\n\tSubject"))
case("h= with absent names", "pass", seal(MSG, h=b"From:X-A:X-B:X-A:To"))
case("h= of 256 names", "pass", seal(MSG, h=b":".join([b"From"] + [b"x"] * 255)))
case("h= of 257 names", "fail", seal(MSG, h=b":".join([b"From"] + [b"x"] * 256)),
     "more names than anybody needs")
for t in ("a", "d", "s", "i", "bh"):
    case("message signature without %s=" % t, "fail", seal(MSG, ams={t: None}))
case("message signature with v=", "pass", seal(MSG, ams={"v": b"1"}))
case("message signature with an unknown tag", "pass", seal(MSG, ams={"zz": b"top"}))
case("message signature without t=", "pass", seal(MSG, ams={"t": None}))
case("message signature with a bad t=", "fail", seal(MSG, ams={"t": b"soon"}))
case("message signature expired", "fail", seal(MSG, ams={"x": b"1728000100"}))
case("message signature to expire", "pass", seal(MSG, ams={"x": b"4000000000"}))
case("message signature bh= wrong", "fail",
     seal(MSG, ams={"bh": b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}))
case("message signature bh= short", "fail", seal(MSG, ams={"bh": b"47DEQpj8"}))
for c in (b"relaxed/relaxed", b"simple/simple"):
    n = c.decode()
    case("l= whole body, " + n, "pass", seal(MSG, c=c, ams={"l": "whole"}))
    case("l= whole body, text after, " + n, "fail",
         seal(MSG, c=c, ams={"l": "whole"}) + b"more\r\n", "RFC 6376 8.2")
    case("l= part of the body, " + n, "fail", seal(MSG, c=c, ams={"l": "cut"}), "RFC 6376 8.2")
    case("l= more than the body, " + n, "fail", seal(MSG, c=c, ams={"l": "more"}),
         "RFC 6376 3.5")
nothing = base64.b64encode(hashlib.sha256(b"").digest())
case("l=0", "fail", seal(MSG, ams={"l": b"0", "bh": nothing}), "RFC 6376 8.2")
case("l= no number", "fail", seal(MSG, ams={"l": b"all"}))
case("tags behind b=", "pass", seal(MSG, end=b"; zz=top"))
case("tags behind b=, simple", "pass", seal(MSG, c=b"simple/simple", end=b"; zz=top"))
case("space behind b=", "pass", seal(MSG, end=b" ; zz=top"), "dkimpy leaves the space")
case("h= with itself", "pass", seal(MSG, h=b"From:ARC-Message-Signature"), "RFC 6376 3.5")
for t in ("bh", "d"):
    case("older message signature without %s=" % t, "pass",
         seal(seal(MSG, ams={t: None}), d=b"hop2.example"),
         "RFC 8617 5.2 step 4: the newest has to hold", oldest=2)
case("header folded with spaces", "pass", seal(MSG, fold=b"\r\n      "))

# limits
long = MSG
for i in range(50):
    long = seal(long, d=DOMAINS[i % 3])
case("50 sets", "pass", long)
case("51 sets", "fail", seal(long, i=51, d=DOMAINS[0]), "RFC 8617 4.2.1, 5.2 step 1")
case("200 ARC fields", "fail", b"ARC-Seal: i=1; a=b\r\n" * 200 + MSG)
case("header fields in thousands", "pass", b"X: y\r\n" * 3000 + good)
case("header fields over the limit", "fail", b"X: y\r\n" * 5000 + good, "bounded work")
case("huge AAR", "fail", seal(MSG, aar=b"ARC-Authentication-Results: i=1; x; none (" +
                              b"y" * 40000 + b")"), "bounded work")
case("ARC field after the header", "none", MSG + good)

# ours
sealed = open(sys.argv[1] + "/sealed", "rb").read()
case("sealed by the relay", "pass", sealed)
case("sealed by the relay, then dkimpy", "pass", dkimpy_seal(sealed, b"hop2.example", b"pass"))
case("sealed by the relay, body changed", "fail", sub(sealed, b"no?", b"no!"))
case("sealed by the relay, A-R removed", "pass",
     sub(sealed, field(sealed, b"Received", 0), b""))
case("sealed by the relay, AAR changed", "fail", sub(sealed, b"spf=pass", b"spf=fail"))
case("sealed by the relay, second From", "fail", b"From: e@evil.example\r\n" + sealed)

if WRONG:
    sys.exit("\n".join(WRONG))
with open(sys.argv[1] + "/cases", "wb") as out:
    zone = b"".join(s + b"._domainkey." + d + b" TXT " + r + b"\n" for d in DOMAINS
                    for s, last in ZONE.items() for r in BEFORE.get(s, []) + [last])
    out.write(b"%d\n" % len(zone) + zone)
    for name, want, theirs, oldest, msg in CASES:
        out.write(("%s\t%s\t%s\t%d\t%d\n" % (name, want, theirs, oldest, len(msg))).encode())
        out.write(msg)
