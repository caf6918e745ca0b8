# SPDX-License-Identifier: Apache-2.0
"""What a power cut may leave. fault.so records each write, sync and change of a
directory; for a cut at any point of that record a folder is built that holds what was
synced before, and of the rest whatever chance decides: writes sector by sector, in any
order, zeros or noise where a file grew and its data did not come; names only up to some
point after the last sync of their directory. That is less than any file system of today
promises, so what survives it survives them."""
import os
import struct

OPENED, WRITE, TRUNCATE, SYNC_BEGIN, SYNC_END, RENAME, UNLINK, MKDIR = range(1, 9)
HEAD = struct.Struct("<IIQQQQ")
SECTOR = 512


class Op:
    __slots__ = ("at", "kind", "ino", "dir", "off", "len", "body")


def read(path):
    with open(path, "rb") as f:
        raw = f.read()
    ops, at = [], 0
    while at + HEAD.size <= len(raw):
        o = Op()
        o.kind, extra, o.ino, o.dir, o.off, o.len = HEAD.unpack_from(raw, at)
        if at + HEAD.size + extra > len(raw):
            break
        o.body = raw[at + HEAD.size:at + HEAD.size + extra]
        at += HEAD.size + extra
        o.at = at		# the record has this length once the op is in it
        ops.append(o)
    return ops


class File:
    def __init__(self, name=""):
        self.name = name
        self.data = bytearray()		# what is on the disk
        self.pending = []		# ops since, in order
        self.syncing = []		# how many of them each sync under way covers

    def apply(self, op, sectors=None, fill=None):
        if op.kind == TRUNCATE:
            del self.data[op.off:]
            self.data.extend(bytes(op.off - len(self.data)))
            return
        end = op.off + len(op.body)
        if len(self.data) < end:
            self.data.extend((fill or bytes)(end - len(self.data)))
        if sectors is None:
            self.data[op.off:end] = op.body
            return
        at = op.off
        while at < end:
            to = min((at // SECTOR + 1) * SECTOR, end)
            if sectors():
                self.data[at:to] = op.body[at - op.off:to - op.off]
            at = to


class Disk:
    """Follows the record. `deaf` is for negative controls: syncs of files whose name ends
    so do not count."""

    def __init__(self, root, deaf=None):
        self.root, self.deaf = root, deaf
        self.files = {}			# by inode
        self.dirs = {root: {}}		# durable: inode of directory -> name -> object or inode
        self.now = {root: {}}		# as the process sees it
        self.pending = {root: []}	# changes of the names in a directory
        self.syncing = {root: []}

    def name(self, d, change):
        self.pending[d].append(change)
        apply_name(self.now[d], change)

    def step(self, o):
        if o.kind == OPENED:
            name = o.body.decode()
            if o.off & 4 or o.dir not in self.now:
                return
            if o.off & 1 or o.ino not in self.files:
                assert o.off & 1, "%s was there before the record began" % name
                self.files[o.ino] = f = File(name)
                self.name(o.dir, ("add", name, f))
            elif o.off & 2:
                self.note(self.files[o.ino], cut_to_nothing())
        elif o.kind == MKDIR:
            self.name(o.dir, ("add", o.body.decode(), o.ino))
            for table, empty in ((self.dirs, {}), (self.now, {}), (self.pending, []),
                                 (self.syncing, [])):
                table[o.ino] = empty
        elif o.kind == UNLINK:
            self.name(o.dir, ("del", o.body.decode()))
        elif o.kind == RENAME:
            self.name(o.dir, ("ren",) + tuple(o.body.decode().split("/")))
        elif o.kind in (WRITE, TRUNCATE):
            if o.ino in self.files:
                self.note(self.files[o.ino], o)
        elif o.kind in (SYNC_BEGIN, SYNC_END):
            self.sync(o)

    @staticmethod
    def note(f, o):
        f.pending.append(o)

    def sync(self, o):
        if o.ino in self.pending:		# a directory
            pending, syncing = self.pending[o.ino], self.syncing[o.ino]
        elif o.ino in self.files:
            if self.deaf is not None and self.files[o.ino].name.endswith(self.deaf):
                return
            pending, syncing = self.files[o.ino].pending, self.files[o.ino].syncing
        else:
            return
        if o.kind == SYNC_BEGIN:
            syncing.append(len(pending))
            return
        covered = syncing.pop(0)
        for op in pending[:covered]:
            if o.ino in self.pending:
                apply_name(self.dirs[o.ino], op)
            else:
                self.files[o.ino].apply(op)
        del pending[:covered]
        syncing[:] = [max(0, n - covered) for n in syncing]

    def build(self, folder, rng):
        """The state after a cut at this point."""
        self._build(self.root, folder, rng)

    def _build(self, ino, folder, rng):
        os.makedirs(folder, exist_ok=True)
        names = dict(self.dirs[ino])
        pending = self.pending[ino]
        for change in pending[:rng.choice([0, len(pending), rng.randint(0, len(pending))])]:
            apply_name(names, change)
        for name, what in names.items():
            path = os.path.join(folder, name)
            if isinstance(what, File):
                with open(path, "wb") as f:
                    f.write(left_of(what, rng))
            else:
                self._build(what, path, rng)


def apply_name(names, change):
    if change[0] == "add":
        names[change[1]] = change[2]
    elif change[0] == "del":
        names.pop(change[1], None)
    elif change[1] in names:
        names[change[2]] = names.pop(change[1])


def cut_to_nothing():
    o = Op()
    o.kind, o.off, o.body = TRUNCATE, 0, b""
    return o


def left_of(file, rng):
    f = File()
    f.data = bytearray(file.data)
    mode = rng.choice(["nothing", "everything", "some", "some", "some"])
    fill = rng.choice([bytes, bytes, rng.randbytes])
    share = rng.choice([0.1, 0.5, 0.9, 0.99])
    for op in file.pending:
        if mode == "everything":
            f.apply(op)
        elif mode == "some" and (op.kind == WRITE or rng.random() < share):
            if rng.random() < 0.8:
                f.apply(op, lambda: rng.random() < share, fill)
    return bytes(f.data)
