# SPDX-License-Identifier: Apache-2.0
"""Messages for the tests, a client that sends exact bytes, and what comes below
the trace block of what arrived."""
import base64
import hashlib
import random
import smtplib
import subprocess

import dkim


def rsa_key():
    """(private PEM, the p= of its DNS record)"""
    pem = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "rsa", "-pubout", "-outform", "DER"], input=pem,
                         capture_output=True, check=True).stdout
    return pem, base64.b64encode(der).decode()


def certificate(folder, name="sink.example"):
    """(certificate file, key file), self-signed."""
    cert, key = "%s/%s.crt" % (folder, name), "%s/%s.key" % (folder, name)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                    "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:" + name,
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


def below_trace(arrived, original):
    """True when what arrived ends in exactly the bytes that were sent and what is
    above them is a block of whole header fields."""
    if not arrived.endswith(original):
        return False
    block = arrived[:len(arrived) - len(original)]
    return block == b"" or (block.endswith(b"\r\n") and b"\r\n\r\n" not in block)
