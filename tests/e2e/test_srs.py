# SPDX-License-Identifier: Apache-2.0
"""SRS beside Debian's postsrsd and Mail::SRS, all three under one fixed clock (spec 1.2, 14.1):
the same addresses come out, and each takes back what the others made."""
import os
import random
import signal
import socket
import subprocess
import time
import urllib.parse

import pytest

from tests.lib.ports import free_port

SECRET, DOMAIN = "correct-horse-battery", "fwd.relay.example"
DAY = 20000                         # 2024-10-04
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
PERL = r"""
use Mail::SRS; $| = 1; my ($secret, $n, $domain) = @ARGV;
my $srs = Mail::SRS->new(Secret => $secret, HashLength => $n, HashMin => $n, MaxAge => 21, Separator => '=');
while (<STDIN>) { chomp; my ($what, $addr) = split / /, $_, 2;
    my $out = eval { $what eq 'F' ? $srs->forward($addr, $domain) : $srs->reverse($addr) };
    print defined $out ? "$out\n" : "-\n"; }
"""


def clock(day):
    return dict(os.environ, LD_PRELOAD=FAKETIME, FAKETIME="@" + time.strftime(
        "%Y-%m-%d %H:%M:%S", time.gmtime(day * 86400 + 43200)), TZ="UTC", FAKETIME_DONT_FAKE_MONOTONIC="1")


class Postsrsd:
    def __init__(self, folder, n, day=DAY):
        secret = os.path.join(folder, "postsrsd.secret")
        with open(secret, "w") as f:
            f.write(SECRET + "\n")
        self.ports = [free_port(), free_port()]
        self.process = subprocess.Popen(
            ["/usr/sbin/postsrsd", "-4", "-s" + secret, "-d" + DOMAIN, "-n%d" % n, "-N%d" % n,
             "-l127.0.0.1", "-f%d" % self.ports[0], "-r%d" % self.ports[1]], env=clock(day),
            stderr=subprocess.DEVNULL)
        self.files = [self.open(p) for p in self.ports]

    @staticmethod
    def open(port):
        end = time.monotonic() + 10
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), 5).makefile("rwb")
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.05)

    def ask(self, which, address):
        f = self.files[which]
        f.write(b"get " + urllib.parse.quote(address, safe="@=+-._/").encode() + b"\n")
        f.flush()
        code, _, text = f.readline().decode().strip().partition(" ")
        return urllib.parse.unquote(text) if code == "200" else None

    def close(self):
        for f in self.files:
            f.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


class Perl:
    def __init__(self, n, day=DAY):
        self.process = subprocess.Popen(["perl", "-e", PERL, SECRET, str(n), DOMAIN], env=clock(day), text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1)

    def ask(self, which, address):
        self.process.stdin.write("FR"[which] + " " + address + "\n")
        self.process.stdin.flush()
        out = self.process.stdout.readline().rstrip("\n")
        return None if out == "-" else out

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


def senders(r, n):
    """Plain ones, ESP tokens, other forwarders' SRS0 and SRS1, of lengths that fit."""
    def word(low, high, letters="abcdefghijklmnopqrstuvwxyzABCXYZ0123456789"):
        return "".join(r.choice(letters) for _ in range(r.randrange(low, high)))
    out = []
    while len(out) < n:
        host = ".".join([word(1, 6)] * r.randrange(1, 3) + ["example", r.choice(["com", "NET", "it"])][:2])
        local = r.choice([
            lambda: word(1, 12), lambda: word(1, 5) + "." + word(1, 5), lambda: word(1, 4) + "+" + word(1, 4) + "=" + word(1, 4),
            lambda: word(1, 4) + "_/#!$%&'*?^`{|}~-" + word(1, 3), lambda: "=" + word(1, 5), lambda: word(1, 5) + "=",
            lambda: "SRS0" + r.choice("=+-") + word(4, 5) + "=" + word(2, 3) + "=orig.example=" + word(1, 5),
            lambda: "srs0=" + word(4, 5) + "=" + word(2, 3) + "=orig.example=" + word(1, 5),
            lambda: "SRS1" + r.choice("=+-") + word(4, 5) + "=hop.example=" + r.choice("=+-") + word(4, 5) + "=AA=o.example=" + word(1, 4),
        ])()
        out.append(local + "@" + host)
    return out


@pytest.mark.parametrize("n", [4, 8])
def test_spec_1_2_srs_is_that_of_postsrsd_and_mail_srs(world, n):
    relay = world.relay(start=False, users=None, forwarder="hash-length = %d\n    hash-min = %d\n"
                        "    alphabet = base64" % (n, min(n, 8)))

    def ours(verb, address, day=DAY):
        r = relay.command("srs", verb, address, "--day", str(day), check=False)
        return None if r.returncode else __import__("json").loads(r.stdout).get("answer")

    peers = [Postsrsd(relay.folder, n), Perl(n)]
    wrong = []
    try:
        for address in senders(random.Random(n), 60):
            mine = ours("encode", address)
            made = [p.ask(0, address) for p in peers]
            back = [p.ask(1, mine) if mine else None for p in peers]
            mine_back = [ours("decode", m) if m else None for m in made]
            if mine is None:            # over 64 octets: opaque instead, 1.3.2
                assert len(made[0].split("@")[0]) > 64, address
                continue
            # RFC-wise the tag of a foreign SRS address has no case; peers differ in what
            # they keep of it
            if any(m is None or m.lower() != mine.lower() for m in made):
                wrong.append((address, mine, made))
            if any(b is None for b in back) or len({b.lower() for b in back + mine_back if b}) != 1:
                wrong.append(("back", mine, back, mine_back))
    finally:
        for p in peers:
            p.close()
    assert not wrong, "%d: %r" % (len(wrong), wrong[:5])


def test_spec_1_2_9_ages_are_judged_alike(world):
    """0 to 21 days are taken, 22 is not; a day in the future by us alone; the cycle wraps."""
    relay = world.relay(start=False, users=None, forwarder="hash-length = 4\n    hash-min = 4\n    alphabet = base64")
    for made, today, mine, theirs in ((DAY, DAY, 1, 1), (DAY - 21, DAY, 1, 1), (DAY - 22, DAY, 0, 0),
                                      (DAY + 1, DAY, 1, 0), (DAY + 2, DAY, 0, 0),
                                      (20479, 20480, 1, 1), (20458, 20480, 0, 0)):
        address = relay.command("srs", "encode", "mario.rossi@example.com", "--day", str(made))["answer"]
        r = relay.command("srs", "decode", address, "--day", str(today), check=False)
        peers = [Postsrsd(relay.folder, 4, today), Perl(4, today)]
        try:
            got = [p.ask(1, address) is not None for p in peers]
        finally:
            for p in peers:
                p.close()
        assert (r.returncode == 0, got[0]) == (bool(mine), bool(theirs)), (made, today, r.stdout, got)
        assert got[1] == bool(theirs) or (made - today) in (1, 2), (made, today, got)
