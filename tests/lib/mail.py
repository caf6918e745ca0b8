# SPDX-License-Identifier: Apache-2.0
"""Messages for the tests, a client that sends exact bytes, and what comes below
the trace block of what arrived."""
import base64
import hashlib
import random
import smtplib
import socket
import subprocess

import dkim


def rsa_key():
    """(private PEM, the p= of its DNS record)"""
    pem = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=pem,
                         capture_output=True, check=True).stdout
    return pem, base64.b64encode(der).decode()


def certificate(folder, name="sink.example", alt="DNS"):
    """(certificate file, key file), self-signed; `alt` is DNS or IP: what `name` is."""
    cert, key = "%s/%s.crt" % (folder, name), "%s/%s.key" % (folder, name)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                    "-subj", "/CN=" + name, "-addext", "subjectAltName=%s:%s" % (alt, name),
                    "-keyout", key, "-out", cert], capture_output=True, check=True)
    return cert, key


def message(sender, rcpt, subject="prova", body=b"ciao\r\n", extra=b""):
    tag = hashlib.sha256(body + subject.encode() + str(random.random()).encode()).hexdigest()[:16]
    return (b"From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: Sun, 22 Jan 2023 10:00:00 +0100\r\n"
            b"Message-ID: <%s@sender.example>\r\nMIME-Version: 1.0\r\n%s\r\n"
            % (sender.encode(), rcpt.encode(), subject.encode(), tag.encode(), extra)) + body


def dkim_sign(data, selector, domain, pem, **kw):
    return dkim.sign(data, selector.encode(), domain.encode(), pem, **kw) + data


def send(port, sender, rcpts, data, source="127.0.0.5", helo="mail.sender.example", options=(),
         tls=False, client=smtplib.SMTP):
    """One transaction; what the server said at the end of data: (code, text)."""
    c = client("127.0.0.1", port, local_hostname=helo, timeout=60, source_address=(source, 0))
    try:
        c.ehlo()
        if tls:
            c.starttls()
            c.ehlo()
        code, text = c.mail(sender, list(options))
        if code != 250:
            return code, text
        for r in [rcpts] if isinstance(rcpts, str) else rcpts:
            code, text = c.rcpt(r)
            if code not in (250, 251):
                return code, text
        return c.data(data)
    finally:
        try:
            c.quit()
        except (smtplib.SMTPException, OSError):
            pass


class Session:
    """One connection for many messages, of exactly these bytes: the commands of each in
    one piece, content by BDAT or by DATA (dots are seen to)."""

    def __init__(self, port, source="127.0.0.5", helo="mail.sender.example", verb="EHLO"):
        self.sock = socket.create_connection(("127.0.0.1", port), 60, source_address=(source, 0))
        self.file = self.sock.makefile("rb")
        self.reply()
        self.say("%s %s" % (verb, helo))

    def reply(self):
        out = []
        while True:
            line = self.file.readline()
            out.append(line)
            if line[3:4] != b"-":
                return b"".join(out).decode("utf-8", "replace")

    def say(self, *lines):
        """The last of the replies."""
        self.sock.sendall(b"".join(l.encode() + b"\r\n" if isinstance(l, str) else l for l in lines))
        return [self.reply() for _ in lines][-1]

    def xclient(self, addr, helo):
        return self.say("XCLIENT ADDR=" + ("IPV6:" + addr if ":" in addr else addr), "EHLO " + helo)

    def send(self, sender, rcpt, data, chunked=True, options=""):
        """The reply to the content, or the first that refuses."""
        start = ["MAIL FROM:<%s>%s" % (sender, options), "RCPT TO:<%s>" % rcpt]
        if chunked:
            self.sock.sendall("\r\n".join(start + ["BDAT %d LAST\r\n" % len(data)]).encode() + data)
            replies = [self.reply() for _ in range(3)]
            if replies[0][0] != "2" or replies[1][0] != "2":
                self.say("RSET")
            return next((x for x in replies if x[0] != "2"), replies[2])
        for line in start + ["DATA"]:
            got = self.say(line)
            if got[0] not in "23":
                self.say("RSET")
                return got
        stuffed = (b"\r\n" + data).replace(b"\r\n.", b"\r\n..")[2:]
        return self.say(stuffed + (b"" if data.endswith(b"\r\n") else b"\r\n") + b".\r\n")

    def close(self):
        self.file.close()
        self.sock.close()


def below_trace(arrived, original):
    """True when what arrived ends in exactly the bytes that were sent and what is
    above them is a block of whole header fields."""
    if not arrived.endswith(original):
        return False
    block = arrived[:len(arrived) - len(original)]
    return block == b"" or (block.endswith(b"\r\n") and b"\r\n\r\n" not in block)
