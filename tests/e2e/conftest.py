# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from tests.lib import mail  # noqa: E402
from tests.lib.dnsd import Dns, reverse  # noqa: E402
from tests.lib.relay import Relay  # noqa: E402
from tests.lib.sink import Sink  # noqa: E402


def zones():
    return {
        "sender.example": {"TXT": ["v=spf1 ip4:127.0.0.5 -all"], "A": ["127.0.0.5"]},
        "mail.sender.example": {"A": ["127.0.0.5"], "TXT": ["v=spf1 a -all"]},
        reverse("127.0.0.5"): {"PTR": ["mail.sender.example."]},
        "recovery.example": {"MX": ["10 mx.recovery.example."]},
        "mx.recovery.example": {"A": ["127.0.0.1"]},
        "fwd.relay.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]},
        "mx2.relay.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"], "A": ["127.0.0.9"]},
    }


class World:
    """A relay between a DNS server, a store (LMTP) and a recovery host, each with
    the exact bytes it got. `down()` closes the store's port, `up()` opens it again."""

    USERS = ["mario@shop.example,mario@recovery.example", "anna@shop.example,anna@recovery.example",
             "solo@shop.example,"]

    def __init__(self, folder):
        self.folder = folder
        self.dns = Dns(zones())
        self.recovery = Sink()
        self.store = Sink(lmtp=True)
        self.relays = []

    def relay(self, start=True, users=USERS, **kw):
        kw.setdefault("primary", "lmtp://127.0.0.1:%d" % self.store.port)
        r = Relay(os.path.join(self.folder, "relay%d" % len(self.relays)), dns=self.dns.port,
                  out_port=self.recovery.port, **kw)
        self.relays.append(r)
        if users:
            r.import_users(users)
        if start:
            r.start()
        return r

    def down(self):
        self.store.close()

    def up(self, script=None):
        kept = self.store.messages
        self.store = Sink(lmtp=True, port=self.store.port, script=script)
        self.store.messages = kept

    def close(self):
        for r in self.relays:
            if r.process is not None and r.process.poll() is None:
                r.kill()
        for s in (self.recovery, self.store, self.dns):
            s.close()


@pytest.fixture
def world(request):
    folder = tempfile.mkdtemp(prefix="salvaposta-test-")
    os.chmod(folder, 0o755)
    w = World(folder)
    yield w
    failed = getattr(request.node, "failed_call", False)
    if failed:
        for r in w.relays:
            if os.path.exists(r.log_file):
                print("--- %s\n%s" % (r.log_file, "\n".join(r.log().splitlines()[-60:])))
    w.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call" and outcome.get_result().failed:
        item.failed_call = True


@pytest.fixture(scope="session")
def rsa():
    return mail.rsa_key()
