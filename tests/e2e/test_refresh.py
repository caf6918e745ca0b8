# SPDX-License-Identifier: Apache-2.0
"""`users refresh` from a provider's own user data, with the recipes of docs/directory.md: a
real PostgreSQL and a real slapd, a running relay, and all that can go wrong at three in the morning."""
import base64
import os
import shlex
import shutil
import subprocess

import pytest

from tests.e2e.test_consent import stop_address, until, wish
from tests.lib import mail
from tests.lib.postgres import Postgres
from tests.lib.recipe import adapt, recipe
from tests.lib.relay import BINARY, ROOT
from tests.lib.slapd import Slapd

SENDER = "news@sender.example"
UNITS = os.path.join(ROOT, "packaging", "systemd")


def rcpt(relay, user):
    """The relay's answer to mail for `user`: by the directory it uses now."""
    return mail.send(relay.port, SENDER, user, mail.message(SENDER, user))[0]


def put_program(relay, text):
    """`text` as the refresh-command. The file and configuration of an administrator."""
    path = os.path.join(relay.folder, "users-export")
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o755)
    return path


def by_the_unit(relay, check=True):
    """What the timer starts: ExecStart of the unit, with our binary and configuration."""
    with open(os.path.join(UNITS, "salvaposta-refresh.service.in")) as f:
        (line,) = [x.split("=", 1)[1] for x in f if x.startswith("ExecStart=")]
    words = shlex.split(line)
    assert os.path.basename(words[0]) == "salvaposta", line
    r = subprocess.run([BINARY] + words[1:] + ["-c", relay.conf], capture_output=True, text=True, timeout=60)
    assert not check or r.returncode == 0, r.stdout + r.stderr
    return r


def generation(relay):
    return relay.command("users", "audit")["generation"]


TABLE = """CREATE TABLE users (address text PRIMARY KEY, recovery text, state text, shard text,
    aliases text, language text);
INSERT INTO users SELECT 'u' || i || '@shop.example', 'u' || i || '@recovery.example', 'opted-in'
    FROM generate_series(1, 20) i;
INSERT INTO users SELECT 'o' || i || '@shop.example', 'o' || i || '@recovery.example', 'opted-out'
    FROM generate_series(1, 4) i;
INSERT INTO users VALUES ('out@shop.example', 'out@recovery.example', 'opted-out', NULL, NULL, 'it');
INSERT INTO users VALUES ('"a, b"@shop.example', NULL, NULL, NULL, 'quoted; "c,d"@shop.example', NULL);
"""


@pytest.fixture
def database(world):
    p = Postgres(world.folder).start()
    try:
        p.sql("CREATE DATABASE mail;", "postgres")
        p.sql(TABLE)
        yield p
    except BaseException:
        print(p.log())
        raise
    finally:
        p.stop()


def from_sql(world, database, monkeypatch):
    """A relay whose users come from `database`, by the recipe."""
    monkeypatch.setenv("PGHOST", database.base)
    relay = world.relay(users=None, start=False)
    text = recipe("directory.md", "psql", "#!/bin/sh")
    if database.runas:
        text = adapt(text, ("-u salvaposta-ro", "-u nobody"))
    else:
        text = adapt(text, ("runuser -u salvaposta-ro -- ", ""))
    path = put_program(relay, text)
    relay.write_conf(top='refresh-command = "%s"\nrecovery-age = 0s' % path)   # 12.8: test_consent.py
    return relay.start()


def test_users_from_postgresql_come_and_go_by_schedule(world, database, monkeypatch):
    """The unit's command twice, under a running relay: new, changed and removed users."""
    relay = from_sql(world, database, monkeypatch)
    assert rcpt(relay, "u1@shop.example") == 451, "no directory yet: never a 550"
    by_the_unit(relay)
    first = generation(relay)
    assert relay.command("users", "audit")["users"] == 26
    assert rcpt(relay, "u1@shop.example") == 250 and rcpt(relay, "new@shop.example") == 550
    database.sql("DELETE FROM users WHERE address = 'u2@shop.example';"
                 "INSERT INTO users VALUES ('new@shop.example', 'new@recovery.example', 'opted-in');"
                 "UPDATE users SET recovery = 'other@recovery.example' WHERE address = 'u1@shop.example';")
    by_the_unit(relay)
    assert generation(relay) == first + 1
    assert rcpt(relay, "new@shop.example") == 250 and rcpt(relay, "u2@shop.example") == 550
    assert relay.command("users", "show", "u1@shop.example")["recovery"] == "other@recovery.example"
    u = relay.command("users", "show", '"a, b"@shop.example')
    assert u["recovery"] == "" and "quoted@shop.example" in u["names"], u
    relay.stop()


def test_the_units_schedule_is_one_systemd_knows(world):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    with open(os.path.join(UNITS, "salvaposta-refresh.timer")) as f:
        (when,) = [x.strip().split("=", 1)[1] for x in f if x.startswith("OnCalendar=")]
    r = subprocess.run(["systemd-analyze", "calendar", when], capture_output=True, text=True, timeout=20)
    assert r.returncode == 0 and "Next elapse" in r.stdout, r.stdout + r.stderr


FAULTS = {
    # name -> (what happens to the database, what the refresh says)
    "shrunk": ("DELETE FROM users WHERE address LIKE 'u1%';", "--force"),
    "empty": ("DELETE FROM users;", "no user in it"),
    "states gone": ("UPDATE users SET state = NULL;", "0 users are opted-out where the present directory has 5"),
    "table gone": ("ALTER TABLE users RENAME TO users_v2;", "failed with status"),
    "column gone": ("ALTER TABLE users DROP COLUMN recovery;", "failed with status"),
    "a bad row": ("INSERT INTO users VALUES ('no-at-sign', NULL);", "address"),
    "an error at the last row": ("ALTER TABLE users RENAME TO t; CREATE VIEW users AS SELECT address, recovery, "
                                 "state || left('', 1 / (CASE WHEN address LIKE 'u9@%' THEN 0 ELSE 1 END)) AS state, "
                                 "shard, aliases, language FROM t;", "failed with status"),
}


def test_no_fault_of_postgresql_takes_a_user_away(world, database, monkeypatch):
    """Guard against shrinking, errors, a dead server: the directory stays, the exit status says so."""
    relay = from_sql(world, database, monkeypatch)
    by_the_unit(relay)
    first = generation(relay)
    for name, (sql, word) in FAULTS.items():
        database.sql("CREATE DATABASE fault TEMPLATE mail;", "postgres")
        database.sql(sql, "fault")
        path = os.path.join(relay.folder, "users-export")
        with open(path) as f:
            text = f.read()
        put_program(relay, adapt(text, ("-d mail", "-d fault")))
        r = by_the_unit(relay, check=False)
        assert r.returncode == 1 and word in r.stderr, (name, r.stderr)
        assert generation(relay) == first, name
        put_program(relay, text)
        database.sql("DROP DATABASE fault;", "postgres")
    database.stop()
    r = by_the_unit(relay, check=False)
    assert r.returncode == 1 and "failed with status" in r.stderr, r.stderr
    assert generation(relay) == first
    assert rcpt(relay, "u1@shop.example") == 250
    relay.stop()


def test_a_bad_refresh_is_rolled_back(world, database, monkeypatch):
    """A wrong list within the guard gets through; one command undoes it, the next refresh goes on."""
    relay = from_sql(world, database, monkeypatch)
    by_the_unit(relay)
    database.sql("DELETE FROM users WHERE address IN ('u3@shop.example', 'u4@shop.example');")
    by_the_unit(relay)
    assert rcpt(relay, "u3@shop.example") == 550
    back = relay.command("users", "rollback")
    assert back["ok"] and back["relay"] == "reloaded" and back["users"] == 26, back
    assert rcpt(relay, "u3@shop.example") == 250
    bad = generation(relay) + 1
    database.sql("INSERT INTO users VALUES ('u3@shop.example', 'u3@recovery.example', 'opted-in'),"
                 "('u4@shop.example', 'u4@recovery.example', 'opted-in');")
    by_the_unit(relay)
    assert generation(relay) > bad, "a generation number never comes twice"
    assert rcpt(relay, "u3@shop.example") == 250
    relay.stop()


def test_opt_outs_survive_refreshes_from_postgresql(world, database, monkeypatch):
    """Who is opted out in the table is held and never forwarded, refresh after refresh."""
    relay = from_sql(world, database, monkeypatch)
    for i in range(2):
        database.sql("INSERT INTO users VALUES ('more%d@shop.example', NULL);" % i)
        by_the_unit(relay)
        u = relay.command("users", "show", "out@shop.example")
        assert u["state"] == "opted-out" and not u["forwarded"] and u["reason"] == "opted-out", u
    relay.failover("on")
    assert rcpt(relay, "out@shop.example") == 250 and rcpt(relay, "u1@shop.example") == 250
    (copy,) = world.recovery.wait(1)
    assert copy.rcpts == ["u1@recovery.example"]
    b = relay.wait_balance(received=2, held=2)
    assert b["forwarded"] == 1, b
    why = relay.command("why", "out@shop.example", json_out=False)
    assert "opted" in why, why
    assert len(world.recovery.messages) == 1
    relay.stop()


def stopped(relay, user):
    u = relay.command("users", "show", user)
    return not u["forwarded"] and u["reason"] == "opted-out"


def test_spec_12_3_own_opt_outs_survive_every_refresh(world, database, monkeypatch):
    """What a user wished by mail, and an operator for one, is not in the provider's table and
    outlives what comes from there: the same rows again, changed ones, a user who was away for an
    import, a rollback, kill -9 and a restart."""
    relay = from_sql(world, database, monkeypatch)
    by_the_unit(relay)
    stop = stop_address("u1@shop.example")
    assert mail.send(relay.port, "u1@recovery.example", stop, wish(stop, "u1@recovery.example"))[0] == 250
    relay.command("users", "optout", "u2@shop.example", "--reason", "a letter")

    def both(when):
        until(lambda: stopped(relay, "u1@shop.example"))
        assert stopped(relay, "u2@shop.example"), when
        assert relay.command("users", "show", "u3@shop.example")["forwarded"], when

    both("now")
    for when, sql in (
            ("the same rows", "SELECT 1;"),
            ("another recovery address and state", "UPDATE users SET recovery = 'x' || recovery, state = 'registered',"
             " aliases = 'm' || address WHERE address LIKE 'u_@%';"),
            ("written otherwise", "UPDATE users SET address = upper(address) WHERE address LIKE 'u_@%';")):
        database.sql(sql)
        by_the_unit(relay)
        both(when)
    database.sql("DELETE FROM users WHERE address LIKE 'U1@%' OR address LIKE 'U2@%';")
    by_the_unit(relay)
    assert rcpt(relay, "u1@shop.example") == 550
    relay.kill()
    relay.start()
    database.sql("INSERT INTO users SELECT 'u' || i || '@shop.example', 'u' || i || '@recovery.example', 'opted-in'"
                 " FROM generate_series(1, 2) i;")
    by_the_unit(relay)
    both("back again")
    relay.command("users", "rollback")
    relay.command("users", "rollback")
    both("rollback")
    relay.stop()
    relay.start()
    world.down()
    relay.failover("on")
    for user in ("u1", "u2", "u3"):
        assert rcpt(relay, user + "@shop.example") == 250
    (copy,) = world.recovery.wait(1)
    assert copy.rcpts == ["xu3@recovery.example"]
    b = relay.wait_balance(received=3, held=3, forwarded=1)
    assert b["forward_skipped"] == 2, b
    relay.stop()


def test_spec_12_3_a_stop_follows_a_user_to_a_new_address(world):
    """Married in the meantime: the old address is an alias now. And the way back."""
    header = "address,recovery,aliases"
    others = ["v%d@shop.example,," % i for i in range(5)]
    old = ["m.rossi@shop.example,m@recovery.example,", '"""o,o""@shop.example",o@recovery.example,']
    new = ["m.bianchi@shop.example,m@recovery.example,x@shop.example m.rossi",
           'o@shop.example,o@recovery.example,"""o,o""@shop.example"']
    relay = world.relay(users=None, start=False)
    relay.import_users(old + others, header)
    relay.start()
    for user in ("m.rossi@shop.example", '"o,o"@shop.example'):
        relay.command("users", "optout", user, "--reason", "a letter")
    relay.import_users(new + others, header)
    for user in ("m.bianchi@shop.example", "o@shop.example"):
        u = relay.command("users", "show", user)
        assert stopped(relay, user) and u["opted_out"]["by"] == "operator", u
    relay.failover("on")
    assert rcpt(relay, "m.bianchi@shop.example") == 250 and rcpt(relay, "m.rossi@shop.example") == 250
    relay.wait_balance(received=2, held=2, forward_skipped=2)
    # He may have copies again, whatever the next import brings.
    assert relay.command("users", "optin", "m.bianchi@shop.example", "--reason", "called")["changed"]
    relay.import_users(new + others, header)
    assert relay.command("users", "show", "m.bianchi@shop.example")["forwarded"]
    assert stopped(relay, "o@shop.example")
    assert rcpt(relay, "m.rossi@shop.example") == 250
    (copy,) = world.recovery.wait(1)
    assert copy.rcpts == ["m@recovery.example"]
    b = relay.wait_balance(received=3, held=3, forwarded=1)
    assert b["forward_skipped"] == 2, b
    audit = relay.command("audit", "show", json_out=False)
    assert "had opted out under a former address" in audit and "bianchi" not in audit, audit
    relay.stop()


# ---- LDAP

TREE = """dn: dc=example,dc=it
objectClass: domain
dc: example

dn: ou=people,dc=example,dc=it
objectClass: organizationalUnit
ou: people

dn: cn=salvaposta,dc=example,dc=it
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: salvaposta
userPassword: secret

dn: cn=limited,dc=example,dc=it
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: limited
userPassword: secret
"""
MAP = """refresh-format = ldif
ldif-recovery = "mailRecoveryAddress"
ldif-aliases = "mailAlternateAddress"
ldif-state = "mailRecoveryState"
ldif-language = "preferredLanguage"
"""


def person(uid, more="", state="opted-in", add=False):
    return """
dn: uid={0},ou=people,dc=example,dc=it
{1}objectClass: inetOrgPerson
objectClass: mailUser
uid: {0}
cn: Nicolò {0}
sn: {0}
mail: {0}@shop.example
mailRecoveryAddress: {0}@recovery.example
mailRecoveryState: {2}
{3}""".format(uid, "changetype: add\n" if add else "", state, more)


def delete(uid):
    return "\ndn: uid=%s,ou=people,dc=example,dc=it\nchangetype: delete\n" % uid


def utf8(ldif):
    """`ldif` as RFC 2849 has it: values beyond ASCII in base64."""
    out = []
    for line in ldif.splitlines():
        if not line.isascii():
            name, value = line.split(": ", 1)
            line = "%s:: %s" % (name, base64.b64encode(value.encode()).decode())
        out.append(line + "\n")
    return "".join(out)


@pytest.fixture
def ldap(world):
    people = "".join(person("u%d" % i) for i in range(1, 31)) + "".join(
        person(n, state="opted-out") for n in ("out", "o1", "o2", "o3", "o4")) + person(
        "marò", "mailAlternateAddress: m1@shop.example\nmailAlternateAddress: m2@shop.example\n"
        "preferredLanguage: it-IT, en;q=0.5\n").replace("mail: marò", "mail: maro").replace(
        "Address: marò", "Address: maro")
    s = Slapd(world.folder, utf8(TREE + people + "\ndn: cn=printer,ou=people,dc=example,dc=it\nobjectClass: device\n"
                                 "cn: printer\n")).start()
    try:
        yield s
    except BaseException:
        print(s.log())
        raise
    finally:
        s.stop()


def from_ldap(world, ldap, monkeypatch):
    """A relay whose users come from `ldap`, by the recipe."""
    monkeypatch.setenv("LDAPTLS_CACERT", ldap.cert)
    relay = world.relay(users=None, start=False)
    password = os.path.join(relay.folder, "ldap.password")
    with open(password, "w") as f:
        f.write("secret")
    os.chmod(password, 0o600)
    relay.recipe = adapt(recipe("directory.md", "ldapsearch", "#!/bin/sh"), (
        "ldaps://ldap.example.it", ldap.url), ("/etc/salvaposta/ldap.password", password),
        ("pr=1000/", "pr=7/"))
    relay.write_conf(top='refresh-command = "%s"\n%s' % (put_program(relay, relay.recipe), MAP))
    return relay.start()


def test_users_from_ldap_come_and_go_by_schedule(world, ldap, monkeypatch):
    """In pages, over TLS, with names beyond ASCII; opt-outs survive each refresh."""
    relay = from_ldap(world, ldap, monkeypatch)
    by_the_unit(relay)
    first = generation(relay)
    assert relay.command("users", "audit")["users"] == 36
    u = relay.command("users", "show", "m2@shop.example")
    assert u["address"] == "maro@shop.example" and u["language"] == "it-IT", u
    assert sorted(u["names"]) == ["m1@shop.example", "m2@shop.example", "maro@shop.example"], u
    ldap.modify(utf8(delete("u2") + person("new", add=True)))
    by_the_unit(relay)
    assert generation(relay) == first + 1
    assert rcpt(relay, "u2@shop.example") == 550 and rcpt(relay, "m1@shop.example") == 250
    relay.wait_balance(replayed=1)
    relay.failover("on")
    assert rcpt(relay, "out@shop.example") == 250 and rcpt(relay, "new@shop.example") == 250
    (copy,) = world.recovery.wait(1)
    assert copy.rcpts == ["new@recovery.example"]
    relay.wait_balance(received=3, held=2)
    assert relay.command("users", "show", "out@shop.example")["reason"] == "opted-out"
    relay.stop()


def test_a_dump_by_slapcat_is_imported(world, ldap, monkeypatch):
    """With folded lines, operational attributes and entries that are no users; and cut, it is not."""
    relay = from_ldap(world, ldap, monkeypatch)
    path, dump = os.path.join(relay.folder, "users.ldif"), ldap.dump()
    assert b"\n userPassword" not in dump and b"entryUUID: " in dump and b"userPassword:: " in dump
    with open(path, "wb") as f:
        f.write(dump)
    r = relay.command("users", "import", "--ldif", path, check=False)
    assert r.returncode == 0 and "5 entries without an address are left aside" in r.stderr, r.stderr
    assert relay.command("users", "audit")["states"] == {"opted-in": 31, "opted-out": 5}
    assert rcpt(relay, "m1@shop.example") == 250
    with open(path, "wb") as f:
        f.write(dump[:-20])
    r = relay.command("users", "import", "--ldif", path, check=False)
    assert r.returncode == 1 and "was it cut?" in r.stderr, r.stderr
    relay.stop()


def test_no_fault_of_ldap_takes_a_user_away(world, ldap, monkeypatch):
    """Limits that cut the answer, a wrong password, a lost branch, a bad entry, a dead server."""
    relay = from_ldap(world, ldap, monkeypatch)
    by_the_unit(relay)
    first = generation(relay)

    def fails(word, *changes):
        put_program(relay, adapt(relay.recipe, *changes))
        r = by_the_unit(relay, check=False)
        assert r.returncode == 1 and word in r.stderr, (word, r.stderr)
        assert generation(relay) == first, word

    fails("failed with status 4", ("cn=salvaposta", "cn=limited"))
    fails("failed with status 4", ("-E pr=7/noprompt", ""))
    fails("failed with status 49", ("/ldap.password", "/secret"))
    fails("failed with status 32", ("ou=people", "ou=gone"))
    fails("failed with status", ("'(mail=*)'", "'(mail=*'"))
    fails("0 users are opted-out where the present directory has 5", ("mailRecoveryState", ""))
    fails("no user in it", ("(mail=*)", "(mail=nobody)"))
    fails("--force", ("(mail=*)", "(mail=u1*)"))
    fails("take what it writes with -LLL", ("-LLL ", ""))
    ldap.modify("dn: uid=u5,ou=people,dc=example,dc=it\nchangetype: modify\nadd: mail\nmail: five@shop.example\n")
    fails("address: attribute mail has more than one value: keep further addresses in")
    ldap.stop()
    fails("failed with status 255")
    assert rcpt(relay, "u5@shop.example") == 250
    relay.stop()
