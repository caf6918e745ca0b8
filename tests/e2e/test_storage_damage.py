# SPDX-License-Identifier: Apache-2.0
"""A spool that was damaged while the relay was stopped: bits flipped, files cut,
blocks zeroed, files swapped, doubled and missing; some of its logs were rewritten,
without what was settled or with compressed bodies. Start never fails; what is damaged is
set aside with its bytes and reported; everything else is delivered, and not one
damaged byte is."""
import os
import random
import re
import shutil
import struct
import subprocess
import time

import pytest

from tests.crash.kit import LONG, SEED, Loads, Tally, identity, wait_for

ROUNDS = int(os.environ.get("CRASH_DAMAGE", "200" if LONG else "16"))
TOP = "segment-size = 64K\n"
HEAD = 64
META = ["totals.a", "totals.b", "audit.log", "lock"]
OPEN = os.environ.get("CRASH_OPEN", "") not in ("", "0")
if OPEN:	# not true yet: a damaged one stops the start
    META.append("failover.json")


def records(data):
    """(offset, end, key or None) of each message in a log. docs/spool.md."""
    at, found = HEAD, []
    while at + HEAD <= len(data) and data[at:at + 4] == data[HEAD:HEAD + 4]:
        kind, nrcpt = data[at + 5], struct.unpack_from("<H", data, at + 26)[0]
        env, body = struct.unpack_from("<IQ", data, at + 28)
        end = at + (HEAD + nrcpt + env + body + 7 & ~7)
        content = data[at:end]
        if kind == 1 and data[at + 6] == 1:
            start = at + HEAD + nrcpt + env
            content = subprocess.run(["zstd", "-dcq"], input=data[start:start + body],
                                     capture_output=True, check=True).stdout
        key = re.search(rb"\r\nSubject: key ([0-9A-Za-z.-]+)\r\n", content)
        if kind == 1:
            found.append((at, end, key and key.group(1).decode()))
        at = end
    return found


class Spool:
    """A state folder with mail in it, some of it delivered, to be damaged again and again."""

    def __init__(self, world, clean):
        self.world, self.closed, self.shy = world, True, True
        world.down()
        world.up(script=lambda stage, arg: "451 4.3.2 later" if (self.closed and
                 stage in ("mail", "rcpt")) or (self.shy and stage == "rcpt" and
                                                "anna" in arg) else None)
        self.relay = world.relay(top=TOP)
        self.relay.failover("on")
        self.load("held", 80)
        self.relay.failover("off")
        self.load("first", 120)
        self.closed = False
        wait_for(lambda: len(world.store.messages) > 30, 10, "some deliveries")
        self.closed = True
        self.load("second", 60)
        self.relay.kill()	# of old segments held mail is compressed at once
        self.relay.start()
        wait_for(lambda: "packed=yes" in self.relay.log(), 10, "compressed mail")
        time.sleep(1.2)		# for the housekeeping of what is full
        self.relay.stop() if clean else self.relay.kill()
        self.delivered = list(world.store.messages)
        self.state, self.template = self.relay.state, os.path.join(world.folder, "template")
        if os.path.exists(os.path.join(self.state, "control.sock")):
            os.unlink(os.path.join(self.state, "control.sock"))
        os.rename(self.state, self.template)
        self.files = {}
        top = os.path.join(self.template, "queue")
        for folder, _, names in os.walk(top):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as f:
                    self.files[os.path.relpath(path, top)] = f.read()
        self.records = {n: records(d) for n, d in self.files.items() if re.match(r"seg/\d+\.log", n)}
        assert sum(len(r) for r in self.records.values()) > 100
        logs = b"".join(d for n, d in self.files.items() if n in self.records)
        packed, settled = b"SvRc\1\1\1\0", b"SvRc\1\3\0\0"
        print("records: %d compressed, %d of settled mail" % (logs.count(packed),
                                                              logs.count(settled)))
        assert packed in logs

    def load(self, name, n):
        if not hasattr(self, "acked"):
            self.acked = {}
        loads = Loads(self.relay.port, name=name + "-", n=2)
        wait_for(lambda: len(loads.acknowledged()) >= n, 10, "the load")
        loads.stop()
        self.acked.update(loads.acknowledged())

    def fresh(self):
        self.where = {}		# original name -> present name, where they differ
        shutil.rmtree(self.state, ignore_errors=True)
        shutil.copytree(self.template, self.state)
        for folder, names, files in os.walk(self.template):
            for name in names + files:
                path = os.path.join(folder, name)
                st = os.stat(path)
                os.chown(os.path.join(self.state, os.path.relpath(path, self.template)),
                         st.st_uid, st.st_gid)
        st = os.stat(self.template)
        os.chown(self.state, st.st_uid, st.st_gid)

    def path(self, name):
        return os.path.join(self.state, "queue", name)


# ---- kinds of damage: each changes files and says what it did ----

def target(rng, spool, kinds=("log", "log", "log", "idx", "prg", "meta")):
    kind = rng.choice(kinds)
    names = [n for n in sorted(spool.files) if (n.endswith("." + kind) and n.startswith("seg/")) or
             (kind == "meta" and n in META)]
    return rng.choice(names or sorted(spool.records))


def change(spool, name, edit):
    path = spool.path(name)
    if not os.path.exists(path):
        return
    with open(path, "r+b") as f:
        data = bytearray(f.read())
        edit(data)
        f.seek(0)
        f.truncate()
        f.write(data)


def flip_bits(rng, spool):
    name, n = target(rng, spool), rng.choice([1, 1, 3, 40])

    def edit(d):
        for _ in range(n if d else 0):
            d[rng.randrange(len(d))] ^= 1 << rng.randrange(8)
    change(spool, name, edit)
    return "%d bits of %s" % (n, name)


def flip_in_head(rng, spool):
    name, at = target(rng, spool), rng.randrange(64)

    def edit(d):
        if len(d) > at:
            d[at] ^= 1 << rng.randrange(8)
    change(spool, name, edit)
    return "byte %d of %s" % (at, name)


def truncate(rng, spool):
    name, share = target(rng, spool), rng.choice([0, rng.random(), rng.random()])
    change(spool, name, lambda d: d.__delitem__(slice(int(len(d) * share), None)))
    return "%s cut at %.3f" % (name, share)


def zero_blocks(rng, spool):
    name, size = target(rng, spool), rng.choice([512, 4096, 4096, 20000])

    def edit(d):
        at = rng.randrange(max(1, len(d))) // 512 * 512
        end = min(len(d), at + size)
        d[at:end] = bytes(end - at)
    change(spool, name, edit)
    return "%d zeros in %s" % (size, name)


def noise_blocks(rng, spool):
    name, size = target(rng, spool), rng.choice([1, 64, 512, 4096])

    def edit(d):
        at = rng.randrange(max(1, len(d)))
        end = min(len(d), at + size)
        d[at:end] = rng.randbytes(end - at)
    change(spool, name, edit)
    return "%d bytes of noise in %s" % (size, name)


def misplaced_block(rng, spool):
    """A disk that wrote a good block to the wrong place: stamps and CRCs are not enough
    when the block comes from the same file."""
    name = target(rng, spool)

    def edit(d):
        if len(d) > 8192:
            a, b = (rng.randrange(len(d) - 4096) // 8 * 8 for _ in range(2))
            d[b:b + 4096] = d[a:a + 4096]
    change(spool, name, edit)
    return "a block of %s at another place" % name


def longer(rng, spool):
    name, more = target(rng, spool), rng.choice([bytes(5000), rng.randbytes(777)])
    change(spool, name, lambda d: d.extend(more))
    return "%d more bytes in %s" % (len(more), name)


def missing(rng, spool):
    name = target(rng, spool)
    if os.path.exists(spool.path(name)):
        os.unlink(spool.path(name))
    return name + " missing"


def swapped(rng, spool):
    a = target(rng, spool, ("log", "prg", "idx"))
    b = target(rng, spool, (a[-3:],))
    if a != b and os.path.exists(spool.path(a)) and os.path.exists(spool.path(b)):
        os.rename(spool.path(a), spool.path(a) + "x")
        os.rename(spool.path(b), spool.path(a))
        os.rename(spool.path(a) + "x", spool.path(b))
        other = {a: b, b: a}
        was = {n: spool.where.get(n, n) for n in spool.files}
        spool.where = {n: other.get(at, at) for n, at in was.items()}
    return "%s and %s swapped" % (a, b)


def strangers(rng, spool):
    seg = spool.path("seg")
    owner = os.stat(seg)
    for name in ("000000000999.prg", "000000000998.idx", "000000000000.log", "x.log",
                 "000000000997.log"):
        with open(os.path.join(seg, name), "wb") as f:
            f.write(rng.randbytes(rng.choice([0, 10, 5000])))
        os.chown(os.path.join(seg, name), owner.st_uid, owner.st_gid)
    return "files that are not ours"


DAMAGE = [flip_bits, flip_bits, flip_in_head, truncate, truncate, zero_blocks, noise_blocks,
          misplaced_block, longer, missing, swapped, strangers]


def bytes_now(spool):
    """What lies in the damaged spool, by name."""
    found = {}
    for name in spool.files:
        if os.path.exists(spool.path(name)):
            with open(spool.path(name), "rb") as f:
                found[name] = f.read()
    return found


def intact(spool, now):
    """Keys whose record is still whole somewhere in a log, and all keys with a record."""
    whole, every = set(), set()
    logs = [d for n, d in now.items() if n in spool.records]
    for name, list_ in spool.records.items():
        for at, end, key in list_:
            every.add(key)
            raw = spool.files[name][at:end]
            if any(d[at:end] == raw for d in logs):
                whole.add(key)
    return whole, every


def kept_aside(spool, now, key):
    """The damaged record of that message, or what was left of it, is in damaged/: its own
    file may be unlinked once the rest of the segment is delivered."""
    kept = b"".join(read_all(spool.path("damaged")))	# in order: one may go on in the next
    for name, list_ in spool.records.items():
        for at, end, k in list_:
            left = now.get(spool.where.get(name, name), b"")[at:end]
            if k == key and (left.strip(b"\0") == b"" or left in kept):
                return True
    return False


def read_all(top):
    for folder, _, names in os.walk(top):
        for name in sorted(names):
            with open(os.path.join(folder, name), "rb") as f:
                yield f.read()


def excused(what):
    """Not true yet (CRASH_OPEN=1 insists): a page rebuilt while running from a log or
    progress that is damaged too; a log under another's name, with records out of order,
    or missing. There a whole record may be set aside, or a damaged one go unmentioned."""
    return (".idx" in what and (".prg" in what or ".log" in what)) or any(
        w in what for w in ("swapped", "another place", "missing"))


def one_round(spool, seed):
    rng = random.Random("damage %s" % seed)
    spool.fresh()
    done = [rng.choice(DAMAGE)(rng, spool) for _ in range(rng.choice([1, 1, 2, 4]))]
    now = bytes_now(spool)
    whole, every = intact(spool, now)
    assert None not in every
    must = {k for k in spool.acked if k in whole}
    spool.closed = spool.shy = False
    spool.world.store.messages = list(spool.delivered)
    open(spool.relay.log_file, "w").close()
    what = "seed %s: %s" % (seed, "; ".join(done))
    try:
        spool.relay.start()
    except AssertionError as e:
        raise AssertionError("%s: no start\n%s" % (what, str(e)[-1500:])) from None
    try:
        end = time.monotonic() + 10
        while time.monotonic() < end:
            tally = Tally(spool.world.store.messages, must)
            b = spool.relay.balance()
            if not tally.lost and b["held"] <= 0:
                break
            time.sleep(0.05)
        assert not tally.corrupt, "%s: %d damaged deliveries" % (what, len(tally.corrupt))
        assert not tally.strange, "%s: %r" % (what, tally.strange)
        lost = [k for k, _ in tally.lost if OPEN or not (excused(what) and
                                                        kept_aside(spool, now, k))]
        assert not lost, "%s: whole and not delivered: %r" % (what, lost[:3])
        assert identity(b), "%s: %r" % (what, b)
        gone = {k for k in spool.acked if (k, "mario@shop.example") not in tally.copies}
        if excused(what) and not OPEN:
            return len(gone)
        assert b["held"] == 0, "%s: %r" % (what, b)
        not_kept = [k for k in gone if not kept_aside(spool, now, k)]
        assert not not_kept, "%s: bytes of damaged records not kept: %r" % (what, not_kept[:3])
        if gone:
            log = spool.relay.log()
            assert " error queue spool-damaged " in log or " warn queue spool-" in log, \
                what + ": not reported"
    finally:
        spool.relay.kill()
    return len(gone)


@pytest.mark.parametrize("clean", [True, False], ids=["stopped", "killed"])
def test_random_damage(world, clean):
    spool, began, gone, bad = Spool(world, clean), time.monotonic(), 0, []
    for i in range(ROUNDS // 2):
        seed = "%d-%d-%s" % (SEED, i, clean)
        try:
            gone += one_round(spool, seed)
        except AssertionError as e:
            bad.append(str(e))
            print(str(e)[:600])
    print("%d rounds of damage in %.0f s: %d records set aside or gone, %d bad rounds" % (
        ROUNDS // 2, time.monotonic() - began, gone, len(bad)))
    assert not bad, "%d of %d rounds, first: %s" % (len(bad), ROUNDS // 2, bad[0][:600])


def open_test_a_damaged_record_behind_a_damaged_page(world):
    spool = Spool(world, True)
    name = [n for n in sorted(spool.records) if len(spool.records[n]) > 8 and
            n.replace("log", "idx") in spool.files][-2]
    at, end, key = spool.records[name][4]
    spool.fresh()
    change(spool, name, lambda d: d.__setitem__(end - 40, d[end - 40] ^ 1))
    change(spool, name.replace("log", "idx"),
           lambda d: d.__setitem__(slice(4196, 4696), bytes(500)))
    spool.closed = spool.shy = False
    now = bytes_now(spool)
    spool.world.store.messages = list(spool.delivered)
    spool.relay.start()
    spool.relay.wait_balance(timeout=10, held=0)
    assert kept_aside(spool, now, key)


def open_test_a_damaged_failover_file(world):
    """A relay that holds mail for a domain is worth more than none."""
    spool = Spool(world, True)
    spool.fresh()
    change(spool, "failover.json", lambda d: d.__setitem__(3, 0))
    spool.closed = spool.shy = False
    spool.world.store.messages = list(spool.delivered)
    spool.relay.start()
    spool.relay.wait_balance(timeout=10, held=0)


def open_test_a_missing_log_is_reported(world):
    spool = Spool(world, True)
    spool.fresh()
    name = sorted(spool.records)[-2]
    os.unlink(spool.path(name))
    os.unlink(spool.path(name.replace("log", "idx")))
    open(spool.relay.log_file, "w").close()
    spool.relay.start()
    assert int(name[-10:-4]) and re.search(
        r" (error|warn) queue spool-\S+ segment=%d " % int(name[-10:-4]), spool.relay.log())


if OPEN:
    test_a_damaged_record_behind_a_damaged_page = open_test_a_damaged_record_behind_a_damaged_page
    test_a_damaged_failover_file = open_test_a_damaged_failover_file
    test_a_missing_log_is_reported = open_test_a_missing_log_is_reported


def test_damage_is_noticed(world):
    """Negative control: bytes of a record are changed together with what the check
    expects; the reckoning must see both the changed and the missing message."""
    spool = Spool(world, True)
    name = max(spool.records, key=lambda n: len(spool.records[n]))
    at, end, key = spool.records[name][1]
    spool.fresh()
    change(spool, name, lambda d: d.__setitem__(end - 40, d[end - 40] ^ 1))
    spool.closed = spool.shy = False
    spool.world.store.messages = list(spool.delivered)
    spool.relay.start()
    time.sleep(2)
    spool.relay.kill()
    whole, every = intact(spool, bytes_now(spool))
    assert key in every and key not in whole
    tally = Tally(spool.world.store.messages, spool.acked)
    was = {re.search(rb"Subject: key (\S+)", m.data).group(1).decode() for m in spool.delivered}
    assert key in was or key in [k for k, _ in tally.lost]
