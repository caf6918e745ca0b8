# SPDX-License-Identifier: Apache-2.0
"""RFC 7208 from outside: zones on a DNS server, a client with an address, HELO and MAIL
FROM (told by XCLIENT, as a front server does), and the result as the delivered message
shows it. The cases are in tests/lib/spf_table.py."""
import re

from tests.e2e.test_front import Talk, full_store
from tests.lib import spf_table

USER = b"mario@shop.example"
TOP = """trusted-relay = { "127.0.0.1" }
received-spf = yes
messages-max = 10000
dns-timeout = 1s
dns-tries = 1
evaluate-timeout = 4s"""


def deliver(talk, n, sender, helo, ip):
    """One message in the name of that client; b"" or the first reply that refuses it."""
    addr = ip if ":" not in ip else "IPV6:" + ip
    # every other client's HELO is told by the front as well, in xtext
    told = b" HELO=%s" % helo.replace("+", "+2B").replace("=", "+3D").replace(" ", "+20").encode()
    told = told if n % 2 else b" HELO=[UNAVAILABLE]"
    lines = [b"XCLIENT ADDR=%s" % addr.encode() + told, b"EHLO %s" % (b"front.example" if n % 2 else helo.encode()),
             "MAIL FROM:<%s>".encode() % sender.encode() + (b" SMTPUTF8" if not sender.isascii() else b""),
             b"RCPT TO:<%s>" % USER]
    for line in lines:
        reply = talk.say(line + b"\r\n")
        if reply[:1] != b"2":
            return line + b": " + reply
    data = b"From: <a@b.example>\r\nX-Case: %d\r\n\r\nciao\r\n" % n
    reply = talk.say(b"BDAT %d LAST\r\n" % len(data) + data)
    return b"" if reply.startswith(b"250") else reply


def shown(data):
    """(spf= of Authentication-Results, its property, result of Received-SPF)"""
    head = data.split(b"From: <a@b.example>")[0].replace(b"\r\n\t", b" ").decode()
    m = re.search(r" spf=(\w+)(?: (smtp\.\w+)=(\S+?))?;", head)
    r = re.search(r"^Received-SPF: (\w+) ", head, re.M)
    return m.group(1), m.group(2), r.group(1)


def test_rfc_7208_section_by_section_7208(world):
    rows = spf_table.rows()
    for _, zone, *_ in rows:
        for name, records in zone.items():
            world.dns.set(name, records)
    full_store(world)       # takes SMTPUTF8, which two of the senders need
    relay = world.relay(top=TOP)
    talk = Talk(relay.port, source="127.0.0.1")
    wrong = []
    taken = 0
    for n, (title, zone, sender, helo, ip, right) in enumerate(rows):
        reply = deliver(talk, n, sender, helo, ip)
        if reply:
            wrong.append("%s: %s" % (title, reply))
        taken += not reply
    talk.close()
    got = {int(re.search(rb"X-Case: (\d+)", m.data).group(1)): m.data for m in world.store.wait(taken, 60)}
    for n, (title, zone, sender, helo, ip, right) in enumerate(rows):
        if n not in got:
            wrong.append("%s: not delivered" % title)
            continue
        result, identity, also = shown(got[n])
        if result not in right or also != result:
            wrong.append("%s: %s (Received-SPF: %s), not %s" % (title, result, also, right))
        if identity not in (None, "smtp.helo" if sender == "" else "smtp.mailfrom"):
            wrong.append("%s: judged by %s" % (title, identity))
    assert not wrong, "%d of %d:\n%s" % (len(wrong), len(rows), "\n".join(wrong))
    assert len(got) == len(rows) >= 250


def test_a_silent_reverse_zone_takes_no_time_from_spf_7208_4_6_4(world):
    """The client's PTR is asked for with the first record; the second is asked for after it."""
    world.dns.set("5.2.0.192.in-addr.arpa", "DROP")
    world.dns.set("slow.example", {"TXT": ["v=spf1 include:i.slow.example -all"]})
    world.dns.set("i.slow.example", {"TXT": ["v=spf1 ip4:192.0.2.5"]})
    relay = world.relay(top='trusted-relay = { "127.0.0.1" }\nreceived-spf = yes\n'
                        "dns-timeout = 60s\nevaluate-timeout = 4s")
    talk = Talk(relay.port, source="127.0.0.1")
    assert deliver(talk, 1, "u@slow.example", "h.slow.example", "192.0.2.5") == b""
    talk.close()
    assert shown(world.store.wait(1, 20)[0].data) == ("pass", "smtp.mailfrom", "pass")
