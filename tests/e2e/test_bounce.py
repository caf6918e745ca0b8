# SPDX-License-Identifier: Apache-2.0
"""What comes back to a return path (spec 2.2, 1.4): the recovery host accepts a copy and
bounces it later, answers for a user on holiday, or lies."""
import base64
import hmac
import os
import re
import signal

import pytest

from tests.lib import mail

SENDER, USER, RECOVERY = "news@sender.example", "mario@shop.example", "mario@recovery.example"


def report(token, action="failed", status="5.1.1", code="550 5.1.1", rcpt=RECOVERY, extra=b""):
    """As a recovery host writes it, which names the recovery address everywhere."""
    return (
        b"From: <mailer-daemon@mx.recovery.example>\r\nTo: <" + token.encode() + b">\r\n"
        b"Subject: Undelivered: " + rcpt.encode() + b"\r\nAuto-Submitted: auto-replied\r\n"
        b"MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n"
        b" boundary=\"=b\"\r\n" + extra + b"\r\n--=b\r\n\r\nNo such user " + rcpt.encode() +
        b"\r\n--=b\r\nContent-Type: message/delivery-status\r\n\r\n"
        b"Reporting-MTA: dns; mx.recovery.example\r\n\r\n"
        b"Final-Recipient: rfc822; " + rcpt.encode() + b"\r\nAction: " + action.encode() +
        b"\r\nStatus: " + status.encode() + b"\r\nDiagnostic-Code: smtp; " + code.encode() +
        b" <" + rcpt.encode() + b"> no\r\n\r\n--=b--\r\n")


VACATION = (b"From: <" + RECOVERY.encode() + b">\r\nTo: <%s>\r\nSubject: I am away\r\n"
            b"Auto-Submitted: auto-replied (vacation)\r\nMessage-ID: <v@recovery.example>\r\n\r\n"
            b"Back on Monday.\r\n")


def forwarded(world, **kw):
    """A relay in an outage whose one message has been forwarded; (relay, return path)."""
    relay = world.relay(**kw)
    world.down()
    relay.failover("on")
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
    copy = world.recovery.wait(1)[0]
    relay.wait_balance(received=1, held=1, forwarded=1)
    return relay, copy.mail_from


def legs(relay):
    listed = relay.command("queue", "list", "--domain", "shop.example")["messages"]
    shown = relay.command("queue", "show", listed[0]["id"])["message"]
    return {leg: shown["recipients"][0][leg] for leg in ("hold", "forward")}


def bounces(relay):
    return relay.roles("queue")[0]["bounces"]


def nowhere_on_disk(relay, what):
    import os
    for folder, _, files in os.walk(relay.state):
        for name in files:
            if "directory" in folder or name == "control.sock":
                continue
            with open(os.path.join(folder, name), "rb") as f:
                assert what not in f.read(), os.path.join(folder, name)


def test_spec_2_2_3_a_bounce_fails_its_leg_and_is_not_kept(world):
    relay, path = forwarded(world)
    data = report(path, extra=b"X-Mark: only-in-this-bounce\r\n")
    assert mail.send(relay.port, "", path, data)[0] == 250
    relay.wait_balance(received=1, held=1, forwarded=0, forward_failed=1)
    assert legs(relay)["forward"]["note"] == "bounced 5.1.1"
    assert legs(relay)["hold"]["state"] == "parked"
    assert bounces(relay)["failed"] == 1
    # 2.2.5: the body is nowhere; the books of the user's domain are as they were
    nowhere_on_disk(relay, b"only-in-this-bounce")
    assert "recovery.example" not in relay.log()
    world.up()
    relay.failover("off")
    assert world.store.wait(1)[0].rcpts == [USER]
    b = relay.wait_balance(received=1, replayed=1, held=0)
    assert b["bounced"] == 0 and len(world.store.messages) == 1 and len(world.recovery.messages) == 1


def test_spec_2_2_5_a_body_is_kept_for_a_day_with_a_key_only(world):
    """Encrypted, in a folder of its own, shown to an administrator and audited, purged by time;
    without the key nothing is kept, and what there was is erased."""
    import os
    key = world.folder + "/bounce.key"
    with open(key, "w") as f:
        f.write("0123456789abcdef0123456789abcdef\n")
    os.chmod(key, 0o600)
    relay, path = forwarded(world, forwarder='bounce-debug-key-file = "%s"\n bounce-debug-time = 3s' % key)
    data = report(path, extra=b"X-Mark: only-in-this-bounce\r\n")
    assert mail.send(relay.port, "", path, data)[0] == 250
    kept = relay.state + "/queue/bounces"
    world_wait(lambda: len(os.listdir(kept)) == 1)
    name = os.listdir(kept)[0]
    assert os.stat(kept + "/" + name).st_mode & 0o7777 == 0o600
    nowhere_on_disk(relay, b"only-in-this-bounce")
    shown = relay.command("queue", "show", name, "--content", json_out=False)
    assert data.decode().replace("\r\n", "\n") in shown.replace("\r\n", "\n")
    audit = open(relay.state + "/queue/audit.log").read()
    assert '"content-shown"' in audit and name in audit and "recovery" not in audit
    world_wait(lambda: os.listdir(kept) == [])
    assert mail.send(relay.port, "", path, data)[0] == 250
    world_wait(lambda: len(os.listdir(kept)) == 1)
    relay.stop()
    relay.values["forwarder"] = ""
    relay.write_conf()
    relay.start()
    assert os.listdir(kept) == []
    assert mail.send(relay.port, "", path, data)[0] == 250
    world_wait(lambda: bounces(relay)["failed"] == 1)
    assert os.listdir(kept) == []


def test_spec_2_2_3_reports_of_other_kinds(world):
    relay, path = forwarded(world)
    assert mail.send(relay.port, "", path, report(path, "delayed", "4.4.1", "451"))[0] == 250
    world_wait(lambda: legs(relay)["forward"]["note"] == "delayed 4.4.1")
    assert mail.send(relay.port, "", path, report(path, "delivered", "2.0.0", "250"))[0] == 250
    world_wait(lambda: legs(relay)["forward"]["note"] == "delivered 2.0.0")
    assert relay.balance()["forwarded"] == 1
    # encoded, with the line ends of the system that wrote it, and a comment in front
    encoded = base64.encodebytes(b"Reporting-MTA: dns; x\n\nAction: (at last) failed\nStatus: 5.2.2\n")
    assert mail.send(relay.port, "", path, b"From: x\r\nContent-Type: multipart/report; boundary=b;\r\n"
                     b" report-type=delivery-status\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n"
                     b"Content-Transfer-Encoding: base64\r\n\r\n" + encoded + b"--b--\r\n")[0] == 250
    world_wait(lambda: legs(relay)["forward"]["note"] == "bounced 5.2.2")
    assert bounces(relay)["delayed"] == 1 and bounces(relay)["delivered"] == 1


def world_wait(true, timeout=15):
    import time
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_spec_2_2_1_and_2_2_2_who_may_write_to_a_return_path(world):
    relay, path = forwarded(world)
    local, domain = path.split("@")
    forged = local[:5] + ("A" if local[5] not in "Aa" else "B") + local[6:] + "@" + domain
    assert mail.send(relay.port, "", forged, report(forged))[0] == 550
    code, text = mail.send(relay.port, "someone@sender.example", path, report(path))
    assert code == 550 and b"5.7.1" in text
    for sender in ("", "someone@sender.example"):   # no other address is there, whoever asks
        code, text = mail.send(relay.port, sender, "someone@" + domain, report(path))
        assert code == 550 and b"5.1.1" in text
    assert mail.send(relay.port, "", ["postmaster@" + domain], report(path))[0] == 250
    # two tokens, or a token and a user, are two messages (2.2.6)
    assert mail.send(relay.port, "", [path, USER], report(path))[0] == 452
    assert mail.send(relay.port, "", [USER, path], report(path))[0] == 452
    assert legs(relay)["forward"]["state"] == "delivered"


def test_spec_1_2_10_secrets_change_while_it_runs(world):
    """A new one on top signs at once, the one below still verifies, one that is taken out does
    not; a file that everybody may read is said to be one."""
    relay, old = forwarded(world)
    def ask(path):
        session = mail.Session(relay.port)
        said = session.say("MAIL FROM:<>", "RCPT TO:<%s>" % path)
        session.close()
        return said[:9]
    def secrets(text, then):
        with open(relay.folder + "/secret", "w") as f:
            f.write(text)
        relay.process.send_signal(signal.SIGHUP)
        world_wait(then)
    def signed_by(secret):
        have = len(world.recovery.messages)
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
        path = world.recovery.wait(have + 1)[-1].mail_from
        given, stamp, node, token = path.split("@")[0].split("=", 1)[1].split("=")
        mac = hmac.new(secret.encode(), (stamp + node + token).lower().encode(), "sha1").digest()
        return path if base64.urlsafe_b64encode(mac).decode()[:8] == given else None
    assert "mode=0" not in relay.log()
    secrets("new-2026\ncorrect-horse-battery\n", lambda: signed_by("new-2026"))
    new = signed_by("new-2026")
    assert (ask(old)[:3], ask(new)[:3]) == ("250", "250")
    os.chmod(relay.folder + "/secret", 0o644)
    secrets("new-2026\n", lambda: ask(old) == "550 5.1.1")
    assert ask(new)[:3] == "250"
    assert "forwarder.secret-file=" in relay.log() and "mode=0644" in relay.log()


def test_spec_1_2_11_guessing_return_paths(world):
    """Twenty that do not verify, then 421 for that client there, and for no other and nowhere
    else; the pause ends."""
    relay, path = forwarded(world, top="guesses-max = 3\nguess-pause = 2s")
    local, domain = path.split("@")
    def ask(address, source="127.0.0.5"):
        return mail.send(relay.port, "", address, report(address), source=source)[0]
    for _ in range(3):
        assert ask("SRS0=AAAAAAAA" + local[13:] + "@" + domain) == 550
    assert ask(path) == 421
    assert ask("SRS0=AAAAAAAA" + local[13:] + "@" + domain) == 421
    assert ask("postmaster@" + domain) == 250
    assert ask(USER) == 250                             # not at the user's own domain
    assert sum(r["guesses"] for r in relay.roles("relay")) == 2
    assert "guesses" in relay.log()
    assert ask(path, "127.0.0.8") == 250
    world_wait(lambda: ask(path) == 250)


def test_spec_2_2_2_senders_that_cannot_do_better(world):
    relay, path = forwarded(world, forwarder="accept-nonnull-bounces = yes")
    assert mail.send(relay.port, RECOVERY, path, report(path), helo="mx.recovery.example")[0] == 250
    relay.wait_balance(forward_failed=1)
    assert "recovery.example" not in relay.log()      # P4: who wrote it neither


def test_spec_1_4_3_an_old_token_and_spec_1_4_4_another_nodes(world):
    relay, path = forwarded(world)
    other = world.relay(users=None, start=False, forwarder="")
    conf = open(other.conf).read().replace('node = "n1"', 'node = "n2"')
    open(other.conf, "w").write(conf)
    other.import_users(world.USERS)
    other.start()
    assert mail.send(other.port, "", path, report(path))[0] == 250
    world_wait(lambda: bounces(other)["other_node"] == 1)
    # authentic, but the message is long gone
    relay.command("queue", "drop", "--domain", "shop.example", "--reason", "test")
    assert mail.send(relay.port, "", path, report(path))[0] == 250
    world_wait(lambda: bounces(relay)["failed"] + bounces(relay)["unknown"] == 1)
    assert relay.balance()["dropped"] == 1


def node(world, name, routes=()):
    """One more relay of the same return-path domain and secret."""
    relay = world.relay(users=None, start=False, forwarder="node-route = { %s }" % ", ".join(
        '"%s"' % r for r in routes))
    conf = open(relay.conf).read().replace('node = "n1"', 'node = "%s"' % name)
    open(relay.conf, "w").write(conf)
    relay.import_users(world.USERS)
    return relay


def test_spec_1_4_4_another_nodes_bounce_is_handed_to_its_relay(world):
    relay, path = forwarded(world)
    other = node(world, "n2", ["n1 = 127.0.0.1:%d" % relay.port])
    other.start()
    data = report(path, extra=b"X-Mark: " + b"\xc3\xa9 8bit\r\n")
    assert mail.send(other.port, "", path, data)[0] == 250
    relay.wait_balance(received=1, held=1, forward_failed=1)
    assert legs(relay)["forward"]["note"] == "bounced 5.1.1"
    assert bounces(relay)["failed"] == 1 and bounces(other)["other_node"] == 0
    world_wait(lambda: "bounce-handed-over" in other.log())
    # to that node only; a token nobody made goes nowhere
    forged = path[:5] + ("A" if path[5] not in "Aa" else "B") + path[6:]
    assert mail.send(other.port, "", forged, data)[0] == 550
    assert mail.send(other.port, "x@sender.example", path, data)[0] == 550


def test_spec_1_4_4_a_relay_that_is_away_gets_it_later(world):
    relay, path = forwarded(world)
    other = node(world, "n2", ["n1=127.0.0.1:%d" % relay.port])
    other.start()
    relay.stop()
    assert mail.send(other.port, "", path, report(path))[0] == 250
    world_wait(lambda: "bounce-not-handed-over" in other.log())
    other.kill()                # it is on disk until then
    other.start()
    relay.start()
    relay.wait_balance(received=1, held=1, forward_failed=1)


def test_spec_1_4_4_two_relays_that_name_each_other_do_not_loop(world):
    """Neither is n1, each believes that the other is: it goes once from one to the other."""
    _, path = forwarded(world)
    second, third = node(world, "n2"), node(world, "n3")
    for a, b in ((second, third), (third, second)):
        conf = open(a.conf).read().replace("node-route = {  }", 'node-route = { "n1=127.0.0.1:%d" }' % b.port)
        open(a.conf, "w").write(conf)
        a.start()
    assert mail.send(second.port, "", path, report(path))[0] == 250
    world_wait(lambda: bounces(third)["other_node"] == 1)
    world_wait(lambda: "bounce-handed-over" in second.log())
    assert bounces(second)["other_node"] == 0 and "handed-over" not in third.log()
    nowhere_on_disk(third, b"No such user")         # 2.2.5


def test_spec_1_4_4_check_explains_a_wrong_route(world):
    for routes, words in ((["n1=127.0.0.1:25"], "own node"), (["n2=nowhere"], "n2=mx3.example.net:25"),
                          (["N2=127.0.0.1:25"], "n2=mx3.example.net:25"),
                          (["n2=127.0.0.1:25", "n2=127.0.0.2:25"], "twice")):
        relay = world.relay(users=None, start=False, forwarder="node-route = { %s }" % ", ".join(
            '"%s"' % r for r in routes))
        r = relay.command("check", check=False, json_out=False)
        assert r.returncode != 0 and words in r.stdout + r.stderr, (routes, r)


@pytest.mark.parametrize("data", [
    b"", b"\r\n", b"Content-Type: multipart/report; report-type=delivery-status\r\n\r\n",
    b"Subject: hi\r\n\r\nnothing of interest\r\n",
    b"X: " + b"y" * 900 + b"\r\n" + b"Received: x\r\n" * 200 + b"\r\n",
])
def test_spec_2_2_4_what_is_no_report_is_discarded(world, data):
    relay, path = forwarded(world)
    assert mail.send(relay.port, "", path, data)[0] == 250
    world_wait(lambda: bounces(relay)["other"] == 1)
    assert legs(relay)["forward"]["state"] == "delivered"


def test_spec_2_1_1_and_14_4_case_3_a_late_bounce_that_names_the_recovery_address(world):
    """The sink accepts, then sends a DSN to our token: leg failed, sender receives nothing."""
    relay, path = forwarded(world)
    assert mail.send(relay.port, "", path, report(path))[0] == 250
    relay.wait_balance(forward_failed=1, held=1)
    world.up()
    relay.failover("off")
    relay.wait_balance(received=1, replayed=1)
    assert [m.rcpts for m in world.recovery.messages] == [[RECOVERY]]


def test_spec_14_4_case_8_a_vacation_notice_to_the_token(world):
    relay, path = forwarded(world)
    assert mail.send(relay.port, "", path, VACATION % path.encode())[0] == 250
    world_wait(lambda: bounces(relay)["auto_reply"] == 1)
    assert legs(relay)["forward"]["state"] == "delivered"
    nowhere_on_disk(relay, b"Back on Monday")
    assert len(world.recovery.messages) == 1 and world.store.messages == []


def srs_report(path, envid=None, copy=None, rcpt=RECOVERY):
    """A report as above; with our ENVID, or with the header of the copy it is about."""
    data = report(path, rcpt=rcpt)
    if envid is not None:
        data = data.replace(b"Reporting-MTA:", b"Original-Envelope-Id: " + envid.encode() +
                            b"\r\nReporting-MTA:")
    if copy is not None:
        data = data.replace(b"\r\n--=b--\r\n", b"\r\n--=b\r\nContent-Type: text/rfc822-headers\r\n\r\n" +
                            copy.split(b"\r\n\r\n")[0] + b"\r\n\r\n--=b--\r\n")
    return data


def envid_of(copy):
    return copy.options.split("ENVID=")[1].split()[0].strip("'\",]")


@pytest.fixture
def srs(world):
    """An outage in return-path = srs; the sender's MX, and that of a name one letter shorter,
    are a sink of their own."""
    from tests.lib.sink import Sink
    inbox = Sink(host="127.0.0.7", port=world.recovery.port)
    world.recovery.extensions = world.recovery.extensions + ["DSN"]
    for name in ("example.com", "example.co"):
        world.dns.set(name, {"MX": ["10 mx.sender.example."], "TXT": ["v=spf1 ip4:127.0.0.5 -all"]})
    world.dns.set("mx.sender.example", {"A": ["127.0.0.7"]})
    world.inbox = inbox
    yield world
    inbox.close()


def srs_forwarded(world):
    relay = world.relay(in_domain="return-path = srs")
    world.down()
    relay.failover("on")
    assert mail.send(relay.port, "mario@example.com", USER,
                     mail.message("mario@example.com", USER))[0] == 250
    copy = world.recovery.wait(1)[0]
    relay.wait_balance(received=1, held=1, forwarded=1)
    assert copy.mail_from.split("=")[3:] == ["example.com", "mario@fwd.relay.example"]
    return relay, copy


@pytest.mark.parametrize("by", ["envid", "header"])
def test_spec_1_2_12_a_bounce_to_an_srs_address_fails_its_leg(srs, by):
    """The leg is found by the token that the report brought; nothing goes to the sender."""
    relay, copy = srs_forwarded(srs)
    assert len(envid_of(copy)) == 24            # 2.3.3: ENVID is the token here, too
    data = srs_report(copy.mail_from, envid_of(copy) if by == "envid" else None,
                      copy.data if by == "header" else None)
    assert mail.send(relay.port, "", copy.mail_from, data)[0] == 250
    relay.wait_balance(received=1, held=1, forward_failed=1)
    assert legs(relay)["forward"]["note"] == "bounced 5.1.1"
    assert legs(relay)["hold"]["state"] == "parked"
    assert bounces(relay)["failed"] == 1 and bounces(relay)["srs"] == 0
    # and never as a general relay
    assert srs.inbox.messages == [] and len(srs.recovery.messages) == 1
    assert mail.send(relay.port, "x@sender.example", copy.mail_from, b"Subject: x\r\n\r\n")[0] == 550
    assert "recovery.example" not in relay.log()


def test_spec_1_2_12_and_14_1_the_boundary_shift(srs):
    """The hash of example.com/mario holds for example.co/mmario as well (14.1): the address is
    taken, and nothing is delivered to it or believed of it."""
    relay, copy = srs_forwarded(srs)
    shifted = copy.mail_from.replace("=example.com=mario@", "=example.co=mmario@")
    assert shifted != copy.mail_from
    data = srs_report(shifted, envid_of(copy), copy.data)
    assert mail.send(relay.port, "", shifted, data)[0] == 250
    world_wait(lambda: bounces(relay)["srs"] == 1)
    assert legs(relay)["forward"]["state"] == "delivered"
    # without a token nothing is known: counted, and gone
    assert mail.send(relay.port, "", copy.mail_from, report(copy.mail_from))[0] == 250
    world_wait(lambda: bounces(relay)["srs"] == 2)
    assert legs(relay)["forward"]["state"] == "delivered"
    assert bounces(relay)["failed"] == 0 and srs.inbox.messages == []
    nowhere_on_disk(relay, b"No such user")


def test_spec_1_2_12_what_it_names_has_to_resolve_and_not_be_ours(srs):
    srs.dns.set("null.example", {"MX": ["0 ."], "A": ["127.0.0.7"]})
    srs.dns.set("away.example", "SERVFAIL")
    srs.dns.set("shop.example", {"TXT": ["v=spf1 ip4:127.0.0.5 -all"], "A": ["127.0.0.1"]})
    relay, _ = srs_forwarded(srs)
    # away: a DNS that does not answer refuses nothing
    for host, answer in (("nowhere.example", 550), ("null.example", 550), ("shop.example", 550),
                         ("example.co", 250), ("away.example", 250)):
        address = relay.command("srs", "encode", "mario@" + host)["answer"]
        code, text = mail.send(relay.port, "", address, report(address))
        assert code == answer and (code == 250 or text[:5] == b"5.1.1"), (host, text)
    # so a sender of a domain of ours gets a token in place of SRS
    assert mail.send(relay.port, "anna@shop.example", USER,
                     mail.message("anna@shop.example", USER, subject="two"))[0] == 250
    assert srs.recovery.wait(2)[1].mail_from.split("=")[3] == "n1"


def test_spec_2_1_2_and_2_3_9_told_only_when_nobody_has_it(srs):
    """Taken by the recovery host, refused for good by the primary, and then the copy bounces:
    the sender is told after all, in words of ours (leak checklist)."""
    from tests.e2e.test_dsn import no_secret, parts, store_refuses, until
    relay, copy = srs_forwarded(srs)
    srs.up(script=store_refuses)
    relay.failover("off")
    until(lambda: "primary-refused" in relay.log())
    relay.command("queue", "bounce", "--domain", "shop.example", "--reason", "x")
    relay.wait_balance(bounced=1, held=0)
    assert srs.inbox.messages == []             # 2.3.1: a copy was taken
    data = srs_report(copy.mail_from, envid_of(copy), copy.data)
    assert mail.send(relay.port, "", copy.mail_from, data)[0] == 250
    dsn = srs.inbox.wait(1, timeout=20)[0]
    assert dsn.mail_from == "" and dsn.rcpts == ["mario@example.com"]
    no_secret(dsn.data + dsn.options.encode())
    top, _, status, header = parts(dsn.data)
    assert b"Final-Recipient: rfc822; mario@shop.example" in status.as_bytes()
    # 2.3.8: why, in the words of the primary, which gave it up
    assert b"Status: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1\r\n" in dsn.data
    assert b"Remote-MTA" not in dsn.data and b"No such user" not in dsn.data
    for name in ("X-Actual-Recipient", "Delivered-To", "X-Forwarded-To", "X-Original-To"):
        assert name.encode() not in dsn.data
    assert b"X-Fwd-Loop" not in header.as_bytes()
    b = relay.wait_balance(received=1, bounced=1, forward_failed=1)
    # once
    assert mail.send(relay.port, "", copy.mail_from, data)[0] == 250
    until(lambda: bounces(relay)["failed"] == 2)
    assert len(srs.inbox.messages) == 1 and b["held"] == 0


def came_back(relay, n):
    """The messages held or dropped, oldest first: (hold, forward) of each."""
    ids = [m["id"] for m in relay.command("queue", "list", "--domain", "shop.example", "--state",
                                          "all")["messages"]]
    assert len(ids) == n
    shown = [relay.command("queue", "show", i)["message"]["recipients"][0] for i in ids]
    return [(r["hold"], r["forward"]) for r in shown]


def test_spec_14_4_case_10_a_copy_that_comes_back(world):
    """A recovery host forwards back: 250, no second hold copy, no second forward; the user's
    mail is held only for a day (9.1); the store gets one copy."""
    relay, _ = forwarded(world)
    copy = world.recovery.messages[0]
    assert b"X-Fwd-Loop: " in copy.data
    assert mail.send(relay.port, "back@third.example", USER, copy.data)[0] == 250
    relay.wait_balance(received=2, held=1, dropped=1, forwarded=1, forward_skipped=1,
                       forward_waiting=0)
    # once more, though the user is marked by now
    assert mail.send(relay.port, copy.mail_from, USER, copy.data)[0] == 250
    relay.wait_balance(received=3, held=1, dropped=2, forwarded=1, forward_skipped=2)
    ends = came_back(relay, 3)
    assert [h["note"] for h, _ in ends].count("came-back") == 2
    assert [f["note"] for _, f in ends].count("loop") == 2
    # other mail of this user waits for the store
    other = mail.message(SENDER, USER, subject="altro")
    assert mail.send(relay.port, SENDER, USER, other)[0] == 250
    relay.wait_balance(received=4, held=2, dropped=2, forwarded=1, forward_skipped=3,
                       forward_waiting=0)
    assert len(world.recovery.messages) == 1
    assert "recovery.example" not in relay.log()        # P4
    world.up()
    relay.failover("off")
    relay.wait_balance(received=4, replayed=2, held=0, dropped=2)
    got = [m.data for m in world.store.wait(2)]
    assert len(got) == 2 and sum(b"X-Fwd-Loop" in d for d in got) == 0
    assert len(world.recovery.messages) == 1


def test_spec_9_1_a_tag_does_not_make_other_mail_vanish(world):
    """A tag that is not ours stops nothing; under another Message-ID the copy stays held."""
    relay, _ = forwarded(world)
    copy = world.recovery.messages[0].data
    forged = mail.message(SENDER, USER, extra=b"X-Fwd-Loop: " + b"0" * 32 + b"\r\n")
    assert mail.send(relay.port, SENDER, USER, forged)[0] == 250
    relay.wait_balance(received=2, held=2, dropped=0, forwarded=2, forward_waiting=0)
    changed = re.sub(rb"(?im)^Message-ID:[^\r]*", b"Message-ID: <other@x.example>", copy)
    assert changed != copy
    assert mail.send(relay.port, SENDER, USER, changed)[0] == 250
    relay.wait_balance(received=3, held=3, dropped=0, forwarded=2, forward_waiting=0)
    assert "loop" in [f["note"] for _, f in came_back(relay, 3)]


def test_spec_2_2_6_how_much_of_a_bounce_is_read(world):
    """A report that stands within 1 MiB and eight levels is read, with whatever behind it; one
    that stands deeper or later is counted and gone."""
    relay, path = forwarded(world)

    def inside(levels):
        data = report(path, "delayed", "4.4.1")
        for i in range(levels):
            data = b"Content-Type: multipart/mixed; boundary=n%d\r\n\r\n--n%d\r\n%s\r\n--n%d--\r\n" % (i, i, data, i)
        return data

    def padded(before):
        filler = (b"x" * 76 + b"\r\n") * 20000
        head, body = report(path, "delayed", "4.4.1").split(b"\r\n\r\n", 1)
        return head + b"\r\n\r\n" + (filler + body if before else body + filler)

    for data, read in ((inside(7), True), (inside(8), False), (padded(False), True), (padded(True), False)):
        was = bounces(relay)
        assert mail.send(relay.port, "", path, data)[0] == 250
        world_wait(lambda: bounces(relay) != was)
        assert bounces(relay)["delayed"] == was["delayed"] + read
