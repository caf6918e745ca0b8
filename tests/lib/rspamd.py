# SPDX-License-Identifier: Apache-2.0
"""Debian's rspamd: a process of its own on loopback, with our DNS server for a resolver and
nothing of its rules. As a judge of ARC and DKIM, and as administrators have it in front of a
mailbox: a milter."""
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

from .ports import free_port

CONF = """
options {{
    pidfile = "{folder}/pid"; tempdir = "{folder}"; url_tld = "{folder}/tld";
    dns {{ nameserver = ["127.0.0.1:{dns}:1"]; timeout = 2s; retransmits = 3; }}
    local_addrs = []; lang_detection {{ languages = "{folder}/none"; }}
    cache_file = "{folder}/cache"; history_file = "{folder}/history"; dynamic_conf = "{folder}/dynamic";
    control_socket = "{folder}/control mode=0600"; {options}
}}
logging {{ type = "file"; filename = "{folder}/log"; level = "info"; }}
"""
JUDGE = """
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
modules {{ path = "/usr/share/rspamd/plugins/arc.lua"; }}
arc {{ whitelisted_signers_map = []; }}
dkim {{ }}
"""
MILTER = """
worker "rspamd_proxy" {{
    bind_socket = "127.0.0.1:{port}"; milter = yes; timeout = 30s; count = 1;
    upstream "local" {{ default = yes; self_scan = yes; }}
}}
actions {{ reject = 15; add_header = 6; }}
"""
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
# The pattern of rspamd's own for its action "add header".
SPAM = b"YJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"


class Process:
    """rspamd with `options` and what else stands in `text`; answers() says when it is up."""

    def __init__(self, folder, dns_port, options, text):
        self.folder, self.port = os.path.join(str(folder), "rspamd"), free_port()
        os.mkdir(self.folder)
        os.chmod(self.folder, 0o777)
        with open(self.folder + "/tld", "w") as f:
            f.write("com\nexample\nit\n")       # the real list takes seconds to compile
        with open(self.folder + "/conf", "w") as f:
            f.write((CONF + text).format(folder=self.folder, dns=dns_port, port=self.port, options=options))
        self.process = subprocess.Popen(["/usr/bin/rspamd", "-f", "-i", "-c", self.folder + "/conf"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            try:
                self.answers()
                return
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < end and self.process.poll() is None, self.log()
                time.sleep(0.1)

    def log(self):
        try:
            with open(self.folder + "/log", errors="replace") as f:
                return f.read()[-4000:]
        except OSError:
            return "no log"

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Rspamd(Process):
    """The judge."""

    def __init__(self, folder, dns_port):
        super().__init__(folder, dns_port, 'filters = "dkim";', JUDGE)

    def answers(self):
        self.symbols(b"From: <a@b.example>\r\n\r\nx\r\n")

    def symbols(self, data):
        with urllib.request.urlopen("http://127.0.0.1:%d/checkv2" % self.port, data, timeout=30) as r:
            return set(json.load(r)["symbols"])

    def arc(self, data):
        """pass, none, fail"""
        s = self.symbols(data)
        return "pass" if "ARC_ALLOW" in s else "none" if "ARC_NA" in s else "fail"


class RspamdMilter(Process):
    """The milter, with its test patterns for rules and nothing else."""

    def __init__(self, folder, dns_port):
        super().__init__(folder, dns_port, 'filters = ""; enable_test_patterns = true;', MILTER)

    def answers(self):
        socket.create_connection(("127.0.0.1", self.port), 1).close()
