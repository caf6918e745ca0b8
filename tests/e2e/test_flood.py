# SPDX-License-Identifier: Apache-2.0
"""A normal client is served while thousands of hostile ones hold on, memory stays bounded, and
everything is as before when they are gone. Bounded in count and time; FLOOD_SECONDS lengthens
each flood."""
import os
import re
import smtplib
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.lib import flood, mail
from tests.lib.relay import children

SENDER, USER = "news@sender.example", "mario@shop.example"
SECONDS = float(os.environ.get("FLOOD_SECONDS", "4"))
MEMORY_MIB, SERVED_S, SERVED_SHARE = 256, 2.0, 0.99


def bodies(pid):
    """Bytes of the memfds a process holds, by inode: messages are in nobody's address space."""
    found = {}
    for fd in os.listdir("/proc/%d/fd" % pid):
        path = "/proc/%d/fd/%s" % (pid, fd)
        try:
            if os.readlink(path).startswith("/memfd:"):
                st = os.stat(path)
                found[st.st_ino] = st.st_blocks * 512
        except FileNotFoundError:
            pass
    return found


def memory_mib(pid):
    """Of all roles and the supervisor, shared pages counted once, and of all messages."""
    total, memfds = 0, {}
    for p in [pid] + children(pid):
        with open("/proc/%d/smaps_rollup" % p) as f:
            total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
        memfds.update(bodies(p))
    return total / 1024 + sum(memfds.values()) / 1048576


def deliver(port):
    """A whole session of a normal client: seconds it took, or None when it was not served."""
    began = time.monotonic()
    try:
        c = smtplib.SMTP("127.0.0.1", port, local_hostname="mail.sender.example", timeout=10,
                         source_address=("127.0.0.5", 0))
        ok = c.sendmail(SENDER, [USER], mail.message(SENDER, USER)) == {}
        c.quit()
    except (smtplib.SMTPException, OSError):
        return None
    return time.monotonic() - began if ok else None


class Served(threading.Thread):
    """Delivers one message after the other, for as long as the block of `with` lasts; then says
    whether that was service, in what memory, and whether all is well a second later."""

    def __init__(self, relay, name):
        super().__init__(daemon=True)
        self.relay, self.what, self.over = relay, name, threading.Event()
        self.times, self.peak = [], 0

    def run(self):
        while not self.over.is_set():
            self.times.append(deliver(self.relay.port))
            self.peak = max(self.peak, memory_mib(self.relay.process.pid))
            self.over.wait(0.02)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.over.set()
        self.join(30)
        if kind is None:
            self.check()

    def check(self):
        good = [t for t in self.times if t is not None and t < SERVED_S]
        print("%s: %d of %d served, slowest %.2f s, peak %.0f MiB" % (
            self.what, len(good), len(self.times), max(good, default=0), self.peak))
        assert len(self.times) >= 10
        assert len(good) >= SERVED_SHARE * len(self.times), self.times
        assert self.peak < MEMORY_MIB
        end = time.monotonic() + 1
        took = deliver(self.relay.port)
        assert took is not None and time.monotonic() < end, took

    def delivered(self):
        """Messages that have got their 250, the one after the flood included."""
        return len([t for t in self.times if t is not None]) + 1


@pytest.mark.parametrize("kind,count", [("idle", 5000), ("command", 5000), ("mail", 1000), ("data", 5000),
                                        ("tls", 5000), ("storm", 100000), ("reset", 100000)])
def test_a_normal_client_is_served_during_a_flood(world, kind, count):
    cert, key = mail.certificate(world.folder, "mx2.relay.example")
    relay = world.relay(top='sessions-max = %d\ntls-cert-file = "%s"\ntls-key-file = "%s"' % (
        min(count, 5000), cert, key))       # they can have them all
    attack = subprocess.Popen([sys.executable, flood.__file__, kind, str(relay.port), str(count),
                               str(SECONDS + 3)], stdout=subprocess.PIPE, text=True)
    assert attack.stdout.readline() == "ready\n"
    with Served(relay, kind) as served:
        assert attack.wait(SECONDS + 60) == 0
    relay.wait_balance(received=served.delivered())
    relay.stop()


class Raw:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), 60)
        self.file = self.sock.makefile("rb")
        self.reply()

    def reply(self):
        while True:
            line = self.file.readline()
            if line[3:4] != b"-":
                return line

    def say(self, *lines):
        out = b""
        for line in lines:
            self.sock.sendall(line + b"\r\n")
            out = self.reply()
        return out

    def begin(self):
        return self.say(b"EHLO c", b"MAIL FROM:<a@sender.example>", b"RCPT TO:<mario@shop.example>",
                        b"DATA")


def again(attack):
    """The attack, over and over while the time of a flood lasts; at least once."""
    end, n = time.monotonic() + SECONDS, 0
    while n == 0 or time.monotonic() < end:
        attack()
        n += 1
    return n


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
def test_ten_thousand_recipients(world, known):
    """Whoever guesses is sent away, errors not slowed down here; whoever has too many for one
    message is told to come back with the rest."""
    users = world.USERS + (["u%d@shop.example," % i for i in range(10000)] if known else [])
    relay = world.relay(top="tarpit-delay = 0s", users=users)
    names = b"".join(b"RCPT TO:<u%d@shop.example>\r\n" % i for i in range(10000))

    def attack():
        r = Raw(relay.port)
        r.say(b"EHLO c", b"MAIL FROM:<a@sender.example>")
        r.sock.settimeout(30)
        sender = threading.Thread(target=push, args=(r.sock, names), daemon=True)
        sender.start()
        answers = []
        while len(answers) < 10000 and not (answers and answers[-1][:3] in (b"", b"421")):
            try:
                answers.append(r.file.readline())
            except ConnectionResetError:      # our names were on their way when it closed
                answers.append(b"")
        r.sock.close()
        sender.join(30)
        if known:
            assert [a[:3] for a in answers[:4998]] == [b"250"] * 100 + [b"452"] * 4898
            assert answers[4998].startswith(b"421")     # EHLO and MAIL were commands as well
        else:
            assert answers[0].startswith(b"550 5.1.1")
            assert len(answers) <= 202

    with Served(relay, "recipients") as served:
        again(attack)
    relay.wait_balance(received=served.delivered())
    relay.stop()


def push(sock, what):
    try:
        sock.sendall(what)
    except OSError:
        pass      # sent away in the middle, rightly


def test_an_endless_header(world):
    """Refused when it is over, in bounded memory."""
    relay = world.relay()
    line = b"X-More: " + b"y" * 900 + b"\r\n"

    def attack():
        header = Raw(relay.port)
        assert header.begin().startswith(b"354")
        for _ in range(64):
            header.sock.sendall(line * 1024)      # 58 MB in all
        assert header.say(b".").startswith(b"552 5.3.4")
        header.sock.close()

    with Served(relay, "header"):
        again(attack)
    relay.stop()


def test_a_gigabyte(world):
    """Refused when it is over; until then it takes no more than the largest message."""
    relay = world.relay()
    block = (b"z" * 998 + b"\r\n") * 4096      # 4 MB

    def attack():
        big = Raw(relay.port)
        assert big.begin().startswith(b"354")
        big.sock.sendall(b"Subject: big\r\n\r\n")
        for _ in range(256):
            big.sock.sendall(block)
        assert big.say(b".").startswith(b"552 5.3.4")
        big.sock.close()

    with Served(relay, "gigabyte"):
        again(attack)
    relay.stop()


def test_deep_mime(world):
    """Ten thousand multiparts inside each other, again and again: kept and handed on like any
    other mail."""
    relay = world.relay()
    depth = 10000
    data = (b"From: <a@sender.example>\r\nTo: <mario@shop.example>\r\nSubject: deep\r\n"
            b"MIME-Version: 1.0\r\n")
    for i in range(depth):
        data += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i)
    data += b"Content-Type: text/plain\r\n\r\nciao\r\n"

    def attack():
        assert mail.send(relay.port, SENDER, USER, data)[0] == 250

    with Served(relay, "mime") as served:
        n = again(attack)
    relay.wait_balance(received=served.delivered() + n, replayed=served.delivered() + n)
    deep = [m.data for m in world.store.messages if b"Subject: deep" in m.data]
    assert len(deep) == n and all(mail.below_trace(d, data) for d in deep)
    relay.stop()
