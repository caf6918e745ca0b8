# SPDX-License-Identifier: Apache-2.0
"""Mail clients and servers as people have them deliver through the relay, in the clear and
over TLS: one message in, one message at the store, over what was asked for."""
import os
import socket
import subprocess
import time

import pytest

from tests.lib import mail
from tests.lib.ports import free_port
from tests.lib.storefront import Postfix
from tests.lib.unpack import unpack, with_users

SENDER, USER = "news@sender.example", "mario@shop.example"


def run(command, data=b"", **kw):
    r = subprocess.run(command, input=data, capture_output=True, timeout=60, **kw)
    assert r.returncode == 0, (command, r.stdout[-2000:], r.stderr[-2000:])


def swaks(world, port, tls, data):
    run(["swaks", "--server", "127.0.0.1", "--port", str(port), "--from", SENDER, "--to", USER,
         "--helo", "mail.sender.example", "--data", "-"] + (["--tls"] if tls else []), data)


def curl(world, port, tls, data):
    run(["curl", "-sS", "smtp://127.0.0.1:%d/mail.sender.example" % port, "--mail-from", SENDER,
         "--mail-rcpt", USER, "--upload-file", "-"] + (["--ssl-reqd", "--insecure"] if tls else []), data)


def msmtp(world, port, tls, data):
    run(["msmtp", "--file=/dev/null", "--host=127.0.0.1", "--port=%d" % port, "--from=" + SENDER,
         "--domain=mail.sender.example", "--tls=" + ("on" if tls else "off"), "--tls-starttls=on",
         "--tls-certcheck=off", USER], data)


def snail(world, port, tls, data):
    """It writes the header itself; ours is body to it."""
    run(["s-nail", "-:/", "-Sv15-compat", "-Smta=smtp://127.0.0.1:%d" % port, "-Ssmtp-auth=none"] + (
             ["-Ssmtp-use-starttls"] if tls else []) + ["-Stls-verify=ignore", "-Shostname=mail.sender.example",
         "-Ssmtp-hostname=", "-Sfrom=" + SENDER, "-Ssendwait", "-s", "prova", USER],
        data.replace(b"\r\n", b"\n"), env=dict(os.environ, HOME=world.folder, LC_ALL="C.UTF-8"))


def postfix(world, port, tls, data):
    folder = os.path.join(world.folder, "front%d" % tls)
    os.mkdir(folder)
    p = Postfix(folder, 1, port, 1)
    with open(p.etc + "/main.cf", "a") as f:
        f.write("relay_transport = smtp:[127.0.0.1]:%d\nsmtp_tls_security_level = %s\n" % (
            port, "encrypt" if tls else "none"))
    p.start()
    try:
        assert mail.send(p.port, SENDER, USER, data, source="127.0.0.1")[0] == 250
        end = time.monotonic() + 30
        while p.queued() > 0:
            assert time.monotonic() < end, p.log()
            time.sleep(0.1)
        assert "status=sent" in p.log(), p.log()
    finally:
        p.stop()


EXIM = """
primary_hostname = mail.sender.example
spool_directory = {folder}/spool
log_file_path = {folder}/log-%s
exim_user = Debian-exim
exim_path = {folder}/usr/sbin/exim4
never_users =
keep_environment =
tls_advertise_hosts =
begin routers
out:
  driver = manualroute
  transport = relay
  route_list = * 127.0.0.1
  self = send
begin transports
relay:
  driver = smtp
  port = {port}
  allow_localhost
  hosts_avoid_tls = {avoid}
  hosts_require_tls = {require}
  tls_verify_hosts =
  tls_try_verify_hosts =
"""


def exim(world, port, tls, data):
    folder = os.path.join(world.folder, "exim")
    if not os.path.exists(folder):
        unpack(folder, "exim4-daemon-light")
        os.makedirs(folder + "/spool")
        os.chmod(folder, 0o777)
        os.chmod(folder + "/spool", 0o777)
    with open(folder + "/conf", "w") as f:
        f.write(EXIM.format(folder=folder, port=port, avoid="" if tls else "*", require="*" if tls else ""))
    command = with_users(folder, ["Debian-exim"], [folder + "/usr/sbin/exim4", "-C", folder + "/conf", "-odf", "-i",
                                                   "-f", SENDER, USER])
    run(command, data.replace(b"\r\n", b"\n"))
    with open(folder + "/log-main", errors="replace") as f:
        text = f.read()
    assert " => " + USER in text, text


def opensmtpd_client(world, port, tls, data):
    """smtp(1), with the engine of its queue."""
    folder = os.path.join(world.folder, "opensmtpd")
    if not os.path.exists(folder):
        unpack(folder, "opensmtpd")
    run([folder + "/usr/bin/smtp", "-C", "-F", SENDER, "-H", "mail.sender.example", "-s",
         "%s://127.0.0.1:%d" % ("smtp+tls" if tls else "smtp+notls", port), USER], data)


OPENSMTPD = """
queue ttl 1h
listen on 127.0.0.1 port {own}
action "out" relay host "{how}://127.0.0.1:{port}" {tls} helo "mail.sender.example"
match from any for any action "out"
"""


def opensmtpd(world, port, tls, data):
    """The whole daemon: its listener takes the message, its queue delivers it. It finds its
    processes, its queue and its socket by name, so those places are its own, in a namespace."""
    folder = os.path.join(world.folder, "smtpd")
    if not os.path.exists(folder):
        unpack(folder, "opensmtpd")
        for place in ("/var/spool", "/var/lib/opensmtpd/empty", "/run"):
            os.makedirs(folder + place, exist_ok=True)
    conf, own = folder + "/smtpd.conf", free_port()
    with open(conf, "w") as f:
        f.write(OPENSMTPD.format(own=own, port=port, how="smtp+tls" if tls else "smtp+notls",
                                tls="tls no-verify" if tls else ""))
    with open(folder + "/log", "ab") as log:
        p = subprocess.Popen(
            with_users(folder, ["opensmtpd", "opensmtpq"], [folder + "/usr/sbin/smtpd", "-d", "-f", conf],
                       ["/var/spool", "/var/lib", "/run", "/usr/libexec"]), stdout=log, stderr=log)

    def log_text():
        with open(folder + "/log", errors="replace") as f:
            return f.read()
    try:
        wait_port(own, p, log_text)
        assert mail.send(own, SENDER, USER, data, source="127.0.0.1")[0] == 250, log_text()
        end = time.monotonic() + 30
        while log_text().count('result="Ok"') < 1 + tls:
            assert time.monotonic() < end and p.poll() is None, log_text()
            time.sleep(0.05)
    finally:
        p.terminate()
        p.wait(10)


def wait_port(port, process, log_text):
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            assert time.monotonic() < end and process.poll() is None, log_text()
            time.sleep(0.05)


def smtplib(world, port, tls, data):
    assert mail.send(port, SENDER, USER, data, source="127.0.0.1", tls=tls)[0] == 250


@pytest.mark.parametrize("client", [swaks, curl, msmtp, snail, postfix, exim, opensmtpd_client, opensmtpd,
                                    smtplib],
                         ids=lambda c: c.__name__)
def test_real_clients(world, client):
    cert, key = mail.certificate(world.folder, "mx2.relay.example")
    relay = world.relay(top='tls-cert-file = "%s"\ntls-key-file = "%s"' % (cert, key))
    for i, tls in enumerate((False, True)):
        word = b"parola-%d" % i
        data = mail.message(SENDER, USER, body=word + b"\r\n..\r\nfine\r\n")
        client(world, relay.port, tls, data)
        got = world.store.wait(i + 1)
        assert len(got) == i + 1, relay.log()[-3000:]
        assert got[i].rcpts == [USER] and got[i].data.count(word) == 1
        with_ = got[i].data.split(b"Received:", 1)[1].split(b";", 1)[0]
        assert (b"(using TLS" in with_) == tls, with_
        assert got[i].data.rstrip().endswith(b"\r\n..\r\nfine"), got[i].data
    relay.wait_balance(replayed=2, held=0)
    relay.stop()
