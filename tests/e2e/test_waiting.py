# SPDX-License-Identifier: Apache-2.0
"""No evaluation waits for another (design 6): slow DNS costs its own sender time and nobody
else. Counted in messages that are under way at once, not in seconds."""
import asyncio
import socket
import threading

from tests.lib import mail
from tests.lib.dnsd import Dns

SESSIONS, USER = 500, "mario@shop.example"


class Gate(Dns):
    """Answers no question about an author before all authors were asked about."""

    def __init__(self, zones, count):
        self.seen, self.all, self.count, self.late = set(), threading.Event(), count, False
        super().__init__(zones)
        try:        # so that a burst of questions is not lost before it is counted
            self.udp.socket.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)      # SO_RCVBUFFORCE
        except OSError:
            pass

    def answer(self, data, tcp):
        name = b".".join(data[12:80].split(b"\0")[0:1])
        if b"author" in name and b"_dmarc" in name:
            self.seen.add(name)
            if len(self.seen) >= self.count:
                self.all.set()
            self.late |= not self.all.wait(60)
        return super().answer(data, tcp)


async def session(port, n, replies):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.5", 0))
    data = mail.message("a@a%d.author.example" % n, USER)

    async def reply():
        while True:
            line = await reader.readline()
            if line[3:4] != b"-":
                return line.decode()
    await reply()
    for line in ("EHLO mail.sender.example", "MAIL FROM:<news@sender.example>", "RCPT TO:<%s>" % USER):
        writer.write(line.encode() + b"\r\n")
        assert (await reply())[0] == "2"
    writer.write(b"BDAT %d LAST\r\n" % len(data) + data)
    replies.append(await reply())
    writer.write(b"QUIT\r\n")
    writer.close()


def test_five_hundred_evaluations_wait_side_by_side(world):
    world.dns.close()
    world.dns = gate = Gate(world.dns.zones, SESSIONS)
    relay = world.relay(top="dns-timeout = 10s\ndns-tries = 3\nevaluate-timeout = 90s")
    replies = []

    async def everybody():
        await asyncio.wait_for(asyncio.gather(*(session(relay.port, n, replies) for n in range(SESSIONS))), 100)
    # while they wait, a sender whose names are known is not kept waiting
    other = []

    def meanwhile():
        end = 600
        while len(gate.seen) < SESSIONS // 2 and end:
            end -= 1
            gate.all.wait(0.1)
        other.append((mail.send(relay.port, "news@sender.example", USER, mail.message("news@sender.example", USER))[0],
                      gate.all.is_set()))
    t = threading.Thread(target=meanwhile)
    t.start()
    asyncio.run(everybody())
    t.join(60)
    assert not gate.late and len(gate.seen) >= SESSIONS, len(gate.seen)
    assert len(replies) == SESSIONS and all(r.startswith("250") for r in replies), replies[:3]
    assert other[0][0] == 250
    relay.wait_balance(received=SESSIONS + 1, replayed=SESSIONS + 1, timeout=60)
