# SPDX-License-Identifier: Apache-2.0
"""Debian's slapd as a provider's user directory: a server of its own on loopback, over TLS,
in a folder of its own."""
import os
import shutil
import socket
import subprocess
import time

from . import mail
from .ports import free_port

CONF = """include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.1.2.1.1 NAME 'mailRecoveryAddress' EQUALITY caseIgnoreIA5Match
    SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( 1.1.2.1.2 NAME 'mailAlternateAddress' EQUALITY caseIgnoreIA5Match
    SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( 1.1.2.1.3 NAME 'mailRecoveryState' EQUALITY caseIgnoreIA5Match
    SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 SINGLE-VALUE )
objectclass ( 1.1.2.2.1 NAME 'mailUser' SUP top AUXILIARY
    MAY ( mailRecoveryAddress $ mailAlternateAddress $ mailRecoveryState ) )
pidfile {base}/pid
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
modulepath /usr/lib/ldap
moduleload back_mdb
sizelimit 10
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=salvaposta,dc=example,dc=it" read by dn.exact="cn=limited,dc=example,dc=it" read
database mdb
suffix dc=example,dc=it
rootdn cn=admin,dc=example,dc=it
rootpw admin
directory {base}/data
limits dn.exact="cn=salvaposta,dc=example,dc=it" size=10 size.pr=10 size.prtotal=unlimited
limits dn.exact="cn=limited,dc=example,dc=it" size=10 size.prtotal=10
"""


class Slapd:
    def __init__(self, folder, ldif, owner="nobody"):
        self.base, self.port, self.process = os.path.join(folder, "slapd"), free_port(), None
        os.makedirs(self.base + "/data")
        cert, key = mail.certificate(self.base, "127.0.0.1", "IP")
        self.cert, self.conf = cert, os.path.join(self.base, "slapd.conf")
        with open(self.conf, "w") as f:
            f.write(CONF.format(base=self.base, cert=cert, key=key))
        self.who = []
        subprocess.run(["slapadd", "-q", "-f", self.conf], input=ldif.encode(), check=True,
                       capture_output=True, timeout=60)
        if os.getuid() == 0:
            self.who = ["-u", owner, "-g", "nogroup"]
            for path in [self.base, key] + [os.path.join(self.base, "data", x) for x in ("", "data.mdb", "lock.mdb")]:
                shutil.chown(path, owner)
        self.url = "ldaps://127.0.0.1:%d" % self.port

    def start(self):
        with open(os.path.join(self.base, "log"), "ab") as log:
            self.process = subprocess.Popen(
                ["slapd", "-f", self.conf, "-h", "ldaps://127.0.0.1:%d/" % self.port, "-d", "256"] + self.who,
                stdout=log, stderr=log)
        end = time.monotonic() + 20
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("slapd does not answer:\n" + self.log())
            time.sleep(0.05)

    def log(self):
        with open(os.path.join(self.base, "log"), errors="replace") as f:
            return f.read()[-6000:]

    def modify(self, ldif):
        subprocess.run(["ldapmodify", "-x", "-H", self.url, "-D", "cn=admin,dc=example,dc=it", "-w", "admin"],
                       input=ldif.encode(), check=True, capture_output=True, timeout=30,
                       env=dict(os.environ, LDAPTLS_CACERT=self.cert))

    def dump(self):
        """Everything in it, as slapcat writes it."""
        return subprocess.run(["slapcat", "-f", self.conf], check=True, capture_output=True, timeout=30).stdout

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)
