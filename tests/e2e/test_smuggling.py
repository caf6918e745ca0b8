# SPDX-License-Identifier: Apache-2.0
"""Spec 3.10 and 13.6 on the wire; what bytes can do to the machines alone, tests/relay/
smuggling_test.c tries to the end. Here they come by DATA, BDAT and LMTP in cut packets and
leave to an SMTP and an LMTP receiver; and commands hide behind STARTTLS, both ways."""
import itertools
import re
import socket
import ssl
import threading

from tests.lib import mail
from tests.lib.ports import free_port

SENDER, USER = "news@sender.example", "mario@shop.example"
STRINGS = [b"".join(s) for n in (1, 2, 3) for s in itertools.product((b"\r", b"\n", b".", b"\0"), repeat=n)]
EVIL = b"x\r\nMAIL FROM:<evil@sender.example>\r\nRCPT TO:<anna@shop.example>\r\nDATA\r\nevil"
OPEN = "message-id-max = 100000"


def attempts():
    for i, s in enumerate(STRINGS):
        start = b"" if s == b".\r\n" else (b"", b"\r\n")[i % 2]      # that one would be the end
        yield i, b"From: <news@sender.example>\r\nSubject: s\r\n\r\nhello %d" % i + start, s


def in_pieces(session, head, s, rest):
    """The string at hand is cut at a place of its own, in packets of their own."""
    cut = len(head) + len(head + s) % (len(s) + 1)
    data = head + s + rest
    session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    session.sock.sendall(data[:cut])
    session.sock.sendall(data[cut:])


def by_data(session):
    for i, head, s in attempts():
        session.say("MAIL FROM:<%s>" % SENDER, "RCPT TO:<%s>" % USER)
        assert session.say("DATA")[:3] == "354"
        in_pieces(session, head, s, EVIL + b"\r\n.\r\n")
        assert session.reply()[:3] == "250", (i, s)
        assert session.say("NOOP")[:3] == "250"


def by_bdat(session):
    for i, head, s in attempts():
        session.say("MAIL FROM:<%s>" % SENDER, "RCPT TO:<%s>" % USER)
        cut, data = len(head) + 1, head + s + EVIL + b"\r\n.\r\n"
        session.sock.sendall(b"BDAT %d\r\n" % cut + data[:cut] + b"BDAT %d LAST\r\n" % (len(data) - cut) + data[cut:])
        assert session.reply()[:3] == "250"
        assert session.reply()[:3] == "250", (i, s)
        assert session.say("NOOP")[:3] == "250"


def test_spec_3_10_never_two_from_one_and_nothing_bare_leaves(world):
    lmtp = free_port()
    relay = world.relay(top=OPEN, more='listen "127.0.0.1:%d" { protocol = lmtp }' % lmtp)
    relay.failover("on")
    ways = [(mail.Session(relay.port), by_data), (mail.Session(relay.port), by_bdat),
            (mail.Session(lmtp, verb="LHLO"), by_data), (mail.Session(lmtp, verb="LHLO"), by_bdat)]
    for session, way in ways:
        way(session)
        session.close()
    count = len(ways) * len(STRINGS)
    clean = [i for i, s in enumerate(STRINGS) if b"\0" not in s]      # NUL is kept, not forwarded (3.11)
    copies = world.recovery.wait(len(ways) * len(clean), 60)
    relay.failover("off")
    held = world.store.wait(count, 60)
    assert (len(copies), len(held)) == (len(ways) * len(clean), count), relay.log()[-2000:]
    for m in copies + held:
        assert not re.search(rb"(?<!\r)\n|\r(?!\n)", m.data), m.data
        assert b"hello" in m.data and b"evil" in m.data and b"anna" not in "".join(m.rcpts).encode()
    for got, want in ((copies, clean), (held, range(len(STRINGS)))):
        seen = [int(re.search(rb"hello (\d+)", m.data)[1]) for m in got]
        assert sorted(seen) == sorted(list(want) * len(ways))
    relay.wait_balance(received=count, held=0)
    relay.stop()


def test_spec_3_10_refused_or_not_by_network(world):
    """bare-newline holds but for bare-newline-except, where the other of the two does."""
    bare = mail.message("news@sender.example", USER, body=b"one\ntwo\r\n")
    for mode, normal in (("normalize", "127.0.0.5"), ("reject", "127.0.0.6")):
        relay = world.relay(top='bare-newline = %s\nbare-newline-except = { "127.0.0.6/31" }' % mode)
        for source in ("127.0.0.5", "127.0.0.6"):
            session = mail.Session(relay.port, source=source)
            for chunked in (False, True):
                said = session.send("news@sender.example", USER, bare, chunked)
                assert said.startswith("250 " if source == normal else "550 5.5.2 "), (mode, source, said)
            session.close()
        relay.stop()


def test_spec_13_6_commands_behind_starttls_are_discarded(world):
    """What came in the packet of STARTTLS was said by anybody: it is never executed, and the
    session after the handshake knows nothing of what went before."""
    cert, key = mail.certificate(world.folder, "mx2.relay.example")
    relay = world.relay(top='tls-cert-file = "%s"\ntls-key-file = "%s"' % (cert, key))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    tail = b"EHLO evil\r\nMAIL FROM:<evil@sender.example>\r\nRCPT TO:<%s>\r\n" % USER.encode()
    for behind in (b"\r\n", b"NOOP\r\n", b"EHLO evil\r\n", tail, tail + b"DATA\r\nevil\r\n.\r\n", b"MAIL", b"\0", b"\r",
                   b"BDAT 5 LAST\r\nevil\n", b"RSET\r\nQUIT\r\n"):
        with socket.create_connection(("127.0.0.1", relay.port), 20, source_address=("127.0.0.5", 0)) as s:
            f = s.makefile("rb", buffering=0)
            assert f.readline()[:3] == b"220"
            s.sendall(b"EHLO mail.sender.example\r\n")
            while f.readline()[3:4] == b"-":
                pass
            s.sendall(b"STARTTLS\r\n" + behind)
            assert f.readline()[:3] == b"220"
            with context.wrap_socket(s) as t:
                t.settimeout(20)
                t.sendall(b"MAIL FROM:<news@sender.example>\r\n")
                assert t.recv(4096)[:3] == b"503", behind       # not greeted, no sender known
                t.sendall(b"NOOP\r\n")
                assert t.recv(4096) == b"250 2.0.0 ok\r\n", behind
    assert relay.roles("relay")[0]["tls"] == 10
    assert world.store.messages == []
    relay.stop()


class Liar(threading.Thread):
    """An SMTP server that says `behind` in the packet of its reply to STARTTLS."""

    def __init__(self, cert, behind):
        super().__init__(daemon=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*cert)
        self.behind, self.heard, self.early, self.content, self.fault = behind, [], b"", b"", None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(30)
        self.port = self.listener.getsockname()[1]

    def run(self):
        try:
            s, _ = self.listener.accept()
            s.settimeout(30)
            f = s.makefile("rb", buffering=0)
            s.sendall(b"220 liar\r\n")
            f.readline()
            s.sendall(b"250-liar\r\n250 STARTTLS\r\n")
            assert f.readline() == b"STARTTLS\r\n"
            s.sendall(b"220 2.0.0 go\r\n" + self.behind)
            self.talk(self.context.wrap_socket(s, server_side=True))
        except (OSError, AssertionError) as e:
            self.fault = e

    def talk(self, t):
        f = t.makefile("rb", buffering=0)
        self.heard.append(f.readline())
        t.settimeout(0.3)       # whoever took `behind` for the reply goes on now
        try:
            self.early = t.recv(4096)
        except TimeoutError:
            pass
        t.settimeout(30)
        t.sendall(b"250 liar\r\n")
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            self.heard.append(f.readline())
            t.sendall(reply)
        while not self.content.endswith(b"\r\n.\r\n"):
            self.content += t.recv(65536)
        t.sendall(b"250 kept\r\n")


def test_spec_13_6_replies_behind_starttls_are_discarded(world):
    cert = mail.certificate(world.folder, "liar.example")
    for behind in (b"250 evil\r\n", b"250-evil\r\n250 CHUNKING\r\n", b"250 evil\r\n250 ok\r\n250 ok\r\n354 go\r\n250 kept\r\n"):
        liar = Liar(cert, behind)
        liar.start()
        relay = world.relay(primary="smtp://127.0.0.1:%d" % liar.port)
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
        liar.join(30)
        assert liar.fault is None and liar.early == b"", (behind, liar.fault, liar.early, relay.log()[-2000:])
        assert [h[:4] for h in liar.heard] == [b"EHLO", b"MAIL", b"RCPT", b"DATA"], liar.heard
        relay.wait_balance(replayed=1, held=0)
        relay.stop()
