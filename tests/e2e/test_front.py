# SPDX-License-Identifier: Apache-2.0
"""Extensions at the front door, and servers that stand before it: through the whole relay
to the store, with the bytes it got."""
import smtplib
import socket
import struct

from tests.lib import mail
from tests.lib.ports import free_port
from tests.lib.sink import Sink

SENDER, USER = "news@sender.example", "mario@shop.example"
FULL = ["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE 104857600", "ENHANCEDSTATUSCODES"]
TRUST = 'trusted-relay = { "127.0.0.0/8" }'


class Store(Sink):
    """A store with all extensions that remembers the commands as they came."""

    def __init__(self, port):
        self.lines = []
        super().__init__(lmtp=True, port=port, extensions=FULL)

    async def _session(self, reader, writer):
        real = reader.readuntil

        async def readuntil(end):
            self.lines.append(await real(end))
            return self.lines[-1]
        reader.readuntil = readuntil
        await super()._session(reader, writer)


def full_store(world):
    world.store.close()
    world.store = Store(world.store.port)


class Talk:
    """Raw bytes, one reply at a time."""

    def __init__(self, port, first=b"", source="127.0.0.1"):
        self.sock = socket.create_connection(("127.0.0.1", port), 20, source_address=(source, 0))
        self.file = self.sock.makefile("rb")
        self.sock.sendall(first)
        self.banner = self.reply()

    def reply(self):
        out = b""
        while True:
            try:
                line = self.file.readline()
            except ConnectionResetError:    # closed with our bytes unread
                line = b""
            out += line
            if line[3:4] != b"-":
                return out

    def say(self, what):
        self.sock.sendall(what)
        return self.reply()

    def close(self):
        self.file.close()
        self.sock.close()


def chunked(talk, data, *cuts):
    for a, b in zip((0,) + cuts, cuts + (len(data),)):
        last = b" LAST" if b == len(data) else b""
        out = talk.say(b"BDAT %d%s\r\n" % (b - a, last) + data[a:b])
        assert out.startswith(b"250 2.0.0"), out


def test_spec_2_3_3_dsn_parameters_reach_the_store_unchanged(world):
    """Spec 2.3.3, hold leg: as the sender gave them, where the server offers DSN."""
    full_store(world)
    relay = world.relay()
    c = smtplib.SMTP("127.0.0.1", relay.port, local_hostname="mail.sender.example", timeout=20,
                     source_address=("127.0.0.5", 0))
    c.ehlo()
    assert c.has_extn("dsn") and c.has_extn("chunking") and c.has_extn("limits")
    c.sendmail(SENDER, USER, mail.message(SENDER, USER), mail_options=["RET=HDRS", "ENVID=QQ+2B1"],
               rcpt_options=["NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;Mario+2BR@shop.example"])
    c.quit()
    world.store.wait(1)
    told = b"".join(world.store.lines).decode()
    for word in ("RET=HDRS", "ENVID=QQ+2B1", "NOTIFY=SUCCESS,DELAY", "ORCPT=rfc822;Mario+2BR@shop.example"):
        assert word in told, told


def test_spec_3_8_chunks_arrive_byte_for_byte(world):
    """Spec 3.8: counted octets, no unstuffing, cut anywhere."""
    relay = world.relay()
    data = mail.message(SENDER, USER, body=b".\r\n..dots\r\n.\r\nQUIT\r\n" + bytes(range(128, 256)) + b"\r\n")
    for cuts in ((), (1,), (len(data) - 1,), (data.index(b"\r\n") + 1, 100, 100, 101),
                 tuple(range(7, len(data), 7))):
        t = Talk(relay.port, source="127.0.0.5")
        t.say(b"EHLO mail.sender.example\r\n")
        assert t.say(b"MAIL FROM:<%s> BODY=8BITMIME\r\n" % SENDER.encode()).startswith(b"250")
        assert t.say(b"RCPT TO:<%s>\r\n" % USER.encode()).startswith(b"250")
        chunked(t, data, *cuts)
        t.close()
    got = world.store.wait(5)
    assert len(got) == 5 and all(m.data.endswith(data) for m in got)


def test_internationalised_addresses(world):
    """Spec 3.9: taken from everybody, sent on only to a server that takes them; a domain
    written in Unicode is the same domain."""
    relay = world.relay(domain="xn--mnchen-3ya.example", users=["mario@xn--mnchen-3ya.example,"])
    t = Talk(relay.port, source="127.0.0.5")
    t.say(b"EHLO mail.sender.example\r\n")
    assert b"553 5.6.7" in t.say("MAIL FROM:<è@sender.example>\r\n".encode())
    assert t.say("MAIL FROM:<è@sender.example> SMTPUTF8 BODY=8BITMIME\r\n".encode()).startswith(b"250")
    assert b"550 5.1.1" in t.say("RCPT TO:<marìo@münchen.example>\r\n".encode())
    assert t.say("RCPT TO:<mario@MÜNCHEN.example>\r\n".encode()).startswith(b"250")
    chunked(t, "Subject: caffè\r\n\r\nciao\r\n".encode())
    t.close()
    relay.wait_balance(held=1)
    assert not world.store.messages     # the store has no SMTPUTF8: held, not sent
    relay.stop()

    full_store(world)
    relay = world.relay(domain="xn--mnchen-3ya.example", users=["mario@xn--mnchen-3ya.example,"])
    t = Talk(relay.port, source="127.0.0.5")
    t.say(b"EHLO mail.sender.example\r\n")
    t.say("MAIL FROM:<è@sender.example> SMTPUTF8 BODY=8BITMIME\r\n".encode())
    assert t.say("RCPT TO:<mario@münchen.example>\r\n".encode()).startswith(b"250")
    chunked(t, "Subject: caffè\r\n\r\nciao\r\n".encode())
    t.close()
    (m,) = world.store.wait(1)
    assert m.mail_from == "è@sender.example" and "SMTPUTF8" in m.options
    assert b"with UTF8SMTP " in m.data


def test_xclient_names_the_client_that_is_judged(world):
    """Spec 0.5: SPF on the client a trusted front names; XCLIENT of strangers is refused."""
    relay = world.relay(top=TRUST)
    t = Talk(relay.port)
    assert b"XCLIENT" in t.say(b"EHLO front.shop.example\r\n")
    assert t.say(b"XCLIENT ADDR=127.0.0.5 HELO=mail.sender.example\r\n").startswith(b"220")
    t.say(b"EHLO front.shop.example\r\n")
    assert t.say(b"MAIL FROM:<%s>\r\n" % SENDER.encode()).startswith(b"250")
    assert t.say(b"RCPT TO:<%s>\r\n" % USER.encode()).startswith(b"250")
    chunked(t, mail.message(SENDER, USER))
    t.close()
    (m,) = world.store.wait(1)
    assert b"spf=pass" in m.data and b"[127.0.0.5]" in m.data
    assert b'client="127.0.0.5" helo="mail.sender.example"' in relay.log().encode()

    stranger = world.relay()
    t = Talk(stranger.port)
    assert b"XCLIENT" not in t.say(b"EHLO front.shop.example\r\n")
    assert t.say(b"XCLIENT ADDR=127.0.0.5\r\n").startswith(b"550 5.7.0")
    t.close()


def test_proxy_headers(world):
    """A listener behind a balancer: version 1 and 2; nobody else may speak there."""
    inner = free_port()
    relay = world.relay(top='trusted-relay = { "127.0.0.1" }',
                        more='listen "127.0.0.1:%d" { proxy = yes }' % inner)
    v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H4s4sHH", 12, bytes([127, 0, 0, 5]),
                                                      bytes([127, 0, 0, 1]), 4711, 25)
    for first in (b"PROXY TCP4 127.0.0.5 127.0.0.1 4711 25\r\n", v2):
        t = Talk(inner, first)
        assert t.banner.startswith(b"220"), t.banner
        t.say(b"EHLO mail.sender.example\r\n")
        assert t.say(b"MAIL FROM:<%s>\r\n" % SENDER.encode()).startswith(b"250")
        assert t.say(b"RCPT TO:<%s>\r\n" % USER.encode()).startswith(b"250")
        chunked(t, mail.message(SENDER, USER))
        t.close()
    got = world.store.wait(2)
    assert len(got) == 2 and all(b"spf=pass" in m.data for m in got)
    # from a unix socket: the balancer does not know the client, which is none of a client's fault
    unix = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8" + bytes(216)
    assert Talk(inner, unix).banner.startswith(b"220")
    assert Talk(inner, b"EHLO x\r\n").banner == b""
    assert Talk(inner, b"PROXY TCP4 127.0.0.5 127.0.0.1 1 25\r\n", source="127.0.0.7").banner == b""
    assert Talk(relay.port).banner.startswith(b"220")


def test_a_crowd_from_one_address_leaves_room_for_others(world):
    inner = free_port()
    relay = world.relay(top='trusted-relay = { "127.0.0.1" }\nconnections-per-address = 3\n'
                        "connections-per-network = 5\nrelays = 1",
                        more='listen "127.0.0.1:%d" { proxy = yes }' % inner)

    def come(ip):
        return Talk(inner, b"PROXY TCP4 %s 127.0.0.1 1 25\r\n" % ip)

    there = [come(b"192.0.2.1") for _ in range(3)]
    assert all(t.banner.startswith(b"220") for t in there)
    assert b"421 4.7.0" in come(b"192.0.2.1").banner
    there += [come(b"192.0.2.2"), come(b"192.0.2.3")]
    assert b"421 4.7.0" in come(b"192.0.2.4").banner
    there.append(come(b"198.51.100.1"))
    assert there[-1].banner.startswith(b"220")
    there[0].close()
    for _ in range(100):
        t = come(b"192.0.2.1")
        if t.banner.startswith(b"220"):
            break
    assert t.banner.startswith(b"220")
    assert sum(r.get("crowded_address", 0) for r in relay.roles("relay")) >= 1


def test_lmtp_in_answers_each_recipient(world):
    """RFC 2033: a front that hands mail to its store by LMTP can hand it to us."""
    port = free_port()
    relay = world.relay(more='listen "127.0.0.1:%d" { protocol = lmtp }' % port)
    data = mail.message(SENDER, USER, "lmtp")
    c = smtplib.LMTP("127.0.0.1", port, local_hostname="front.shop.example", timeout=20)
    c.ehlo_or_helo_if_needed()
    assert c.has_extn("chunking") and c.has_extn("pipelining")
    assert c.docmd("EHLO x")[0] == 500
    c.mail(SENDER)
    assert c.rcpt(USER)[0] == 250 and c.rcpt("nobody@shop.example")[0] == 550
    assert c.rcpt("anna@shop.example")[0] == 250
    first = c.data(data)
    second = c.getreply()
    assert first[0] == second[0] == 250, (first, second)
    assert first[1] == second[1]          # one message, kept once
    c.quit()
    relay.wait_balance(received=2, replayed=2)
    assert sorted(x.rcpts[0] for x in world.store.messages) == ["anna@shop.example", USER]
    assert b"with LMTP id" in world.store.messages[0].data
    relay.stop()
