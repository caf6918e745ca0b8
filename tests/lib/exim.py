# SPDX-License-Identifier: Apache-2.0
"""Debian's Exim as a provider's front server: takes mail for a domain on a loopback port and
hands it on as its routers and transports say. Unpacked, not installed; needs root."""
import os
import signal
import subprocess

from .ports import free_port
from .postfix import answers, until
from .unpack import unpack, with_users

# Nothing here may wait for a name server or a clock: names are given, not looked up, and
# what was deferred is due in a second and looked for every second.
CONF = """primary_hostname = front.shop.example
domainlist relay_to_domains = {domain}
spool_directory = {folder}/spool
log_file_path = {folder}/log-%s
pid_file_path = {folder}/pid
exim_user = Debian-exim
exim_path = {folder}/usr/sbin/exim4
never_users =
keep_environment =
log_selector = -queue_run +deliver_time +millisec
deliver_drop_privilege
disable_ipv6
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
host_lookup =
helo_lookup_domains =
dns_ipv4_lookup = *
tls_advertise_hosts =
acl_smtp_rcpt = check_rcpt
begin acl
check_rcpt:
  accept domains = +relay_to_domains
begin routers
{routers}
begin transports
{transports}
begin retry
* * F,1h,1s
"""


class Exim:
    def __init__(self, folder, routers, transports, domain="shop.example"):
        self.base, self.port = os.path.join(folder, "exim"), free_port()
        unpack(self.base, "exim4-daemon-light")
        os.makedirs(self.base + "/spool")
        for path in (self.base, self.base + "/spool"):
            os.chmod(path, 0o777)
        with open(self.base + "/conf", "w") as f:
            f.write(CONF.format(folder=self.base, port=self.port, domain=domain, routers=routers,
                                transports=transports))
        with open(self.base + "/out", "wb") as out:
            self.process = subprocess.Popen(
                with_users(self.base, ["Debian-exim"], [
                    self.base + "/usr/sbin/exim4", "-C", self.base + "/conf", "-bdf", "-q1s"]),
                start_new_session=True, stdout=out, stderr=out)
        until(lambda: answers(self.port) or self.process.poll() is not None)
        assert self.process.poll() is None, self.log()

    def log(self):
        text = ""
        for name in ("out", "log-main", "log-panic"):
            path = os.path.join(self.base, name)
            if os.path.exists(path):
                with open(path, errors="replace") as f:
                    text += "--- %s\n%s" % (name, f.read())
        return text

    def close(self):
        if self.process.poll() is None:
            # Its children are of the group that was made for it, and of no other.
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(20)
