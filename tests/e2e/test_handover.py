# SPDX-License-Identifier: Apache-2.0
"""Handing over from the provider's own front servers, with the recipes of docs/wiring.md:
real Postfix and real Exim ask the relay where mail goes, or fall back to it."""
import os
import signal
import socket
import subprocess
import time

import pytest

from tests.lib import mail
from tests.lib.exim import Exim
from tests.lib.ports import free_port
from tests.lib.postfix import Postfix, until
from tests.lib.recipe import adapt, recipe

SENDER, MARIO, ANNA = "news@sender.example", "mario@shop.example", "anna@shop.example"
# A front that names no client leaves nothing to judge an unsigned message by.
TRUST = 'trusted-relay = { "127.0.0.1" }\nforward-unauthenticated = yes'
root = pytest.mark.skipif(os.getuid() != 0, reason="Debian's Postfix and Exim start only as root")


def routed(world, more="", **kw):
    port = free_port()
    top = '%s\nrouting-listen = { "127.0.0.1:%d" }\n' % (TRUST, port)
    relay = world.relay(top=top, more=more, **kw)
    relay.routing = port
    return relay


def postmap(kind, port, key):
    table = {"socketmap": "socketmap:inet:127.0.0.1:%d:transport", "tcp": "tcp:127.0.0.1:%d"}[kind]
    r = subprocess.run(["postmap", "-q", key, table % port], capture_output=True, text=True, timeout=20)
    return r.returncode, r.stdout.strip(), r.stderr


def ask(port, data):
    """What is answered until the end, which may be a hang-up in the middle."""
    out = b""
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            while True:
                got = s.recv(4096)
                if not got:
                    break
                out += got
        except OSError as e:
            assert not isinstance(e, TimeoutError), "not answered and not hung up"
    return out


def test_postmap_asks_by_socketmap_and_tcp_table(world):
    """Nothing in standby, the relay for the domain and its addresses while failover is on;
    the answer turns within a second of the command."""
    relay = routed(world)
    here = "smtp:[mx2.relay.example]:%d" % relay.port
    keys = ["shop.example", MARIO, "SHOP.example"]

    def all_say(want):
        return all(postmap(kind, relay.routing, k)[:2] == want for kind in ("socketmap", "tcp") for k in keys)

    assert all_say((1, ""))
    for mode, line in (("on", b"200 " + here.encode()), ("off", b"500 "), ("on", b"200 ")):
        relay.failover(mode)
        began = time.monotonic()
        until(lambda: ask(relay.routing, b"get shop.example\n").startswith(line), 5)
        assert time.monotonic() - began < 1
    assert all_say((0, here))
    for other in ("other.example", ".shop.example", "a@sub.shop.example", "*"):
        assert postmap("socketmap", relay.routing, other)[:2] == (1, ""), other
        assert postmap("tcp", relay.routing, other)[:2] == (1, ""), other
    relay.stop()


def test_routing_takes_no_nonsense(world):
    relay = routed(world)
    relay.failover("on")
    until(lambda: ask(relay.routing, b"get shop.example\n").startswith(b"200 "), 5)
    assert ask(relay.routing, b"put shop.example x\n").startswith(b"500 ")
    for bad in (b"9999999:", b"5:hello;", b"get %zz\n", b"x" * 5000, b"7:nospace,", b"01:a,"):
        assert ask(relay.routing, bad) in (b"", b"500 only%20look-ups%20are%20answered%20here\n"), bad
    # Many requests at once are answered in their order; as netstrings too.
    many = ask(relay.routing, b"get shop.example\nget other.example\n" * 500)
    assert [x[:4] for x in many.splitlines()] == [b"200 ", b"500 "] * 500
    assert ask(relay.routing, b"22:transport shop.example,15:transport other,").count(b"OK smtp") == 1
    relay.stop()


def send(port, rcpt, subject):
    data = mail.message(SENDER, rcpt, subject)
    assert mail.send(port, SENDER, rcpt, data)[0] == 250
    return data


@root
def test_one_toggle_turns_a_postfix_front(world):
    """transport_maps = socketmap: the store gets the mail, then the relay, then the store."""
    relay = routed(world)
    relay.write_conf(top=relay.values["top"] + 'routing-answer = "smtp:[127.0.0.1]:%d"\n' % relay.port)
    relay.process.send_signal(signal.SIGHUP)
    front = Postfix(world.folder, "transport_maps = socketmap:inet:127.0.0.1:%d:transport\n"
                    "relay_transport = lmtp:inet:127.0.0.1:%d\n" % (relay.routing, world.store.port))
    try:
        send(front.port, MARIO, "standby")
        world.store.wait(1)
        relay.wait_balance(received=0)
        relay.failover("on")
        until(lambda: ask(relay.routing, b"get shop.example\n") == b"200 smtp:[127.0.0.1]:%d\n" % relay.port, 5)
        send(front.port, ANNA, "active")
        (copy,) = world.recovery.wait(1)
        assert copy.rcpts == ["anna@recovery.example"]
        relay.wait_balance(received=1)
        assert len(world.store.messages) == 1
        relay.failover("off")
        world.store.wait(2)          # replayed
        until(lambda: ask(relay.routing, b"get shop.example\n").startswith(b"500 "), 10)
        send(front.port, "solo@shop.example", "again")
        world.store.wait(3)
        relay.wait_balance(received=1, replayed=1)
    except BaseException:
        print(front.log()[-4000:])
        raise
    finally:
        front.close()
    relay.stop()


@root
def test_a_postfix_front_falls_back_by_lmtp(world):
    """lmtp_fallback_relay is spoken to by LMTP: the recipe names the LMTP listener."""
    port = free_port()
    relay = world.relay(top=TRUST, more='listen "127.0.0.1:%d" { protocol = lmtp }' % port)
    relay.failover("on")
    front = Postfix(world.folder, "relay_transport = lmtp:inet:127.0.0.1:%d\n"
                    "lmtp_fallback_relay = [127.0.0.1]:%d\n" % (world.store.port, port))
    try:
        send(front.port, MARIO, "store is up")
        world.store.wait(1)
        world.down()
        send(front.port, ANNA, "store is down")
        (copy,) = world.recovery.wait(1)
        assert copy.rcpts == ["anna@recovery.example"] and b"with LMTP id" in copy.data
        relay.wait_balance(received=1)
    except BaseException:
        print(front.log()[-4000:])
        raise
    finally:
        front.close()
    relay.stop()


def exim_recipe(*words):
    """(routers, transports) as docs/wiring.md has them, allowed to speak to this host."""
    routers, transports = recipe("wiring.md", "driver = manualroute", *words).split("# transports\n")
    return (adapt(routers, ("driver = manualroute", "driver = manualroute\n  self = send")),
            adapt(transports, ("driver = smtp", "driver = smtp\n  allow_localhost")))


def exim_store(store, fallback):
    """The recipe's router and transport `store`: that falls back to an LMTP listener."""
    routers, transports = exim_recipe("fallback_hosts")
    return (adapt(routers, ("* store.example.it", "* 127.0.0.1"), ("mx2.example.it::2424", "127.0.0.1::%d" % fallback)),
            adapt(transports, ("port = 24", "port = %d" % store)))


@root
def test_an_exim_front_falls_back_by_lmtp(world):
    port = free_port()
    relay = world.relay(top=TRUST, more='listen "127.0.0.1:%d" { protocol = lmtp }' % port)
    relay.failover("on")
    front = Exim(world.folder, *exim_store(world.store.port, port))
    try:
        send(front.port, MARIO, "store is up")
        world.store.wait(1)
        world.down()
        send(front.port, ANNA, "store is down")
        (copy,) = world.recovery.wait(1)
        assert copy.rcpts == ["anna@recovery.example"] and b"with LMTP id" in copy.data
        relay.wait_balance(received=1)
        assert "== " not in front.log(), "nothing was put off"
    except BaseException:
        print(front.log()[-4000:])
        raise
    finally:
        front.close()
    relay.stop()


def deferred(front):
    return sum("solo@shop.example R=ask_relay defer" in x and "the relay does not say where shop.example" in x
               for x in front.log().splitlines())


@root
def test_one_toggle_turns_an_exim_front(world):
    """The routers that ask the relay: the store gets the mail, then the relay, then the store;
    and while nobody answers the front keeps it."""
    relay = routed(world)
    routers, transports = exim_recipe("readsocket")
    routers = adapt(routers, ("mx2.example.it:10025", "127.0.0.1:%d" % relay.routing),
                    ("* mx2.example.it", "* 127.0.0.1"), ("{5s}", "{1s}"))
    transports = adapt(transports, ("driver = smtp", "driver = smtp\n  port = %d" % relay.port))
    to_store = exim_store(world.store.port, 1)
    front = Exim(world.folder, routers + to_store[0], transports + to_store[1])
    try:
        send(front.port, MARIO, "standby")
        world.store.wait(1)
        relay.wait_balance(received=0)
        relay.failover("on")
        until(lambda: ask(relay.routing, b"get shop.example\n").startswith(b"200 "), 5)
        send(front.port, ANNA, "active")
        (copy,) = world.recovery.wait(1)
        assert copy.rcpts == ["anna@recovery.example"]
        relay.wait_balance(received=1)
        assert len(world.store.messages) == 1
        relay.failover("off")
        world.store.wait(2)          # replayed
        relay.wait_balance(replayed=1)
        relay.stop()
        send(front.port, "solo@shop.example", "nobody answers")
        until(lambda: deferred(front) > 0, 20)
        with socket.create_server(("127.0.0.1", relay.routing)) as silent:
            silent.settimeout(20)
            before = deferred(front)
            silent.accept()
            until(lambda: deferred(front) > before, 20)
        assert len(world.store.messages) == 2
        relay.start()
        world.store.wait(3)
        relay.wait_balance(received=1, replayed=1)
    except BaseException:
        print(front.log()[-4000:])
        raise
    finally:
        front.close()
    relay.stop()
