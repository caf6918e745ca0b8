# SPDX-License-Identifier: Apache-2.0
"""Debian's Dovecot as the mailbox store: LMTP on a loopback port, Maildir below a
folder of ours, no system users, started and stopped by pid."""
import os
import pwd
import shutil
import signal
import subprocess
import time
import socket

from .ports import free_port

CONF = """
base_dir = {base}/run
state_dir = {base}/run
instance_name = {name}
log_path = {base}/dovecot.log
auth_verbose = no
protocols = lmtp
ssl = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
mail_location = maildir:{base}/mail/%u
mail_uid = {user}
mail_gid = {group}
first_valid_uid = 1
postmaster_address = postmaster@localhost
userdb {{
  driver = static
  args = uid={user} gid={group} home={base}/mail/%u allow_all_users=yes
}}
passdb {{
  driver = static
  args = nopassword=y
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  user = {user}
  process_limit = 20
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
mail_save_crlf = yes
lmtp_save_to_detail_mailbox = no
recipient_delimiter = +
{extra}
"""


class Dovecot:
    def __init__(self, folder, port=None, extra=""):
        self.base, self.port = os.path.join(folder, "store"), port or free_port()
        os.makedirs(os.path.join(self.base, "run"), exist_ok=True)
        os.makedirs(os.path.join(self.base, "mail"), exist_ok=True)
        me = pwd.getpwuid(os.getuid()).pw_name
        user = "nobody" if os.getuid() == 0 else me
        group = "nogroup" if os.getuid() == 0 else me
        if os.getuid() == 0:
            shutil.chown(os.path.join(self.base, "mail"), user, group)
            os.chmod(folder, 0o755)
        self.conf = os.path.join(self.base, "dovecot.conf")
        with open(self.conf, "w") as f:
            f.write(CONF.format(base=self.base, name=os.path.basename(folder), user=user,
                                group=group, port=self.port, extra=extra))
        self.process = None

    def start(self):
        self.process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", self.conf],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                    if s.recv(4) == b"220 ":
                        return
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        log = os.path.join(self.base, "dovecot.log")
        text = open(log).read() if os.path.exists(log) else "(no log)"
        raise RuntimeError("dovecot did not start:\n" + text)

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None

    def mails(self, user):
        """The files in the user's Maildir, oldest first, as bytes."""
        found = []
        for sub in ("new", "cur"):
            folder = os.path.join(self.base, "mail", user, sub)
            if os.path.isdir(folder):
                found += [os.path.join(folder, n) for n in os.listdir(folder)]
        return [open(p, "rb").read() for p in sorted(found)]
