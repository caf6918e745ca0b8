# SPDX-License-Identifier: Apache-2.0
"""Jumps of the wall clock by years, either way, running and over restarts, end nothing
(design 5: expiry by age and attempts on the monotonic clock)."""
import os
import struct
import subprocess

from tests.crash.kit import identity
from tests.lib import mail
from tests.lib import relay as relay_lib

YEAR = 365 * 86400 * 1000


class WallClock:
    """clock.so in every role; `jump` moves their wall clock."""

    def __init__(self, folder):
        self.path = os.path.join(str(folder), "clock.page")
        build = os.path.dirname(os.path.abspath(relay_lib.BINARY))
        self.so = os.path.join(build, "tests/crash/clock.so")
        subprocess.run(["make", "-s", "O=" + build, self.so], cwd=relay_lib.ROOT, check=True,
                       stdout=subprocess.DEVNULL)
        self.jump(0)
        os.chmod(self.path, 0o644)

    def jump(self, ms):
        """`ms` from the real time."""
        mode = "r+b" if os.path.exists(self.path) else "wb"
        with open(self.path, mode) as f:
            f.write(struct.pack("<q", ms))

    def start(self, relay):
        os.environ.update(LD_PRELOAD=self.so, CLOCK_CONTROL=self.path)
        try:
            relay.start(wait=False)
        finally:
            del os.environ["LD_PRELOAD"], os.environ["CLOCK_CONTROL"]
        relay.wait_ready()


def send(relay, n):
    code, text = mail.send(relay.port, "news@sender.example", "mario@shop.example",
                           mail.message("news@sender.example", "mario@shop.example", "n%d" % n))
    assert code == 250, text


def test_jumps_of_the_wall_clock_bounce_nothing(world):
    world.down()
    world.up(script=lambda stage, arg: "451 4.2.1 later" if stage == "rcpt" else None)
    relay = world.relay(start=False, top="hold-retention = 1h\nretention-attempts = 1\nforward-ttl = 1h\n")
    clock = WallClock(relay.folder)
    clock.start(relay)
    sent = 0
    # Standby: the primary puts all of it off, each leg has its attempts.
    for shift in (0, 3 * YEAR, -4 * YEAR):
        clock.jump(shift)
        send(relay, sent)
        sent += 1
    for shift in (2 * YEAR, -2 * YEAR):
        relay.stop()
        clock.jump(shift)
        clock.start(relay)
        send(relay, sent)
        sent += 1
    clock.jump(-5 * YEAR)
    b = relay.wait_balance(received=sent, held=sent, bounced=0)
    # Failover: legs that are added and mail that comes now go out to the recovery host.
    relay.failover("on")
    clock.jump(6 * YEAR)
    send(relay, sent)
    sent += 1
    b = relay.wait_balance(received=sent, held=sent, forwarded=sent)
    assert identity(b) and b["bounced"] == 0 and b["forward_failed"] == 0
    relay.stop()
    clock.jump(-1 * YEAR)
    world.down()
    world.up()
    clock.start(relay)
    relay.failover("off")
    b = relay.wait_balance(received=sent, replayed=sent, held=0)
    assert identity(b) and b["bounced"] == 0
    assert "clock-jump" in relay.log()
