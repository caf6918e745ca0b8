# SPDX-License-Identifier: Apache-2.0
"""The notice to a user before the first copy of an outage (spec 12.3), and what its
List-Unsubscribe does."""
import email
import email.header
import email.policy
import json
import os
import re
import time

import dkim

from tests.e2e.test_consent import audit, bounces, identity, outage, put, until, wish
from tests.lib import mail

SENDER, USER, RECOVERY = "news@sender.example", "mario@shop.example", "mario@recovery.example"
HEADER = "address,recovery,language"
USERS = ["mario@shop.example,mario@recovery.example,it", "anna@shop.example,anna@recovery.example,en",
         "carla@shop.example,carla@recovery.example,", "solo@shop.example,,it"]


def place(world, rsa=None, **kw):
    """A relay that sends notices, in an outage."""
    if rsa is not None:
        key = world.folder + "/fwd.pem"
        with open(key, "wb") as f:
            f.write(rsa[0])
        kw["forwarder"] = 'dkim-selector = "s1"\n    dkim-key-file = "%s"' % key
    kw.setdefault("in_domain", 'brand = "Posta Esempio"\n    status-page = "status.shop.example"')
    relay = world.relay(start=False, users=None, notices=True, **kw)
    relay.import_users(USERS, HEADER)
    relay.start()
    world.down()
    relay.failover("on")
    return relay


def is_notice(m):
    return b"\r\nList-Unsubscribe: <mailto:stop+" in m.data


def notices(world, rcpt=None):
    return [m for m in world.recovery.messages if is_notice(m) and rcpt in (None, m.rcpts[0])]


def parsed(m):
    return email.message_from_bytes(m.data, policy=email.policy.default)


def words(m):
    return parsed(m).get_content().replace("\r\n", "\n")


def stop_of(m):
    return re.fullmatch(r"<mailto:([^>?]+)>", parsed(m)["List-Unsubscribe"]).group(1)


def status(relay):
    return relay.roles("queue")[0]["user_notices"]


def test_spec_12_3_one_notice_before_the_first_copy(world, rsa):
    relay = place(world, rsa)
    for i in range(3):
        put(relay, subject="n%d" % i)
    put(relay, "anna@shop.example")
    put(relay, "carla@shop.example")
    put(relay, "solo@shop.example")             # no recovery address: nobody to tell
    relay.wait_balance(received=6, held=6, forwarded=5, forward_skipped=1)
    got = world.recovery.wait(8)
    assert len(got) == 8 and len(notices(world)) == 3
    for user in ("mario", "anna", "carla"):
        to = [m for m in got if m.rcpts == [user + "@recovery.example"]]
        assert is_notice(to[0]) and not any(is_notice(m) for m in to[1:]) and len(to) > 1
    n, = notices(world, RECOVERY)
    m = parsed(n)
    assert m["From"] == "Posta Esempio <fwd@fwd.relay.example>" and m["To"] == USER
    assert m["Auto-Submitted"] == "auto-generated" and m["Content-Language"] == "it"
    assert re.fullmatch(r"<notice\.[0-9a-f]+\.[0-9a-f]{20}@fwd\.relay\.example>", m["Message-ID"])
    assert m["Subject"].startswith("La casella mario@shop.example non è raggiungibile")
    assert re.fullmatch(r"SRS0=.*=n1=[0-9a-v]{24}@fwd\.relay\.example", n.mail_from)
    text = words(n)
    for word in ("Posta Esempio", "non è raggiungibile", "conservata", "recupero",
                 "annullare l'iscrizione", "status.shop.example"):
        assert word in text, word
    assert n.data.isascii() and max(len(x) for x in n.data.split(b"\r\n")) <= 998
    # no link, no form, no address of the relay in the body; and nowhere the recovery address
    assert not re.search(r"://|www\.|mailto:|href|fwd\.relay|stop\+", text)
    assert b"recovery" not in n.data.lower()
    # the language of the directory, both where there is none
    assert parsed(notices(world, "anna@recovery.example")[0])["Content-Language"] == "en"
    both = parsed(notices(world, "carla@recovery.example")[0])
    assert both["Content-Language"] == "it, en" and \
        "\n----\n" in words(notices(world, "carla@recovery.example")[0])
    assert " / The mailbox carla@shop.example cannot be reached" in both["Subject"]
    # signed by the return-path domain
    for n in notices(world):
        signed = dkim.DKIM(n.data)
        assert signed.verify(dnsfunc=lambda name, timeout=5: b"v=DKIM1; k=rsa; p=" + rsa[1].encode()
                             if name == b"s1._domainkey.fwd.relay.example." else None)
        assert signed.domain == b"fwd.relay.example"
        assert {b"list-unsubscribe", b"from", b"subject"} <= {h.lower() for h in signed.include_headers} \
            or b"List-Unsubscribe" in n.data.split(b"h=")[1].split(b";")[0]
    # P4, 2.1.3: nothing of the recovery address in the log
    assert "recovery.example" not in relay.log()
    assert status(relay)["sent"] == 3 and identity(relay.balance())
    why = "\n".join(w for r in relay.command("why", USER)["recipients"] for w in r["why"])
    assert "the notice of the outage was sent" in why
    # the copies have no List-Unsubscribe of ours
    assert all(b"stop+" not in m.data for m in got if not is_notice(m))


def test_spec_12_3_kill_9_and_a_second_outage(world):
    relay = place(world)
    put(relay)
    world.recovery.wait(2)
    relay.wait_balance(forwarded=1)
    for _ in range(2):
        relay.kill()
        relay.start()
        put(relay)
    relay.wait_balance(received=3, forwarded=3)
    assert len(notices(world)) == 1
    # toggled: within user-notice-pause nobody is told twice
    relay.failover("off")
    relay.failover("on")
    put(relay)
    relay.wait_balance(received=4, forwarded=4)
    assert len(notices(world)) == 1
    # a second outage after that time
    relay.write_conf(top="user-notice-pause = 0s")
    relay.stop()
    relay.start()
    put(relay)
    relay.wait_balance(received=5, forwarded=5)     # of the present outage nobody was told
    assert len(notices(world)) == 2
    put(relay)
    relay.wait_balance(received=6, forwarded=6)
    assert len(notices(world)) == 2
    first, second = [parsed(m)["Message-ID"] for m in notices(world)]
    assert first != second


def test_spec_12_3_many_messages_at_once(world):
    relay = place(world)
    for i in range(12):
        data = mail.message(SENDER, USER, str(i))
        assert mail.send(relay.port, SENDER, [USER, "anna@shop.example"], data)[0] == 250
    relay.wait_balance(received=24, held=24, forwarded=24, timeout=60)
    assert len(notices(world, RECOVERY)) == 1 and len(notices(world, "anna@recovery.example")) == 1
    assert len(world.recovery.messages) == 26
    for user in ("mario", "anna"):
        assert is_notice([m for m in world.recovery.messages
                          if m.rcpts == [user + "@recovery.example"]][0])


def test_spec_12_3_list_unsubscribe_stops_the_copies(world):
    relay = place(world)
    put(relay)
    put(relay, "anna@shop.example")
    relay.wait_balance(forwarded=2)
    n, = notices(world, RECOVERY)
    stop = stop_of(n)
    assert mail.send(relay.port, RECOVERY, stop, wish(stop))[0] == 250
    until(lambda: bounces(relay)["stopped"] == 1)
    put(relay)
    put(relay, "anna@shop.example")
    b = relay.wait_balance(received=4, held=4, forwarded=3, forward_skipped=1)
    assert identity(b)
    relay.kill()
    relay.start()
    relay.import_users(USERS, HEADER)
    put(relay)
    relay.wait_balance(received=5, held=5, forwarded=3, forward_skipped=2)
    shown = relay.command("users", "show", USER)
    assert shown["reason"] == "opted-out" and shown["opted_out"]["by"] == "mail"
    assert len(audit(relay, "opt-out")) == 1
    relay.command("users", "optin", USER, "--reason", "he asked for it")
    put(relay)
    relay.wait_balance(received=6, held=6, forwarded=4, forward_skipped=2)
    assert len(notices(world, RECOVERY)) == 1
    assert "recovery.example" not in relay.log()
    # nor on disk, but for the directory itself
    for folder, _, files in os.walk(relay.state + "/queue"):
        for name in files:
            with open(os.path.join(folder, name), "rb") as f:
                assert b"recovery.example" not in f.read(), name


def test_spec_12_3_a_stop_ends_what_waits(world):
    """The notice was taken, then the mailbox is full: three copies wait when the stop comes."""
    taken = []

    def full_after_the_first(stage, arg):
        if stage == "data" and not taken:
            taken.append(1)
            return None
        return "452 4.2.2 full" if stage == "rcpt" and taken else None

    world.recovery.script = full_after_the_first
    relay = place(world)
    for _ in range(3):
        put(relay)
    until(lambda: "code=452" in relay.log())
    n, = world.recovery.wait(1)
    assert relay.balance()["forward_waiting"] == 3
    stop = stop_of(n)
    assert mail.send(relay.port, RECOVERY, stop, wish(stop))[0] == 250
    b = relay.wait_balance(received=3, held=3, forward_waiting=0, forward_skipped=3)
    assert identity(b)


def test_spec_12_3_the_notice_never_costs_the_copy(world):
    """Refused for what it is: the copy goes without it, and nobody tries again."""
    def no_notices(stage, arg):
        return "550 5.7.1 likely unsolicited" if stage == "end" and \
            is_notice(world.recovery.arriving) else None

    world.recovery.script = no_notices
    relay = place(world)
    put(relay)
    put(relay)
    relay.wait_balance(received=2, held=2, forwarded=2)
    assert status(relay) == {"sent": 0, "refused": 1, "put_off": 0, "remembered": 1}


def test_spec_12_3_put_off_it_goes_again_then_the_copy_goes(world):
    tries = []

    def later(stage, arg):
        if stage == "end" and is_notice(world.recovery.arriving):
            tries.append(world.recovery.arriving.data)
            return "451 4.7.1 greylisted"
        return None

    world.recovery.script = later
    relay = place(world)
    put(relay)
    relay.wait_balance(received=1, held=1, forwarded=1)
    assert len(world.recovery.messages) == 1
    assert len({parsed_id(t) for t in tries}) == 1      # should two arrive, they are one message
    assert status(relay)["put_off"] == 2 and status(relay)["refused"] == 1


def parsed_id(data):
    return email.message_from_bytes(data)["Message-ID"]


def test_spec_8_4_nouser_said_to_the_notice_holds_for_the_copy(world):
    world.recovery.script = lambda stage, arg: \
        "550 5.1.1 no such user" if stage == "rcpt" else None
    relay = place(world)
    put(relay)
    put(relay)
    b = relay.wait_balance(received=2, held=2, forward_skipped=2)
    assert identity(b) and world.recovery.messages == []
    assert status(relay)["sent"] == 0
    assert relay.log().count("user-notice-refused") == 1


def test_spec_9_1_a_notice_that_comes_back_is_held(world):
    relay = place(world)
    put(relay)
    relay.wait_balance(forwarded=1)
    n, = notices(world)
    # the recovery mailbox sends everything on to where it came from
    assert mail.send(relay.port, "anna@recovery.example", USER, n.data)[0] == 250
    b = relay.wait_balance(received=2, held=2, forwarded=1, forward_skipped=1)
    assert identity(b) and len(world.recovery.messages) == 2
    assert "note=\"loop\"" in relay.log()


def test_spec_2_2_a_bounce_of_the_notice_is_not_one_of_the_copy(world):
    from tests.e2e.test_bounce import report
    relay = place(world)
    put(relay)
    relay.wait_balance(forwarded=1)
    n, = notices(world)
    assert mail.send(relay.port, "", n.mail_from, report(n.mail_from))[0] == 250
    until(lambda: bounces(relay)["failed"] == 1)
    b = relay.balance()
    assert b["forwarded"] == 1 and b["forward_failed"] == 0
    put(relay)                                  # but the mailbox is known not to exist
    relay.wait_balance(received=2, forwarded=1, forward_skipped=1)


def test_spec_12_3_copies_of_mail_that_was_here_before(world):
    """Failover is switched on over mail that is held already: that is a first copy, too."""
    relay = place(world, in_domain="user-notice-language = en")
    relay.failover("off")
    for _ in range(2):
        put(relay)
        put(relay, "carla@shop.example")
    relay.wait_balance(received=4, held=4)
    assert world.recovery.messages == []
    relay.failover("on")
    relay.wait_balance(received=4, held=4, forwarded=4)
    assert len(world.recovery.messages) == 6
    for user, language in (("mario", "it"), ("carla", "en")):
        got = [m for m in world.recovery.messages if m.rcpts == [user + "@recovery.example"]]
        assert [is_notice(m) for m in got] == [True, False, False]
        assert parsed(got[0])["Content-Language"] == language


def test_the_drill_tells_nobody(world):
    store = 'primary = "lmtp://127.0.0.1:%d"' % world.store.port
    world.dns.set("fwd.relay.example", {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]})
    relay = world.relay(start=False, users=None, notices=True,
                        in_domain='shard "drill" { %s }' % store)
    relay.import_users(["test@shop.example,test@recovery.example,drill"], "address,recovery,shard")
    relay.start()
    assert relay.command("drill", "shop.example", "--to", "test@shop.example")["ok"] is True
    assert len(world.recovery.messages) == 1 and not notices(world)


def test_user_notice_off_and_mail_of_our_own(world):
    relay = place(world, in_domain="user-notice = off")
    put(relay)
    relay.wait_balance(forwarded=1)
    assert len(world.recovery.messages) == 1 and not notices(world)
    relay.write_conf(in_domain="user-notice = on\n    return-path = null")
    relay.stop()
    relay.start()
    # the drill's messages tell nobody of an outage
    world.dns.set("fwd.relay.example", {"TXT": ["v=spf1 ip4:127.0.0.5 ip4:127.0.0.1 -all"]})
    drill = "drill@fwd.relay.example"
    assert mail.send(relay.port, drill, USER, mail.message(drill, USER))[0] == 250
    relay.wait_balance(forwarded=2)
    assert not notices(world)
    put(relay)
    relay.wait_balance(forwarded=3)
    n, = notices(world)
    assert n.mail_from == ""


def test_templates_of_the_operator(world):
    folder = os.path.join(world.folder, "notices")
    os.mkdir(folder)
    os.chmod(folder, 0o755)

    def write(name, text):
        with open(os.path.join(folder, name), "wb") as f:
            f.write(text)
        os.chmod(os.path.join(folder, name), 0o644)

    write("it.txt", "Subject: Avviso per {address}\n\nÈ {brand}, perché {domain} è ferma da "
          "{since}.\nNon c'è: {status-page}\nFine.\n".encode())
    relay = place(world, top='user-notice-templates = "%s"' % folder, in_domain="")
    put(relay)
    relay.wait_balance(forwarded=1)
    m = parsed(notices(world)[0])
    assert m["Subject"] == "Avviso per mario@shop.example"
    text = words(notices(world)[0])
    assert text.startswith("È shop.example, perché shop.example è ferma da ")
    assert "Non c'è" not in text and text.endswith("\nFine.\n")
    assert relay.command("check", check=False).returncode == 0
    # what check says of a bad one: file, line, how to mend it; the relay goes on with its own
    for bad, said in ((b"Subject: x\n\nSee https://a.example\n", "it.txt:3: has a link"),
                      (b"Subject: x\n\n\n{adress}\n", "it.txt:4: has a brace"),
                      (b"Ciao\n\ntext\n", "it.txt:1: is not \"Subject: ...\""),
                      (b"Subject: x\n\n\xff\n", "it.txt:3: is not UTF-8"),
                      (b"Subject: x\n", "it.txt:1: is the end")):
        write("it.txt", bad)
        r = relay.command("check", check=False, json_out=False)
        assert r.returncode == 1 and said in r.stderr, r.stderr
    relay.stop()
    relay.start()
    assert "error=\"is the end" in relay.log() and "built in" in relay.log()
    os.remove(os.path.join(folder, "it.txt"))
    r = relay.command("check", check=False, json_out=False)
    assert r.returncode == 1 and "neither it.txt nor en.txt" in r.stderr
    relay.write_conf(top="", in_domain='status-page = "https://status.shop.example"')
    r = relay.command("check", check=False, json_out=False)
    assert r.returncode == 1 and "status-page: is a link" in r.stderr


def test_spec_12_3_kills_while_users_are_told(world):
    """Order and number hold over kill -9 in the middle: at most what was on its way is repeated,
    as the same message."""
    users = ["u%d" % i for i in range(40)]
    relay = world.relay(start=False, users=None, notices=True)
    relay.import_users(["%s@shop.example,%s@recovery.example" % (u, u) for u in users])
    relay.start()
    world.down()
    relay.failover("on")
    for _ in range(2):
        for at in range(0, 40, 10):
            to = ["%s@shop.example" % u for u in users[at:at + 10]]
            assert mail.send(relay.port, SENDER, to, mail.message(SENDER, to[0]))[0] == 250
    kills = 0
    for count in (15, 40, 70):
        world.recovery.wait(count, 20)
        relay.kill()
        kills += 1
        relay.start()
    relay.wait_balance(received=80, held=80, forwarded=80, timeout=60)
    got = world.recovery.messages
    repeated = 0
    for u in users:
        mine = [m for m in got if m.rcpts == [u + "@recovery.example"]]
        told = [m for m in mine if is_notice(m)]
        assert is_notice(mine[0]) and len({parsed(m)["Message-ID"] for m in told}) == 1
        repeated += len(told) - 1
    assert repeated <= kills            # one connection yet: slow start (8.3)
    assert identity(relay.balance())
