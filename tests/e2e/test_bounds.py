# SPDX-License-Identifier: Apache-2.0
"""Every bound of the front door, met by a client: it is stopped, its counter moves in
`salvaposta status` for people and programs, and docs/front-door.md tells the truth."""
import glob
import os
import re
import socket
import time

from tests.lib import mail
from tests.lib.ports import free_port
from tests.lib.relay import ROOT

MAIL = b"MAIL FROM:<news@sender.example>\r\n"
RCPT = b"RCPT TO:<mario@shop.example>\r\n"
BEGIN = b"EHLO c\r\n" + MAIL + RCPT
DATA = BEGIN + b"DATA\r\n"
LINES = (b"z" * 98 + b"\r\n") * 100


class Client:
    def __init__(self, port, first=b""):
        self.sock = socket.create_connection(("127.0.0.1", port), 20)
        self.sock.sendall(first)
        self.got = b""

    def wait(self, word):
        """Reads until `word` was said; b"" waits for the end."""
        while word == b"" or word not in self.got:
            try:
                more = self.sock.recv(65536)
            except ConnectionResetError:
                more = b""
            if more == b"":
                assert word == b"", (word, self.got)
                return self
            self.got += more
        return self

    def say(self, what, word):
        self.got = b""
        self.sock.sendall(what)
        return self.wait(word)


def proxied(port, ip, word=b"220 "):
    return Client(port, b"PROXY TCP4 %s 127.0.0.1 1 25\r\n" % ip.encode()).wait(word)


def counters(relay):
    (r,) = relay.roles("relay")
    return {k: v for k, v in r.items() if isinstance(v, int)}


def moved(relay, before, **want):
    """These have moved by so much, and people can see it."""
    now = counters(relay)
    got = {k: now[k] - before[k] for k in want}
    assert got == want, got
    text = relay.command("status", json_out=False)
    for k in want:
        assert " %s=%d" % (k, now[k]) in text, (k, text)


def test_bounds_of_a_session(world):
    relay = world.relay(top="relays = 1\nerrors-max = 2\njunk-commands-max = 4\nrefusals-max = 2\n"
                            "messages-max = 1\ncommands-max = 100\nrecipients-max = 1\nmessage-size-max = 8k\n"
                            "header-size-max = 2k\nreceived-max = 2\nbare-newline = reject\n"
                            "tarpit-after = 100")
    relays = b"Received: from a by b; Sat, 28 Nov 2026 10:00:00 +0000\r\n"
    for name, said, word in (
            ("too_many_errors", b"X\r\nX\r\nX\r\n", b"421 4.7.0"),
            ("too_much_junk", b"NOOP\r\n" * 5, b"421 4.7.0"),
            ("too_many_commands", BEGIN + b"RCPT TO:<anna@shop.example>\r\n" * 98, b"421 4.7.0"),
            ("too_many_refusals", b"EHLO c\r\n" + MAIL + b"RCPT TO:<no@shop.example>\r\n" * 3, b"421 4.7.0"),
            ("too_many_messages", DATA + b"\r\n.\r\n" + MAIL, b"421 4.7.0"),
            ("too_many_recipients", BEGIN + b"RCPT TO:<anna@shop.example>\r\n", b"452 4.5.3"),
            ("too_large", b"EHLO c\r\nMAIL FROM:<> SIZE=8193\r\n", b"552 5.3.4"),
            ("too_large", DATA + b"\r\n" + LINES + b".\r\n", b"552 5.3.4"),
            ("too_large", BEGIN + b"BDAT 10000\r\n" + LINES, b"552 5.3.4"),
            ("header_too_large", DATA + b"X-Y: " + LINES.replace(b"\n", b"\n ")[:3000] + b"\r\n\r\n.\r\n",
             b"552 5.3.4"),
            ("too_many_hops", DATA + relays * 3 + b"\r\n.\r\n", b"554 5.4.6"),
            ("content_refused", DATA + b"\r\nx\ny\r\n.\r\n", b"550 5.5.2"),
            ("content_refused", DATA + b"A: \0\r\n\r\n.\r\n", b"550 5.6.0"),
            ("bare_commands", b"NOOP\n\r\n" * 3, b"421 4.7.0"),
            ("bad_chunks", b"BDAT x\r\n", b"421 4.7.0")):
        before = counters(relay)
        Client(relay.port).wait(b"220 ").say(said, word)
        moved(relay, before, **{name: 1})
    before = counters(relay)
    Client(relay.port).wait(b"220 ").say(
        BEGIN + b"RCPT TO:<anna@shop.example>\r\nRCPT TO:<no@else.example>\r\nNOOP\r\n", b"250 2.0.0 ok")
    moved(relay, before, rcpt_taken=1, rcpt_deferred=2)
    before = counters(relay)
    Client(relay.port).wait(b"220 ").say(b"EHLO c\r\n" + MAIL + b"RCPT TO:<no@else.example>\r\n", b"550 ")
    moved(relay, before, rcpt_refused=1)
    relay.stop()


def test_bounds_at_the_door(world):
    world.dns.zones.update({"1.100.51.198.bl.example": {"A": ["127.0.0.2"]}})
    inner = free_port()
    relay = world.relay(top='relays = 1\ntrusted-relay = { "127.0.0.1" }\nsessions-max = 4\n'
                            "connections-per-address = 1\nconnections-per-network = 2\n"
                            "connection-rate = 3\ngreet-pause = 1s\ntarpit-after = 0\ngreylist = yes\n"
                            'dns-blocklists = { "bl.example" }',
                        more='listen "127.0.0.1:%d" { proxy = yes }' % inner)
    before = counters(relay)
    there = [proxied(inner, "192.0.2.1")]
    proxied(inner, "192.0.2.1", b"421 4.7.0")
    moved(relay, before, crowded_address=1, crowded=1)
    there.append(proxied(inner, "192.0.2.2"))
    proxied(inner, "192.0.2.3", b"421 4.7.0")
    moved(relay, before, crowded_network=1, crowded=2)
    Client(inner, b"EHLO c\r\n").wait(b"")
    moved(relay, before, proxy_refused=1)
    there.append(proxied(inner, "198.51.100.1"))
    there[-1].say(b"EHLO c\r\n" + MAIL + RCPT, b"451 4.7.1 your address")
    moved(relay, before, listed=1)
    early = Client(inner, b"PROXY TCP4 203.0.113.9 127.0.0.1 1 25\r\nEHLO c\r\n").wait(b"421 4.7.0")
    moved(relay, before, early_talkers=1)
    early.wait(b"")
    there.append(proxied(inner, "203.0.113.1"))
    there[-1].say(b"EHLO c\r\n" + MAIL + RCPT, b"451 4.7.1 come back")
    moved(relay, before, greylisted=1)
    there[-1].say(b"X\r\n", b"500 5.5.1")
    moved(relay, before, tarpitted=1)
    # Four are there: one more takes the place of the one that did nothing for longest.
    there.append(proxied(inner, "203.0.114.1"))
    assert b"421 4.3.2" in there[0].wait(b"").got
    moved(relay, before, evicted=1)
    before = counters(relay)
    proxied(inner, "203.0.114.1", b"421 4.7.0").wait(b"")
    for c in there[1:]:
        c.sock.close()
    end = time.monotonic() + 10
    while counters(relay)["sessions"] > 0:
        assert time.monotonic() < end
        time.sleep(0.05)
    proxied(inner, "203.0.114.1")
    proxied(inner, "203.0.114.1", b"421 4.7.0 mx2.relay.example you come too often")
    moved(relay, before, crowded_rate=1)
    relay.stop()
    relay = world.relay(top='relays = 1\nsessions-max = 1\nexempt-networks = { "127.0.0.1" }')
    before = counters(relay)
    stays = Client(relay.port).wait(b"220 ")
    Client(relay.port).wait(b"421 4.3.2").wait(b"")
    moved(relay, before, crowded_sessions=1)
    stays.sock.close()
    relay.stop()


def test_bounds_in_time(world):
    cert, key = mail.certificate(world.folder, "mx2.relay.example")
    relay = world.relay(top='relays = 1\ncommand-timeout = 2s\ndata-timeout = 5s\nsession-timeout = 7s\n'
                            "body-memory-max = 64k\nmessage-size-max = 64k\nheader-size-max = 8k\n"
                            'tls-cert-file = "%s"\ntls-key-file = "%s"' % (cert, key))
    before = counters(relay)
    waits = [Client(relay.port).wait(b"220 ").say(b"EHLO c\r\n" + what, word) for what, word in (
        (b"STARTTLS\r\n", b"220 2.0.0"), (b"", b"250 8BITMIME"))]
    holds = Client(relay.port).wait(b"220 ")
    holds.say(DATA.replace(b"example>\r\nRCPT", b"example> SIZE=60000\r\nRCPT"), b"354")
    Client(relay.port).wait(b"220 ").say(DATA, b"452 4.3.1")
    moved(relay, before, no_memory=1)
    waits.append(Client(relay.port).wait(b"220 ").say(DATA, b"354"))
    assert b"421 4.4.2" in holds.wait(b"").got
    moved(relay, before, slow=1)
    # Commands that come in time, one after the other, for too long.
    lasts = Client(relay.port).wait(b"220 ")
    while b"421 4.4.2" not in lasts.got:
        lasts.say(b"NOOP\r\n", b"\r\n")
        time.sleep(0.2)
    for c in waits:
        c.wait(b"")
    moved(relay, before, timeouts_command=1, timeouts_data=1, timeouts_tls=1, timeouts_session=1,
          timeouts=4)
    relay.stop()


def test_the_table_in_the_documentation(world):
    """Keys, defaults, counters and tests that it names are there."""
    relay = world.relay()
    known = counters(relay)
    with open(ROOT + "/relay.conf.example") as f:
        example = f.read()
    tests = ""
    for path in glob.glob(ROOT + "/tests/relay/*_test.c") + glob.glob(ROOT + "/tests/e2e/test_*.py"):
        with open(path) as f:
            tests += f.read()
    with open(ROOT + "/docs/front-door.md") as f:
        rows = [[c.strip() for c in line.strip().strip("|").split("|")] for line in f if line.startswith("| ")][1:]
    assert len(rows) >= 27
    for bound, keys, defaults, _, counter, test in rows:
        for key, default in zip(re.findall("`([a-z-]+)`", keys), defaults.split(", ")):
            m = re.search(r"^#? ?%s = (.*)$" % key, example, re.M)
            assert m is not None, key
            assert default == "none" or m.group(1).strip('"') == default, (key, m.group(1), default)
        assert counter.strip("`") in known, counter
        assert re.search(r"\b%s\(" % test, tests), test
    relay.stop()


def test_lines_without_end_and_nul(world):
    """Whatever comes instead of a command gets an answer, and takes no memory while it comes."""
    relay = world.relay(top="relays = 1\ncommand-timeout = 2s\ntarpit-after = 100")
    pid = relay.roles("relay")[0]["pid"]

    def kib():
        with open("/proc/%d/status" % pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read())[1])
    before = kib()
    c = Client(relay.port).wait(b"220 ")
    for _ in range(32):
        c.sock.sendall(b"x" * 1000000)
    c.say(b"\r\n", b"500 5.5.2 line too long\r\n")
    c.say(b"NOOP\r\n", b"250 ")
    for said, answer in ((b"NO\0OP\r\n", b"500 5.5.2 NUL in a command\r\n"), (b"\0\r\n", b"500 5.5.2 NUL"),
                         (b"NOOP\n\r\n", b"500 5.5.2 a line ends"), (b"EHLO " + b"a" * 3000 + b"\r\n", b"500 5.5.2"),
                         (b"\r\n", b"500 5.5.1"), (b" \r\n", b"500 5.5.1"), (b"\x80\xff\r\n", b"500 5.5.1"),
                         (b"EHLO c\r\n", b"250 8BITMIME\r\n")):
        c.say(said, answer)
    assert kib() - before < 1024, (before, kib())
    c.got = b""
    c.sock.sendall(b"NOOP")     # and nothing more: it is not a command, and not waited for longer
    assert b"421 4.4.2" in c.wait(b"").got
    relay.stop()
