# SPDX-License-Identifier: Apache-2.0
"""`salvaposta doctor` in a world where all is well, and in ones where one thing is wrong:
it names that thing and says how to mend it."""
import json
import os
import pty
import socket
import shutil
import subprocess
import tempfile
import time

import pytest

from tests.lib.certs import Authority, tlsa
from tests.lib.dnsd import Dns, reverse
from tests.lib.policyhost import PolicyHost
from tests.lib.ports import free_port
from tests.lib.relay import BINARY, Relay

HOST, FWD, SHOP = "mx2.relay.example", "fwd.relay.example", "shop.example"
REVERSE6 = "5.2.0.0" + ".0" * 20 + ".8.b.d.0.1.0.0.2.ip6.arpa"
STRICT = "v=DMARC1; p=reject; rua=mailto:dmarc@relay.example"


def run(*words):
    return subprocess.run(words, capture_output=True, check=True, timeout=30).stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """(private key file, its record) of a good key and of another one."""
    folder, out = tmp_path_factory.mktemp("keys"), []
    for name, bits in (("good", "2048"), ("other", "2048"), ("short", "1024")):
        path = str(folder / name)
        run("openssl", "genrsa", "-out", path, bits)
        text = run("openssl", "rsa", "-in", path, "-pubout").decode()
        out.append((path, "v=DKIM1; k=rsa; p=" + "".join(text.split("\n")[1:-2])))
    return out


def well(record):
    return {
        HOST: {"A": ["192.0.2.25"], "AAAA": ["2001:db8::25"], "TXT": ["v=spf1 a -all"]},
        reverse("192.0.2.25"): {"PTR": [HOST + "."]},
        REVERSE6: {"PTR": [HOST + "."]},
        FWD: {"MX": ["10 %s." % HOST],
              "TXT": ["v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 -all"]},
        "_dmarc." + FWD: {"TXT": [STRICT]},
        "s1._domainkey." + FWD: {"TXT": [record]},
        SHOP: {"MX": ["10 mx1.shop.example.", "20 %s." % HOST],
               "TXT": ["v=spf1 ip4:192.0.2.80 include:_spf.shop.example -all"]},
        "_spf.shop.example": {"TXT": ["v=spf1 ip4:198.51.100.0/24 -all"]},
        "mx1.shop.example": {"A": ["192.0.2.80"]},
        "_dmarc." + SHOP: {"TXT": [STRICT]},
    }


class Doctor:
    def __init__(self, folder, keys):
        self.keys, self.zones = keys, well(keys[0][1])
        self.dns = Dns(self.zones)
        self.relay = Relay(folder, "lmtp://127.0.0.1:%d" % free_port(), self.dns.port, free_port(),
                           domain=SHOP, forwarder='dkim-selector = "s1"\n    dkim-key-file = "%s"'
                           % keys[0][0])

    def set(self, name, **records):
        self.dns.set(name, records)

    def look(self, *words):
        """(exit status, findings)"""
        r = self.relay.command("doctor", *words, check=False)
        assert r.stderr == ""
        reply = json.loads(r.stdout)
        found = reply["findings"]
        assert reply["problems"] == sum(f["level"] == "problem" for f in found)
        assert reply["ok"] is (reply["problems"] == 0) is (r.returncode == 0)
        assert all(f.get("fix") for f in found if f["level"] != "ok")
        return r.returncode, found

    def alone(self, check, level="problem", *words):
        """The finding of this check; all else of DNS must be as it was."""
        status, found = self.look(*words)
        bad = [f for f in found if f["level"] != "ok" and f["check"] not in LOCAL]
        assert bad and {f["check"] for f in bad} == {check}, bad
        assert {f["level"] for f in bad} == {level}
        assert status == (1 if level == "problem" else 0)
        return bad[0]


# What depends on the host that the tests run on.
LOCAL = ("source-address", "resolver-dnssec", "certificate", "clock", "disk", "descriptors", "sandbox", "state-dir")


@pytest.fixture
def doctor(tmp_path, keys):
    d = Doctor(tmp_path, keys)
    yield d
    d.dns.close()


def test_all_well_is_exit_0_and_says_what_it_has_seen(doctor):
    status, found = doctor.look()
    assert status == 0
    assert [f for f in found if f["level"] != "ok" and f["check"] not in LOCAL] == []
    said = {f["check"] for f in found if f["level"] == "ok"}
    assert said >= {"check", "relay", "port", "resolver", "hostname-address", "reverse", "hostname-spf",
                    "return-mx", "return-spf", "return-dmarc", "return-dkim", "domain-mx",
                    "domain-spf", "domain-dmarc"}
    text = doctor.relay.command("doctor", json_out=False)
    assert "shop.example: this relay is an MX host, preference 20, behind the primary" in text
    assert "0 problems" in text


@pytest.mark.parametrize("record, term", [
    ("v=spf1 ip4:192.0.2.0/24 -all", "ip4:192.0.2.0/24"),
    ("v=spf1 mx -all", "the term mx"),
    ("v=spf1 +all", "+all"),
    ("v=spf1 include:_spf.shop.example -all", "include:"),
    ("v=spf1 ip6:2001:db8::25 -all", "ip6:2001:db8::25"),
])
def test_spec_6_10_our_addresses_in_the_spf_record_of_a_served_domain(doctor, record, term):
    doctor.set(SHOP, MX=well("")[SHOP]["MX"], TXT=[record])
    doctor.set("_spf.shop.example", TXT=["v=spf1 ip4:192.0.2.16/28 -all"])
    f = doctor.alone("domain-spf")
    assert f["about"] == SHOP and "rule 6.10" in f["text"]
    assert term in f["fix"] and record in f["fix"]


@pytest.mark.parametrize("about, check", [(SHOP, "domain-dmarc"), (FWD, "return-dmarc")])
@pytest.mark.parametrize("records, level, text", [
    ([], "problem", "no DMARC record is published for it (rule 6.10)"),
    (["v=dmarc1; p=reject"], "problem", "no DMARC record is published for it (rule 6.10)"),
    ([STRICT, "v=DMARC1; p=none"], "problem", "2 DMARC records"),
    (["v=DMARC1; p=rejekt"], "problem", "none of none, quarantine and reject"),
    (["v=DMARC1; p=none; rua=mailto:a@b.example"], "warning", "p=none"),
    (["v=DMARC1; p=quarantine; t=y"], "warning", "t=y"),
])
def test_spec_6_10_dmarc_has_to_be_published(doctor, about, check, records, level, text):
    doctor.set("_dmarc." + about, TXT=records)
    f = doctor.alone(check, level)
    assert f["about"] == about and text in f["text"]
    if "2 DMARC" not in text:
        assert f["fix"].startswith('publish: _dmarc.%s. IN TXT "v=DMARC1; p=%s' % (
            about, "reject; psd=n" if about == FWD else "quarantine; rua=mailto:"))


def test_spec_6_10_the_record_above_counts_for_a_subdomain(doctor):
    doctor.set("_dmarc." + FWD)
    doctor.set("_dmarc.relay.example", TXT=[STRICT])
    status, found = doctor.look()
    assert status == 0
    assert [f["text"] for f in found if f["check"] == "return-dmarc"] == [
        "_dmarc.relay.example is published, policy reject"]
    doctor.set("_dmarc.relay.example", TXT=[STRICT + "; sp=none"])
    assert "do nothing" in doctor.alone("return-dmarc", "warning")["text"]


def test_spec_6_10_a_return_path_domain_that_is_aligned_with_a_served_one(doctor):
    fwd = "fwd." + SHOP
    for name in (FWD, "_dmarc." + FWD, "s1._domainkey." + FWD):
        doctor.dns.set(name.replace(FWD, fwd), well(doctor.keys[0][1])[name])
    with open(doctor.relay.conf) as f:
        text = f.read().replace(FWD, fwd)
    with open(doctor.relay.conf, "w") as f:
        f.write(text)
    doctor.set("_dmarc." + fwd)
    f = doctor.alone("domain-alignment", "warning")
    assert fwd in f["text"] and "aspf=s" in f["fix"] and "psd=n" in f["fix"]
    doctor.set("_dmarc." + SHOP, TXT=[STRICT + "; aspf=s; adkim=s"])
    assert doctor.look()[0] == 0 and "domain-alignment" not in {f["check"] for f in doctor.look()[1]}
    doctor.set("_dmarc." + SHOP, TXT=[STRICT])
    doctor.set("_dmarc." + fwd, TXT=[STRICT + "; psd=n"])
    assert "domain-alignment" not in {f["check"] for f in doctor.look()[1]}


@pytest.mark.parametrize("mx, check, level, text, fix", [
    (["10 mx1.shop.example."], "domain-mx", "problem", "none of its 1 MX hosts",
     "shop.example. IN MX 20 mx2.relay.example."),
    ([], "domain-mx", "problem", "no MX record", "IN MX 20 mx2.relay.example."),
    (["0 ."], "domain-null-mx", "problem", "takes no mail", "remove"),
    (["10 mx1.shop.example.", "5 %s." % HOST], "domain-mx", "problem",
     "a backup must not come before the primary", "IN MX 20 mx2.relay.example."),
    (["10 mx1.shop.example.", "10 %s." % HOST], "domain-mx", "warning", "half of the mail", "IN MX 20"),
    (["10 %s." % HOST], "domain-mx", "warning", "only MX host", "in front of it"),
])
def test_mx_of_a_served_domain(doctor, mx, check, level, text, fix):
    doctor.set(SHOP, MX=mx, TXT=well("")[SHOP]["TXT"])
    f = doctor.alone(check, level)
    assert text in f["text"] and fix in f["fix"]


def test_an_mx_host_of_another_name_with_our_address_is_ours(doctor):
    doctor.set(SHOP, MX=["10 mx1.shop.example.", "20 backup.shop.example."], TXT=["v=spf1 -all"])
    doctor.set("backup.shop.example", A=["192.0.2.25"])
    assert doctor.look()[0] == 0


def test_fronts_that_hand_over_need_no_mx(doctor):
    doctor.relay.write_conf(top='trusted-relay = { "192.0.2.0/28" }')
    doctor.set(SHOP, MX=["10 mx1.shop.example."], TXT=["v=spf1 -all"])
    status, found = doctor.look()
    assert status == 0 and any("front servers hand mail over" in f["text"] for f in found)


@pytest.mark.parametrize("name, records, check, text, fix", [
    (FWD, {"MX": ["10 elsewhere.example."], "TXT": well("")[FWD]["TXT"]}, "return-mx",
     "do not come back", "fwd.relay.example. IN MX 10 mx2.relay.example."),
    (FWD, {"MX": ["0 ."], "TXT": well("")[FWD]["TXT"]}, "return-mx", "takes no mail", "IN MX 10"),
    (FWD, {"MX": well("")[FWD]["MX"], "TXT": ["v=spf1 ip4:192.0.2.25 -all"]}, "return-spf",
     "from 2001:db8::25 do not pass SPF (fail)",
     'fwd.relay.example. IN TXT "v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 -all"'),
    (FWD, {"MX": well("")[FWD]["MX"]}, "return-spf", "do not pass SPF (none)", "IN TXT"),
    (FWD, {"MX": well("")[FWD]["MX"], "TXT": ["v=spf1 +all"]}, "return-spf", "lets everybody pass",
     "-all"),
    (HOST, {"A": ["192.0.2.25"], "AAAA": ["2001:db8::25"]}, "hostname-spf", "without a sender",
     'mx2.relay.example. IN TXT "v=spf1 a -all"'),
    (reverse("192.0.2.25"), {}, "reverse", "no reverse name",
     "25.2.0.192.in-addr.arpa. IN PTR mx2.relay.example."),
    (reverse("192.0.2.25"), {"PTR": ["liar.example."]}, "reverse", "does not lead back", "IN PTR"),
])
def test_our_names_in_dns(doctor, name, records, check, text, fix):
    doctor.dns.set(name, records)
    f = doctor.alone(check)
    assert text in f["text"] and fix in f["fix"]


def test_keys(doctor):
    name, (good, other, short) = "s1._domainkey." + FWD, doctor.keys
    joined = lambda f: f["fix"].replace('" "', "")  # noqa: E731
    for records, text in (([], "is not published"), ([other[1]], "does not belong to the key"),
                          (["v=DKIM1; p="], "revoked"), (["v=DKIM2; p=AA"], "version"),
                          (["v=DKIM1; k=rsa"], "no p="), (["nonsense"], "list of tags"),
                          (["v=DKIM1; h=sha1; " + good[1][9:]], "h= without sha256")):
        doctor.set(name, TXT=records)
        f = doctor.alone("return-dkim")
        assert text in f["text"] and '%s. IN TXT "%s"' % (name, good[1]) in joined(f)
    doctor.set(name, TXT=[good[1], other[1]])
    assert "several records" in doctor.alone("return-dkim")["text"]
    doctor.set(name, TXT=["v=DKIM1; t=y; " + good[1][9:]])
    assert "t=y" in doctor.alone("return-dkim", "warning")["text"]
    doctor.relay.write_conf(forwarder='dkim-selector = "s1"\n    dkim-key-file = "%s"' % short[0])
    doctor.set(name, TXT=[short[1]])
    assert "shorter than 2048 bits" in doctor.alone("return-dkim", "warning")["text"]


def test_dns_that_does_not_answer_is_a_finding_and_the_run_is_bounded(doctor):
    doctor.dns.set(SHOP, "SERVFAIL")
    status, found = doctor.look()
    bad = [f for f in found if f["level"] == "problem"]
    assert status == 1 and {f["about"] for f in bad} == {SHOP}
    assert all("DNS does not answer" in f["text"] for f in bad)
    doctor.dns.set(SHOP, "DROP")
    status, found = doctor.look("--timeout", "1s")
    assert status == 1 and [f["text"] for f in found if f["check"] == "time"] == [
        "1 of 2 domains were not looked at in time"]
    for tries, silent in ((1, False), (2, True)):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))    # hears the questions; or nobody does
            doctor.relay.write_conf(dns=s.getsockname()[1] if silent else free_port(),
                                    top="dns-timeout = 1s\ndns-tries = %d" % tries)
            start = time.monotonic()
            status, found = doctor.look()
            bad = [f for f in found if f["level"] == "problem"]
            assert status == 1 and [f["check"] for f in bad] == ["resolver"]
            assert time.monotonic() - start < 10


def test_one_domain_of_many(doctor):
    more = "".join('domain "d%d.example" {\n primary = "lmtp://127.0.0.1:24"\n}\n' % i
                   for i in range(60))
    for i in range(60):
        doctor.set("d%d.example" % i, MX=["10 mx1.shop.example.", "20 %s." % HOST])
        doctor.set("_dmarc.d%d.example" % i, TXT=[STRICT])
    doctor.set("d7.example", MX=["10 mx1.shop.example."])
    doctor.relay.write_conf(more=more)
    f = doctor.alone("domain-mx")
    assert f["about"] == "d7.example"
    assert doctor.alone("domain-mx", "problem", "--domain", "d7.example") == f
    assert doctor.look("--domain", "D8.example")[0] == 0
    text = doctor.relay.command("doctor", check=False).stdout
    r = subprocess.run([BINARY, "doctor", "-c", doctor.relay.conf], capture_output=True, text=True, timeout=60)
    assert r.returncode == 1 and "d8.example" not in r.stdout and "d7.example" in r.stdout, text


def test_domains_are_looked_at_side_by_side_and_a_terminal_sees_how_far(doctor):
    doctor.relay.write_conf(more="".join('domain "d%d.example" {\n primary = "lmtp://127.0.0.1:24"\n}\n' % i
                                         for i in range(200)))
    doctor.dns.delay = 0.2      # one after another these would take two minutes
    main, tty = pty.openpty()
    start = time.monotonic()
    r = subprocess.run([BINARY, "doctor", "-c", doctor.relay.conf], stdout=subprocess.PIPE, stderr=tty,
                       timeout=60)
    took = time.monotonic() - start
    os.close(tty)
    shown = os.read(main, 65536)
    os.close(main)
    assert r.returncode == 1 and b" of 202 domains" in shown and shown.endswith(b"\r\033[K")
    assert b"were not looked at" not in r.stdout and took < 30


def test_a_relay_that_only_holds_has_no_return_path(doctor):
    with open(doctor.relay.conf) as f:
        text = f.read()
    a = text.index("forwarder {")
    with open(doctor.relay.conf, "w") as f:
        f.write(text[:a] + text[text.index("}", a) + 1:])
    status, found = doctor.look()
    assert status == 0
    assert not [f for f in found if f["check"].startswith("return") or f["about"] == FWD]


def test_wrongly_called_is_exit_2(doctor):
    for words, said in ((["--domain", "nobody.example"], "no section"), (["x"], "options only"),
                        (["--address", "192.0.2.25,host"], "IP addresses"),
                        (["--timeout", "never"], "a span")):
        r = doctor.relay.command("doctor", *words, check=False)
        assert r.returncode == 2 and said in r.stderr and r.stdout == ""
    with open(doctor.relay.conf, "a") as f:
        f.write("no-such-key = 1\n")
    assert doctor.relay.command("doctor", check=False).returncode == 2


def test_addresses_behind_nat_are_named(doctor):
    doctor.set(FWD, MX=["10 %s." % HOST], TXT=["v=spf1 ip4:198.51.100.7 -all"])
    f = doctor.alone("return-spf")
    assert "192.0.2.25" in f["text"]
    doctor.set(reverse("198.51.100.7"), PTR=["nat.relay.example."])
    doctor.set("nat.relay.example", A=["198.51.100.7"])
    doctor.set(HOST, A=["192.0.2.25"], TXT=["v=spf1 ip4:198.51.100.7 -all"])
    doctor.set(SHOP, MX=well("")[SHOP]["MX"], TXT=["v=spf1 ip4:192.0.2.80 -all"])
    f = doctor.alone("reverse", "warning", "--address", "198.51.100.7")
    assert f["about"] == "198.51.100.7" and "nat.relay.example" in f["text"]


def test_the_running_relay_and_a_stranger_on_its_port(doctor):
    with socket.socket() as s:
        s.bind(("127.0.0.1", doctor.relay.port))
        s.listen()
        status, found = doctor.look()
        assert status == 1
        assert [f["check"] for f in found if f["level"] == "problem"] == ["port"]
    doctor.relay.start()
    try:
        status, found = doctor.look()
        said = [f for f in found if f["check"] == "relay"]
        assert status == 0 and said[0]["text"] == "it runs, and all its processes are ready"
    finally:
        doctor.relay.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("ca")))


def certified(doctor, authority, files, top=""):
    doctor.relay.write_conf(top='tls-cert-file = "%s"\ntls-key-file = "%s"\ntls-ca-file = "%s"\n%s'
                            % (files[0], files[1], authority.file, top))


def test_certificate_that_runs_out_has_another_name_or_is_over(doctor, authority):
    def said(*names, **when):
        certified(doctor, authority, authority.issue(*names, **when))
        return [(f["check"], f["level"], f["text"]) for f in doctor.look()[1]
                if f["check"] in ("certificate", "check")]

    assert [s[:2] for s in said(HOST, end=29)] == [("check", "ok"), ("certificate", "ok")]
    assert said(HOST, end=20)[1] in [("certificate", "warning", "it expires in %d days" % n) for n in (19, 20)]
    assert [s[:2] for s in said("other.example", end=29)] == [("check", "warning"), ("certificate", "ok")]
    over = said(HOST, begin=-9, end=-1)
    assert [s[:2] for s in over] == [("check", "problem")] and "expired" in over[0][2]


def test_tlsa_that_names_another_certificate_keeps_mail_away(doctor, authority):
    files, other = authority.issue(HOST, end=29), authority.issue(HOST, end=29)
    name = "_25._tcp." + HOST
    doctor.dns.secure = True
    doctor.set(name, TLSA=[tlsa(files[0])])
    assert "tls-cert-file is not set" in doctor.alone("tlsa", "warning")["text"]
    certified(doctor, authority, files)
    status, found = doctor.look()
    assert ("tlsa", "ok") in {(f["check"], f["level"]) for f in found}
    assert ("resolver-dnssec", "ok") in {(f["check"], f["level"]) for f in found}
    doctor.set(name, TLSA=[tlsa(other[0])])
    f = doctor.alone("tlsa", "warning")
    assert "do not deliver" in f["text"]
    assert f["fix"] == "publish: %s. IN TLSA %s" % (name, tlsa(files[0]))
    doctor.set(name, TLSA=[tlsa(other[0]), tlsa(files[0])])
    assert doctor.look()[0] == 0
    doctor.dns.secure = False
    assert "DNSSEC" in doctor.alone("tlsa", "warning")["text"]


@pytest.mark.parametrize("policy, level, text", [
    ("version: STSv1\nmode: enforce\nmx: mx1.shop.example\nmx: *.relay.example\nmax_age: 86400\n",
     "ok", "lists mx2.relay.example"),
    ("version: STSv1\nmode: enforce\nmx: mx1.shop.example\nmax_age: 86400\n",
     "warning", "will not deliver here"),
    ("version: STSv1\nmode: testing\nmx: mx1.shop.example\nmax_age: 86400\n", "warning", "mode testing"),
    ((404, {}, b""), "warning", "cannot be fetched"),
])
def test_mta_sts_policy_of_a_served_domain(doctor, authority, policy, level, text):
    web = PolicyHost(authority, {"mta-sts." + SHOP: policy})
    try:
        certified(doctor, authority, authority.issue(HOST, end=29),
                  "mta-sts-port = %d\nmta-sts-timeout = 5s" % web.port)
        doctor.set("mta-sts." + SHOP, A=["127.0.0.1"])
        doctor.set("_mta-sts." + SHOP, TXT=["v=STSv1; id=1;"])
        if level == "ok":
            status, found = doctor.look()
            assert text in [f for f in found if f["check"] == "domain-mta-sts"][0]["text"]
        else:
            assert text in doctor.alone("domain-mta-sts", level)["text"]
        doctor.set("_mta-sts." + SHOP, TXT=["v=STSv1; id=a b"])
        assert "no valid id=" in doctor.alone("domain-mta-sts", "warning")["text"]
    finally:
        web.close()


def test_who_may_not_read_the_keys_is_told_so(keys):
    if os.getuid() != 0:
        pytest.skip("nobody else to be")
    with tempfile.TemporaryDirectory() as folder:   # pytest's own are closed to others
        doctor = Doctor(folder, keys)
        binary = shutil.copy(BINARY, folder)    # where it was built may be closed, too
        r = subprocess.run([binary, "doctor", "-c", doctor.relay.conf, "--json"], user=65534, group=65534,
                           extra_groups=[], cwd="/", capture_output=True, text=True, timeout=30)
        doctor.dns.close()
    assert r.returncode == 0, r.stdout + r.stderr
    found = json.loads(r.stdout)["findings"]
    dkim = [f for f in found if f["check"] == "return-dkim"]
    assert [f["level"] for f in dkim] == ["warning"] and "cannot be compared" in dkim[0]["text"]
    assert "as root" in dkim[0]["fix"]
    assert {f["level"] for f in found if f["check"] == "check"} == {"warning"}, found


def test_this_host(doctor):
    os.mkdir(doctor.relay.state)
    os.chmod(doctor.relay.state, 0o777)
    doctor.relay.write_conf(top="disk-warn = 16T\nsessions-max = 100000\ndeliveries-max = 100000")
    with open(doctor.relay.conf) as f:
        text = f.read().replace("sandbox = kill", "sandbox = off")
    with open(doctor.relay.conf, "w") as f:
        f.write(text)
    limited = ["prlimit", "--nofile=4096", BINARY, "doctor", "-c", doctor.relay.conf, "--json"]
    r = subprocess.run(limited, capture_output=True, text=True, timeout=30)
    found = {f["check"]: f for f in json.loads(r.stdout)["findings"]}
    assert r.returncode == 1
    assert found["state-dir"]["level"] == "problem" and "chmod go-w" in found["state-dir"]["fix"]
    assert found["disk"]["level"] == "warning" and "less than disk-warn" in found["disk"]["text"]
    assert found["sandbox"]["level"] == "warning" and "not confined" in found["sandbox"]["text"]
    assert found["descriptors"]["level"] == "warning" and "here 4096" in found["descriptors"]["text"]
    os.chmod(doctor.relay.state, 0o700)
    assert doctor.look()[0] == 0
