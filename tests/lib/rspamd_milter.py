# SPDX-License-Identifier: Apache-2.0
"""Debian's rspamd as administrators have it in front of a mailbox: a milter on loopback,
here with its test patterns for rules and nothing else."""
import os
import socket
import subprocess
import time

from .ports import free_port

CONF = """
options {{
    pidfile = "{folder}/pid"; tempdir = "{folder}"; url_tld = "{folder}/tld";
    dns {{ nameserver = ["127.0.0.1:{dns}:1"]; timeout = 2s; retransmits = 3; }}
    filters = ""; local_addrs = []; lang_detection {{ languages = "{folder}/none"; }}
    cache_file = "{folder}/cache"; history_file = "{folder}/history"; dynamic_conf = "{folder}/dynamic";
    control_socket = "{folder}/control mode=0600"; enable_test_patterns = true;
}}
logging {{ type = "file"; filename = "{folder}/log"; level = "info"; }}
worker "rspamd_proxy" {{
    bind_socket = "127.0.0.1:{port}"; milter = yes; timeout = 30s; count = 1;
    upstream "local" {{ default = yes; self_scan = yes; }}
}}
actions {{ reject = 15; add_header = 6; }}
"""
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
# The pattern of rspamd's own for its action "add header".
SPAM = b"YJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"


class RspamdMilter:
    def __init__(self, folder, dns_port):
        self.folder, self.port = os.path.join(str(folder), "rspamd"), free_port()
        os.mkdir(self.folder)
        os.chmod(self.folder, 0o777)
        with open(self.folder + "/tld", "w") as f:
            f.write("com\nexample\nit\n")       # the real list takes seconds to compile
        with open(self.folder + "/conf", "w") as f:
            f.write(CONF.format(folder=self.folder, dns=dns_port, port=self.port))
        self.process = subprocess.Popen(["/usr/bin/rspamd", "-f", "-i", "-c", self.folder + "/conf"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < end and self.process.poll() is None, self.log()
                time.sleep(0.1)

    def log(self):
        try:
            return open(self.folder + "/log", errors="replace").read()[-4000:]
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
