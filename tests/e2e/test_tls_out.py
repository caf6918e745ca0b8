# SPDX-License-Identifier: Apache-2.0
"""TLS on the way out (spec 13): DANE with Unbound and a zone signed here, MTA-STS with an
HTTPS server, against sinks that strip STARTTLS or show other certificates."""
import os
import shutil
import signal
import time

import pytest

from tests.lib import mail
from tests.lib.certs import Authority, tlsa
from tests.lib.policyhost import PolicyHost
from tests.lib.sink import Sink
from tests.lib.unbound import Unbound

SENDER = "news@sender.example"


def policy(mode, *mx, age=3600):
    return "version: STSv1\r\nmode: %s\r\n%smax_age: %d\r\n" % (
        mode, "".join("mx: %s\r\n" % m for m in mx), age)


class Net:
    """Mail hosts on addresses of their own, one port for all."""

    def __init__(self, world):
        self.world, self.hosts, self.next = world, {}, 21
        self.ca = Authority(world.folder)
        self.port = world.recovery.port
        self.unbound = self.web = None

    def host(self, name, cert=True, **kw):
        """A sink at a new address; cert: True its own, None no STARTTLS."""
        ip = "127.0.0.%d" % self.next
        self.next += 1
        files = self.ca.issue(name) if cert is True else cert
        self.hosts[name] = Sink(cert=files, host=ip, port=self.port, **kw)
        self.hosts[name].ip, self.hosts[name].files = ip, files
        return self.hosts[name]

    def domain(self, name, *mx):
        """Unsigned, in the tests' own DNS; mx must be hosts already."""
        self.world.dns.set(name, {"MX": ["%d %s." % (10 * i + 10, m) for i, m in enumerate(mx)]})
        for m in mx:
            self.world.dns.set(m, {"A": [self.hosts[m].ip]})

    def sts(self, texts, **kw):
        self.web = PolicyHost(self.ca, {"mta-sts." + d: t for d, t in texts.items()}, **kw)
        for d in texts:
            self.publish(d, "1")

    def publish(self, domain, id):
        self.world.dns.set("_mta-sts." + domain, {"TXT": ["v=STSv1; id=%s;" % id]})
        self.world.dns.set("mta-sts." + domain, {"A": ["127.0.0.1"]})

    def relay(self, domains, top="", more="", resolver=None, **kw):
        users = ["u%d@shop.example,r@%s" % (i, d) for i, d in enumerate(domains)]
        top += '\ntls-ca-file = "%s"\nmta-sts-timeout = 5s\n' % self.ca.file
        if self.web:
            top += "mta-sts-port = %d\n" % self.web.port
        relay = self.world.relay(start=False, users=users, top=top, more=more, **kw)
        relay.write_conf(dns=resolver or self.world.dns.port)
        relay.start()
        return relay

    def close(self):
        for h in self.hosts.values():
            h.close()
        for x in (self.unbound, self.web):
            if x:
                x.close()


@pytest.fixture
def net(world):
    n = Net(world)
    yield n
    n.close()


def wait_log(relay, *words, timeout=120):
    """Until one line of the log has all these words."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if any(all(w in line for w in words) for line in relay.log().splitlines()):
            return
        time.sleep(0.05)
    raise AssertionError("no line with %r\n%s" % (words, relay.log()[-4000:]))


def send_all(relay, domains, options=()):
    for i in range(len(domains)):
        code, text = mail.send(relay.port, SENDER, "u%d@shop.example" % i,
                               mail.message(SENDER, "u%d@shop.example" % i), options=options)
        assert code == 250, text


def tls_out(relay):
    total = {}
    for r in relay.roles("relay"):
        for k, v in r["tls_out"].items():
            for kk, vv in (v if isinstance(v, dict) else {"": v}).items():
                total[k, kk] = total.get((k, kk), 0) + vv
    return total


@pytest.mark.skipif(not shutil.which("unbound", path="/usr/sbin:/usr/bin"),
                    reason="needs unbound (packaging/deps.sh test)")
def test_spec_14_4_case_19(world, net):
    """DANE fail, MTA-STS enforce mismatch, STARTTLS stripped with tls=required: no plaintext,
    next MX or defer."""
    good, evil = net.host("good.dane.example"), net.host("evil.dane.example")
    strip = net.host("strip.dane.example", cert=None)
    stopped = net.host("stopped.dane.example")
    ta = net.host("ta.dane.example", cert=net.ca.issue("ta.dane.example", chain=True))
    listed, unlisted = net.host("mx.sts.example"), net.host("other.sts.example")
    wrong = net.host("wrong.sts.example", cert=net.ca.issue("elsewhere.example"))
    bare = net.host("mx.bare.example", cert=None)
    zone = ""
    for name, h in net.hosts.items():
        if name.endswith(".dane.example"):
            zone += "%s. A %s\n" % (name, h.ip)
    record = "_%d._tcp.%%s.dane.example. TLSA %%s\n" % net.port
    zone += record % ("good", tlsa(good.files[0])) + record % ("evil", tlsa(good.files[0]))
    zone += record % ("strip", tlsa(good.files[0])) + record % ("stopped", tlsa(stopped.files[0]))
    zone += record % ("ta", tlsa(net.ca.file, usage=2))
    for domain, mx in (("ok", ["good"]), ("bad", ["evil"]), ("both", ["evil", "good"]),
                       ("stripped", ["strip"]), ("halted", ["stopped"]), ("anchor", ["ta"])):
        zone += "".join("%s MX %d %s\n" % (domain, 10 * i, m) for i, m in enumerate(mx))
    net.unbound = Unbound(world.folder, {"dane.example": zone}, world.dns.port,
                          spoil=["_%d._tcp.stopped.dane.example" % net.port])
    net.sts({"enforce.example": policy("enforce", "mx.sts.example"),
             "mismatch.example": policy("enforce", "*.sts.example.org", "mx.sts.example"),
             "wrongcert.example": policy("enforce", "wrong.sts.example"),
             "testing.example": policy("testing", "nothing.example")})
    net.domain("enforce.example", "mx.sts.example")
    net.domain("mismatch.example", "other.sts.example")
    net.domain("wrongcert.example", "wrong.sts.example")
    net.domain("testing.example", "other.sts.example")
    net.domain("bare.example", "mx.bare.example")
    go = ["ok.dane.example", "both.dane.example", "anchor.dane.example", "enforce.example",
          "testing.example"]
    stay = ["bad.dane.example", "stripped.dane.example", "halted.dane.example",
            "mismatch.example", "wrongcert.example", "bare.example"]
    relay = net.relay(go + stay, resolver=net.unbound.port,
                      more='provider "bare.example" { tls = required }')
    world.down()
    relay.failover("on")
    send_all(relay, go + stay)

    assert len(good.wait(2)) == 2                       # ok, and both by its second MX
    assert good.to("r@ok.dane.example") and good.to("r@both.dane.example")
    assert ta.wait(1) and listed.wait(1)
    assert unlisted.wait(1)[0].rcpts == ["r@testing.example"]
    for domain in stay:
        wait_log(relay, "deliver-host-failed", "host=" + relay.log_hash(domain))
    assert [m.tls for h in net.hosts.values() for m in h.messages] == [True] * 5
    for name, h in net.hosts.items():
        assert h.clear == 0, name
    for h in (evil, strip, stopped, wrong, bare):
        assert h.messages == [] and h.to("r@mismatch.example") == []
    wait_log(relay, "host=" + relay.log_hash("mismatch.example"),
             "not in the domain's MTA-STS policy")
    wait_log(relay, "host=" + relay.log_hash("halted.dane.example"), "TLSA records")
    count = tls_out(relay)
    assert count["tlsa", "ok"] >= 2 and count["tlsa", "failed"] >= 2
    assert count["sts", "ok"] >= 1 and count["sts", "failed"] >= 2
    assert count["starttls-not-supported", ""] >= 2
    assert count["certificate-host-mismatch", ""] >= 1
    assert relay.balance()["held"] == len(go + stay)


def test_spec_13_3_a_policy_outlives_its_web_server_and_the_relay(world, net):
    """RFC 8461 5.1: DNS and HTTPS fail, the relay is killed: the policy is still in force."""
    wrong = net.host("mx.sts.example", cert=net.ca.issue("elsewhere.example"))
    net.sts({"enforce.example": policy("enforce", "mx.sts.example")})
    net.domain("enforce.example", "mx.sts.example")
    relay = net.relay(["enforce.example"])
    world.down()
    relay.failover("on")
    send_all(relay, ["enforce.example"])
    wait_log(relay, "tls-failed", "certificate-host-mismatch")
    end = time.monotonic() + 15
    while not os.path.exists(os.path.join(relay.state, "queue", "kept")):
        assert time.monotonic() < end, "the policy was not kept"
        time.sleep(0.1)
    relay.kill()
    net.web.close()
    net.web = None
    world.dns.set("_mta-sts.enforce.example", "SERVFAIL")
    world.dns.set("mta-sts.enforce.example", "SERVFAIL")
    os.truncate(relay.log_file, 0)
    relay.start()
    wait_log(relay, "tls-failed", "certificate-host-mismatch")
    assert wrong.clear == 0 and wrong.messages == []
    assert sum(r["mta_sts_policies"] for r in relay.roles("relay")) >= 1
    # the certificate is mended: the mail goes
    wrong.tls.load_cert_chain(*net.ca.issue("mx.sts.example"))
    assert wrong.wait(1, timeout=30)[0].tls


@pytest.mark.parametrize("reply,text", [
    ((301, {"Location": "https://mta-sts.enforce.example/elsewhere"}, b""), "HTTP status 301"),
    ((200, {"Content-Type": "text/html"}, policy("enforce", "nothing.example").encode()),
     "not text/plain"),
    ((200, {"Content-Type": "text/plain"}, b"hello"), "not a policy"),
    ((200, {"Content-Type": "text/plain"}, b"x" * 70000), "too large"),
])
def test_rfc_8461_3_3_what_is_no_policy(world, net, reply, text):
    """Without a policy known before: as if there were none; the mail does not wait for ever."""
    host = net.host("mx.sts.example", cert=net.ca.issue("elsewhere.example"))
    net.sts({"enforce.example": reply})
    net.domain("enforce.example", "mx.sts.example")
    relay = net.relay(["enforce.example"])
    world.down()
    relay.failover("on")
    send_all(relay, ["enforce.example"])
    assert host.wait(1)[0].tls
    wait_log(relay, "mta-sts-fetch", text)


def test_rfc_8461_3_3_a_policy_host_must_prove_its_name(world, net):
    host = net.host("mx.sts.example")
    net.sts({"enforce.example": policy("enforce", "nothing.example")},
            certs={"mta-sts.enforce.example": Authority(world.folder, "Other CA").issue(
                "mta-sts.enforce.example")})
    net.domain("enforce.example", "mx.sts.example")
    relay = net.relay(["enforce.example"])
    world.down()
    relay.failover("on")
    send_all(relay, ["enforce.example"])
    assert host.wait(1)
    wait_log(relay, "mta-sts-fetch", "certificate")
    assert net.web.asked == []


def test_spec_13_3_refreshed_before_it_ends(world, net):
    """Without any mail in between, and a new id is taken at once."""
    host = net.host("mx.sts.example")
    net.sts({"enforce.example": policy("enforce", "mx.sts.example", age=4)})
    net.domain("enforce.example", "mx.sts.example")
    relay = net.relay(["enforce.example"], top="relays = 1\ndns-ttl-max = 1s\ndns-ttl-min = 1s\n"
                      "idle-timeout = 1s\n")
    world.down()
    relay.failover("on")
    send_all(relay, ["enforce.example"])
    assert host.wait(1)
    end = time.monotonic() + 15
    while len(net.web.asked) < 3:
        assert time.monotonic() < end, net.web.asked
        time.sleep(0.1)
    net.web.texts["mta-sts.enforce.example"] = policy("enforce", "nothing.example")
    net.publish("enforce.example", "2")
    time.sleep(1.2)     # the old TXT record's time to live; longer does no harm
    while host.open > 0:        # a connection that is open was good when it was opened
        assert time.monotonic() < end + 10
        time.sleep(0.05)
    send_all(relay, ["enforce.example"])
    wait_log(relay, "not in the domain's MTA-STS policy")
    assert len(host.messages) == 1


def test_spec_13_5_requiretls(world, net):
    """Offered over TLS only; sent on over verified TLS to who offers it, held otherwise."""
    full, without = net.host("mx.full.example"), net.host("mx.without.example")
    full.tls_extensions = ["REQUIRETLS"]
    net.sts({"full.example": policy("enforce", "mx.full.example"),
             "without.example": policy("enforce", "mx.without.example")})
    for d in ("full", "without"):
        net.domain(d + ".example", "mx.%s.example" % d)
    plain = net.host("mx.plain.example")
    plain.tls_extensions = ["REQUIRETLS"]       # offered, but nothing vouches for its name
    net.domain("plain.example", "mx.plain.example")
    cert = net.ca.issue("mx2.relay.example")
    domains = ["full.example", "without.example", "plain.example"]
    relay = net.relay(domains, top='tls-cert-file = "%s"\ntls-key-file = "%s"' % cert)
    world.down()
    relay.failover("on")
    code, text = mail.send(relay.port, SENDER, "u0@shop.example",
                           mail.message(SENDER, "u0@shop.example"), options=["REQUIRETLS"])
    assert code == 555, text                    # in the clear it is not known
    for i in range(3):
        user = "u%d@shop.example" % i
        code, text = mail.send(relay.port, SENDER, user, mail.message(SENDER, user), tls=True,
                               options=["REQUIRETLS"])
        assert code == 250, text
    assert "REQUIRETLS" in full.wait(1)[0].options
    for name in ("without.example", "plain.example"):
        wait_log(relay, "deliver-host-failed", "host=" + relay.log_hash(name), "REQUIRETLS")
    # mail that did not ask for it goes there meanwhile
    for i in (1, 2):
        user = "u%d@shop.example" % i
        assert mail.send(relay.port, SENDER, user, mail.message(SENDER, user))[0] == 250
    assert "REQUIRETLS" not in without.wait(1)[0].options
    assert "REQUIRETLS" not in plain.wait(1)[0].options
    without.tls_extensions = ["REQUIRETLS"]
    assert "REQUIRETLS" in without.wait(2, timeout=30)[1].options
    # hold legs alike: a store that does not know it gets nothing, and nothing is lost
    relay.failover("off")
    world.up()
    assert len(world.store.wait(2, timeout=30)) == 2
    wait_log(relay, "leg=hold", "4.7.5")
    assert relay.balance()["held"] == 3 and len(world.store.messages) == 2
    relay.write_conf(in_domain="primary-trusted = yes")
    relay.process.send_signal(signal.SIGHUP)
    assert len(world.store.wait(5, timeout=30)) == 5
    relay.wait_balance(held=0)


def test_rfc_8689_5_a_report_about_a_message_that_needs_no_tls(world, net):
    """It says so as well, and goes out though the policy of the sender's domain cannot be met; a
    report about another message waits."""
    host = net.host("mx.sender.example", cert=net.ca.issue("elsewhere.example"))
    net.sts({"sender.example": policy("enforce", "mx.sender.example")})
    net.domain("sender.example", "mx.sender.example")
    world.dns.set("sender.example", {"TXT": ["v=spf1 ip4:127.0.0.5 -all"], "MX": ["10 mx.sender.example."]})
    relay = net.relay(["recovery.example"])
    world.store.script = lambda stage, arg: "550 5.1.1 gone" if stage == "rcpt" else None
    data = mail.message(SENDER, "u0@shop.example")
    for d in (data, b"TLS-Required: No\r\n" + data):
        assert mail.send(relay.port, SENDER, "u0@shop.example", d, source="127.0.0.5")[0] == 250
    end = time.monotonic() + 20
    while relay.log().count("primary-refused") < 2:
        assert time.monotonic() < end, relay.log()
        time.sleep(0.05)
    relay.command("queue", "bounce", "--state", "refused", "--reason", "x")
    report = host.wait(1, timeout=30)[0]
    assert report.mail_from == "" and report.rcpts == [SENDER] and report.tls
    assert b"\r\nTLS-Required: No\r\n" in report.data.split(b"\r\n\r\n", 1)[0]
    wait_log(relay, "tls-failed", "certificate-host-mismatch")
    assert len(host.messages) == 1


def test_spec_13_5_tls_required_no(world, net):
    """On the way to the primary it counts, on forward legs only where the operator says so."""
    host = net.host("mx.sts.example", cert=net.ca.issue("elsewhere.example"))
    net.sts({"enforce.example": policy("enforce", "mx.sts.example")})
    net.domain("enforce.example", "mx.sts.example")
    relay = net.relay(["enforce.example"])
    world.down()
    relay.failover("on")
    data = b"TLS-Required: No\r\n" + mail.message(SENDER, "u0@shop.example")
    assert mail.send(relay.port, SENDER, "u0@shop.example", data)[0] == 250
    wait_log(relay, "tls-failed", "certificate-host-mismatch")
    assert host.messages == []
    relay.write_conf(top=relay.values["top"] + "honour-tls-required-no = yes")
    relay.process.send_signal(signal.SIGHUP)
    assert host.wait(1, timeout=30)[0].tls
