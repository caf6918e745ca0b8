# SPDX-License-Identifier: Apache-2.0
"""`make install` and what systemd is told: the files are there, the units are valid, and what
they forbid is nothing that the relay does."""
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess

import pytest

from tests.lib import mail
from tests.lib.relay import BINARY, ROOT, children

SENDER, MARIO, ANNA = "news@sender.example", "mario@shop.example", "anna@shop.example"
UNITS = ("salvaposta.service", "salvaposta-refresh.service", "salvaposta-refresh.timer")


def make(target, *variables):
    # The one make that runs the tests must not hand its job server to this one.
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "SAN", "O")}
    r = subprocess.run(["make", "-s", "-o", BINARY, target, "O=" + os.path.dirname(BINARY)] + list(variables),
                       cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert r.returncode == 0, r.stdout + r.stderr


def files(folder):
    return sorted(os.path.relpath(os.path.join(d, f), folder) for d, _, fs in os.walk(folder) for f in fs)


def settings(path, key):
    """All values of `key` in a unit, in order."""
    with open(path) as f:
        return [x.rstrip("\n").split("=", 1)[1] for x in f if x.startswith(key + "=")]


@pytest.fixture(params=["/usr", "/usr/local"])
def installed(request, tmp_path):
    dest = str(tmp_path / "dest")
    make("install", "DESTDIR=" + dest, "PREFIX=" + request.param)
    return dest, request.param


def systemd(name):
    path = shutil.which(name)
    if path is None:
        pytest.skip("no %s: packaging/deps.sh test" % name)
    return path


def test_all_is_installed_and_removed_again(installed):
    dest, prefix = installed
    got = files(dest)
    for want in ["sbin/salvaposta", "share/man/man8/salvaposta.8", "share/man/man5/relay.conf.5",
                 "share/doc/salvaposta/relay.conf.example", "share/doc/salvaposta/operations.md",
                 "lib/sysusers.d/salvaposta.conf"] + ["lib/systemd/system/" + u for u in UNITS]:
        assert os.path.join(prefix, want).lstrip("/") in got, (want, got)
    assert os.path.isdir(dest + "/etc/salvaposta")
    assert subprocess.run([dest + prefix + "/sbin/salvaposta", "--help"], capture_output=True).returncode == 0
    with open(dest + "/etc/salvaposta/relay.conf", "w") as f:
        f.write("mine")
    make("uninstall", "DESTDIR=" + dest, "PREFIX=" + prefix)
    assert files(dest) == ["etc/salvaposta/relay.conf"]


def test_the_units_name_what_is_installed(installed):
    dest, prefix = installed
    for name in UNITS:
        path = dest + prefix + "/lib/systemd/system/" + name
        with open(path) as f:
            assert "@" not in re.sub(r"@system-service", "", f.read()), name
        for key in ("ExecStart", "ExecReload"):
            for line in settings(path, key):
                program = shlex.split(line)[0]
                if program.startswith(prefix + "/sbin/"):
                    assert os.access(dest + program, os.X_OK), line
                else:
                    assert program == "/bin/kill", line
        for line in settings(path, "ConditionPathExists") + settings(path, "AssertPathExists"):
            assert os.path.isdir(dest + os.path.dirname(line)), line


def test_systemd_takes_the_units(installed, tmp_path):
    """systemd-analyze verify, with the binary where it lies now; and its judgement of the walls."""
    analyze, (dest, prefix) = systemd("systemd-analyze"), installed
    where = tmp_path / "units"
    where.mkdir()
    for name in UNITS:
        with open(dest + prefix + "/lib/systemd/system/" + name) as f:
            (where / name).write_text(f.read().replace(prefix + "/sbin/", dest + prefix + "/sbin/"))
    env = dict(os.environ, SYSTEMD_UNIT_PATH=str(where) + ":", SYSTEMD_LOG_COLOR="0")
    r = subprocess.run([analyze, "verify", "--man=no"] + [str(where / u) for u in UNITS], env=env,
                       capture_output=True, text=True, timeout=60)
    ours = [x for x in (r.stdout + r.stderr).splitlines() if "salvaposta" in x]
    assert r.returncode == 0 and not ours, r.stdout + r.stderr
    r = subprocess.run([analyze, "security", "--offline=true", "--threshold=30", str(where / UNITS[0])], env=env,
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == 0 and "OK" in r.stdout, r.stdout + r.stderr


root = pytest.mark.skipif(os.getuid() != 0, reason="the unit starts as root")


def expand(analyze, words):
    """The system calls of a SystemCallFilter= line."""
    calls, todo = set(), list(words)
    while todo:
        word = todo.pop()
        if not word.startswith("@"):
            calls.add(word)
            continue
        r = subprocess.run([analyze, "syscall-filter", word], capture_output=True, text=True, timeout=20)
        todo += [x.strip() for x in r.stdout.splitlines()[1:] if x.strip() and not x.strip().startswith("#")]
    return calls


def exercise(world, relay):
    """What a relay does in a week: mail in and out, failover, replay, new users, a reload, a
    role that dies, a stop."""
    for mode, rcpt in (("off", MARIO), ("on", ANNA)):
        relay.failover(mode)
        assert mail.send(relay.port, SENDER, rcpt, mail.message(SENDER, rcpt))[0] == 250
    world.recovery.wait(1)
    relay.failover("off")
    world.store.wait(2)
    relay.wait_balance(received=2, replayed=2)
    relay.import_users(world.USERS)
    relay.command("check", json_out=False)      # ExecReload of the unit
    relay.process.send_signal(signal.SIGHUP)
    before = {r["pid"] for r in relay.roles()}
    os.kill(relay.roles("queue")[0]["pid"], signal.SIGKILL)
    relay.wait_ready()
    assert {r["pid"] for r in relay.roles()} != before
    assert mail.send(relay.port, SENDER, MARIO, mail.message(SENDER, MARIO))[0] == 250
    world.store.wait(3)


@root
def test_p8_the_unit_forbids_nothing_that_the_relay_does(world):
    """The relay under the unit's capabilities on a read-only root, and its system calls, address families and
    written files held against the rest of it."""
    analyze = systemd("systemd-analyze")
    unit = os.path.join(ROOT, "packaging", "systemd", "salvaposta.service.in")
    (caps,), (calls,), (families,) = (settings(unit, k)[0].split() and [settings(unit, k)[0].split()] for k in (
        "CapabilityBoundingSet", "SystemCallFilter", "RestrictAddressFamilies"))
    trace = os.path.join(world.folder, "trace")
    relay = world.relay(start=False, more='listen "127.0.0.77:77" { }')
    relay.prefix = ["strace", "-D", "-f", "-qq", "-s", "200", "-o", trace,
                    "unshare", "-m", "--propagation", "private", "sh", "-c",
                    "mount --bind '%s' '%s' && mount -o remount,bind,ro / && exec \"$@\"" % (relay.state, relay.state), "sh",
                    "setpriv", "--no-new-privs", "--inh-caps=-all",
                    "--bounding-set=-all," + ",".join("+" + c[4:].lower() for c in caps)]
    relay.start()
    exercise(world, relay)
    relay.stop()
    # When the queue died the relay went on without asking for what it may no longer ask.
    assert "own-addresses" not in relay.log(), relay.log()
    with open(trace, errors="replace") as f:
        lines = [x.split(None, 1)[1] for x in f]
    # From the exec of our binary on; setpriv is not ours.
    begin = next(i for i, x in enumerate(lines) if x.startswith('execve("%s"' % BINARY))
    lines = lines[begin:]
    used = {m.group(1) for m in (re.match(r"(?:<\.\.\. )?([a-z0-9_]+)[( ]", x) for x in lines) if m}
    assert "fdatasync" in used and "seccomp" in used and "landlock_create_ruleset" in used, used
    assert used - expand(analyze, calls) - {"resumed"} == set()
    sockets = {m.group(1) for m in (re.match(r"socket(?:pair)?\((AF_\w+)", x) for x in lines) if m}
    assert sockets <= set(families), sockets
    written = {m.group(2) for m in (re.match(
        r'(openat\(AT_FDCWD, |mkdir\(|unlink\(|rename\(|chmod\(|chown\()"(/[^"]*)"(?:, .*)?', x) for x in lines)
        if m and (m.group(1) != "openat(AT_FDCWD, " or re.search(r"O_(WRONLY|RDWR|CREAT)", m.group(0)))}
    assert written and all(p == relay.state or p.startswith((relay.state + "/", "/dev/null")) for p in written), written
    assert not any("PROT_WRITE|PROT_EXEC" in x or "PROT_READ|PROT_WRITE|PROT_EXEC" in x for x in lines)


@root
def test_the_names_of_sysusers_are_those_of_the_roles(world, installed):
    """Each role runs as the user that its name in sysusers.d says."""
    sysusers, (dest, prefix) = systemd("systemd-sysusers"), installed
    r = subprocess.run([sysusers, "--root=" + dest], capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stdout + r.stderr
    with open(dest + "/etc/passwd") as f:
        names = {int(x.split(":")[2]): x.split(":")[4] for x in f if x.startswith("salvaposta-")}
    relay = world.relay()
    uids = {r["role"]: os.stat("/proc/%d" % r["pid"]).st_uid for r in relay.roles() if r["role"] != "supervisor"}
    assert len(names) == 5 and len(uids) == 5, (names, uids)
    assert {names[uid].rsplit(" ", 1)[1]: uid for uid in names} == {k: v for k, v in uids.items()}
    assert len(children(relay.process.pid)) >= 5
    relay.stop()


def test_type_notify_is_told_when_all_roles_are_ready(world, monkeypatch):
    """As systemd hears it: READY=1 not before, STOPPING=1 at the stop."""
    unit = os.path.join(ROOT, "packaging", "systemd", "salvaposta.service.in")
    assert settings(unit, "Type") == ["notify"]
    path = os.path.join(world.folder, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        relay = world.relay(start=False).start(wait=False)
        assert b"READY=1" in s.recv(4096).splitlines()
        assert all(r["ready"] for r in relay.roles())
        relay.stop()
        assert b"STOPPING=1" in s.recv(4096).splitlines()
