#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What Salvaposta is for, shown with real mail through real sockets: a store that
is down, mail that is accepted, kept and forwarded meanwhile, and replayed when the
store is back. Exit status 0 only if every step held; nothing is left running."""
import base64
import os
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import dkim  # noqa: E402
import dns.resolver  # noqa: E402
import spf  # noqa: E402

from tests.lib import mail  # noqa: E402
from tests.lib.dnsd import Dns, reverse  # noqa: E402
from tests.lib.dovecot import Dovecot  # noqa: E402
from tests.lib.relay import Relay  # noqa: E402
from tests.lib.sink import Sink  # noqa: E402

COLOUR = sys.stdout.isatty()
SENDER, USER, RECOVERY = "billing@bank.example", "mario@shop.example", "mario.rossi@recovery.example"
failed = []


def step(text):
    print("\n%s== %s%s" % ("\033[1m" if COLOUR else "", text, "\033[0m" if COLOUR else ""), flush=True)


def say(text):
    print("   " + text, flush=True)


def check(what, held):
    mark = "ok  " if held else "FAIL"
    if COLOUR:
        mark = "\033[3%dm%s\033[0m" % (2 if held else 1, mark)
    print("   %s %s" % (mark, what), flush=True)
    if not held:
        failed.append(what)
    return held


def resolver_for(port):
    """pyspf and dkimpy ask the demo's DNS server and nothing else."""
    r = dns.resolver.Resolver(configure=False)
    r.nameservers, r.port = ["127.0.0.1"], port

    def txt(name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        try:
            return b"".join(next(iter(r.resolve(name.rstrip("."), "TXT"))).strings)
        except dns.exception.DNSException:
            return None

    def lookup(name, kind, *_, **__):
        try:
            answers = r.resolve(name, kind)
        except dns.exception.DNSException:
            return []
        out = []
        for a in answers:
            value = a.strings if kind == "TXT" else (
                (a.preference, a.exchange.to_text(True)) if kind == "MX" else a.to_text().rstrip("."))
            out.append(((name, kind), value))
        return out

    spf.DNSLookup = lookup
    return txt


def three_messages(key):
    plain = mail.message(SENDER, USER, "Il suo codice", b"Il codice e' 483920.\r\n")
    body = ("perch\u00e9 la citt\u00e0 \u00e8 l\u00e0\r\n.\r\n..due punti\r\n.uno  \r\ncoda \t\r\n\r\n").encode()
    signed = mail.dkim_sign(mail.message(SENDER, USER, "Ricetta", body,
                                         b"Content-Type: text/plain; charset=utf-8\r\n"
                                         b"Content-Transfer-Encoding: 8bit\r\n"),
                            "s1", "bank.example", key, canonicalize=(b"simple", b"simple"))
    blob = base64.encodebytes(random.randbytes(5 * 1024 * 1024)).replace(b"\n", b"\r\n")
    big = mail.dkim_sign(mail.message(SENDER, USER, "Cartella clinica",
                                      b'--b1\r\nContent-Type: text/plain\r\n\r\nin allegato\r\n--b1\r\n'
                                      b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                                      + blob + b"--b1--\r\n",
                                      b'Content-Type: multipart/mixed; boundary="b1"\r\n'),
                         "s1", "bank.example", key)
    return [("plain", plain), ("DKIM-signed, 8-bit, dot lines", signed), ("5 MB attachment", big)]


def forwarded_copies(sink, txt, sent):
    step("4. The recovery mail host received the forwarded copies")
    arrived = sink.wait(len(sent), 60)
    if not check("%d of %d copies arrived" % (len(arrived), len(sent)), len(arrived) == len(sent)):
        return
    for (name, data) in sent:
        copies = [m for m in arrived if mail.below_trace(m.data, data)]
        if not check("%s: bytes below our header block are identical" % name, len(copies) == 1):
            continue
        m = copies[0]
        result, _, why = spf.check(i="127.0.0.1", s=m.mail_from, h=m.helo)
        check("%s: SPF %s for MAIL FROM <%s> (pyspf)" % (name, result, m.mail_from), result == "pass")
        if b"DKIM-Signature:" in data:
            check("%s: the sender's DKIM signature still verifies (dkimpy)" % name,
                  last_signature_holds(m.data, txt))
        check("%s: sent to the recovery address, which stands nowhere in the headers" % name,
              m.rcpts == [RECOVERY] and RECOVERY.encode() not in m.data)
        auth = m.data[m.data.find(b"Authentication-Results:"):].split(b"\r\n\r\n")[0]
        check("%s: Authentication-Results says spf=pass for bank.example" % name,
              b"spf=pass smtp.mailfrom=bank.example" in auth)


def last_signature_holds(data, txt):
    d = dkim.DKIM(data)
    count = sum(1 for n, _ in d.headers if n.lower() == b"dkim-signature")
    # The original signature is the lowest one.
    return any(dkim.DKIM(data).verify(idx=i, dnsfunc=txt) and
               b"bank.example" in sorted_signatures(data)[i] for i in range(count))


def sorted_signatures(data):
    return [v for n, v in dkim.DKIM(data).headers if n.lower() == b"dkim-signature"]


def replayed(store, sent):
    step("6. The store has everything, as it was sent")
    end = time.monotonic() + 60
    while len(store.mails(USER)) < len(sent) and time.monotonic() < end:
        time.sleep(0.1)
    boxes = store.mails(USER)
    check("%d of %d messages are in the Maildir" % (len(boxes), len(sent)), len(boxes) == len(sent))
    for name, data in sent:
        found = [b for b in boxes if mail.below_trace(b, data)]
        check("%s: byte-identical below the trace block, MAIL FROM <%s>" % (name, SENDER),
              len(found) == 1 and found[0].startswith(b"Return-Path: <%s>" % SENDER.encode()))
    order = [i for b in boxes for i, (_, data) in enumerate(sent) if b.endswith(data)]
    say("order of arrival in the store: %s" % ", ".join(str(i + 1) for i in order))


def run(folder):
    key, public = mail.rsa_key()
    zones = {
        "bank.example": {"TXT": ["v=spf1 ip4:127.0.0.5 -all"], "A": ["127.0.0.5"]},
        "s1._domainkey.bank.example": {"TXT": ["v=DKIM1; k=rsa; p=" + public]},
        "mail.bank.example": {"A": ["127.0.0.5"]},
        reverse("127.0.0.5"): {"PTR": ["mail.bank.example."]},
        "recovery.example": {"MX": ["10 mx.recovery.example."]},
        "mx.recovery.example": {"A": ["127.0.0.1"]},
        "fwd.relay.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"], "MX": ["10 mx2.relay.example."]},
        "mx2.relay.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"], "A": ["127.0.0.9"]},
    }
    step("1. A DNS server, a recovery mail host and the relay start; the store is down")
    names = Dns(zones)
    sink = Sink(cert=mail.certificate(folder, "mx.recovery.example"))
    store = Dovecot(folder)
    relay = Relay(os.path.join(folder, "relay"), "lmtp://127.0.0.1:%d" % store.port, names.port, sink.port)
    try:
        say("DNS on port %d, recovery host on %d, Dovecot LMTP (stopped) on %d, relay on %d"
            % (names.port, sink.port, store.port, relay.port))
        say("$ salvaposta check")
        relay.command("check", json_out=False)
        relay.start()
        for role in relay.roles():
            say("process %-7d %s %d" % (role["pid"], role["role"], role["index"]))

        step("2. Users are imported, failover is switched on")
        for line in relay.import_users([USER + "," + RECOVERY, "anna@shop.example,"]).splitlines():
            say(line)
        r = relay.failover("on", "storage is down")
        check("failover on for shop.example: phase %s" % r["phase"], r["phase"] == "active")

        step("3. Three real messages arrive by SMTP (Python's smtplib, STARTTLS not needed here)")
        sent = three_messages(key)
        for name, data in sent:
            code, text = mail.send(relay.port, SENDER, USER, data, helo="mail.bank.example",
                                   options=["BODY=8BITMIME"])
            check("%s: %d bytes, the relay answered %d %s" % (name, len(data), code, text.decode()),
                  code == 250)
        code, text = mail.send(relay.port, SENDER, "nobody@shop.example", sent[0][1])
        check("an unknown user is refused: %d %s" % (code, text.decode()), code == 550)
        code, text = mail.send(relay.port, SENDER, "x@elsewhere.example", sent[0][1])
        check("relaying elsewhere is refused: %d %s" % (code, text.decode()), code == 550)

        forwarded_copies(sink, resolver_for(names.port), sent)

        step("5. The store comes back: Dovecot starts, failover is switched off")
        b = relay.wait_balance(forwarded=3)
        check("until now everything is held: received %d = held %d" % (b["received"], b["held"]),
              b["received"] == b["held"] == 3)
        store.start()
        r = relay.failover("off", "storage repaired")
        say("failover off for shop.example: phase %s" % r["phase"])
        replayed(store, sent)

        step("7. New mail goes straight through")
        data = mail.message(SENDER, USER, "dopo", b"tutto a posto\r\n")
        code, _ = mail.send(relay.port, SENDER, USER, data)
        end = time.monotonic() + 20
        while len(store.mails(USER)) < 4 and time.monotonic() < end:
            time.sleep(0.05)
        check("answered %d, in the Maildir, not forwarded" % code,
              len(store.mails(USER)) == 4 and len(sink.messages) == 3)

        step("8. The balance per domain")
        b = relay.wait_balance(replayed=4, held=0)
        say("%-16s %9s %9s %9s %9s %9s %9s" % ("domain", "received", "replayed", "bounced",
                                              "dropped", "held", "forwarded"))
        say("%-16s %9d %9d %9d %9d %9d %9d" % (b["domain"], b["received"], b["replayed"], b["bounced"],
                                              b["dropped"], b["held"], b["forwarded"]))
        check("received %d = replayed %d + still held %d; forwarded %d"
              % (b["received"], b["replayed"], b["held"], b["forwarded"]),
              b["received"] == b["replayed"] + b["held"] and b["forwarded"] == 3)
        relay.stop()
        check("the relay stopped cleanly", True)
    finally:
        if failed or sys.exc_info()[0] is not None:
            print("\n--- last lines of the relay's log ---")
            print("\n".join(relay.log().splitlines()[-40:]) if os.path.exists(relay.log_file) else "")
        if relay.process is not None and relay.process.poll() is None:
            relay.kill()
        store.stop()
        sink.close()
        names.close()


def main():
    folder = tempfile.mkdtemp(prefix="salvaposta-demo-")
    os.chmod(folder, 0o755)
    began = time.monotonic()
    try:
        run(folder)
    except Exception as e:  # the demo's end is a sentence, not a traceback
        print("   FAIL %s: %s" % (type(e).__name__, e))
        failed.append(str(e))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n%s in %.0f seconds" % ("All of it held," if not failed else
                                    "%d check(s) FAILED," % len(failed), time.monotonic() - began))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
