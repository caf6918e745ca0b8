# SPDX-License-Identifier: Apache-2.0
"""Bounds of the listener that need DNS or memory shared by the relays."""
import smtplib

from tests.lib import mail

SENDER, USER = "news@sender.example", "mario@shop.example"


def codes(relay, source, *rcpts):
    c = smtplib.SMTP("127.0.0.1", relay.port, local_hostname="mail.sender.example", timeout=20,
                     source_address=(source, 0))
    c.ehlo()
    c.mail(SENDER)
    out = [c.rcpt(r) for r in rcpts]
    c.quit()
    return out


def test_blocklists(world):
    """RFC 5782: listed clients are told at RCPT, postmaster hears them, silence lists nobody."""
    world.dns.zones.update({"6.0.0.127.bl.example": {"A": ["127.0.0.2"]},
                            "7.0.0.127.bl.example": {"A": ["127.255.255.254"]},
                            "8.0.0.127.bl.example": {"A": ["192.0.2.1"]}})
    relay = world.relay(top='dns-blocklists = { "empty.example", "bl.example" }')
    for source in ("127.0.0.5", "127.0.0.7", "127.0.0.8"):
        assert codes(relay, source, USER)[0][0] == 250, source
    user, postmaster = codes(relay, "127.0.0.6", USER, "postmaster@shop.example")
    assert user == (451, b"4.7.1 your address is listed by bl.example")
    assert postmaster[0] == 250
    assert relay.roles("relay")[0]["listed"] == 1
    relay.stop()
    relay = world.relay(top='dns-blocklists = { "bl.example" }\ndns-blocklist-action = refuse\n'
                            'exempt-networks = { "127.0.0.6" }')
    assert codes(relay, "127.0.0.6", USER)[0][0] == 250
    relay.stop()


def test_greylisting(world):
    """RFC 6647, off by default: who comes back is known, to all relay processes."""
    relay = world.relay(top="greylist = yes\ngreylist-delay = 1s\nrelays = 2")
    assert codes(relay, "127.0.0.5", USER) == [(451, b"4.7.1 come back in some minutes")]
    assert codes(relay, "127.0.0.5", "nobody@shop.example")[0][0] == 550
    assert codes(relay, "127.0.0.5", USER)[0][0] == 250
    for _ in range(8):
        assert codes(relay, "127.0.0.5", "anna@shop.example")[0][0] == 250
    assert mail.send(relay.port, "", USER, mail.message(SENDER, USER), source="127.0.1.1")[0] == 250
    relay.stop()
