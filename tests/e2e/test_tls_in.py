# SPDX-License-Identifier: Apache-2.0
"""TLS at the front door: several certificates by name, reload without dropping anybody,
resumption over all processes, and what `check` says of a certificate."""
import os
import re
import resource
import signal
import smtplib
import socket
import ssl
import subprocess
import time

from tests.lib import mail
from tests.lib.certs import Authority

SENDER, USER = "news@sender.example", "mario@shop.example"


def tls_conf(files, more=()):
    text = 'tls-cert-file = "%s"\ntls-key-file = "%s"\n' % files
    for i, f in enumerate(more):
        text += 'certificate "c%d" { cert-file = "%s" key-file = "%s" }\n' % ((i,) + f)
    return text


def talk(port, name=None):
    """(smtplib client after STARTTLS, names of the certificate it was shown)"""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    c = smtplib.SMTP("127.0.0.1", port, timeout=20, source_address=("127.0.0.5", 0))
    c._host = name or "127.0.0.1"
    c.starttls(context=context)
    c.ehlo()
    der = c.sock.getpeercert(binary_form=True)
    text = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-ext",
                           "subjectAltName"], input=der, capture_output=True).stdout.decode()
    return c, re.findall(r"DNS:(\S+?)(?:,|\s|$)", text)


def test_a_certificate_for_each_name(world):
    ca = Authority(world.folder)
    main = ca.issue("mx2.relay.example")
    more = [ca.issue("mx.other.example", "mx.third.example"), ca.issue("*.wild.example")]
    relay = world.relay(top=tls_conf(main, more))
    for name, shown in ((None, "mx2.relay.example"), ("mx2.relay.example", "mx2.relay.example"),
                        ("mx.other.example", "mx.other.example"),
                        ("MX.Third.example", "mx.other.example"),
                        ("a.wild.example", "*.wild.example"),
                        ("a.b.wild.example", "mx2.relay.example"),
                        ("stranger.example", "mx2.relay.example")):
        c, names = talk(relay.port, name)
        assert names[0] == shown, (name, names)
        assert c.sock.version() == "TLSv1.3"
        c.quit()


def test_a_reload_takes_new_certificates_and_drops_nobody(world):
    ca = Authority(world.folder)
    main = ca.issue("mx2.relay.example", "old.example", file="main")
    relay = world.relay(top=tls_conf(main))
    pids = {r["pid"] for r in relay.roles()}
    old, names = talk(relay.port)
    assert "old.example" in names
    ca.issue("mx2.relay.example", "new.example", file="main")
    relay.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 20
    while True:
        c, names = talk(relay.port)
        c.quit()
        if "new.example" in names:
            break
        assert time.monotonic() < end, names
        time.sleep(0.05)
    assert old.sendmail(SENDER, [USER], mail.message(SENDER, USER)) == {}
    old.quit()
    open(main[0], "w").write("not a certificate\n")     # a bad one leaves the good one
    relay.process.send_signal(signal.SIGHUP)
    while "reason=" not in relay.log():
        assert time.monotonic() < end + 20
        time.sleep(0.05)
    c, names = talk(relay.port)
    assert "new.example" in names
    c.quit()
    assert {r["pid"] for r in relay.roles()} == pids    # nobody died of it


def test_sessions_are_resumed_by_any_process(world):
    """TLS 1.2 and 1.3, after the process that gave the ticket was killed."""
    ca = Authority(world.folder)
    relay = world.relay(top=tls_conf(ca.issue("mx2.relay.example")) + "relays = 2\n")

    def client(*words):
        return subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % relay.port,
                               "-starttls", "smtp", "-ign_eof"] + list(words),
                              input=b"QUIT\r\n", capture_output=True, timeout=30).stdout.decode()
    for version in ("-tls1_2", "-tls1_3"):
        ticket = os.path.join(world.folder, "ticket" + version)
        assert "New, TLS" in client(version, "-sess_out", ticket)
        for _ in range(6):      # whichever process takes it
            assert "Reused, TLS" in client(version, "-sess_in", ticket)
    for r in relay.roles("relay"):
        os.kill(r["pid"], signal.SIGKILL)
    relay.wait_ready()
    for version in ("-tls1_2", "-tls1_3"):
        assert "Reused, TLS" in client(version, "-sess_in",
                                       os.path.join(world.folder, "ticket" + version))
    assert "New, TLS" not in client("-tls1_1")


def test_check_explains_certificates(world):
    ca, other = Authority(world.folder), Authority(world.folder, "Unknown CA")
    trust = 'tls-ca-file = "%s"\n' % ca.file

    def say(files, ok):
        relay = world.relay(start=False, users=None, top=trust + tls_conf(files))
        r = relay.command("check", check=False, json_out=False)
        assert (r.returncode == 0) == ok, r.stderr
        return r.stderr

    name = "mx2.relay.example"
    assert "certificate" not in say(ca.issue(name), True)
    assert "expired on" in say(ca.issue(name, begin=-20, end=-1), False)
    assert "is not valid before" in say(ca.issue(name, begin=2), False)
    assert "expires on" in say(ca.issue(name, end=3), True)
    assert "does not carry the name mx2.relay.example" in say(ca.issue("else.example"), True)
    assert "chain is incomplete" in say(other.issue(name), True)
    a, b = ca.issue(name), ca.issue(name)
    assert "key does not belong" in say((a[0], b[1]), False)
    os.chmod(a[1], 0o644)
    assert "chmod 0600" in say(a, False)


def pss(pid):
    """KiB that are the process's own, shared pages by their share."""
    with open("/proc/%d/smaps_rollup" % pid) as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def test_memory_of_idle_connections(world):
    """At most 8 KiB of ours for an idle connection in the clear, 48 KiB with TLS."""
    ca = Authority(world.folder)
    relay = world.relay(users=None, top=tls_conf(ca.issue("mx2.relay.example")) +
                        "relays = 1\nsessions-max = 2000\nconnections-per-address = 2000\n"
                        "connections-per-network = 2000\nconnection-rate = 10000\n")
    pid = relay.roles("relay")[0]["pid"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def client(tls):
        s = socket.create_connection(("127.0.0.1", relay.port), 30)
        words = [b"EHLO c\r\n", b"STARTTLS\r\n"] if tls else [b"EHLO c\r\n"]
        assert s.recv(4096).startswith(b"220")
        for w in words:
            s.sendall(w)
            assert s.recv(4096)[:1] == b"2"
        if tls:
            s = context.wrap_socket(s)
            s.sendall(b"EHLO c\r\n")
            assert s.recv(4096).startswith(b"250")
        return s

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    for tls, bound in ((False, 8), (True, 48)):
        kept = [client(tls) for _ in range(600)]    # memory freed since the start is used up
        before = pss(pid)
        kept += [client(tls) for _ in range(300)]
        each = (pss(pid) - before) / 300
        print("idle %s: %.1f KiB" % ("tls" if tls else "plain", each))
        assert each <= bound, (tls, each)
        for s in kept:
            s.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_is_offered_before_and_in_tls(world):
    """RFC 3207 4.2, RFC 8689 2: STARTTLS before it only, REQUIRETLS within only; all else alike. The
    banner and HELP say who we are and what can be said, not more."""
    ca = Authority(world.folder)
    relay = world.relay(top=tls_conf(ca.issue("mx2.relay.example")))
    plain = smtplib.SMTP(timeout=20)
    code, banner = plain.connect("127.0.0.1", relay.port)
    assert (code, banner) == (220, b"mx2.relay.example ESMTP Salvaposta")
    plain.ehlo()
    common = {"pipelining", "size", "enhancedstatuscodes", "chunking", "smtputf8", "dsn", "limits", "8bitmime"}
    assert set(plain.esmtp_features) == common | {"starttls"}
    words = b"2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY HELP"
    assert plain.docmd("HELP") == (214, words + b" STARTTLS")
    assert plain.mail(SENDER, ["REQUIRETLS"])[0] == 555
    plain.quit()
    c, _ = talk(relay.port)
    assert set(c.esmtp_features) == common | {"requiretls"}
    assert c.docmd("STARTTLS")[0] == 503 and c.docmd("HELP") == (214, words)
    assert c.mail(SENDER, ["REQUIRETLS"])[0] == 250
    c.quit()
    relay.stop()
