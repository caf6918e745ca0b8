#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes dkim_fixture.h: messages signed by dkimpy with throw-away keys, whole and
broken, for dkim_test.c and evaluate_test.c. Needs python3-dkim, python3-nacl, openssl.

    ./dkim_fixture.py > dkim_fixture.h
"""
import base64
import subprocess
import sys
import tempfile

import dkim
import nacl.signing


def rsa(bits):
    pem = subprocess.run(["openssl", "genrsa", "-traditional", str(bits)], check=True,
                         capture_output=True).stdout
    der = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=pem,
                         check=True, capture_output=True).stdout
    return pem, base64.b64encode(der)


KEYS = {b"r1": rsa(2048), b"r2": rsa(1024), b"small": rsa(768), b"big": rsa(4096)}
ED = nacl.signing.SigningKey.generate()
KEYS[b"ed"] = (base64.b64encode(bytes(ED)), base64.b64encode(bytes(ED.verify_key)))

ZONE = []
for sel, (_, pub) in KEYS.items():
    kind = b"ed25519" if sel == b"ed" else b"rsa"
    ZONE.append(sel + b"._domainkey.brand.example TXT v=DKIM1; k=" + kind + b"; p=" + pub)
pub1 = KEYS[b"r1"][1]
for sel, rec in (
        (b"bare", b"p=" + pub1),
        (b"notes", b"v=DKIM1; n=some words; x_y=1; t=y; p=" + pub1[:100] + b" " + pub1[100:]),
        (b"revoked", b"v=DKIM1; p="),
        (b"nop", b"v=DKIM1; k=rsa"),
        (b"junk", b"this is no key"),
        (b"sha1only", b"v=DKIM1; h=sha1; p=" + pub1),
        (b"web", b"v=DKIM1; s=web; p=" + pub1),
        (b"v2", b"v=DKIM2; p=" + pub1),
        (b"badb64", b"v=DKIM1; p=!!!!"),
        (b"edkey", b"v=DKIM1; k=ed25519; p=" + KEYS[b"ed"][1])):
    ZONE.append(sel + b"._domainkey.brand.example TXT " + rec)
ZONE.append(b"many._domainkey.brand.example TXT hello")
ZONE.append(b"many._domainkey.brand.example TXT v=DKIM1; p=" + pub1)
ZONE.append(b"temp._domainkey.brand.example FAIL x")

HEAD = (b"Received: from a.example by b.example; Mon, 1 Jan 2024 00:00:00 +0000\r\n"
        b"From: Brand <news@brand.example>\r\n"
        b"To: Mario Rossi\r\n <mario@primary.example>\r\n"
        b"Subject:   caff\xc3\xa8  e   folded\r\n\ttext  \r\n"
        b"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n"
        b"Message-ID: <1@brand.example>\r\n")
BODY = (b"Ciao  Mario, perch\xc3\xa9 no? \xff\xfe\r\n.\r\n.x\r\n..\r\n"
        b"trailing blanks  \t \r\n\r\nFrom me\r\n--\r\n\r\n\r\n")
INCLUDE = [b"From", b"To", b"Subject", b"Date", b"Message-ID"]


def sign(msg, sel=b"r1", canon=b"relaxed/relaxed", alg=b"rsa-sha256", include=None,
         length=False, domain=b"brand.example", key=None, **kw):
    key = key or KEYS[sel][0] if sel in KEYS or key else KEYS[b"r1"][0]
    a, b = canon.split(b"/")
    return dkim.sign(msg, sel, domain, key, canonicalize=(a, b), signature_algorithm=alg,
                     include_headers=include or INCLUDE, length=length, linesep=b"\r\n",
                     **kw) + msg


CASES = []


def case(name, expect, msg):
    CASES.append((name, expect, msg))


MSG = HEAD + b"\r\n" + BODY
for canon in (b"simple/simple", b"simple/relaxed", b"relaxed/simple", b"relaxed/relaxed"):
    case("rsa " + canon.decode(), "PASS", sign(MSG, canon=canon))
    case("ed25519 " + canon.decode(), "PASS",
         sign(MSG, b"ed", canon, b"ed25519-sha256"))
case("rsa 1024", "PASS", sign(MSG, b"r2"))
case("rsa 4096", "PASS", sign(MSG, b"big"))
case("RFC 8301 3.2 rsa 768", "POLICY", sign(MSG, b"small"))
case("RFC 8301 3.1 rsa-sha1", "POLICY", sign(MSG, alg=b"rsa-sha1"))

# spec 14.2: every body in both canonicalizations
for i, body in enumerate((b"", b"\r\n", b"Ciao", b"Ciao\r\n", b"Ciao\r\n\r\n\r\n", b"Ciao \r\n",
                          b"a  b\tc \r\n", b".\r\n.x\r\n", b"From me\r\n",
                          b"perch\xc3\xa9\r\n")):
    for canon in (b"relaxed/simple", b"relaxed/relaxed"):
        msg = sign(HEAD + b"\r\n" + body, canon=canon)
        case("14.2 body %d %s" % (i, canon.decode()), "PASS", msg)
        if b"simple" in canon and body.endswith(b"\r\n") and len(body) > 2:
            case("14.2 body %d without its last CRLF" % i, "PASS", msg[:-2])
case("no body, no empty line", "PASS", sign(HEAD + b"\r\n")[:-2])

good = sign(MSG)
case("body octet changed", "FAIL", good.replace(b"Ciao ", b"Ciap "))
case("dot lost", "FAIL", good.replace(b"\r\n..\r\n", b"\r\n.\r\n"))
case(">From", "FAIL", good.replace(b"\r\nFrom me", b"\r\n>From me"))
case("footer", "FAIL", good + b"footer\r\n")
case("subject changed", "FAIL", good.replace(b"caff", b"Caff"))
case("From changed", "FAIL", good.replace(b"news@", b"evil@"))
case("prepended fields", "PASS", b"Received: x\r\nDelivered-To: y\r\nReturn-Path: <z>\r\n" + good)
case("unfolded, relaxed", "PASS", good.replace(b"Rossi\r\n <", b"Rossi <"))
case("unfolded, simple", "FAIL",
     sign(MSG, canon=b"simple/simple").replace(b"Rossi\r\n <", b"Rossi <"))
case("name case, relaxed", "PASS", good.replace(b"Subject:", b"SUBJECT :"))
case("trailing blank gone, simple", "FAIL",
     sign(MSG, canon=b"relaxed/simple").replace(b"blanks  \t \r\n", b"blanks\r\n"))
over = sign(MSG, include=INCLUDE + [b"From", b"Subject"])
case("oversigned", "PASS", over)
case("oversigned, second Subject", "FAIL", b"Subject: new\r\n" + over)
case("second From on top", "POLICY", b"From: Other <o@other.example>\r\n" + good)
case("second From below", "POLICY",
     good.replace(b"Date: Mon", b"From: Other <o@other.example>\r\nDate: Mon"))
twofrom = HEAD + b"From: Other <o@other.example>\r\n\r\n" + BODY
case("two From, both signed", "PASS", sign(twofrom, include=INCLUDE + [b"From"]))
case("l= whole body", "PASS", sign(MSG, length=True))
case("l= with text after", "POLICY", sign(MSG, length=True) + b"more text\r\n")
for n in (1, 2):
    case("l= with %d octets after" % n, "POLICY",
         sign(MSG, canon=b"simple/simple", length=True) + b"\r\n" * 3 + b"x" * n)
case("l= with empty lines after", "PASS", sign(MSG, length=True) + b"\r\n" * 3)
case("l= larger than the body", "FAIL", sign(MSG, length=True)[:-40])

for sel, want in ((b"bare", "PASS"), (b"notes", "PASS"), (b"many", "PASS"),
                  (b"revoked", "PERMERROR"), (b"nop", "PERMERROR"), (b"junk", "PERMERROR"),
                  (b"sha1only", "PERMERROR"), (b"web", "PERMERROR"), (b"v2", "PERMERROR"),
                  (b"badb64", "PERMERROR"), (b"edkey", "PERMERROR"), (b"none", "PERMERROR"),
                  (b"temp", "TEMPERROR")):
    case("key " + sel.decode(), want, sign(MSG, sel))


def resign(old, new):
    """A signature over changed tags: dkimpy signs what we put in place of its own."""
    orig = dkim.DKIM.gen_header
    def gen(self, fields, *args, **kw):
        fields = [(k, new[k] if k in new else v) for k, v in fields if new.get(k, 1) is not None]
        fields += [(k, v) for k, v in new.items() if k not in dict(fields) and v is not None]
        return orig(self, fields, *args, **kw)
    dkim.DKIM.gen_header = gen
    try:
        return sign(old)
    finally:
        dkim.DKIM.gen_header = orig


case("x= to come", "PASS", resign(MSG, {b"t": b"1700000000", b"x": b"4000000000"}))
case("x= passed", "POLICY", resign(MSG, {b"t": b"1500000000", b"x": b"1500000100"}))
case("x= before t=", "NEUTRAL", resign(MSG, {b"t": b"1700000000", b"x": b"1600000000"}))
case("i= subdomain", "PASS", resign(MSG, {b"i": b"@mail.brand.example"}))
case("i= elsewhere", "NEUTRAL", resign(MSG, {b"i": b"@other.example"}))
case("v=2", "NEUTRAL", resign(MSG, {b"v": b"2"}))
case("q=x", "NEUTRAL", resign(MSG, {b"q": b"web/html"}))
case("q= two", "PASS", resign(MSG, {b"q": b"web/html:dns/txt"}))
case("unknown tag", "PASS", resign(MSG, {b"zz": b"top"}))

case("not a tag list", "NEUTRAL", b"DKIM-Signature: nonsense\r\n" + MSG)
case("empty", "NEUTRAL", b"DKIM-Signature:\r\n" + MSG)
case("only d=", "NEUTRAL", b"DKIM-Signature: v=1; d=brand.example\r\n" + MSG)
case("a= unknown", "NEUTRAL", good.replace(b"a=rsa-sha256", b"a=rsa-sha512"))
case("d= twice", "NEUTRAL", good.replace(b"d=brand.example", b"d=brand.example; d=x.example"))
case("h= without From", "PERMERROR", b"DKIM-Signature: v=1; a=rsa-sha256; d=brand.example; s=r1;"
     b" h=To:Subject; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n" + MSG)
case("b= damaged", "FAIL", good.replace(b" b=", b" b=AAAA", 1))
case("bare d= in upper case", "PASS", sign(MSG, domain=b"BRAND.example"))
case("no From at all", "PERMERROR", b"DKIM-Signature: v=1; a=rsa-sha256; d=brand.example; s=r1;"
     b" h=To; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\nTo: x\r\n\r\nbody\r\n")
odd = MSG.replace(b"From: Brand <news@brand.example>", b"From: \"Brand, the\" (x) <\"n w\"@brand.example>")
case("quoted author", "PASS", sign(odd))
# the library looks for an author of its own and gives up without one
case("author without address", "NEUTRAL",
     sign(MSG.replace(b"From: Brand <news@brand.example>", b"From: undisclosed")))
case("author a group", "NEUTRAL",
     sign(MSG.replace(b"From: Brand <news@brand.example>", b"From: Nobody:;")))
case("author empty", "NEUTRAL", sign(MSG.replace(b"From: Brand <news@brand.example>", b"From:")))

case("signed forged A-R", "PASS",
     sign(b"Authentication-Results: mx.primary.example; spf=pass\r\n" + MSG,
          include=INCLUDE + [b"Authentication-Results"]))
case("first of two passes", "PASS", sign(sign(MSG, b"ed", alg=b"ed25519-sha256"), b"r1"))
case("second of two passes", "PASS", b"DKIM-Signature: nonsense\r\n" + sign(MSG))
case("ninth is not looked at", "NEUTRAL", b"DKIM-Signature: nonsense\r\n" * 8 + sign(MSG))
case("big header", "PASS", sign(b"".join(b"X-%d: %s\r\n" % (i, b"y" * 900) for i in range(15))
                               + MSG))
case("header fields in thousands", "PASS", sign(b"X: y\r\n" * 1500 + MSG))


def c_bytes(b):
    out, line = [], ""
    for i, ch in enumerate(b):
        if ch == 13:
            line += "\\r"
        elif ch == 10:
            line += "\\n"
        elif 32 <= ch < 127 and chr(ch) not in '"\\?':
            line += chr(ch)
        else:
            line += "\\%03o" % ch
        if ch == 10 or len(line) > 78:
            out.append('\t    "%s"' % line)
            line = ""
    if line or not out:
        out.append('\t    "%s"' % line)
    return "\n".join(out)


print("// SPDX-License-Identifier: Apache-2.0")
print("/* Made by dkim_fixture.py with dkimpy %s: do not edit. */" % "1.1.4")
print("struct dkim_fixture {\n\tconst char *name;\n\tenum auth_result expect;"
      "\n\tconst char *text;\n\tsize_t n;\n};")
print("static const char dkim_fixture_zone[] =\n%s;\n" % c_bytes(b"\n".join(ZONE) + b"\n"))
print("static const struct dkim_fixture dkim_fixtures[] = {")
for name, expect, msg in CASES:
    if len(msg) > 20000:
        sys.stderr.write("%s: %d octets\n" % (name, len(msg)))
    print('\t{ "%s", AUTH_%s,\n%s,\n\t    %d },' % (name, expect, c_bytes(msg), len(msg)))
print("};")
