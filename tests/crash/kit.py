# SPDX-License-Identifier: Apache-2.0
"""What the crash tests share: messages that can be told again from their key, a
load that remembers what was acknowledged and how long each answer took, and the
reckoning at the end."""
import hashlib
import os
import random
import re
import socket
import threading
import time

from tests.lib import mail

LONG = os.environ.get("CRASH_LONG", "") not in ("", "0")
SEED = int(os.environ.get("CRASH_SEED", "20230123"))
SENDER = "news@sender.example"
USERS = ["mario@shop.example", "anna@shop.example"]
ANSWER_MAX = 5.0


def message(key):
    """The same bytes for the same key, whatever process asks: what arrives is
    compared with these. Sizes around what is written in one piece and what is not."""
    rng = random.Random("message " + key)
    size = rng.choice([1, 200, 900, 4000, 4000, 9000] + [70000] * (rng.random() < 0.05))
    line = hashlib.sha256(key.encode()).hexdigest().encode()
    body = b"".join(rng.choice([line, b".", b"..x", b"perch\xc3\xa9 " + line, b""]) + b"\r\n"
                    for _ in range(1 + size // 40))
    return (b"From: <%s>\r\nTo: <%s>\r\nSubject: key %s\r\nDate: Sun, 22 Jan 2023 10:00:00 +0100\r\n"
            b"Message-ID: <%s@sender.example>\r\n\r\n%s%s\r\n"
            % (SENDER.encode(), USERS[0].encode(), key.encode(), line[:16], body, line))


def recipients(key):
    return USERS if hashlib.sha256(key.encode()).digest()[0] < 32 else USERS[:1]


class Answer:
    __slots__ = ("key", "sent", "came", "code", "mark")

    def __init__(self, key, sent, came, code, mark):
        self.key, self.sent, self.came, self.code, self.mark = key, sent, came, code, mark


class Client:
    """SMTP by hand: every answer is timed."""

    def __init__(self, port, timeout):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout,
                                             source_address=("127.0.0.5", 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def reply(self):
        while True:
            line = self.file.readline(4096)
            if not line.endswith(b"\r\n"):
                raise ConnectionError("closed")
            if line[3:4] != b"-":
                return int(line[:3])

    def say(self, text):
        self.sock.sendall(text + b"\r\n")
        return self.reply()

    def close(self):
        self.file.close()
        self.sock.close()


class Load(threading.Thread):
    """Sends until told to stop. `mark()` is asked after each acknowledgement (the
    length of the write log, for instance)."""

    def __init__(self, port, name, pause=0.002, mark=lambda: 0, timeout=40):
        super().__init__(daemon=True)
        self.port, self.prefix, self.pause, self.mark, self.timeout = port, name, pause, mark, timeout
        self.answers, self.unknown, self.slow_commands, self.stopping = [], [], [], False

    def run(self):
        n = 0
        while not self.stopping:
            try:
                c = Client(self.port, self.timeout)
            except OSError:
                time.sleep(0.02)
                continue
            try:
                if c.reply() == 220 and c.say(b"EHLO mail.sender.example") == 250:
                    for _ in range(20):
                        n += 1
                        if self.stopping or not self.one(c, "%s-%d" % (self.prefix, n)):
                            break
                        time.sleep(self.pause)
                c.sock.sendall(b"QUIT\r\n")
            except OSError as e:
                if isinstance(e, TimeoutError):
                    self.slow_commands.append(("timeout", self.timeout))
                time.sleep(0.01)
            finally:
                c.close()

    def timed(self, c, text):
        began = time.monotonic()
        code = c.say(text)
        took = time.monotonic() - began
        if took > ANSWER_MAX:
            self.slow_commands.append((text[:4], took))
        return code

    def one(self, c, key):
        codes = [self.timed(c, b"MAIL FROM:<%s>" % SENDER.encode())]
        codes += [self.timed(c, b"RCPT TO:<%s>" % r.encode()) for r in recipients(key)]
        codes.append(self.timed(c, b"DATA"))
        if codes[-1] != 354 or max(codes[:-1]) >= 400:
            self.answers.append(Answer(key, time.monotonic(), time.monotonic(), max(codes), 0))
            time.sleep(0.05)
            return False
        data = message(key)
        stuffed = re.sub(rb"(?m)^\.", b"..", data)
        self.unknown.append(key)
        sent = time.monotonic()
        c.sock.sendall(stuffed + b".\r\n")
        code = c.reply()
        came = time.monotonic()
        self.answers.append(Answer(key, sent, came, code, self.mark() if code == 250 else 0))
        self.unknown.pop()
        if code != 250:
            time.sleep(0.05)
        return code < 500


class Loads:
    def __init__(self, port, n=3, name="", **kw):
        self.all = [Load(port, "%s%d" % (name, i), **kw) for i in range(n)]
        for one in self.all:
            one.start()

    def stop(self):
        for one in self.all:
            one.stopping = True
        for one in self.all:
            one.join(60)
        assert not any(one.is_alive() for one in self.all), "a client waits for ever"

    def answers(self):
        return [a for one in self.all for a in list(one.answers)]

    def acknowledged(self):
        return {a.key: a for a in self.answers() if a.code == 250}

    def check_answers(self, limit=ANSWER_MAX):
        refused = [(a.key, a.code) for a in self.answers() if a.code >= 500]
        assert not refused, "5xx for our own trouble (P2): %r" % refused[:3]
        late = [(a.key, a.code, round(a.came - a.sent, 2)) for a in self.answers()
                if a.came - a.sent > limit]
        assert not late, "answers after more than %.0f s: %r" % (limit, late[:5])
        slow = [s for one in self.all for s in one.slow_commands]
        assert not slow, "commands without an answer in time: %r" % slow[:5]

    def slowest(self):
        return max([a.came - a.sent for a in self.answers()] or [0])


class Tally:
    """Of deliveries (one recipient each) against what was acknowledged. `forward`: these
    are the copies to the recovery addresses, with a return path of ours."""

    def __init__(self, messages, acknowledged, forward=False):
        self.copies, self.corrupt, self.strange = {}, [], []
        for m in messages:
            found = re.search(rb"\r\nSubject: key ([0-9A-Za-z.-]+)\r\n", m.data)
            key = found.group(1).decode() if found else None
            if key is None or not mail.below_trace(m.data, message(key)):
                self.corrupt.append(m)
                continue
            for r in m.rcpts:
                self.copies.setdefault((key, r), []).append(m)
                if forward:
                    good = m.mail_from.endswith("@fwd.relay.example") and r in [
                        u.replace("@shop.", "@recovery.") for u in recipients(key)]
                else:
                    good = m.mail_from == SENDER and r in recipients(key)
                if not good:
                    self.strange.append((key, r))
        self.wanted = {(k, r) for k in acknowledged for r in recipients(k)}
        self.lost = sorted(self.wanted - set(self.copies))
        self.unacknowledged = len(set(self.copies) - self.wanted)
        self.distinct = len(self.copies)
        self.duplicates = sum(len(v) - 1 for v in self.copies.values())

    def check(self):
        assert not self.lost, "%d of %d acknowledged deliveries lost: %r" % (
            len(self.lost), len(self.wanted), self.lost[:5])
        assert not self.corrupt, "%d damaged deliveries" % len(self.corrupt)
        assert not self.strange, "deliveries to somebody else: %r" % self.strange[:5]
        return self

    def __str__(self):
        return "acknowledged %d, delivered %d, duplicates %d, unacknowledged %d, lost %d" % (
            len(self.wanted), self.distinct, self.duplicates, self.unacknowledged, len(self.lost))


def identity(b):
    """P7."""
    return b["received"] == (b["replayed"] + b["bounced"] + b["dropped"] + b["forwarded_only"] +
                             b["held"])


def wait_for(what, timeout, text):
    end = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < end, "not within %.0f s: %s" % (timeout, text)
        time.sleep(0.02)


def accepts(port, key, within):
    """Seconds until a message is acknowledged; its key is then known to be safe."""
    began, tries = time.monotonic(), 0
    while time.monotonic() - began < within:
        tries += 1
        one = Load(port, "%s.%d" % (key, tries), timeout=max(0.1, within))
        try:
            c = Client(port, within)
            c.reply()
            c.say(b"EHLO mail.sender.example")
            one.one(c, one.prefix)
            c.close()
        except OSError:
            pass
        if one.answers and one.answers[0].code == 250:
            return time.monotonic() - began, one.prefix
        time.sleep(0.05)
    raise AssertionError("nothing accepted within %.1f s" % within)
