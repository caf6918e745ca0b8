# SPDX-License-Identifier: Apache-2.0
"""What a connection costs, beside Debian's Postfix in the same run: one message to each, TLS on
each, and the memory of those that say nothing while others work."""
import json
import multiprocessing
import os
import resource
import shutil
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time

from tests.lib import mail

MESSAGE = b"From: <news@sender.example>\r\nSubject: load\r\n\r\n" + b"x" * 70 + b"\r\n"


def kinds(bench, cert, key):
    class Salvaposta(bench.Salvaposta):
        def __init__(self, *a):
            super().__init__(*a)
            self.relay.write_conf(top=self.relay.values["top"] + '\nexempt-networks = { "127.0.0.0/8" }\n'
                                  'sessions-max = 10000\nrelays = 1\ntls-cert-file = "%s"\ntls-key-file = "%s"' % (
                                      cert, key))

    class Postfix(bench.Postfix):
        def __init__(self, *a):
            super().__init__(*a)
            with open(os.path.join(self.etc, "main.cf"), "a") as f:
                f.write("smtpd_tls_cert_file = %s\nsmtpd_tls_key_file = %s\nsmtpd_tls_security_level = may\n"
                        "smtpd_timeout = 300s\n" % (cert, key))
    return Postfix, Salvaposta


def load(bench, port, messages, per_connection=100, sessions=50):
    """Messages a second of those that were taken."""
    r = json.loads(subprocess.run(
        [bench.LOAD, "--host", "127.0.0.1", "--port", str(port), "--sessions", str(sessions),
         "--messages", str(messages), "--size", "4096", "--per-connection", str(per_connection),
         "--from", "news@sender.example", "--to", "u%d@" + bench.DOMAIN, "--users", "100", "--timeout", "30"],
        capture_output=True, text=True, check=True, timeout=120).stdout)
    return r["messages"] / r["seconds"]


def tls_client(port, count, domain):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for i in range(count):
        with smtplib.SMTP("127.0.0.1", port, local_hostname="mail.sender.example", timeout=60) as c:
            c.starttls(context=context)
            c.sendmail("news@sender.example", "u%d@%s" % (i % 100, domain), MESSAGE)


def tls(bench, port, messages):
    workers = [multiprocessing.Process(target=tls_client, args=(port, messages // 8, bench.DOMAIN))
               for _ in range(8)]
    began = time.monotonic()
    for w in workers:
        w.start()
    for w in workers:
        w.join(120)
        if w.exitcode != 0:
            raise RuntimeError("a TLS client failed")
    return messages / (time.monotonic() - began)


def idle(bench, server, count, messages):
    """(sessions that got a banner within 10 s, KiB each, messages a second meanwhile)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 1000), hard))
    before, held, greeted = bench.pss_kib(server.process.pid), [], 0
    try:
        for _ in range(count):
            try:
                held.append(socket.create_connection(("127.0.0.1", server.port), 1))
            except OSError:
                break           # its backlog is full
        end = time.monotonic() + 10
        for s in held:
            s.settimeout(max(0.001, end - time.monotonic()))
            try:
                greeted += s.recv(3) == b"220"
            except OSError:
                pass
        kib = (bench.pss_kib(server.process.pid) - before) / max(1, greeted)
        try:
            return greeted, kib, load(bench, server.port, messages)
        except (subprocess.SubprocessError, ZeroDivisionError):
            return greeted, kib, 0.0
    finally:
        for s in held:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def one(bench, kind, what, count, dns):
    folder = tempfile.mkdtemp(prefix="salvaposta-bench-")
    os.chmod(folder, 0o755)
    server = kind(folder, "accept", 9, 100, dns)
    try:
        server.start()
        if what == "idle":
            return idle(bench, server, *count)
        rate = load(bench, server.port, count, 1) if what == "connection" else tls(bench, server.port, count)
        return rate, server.stop() * 1000 / count
    finally:
        if server.process.returncode is None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def run(bench, dns, quick):
    folder = tempfile.mkdtemp(prefix="salvaposta-bench-")
    os.chmod(folder, 0o755)
    try:
        cert, key = mail.certificate(folder, "mx2.relay.example")
        postfix, ours = kinds(bench, cert, key)
        for what, count, words in (("connection", 1000 if quick else 5000, "one message per connection"),
                                   ("tls", 200 if quick else 1600, "TLS on each connection")):
            them, us = (one(bench, k, what, count, dns) for k in (postfix, ours))
            print("%-28s postfix %7.0f/s %6.2f ms CPU, salvaposta %7.0f/s %6.2f ms CPU, ratio %.1f, CPU %.1f" % (
                words, *them, *us, us[0] / them[0], them[1] / us[1]), flush=True)
        for sessions in (1000,) if quick else (1000, 5000):
            for name, kind in (("postfix", postfix), ("salvaposta", ours)):
                greeted, kib, rate = one(bench, kind, "idle", (sessions, 500 if quick else 2000), dns)
                print("%-28s %s: %d greeted, %.1f KiB each, %.0f messages/s meanwhile" % (
                    "%d idle sessions" % sessions, name, greeted, kib, rate), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
