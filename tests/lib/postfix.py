# SPDX-License-Identifier: Apache-2.0
"""Debian's Postfix as a provider's front server: takes mail for a domain on a loopback port
and hands it on as `settings` (lines of main.cf) say. Needs root, as Postfix does."""
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from .ports import free_port

MAIN = """compatibility_level = 3.6
queue_directory = {b}/queue
data_directory = {b}/data
myhostname = front.shop.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 192.0.2.1/32
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = reject_unauth_destination
relay_domains = {domain}
relay_recipient_maps =
local_recipient_maps =
alias_maps =
alias_database =
smtp_dns_support_level = disabled
maillog_file = {b}/log
maillog_file_prefixes = /
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
import_environment = MAIL_CONFIG
export_environment = MAIL_CONFIG
"""


def until(what, timeout=20):
    end = time.monotonic() + timeout
    while not what():
        assert time.monotonic() < end, "waited %d s" % timeout
        time.sleep(0.05)


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Postfix:
    def __init__(self, folder, settings, domain="shop.example"):
        self.base = os.path.join(folder, "postfix")
        self.etc = os.path.join(self.base, "etc")
        self.port = free_port()
        for sub in ("etc", "queue", "data"):
            os.makedirs(os.path.join(self.base, sub))
        shutil.chown(os.path.join(self.base, "data"), "postfix", "postfix")
        with open(os.path.join(self.etc, "main.cf"), "w") as f:
            f.write(MAIN.format(b=self.base, domain=domain) + settings)
        proto = "/etc/postfix/master.cf.proto"
        with open(proto if os.path.exists(proto) else "/usr/share/postfix/master.cf.dist") as f:
            master = re.sub(r"^(\S+\s+(?:unix|fifo|inet|pass)\s+\S+\s+\S+\s+)[yn-](\s)", r"\1n\2",
                            f.read(), flags=re.M)
        with open(os.path.join(self.etc, "master.cf"), "w") as f:
            f.write(re.sub(r"^smtp\s+inet.*$", "127.0.0.1:%d inet n - n - - smtpd" % self.port,
                           master, flags=re.M))
        subprocess.run(["postfix", "-c", self.etc, "check"], capture_output=True, check=True)
        self.process = subprocess.Popen(
            ["/usr/lib/postfix/sbin/master", "-d", "-c", self.etc], start_new_session=True,
            env=dict(os.environ, MAIL_CONFIG=self.etc), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        until(lambda: answers(self.port))

    def log(self):
        path = os.path.join(self.base, "log")
        return open(path, errors="replace").read() if os.path.exists(path) else ""

    def close(self):
        if self.process.poll() is None:
            # Its daemons are of the group that was made for it, and of no other.
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(20)
