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
import time

import pytest

from tests.lib import flood, mail
from tests.lib.relay import children

SENDER, USER = "news@sender.example", "mario@shop.example"
SECONDS = float(os.environ.get("FLOOD_SECONDS", "4"))
MEMORY_MIB, SERVED_S, SERVED_SHARE = 256, 2.0, 0.99


def pss_mib(pid):
    total = 0
    for p in [pid] + children(pid):
        with open("/proc/%d/smaps_rollup" % p) as f:
            total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
    return total / 1024


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


def serve_during(relay, attack):
    """Delivers one message after the other while `attack` runs; the times and the peak memory."""
    times, peak = [], 0
    assert attack.stdout.readline() == "ready\n"
    while attack.poll() is None:
        times.append(deliver(relay.port))
        peak = max(peak, pss_mib(relay.process.pid))
        time.sleep(0.02)
    assert attack.returncode == 0
    return times, peak


@pytest.mark.parametrize("kind,count", [("idle", 5000), ("command", 5000), ("data", 5000),
                                        ("storm", 100000), ("reset", 100000)])
def test_a_normal_client_is_served_during_a_flood(world, kind, count):
    relay = world.relay()
    attack = subprocess.Popen([sys.executable, flood.__file__, kind, str(relay.port), str(count),
                               str(SECONDS + 3)], stdout=subprocess.PIPE, text=True)
    times, peak = serve_during(relay, attack)
    good = [t for t in times if t is not None and t < SERVED_S]
    print("%s: %d of %d served, slowest %.2f s, peak %.0f MiB" % (
        kind, len(good), len(times), max(good, default=0), peak))
    assert len(times) >= 10
    assert len(good) >= SERVED_SHARE * len(times), times
    assert peak < MEMORY_MIB
    end = time.monotonic() + 1
    took = deliver(relay.port)
    assert took is not None and time.monotonic() < end, took
    relay.wait_balance(received=len([t for t in times if t is not None]) + 1)
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


def test_ten_thousand_recipients(world):
    relay = world.relay(top="tarpit-delay = 0s")
    r = Raw(relay.port)
    r.say(b"EHLO c", b"MAIL FROM:<a@sender.example>")
    names = b"".join(b"RCPT TO:<u%d@shop.example>\r\n" % i for i in range(10000))
    r.sock.settimeout(5)
    answers = []
    try:
        r.sock.sendall(names)
    except OSError:
        pass      # sent away in the middle, rightly
    while answers[-1:] != [b""] and not (answers and answers[-1].startswith(b"421")):
        answers.append(r.file.readline())
    assert answers[0].startswith(b"550 5.1.1")
    assert len(answers) <= 202
    assert deliver(relay.port) is not None
    relay.stop()


def test_an_endless_header_and_a_gigabyte(world):
    """Refused when it is over, in bounded memory; others are served meanwhile."""
    relay = world.relay()
    header = Raw(relay.port)
    assert header.begin().startswith(b"354")
    line, peak = b"X-More: " + b"y" * 900 + b"\r\n", 0
    for _ in range(64):
        header.sock.sendall(line * 1024)      # 58 MB in all
        peak = max(peak, pss_mib(relay.process.pid))
    assert header.say(b".").startswith(b"552 5.3.4")
    big = Raw(relay.port)
    assert big.begin().startswith(b"354")
    block, served = (b"z" * 998 + b"\r\n") * 4096, []      # 4 MB
    big.sock.sendall(b"Subject: big\r\n\r\n")
    for i in range(256):
        big.sock.sendall(block)
        if i % 64 == 0:
            served.append(deliver(relay.port))
            peak = max(peak, pss_mib(relay.process.pid))
    assert big.say(b".").startswith(b"552 5.3.4")
    assert all(t is not None and t < SERVED_S for t in served), served
    assert peak < MEMORY_MIB
    relay.stop()


def test_deep_mime(world):
    """Ten thousand multiparts inside each other: kept and handed on like any other mail."""
    relay = world.relay()
    depth = 10000
    data = (b"From: <a@sender.example>\r\nTo: <mario@shop.example>\r\nSubject: deep\r\n"
            b"MIME-Version: 1.0\r\n")
    for i in range(depth):
        data += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (i, i)
    data += b"Content-Type: text/plain\r\n\r\nciao\r\n"
    assert mail.send(relay.port, SENDER, USER, data)[0] == 250
    assert mail.below_trace(world.store.wait(1)[0].data, data)
    relay.stop()
