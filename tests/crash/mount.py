# SPDX-License-Identifier: Apache-2.0
"""A small ext4 of its own on a loop device: to fill up, and to cut off in mid-flight."""
import fcntl
import os
import struct
import subprocess
import time

import pytest

EXT4_IOC_SHUTDOWN = 0x8004587D
NOLOGFLUSH = 2		# neither data nor journal is written any more, as when the power goes


def run(*words):
    return subprocess.run(words, capture_output=True, text=True)


class Ext4:
    def __init__(self, folder, megabytes):
        self.image = os.path.join(folder, "disk.img")
        self.path = os.path.join(folder, "disk")
        self.mounted = False
        if os.getuid() != 0:
            pytest.skip("needs root: a loop device cannot be mounted")
        with open(self.image, "wb") as f:
            f.truncate(megabytes << 20)
        os.makedirs(self.path)
        made = run("mkfs.ext4", "-q", "-m", "0", "-F", self.image)
        if made.returncode != 0:
            pytest.skip("mkfs.ext4: " + made.stderr.strip())
        why = self.mount()
        if why:
            pytest.skip("no loop device can be mounted here: " + why)
        os.chmod(self.path, 0o755)

    def mount(self):
        r = run("mount", "-o", "loop", self.image, self.path)
        self.mounted = r.returncode == 0
        return r.stderr.strip()

    def unmount(self):
        end = time.monotonic() + 10
        while self.mounted:
            r = run("umount", self.path)
            self.mounted = r.returncode != 0
            if self.mounted:
                assert time.monotonic() < end, r.stderr
                time.sleep(0.02)

    def cut(self):
        """From this instant nothing reaches the device; 0, or errno when the file
        system does not know the call."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
            return 0
        except OSError as e:
            return e.errno
        finally:
            os.close(fd)

    def back(self):
        """What a machine finds after the power cut: the journal is replayed."""
        self.unmount()
        why = self.mount()
        assert self.mounted, why

    def free(self):
        v = os.statvfs(self.path)
        return v.f_bavail * v.f_frsize

    def close(self):
        self.unmount()
