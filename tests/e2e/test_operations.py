# SPDX-License-Identifier: Apache-2.0
"""P7 in the hands of an operator: hold, release and drop by filter, each counted before
and audited, the balance exact afterwards; long lists by pages; the disk that fills."""
import json
import os
import signal
import smtplib
import subprocess
import time

from tests.lib import mail
from tests.lib.relay import BINARY

SENDER, OTHER = "news@sender.example", "boss@mail.sender.example"
MARIO, ANNA = "mario@shop.example", "anna@shop.example"


def fill(relay, n, sender=SENDER, rcpts=(MARIO,)):
    c = smtplib.SMTP("127.0.0.1", relay.port, local_hostname="mail.sender.example", timeout=60,
                     source_address=("127.0.0.5", 0))
    try:
        for _ in range(n):
            assert c.sendmail(sender, rcpts, mail.message(sender, rcpts[0])) == {}
    finally:
        c.quit()


def audit(relay):
    for folder, _, files in os.walk(relay.state):
        if "audit.log" in files:
            with open(os.path.join(folder, "audit.log")) as f:
                return [json.loads(line) for line in f]
    raise AssertionError("no audit log")


def identity(b):
    return b["received"] == (b["replayed"] + b["forwarded_only"] + b["bounced"] + b["dropped"] +
                             b["held"])


def queue(relay, *words, **kw):
    return relay.command("queue", *words, **kw)


def outage(world, **kw):
    """A relay that holds and does not forward, with its primary away."""
    relay = world.relay(users=["mario@shop.example,", "anna@shop.example,"], **kw)
    world.down()
    relay.failover("on")
    return relay


def test_hold_release_and_drop(world):
    relay = outage(world)
    fill(relay, 4)
    fill(relay, 3, OTHER, (ANNA,))
    relay.wait_balance(held=7)
    lines = len(audit(relay))

    # Counting is exact and leaves no trace.
    for verb in ("hold", "drop"):
        words = ["--reason", "r"] if verb == "drop" else []
        assert queue(relay, verb, "--user", MARIO, "--dry-run", *words)["count"] == 4
        assert queue(relay, verb, "--sender", "@mail.sender.example", "--dry-run",
                     *words)["count"] == 3
        assert queue(relay, verb, "--domain", "shop.example", "--older-than", "1h", "--dry-run",
                     *words)["count"] == 0
    assert len(audit(relay)) == lines and relay.balance()["held"] == 7

    # Replay passes over what is on hold, across a crash as well.
    assert queue(relay, "hold", "--sender", OTHER, "--reason", "looks odd")["count"] == 3
    relay.kill()
    relay.start()
    s = queue(relay, "summary")["domains"][0]
    assert (s["held"], s["on_hold"], s["backlog"]) == (7, 3, 4), s
    world.up()
    relay.failover("off")
    b = relay.wait_balance(replayed=4, held=3)
    assert identity(b)
    time.sleep(1)
    assert {m.rcpts[0] for m in world.store.messages} == {MARIO}
    assert queue(relay, "retry", "--domain", "shop.example")["count"] == 0

    # One of them is dropped, by recipient and with a reason; the rest is released.
    held = queue(relay, "list", "--state", "on-hold")["messages"]
    assert len(held) == 3 and all(m["hold"]["note"] == "operator-hold" for m in held)
    one = "%s/%d" % (held[1]["id"], held[1]["rcpt_index"])
    refused = queue(relay, "drop", one, check=False)
    assert refused.returncode == 2 and "--reason" in refused.stderr
    assert queue(relay, "drop", one, "--reason", "the user asked")["count"] == 1
    b = relay.wait_balance(dropped=1, held=2)
    assert identity(b)
    assert queue(relay, "release", "--state", "on-hold")["count"] == 2
    b = relay.wait_balance(replayed=6, held=0, dropped=1)
    assert identity(b) and len(world.store.messages) == 6

    events = [e for e in audit(relay) if e["event"].split("-")[0] in ("hold", "drop", "release")]
    assert [(e["event"], e["count"]) for e in events] == [
        ("hold", 3), ("hold-done", 3), ("drop", 1), ("drop-done", 1), ("release", 2),
        ("release-done", 2)]
    drop = events[2]
    assert drop["reason"] == "the user asked" and drop["ids"] == [one]
    assert drop["uid"] == os.getuid() and drop["pid"] > 0
    assert events[0]["filter"] == {"sender": OTHER}

    # The sums outlive the segments and a restart.
    relay.stop()
    relay.start()
    report = relay.command("report", "shop.example")["domains"][0]
    assert (report["received"], report["replayed"], report["dropped"]) == (7, 6, 1)
    assert report["balanced"]


def test_a_slip_of_the_pen_is_an_error_and_harms_nothing(world):
    """Domains that are not served, recipients that are not there, variables of a script that
    are not set: said, with a status; no role dies and not a message is touched."""
    relay = outage(world)
    fill(relay, 2)
    relay.wait_balance(held=2)
    pids = sorted(r["pid"] for r in relay.roles())
    first = queue(relay, "list")["messages"][0]["id"]
    domain = ("--domain", "shop.exmaple")
    why = ("--reason", "slip")
    wrong = [
        (1, "no such domain", ("replay", "shop.exmaple")),
        (1, "no such domain", ("replay", "status", "shop.exmaple")),
        (1, "no such domain", ("replay", "--dry-run", "shop.exmaple")),
        (1, "no such domain", ("replay", "status", "shop.example", "--shard", "s9")),
        (1, "no such domain", ("report", "shop.exmaple")),
        (1, "no mail of", ("queue", "list") + domain),
        (1, "no mail of", ("queue", "summary") + domain),
        (1, "no mail of", ("queue", "drop") + domain + why),
        (1, "no recipient 7", ("queue", "drop", first + "/7") + why),
        (1, "no recipient 7", ("queue", "hold", first + "/7")),
        (2, "--user is empty", ("queue", "drop", "--domain", "shop.example", "--user", "") + why),
        (2, "--domain is empty", ("queue", "list", "--domain", "")),
        (1, "\"id\" is empty", ("why", "")),
        (1, "must be UTF-8", ("replay", "status", os.fsdecode(b"\xff"))),
    ]
    for status, text, words in wrong:
        r = relay.command(*words, check=False)
        assert (r.returncode, text in r.stderr) == (status, True), (words, r.stderr)
        assert status == 2 or json.loads(r.stdout)["ok"] is False, words
    assert sorted(r["pid"] for r in relay.roles()) == pids
    assert relay.balance()["held"] == 2 and relay.balance()["dropped"] == 0


def test_spec_0_1_mail_of_a_domain_that_left_the_configuration_is_an_alarm(world):
    """Its section goes while mail is held: nothing is lost nor hidden. Alarm, report and why
    say so, over a restart as well; with the section back it is replayed."""
    other = 'domain "two.example" {\n    primary = "lmtp://127.0.0.1:%d"\n}\n' % world.store.port
    relay = world.relay(users=["mario@shop.example,", "t@two.example,"], more=other)
    world.down()
    for domain in ("shop.example", "two.example"):
        relay.command("failover", "on", domain, "--reason", "test")
    fill(relay, 2, rcpts=("t@two.example",))
    relay.wait_balance(domain="two.example", held=2)

    def reload(more):
        relay.write_conf(more=more)
        relay.process.send_signal(signal.SIGHUP)

    def alarm():
        found = [a for a in relay.status()["alarms"] if a["alarm"] == "domain-gone"]
        return found[0] if found else None

    def until(what):
        end = time.monotonic() + 20
        while not what():
            assert time.monotonic() < end
            time.sleep(0.05)

    reload("")
    until(alarm)
    assert alarm()["domain"] == "two.example" and "2 recipients" in alarm()["text"]
    assert [d["held"] for d in relay.command("report", "two.example")["domains"]] == [2]
    assert sum(d["held"] for d in relay.command("report")["domains"]) == 2
    assert "not in the configuration" in relay.command("why", "t@two.example", json_out=False)
    relay.kill()
    relay.start()
    assert alarm() is not None
    world.up()
    reload(other)
    until(lambda: alarm() is None)
    relay.command("failover", "off", "two.example", "--reason", "test")
    relay.wait_balance(domain="two.example", received=2, replayed=2, held=0)


def test_what_is_dropped_never_leaves(world):
    relay = outage(world)
    fill(relay, 5)
    assert queue(relay, "drop", "--domain", "shop.example", "--newer-than", "1h", "--reason",
                 "test run")["count"] == 5
    relay.kill()
    relay.start()
    world.up()
    relay.failover("off")
    b = relay.wait_balance(received=5, dropped=5, held=0)
    assert identity(b)
    time.sleep(1.5)
    assert world.store.messages == []


def test_pages_and_search(world):
    relay = outage(world)
    for _ in range(6):
        fill(relay, 90)
    fill(relay, 2, OTHER, (ANNA,))
    relay.wait_balance(held=542)
    seen, after, pages = [], None, 0
    while True:
        words = ["--limit", "100"] + (["--after", after] if after else [])
        page = queue(relay, "list", "--domain", "shop.example", *words)
        seen += [m["id"] for m in page["messages"]]
        pages += 1
        if not page["more"]:
            break
        after = page["after"]
    assert len(seen) == len(set(seen)) == 542 and pages == 6
    assert [m["id"] for m in queue(relay, "list", "--limit", "0")["messages"]] == seen

    began = time.monotonic()
    assert len(queue(relay, "list", "--user", ANNA)["messages"]) == 2
    assert time.monotonic() - began < 1
    assert len(queue(relay, "search", "BOSS@", "--limit", "0")["messages"]) == 2
    assert len(queue(relay, "search", seen[7])["messages"]) == 1
    assert len(queue(relay, "search", "127.0.0.5", "--user", ANNA)["messages"]) == 2
    assert queue(relay, "search", "nobody@nowhere")["messages"] == []
    text = queue(relay, "summary", json_out=False)
    assert "shop.example" in text and " 542 " in text


def test_content_is_shown_only_when_asked_and_audited(world):
    relay = outage(world)
    fill(relay, 1)
    m = queue(relay, "list")["messages"][0]
    assert "ciao" not in json.dumps(queue(relay, "show", m["id"]))
    assert "content-shown" not in [e["event"] for e in audit(relay)]
    r = subprocess.run([BINARY, "queue", "-c", relay.conf, "show", m["id"], "--content"],
                       capture_output=True, check=True)
    assert r.stdout.endswith(b"ciao\r\n")
    line = audit(relay)[-1]
    assert line["event"] == "content-shown" and line["id"] == m["id"]


def test_the_forecast_and_the_bulk_mark(world):
    relay = outage(world)
    fill(relay, 1)
    end = time.monotonic() + 20
    while relay.status()["queue"]["hours_until_full"] is None:
        assert time.monotonic() < end
        fill(relay, 20)
        time.sleep(0.5)
    q = relay.status()["queue"]
    assert q["growth_bytes_hour"] > 0 and q["hours_until_full"] > 0 and q["disk"] == "fine"
    forecast = relay.command("report")["forecast"]
    assert forecast["hours_until_full"] > 0
    end = time.monotonic() + 10
    while "event=forecast" not in relay.log() and " forecast " not in relay.log():
        assert time.monotonic() < end
        time.sleep(0.2)
    relay.stop()

    # Less room than disk-bulk-reserve: newsletters have to wait, people do not.
    relay.write_conf(top="disk-bulk-reserve = 16T")
    relay.start()
    bulk = mail.message(SENDER, MARIO, extra=b"List-Id: <news.sender.example>\r\n"
                        b"List-Unsubscribe: <https://sender.example/u>\r\nPrecedence: bulk\r\n")
    code, text = mail.send(relay.port, SENDER, MARIO, bulk)
    assert code == 452 and text.startswith(b"4.3.1"), (code, text)
    assert mail.send(relay.port, SENDER, MARIO, mail.message(SENDER, MARIO))[0] == 250
    assert relay.status()["queue"]["disk"] == "bulk"
    assert identity(relay.balance())
