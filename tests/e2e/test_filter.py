# SPDX-License-Identifier: Apache-2.0
"""Content filters: Debian's rspamd as a milter. What it refuses is refused at the end of
data, what it calls spam is held for the primary and not forwarded (spec 6.9, 10.2 T1)."""
import socket
import struct
import threading

import pytest

from tests.lib import mail
from tests.lib.rspamd import GTUBE, SPAM, RspamdMilter

SENDER, USER = "news@sender.example", "mario@shop.example"
MILTER = """milter "rspamd" {
    address = "inet:127.0.0.1:%d"
    on-failure = %s
}
"""


@pytest.fixture
def rspamd(world):
    r = RspamdMilter(world.folder, world.dns.port)
    yield r
    r.close()


def filters(relay):
    return relay.roles("relay")[0]["filters"]


def send(relay, body, user=USER):
    return mail.send(relay.port, SENDER, user, mail.message(SENDER, user, body=body))


def test_spec_6_9_rspamd_refuses_and_marks(world, rspamd):
    """GTUBE gets 5xx; what is marked as spam is held, not forwarded, and reaches the primary
    with rspamd's mark above bytes that did not change; clean mail is forwarded as ever."""
    relay = world.relay(more=MILTER % (rspamd.port, "tempfail"))
    relay.failover("on")
    world.down()
    code, text = send(relay, GTUBE)
    assert code == 554 and b"Gtube" in text, (code, text, rspamd.log())
    spam = mail.message(SENDER, USER, body=SPAM)
    code, text = mail.send(relay.port, SENDER, USER, spam)
    assert code == 250, (code, text, rspamd.log())
    assert send(relay, b"ciao\r\n", "anna@shop.example")[0] == 250
    assert [m.rcpts for m in world.recovery.wait(1)] == [["anna@recovery.example"]]
    f = filters(relay)
    assert (f["asked"], f["refused"], f["held"], f["failed"]) == (3, 1, 1, 0), f
    listed = relay.command("queue", "list", "--limit", "10")
    shown = [m for m in listed["messages"] if "mario" in str(m)]
    assert shown, listed
    relay.failover("off")
    world.up()
    got = [m for m in world.store.wait(2) if USER in m.rcpts]
    assert len(got) == 1 and got[0].data.endswith(spam), got[0].data
    trace = got[0].data[:-len(spam)]
    assert b"\r\nX-Spam: Yes\r\n" in trace, trace
    assert world.recovery.to("mario@recovery.example") == []
    relay.stop()


def test_spec_6_5_a_failure_under_p_none_needs_a_clean_word(world, rspamd):
    """DMARC fails under p=none: held, unless a spam filter saw the message and found none; then
    it goes in the lowest class. A filter that judges something else, or is away, says nothing."""
    stranger = "127.0.0.6"
    world.dns.set("_dmarc.sender.example", {"TXT": ["v=DMARC1; p=none"]})
    world.dns.set("strict.example", {"TXT": ["v=spf1 -all"]})
    world.dns.set("_dmarc.strict.example", {"TXT": ["v=DMARC1; p=quarantine"]})
    judge = MILTER.replace("%s", "accept\n    spam-filter = yes") % rspamd.port
    relay = world.relay(more=judge)
    relay.failover("on")
    world.down()

    def one(n, reason, klass, sender=SENDER, body=b"ciao\r\n"):
        data = mail.message(sender, USER, body=body)
        assert mail.send(relay.port, sender, USER, data, source=stranger)[0] == 250
        relay.wait_balance(received=n, forward_waiting=0)
        listed = relay.command("queue", "list", "--domain", "shop.example")["messages"]
        last = max(listed, key=lambda m: (m["received"], m["id"]))
        m = relay.command("queue", "show", last["id"])["message"]
        assert (m["dmarc"], m["reason"], m["class"]) == ("fail", reason, klass)
        return data
    data = one(1, "dmarc-fail-clean", 3)
    assert mail.below_trace(world.recovery.wait(1)[0].data, data)
    one(2, "milter", 2, body=SPAM)
    one(3, "dmarc-quarantine", 2, sender="news@strict.example")
    relay.stop()
    relay.write_conf(more=MILTER % (rspamd.port, "accept"))
    relay.start()
    one(4, "dmarc-fail", 2)
    rspamd.close()
    relay.stop()
    relay.write_conf(more=judge)
    relay.start()
    one(5, "dmarc-fail", 2)
    assert len(world.recovery.messages) == 1
    relay.stop()


def test_filter_gone(world, rspamd):
    """Without the filter mail is taken as if it had found nothing, or put off, as configured."""
    relay = world.relay(more=MILTER % (rspamd.port, "tempfail"))
    relay.failover("on")
    assert send(relay, b"ciao\r\n")[0] == 250
    rspamd.close()
    code, text = send(relay, b"ciao\r\n")
    assert code == 451 and b"content filter" in text
    assert filters(relay)["failed"] == 1
    relay.stop()
    relay.write_conf(more=MILTER % (rspamd.port, "accept"))
    relay.start()
    assert send(relay, b"ciao\r\n")[0] == 250
    assert filters(relay)["failed"] == 1
    assert world.recovery.wait(2)[1].rcpts == ["mario@recovery.example"]
    assert "filter-failed" in relay.log()
    relay.stop()


class Listener(threading.Thread):
    """A milter that lets everything pass and keeps the macros of each connection."""

    def __init__(self):
        super().__init__(daemon=True)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port, self.seen = self.server.getsockname()[1], []
        self.start()

    def run(self):
        while True:
            try:
                s, _ = self.server.accept()
            except OSError:
                return
            with s, s.makefile("rb") as f:
                self.talk(s, f)

    def talk(self, s, f):
        macros = {}
        while True:
            head = f.read(4)
            if len(head) < 4:
                break
            packet = f.read(struct.unpack(">I", head)[0])
            kind, body = packet[:1], packet[1:]
            if kind == b"O":        # everything is wanted, every step is answered
                s.sendall(struct.pack(">I", 13) + b"O" + struct.pack(">III", 6, 0, 0))
            elif kind == b"D":
                words = body[1:].split(b"\0")
                macros.update(zip(words[::2], words[1::2]))
            elif kind == b"C":
                macros["connect"] = body.split(b"\0")[0]
                s.sendall(b"\0\0\0\1c")
            elif kind == b"E":      # once it is answered the message goes on
                self.seen.append(macros)
                s.sendall(b"\0\0\0\1c")
            elif kind != b"Q":
                s.sendall(b"\0\0\0\1c")


def test_filters_hear_who_the_client_is(world):
    """Its name by DNS, if the name has that address: of the client a front server names, too."""
    world.dns.set("8.0.0.127.in-addr.arpa", {"PTR": ["mail.sender.example."]})
    milter = Listener()
    relay = world.relay(top='trusted-relay = { "127.0.0.9" }', more=MILTER % (milter.port, "tempfail"))
    known, unknown = b"mail.sender.example", b"unknown"
    for source, name in (("127.0.0.5", known), ("127.0.0.6", unknown), ("127.0.0.8", unknown), ("127.0.0.5", known)):
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER), source=source)[0] == 250
        got = milter.seen.pop()
        assert got["connect"] == got[b"{client_name}"] == name, (source, got)
        assert got[b"{client_addr}"] == source.encode()
        assert got[b"_"] == name + b" [" + source.encode() + b"]"
    c = mail.smtplib.SMTP("127.0.0.1", relay.port, timeout=20, source_address=("127.0.0.9", 0))
    c.ehlo()
    assert c.docmd("XCLIENT", "ADDR=127.0.0.5 HELO=mail.sender.example")[0] == 220
    c.ehlo()
    c.sendmail(SENDER, USER, mail.message(SENDER, USER))
    c.quit()
    got = milter.seen.pop()
    assert (got[b"{client_name}"], got[b"{client_addr}"]) == (known, b"127.0.0.5"), got
    milter.server.close()
    relay.wait_balance(received=5)
    relay.stop()
