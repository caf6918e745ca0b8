# SPDX-License-Identifier: Apache-2.0
"""A small authoritative DNS server on loopback for tests and the demo: UDP and
TCP, zones from a table, with delays and failures on demand."""
import socket
import socketserver
import threading
import time

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class Dns:
    """zones: {"name": {"TXT": ["v=spf1 ..."], "MX": ["10 mx.example."], ...}}.
    A value "SERVFAIL" or "DROP" for a name answers so; delay is in seconds. A TXT value is
    text, bytes, or a tuple of the strings it is made of. Names are as they are written,
    whatever octets they hold."""

    secure = False      # say that DNSSEC proved all of it (AD), as a validating resolver does

    def __init__(self, zones, delay=0.0):
        self.zones = {k.lower().rstrip("."): v for k, v in zones.items()}
        self.delay = delay
        self.asked = []
        self.lock = threading.Lock()
        # One port number for both, like a real server.
        for _ in range(50):
            self.udp = socketserver.ThreadingUDPServer(("127.0.0.1", 0), self._handler(False))
            self.port = self.udp.server_address[1]
            try:
                socketserver.ThreadingTCPServer.allow_reuse_address = True
                self.tcp = socketserver.ThreadingTCPServer(
                    ("127.0.0.1", self.port), self._handler(True))
                break
            except OSError:
                self.udp.server_close()
        for s in (self.udp, self.tcp):
            s.daemon_threads = True
            threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.05},
                             daemon=True).start()

    def close(self):
        for s in (self.udp, self.tcp):
            s.shutdown()
            s.server_close()

    def set(self, name, records):
        with self.lock:
            self.zones[name.lower().rstrip(".")] = records

    def _handler(self, tcp):
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                if tcp:
                    head = self.request.recv(2)
                    if len(head) < 2:
                        return
                    want = int.from_bytes(head, "big")
                    data = b""
                    while len(data) < want:
                        got = self.request.recv(want - len(data))
                        if not got:
                            return
                        data += got
                else:
                    data, sock = self.request
                answer = server.answer(data, tcp)
                if answer is None:
                    return
                if tcp:
                    self.request.sendall(len(answer).to_bytes(2, "big") + answer)
                else:
                    sock.sendto(answer, self.client_address)

        return Handler

    def answer(self, data, tcp):
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA | (dns.flags.AD if self.secure else 0)
        q = query.question[0]
        name = b".".join(q.name.labels).rstrip(b".").decode("utf-8", "surrogateescape").lower()
        kind = dns.rdatatype.to_text(q.rdtype)
        with self.lock:
            self.asked.append((name, kind))
            records = self.zones.get(name)
            known = records is not None or any(z.endswith("." + name) for z in self.zones)
        if self.delay:
            time.sleep(self.delay)
        if records == "DROP":
            return None
        if records == "SERVFAIL":
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif not known:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif records:
            self._fill(reply, q.name, kind, records)
        if tcp:
            return reply.to_wire(max_size=65535)
        try:
            return reply.to_wire(max_size=max(query.payload or 512, 512))
        except dns.exception.TooBig:
            short = dns.message.make_response(query)
            short.flags |= dns.flags.TC
            return short.to_wire()


    def _fill(self, reply, owner, kind, records):
        """The records of that kind, or an alias and what it leads to, as a resolver does."""
        for _ in range(8):
            values = records.get(kind) if isinstance(records, dict) else None
            alias = records.get("CNAME") if isinstance(records, dict) else None
            if values:
                values = [_quote(v) for v in values] if kind == "TXT" else values
                reply.answer.append(dns.rrset.from_text(owner, 300, "IN", kind, *values))
            if values or not alias:
                return
            reply.answer.append(dns.rrset.from_text(owner, 300, "IN", "CNAME", *alias))
            owner = dns.name.from_text(alias[0])
            with self.lock:
                records = self.zones.get(owner.to_text(omit_final_dot=True).lower())


def _quote(value):
    """Strings in quotes, every octet that is not a plain one as \\DDD."""
    if not isinstance(value, tuple):
        value = tuple(value[i:i + 250] for i in range(0, len(value), 250)) or ("",)
    parts = [p.encode() if isinstance(p, str) else p for p in value]
    return " ".join('"%s"' % "".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else "\\%03d" % c
                                     for c in p) for p in parts)


def reverse(ip):
    return ".".join(reversed(ip.split("."))) + ".in-addr.arpa"
