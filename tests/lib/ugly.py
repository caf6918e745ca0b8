# SPDX-License-Identifier: Apache-2.0
"""Messages as the world sends them and worse: generated, the same ones for the same
seed. All lines end in CRLF (bare CR and LF are another matter, spec 3.10); the last one
may end in nothing."""
import base64
import random

WORDS = ("ciao caff\u00e8 perch\u00e9 \u00fcber \u65e5\u672c\u8a9e order invoice codice 123456 gr\u00fc\u00dfe "
         "attached \u0442\u0435\u0441\u0442 na\u00efve re: fwd: [list]").split()
BLANKS = [b"", b" ", b"\t", b"  \t ", b" " * 70]


def words(r, n):
    return " ".join(r.choice(WORDS) for _ in range(n)).encode()


def header(r):
    """Fields beside those that every message has."""
    out = []
    for _ in range(r.randrange(0, 12)):
        out.append(r.choice([
            lambda: b"X-Folded: " + b"\r\n\t".join(words(r, 3) for _ in range(r.randrange(1, 9))),
            lambda: b"X-Spaces  :" + r.choice(BLANKS) + words(r, 2) + r.choice(BLANKS),
            lambda: b"X-Empty:" + r.choice(BLANKS),
            lambda: b"X-Latin: caff\xe8 \xff\xfe\x80",
            lambda: b"X-Blank-Fold: a\r\n \r\n\t \r\n b",
            lambda: b"x-CaSe: " + words(r, 1).upper(),
            lambda: b"X-Long: " + b"y" * r.choice([990, 998, 1500, 8000]),
            lambda: b"X-Word: =?utf-8?B?" + base64.b64encode(words(r, 2)) + b"?=",
            lambda: b"Received: from a (b [192.0.2.1])\r\n\tby c; Mon, 1 Jan 2024 00:00:00 +0000",
            lambda: b"X-!#$%&'*+-/=?^_`{|}~: odd name",
            lambda: b"Authentication-Results: elsewhere.example; spf=pass smtp.mailfrom=x",
            lambda: b"DKIM-Signature: v=1; a=rsa-sha256; d=gone.example; s=x; h=From; bh=; b=",
            lambda: b"Resent-From: <x@resent.example>",
            lambda: b"Bcc:",
        ])())
    r.shuffle(out)
    return out


def text(r):
    """Lines that some software on the way would change."""
    lines = []
    for _ in range(r.randrange(0, 25)):
        lines.append(r.choice([
            lambda: b".", lambda: b"..", lambda: b".x", lambda: b"...", lambda: b". " + words(r, 1),
            lambda: b"From " + words(r, 2), lambda: b">From x", lambda: b"",
            lambda: words(r, r.randrange(1, 12)) + r.choice(BLANKS), lambda: r.choice(BLANKS),
            lambda: b"z" * r.choice([76, 990, 998, 999, 1000, 2000, 5000]),
            lambda: bytes(r.choice([c for c in range(1, 256) if c not in (10, 13)]) for _ in range(60)),
            lambda: b"\xe8\xe9" * 50, lambda: b"-- ", lambda: b"QUIT", lambda: b"=20=", lambda: b"\f\v\x1b[0m",
        ])())
    return b"".join(l + b"\r\n" for l in lines) + b"\r\n" * r.choice([0, 0, 0, 1, 3])


def mime(r, depth):
    if depth == 0:
        kind = r.randrange(3)
        if kind == 0:
            raw = base64.encodebytes(r.randbytes(r.randrange(0, 3000))).replace(b"\n", b"\r\n")
            return b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n" + raw
        return b"Content-Type: text/plain; charset=utf-8\r\n" + \
            (b"Content-Transfer-Encoding: 8bit\r\n" if kind == 1 else b"") + b"\r\n" + text(r)
    if r.random() < 0.15:
        return b"Content-Type: message/rfc822\r\n\r\nFrom: <in@side.example>\r\nSubject: inside\r\n" + mime(r, depth - 1)
    edge = b"=_%d_%x" % (depth, r.getrandbits(40))
    out = b'Content-Type: multipart/%s;\r\n\tboundary="%s"\r\n\r\npreamble\r\n' % (
        r.choice([b"mixed", b"alternative", b"related", b"signed", b"report"]), edge)
    for _ in range(r.randrange(1, 3)):
        out += b"--" + edge + b"\r\n" + mime(r, depth - 1)
    return out + (b"--" + edge + b"--\r\n" if r.random() < 0.9 else b"") + b"epilogue\r\n" * r.randrange(0, 2)


def message(r, n, sender, rcpt):
    """The n-th; "X-N: n" is its first field."""
    fields = [b"From: " + r.choice([b"", b"Nome Cognome ", b'"Cognome, Nome" ', b"=?utf-8?Q?Caff=C3=A8?= "]) +
              b"<" + sender + b">", b"To: <" + rcpt + b">",
              b"Subject: " + words(r, r.randrange(0, 9)) + r.choice(BLANKS),
              b"Message-ID: <%d.%x@sender.example>" % (n, r.getrandbits(64)),
              b"Date: Mon, 23 Jan 2023 10:00:00 +0100"]
    if r.random() < 0.05:
        fields.pop()        # no Date, or no Message-ID: not ours to repair (3.15)
        if r.random() < 0.5:
            fields.pop()
    fields += header(r)
    r.shuffle(fields)
    head = b"X-N: %d\r\n" % n + b"".join(f + b"\r\n" for f in fields)
    kind = r.random()
    if kind < 0.03:
        return head                                 # neither body nor empty line
    if kind < 0.06:
        return head + b"\r\n"
    if kind < 0.45:
        data = head + b"MIME-Version: 1.0\r\n" + mime(r, r.choice([1, 1, 2, 2, 3, 5, 9]))
    else:
        data = head + b"\r\n" + text(r)
    if r.random() < 0.03:
        data += b"a\0b\0\0\r\n"
    if r.random() < 0.1 and data.endswith(b"\r\n") and not data.endswith(b"\r\n\r\n"):
        data = data[:-2]
    return data
