# SPDX-License-Identifier: Apache-2.0
"""Accept, keep, forward, replay: issue by issue what a provider sees from outside."""
import json
import os
import smtplib
import time

from tests.lib import mail
from tests.lib.sink import Sink

SENDER, USER = "news@sender.example", "mario@shop.example"


def corpus():
    """Bodies that break a relay which edits what it carries (spec 3.5, 3.6)."""
    return {
        "plain": b"ciao\r\n",
        "dots": b".\r\n..\r\n...x\r\n.y\r\n",
        "8bit": "perch\u00e9 \u20ac\r\n".encode() + b"\xe8\xff\x80\r\n",
        "blanks": b"a  \r\n\t \r\n\r\n\r\n",
        "from": b"From me\r\n>From you\r\n",
        "long": b"x" * 5000 + b"\r\n",
        "empty": b"",
        "mime": b"--b\r\n\r\nuno\r\n--b--\r\nepilogo",
    }


def test_spec_0_3_and_3_5_failover_holds_forwards_and_replays_the_same_bytes(world):
    relay = world.relay()
    world.down()
    assert relay.failover("on")["phase"] == "active"
    sent = {}
    for name, body in corpus().items():
        data = mail.message(SENDER, USER, name, body if body.endswith(b"\r\n") or not body else body + b"\r\n")
        assert mail.send(relay.port, SENDER, USER, data)[0] == 250
        sent[name] = data
    got = world.recovery.wait(len(sent))
    for name, data in sent.items():
        copies = [m for m in got if mail.below_trace(m.data, data)]
        assert len(copies) == 1, name
        assert copies[0].rcpts == ["mario@recovery.example"]
        assert copies[0].mail_from.startswith("SRS0=") and copies[0].mail_from.endswith("@fwd.relay.example")
    b = relay.wait_balance(forwarded=len(sent), received=len(sent), held=len(sent))
    assert b["replayed"] == 0
    world.up()
    relay.failover("off")
    got = world.store.wait(len(sent))
    for name, data in sent.items():
        copies = [m for m in got if mail.below_trace(m.data, data)]
        assert len(copies) == 1, name
        assert (copies[0].mail_from, copies[0].rcpts) == (SENDER, [USER])
        assert b"X-Fwd-Queue-Id: " in copies[0].data
    order = [next(n for n, d in sent.items() if m.data.endswith(d)) for m in got
             if not m.data.endswith(b"\r\n\r\n")]
    relay.wait_balance(replayed=len(sent), held=0)
    assert len(world.recovery.messages) == len(sent) and order is not None


def test_replay_is_oldest_first(world):
    relay = world.relay(top="connections-max = 1")
    world.down()
    relay.failover("on")
    for i in range(20):
        mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER, "n%02d" % i))
    world.up()
    relay.failover("off")
    got = world.store.wait(20)
    subjects = [line for m in got for line in m.data.split(b"\r\n") if line.startswith(b"Subject: n")]
    assert subjects == [b"Subject: n%02d" % i for i in range(20)]


def test_standby_delivers_to_the_primary_at_once(world):
    relay = world.relay()
    data = mail.message(SENDER, USER)
    assert mail.send(relay.port, SENDER, USER, data)[0] == 250
    m = world.store.wait(1)[0]
    assert mail.below_trace(m.data, data) and m.mail_from == SENDER
    relay.wait_balance(received=1, replayed=1, held=0, forwarded=0)
    assert world.recovery.messages == []


def test_a_primary_that_is_down_in_standby_is_tried_again(world):
    relay = world.relay()
    world.down()
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
    relay.wait_balance(received=1, held=1)
    world.up()
    assert len(world.store.wait(1)) == 1
    relay.wait_balance(replayed=1, held=0)


def test_a_primary_that_answers_4xx_keeps_the_mail_until_it_takes_it(world):
    replies = iter(["450 4.2.0 later"] * 3)
    relay = world.relay()
    world.down()
    world.up(script=lambda stage, arg: next(replies, None) if stage == "rcpt" else None)
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
    assert len(world.store.wait(1)) == 1
    assert next(replies, None) is None
    relay.wait_balance(replayed=1, held=0)


def test_a_primary_that_denies_a_known_user_is_not_believed(world):
    """Spec 11.2: its 5xx for a user of our snapshot is held and alarmed, not bounced."""
    world.down()
    world.up(script=lambda stage, arg: "550 5.1.1 no such user" if stage == "rcpt" else None)
    relay = world.relay()
    assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))[0] == 250
    end = time.monotonic() + 10
    while time.monotonic() < end:
        found = relay.command("queue", "list")["messages"]
        if found and found[0]["hold"]["code"] == 550:
            break
        time.sleep(0.05)
    assert found[0]["hold"]["code"] == 550
    b = relay.wait_balance(received=1, held=1)
    assert b["bounced"] == 0
    world.down()
    world.up()
    relay.command("queue", "retry", found[0]["id"])
    assert len(world.store.wait(1)) == 1
    relay.wait_balance(replayed=1, held=0)


def test_lmtp_lost_after_the_data_is_delivered_again_with_the_same_queue_id(world):
    """Spec 11.2, 11.3, 14.4 case 20: unknown is tried again, the store can deduplicate."""
    replies = iter(["250-AND-CLOSE"])
    seen = []

    def script(stage, arg):
        if stage == "end":
            if not seen:
                seen.append(1)
            return "250-AND-CLOSE" if len(world.store.messages) <= 1 and len(seen) == 1 else None
        return None

    world.down()
    world.up(script=script)
    relay = world.relay()
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    world.store.wait(1)
    seen.append(2)
    got = world.store.wait(2)
    ids = {line for m in got for line in m.data.split(b"\r\n") if line.startswith(b"X-Fwd-Queue-Id")}
    assert len(got) >= 2 and len(ids) == 1
    relay.wait_balance(replayed=1, held=0)
    assert next(replies) is not None


def test_spec_0_1_recovery_host_troubles_never_touch_the_hold_copy(world):
    """Spec 0.1, 2.1.2: 4xx, 5xx, silence and lost connections on the forward leg."""
    stages = {"temp": ("rcpt", "451 4.3.0 later"), "perm": ("rcpt", "550 5.7.1 no"),
              "close": ("data", "CLOSE"), "refuse": ("connect", "554 5.7.1 no")}
    relay = world.relay(top="reply-timeout = 2s")
    world.down()
    relay.failover("on")
    for name, (stage, reply) in stages.items():
        world.recovery.script = lambda s, a, stage=stage, reply=reply: reply if s == stage else None
        assert mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER, name))[0] == 250
        time.sleep(0.3)
    relay.wait_balance(received=4, held=4, bounced=0)
    world.recovery.script = lambda s, a: None
    b = relay.wait_balance(received=4, held=4, bounced=0, forward_waiting=0)
    assert b["forwarded"] + b["forward_failed"] == 4 and b["forward_failed"] >= 1
    world.up()
    relay.failover("off")
    assert len(world.store.wait(4)) == 4
    relay.wait_balance(replayed=4, held=0)


def test_a_user_without_recovery_address_is_held_only(world):
    relay = world.relay()
    world.down()
    relay.failover("on")
    assert mail.send(relay.port, SENDER, "solo@shop.example", mail.message(SENDER, "solo@shop.example"))[0] == 250
    relay.wait_balance(received=1, held=1, forward_skipped=1, forwarded=0)
    assert world.recovery.messages == []


def test_failover_on_adds_forward_legs_to_what_is_already_held(world):
    relay = world.relay()
    world.down()
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    relay.wait_balance(received=1, held=1, forwarded=0)
    relay.failover("on")
    assert len(world.recovery.wait(1)) == 1
    relay.wait_balance(forwarded=1, held=1)


def test_failover_is_persisted_and_audited(world):
    relay = world.relay()
    relay.failover("on", "disk shelf 7")
    relay.kill()
    relay.start()
    d = relay.command("failover", "show")["domains"][0]
    assert (d["mode"], d["phase"], d["reason"]) == ("on", "active", "disk shelf 7")
    relay.stop()
    with open(os.path.join(relay.state, "queue", "audit.log")) as f:
        lines = [json.loads(line) for line in f]
    assert any("disk shelf 7" in json.dumps(x) for x in lines)


def test_a_restart_keeps_everything(world):
    relay = world.relay()
    world.down()
    relay.failover("on")
    data = mail.message(SENDER, USER)
    mail.send(relay.port, SENDER, USER, data)
    relay.wait_balance(forwarded=1)
    relay.stop()
    relay.start()
    relay.wait_balance(received=1, held=1, forwarded=1)
    world.up()
    relay.failover("off")
    assert mail.below_trace(world.store.wait(1)[0].data, data)
    relay.stop()
    relay.start()
    relay.wait_balance(received=1, replayed=1, held=0, forwarded=1)
    assert len(world.recovery.messages) == 1 and len(world.store.messages) == 1


def test_spec_3_4_several_recipients_get_one_copy_each(world):
    relay = world.relay()
    world.down()
    relay.failover("on")
    data = mail.message(SENDER, USER)
    assert mail.send(relay.port, SENDER, [USER, "anna@shop.example"], data)[0] == 250
    got = world.recovery.wait(2)
    assert sorted(m.rcpts[0] for m in got) == ["anna@recovery.example", "mario@recovery.example"]
    assert len({m.mail_from for m in got}) == 2      # a token for each leg (spec 1.4.3)
    for m in got:
        assert b"for <" not in m.data.split(b"\r\n\r\n")[0]     # spec 3.4
    relay.wait_balance(received=2, held=2, forwarded=2)


def test_spec_1_1_1_the_null_sender_stays_null_on_the_forward_leg(world):
    """Spec 1.1.1; with a DMARC pass by HELO, as it would be held else (9.5)."""
    world.dns.set("_dmarc.sender.example", {"TXT": ["v=DMARC1; p=reject"]})
    relay = world.relay()
    world.down()
    relay.failover("on")
    assert mail.send(relay.port, "", USER, mail.message("mailer-daemon@sender.example", USER))[0] == 250
    assert world.recovery.wait(1)[0].mail_from == ""


def test_return_path_addresses_take_bounces_only(world):
    """Spec 2.2.1, 2.2.2."""
    relay = world.relay()
    world.down()
    relay.failover("on")
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    token = world.recovery.wait(1)[0].mail_from
    bounce = mail.message("mailer-daemon@recovery.example", token, "Undelivered")
    assert mail.send(relay.port, "", token, bounce)[0] == 250
    assert mail.send(relay.port, SENDER, token, bounce)[0] == 550
    other = "a" if token[6].lower() != "a" else "b"      # hashes are compared without case
    assert mail.send(relay.port, "", token[:6] + other + token[7:], bounce)[0] == 550
    assert mail.send(relay.port, "", "someone@fwd.relay.example", bounce)[0] == 550
    relay.wait_balance(received=1, held=1)


def test_srs_mode_rewrites_and_comes_back(world):
    """Spec 1.2 with the relay's own command line."""
    relay = world.relay(in_domain="return-path = srs")
    world.down()
    relay.failover("on")
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    address = world.recovery.wait(1)[0].mail_from
    assert address.endswith("=sender.example=news@fwd.relay.example")
    assert relay.command("srs", "decode", address)["answer"] == SENDER


def test_spec_4_1_and_4_5_authentication_results_are_those_of_the_ingress(world, rsa):
    """Spec 4.1, 4.2."""
    pem, public = rsa
    world.dns.set("s1._domainkey.sender.example", {"TXT": ["v=DKIM1; k=rsa; p=" + public]})
    relay = world.relay()
    data = mail.dkim_sign(mail.message(SENDER, USER), "s1", "sender.example", pem)
    mail.send(relay.port, SENDER, USER, data)
    mail.send(relay.port, SENDER, USER, data.replace(b"ciao", b"addio"), source="127.0.0.6")
    good, bad = world.store.wait(2)
    head = good.data.split(b"From: <news")[0]
    assert b"Authentication-Results: mx2.relay.example;" in head
    assert b"spf=pass smtp.mailfrom=sender.example" in head
    assert b"dkim=pass header.d=sender.example header.s=s1 header.a=rsa-sha256" in head
    assert b"iprev=pass policy.iprev=127.0.0.5" in head
    head = bad.data.split(b"From: <news")[0]
    assert b"spf=fail" in head and b"dkim=fail" in head


def test_spec_4_3_forged_authentication_results_are_removed(world):
    """Spec 4.3, 14.4 case 14."""
    relay = world.relay()
    forged = (b"Authentication-Results: MX2.relay.example; spf=pass\r\n"
              b"Authentication-Results: (hi) mx2.relay.example 1;\r\n\tdkim=pass\r\n"
              b"Authentication-Results: \"mx2.relay.example\"; dmarc=pass\r\n"
              b"Authentication-Results: other.example; spf=pass\r\n")
    mail.send(relay.port, SENDER, USER, forged + mail.message(SENDER, USER))
    got = world.store.wait(1)[0].data
    assert got.lower().count(b"authentication-results:") == 2
    assert b"other.example" in got and b"dmarc=pass" not in got


def test_starttls_both_ways(world):
    cert = mail.certificate(world.folder, "mx2.relay.example")
    relay = world.relay(top='tls-cert-file = "%s"\ntls-key-file = "%s"' % cert)
    world.recovery.close()
    secure = Sink(cert=mail.certificate(world.folder), port=world.recovery.port)
    world.down()
    relay.failover("on")
    try:
        c = smtplib.SMTP("127.0.0.1", relay.port, timeout=30, source_address=("127.0.0.5", 0))
        c.ehlo()
        assert c.has_extn("starttls")
        c.starttls()
        c.ehlo()
        assert not c.has_extn("starttls")
        assert c.sendmail(SENDER, [USER], mail.message(SENDER, USER)) == {}
        c.quit()
        m = secure.wait(1)[0]
        assert m.tls and b"with ESMTPS" in m.data
    finally:
        secure.close()


def test_a_message_is_shown_with_its_legs(world):
    relay = world.relay()
    world.down()
    relay.failover("on")
    mail.send(relay.port, SENDER, USER, mail.message(SENDER, USER))
    relay.wait_balance(forwarded=1)
    listed = relay.command("queue", "list", "--domain", "shop.example")["messages"]
    assert len(listed) == 1 and listed[0]["sender"] == SENDER and listed[0]["rcpt"] == USER
    assert listed[0]["forward"]["state"] == "delivered"
    shown = relay.command("queue", "show", listed[0]["id"])
    assert "recovery.example" not in json.dumps(shown)          # P4
    assert "mario@recovery.example" not in relay.log()


def test_spec_9_3_no_forward_to_ourselves_nor_to_a_null_mx(world):
    """RFC 5321 5.1, RFC 7505, spec 9.3, 14.4 case 9."""
    world.dns.set("self.example", {"MX": ["10 mx2.relay.example."]})
    world.dns.set("null.example", {"MX": ["0 ."]})
    relay = world.relay(users=["a@shop.example,a@self.example", "b@shop.example,b@null.example",
                               "c@shop.example,c@gone.invalid", USER + ",mario@recovery.example"])
    world.down()
    relay.failover("on")
    for rcpt in ("a@shop.example", "b@shop.example", "c@shop.example", USER):
        assert mail.send(relay.port, SENDER, rcpt, mail.message(SENDER, rcpt))[0] == 250
    assert world.recovery.wait(1)[0].rcpts == ["mario@recovery.example"]
    b = relay.wait_balance(received=4, held=4, forwarded=1, forward_waiting=0)
    assert b["forward_failed"] + b["forward_skipped"] == 3 and b["bounced"] == 0
    assert len(world.recovery.messages) == 1


def test_swaks_and_openssl_deliver_too(world):
    """Stock clients other than Python's."""
    import subprocess
    cert = mail.certificate(world.folder, "mx2.relay.example")
    relay = world.relay(top='tls-cert-file = "%s"\ntls-key-file = "%s"' % cert)
    for words in ([], ["--tls"], ["--pipeline"]):
        r = subprocess.run(["swaks", "--server", "127.0.0.1:%d" % relay.port, "--from", SENDER, "--to", USER,
                            "--helo", "mail.sender.example", "--hide-all"] + words, capture_output=True, text=True)
        assert r.returncode == 0, r.stdout + r.stderr
    world.store.wait(3)
    out = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect", "127.0.0.1:%d" % relay.port,
                          "-quiet", "-tls1_2"], input=b"QUIT\r\n", capture_output=True, timeout=20)
    assert b"221 2.0.0" in out.stdout
    old = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect", "127.0.0.1:%d" % relay.port,
                          "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], input=b"QUIT\r\n", capture_output=True, timeout=20)
    assert b"221 2.0.0" not in old.stdout
