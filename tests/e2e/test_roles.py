# SPDX-License-Identifier: Apache-2.0
"""Roles die, configurations change, the relay stops: nothing acknowledged is lost."""
import os
import signal
import subprocess
import threading
import time

import pytest

from tests.lib import mail
from tests.lib.ports import free_port
from tests.lib.relay import BINARY, alive, children

SENDER, USER = "news@sender.example", "mario@shop.example"


def test_each_role_is_a_process_of_its_own(world):
    relay = world.relay()
    kinds = {r["role"] for r in relay.roles()}
    assert kinds == {"relay", "verify", "directory", "seal", "queue"}
    pids = [r["pid"] for r in relay.roles()]
    assert len(set(pids)) == len(pids) and set(pids) <= set(children(relay.process.pid))
    for r in relay.roles():
        status = open("/proc/%d/status" % r["pid"]).read()
        assert "NoNewPrivs:\t1" in status
        assert status.startswith("Name:\tsp-%s-" % r["role"])     # what ps and top show
        if os.getuid() == 0:
            uid = int(status.split("Uid:")[1].split()[0])
            assert uid != 0
    if os.getuid() == 0:
        uids = {r["role"]: open("/proc/%d/status" % r["pid"]).read().split("Uid:")[1].split()[0]
                for r in relay.roles()}
        assert len(set(uids.values())) == len(uids)


@pytest.mark.parametrize("role", ["relay", "verify", "directory", "seal", "queue"])
def test_a_killed_role_comes_back_and_loses_nothing(world, role):
    relay = world.relay()
    world.down()
    relay.failover("on")
    sent = []
    for turn in range(3):
        data = mail.message(SENDER, USER, "turn%d" % turn)
        assert mail.send(relay.port, SENDER, USER, data)[0] == 250
        sent.append(data)
        for r in relay.roles(role):
            os.kill(r["pid"], signal.SIGKILL)
        relay.wait_ready()
    data = mail.message(SENDER, USER, "after")
    end = time.monotonic() + 20
    while True:        # a session may see 421/451 while the role is away, never 5xx
        try:
            code = mail.send(relay.port, SENDER, USER, data)[0]
        except (OSError, EOFError, __import__("smtplib").SMTPException):
            code = 421
        if code == 250:
            break
        assert 400 <= code < 500 and time.monotonic() < end
        time.sleep(0.1)
    sent.append(data)
    end = time.monotonic() + 20
    while not all(any(mail.below_trace(m.data, d) for m in list(world.recovery.messages)) for d in sent):
        assert time.monotonic() < end        # a copy in flight at a kill may come twice
        time.sleep(0.05)
    world.up()
    relay.failover("off")
    relay.wait_balance(replayed=4, held=0)
    for d in sent:
        assert any(mail.below_trace(m.data, d) for m in world.store.messages)


def test_sighup_takes_a_good_configuration_and_keeps_the_old_for_a_bad_one(world):
    relay = world.relay(users=None, start=False)
    relay.import_users(world.USERS)
    relay.start()
    pids = {r["pid"] for r in relay.roles()}
    assert mail.send(relay.port, SENDER, "x@second.example", mail.message(SENDER, USER))[0] == 550
    relay.write_conf(more='domain "second.example" { primary = "mx"\n colour = "red" }')
    relay.process.send_signal(signal.SIGHUP)
    wait_log(relay, "result=kept-old")
    assert "colour" in relay.log()
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
    relay.write_conf(more='domain "second.example" { primary = "lmtp://127.0.0.1:%d" }' % world.store.port)
    relay.import_users(world.USERS + ["x@second.example,"])
    relay.process.send_signal(signal.SIGHUP)
    wait_log(relay, "result=ok")
    end = time.monotonic() + 5
    while mail.send(relay.port, SENDER, "x@second.example", mail.message(SENDER, USER))[0] != 250:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert len(world.store.wait(2)) == 2
    assert {r["pid"] for r in relay.roles()} == pids      # nobody died of it (sandbox = kill)


def wait_log(relay, text, timeout=10):
    end = time.monotonic() + timeout
    while text not in relay.log():
        assert time.monotonic() < end, relay.log()[-3000:]
        time.sleep(0.05)


def test_sigterm_stops_cleanly_and_leaves_nothing(world):
    relay = world.relay()
    pids = children(relay.process.pid)
    assert len(pids) >= 5
    relay.stop(expect=0)
    assert not any(alive(p) for p in pids)
    assert not os.path.exists(os.path.join(relay.state, "control.sock"))


def test_the_roles_go_when_the_supervisor_is_killed(world):
    relay = world.relay()
    pids = children(relay.process.pid)
    relay.process.kill()
    relay.process.wait()
    end = time.monotonic() + 5
    while any(alive(p) for p in pids):
        assert time.monotonic() < end
        time.sleep(0.02)
    relay.start()        # over the stale socket


def refused(relay):
    r = subprocess.run([BINARY, "run", "-c", relay.conf], capture_output=True, text=True, timeout=30)
    assert r.returncode != 0
    return r.stderr


def test_a_port_in_use_is_named(world):
    relay = world.relay()
    other = world.relay(start=False, port=relay.port)
    text = refused(other)
    assert "127.0.0.1:%d" % relay.port in text and "in use" in text


def test_a_second_relay_on_the_same_state_is_refused(world):
    relay = world.relay()
    relay.write_conf(port=relay.port + 1 if relay.port < 65000 else relay.port - 1)
    assert "stop it first" in refused(relay)
    assert len(relay.roles()) > 4       # it can still be talked to
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250


def test_only_a_socket_is_replaced_or_removed(world):
    """A slip of the pen in control-socket costs no file: neither at the start nor, after a
    reload that cannot change it, at the stop."""
    relay = world.relay(start=False)
    precious = os.path.join(relay.folder, "precious")
    with open(precious, "w") as f:
        f.write("mail")
    relay.write_conf(top='control-socket = "%s"' % precious)
    assert "no socket" in refused(relay)
    relay.write_conf(top="")
    relay.start()
    relay.write_conf(top='control-socket = "%s"' % precious)
    relay.process.send_signal(signal.SIGHUP)
    wait_log(relay, "result=ok")
    relay.stop()
    assert open(precious).read() == "mail"
    assert not os.path.exists(os.path.join(relay.state, "control.sock"))


def test_signals_of_other_servers_are_survived(world):
    relay = world.relay()
    pids = children(relay.process.pid)
    for signo in signal.SIGUSR1, signal.SIGUSR2:
        for pid in pids + [relay.process.pid]:
            os.kill(pid, signo)
    wait_log(relay, "SIGUSR1 and SIGUSR2 mean nothing here")
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
    assert sorted(children(relay.process.pid)) == sorted(pids)


def test_an_unreadable_key_is_named(world):
    relay = world.relay(start=False)
    os.unlink(os.path.join(relay.folder, "secret"))
    text = refused(relay)
    assert "secret-file" in text and relay.folder + "/secret" in text


def test_a_broken_certificate_is_named(world):
    bad = os.path.join(world.folder, "bad.pem")
    open(bad, "w").write("not a certificate\n")
    relay = world.relay(start=False, top='tls-cert-file = "%s"\ntls-key-file = "%s"' % (bad, bad))
    assert "tls-cert" in refused(relay)


def test_a_read_only_state_directory_is_named(world):
    if os.getuid() != 0:
        relay = world.relay(start=False, users=None)
        os.makedirs(relay.state, exist_ok=True)
        os.chmod(relay.state, 0o500)
        text = refused(relay)
        os.chmod(relay.state, 0o700)
    else:
        relay = world.relay(start=False, users=None)
        os.makedirs(relay.state, exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", relay.state],
                          capture_output=True).returncode != 0:
            pytest.skip("this host allows neither a read-only mount nor an unprivileged user")
        try:
            text = refused(relay)
        finally:
            subprocess.run(["umount", relay.state], check=True)
    assert relay.state in text and "state-dir" in text


def test_a_full_state_directory_gives_452_and_recovers(world):
    """P2: never 5xx for the state of the disk; accepting resumes by itself."""
    if os.getuid() != 0:
        pytest.skip("needs root to mount a small tmpfs")
    relay = world.relay(start=False, users=None, top="segment-size = 1M")
    os.makedirs(relay.state, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=711", "tmpfs", relay.state],
                      capture_output=True).returncode != 0:
        pytest.skip("this host does not allow a tmpfs mount")
    try:
        relay.import_users(world.USERS)
        relay.start()
        world.down()
        hog = os.path.join(relay.state, "hog")
        with open(hog, "wb") as f:
            try:
                while f.write(b"x" * 65536):
                    f.flush()
            except OSError:
                pass
        deadline = time.monotonic() + 10
        while True:
            code, text = mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
            assert code in (250, 452), (code, text)
            if code == 452:
                break
            assert time.monotonic() < deadline
        kept = relay.balance()["received"]
        os.unlink(hog)
        deadline = time.monotonic() + 6
        while mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] != 250:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        world.up()
        relay.wait_balance(received=kept + 1, replayed=kept + 1, held=0)
        relay.stop()
    finally:
        relay.stop(expect=None)
        subprocess.run(["umount", relay.state], check=False)


def test_a_stop_waits_for_the_answer_to_a_message(world):
    """The store took it, its 250 is on the way: a stop just then delivers nothing twice."""
    asked, answer = threading.Event(), threading.Event()

    def slow(stage, arg):
        if stage == "end":
            asked.set()
            assert answer.wait(20)

    world.down()
    world.up(script=slow)
    relay = world.relay()
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    assert asked.wait(20)
    threading.Timer(0.5, answer.set).start()
    relay.stop()
    relay.start()
    relay.wait_balance(received=1, replayed=1)
    assert len(world.store.messages) == 1
    relay.stop()


def test_every_role_is_in_its_sandbox(world):
    """P8: the kernel says so, and `status --sandbox` shows it."""
    relay = world.relay()
    for r in relay.roles():
        with open("/proc/%d/status" % r["pid"]) as f:
            kernel = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        assert kernel["Seccomp"] == "2" and kernel["NoNewPrivs"] == "1", r
        assert r["sandbox"]["mode"] == "kill" and r["sandbox"]["calls"] > 50
    text = relay.command("status", "--sandbox", json_out=False)
    assert len([x for x in text.splitlines() if "filter" in x and " kill " in x]) == len(relay.roles())
    relay.stop()


def test_the_users_of_the_roles_see_nothing_of_each_other(world):
    """P8: the spool and the directory's snapshot are closed to every other role's user."""
    if os.getuid() != 0:
        pytest.skip("users of their own need root")
    relay = world.relay()
    world.down()
    relay.failover("on")
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    relay.wait_balance(received=1, held=1)
    segment = [os.path.join(relay.state, "queue", "seg", f)
               for f in os.listdir(os.path.join(relay.state, "queue", "seg")) if f.endswith(".log")][0]
    snapshot = os.path.join(relay.state, "directory", "users.db")
    owners = {"queue": segment, "directory": snapshot}
    for r in relay.roles():
        with open("/proc/%d/status" % r["pid"]) as f:
            uid = int(f.read().split("Uid:")[1].split()[0])
        for owner, path in owners.items():
            read = subprocess.run(["setpriv", "--reuid", str(uid), "--regid", str(uid),
                                   "--clear-groups", "cat", path], capture_output=True)
            assert (read.returncode == 0) == (r["role"] == owner), (r["role"], path)
    relay.stop()


def in_memory(pid, needles):
    """Which of these byte strings a process has in its memory."""
    found = set()
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", buffering=0) as mem:
        for line in maps:
            span, modes = line.split()[:2]
            first, last = (int(x, 16) for x in span.split("-"))
            if "r" not in modes or "w" not in modes:
                continue        # keys are written before they are read
            try:
                mem.seek(first)
                text = mem.read(last - first)
            except (OSError, ValueError, OverflowError):
                continue
            found.update(name for name, n in needles.items() if n in text)
    return found


def prime(key_file):
    """p of an RSA key, as OpenSSL has it in memory: limbs, the lowest first."""
    text = subprocess.run(["openssl", "rsa", "-in", key_file, "-noout", "-text"], capture_output=True,
                          text=True, check=True).stdout
    digits = "".join(text.split("prime1:")[1].split("prime2:")[0].split()).replace(":", "")
    return int(digits, 16).to_bytes(len(digits) // 2, "big").lstrip(b"\0")[::-1]


def test_private_keys_are_in_the_processes_that_use_them_only(world):
    """P8: the TLS key in the relays, the signing keys and the return-path secret in seal. Neither
    the numbers nor the files' text are in anybody else's memory, the supervisor's included."""
    if os.getuid() != 0:
        pytest.skip("looking into the processes needs root")
    cert, key = mail.certificate(world.folder, "mx2.relay.example")
    arc = os.path.join(world.folder, "arc.pem")
    subprocess.run(["openssl", "genrsa", "-traditional", "-out", arc, "2048"], check=True, capture_output=True)
    relay = world.relay(top='tls-cert-file = "%s"\ntls-key-file = "%s"' % (cert, key), start=False,
                        forwarder='arc-selector = "s1"\narc-key-file = "%s"\ndkim-selector = "s1"\n'
                                  'dkim-key-file = "%s"' % (arc, arc))
    relay.start()
    relay.failover("on")
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER), tls=True)[0] == 250
    assert world.recovery.wait(1)
    needles = {"tls": prime(key), "seal": prime(arc), "secret": b"correct-horse-battery"}
    for name, path in (("tls-text", key), ("seal-text", arc)):
        with open(path, "rb") as f:
            needles[name] = f.read().splitlines()[3]
    allowed = {"relay": {"tls"}, "seal": {"seal", "secret"}}
    seen = set()
    for r in relay.roles() + [{"role": "supervisor", "pid": relay.process.pid}]:
        found = in_memory(r["pid"], needles)
        assert found <= allowed.get(r["role"], set()), (r["role"], found)
        seen |= found
    assert {"tls", "seal"} <= seen      # they can be found where they are
    relay.stop()


def test_spec_9_3_a_relay_knows_its_own_addresses_after_the_queue_died(world):
    """It reads them before it is confined and cannot ask again: a listener on 0.0.0.0 stays
    ourselves, and a recovery address whose MX leads back here is never tried."""
    own = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
    own = [a for a in own if ":" not in a]
    if not own:
        pytest.skip("no IPv4 address but that of loopback")
    world.dns.set("self.example", {"MX": ["10 host.self.example."]})
    world.dns.set("host.self.example", {"A": [own[0]]})
    port = free_port()
    relay = world.relay(users=[USER + ",a@self.example"], start=False, more='listen "0.0.0.0:%d" { }' % port)
    relay.write_conf(out_port=port)
    relay.start()
    world.down()
    relay.failover("on")
    for i in range(2):
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
        relay.wait_balance(received=i + 1, held=i + 1, forward_skipped=i + 1)
        if i == 0:
            os.kill(relay.roles("queue")[0]["pid"], signal.SIGKILL)
            relay.wait_ready()
    assert relay.log().count('leg=forward state=skipped note="self"') == 2, relay.log()
    relay.stop()
