# SPDX-License-Identifier: Apache-2.0
"""Debian's Unbound as the validating resolver on loopback: zones signed here and now, the
rest from the tests' own DNS server. Nothing leaves this host."""
import os
import re
import subprocess
import time

import dns.message
import dns.query

from .ports import free_port

CONF = """
server:
    interface: 127.0.0.1
    port: {port}
    directory: "{folder}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: "{folder}/unbound-{port}.log"
    do-not-query-localhost: no
    do-ip6: no
    num-threads: 1
    module-config: "{modules}"
    qname-minimisation: no
{anchors}
remote-control:
    control-enable: no
{zones}
"""

ZONE = """
auth-zone:
    name: "{name}"
    zonefile: "{file}"
    for-upstream: no
    for-downstream: yes
    fallback-enabled: no
"""
STUB = """
stub-zone:
    name: "{name}"
    stub-addr: 127.0.0.1@{port}
"""
FORWARD = """
forward-zone:
    name: "."
    forward-addr: 127.0.0.1@{port}
"""


class Unbound:
    """zones: {"dane.example": "a zone file's records"}; `spoil`: names whose signatures are
    made wrong."""

    def __init__(self, folder, zones, behind, spoil=()):
        self.folder, self.processes = folder, []
        anchors, served, stubs, server = "", "", "", free_port()
        for name, text in zones.items():
            signed, key = self._sign(name, text, spoil)
            anchors += '    trust-anchor-file: "%s"\n' % key
            served += ZONE.format(name=name, file=signed)
            stubs += STUB.format(name=name, port=server)
        # One to serve the zones, one to resolve and validate.
        self._start(server, "iterator", "", served)
        self.port = free_port()
        self._start(self.port, "validator iterator", anchors,
                    stubs + FORWARD.format(port=behind))
        for port in (server, self.port):
            self._wait(port, next(iter(zones)))

    def _start(self, port, modules, anchors, zones):
        conf = os.path.join(self.folder, "unbound-%d.conf" % port)
        with open(conf, "w") as f:
            f.write(CONF.format(port=port, folder=self.folder, anchors=anchors, zones=zones,
                                modules=modules))
        self.processes.append(subprocess.Popen(["/usr/sbin/unbound", "-d", "-c", conf],
                                               stdout=subprocess.DEVNULL,
                                               stderr=subprocess.DEVNULL))

    def _sign(self, name, text, spoil):
        path = os.path.join(self.folder, name + ".zone")
        with open(path, "w") as f:
            f.write("$ORIGIN %s.\n$TTL 300\n@ SOA ns.%s. root.%s. 1 3600 600 86400 60\n"
                    "@ NS ns.%s.\nns A 127.0.0.1\n%s\n" % (name, name, name, name, text))
        key = subprocess.run(["ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "-r", "/dev/urandom",
                              name], cwd=self.folder, capture_output=True, text=True,
                             check=True).stdout.strip()
        subprocess.run(["ldns-signzone", "-f", path + ".signed", path, key], cwd=self.folder,
                       capture_output=True, check=True)
        if spoil:
            with open(path + ".signed") as f:
                lines = f.read().splitlines()
            for i, line in enumerate(lines):
                if "\tRRSIG\t" in line and line.split("\t")[0].rstrip(".") in spoil:
                    lines[i] = re.sub(r"(\S{8})(\S*)$", lambda m: m[1][::-1] + m[2], line)
            with open(path + ".signed", "w") as f:
                f.write("\n".join(lines) + "\n")
        return path + ".signed", os.path.join(self.folder, key + ".key")

    def _wait(self, port, name):
        end = time.monotonic() + 15
        while time.monotonic() < end:
            try:
                if dns.query.udp(dns.message.make_query(name, "SOA"), "127.0.0.1",
                                 port=port, timeout=1).answer:
                    return
            except (OSError, dns.exception.DNSException):
                pass
            time.sleep(0.05)
        with open(os.path.join(self.folder, "unbound-%d.log" % port)) as f:
            raise AssertionError("unbound does not answer\n" + f.read()[-3000:])

    def close(self):
        for p in self.processes:
            p.terminate()
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
