# SPDX-License-Identifier: Apache-2.0
"""What authentication costs: forwarding with SPF, DKIM verification and an ARC seal with a
2048-bit key, beside Debian's Postfix with rspamd as its milter doing the same, and beside
the bound that the two signatures set (openssl speed); and DNS that takes 200 ms.

Called by bench.py: make bench BENCH="--part auth" runs this alone."""
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import dkim

from tests.lib import mail
from tests.lib.ports import free_port

KEY_DOMAIN = "fwd.relay.example"
OPEN = "message-id-max = 10000000\n"     # beside what the tests' relay has
RSPAMD = """
options {{
    pidfile = "{b}/pid"; tempdir = "{b}"; url_tld = "{b}/tld"; lang_detection {{ languages = "{b}/none"; }}
    dns {{ nameserver = ["127.0.0.1:{dns}:1"]; timeout = 2s; retransmits = 3; }}
    filters = "dkim"; local_addrs = []; cache_file = "{b}/cache"; history_file = "{b}/history";
    dynamic_conf = "{b}/dynamic"; control_socket = "{b}/control mode=0600";
}}
logging {{ type = "file"; filename = "{b}/log"; level = "warning"; }}
worker "rspamd_proxy" {{
    bind_socket = "127.0.0.1:{port}"; milter = yes; timeout = 120s; count = 2;
    upstream "local" {{ default = yes; self_scan = yes; }}
}}
modules {{ path = "/usr/share/rspamd/plugins/arc.lua"; path = "/usr/share/rspamd/plugins/spf.lua"; }}
arc {{
    check_local = true; check_authed = true;
    sign_inbound = true; sign_local = true; sign_authenticated = true; use_esld = false;
    allow_hdrfrom_mismatch = true; allow_username_mismatch = true; allow_envfrom_empty = true;
    use_domain = "recipient"; use_domain_sign_inbound = "recipient"; use_domain_sign_local = "recipient";
    domain {{ "{domain}" {{ selector = "s1"; path = "{b}/key"; }} }}
}}
dkim {{ check_local = true; check_authed = true; }}
spf {{ check_local = true; check_authed = true; }}
"""


class Rspamd:
    """A child of ours, so that its CPU time can be asked for."""

    def __init__(self, folder, dns_port, pem, domain):
        self.base, self.port = os.path.join(folder, "rspamd"), free_port()
        os.mkdir(self.base)
        os.chmod(self.base, 0o777)
        for name, text in (("tld", b"com\nexample\nit\n"), ("key", pem), ("conf", RSPAMD.format(
                b=self.base, dns=dns_port, port=self.port, domain=domain).encode())):
            with open(os.path.join(self.base, name), "wb") as f:
                f.write(text)
            os.chmod(f.name, 0o644)
        self.process = subprocess.Popen(["/usr/bin/rspamd", "-f", "-i", "-c", self.base + "/conf"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                if time.monotonic() > end:
                    raise RuntimeError("rspamd does not start: " + open(self.base + "/log").read()[-2000:])
                time.sleep(0.1)


def signed(size, pem):
    """A message of that size with a DKIM signature, without Message-ID, dots stuffed."""
    body = b"".join(b"abcdefghijklmnopqrstuvwxyz 0123456789 the quick brown fox jumps over it\r\n"
                    for _ in range(max(1, (size - 900) // 73)))
    data = (b"From: Load <load@sender.example>\r\nTo: somebody <u0@shop.example>\r\nSubject: load\r\n"
            b"Date: Sun, 22 Nov 2026 20:00:00 +0100\r\nMIME-Version: 1.0\r\n\r\n") + body
    return mail.dkim_sign(data, "s1", "sender.example", pem,
                          include_headers=[b"From", b"To", b"Subject", b"Date", b"MIME-Version"])


def signing_rate():
    """RSA-2048 signatures a second on one core."""
    out = subprocess.run(["openssl", "speed", "-seconds", "2", "rsa2048"], capture_output=True, text=True).stdout
    return float(re.search(r"^rsa 2048 bits\s+\S+\s+\S+\s+(\S+)", out, re.M).group(1))


def kinds(bench, pem, public):
    """Our relay and Postfix with what this bench needs."""
    class Relay(bench.Salvaposta):
        def __init__(self, folder, job, sink_port, users, dns):
            super().__init__(folder, job, sink_port, users, dns)
            key = os.path.join(folder, "arc.pem")
            with open(key, "wb") as f:
                f.write(pem)
            os.chmod(key, 0o600)
            self.relay.write_conf(top=OPEN + self.relay.values["top"],
                                  forwarder='arc-selector = "s1"\n    arc-key-file = "%s"' % key)

    class Postfix(bench.Postfix):
        def __init__(self, folder, job, sink_port, users, dns):
            super().__init__(folder, job, sink_port, users, dns)
            self.filter = Rspamd(folder, dns.port, pem, bench.DOMAIN)
            with open(os.path.join(self.etc, "main.cf"), "a") as f:
                f.write("smtpd_milters = inet:127.0.0.1:%d\nmilter_default_action = tempfail\n"
                        "milter_protocol = 6\n" % self.filter.port)

        def stop(self):
            self.filter.process.send_signal(signal.SIGTERM)
            return bench.finished(self.filter.process) + super().stop()
    return Postfix, Relay


def measure(bench, kind, data, messages, sessions, dns, sender="load@sender.example", check=True):
    """bench.measure with a message of our own; also CPU time per message."""
    folder = tempfile.mkdtemp(prefix="salvaposta-bench-")
    os.chmod(folder, 0o755)
    content = os.path.join(folder, "content")
    with open(content, "wb") as f:
        f.write((b"\r\n" + data).replace(b"\r\n.", b"\r\n..")[2:])
    sink = bench.Sink(messages)
    server = kind(folder, "forward", sink.port, 100, dns)
    try:
        server.start()
        began = time.monotonic()
        r = json.loads(subprocess.run(
            [bench.LOAD, "--port", str(server.port), "--sessions", str(sessions), "--messages", str(messages),
             "--content", content, "--per-connection", "100", "--from", sender, "--domains", str(messages),
             "--to", "u%d@" + bench.DOMAIN, "--users", "100", "--pipeline"],
            capture_output=True, text=True, timeout=600).stdout)
        accepted = time.monotonic() - began
        sunk = sink.wait() if check else {}
        seconds = time.monotonic() - began
        cpu = server.stop()
        return dict(rate=messages / seconds, accept=messages / accepted, cpu_ms=cpu * 1000 / messages,
                    errors=r["errors"], bytes=sunk.get("bytes", 0) / messages)
    finally:
        for p in (server.process, getattr(getattr(server, "filter", None), "process", None)):
            if p is not None and p.returncode is None:
                os.killpg(p.pid, signal.SIGKILL)
        if sink.process.poll() is None:
            sink.process.kill()
            sink.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def forwarding(bench, dns, quick, only=None):
    pem, public = mail.rsa_key()
    record = {"TXT": ["v=DKIM1; k=rsa; p=" + public]}
    for name in ("sender.example", KEY_DOMAIN, bench.DOMAIN):
        dns.set("s1._domainkey." + name, record)
    dns.set("_dmarc.sender.example", {"TXT": ["v=DMARC1; p=reject"]})
    bound = signing_rate() / 2
    print("\nforward with SPF, DKIM verification, ARC seal (2048 bits); two signatures a message: at most "
          "%.0f messages/s a core" % bound)
    print("   bytes server            msg/s   CPU ms  of the bound a core   ratio  CPU ratio")
    for size, messages in ((4096, 6000), (51200, 3000)):
        messages //= 4 if quick else 1
        data, first = signed(size, pem), None
        for kind in kinds(bench, pem, public):
            if only and only != kind.name:
                continue
            r = measure(bench, kind, data, messages, 50, dns)
            if r["errors"]:
                print("errors: %r" % r["errors"])
            if r["bytes"] < len(data) + 1500:
                print("copies are too short to carry a seal: %d of %d" % (r["bytes"], len(data)))
            ratio = "" if first is None else "%7.2f %10.2f" % (r["rate"] / first["rate"], first["cpu_ms"] / r["cpu_ms"])
            print("%8d %-14s %8.0f %8.3f %17.0f %%   %s" % (
                size, kind.name if first is None and kind.name != "postfix" else kind.name.replace(
                    "postfix", "postfix+rspamd"), r["rate"], r["cpu_ms"], 100000 / r["cpu_ms"] / bound, ratio), flush=True)
            if kind.name == "postfix":
                first = r


class FastDns(threading.Thread):
    """Any name has an SPF record that lets loopback pass, everything else is NXDOMAIN; each
    answer leaves after `delay` seconds, so many as there may be."""

    def __init__(self, delay):
        super().__init__(daemon=True)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 23)
        self.sock.bind(("127.0.0.1", 0))
        self.port, self.delay, self.waiting, self.on, self.asked = self.sock.getsockname()[1], delay, [], True, 0
        text = b"v=spf1 ip4:127.0.0.1 -all"
        self.txt = b"\xc0\x0c\0\x10\0\x01\0\0\x0e\x10" + (len(text) + 1).to_bytes(2, "big") + bytes([len(text)]) + text
        self.mx = b"\xc0\x0c\0\x0f\0\x01\0\0\x0e\x10\0\x07\0\x0a\x02mx\xc0\x0c"
        self.a = b"\xc0\x0c\0\x01\0\x01\0\0\x0e\x10\0\x04\x7f\0\0\x01"
        self.start()

    def reply(self, q):
        end = q.index(b"\0", 12)
        name, kind = q[12:end].lower(), q[end + 1:end + 3]
        answer = b""
        if kind == b"\0\x10" and b"spf" in name and b"_d" not in name:
            answer = self.txt
        elif kind == b"\0\x0f" and name == b"\x08recovery\x07example":
            answer = self.mx
        elif kind == b"\0\x01" and name == b"\x02mx\x08recovery\x07example":
            answer = self.a
        flags = b"\x81\x80" if answer else b"\x81\x83"
        return q[:2] + flags + b"\0\1" + (b"\0\1" if answer else b"\0\0") + b"\0\0\0\0" + q[12:end + 5] + answer

    def run(self):
        self.sock.settimeout(0.5)
        while self.on:
            try:
                q, peer = self.sock.recvfrom(2048)
            except TimeoutError:
                continue
            except OSError:
                return
            self.asked += 1
            out = self.reply(q)
            if not self.delay:
                self.sock.sendto(out, peer)
                continue
            self.waiting.append((time.monotonic() + self.delay, out, peer))
            self.sock.settimeout(0.001)
            while self.on and self.waiting:
                now = time.monotonic()
                while self.waiting and self.waiting[0][0] <= now:
                    _, out, peer = self.waiting.pop(0)
                    self.sock.sendto(out, peer)
                try:
                    q, peer = self.sock.recvfrom(2048)
                    self.asked += 1
                    self.waiting.append((time.monotonic() + self.delay, self.reply(q), peer))
                except TimeoutError:
                    pass
            self.sock.settimeout(0.5)

    def close(self):
        self.on = False
        self.join()
        self.sock.close()


def slow_dns(bench, quick):
    pem, public = mail.rsa_key()
    print("\n500 sessions, each message of another domain (nothing in the cache), 4 KiB, accepted and forwarded")
    data, rates = signed(4096, pem).split(b"\r\nFrom:", 1)[1], []
    data = b"From:" + data
    messages = 5000 if quick else 20000
    for delay in (0, 0.2):
        dns = FastDns(delay)
        _, kind = kinds(bench, pem, public)
        r = measure(bench, kind, data, messages, 500, dns, sender="load@d%d.spf.example")
        rates.append(r["rate"])
        print("answers after %3.0f ms: accepted %6.0f/s, forwarded %6.0f/s, CPU %.3f ms, %d questions%s" % (
            delay * 1000, r["accept"], r["rate"], r["cpu_ms"], dns.asked, " errors %r" % r["errors"] if r["errors"] else ""),
            flush=True)
        dns.close()
    print("falls by %.0f %% (aim: under 20 %%)" % (100 - 100 * rates[1] / rates[0]))


def run(bench, dns, quick, only=None):
    forwarding(bench, dns, quick, only)
    if only != "postfix":
        slow_dns(bench, quick)
