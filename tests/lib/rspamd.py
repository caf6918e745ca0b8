# SPDX-License-Identifier: Apache-2.0
"""Debian's rspamd as a judge of ARC and DKIM: a process of its own on loopback, with our
DNS server for a resolver and nothing of its rules."""
import json
import os
import subprocess
import time
import urllib.error
import urllib.request

from .ports import free_port

CONF = """
options {{
    pidfile = "{folder}/pid"; tempdir = "{folder}"; url_tld = "{folder}/tld";
    dns {{ nameserver = ["127.0.0.1:{dns}:1"]; timeout = 2s; retransmits = 3; }}
    filters = "dkim"; local_addrs = []; lang_detection {{ languages = "{folder}/none"; }}
    cache_file = "{folder}/cache"; history_file = "{folder}/history"; dynamic_conf = "{folder}/dynamic";
    control_socket = "{folder}/control mode=0600";
}}
logging {{ type = "file"; filename = "{folder}/log"; level = "info"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
modules {{ path = "/usr/share/rspamd/plugins/arc.lua"; }}
arc {{ whitelisted_signers_map = []; }}
dkim {{ }}
"""


class Rspamd:
    def __init__(self, folder, dns_port):
        self.folder, self.port = os.path.join(folder, "rspamd"), free_port()
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
                self.symbols(b"From: <a@b.example>\r\n\r\nx\r\n")
                return
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < end and self.process.poll() is None, \
                    open(self.folder + "/log").read()[-3000:]
                time.sleep(0.1)

    def symbols(self, data):
        with urllib.request.urlopen("http://127.0.0.1:%d/checkv2" % self.port, data, timeout=30) as r:
            return set(json.load(r)["symbols"])

    def arc(self, data):
        """pass, none, fail"""
        s = self.symbols(data)
        return "pass" if "ARC_ALLOW" in s else "none" if "ARC_NA" in s else "fail"

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
