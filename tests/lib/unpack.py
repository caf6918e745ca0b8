# SPDX-License-Identifier: Apache-2.0
"""Programs of Debian packages that cannot be installed beside what is (there is one mail
server to a system): downloaded and unpacked into a folder of the tests' own, and run there."""
import glob
import os
import subprocess

import pytest


def unpack(folder, *packages):
    """`folder` with the packages' files below it, as below /. Skips the test when they cannot
    be had."""
    os.makedirs(folder, exist_ok=True)
    r = subprocess.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *packages],
                       cwd=folder, capture_output=True, text=True, timeout=120)
    debs = glob.glob(folder + "/*.deb")
    if r.returncode != 0 or len(debs) < len(packages):
        pytest.skip("cannot download %s: %s" % (" ".join(packages), r.stderr.strip()[-300:]))
    for deb in debs:
        subprocess.run(["dpkg", "-x", deb, folder], check=True, capture_output=True, timeout=60)
        os.unlink(deb)
    return folder


def with_users(folder, users, command, places=()):
    """`command` for subprocess, where these users and groups exist beside the system's, and each
    of `places`, which the program knows by name, is the directory of that name below `folder`: in a
    mount namespace of its own. Needs root."""
    if os.getuid() != 0:
        pytest.skip("needs root to give a program users of its own")
    lines = []
    for kind in ("passwd", "group"):
        path = os.path.join(folder, kind)
        with open("/etc/" + kind) as f:
            text = f.read()
        for i, u in enumerate(users):
            text += ("%s:x:%d:%d::/nonexistent:/bin/false\n" if kind == "passwd" else "%s:x:%d:\n") % (
                (u, 64990 + i, 64990 + i) if kind == "passwd" else (u, 64990 + i))
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o644)
        lines.append("mount --bind '%s' /etc/%s" % (path, kind))
    for place in places:
        os.makedirs(folder + place, exist_ok=True)
        lines.append("mount --bind '%s' '%s'" % (folder + place, place))
    return ["unshare", "-m", "sh", "-c", " && ".join(lines) + ' && exec "$@"', "sh"] + command
