# SPDX-License-Identifier: Apache-2.0
"""P1, P2 and P6 on a bad disk: each call that the queue makes on its files fails or
hangs under load, while everything else goes on. Whatever the call and the errno: no
5xx, an answer within 5 s, nothing acknowledged is lost, deliveries of what is queued
go on, accepting resumes within 5 s after the fault, without a restart."""
import os
import socket
import threading
import time

import pytest

from tests.crash.fault import FILES, Fault
from tests.crash.kit import (ANSWER_MAX, LONG, Loads, Tally, identity, message, recipients,
                             wait_for)
from tests.crash.mount import Ext4
from tests.lib.ports import free_port

TOP = "segment-size = 64K\nconnections-max = 4\n"


class Case:
    """`still` says what must go on while the fault lasts: a(ccepting), d(eliveries).
    `cold`: the queued mail is from before a start, so it must be read from the disk."""

    def __init__(self, name, calls, files=FILES, error=0, hold=1.5, still="d", short=False,
                 cold=False, **kw):
        self.name, self.calls, self.files, self.error = name, calls, files, error
        self.hold, self.still, self.short, self.cold, self.more = hold, still, short, cold, kw


CASES = [
    Case("write-log-EIO", "write", "log", "EIO", short=True),
    Case("write-log-ENOSPC-torn", "write", "log", "ENOSPC", flags=["torn"], short=True),
    Case("write-log-EIO-torn", "write", "log", "EIO", flags=["torn"]),
    Case("write-log-once", "write", "log", "EIO", count=1, still="ad"),
    Case("write-progress-EIO", "write", "prg", "EIO", short=True),
    Case("write-progress-ENOSPC", "write", "prg", "ENOSPC"),
    Case("write-index", "write", "idx", "EIO", still="ad"),
    Case("write-everything-ENOSPC", "write", FILES, "ENOSPC", short=True),
    Case("write-everything-EROFS", ["write", "sync", "open", "rename", "unlink"], FILES, "EROFS",
         still=""),
    Case("sync-log-EIO", "sync", "log", "EIO", short=True),
    Case("sync-log-EIO-once", "sync", "log", "EIO", count=1, still="ad", short=True),
    Case("sync-log-ENOSPC", "sync", "log", "ENOSPC"),
    Case("sync-log-after", "sync", "log", "EIO", flags=["after"], count=2),
    Case("sync-progress", "sync", "prg", "EIO"),
    Case("sync-index", "sync", "idx", "EIO", still="ad"),
    Case("sync-directory", "sync", "dir", "EIO"),
    Case("sync-everything", "sync", FILES, "EIO", short=True),
    Case("open-EIO", "open", FILES, "EIO", still="", short=True),
    Case("open-ENOSPC", "open", FILES, "ENOSPC", still=""),
    Case("open-EMFILE", "open", FILES, "EMFILE", still=""),
    Case("rename-EIO", "rename", FILES, "EIO", still="ad", hold=3.5),
    Case("rename-ENOSPC", "rename", FILES, "ENOSPC", still="ad", hold=3.5),
    Case("unlink-EIO", "unlink", FILES, "EIO", still="ad", hold=3, short=True),
    Case("truncate-EIO", "truncate", FILES, "EIO", still="ad"),
    Case("allocate-ENOSPC", "allocate", FILES, "ENOSPC"),
    Case("allocate-unsupported", "allocate", FILES, "EOPNOTSUPP", still="ad"),
    Case("read-EIO-once", "read", FILES, "EIO", still="ad", cold=True, count=3, short=True),
    Case("read-EIO", "read", FILES, "EIO", still="a", cold=True, short=True),
    Case("hang-read-log-cold", "read", "log", delay=30.0, hold=6.5, still="a", cold=True, short=True),
    Case("hang-read-cold", "read", FILES, delay=30.0, hold=6.5, still="", cold=True),
    Case("statvfs-EIO", "statvfs", FILES, "EIO", still="ad"),
    Case("hang-sync-log", "sync", "log", delay=30.0, hold=6.5, short=True),
    Case("hang-sync-progress", "sync", "prg", delay=30.0, hold=6.5),
    Case("hang-write-log", "write", "log", delay=30.0, hold=6.5),
    Case("hang-write-everything", "write", FILES, delay=30.0, hold=6.5),
    Case("hang-rename", "rename", FILES, delay=30.0, hold=6.5, still="ad"),
    Case("hang-open", "open", FILES, delay=30.0, hold=6.5, still="", short=True),
    Case("hang-unlink", "unlink", FILES, delay=30.0, hold=6.5, still="d"),
    Case("hang-open-cold", "open", FILES, delay=30.0, hold=6.5, still="", cold=True),
    Case("hang-unlink-cold", "unlink", FILES, delay=30.0, hold=6.5, still="d", cold=True),
    Case("sync-log-cold", "sync", "log", "EIO", cold=True),
    Case("slow-sync", "sync", FILES, delay=0.1, still="ad"),
]



class Disk:
    """One relay through all cases: none of them may need a restart."""

    def __init__(self, world, state=None, reserve=None):
        self.world, self.closed, self.acked = world, False, {}
        # One user is refused until the end: logs are rewritten without the others' mail.
        self.shy = True
        world.down()
        world.up(script=lambda stage, arg: "451 4.3.2 later" if (self.closed and
                 stage in ("mail", "rcpt")) or (self.shy and stage == "rcpt" and
                                                "anna" in arg) else None)
        self.relay = world.relay(start=False, users=None, top=TOP)
        if state is not None:
            self.relay.write_conf(state=state)
            self.relay.state = state
        if reserve is not None:
            with open(self.relay.conf) as f:
                text = f.read()
            with open(self.relay.conf, "w") as f:
                f.write(text.replace("disk-reserve = 1M", "disk-reserve = " + reserve))
        self.relay.import_users(world.USERS)
        self.fault = Fault(self.relay.folder)
        self.fault.start(self.relay)
        self.pid = self.relay.roles("queue")[0]["pid"]

    def seen(self):
        return len(self.world.store.messages)

    def run(self, case):
        """What must hold during and after one fault, and what it cost."""
        began = time.monotonic()
        self.closed = True
        if case.cold:
            self.queue_before_a_start(case)
        loads = Loads(self.relay.port, name=case.name + "-")
        wait_for(lambda: len(loads.acknowledged()) > 30, 10, "the load before the fault")
        self.fault.set(case.calls, case.files, case.error, **case.more)
        struck = time.monotonic()
        self.closed = False
        before = self.seen()
        self.during(case, loads, struck)
        hits = self.fault.hits()
        self.fault.lift()
        lifted = time.monotonic()
        delivered = self.seen() - before
        wait_for(lambda: any(a.code == 250 and a.sent > lifted for a in loads.answers()), 5,
                 "accepting again after " + case.name)
        back = time.monotonic() - lifted
        time.sleep(0.3)
        loads.stop()
        loads.check_answers()
        assert hits > 0, "%s: the fault struck nothing" % case.name
        if "d" in case.still:
            assert delivered > 0, "%s: no delivery of queued mail during the fault" % case.name
        if "a" in case.still:
            assert [a for a in loads.answers() if a.code == 250 and a.sent > struck + 0.2
                    and a.came < lifted], "%s: nothing accepted meanwhile" % case.name
        role = self.relay.roles("queue")[0]
        assert (role["pid"], role["restarts"]) == (self.pid, 0), "the queue was restarted"
        self.acked.update(loads.acknowledged())
        codes = [a.code for a in loads.answers() if a.sent > struck and a.came < lifted]
        print("%-26s hits %4d, answers %4d (%d ok), slowest %.2f s, delivered %4d, back in %.2f s"
              ", %.1f s" % (case.name, hits, len(codes), codes.count(250), loads.slowest(),
                            delivered, back, time.monotonic() - began))

    def queue_before_a_start(self, case):
        loads = Loads(self.relay.port, name=case.name + "-cold-")
        wait_for(lambda: len(loads.acknowledged()) > 200, 10, "the load before the start")
        loads.stop()
        self.acked.update(loads.acknowledged())
        self.relay.kill()
        self.fault.start(self.relay)
        self.pid = self.relay.roles("queue")[0]["pid"]

    def during(self, case, loads, struck):
        while time.monotonic() - struck < case.hold:
            time.sleep(0.1)
        if case.hold > ANSWER_MAX:
            # Clients that sent before now - 5 s have their answers, whatever hangs.
            limit = time.monotonic() - ANSWER_MAX
            waiting = [one.prefix for one in loads.all if one.unknown and
                       not any(a.came > limit for a in list(one.answers))]
            assert not waiting, "%s: no answer since the fault: %r" % (case.name, waiting)

    def finish(self):
        """Everything is delivered and the sums are exact."""
        self.shy = False
        self.relay.wait_balance(timeout=100, held=0)
        tally = Tally(self.world.store.messages, self.acked).check()
        b = self.relay.balance()
        assert identity(b), b
        assert b["replayed"] == tally.distinct, (b, str(tally))
        assert "AddressSanitizer" not in self.relay.log()
        print(tally)
        return tally


@pytest.mark.parametrize("case", [c for c in CASES if c.short or LONG],
                         ids=lambda c: c.name)
def test_a_fault(world, case):
    disk = Disk(world)
    disk.run(case)
    disk.finish()


STARTS = [("index", "read", "idx", "EIO"), ("once", "read", ["log", "idx"], "EIO")]
if LONG:
    STARTS += [("progress", "read", "prg", "EIO"), ("log", "read", "log", "EIO"),
               ("all", "read", ["log", "idx"], "EIO"),
               ("descriptors", "open", ["log", "idx", "prg"], "EMFILE")]


@pytest.mark.parametrize("clean", [True, False] if LONG else [False],
                         ids=lambda c: "stopped" if c else "killed")
@pytest.mark.parametrize("name, calls, files, error", STARTS,
                         ids=lambda v: v if isinstance(v, str) else "")
def test_a_start_on_a_disk_that_does_not_read(world, name, calls, files, error, clean):
    """What cannot be read today may be readable tomorrow: nothing of it is given up."""
    disk = Disk(world)
    disk.closed = True
    loads = Loads(disk.relay.port, name="s-")
    wait_for(lambda: len(loads.acknowledged()) > 300, 10, "the load")
    loads.stop()
    disk.acked = loads.acknowledged()
    time.sleep(1.2)		# for the housekeeping of full segments
    disk.relay.stop() if clean else disk.relay.kill()
    disk.fault.set(calls, files, error, count=1 if name == "once" else 0)
    try:
        disk.fault.start(disk.relay)
    except AssertionError:
        pass		# to refuse is no loss; a relay that starts must keep it too
    assert disk.fault.hits() > 0 or (clean and name == "progress")
    time.sleep(2.5)
    disk.fault.lift()
    disk.closed = False
    if disk.relay.process.poll() is None:
        disk.relay.kill()
    disk.relay.start()
    disk.finish()


def test_failover_while_the_disk_hangs(world):
    """An operator's switch is written to the disk as well; clients are not to wait for it."""
    disk = Disk(world)
    loads = Loads(disk.relay.port, name="switch-")
    wait_for(lambda: len(loads.acknowledged()) > 30, 10, "the load")
    disk.fault.set(["sync", "write", "rename"], ["other", "dir"], delay=30.0)
    switch = threading.Thread(target=lambda: disk.relay.command(
        "failover", "on", "shop.example", "--reason", "test", check=False), daemon=True)
    switch.start()
    time.sleep(7)
    limit = time.monotonic() - ANSWER_MAX
    waiting = [one.prefix for one in loads.all if not any(a.came > limit for a in one.answers)]
    assert disk.fault.hits() > 0
    disk.fault.lift()
    loads.stop()
    disk.acked = loads.acknowledged()
    assert not waiting, "no answer since the switch: %r" % waiting
    loads.check_answers()
    disk.relay.failover("off")
    disk.finish()


def test_a_full_disk(world):
    """A real file system, filled to the last block by somebody else: 4xx, deliveries go
    on, and when the space is back so are we, within 5 s."""
    ext4 = Ext4(world.folder, 48)
    try:
        disk = Disk(world, state=os.path.join(ext4.path, "state"), reserve="0")
        for turn in range(3 if LONG else 1):
            filler = os.path.join(ext4.path, "filler")
            disk.closed = True
            loads = Loads(disk.relay.port, name="full%d-" % turn)
            wait_for(lambda: len(loads.acknowledged()) > 50, 10, "the load before")
            with open(filler, "wb", buffering=0) as f:
                try:
                    while True:
                        f.write(bytes(65536))
                except OSError:
                    pass
            wait_for(lambda: any(a.code >= 400 for a in loads.answers()), 30, "a full disk")
            before, full = disk.seen(), time.monotonic()
            disk.closed = False
            wait_for(lambda: disk.seen() >= before + 50, 10, "deliveries on a full disk")
            time.sleep(0.5)
            os.unlink(filler)
            freed = time.monotonic()
            wait_for(lambda: any(a.code == 250 and a.sent > freed for a in loads.answers()), 5,
                     "accepting after space returned")
            back = time.monotonic() - freed
            time.sleep(0.2)
            loads.stop()
            loads.check_answers()
            disk.acked.update(loads.acknowledged())
            codes = sorted({a.code for a in loads.answers() if full < a.sent < freed})
            assert 452 in codes, codes
            print("full: answers %r, back in %.2f s" % (codes, back))
        disk.finish()
    finally:
        world.close()
        ext4.close()


def test_a_disk_that_becomes_read_only(world):
    """As ext4 does by itself after an error (errors=remount-ro)."""
    ext4 = Ext4(world.folder, 48)
    try:
        disk = Disk(world, state=os.path.join(ext4.path, "state"))
        disk.closed = True
        loads = Loads(disk.relay.port, name="ro-")
        wait_for(lambda: len(loads.acknowledged()) > 50, 10, "the load before")
        cut = time.monotonic()
        assert ext4.cut() == 0
        disk.closed = False
        wait_for(lambda: any(a.code >= 400 for a in loads.answers()), 10, "an answer")
        wait_for(lambda: disk.seen() >= 30, 10, "deliveries on a dead disk")
        time.sleep(1)
        loads.stop()
        loads.check_answers()
        assert not [a for a in loads.answers() if a.code == 250 and a.sent > cut + 0.1], \
            "acknowledged on a dead disk"
        # A sync that the cut met half-way may be called a success by ext4.
        disk.acked.update({k: a for k, a in loads.acknowledged().items() if a.came < cut})
        disk.relay.kill()
        ext4.back()
        disk.fault.start(disk.relay)
        disk.finish()
    finally:
        world.close()
        ext4.close()


# ---- the tests above can fail ----

def test_a_disk_that_swallows_writes_is_noticed(world):
    """Negative control: with writes to the log made a no-op, mail must be missing after
    a kill, or the reckoning proves nothing."""
    disk = Disk(world)
    disk.closed = True
    disk.fault.set("write", "log", flags=["noop"])
    loads = Loads(disk.relay.port, name="noop-")
    wait_for(lambda: len(loads.acknowledged()) > 50, 10, "the load")
    loads.stop()
    assert disk.fault.hits() > 0
    disk.relay.kill()
    disk.relay.start()
    disk.closed = False
    time.sleep(2)
    assert Tally(world.store.messages, loads.acknowledged()).lost


class Liar(threading.Thread):
    """Answers the end of data late, and with a 5xx."""

    def __init__(self, late):
        super().__init__(daemon=True)
        self.port, self.late = free_port(), late
        self.server = socket.create_server(("127.0.0.1", self.port))
        self.start()

    def run(self):
        c, _ = self.server.accept()
        f = c.makefile("rb")
        c.sendall(b"220 x\r\n")
        for line in f:
            verb = line[:4].upper()
            if verb == b"DATA":
                c.sendall(b"354 x\r\n")
                while f.readline() != b".\r\n":
                    pass
                time.sleep(self.late)
                c.sendall(b"554 x\r\n" if not self.late else b"250 x\r\n")
            else:
                c.sendall(b"250 x\r\n")
            if verb == b"QUIT":
                return


@pytest.mark.parametrize("late, says", [(0, "5xx"), (0.5, "answers after")])
def test_the_load_notices_bad_answers(late, says):
    loads = Loads(Liar(late).port, n=1)
    wait_for(lambda: loads.answers(), 5, "an answer")
    for one in loads.all:
        one.stopping = True
    with pytest.raises(AssertionError, match=says):
        loads.check_answers(limit=0.3)


def test_the_reckoning_notices_loss_and_damage():
    class M:
        mail_from, rcpts = "news@sender.example", ["mario@shop.example"]

        def __init__(self, data):
            self.data = data
    keys = [k for k in ("a-%d" % i for i in range(50)) if len(recipients(k)) == 1][:4]
    trace = b"Received: by x\r\n"
    whole = [M(trace + message(k)) for k in keys]
    assert Tally(whole, keys).check().duplicates == 0
    assert Tally(whole[1:], keys).lost == [(keys[0], "mario@shop.example")]
    assert Tally(whole + whole[:1], keys).check().duplicates == 1
    bad = bytearray(whole[2].data)
    bad[-20] ^= 1
    for data in (bytes(bad), whole[2].data[:-2], b"", whole[2].data + b"\r\n"):
        with pytest.raises(AssertionError, match="damaged"):
            Tally(whole + [M(data)], keys).check()
