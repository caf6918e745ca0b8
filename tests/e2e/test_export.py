# SPDX-License-Identifier: Apache-2.0
"""The spool with bare hands: what a dead relay kept comes out of it byte for byte, a
second run adds nothing, damage is named and never exported, and not one byte of the
spool changes."""
import fcntl
import hashlib
import json
import mailbox
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import time

from tests.lib import mail
from tests.lib.relay import BINARY

SENDER, MARIO, ANNA = "news@sender.example", "mario@shop.example", "anna@shop.example"
MESSAGES = 50


def tool(*words):
    """Exit status, what it printed, what it said on standard error."""
    r = subprocess.run([BINARY] + list(words), capture_output=True, text=True, timeout=120)
    return r.returncode, r.stdout, r.stderr


def tool_json(*words):
    code, out, err = tool(*words, "--json")
    assert out, err
    return code, json.loads(out)


def fingerprint(folder):
    """Names, sizes, owners, times of change and bytes of everything below."""
    seen = {}
    for at, folders, files in os.walk(folder):
        for name in files:
            path = os.path.join(at, name)
            st = os.stat(path)
            with open(path, "rb") as f:
                seen[path] = (st.st_size, st.st_mtime_ns, st.st_ctime_ns,
                              hashlib.sha256(f.read()).digest())
        for name in folders:
            st = os.stat(os.path.join(at, name))
            seen[os.path.join(at, name)] = (st.st_mtime_ns, st.st_ctime_ns)
    return seen


def bodies():
    rng = random.Random(50)
    for i in range(MESSAGES):
        kind = i % 5
        if kind == 0:
            yield b"From me\r\n>From you\r\n.\r\n..\r\n"
        elif kind == 1:
            yield bytes(rng.choice(b"abc \t\xe8\xff\x80") for _ in range(900)) + b"\r\n"
        elif kind == 2:
            yield b"\r\n\r\nciao\r\n\r\n\r\n"
        elif kind == 3:
            yield b"x" * 900 + b"\r\n" + b"y" * (200 * i) + b"\r\n"
        else:
            yield b"ciao %d\r\n" % i


class Kept:
    """A relay that holds 50 messages and was then killed."""

    def __init__(self, world, **kw):
        self.relay = world.relay(**kw)
        world.down()
        self.sent = []      # (recipients, bytes)
        for i, body in enumerate(bodies()):
            rcpts = [MARIO, ANNA] if i % 10 == 0 else [ANNA] if i % 3 == 0 else [MARIO]
            data = mail.message(SENDER, MARIO, "n%02d" % i, body)
            code, text = mail.send(self.relay.port, SENDER, rcpts, data)
            assert code == 250
            self.sent.append((rcpts, data))
        self.count = sum(len(r) for r, _ in self.sent)
        self.balance = self.relay.wait_balance(received=self.count, held=self.count)
        self.spool = os.path.join(self.relay.state, "queue")
        self.folder = os.path.join(self.relay.folder, "export")

    def export(self, *words, folder=None):
        return tool("export", "-c", self.relay.conf, "--to", folder or self.folder, *words)

    def export_json(self, *words, folder=None):
        return tool_json("export", "-c", self.relay.conf, "--to", folder or self.folder, *words)

    def wanted(self, user):
        return sorted(d for r, d in self.sent if user in r)

    def segments(self):
        folder = os.path.join(self.spool, "seg")
        return [os.path.join(folder, n) for n in sorted(os.listdir(folder)) if n.endswith(".log")]


def maildir(folder, user, where="new"):
    local, domain = user.split("@")
    path = os.path.join(folder, domain, local, where)
    return [os.path.join(path, n) for n in sorted(os.listdir(path))]


def below_block(data, sender=SENDER, user=None):
    """The bytes below our block; the block is Return-Path, then the trace of a replay."""
    lines = data.split(b"\r\n")
    assert lines[0] == b"Return-Path: <%s>" % sender.encode()
    assert user is None or lines[1] == b"X-Original-To: %s" % user.encode()
    assert re.fullmatch(rb"X-Fwd-Queue-Id: [0-9a-v]{16}/[0-9]+", lines[2])
    at = data.index(b"\r\nReceived: from ") + 2
    end = re.compile(rb"\r\n(?![ \t])").search(data, at).end()
    return data[end:]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def test_a_dead_relay_gives_back_the_same_bytes(world):
    kept = Kept(world)
    kept.relay.kill()
    before = fingerprint(kept.spool)
    code, out, err = kept.export()
    assert code == 0, out + err
    for user in (MARIO, ANNA):
        files = maildir(kept.folder, user)
        assert sorted(below_block(read(f), user=user) for f in files) == kept.wanted(user)
        assert maildir(kept.folder, user, "tmp") == [] == maildir(kept.folder, user, "cur")
        for f in files:
            st = os.stat(f)
            assert st.st_mode & 0o7777 == 0o600 and abs(st.st_mtime - time.time()) < 300
            assert int(os.path.basename(f).split(".")[0]) == int(st.st_mtime)
    assert len(os.listdir(kept.folder)) == 1
    assert "%d messages" % kept.count in out
    # once more: nothing is new, also when a mail reader has moved some
    some = maildir(kept.folder, MARIO)[3]
    os.rename(some, some.replace("/new/", "/cur/") + ":2,RS")
    code, r = kept.export_json()
    assert (code, r["ok"], r["written"], r["present"]) == (0, True, 0, kept.count)
    assert len(maildir(kept.folder, MARIO) + maildir(kept.folder, ANNA)) == kept.count - 1
    code, r = tool_json("spool", "verify", "-c", kept.relay.conf)
    assert (code, r["damage"], r["recipients"], r["unsettled"]) == (0, 0, kept.count, kept.count)
    assert r["records"] == MESSAGES
    # not one byte of the spool was touched, and the relay goes on with it
    assert fingerprint(kept.spool) == before
    kept.relay.start()
    world.up()
    kept.relay.command("queue", "retry", "--domain", "shop.example")
    kept.relay.wait_balance(replayed=kept.count, held=0)


def test_mbox_and_lf(world):
    kept = Kept(world)
    kept.relay.kill()
    code, out, err = kept.export("--format", "mbox")
    assert code == 0, out + err
    for user in (MARIO, ANNA):
        path = os.path.join(kept.folder, "shop.example", user.split("@")[0] + ".mbox")
        first = read(path)
        assert b"\r" not in first.replace(b"\r\n", b"")
        box = mailbox.mbox(path, create=False)
        got = []
        for m in box:
            assert m.get_from().startswith(SENDER + " ")
            raw = box.get_bytes(box.keys()[len(got)])
            raw = re.sub(rb"(?m)^>(>*From )", rb"\1", raw).replace(b"\n", b"\r\n")
            got.append(below_block(raw, user=user))
        # the blank line that ends a message is the format's
        wanted = [d for d in kept.wanted(user)]
        assert sorted(g.rstrip(b"\r\n") for g in got) == sorted(w.rstrip(b"\r\n") for w in wanted)
        box.close()
        code, r = kept.export_json("--format", "mbox", "--user", user)
        assert (code, r["written"], r["present"]) == (0, 0, len(wanted))
        assert read(path) == first
    assert sorted(os.listdir(os.path.join(kept.folder, "shop.example"))) == ["anna.mbox", "mario.mbox"]
    lf = os.path.join(kept.relay.folder, "lf")
    assert kept.export("--lf", folder=lf)[0] == 0
    got = sorted(below_block(read(f).replace(b"\n", b"\r\n")) for f in maildir(lf, MARIO))
    assert got == kept.wanted(MARIO)


def test_a_running_relay_keeps_it_out_and_live_is_a_snapshot(world):
    kept = Kept(world)
    code, out, err = kept.export()
    assert code == 1 and "--live" in err and not os.path.exists(kept.folder)
    assert tool("spool", "verify", "-c", kept.relay.conf)[0] == 1
    code, r = kept.export_json("--live")
    assert (code, r["written"]) == (0, kept.count)
    assert sorted(below_block(read(f)) for f in maildir(kept.folder, ANNA)) == kept.wanted(ANNA)
    code, r = tool_json("spool", "verify", "-c", kept.relay.conf, "--live")
    assert (code, r["recipients"], r["segments"][0]["index"]) == (0, kept.count, "not checked")
    # the relay has noticed nothing; what it got since is there in a second run
    data = mail.message(SENDER, MARIO, "late")
    assert mail.send(kept.relay.port, SENDER, MARIO, data)[0] == 250
    kept.relay.stop()
    code, r = kept.export_json()
    assert (code, r["written"], r["present"]) == (0, 1, kept.count)
    assert data in [below_block(read(f)) for f in maildir(kept.folder, MARIO)]


def test_a_second_export_into_the_same_folder_waits_its_turn(world):
    kept = Kept(world)
    kept.relay.kill()
    os.mkdir(kept.folder)
    fd = os.open(kept.folder, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    code, out, err = kept.export()
    assert code == 1 and "another export" in err
    os.close(fd)
    assert kept.export()[0] == 0


def test_filters(world):
    kept = Kept(world)
    kept.relay.kill()
    anna = len(kept.wanted(ANNA))
    for words, want in [
            (["--user", ANNA], anna), (["--user", ANNA.upper()], anna),
            (["--user", "nobody@shop.example"], 0), (["--domain", "shop.example"], kept.count),
            (["--domain", "SHOP.example", "--user", ANNA], anna), (["--domain", "other.example"], 0),
            (["--since", "1h"], kept.count), (["--since", "2099-01-01"], 0),
            (["--since", "2020-01-01T00:00:00Z", "--state", "all"], kept.count),
            (["--since", "0s"], 0)]:
        folder = os.path.join(kept.relay.folder, "f%d" % abs(hash(tuple(words))))
        code, r = kept.export_json(*words, folder=folder)
        assert (code, r["written"]) == (0, want), words
    for words in (["--since", "yesterday"], ["--format", "mh"], ["--state", "gone"], ["x"]):
        assert kept.export(*words)[0] == 2, words
    assert tool("export", "-c", kept.relay.conf)[0] == 2


def test_state_all_has_what_is_settled_and_still_on_disk(world):
    kept = Kept(world)
    shown = kept.relay.command("queue", "list", "--limit", "0")["messages"]
    world.up(script=lambda stage, arg: "451 4.3.0 later" if stage == "rcpt" and "anna" in arg else None)
    kept.relay.command("queue", "retry", "--domain", "shop.example")
    left = len(kept.wanted(ANNA))
    kept.relay.wait_balance(replayed=kept.count - left, held=left)
    kept.relay.kill()
    code, r = kept.export_json()
    assert (code, r["written"]) == (0, left) and len(shown) == kept.count
    code, r = kept.export_json("--state", "all")
    assert (code, r["written"], r["present"]) == (0, kept.count - left, left)


def test_a_copy_needs_neither_configuration_nor_owner(world):
    kept = Kept(world)
    kept.relay.kill()
    copy = os.path.join(kept.relay.folder, "copy")
    shutil.copytree(kept.spool, copy)
    os.unlink(os.path.join(copy, "lock"))
    for spool in (copy, kept.relay.state):
        folder = os.path.join(kept.relay.folder, os.path.basename(spool) + "-out")
        code, out, err = tool("export", "--spool", spool, "--to", folder)
        assert code == 0, out + err
        assert sorted(below_block(read(f)) for f in maildir(folder, MARIO)) == kept.wanted(MARIO)
    code, out, err = tool("export", "--spool", kept.relay.folder, "--to", kept.folder)
    assert code == 1 and "no spool" in err
    inside = os.path.join(copy, "x")
    assert tool("export", "--spool", copy, "--to", inside)[0] == 1 and not os.path.exists(inside)
    assert tool("export", "--spool", copy, "--to", copy)[0] == 1


def record_of(path, subject):
    """(offset, length) of the record with that subject: docs/spool.md."""
    data = read(path)
    at, off = data.index(b"Subject: %s\r\n" % subject), 64
    while True:
        assert data[off:off + 4] == b"SvRc"
        nrcpt, env, body = struct.unpack_from("<HIQ", data, off + 26)
        end = (off + 64 + nrcpt + env + body + 7) & ~7
        if off <= at < end:
            return off, end - off
        off = end


def damage(kept, number, where):
    path = kept.segments()[0]
    off, length = record_of(path, b"n%02d" % number)
    with open(path, "r+b") as f:
        f.seek(off + where if where >= 0 else off + length + where)
        b = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([b[0] ^ 0x20]))
    return off


def check_damaged(kept, number, off, sealed):
    """verify names the record, the export leaves out just that message and says so."""
    rcpts, lost = kept.sent[number]
    code, r = tool_json("spool", "verify", "-c", kept.relay.conf)
    assert code == 1 and r["damage"] == 1 and not r["ok"]
    found = [f for f in r["findings"] if f["damage"]]
    assert [(f["segment"], f["file"], f["offset"]) for f in found] == [(1, "log", off)]
    code, out, err = tool("spool", "verify", "-c", kept.relay.conf)
    assert code == 1 and "damage: segment 1, 000000000001.log, offset %d" % off in out
    code, out, err = kept.export()
    assert code == 1 and "damage" in out + err
    for user in (MARIO, ANNA):
        wanted = [d for d in kept.wanted(user) if d != lost or user not in rcpts]
        assert sorted(below_block(read(f)) for f in maildir(kept.folder, user)) == sorted(wanted)
    code, r = kept.export_json()
    assert (code, r["ok"], r["written"]) == (1, False, 0)
    assert r["damaged"] == (len(rcpts) if sealed else 0) and r["damaged_places"] == (not sealed)
    if sealed:
        assert "its record is damaged" in err
        assert found[0]["recipients"] == len(rcpts) and found[0]["unsettled"] == len(rcpts)


def test_a_damaged_body_is_named_and_not_exported(world):
    kept = Kept(world)
    kept.relay.stop()
    check_damaged(kept, 20, damage(kept, 20, -40), sealed=True)


def test_a_damaged_record_of_a_killed_relay_is_named_and_not_exported(world):
    kept = Kept(world)
    kept.relay.kill()
    check_damaged(kept, 13, damage(kept, 13, 20), sealed=False)


def test_a_torn_tail_is_no_damage(world):
    """What kill -9 in the middle of a write leaves: half a record, never acknowledged."""
    kept = Kept(world)
    kept.relay.kill()
    path = kept.segments()[0]
    off, length = record_of(path, b"n07")
    whole = read(path)
    with open(path, "ab") as f:
        f.write(whole[off:off + length // 2])
    code, r = tool_json("spool", "verify", "-c", kept.relay.conf)
    assert (code, r["damage"], r["notes"]) == (0, 0, 1)
    assert r["findings"][0]["offset"] == len(whole)
    code, r = kept.export_json()
    assert (code, r["written"]) == (0, kept.count)


def test_forged_results_are_left_out_as_in_a_replay(world):
    relay = world.relay()
    world.down()
    forged = b"Authentication-Results: mx2.relay.example; dkim=pass header.d=bank.example\r\n"
    data = mail.message(SENDER, MARIO, extra=forged + b"X-Other: y\r\n")
    assert mail.send(relay.port, SENDER, MARIO, data)[0] == 250
    assert mail.send(relay.port, "", MARIO, data)[0] == 250
    relay.wait_balance(held=2)
    relay.kill()
    folder = os.path.join(relay.folder, "out")
    assert tool("export", "-c", relay.conf, "--to", folder)[0] == 0
    got = [read(f) for f in maildir(folder, MARIO)]
    assert sorted(g.split(b"\r\n")[0] for g in got) == [b"Return-Path: <>",
                                                       b"Return-Path: <%s>" % SENDER.encode()]
    for g in got:
        assert g.endswith(data.replace(forged, b"")) and b"bank.example" not in g
    # the same bytes as the replay gives the store, below the Return-Path
    relay.start()
    world.up()
    relay.command("queue", "retry", "--domain", "shop.example")
    stored = sorted(m.data for m in world.store.wait(2))
    assert stored == sorted(re.sub(rb"\A.*\r\n.*\r\n", b"", g) for g in got)


def test_interrupted_it_goes_on_the_next_time(world):
    kept = Kept(world)
    kept.relay.kill()
    p = subprocess.Popen([BINARY, "export", "-c", kept.relay.conf, "--to", kept.folder, "--json"],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.send_signal(signal.SIGTERM)
    out = p.communicate(timeout=60)[0]
    assert p.returncode in (0, 1, -signal.SIGTERM)
    done = json.loads(out)["written"] if out else 0
    code, r = kept.export_json()
    assert code == 0 and r["written"] + r["present"] == kept.count
    assert r["present"] == done or not out
    assert len(maildir(kept.folder, MARIO)) == len(kept.wanted(MARIO))


def test_a_folder_that_takes_no_more(world):
    """Whole messages stay, half ones go; once there is room it goes on."""
    kept = Kept(world)
    kept.relay.kill()
    for form in ("maildir", "mbox"):
        folder = os.path.join(kept.relay.folder, form)

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
        r = subprocess.run([BINARY, "export", "-c", kept.relay.conf, "--to", folder, "--format",
                            form, "--json"], capture_output=True, text=True, preexec_fn=limit)
        done = json.loads(r.stdout)
        assert r.returncode == 1 and not done["ok"] and "File too large" in done["error"]
        assert 0 < done["written"] < kept.count
        if form == "maildir":
            whole = [read(f) for u in (MARIO, ANNA) for f in maildir(folder, u)]
            assert len(whole) == done["written"] and maildir(folder, MARIO, "tmp") == []
            assert all(below_block(w) in [d for _, d in kept.sent] for w in whole)
        code, done2 = kept.export_json("--format", form, folder=folder)
        assert code == 0 and done2["written"] + done2["present"] == kept.count
        assert done2["present"] == done["written"]


def test_errors_are_json_when_asked_for(world):
    relay = world.relay()
    for words in (["spool", "verify"], ["export", "--to", os.path.join(relay.folder, "x")]):
        code, r = tool_json(*words, "-c", relay.conf)
        assert code == 1 and not r["ok"] and "--live" in r["error"]
        code, r = tool_json(*words, "--spool", os.path.join(relay.folder, "nowhere"))
        assert code == 1 and not r["ok"] and "No such file" in r["error"]


def test_report(world):
    kept = Kept(world)
    code, out, err = tool("report", "-c", kept.relay.conf)
    assert code == 0 and re.search(r"shop\.example +- +%d +0 +0 +0 +0 +%d .* ok " % (
        kept.count, kept.count), out), out
    code, r = tool_json("report", "shop.example", "-c", kept.relay.conf)
    d = r["domains"][0]
    assert code == 0 and d["balanced"] and d["received"] == d["held"] == kept.count
    assert tool("report", "other.example", "-c", kept.relay.conf)[0] == 1
    kept.relay.kill()
    assert tool("report", "-c", kept.relay.conf)[0] == 1
    kept.relay.start()
    assert tool_json("report", "-c", kept.relay.conf)[1]["domains"] == [d]
