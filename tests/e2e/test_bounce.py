# SPDX-License-Identifier: Apache-2.0
"""What comes back to a return path (spec 2.2, 1.4): the recovery host accepts a copy and
bounces it later, answers for a user on holiday, or lies."""
import re

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


def test_spec_2_2_3_reports_of_other_kinds(world):
    relay, path = forwarded(world)
    assert mail.send(relay.port, "", path, report(path, "delayed", "4.4.1", "451"))[0] == 250
    world_wait(lambda: legs(relay)["forward"]["note"] == "delayed 4.4.1")
    assert mail.send(relay.port, "", path, report(path, "delivered", "2.0.0", "250"))[0] == 250
    world_wait(lambda: legs(relay)["forward"]["note"] == "delivered 2.0.0")
    assert relay.balance()["forwarded"] == 1
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
    forged = local[:5] + ("A" if local[5] != "A" else "B") + local[6:] + "@" + domain
    assert mail.send(relay.port, "", forged, report(forged))[0] == 550
    code, text = mail.send(relay.port, "someone@sender.example", path, report(path))
    assert code == 550 and b"5.7.1" in text
    assert mail.send(relay.port, "", ["postmaster@" + domain], report(path))[0] == 250
    # two tokens, or a token and a user, are two messages (2.2.6)
    assert mail.send(relay.port, "", [path, USER], report(path))[0] == 452
    assert mail.send(relay.port, "", [USER, path], report(path))[0] == 452
    assert legs(relay)["forward"]["state"] == "delivered"


def test_spec_2_2_2_senders_that_cannot_do_better(world):
    relay, path = forwarded(world, forwarder="accept-nonnull-bounces = yes")
    assert mail.send(relay.port, "x@sender.example", path, report(path))[0] == 250
    relay.wait_balance(forward_failed=1)


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


def test_spec_14_4_case_3_a_late_bounce_that_names_the_recovery_address(world):
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
