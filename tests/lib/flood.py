#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile clients in a process of their own, against a listener on loopback:

    flood.py KIND PORT COUNT SECONDS

KIND: idle (says nothing), command (a byte of a command now and then), mail (a sender, and again,
and never a message), data (a byte of a message now and then), tls (a handshake that is never
begun), storm (connects, says EHLO, leaves), reset (the same, leaving with a reset). Whoever is
sent away comes again, but for mail. Prints "ready" when COUNT are there or all were tried once,
with mail a second later; ends by itself after SECONDS."""
import resource
import selectors
import socket
import struct
import sys
import time

TURN, NEW_PER_TURN = 0.05, 250
MAIL = b"MAIL FROM:<a@flood.example>\r\n"
DATA = (b"EHLO flood.example\r\nMAIL FROM:<a@flood.example>\r\nRCPT TO:<mario@shop.example>\r\nDATA\r\n"
        b"Subject: slow\r\n\r\n")


class Client:
    def __init__(self, kind, port):
        self.kind = kind
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.connect_ex(("127.0.0.1", port))
        self.todo = {"command": b"EHLO flood.example.with.a.long.name", "data": DATA,
                     "mail": b"EHLO flood.example\r\n" + MAIL,
                     "tls": b"EHLO flood.example\r\nSTARTTLS\r\n\x16\x03"}.get(kind, b"")
        self.greeted = False

    def readable(self):
        """False when the server has closed."""
        try:
            got = self.sock.recv(4096)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if got and not self.greeted:
            self.greeted = True
            if self.kind in ("data", "mail", "tls"):
                self.send(self.todo)
        return bool(got)

    def send(self, what):
        try:
            self.sock.send(what)
        except OSError:
            pass

    def trickle(self):
        if self.kind == "command" and self.todo:
            self.send(self.todo[:1])
            self.todo = self.todo[1:]
        elif self.kind == "data":
            self.send(b"x")
        elif self.kind == "mail":
            self.send(b"RSET\r\n" + MAIL)


def hold(kind, port, count, seconds):
    end, ready, full, turn = time.monotonic() + seconds, False, 0, 0
    sel, clients, tried = selectors.DefaultSelector(), [], 0
    while time.monotonic() < end:
        there = tried if kind == "mail" else len(clients)
        for _ in range(min(NEW_PER_TURN, count - there)):
            c = Client(kind, port)
            tried += 1
            sel.register(c.sock, selectors.EVENT_READ, c)
            clients.append(c)
        closed = set()
        for key, _ in sel.select(TURN):
            if not key.data.readable():
                closed.add(key.data)
                sel.unregister(key.fileobj)
                key.fileobj.close()
        if closed:
            clients = [c for c in clients if c not in closed]
        turn += 1
        every = 20 if kind == "mail" else 40    # each one about every second, or two
        for c in clients[turn % every::every]:
            c.trickle()
        if len(clients) >= count or tried >= count:
            full = full or turn
        if not ready and full and turn >= full + (20 if kind == "mail" else 0):
            ready = True
            print("ready", flush=True)


def storm(kind, port, count, seconds):
    end = time.monotonic() + seconds
    print("ready", flush=True)
    while time.monotonic() < end and count > 0:
        group = [socket.socket() for _ in range(50)]
        for s in group:
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
        for s in group:
            try:
                s.send(b"EHLO flood.example\r\n")
            except OSError:
                pass
            if kind == "reset":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        count -= len(group)


def main():
    kind, port, count, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    (storm if kind in ("storm", "reset") else hold)(kind, port, count, seconds)


if __name__ == "__main__":
    main()
