# SPDX-License-Identifier: Apache-2.0
"""Bad input at the front door and at the administrator's desk gets a clear answer."""
import os
import socket
import subprocess

import pytest

from tests.lib import mail
from tests.lib.relay import BINARY

SENDER, USER = "news@sender.example", "mario@shop.example"


def dialogue(relay, *chunks):
    """Sends each chunk, reads what comes until the server is quiet after QUIT."""
    with socket.create_connection(("127.0.0.1", relay.port), 20) as s:
        f = s.makefile("rb")
        out = [f.readline()]
        for c in chunks:
            s.sendall(c)
        s.sendall(b"QUIT\r\n")
        out += f.readlines()
    return b"".join(out)


@pytest.mark.parametrize("line,reply", [
    (b"FOO\r\n", b"500 5.5."),
    (b"MAIL FROM:<a@b>\r\n", b"503 5.5.1"),
    (b"EHLO x\r\nRCPT TO:<mario@shop.example>\r\n", b"503 5.5.1"),
    (b"EHLO x\r\nDATA\r\n", b"503 5.5.1"),
    (b"EHLO x\r\nMAIL FROM:<a@>\r\n", b"501 5.1.7"),
    (b"EHLO x\r\nMAIL FROM:<a@b.example> FOO=1\r\n", b"555 5.5.4"),
    (b"EHLO x\r\nMAIL FROM:<a@b.example> SIZE=x\r\n", b"501 5.5.4"),
    (b"EHLO x\r\nMAIL FROM:<a@b.example> SIZE=99999999999\r\n", b"552 5.3.4"),
    (b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<@@>\r\n", b"501 5.1.3"),
    (b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<nobody@shop.example>\r\n", b"550 5.1.1"),
    (b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<a@elsewhere.example>\r\n", b"550 5.7.1"),
    (b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<mario%elsewhere.example@shop.example>\r\n", b"550 5.1.1"),
    (b"EHLO x\r\nVRFY mario\r\n", b"252 2."),
    (b"NOOP\rx\r\n", b"500 5.5.2"),
    (b"EHLO " + b"x" * 5000 + b"\r\n", b"500 5.5."),
])
def test_commands(world, line, reply):
    relay = world.relay()
    out = dialogue(relay, line)
    assert reply in out, out
    assert b"221 2.0.0" in out or b"421" in out


def test_postmaster_and_abuse_are_always_taken(world):
    relay = world.relay()
    for rcpt in ("postmaster", "Postmaster@shop.example", "abuse@shop.example",
                 "postmaster@mx2.relay.example", "abuse@fwd.relay.example"):
        out = dialogue(relay, b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<%s>\r\n" % rcpt.encode())
        assert out.count(b"250 2.1.") == 2, (rcpt, out)


def test_without_a_directory_users_are_451_never_550(world):
    """P2: directory unavailable is our trouble."""
    relay = world.relay(users=None)
    out = dialogue(relay, b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<mario@shop.example>\r\n")
    assert b"451 4." in out and b"\n550" not in out
    relay.import_users(world.USERS)
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250


def test_only_crlf_dot_crlf_ends_data(world):
    """Spec 3.10: no smuggling."""
    relay = world.relay()
    inner = b"MAIL FROM:<evil@sender.example>\r\nRCPT TO:<anna@shop.example>\r\nDATA\r\nSubject: evil\r\n\r\nx\r\n.\r\n"
    for end in (b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r\r\n.\n"):
        out = dialogue(relay, b"EHLO x\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<%s>\r\n" % USER.encode(),
                       b"DATA\r\nSubject: t\r\n\r\nbody" + end + inner)
        assert out.count(b"250 2.0.0") <= 1, (end, out)
    assert all(m.rcpts == [USER] for m in world.store.wait(8, timeout=10))
    for m in world.store.messages:
        assert b"\n" not in m.data.replace(b"\r\n", b"") and b"\r" not in m.data.replace(b"\r\n", b"")


def test_a_message_over_the_size_is_552(world):
    relay = world.relay(top="message-size-max = 100k\nheader-size-max = 50k")
    code, text = mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER, body=b"x" * 70 + b"\r\n"))
    assert code == 250
    code, text = mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER, body=(b"x" * 70 + b"\r\n") * 3000))
    assert code == 552, text
    relay.wait_balance(received=1)


def test_too_many_recipients_is_452(world):
    users = ["u%d@shop.example," % i for i in range(150)]
    relay = world.relay(users=users)
    out = dialogue(relay, b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n",
                   b"".join(b"RCPT TO:<u%d@shop.example>\r\n" % i for i in range(150)))
    assert out.count(b"250 2.1.5") == 100 and out.count(b"452 4.5.3") == 50


def test_spec_9_2_loops_end(world):
    """Spec 9.2, RFC 5321 6.3."""
    relay = world.relay()
    data = b"Received: from a by b; Sun, 22 Jan 2023 10:00:00 +0100\r\n" * 101 + mail.message(SENDER, USER)
    code, text = mail.send(relay.port, SENDER, USER, data)
    assert code == 554 and b"5.4.6" in text


BAD_ROWS = [
    ("mario@shop.example,mario@recovery.example\nmario@shop.example,x@recovery.example", "already"),
    ("no-at-sign,x@recovery.example", "address"),
    ("a@elsewhere.example,x@recovery.example", "domain"),
    ("a@shop.example,a@shop.example", "recovery"),
    ("a@shop.example,b@shop.example", "recovery"),
    ("a@shop.example,broken@", "recovery"),
    ("a@shop.example,x@recovery.example,extra", "fields"),
    ("a@shop.example,\"x@recovery.example", "quot"),
]


@pytest.mark.parametrize("rows,word", BAD_ROWS)
def test_a_bad_csv_row_is_named_and_nothing_is_imported(world, rows, word):
    relay = world.relay()
    path = os.path.join(relay.folder, "bad.csv")
    open(path, "w").write("address,recovery\nok@shop.example,ok@recovery.example\n" + rows + "\n")
    r = relay.command("users", "import", path, check=False, json_out=False)
    assert r.returncode != 0
    text = r.stdout + r.stderr
    assert "bad.csv:" in text and word in text.lower(), text
    assert relay.command("users", "show", "ok@shop.example", check=False).returncode != 0
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250


def test_a_shrunken_snapshot_needs_force(world):
    relay = world.relay(users=["u%d@shop.example,u%d@recovery.example" % (i, i) for i in range(50)])
    path = os.path.join(relay.folder, "small.csv")
    open(path, "w").write("address,recovery\nu1@shop.example,u1@recovery.example\n")
    r = relay.command("users", "import", path, check=False, json_out=False)
    assert r.returncode != 0 and "--force" in r.stdout + r.stderr
    assert mail.send(relay.port, SENDER, "u2@shop.example", mail.message(SENDER, USER))[0] == 250
    relay.command("users", "import", path, "--force", json_out=False)
    assert mail.send(relay.port, SENDER, "u2@shop.example", mail.message(SENDER, USER))[0] == 550


def test_a_bad_import_is_rolled_back_under_a_running_relay(world):
    """The user that was lost is known again, without a restart."""
    relay = world.relay(users=["u%d@shop.example,u%d@recovery.example" % (i, i) for i in range(5)])
    path = os.path.join(relay.folder, "small.csv")
    open(path, "w").write("address,recovery\nu1@shop.example,u1@recovery.example\n")
    relay.command("users", "import", path, "--force", json_out=False)
    assert mail.send(relay.port, SENDER, "u2@shop.example", mail.message(SENDER, USER))[0] == 550
    back = relay.command("users", "rollback")
    assert back["ok"] and back["relay"] == "reloaded" and back["users"] == 5 and back["former"]["users"] == 1, back
    assert mail.send(relay.port, SENDER, "u2@shop.example", mail.message(SENDER, USER))[0] == 250
    audit = relay.command("audit", "show", "--json", json_out=False)
    assert '"directory"' in audit and "rollback to import" in audit, audit
    assert relay.command("users", "rollback")["users"] == 1
    assert mail.send(relay.port, SENDER, "u2@shop.example", mail.message(SENDER, USER))[0] == 550


def test_every_error_of_a_configuration_is_reported(world):
    path = os.path.join(world.folder, "bad.conf")
    open(path, "w").write('hostname = "mx"\nretry-min = 0s\nretry-mx = 5s\ncolour = "red"\n'
                          'hostname = "again"\ndomain "x.example" { failover = perhaps }\n')
    r = subprocess.run([BINARY, "check", "-c", path], capture_output=True, text=True)
    assert r.returncode != 0
    text = r.stdout + r.stderr
    for line, word in ((2, "retry-min"), (3, "retry-mx"), (4, "colour"), (5, "hostname"), (6, "failover")):
        assert "bad.conf:%d: " % line in text and word in text, text
    assert "primary" in text


def test_commands_without_a_running_relay_say_so(world):
    relay = world.relay(start=False)
    for words in (("status",), ("queue", "list"), ("failover", "show")):
        r = relay.command(*words, check=False, json_out=False)
        assert r.returncode != 0 and "running" in (r.stdout + r.stderr)


def test_every_command_has_help(world):
    for words in ((), ("run",), ("check",), ("users",), ("failover",), ("queue",), ("status",), ("srs",)):
        r = subprocess.run([BINARY, *words, "--help"], capture_output=True, text=True)
        assert r.returncode == 0 and "usage" in r.stdout.lower(), words
    r = subprocess.run([BINARY, "colour"], capture_output=True, text=True)
    assert r.returncode != 0 and "colour" in r.stderr
