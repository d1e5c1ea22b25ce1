"""Clients by a keyed hash of their IP address."""

import pytest

from comms_pipeline.domain.clients import ip_key

SECRET = b"a secret of these tests"


def test_a_key_is_the_same_for_the_same_client_and_secret_only():
    key = ip_key("203.0.113.9", SECRET)
    assert key == "0379d282b98d54e6"
    assert ip_key("203.0.113.10", SECRET) != key
    assert ip_key("203.0.113.9", b"another") != key


@pytest.mark.parametrize(
    ("one", "other"),
    [("2001:db8:1:2::3", "2001:db8:1:2:ffff::9"), ("::ffff:203.0.113.9", "203.0.113.9")],
)
def test_two_addresses_of_one_client(one: str, other: str):
    assert ip_key(one, SECRET) == ip_key(other, SECRET)


def test_the_next_network_is_another_client():
    assert ip_key("2001:db8:1:2::3", SECRET) != ip_key("2001:db8:1:3::3", SECRET)


@pytest.mark.parametrize("host", [None, "", "testclient", "203.0.113", "/run/web.sock"])
def test_what_is_no_address_has_no_key(host: str | None):
    assert ip_key(host, SECRET) is None
