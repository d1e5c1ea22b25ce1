"""The addresses of links: what they look like, how long they are, and where they may lead."""

from urllib.parse import urlsplit

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.domain.links import Links, UnsafeTarget, click_target, is_safe_target
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose, TokenKeys

KEYS = TokenKeys.from_secret(b"a secret of this test")
PUBLIC_URL = "https://mail.lakeside.example"
CONTACTS = ["c0" * 16, "c1" * 16]
MESSAGES = ["ab" * 16, "cd" * 16]
RECIPIENTS = pl.DataFrame(
    {"contact_id": CONTACTS, "message_id": MESSAGES, "address_key": [b"k" * 16, b"l" * 16]}
)
UNSAFE = [
    "//evil.example/",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https://user@evil.example/",
    "https://good.example:443@evil.example/",
    "https://good.example\\@evil.example/",
    "https://evil.example\\",
    "https://evil.example/\r\nSet-Cookie: a=b",
    "https://evil.example/\n",
    "https://evil.example/\x00",
    "https://evil.example/\t",
    "https://evil.example/a b",
    "https://еvil.example/",
    "https://evil。example/",
    "https://evil.example/ü",
    "https://-evil.example/",
    "https://evil..example/",
    "https://evil.example:port/",
    "https://[::1]/",
    "https://%65vil.example/",
    "https://",
    "http://good.example/",
    "HTTPS://good.example/",
    "javascript:alert(1)",
    "javascript://good.example/%0aalert(1)",
    "data:text/html,x",
    "mailto:ann@example.com",
    "/u/x",
    "good.example",
    " https://good.example/",
    "",
    "https://good.example/" + "x" * 2000,
]
SAFE = [
    "https://example.org",
    "https://example.org/",
    "https://example.org:8443?a=1",
    "https://xn--mnchen-3ya.example/@ann?x[]=1&y=%20+z;(a),!$'*~#top?/",
    "https://localhost/",
]


def links(channel: Channel = Channel.EMAIL, **changed: str) -> Links:
    return Links(
        **{"keys": KEYS, "public_url": PUBLIC_URL, "organisation_id": "wedding", "channel": channel} | changed
    )


def token(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]


def target(url: str) -> str | None:
    return click_target(urlsplit(url).query)


@pytest.mark.parametrize(
    ("kind", "path", "purpose"),
    [
        ("unsubscribe_urls", "/u/", Purpose.UNSUBSCRIBE),
        ("preferences_urls", "/p/", Purpose.PREFERENCES),
        ("confirm_urls", "/y/", Purpose.CONFIRM),
    ],
)
@pytest.mark.parametrize("channel", list(Channel))
def test_links_about_an_address_carry_its_key(kind: str, path: str, purpose: Purpose, channel: Channel):
    urls = getattr(links(channel), kind)(RECIPIENTS)
    assert [url.startswith(f"https://mail.lakeside.example{path}") for url in urls] == [True, True]
    claims = [KEYS.verify(token(url), purpose) for url in urls]
    assert [claim and claim.address_key for claim in claims] == [b"k" * 16, b"l" * 16]
    assert [claim and claim.message_id for claim in claims] == MESSAGES
    assert [claim and claim.channel for claim in claims] == [channel, channel]
    expected = [None, None] if channel is Channel.SMS else CONTACTS
    assert [claim and claim.contact_id for claim in claims] == expected


def test_a_pixel_names_its_message():
    (first, second) = links().open_urls(RECIPIENTS)
    assert first.startswith("https://mail.lakeside.example/o/")
    claims = KEYS.verify(token(second), Purpose.OPEN)
    assert claims is not None
    assert (claims.message_id, claims.organisation_id, claims.address_key) == (MESSAGES[1], "wedding", b"")


def test_links_are_as_short_as_they_can_be():
    lengths = {
        (channel, kind): [len(token(url)) for url in getattr(links(channel), kind)(RECIPIENTS)]
        for channel in (Channel.EMAIL, Channel.SMS)
        for kind in ("unsubscribe_urls", "open_urls")
    }
    assert lengths == {
        (Channel.EMAIL, "unsubscribe_urls"): [100, 100],
        (Channel.EMAIL, "open_urls"): [48, 48],
        (Channel.SMS, "unsubscribe_urls"): [70, 70],
        (Channel.SMS, "open_urls"): [48, 48],
    }
    (click, _) = links(Channel.SMS).click_urls(RECIPIENTS, "https://lakeside.example/rsvp")
    assert len(click) == len("https://mail.lakeside.example/c/") + 48 + len("?to=lakeside.example/rsvp")


@pytest.mark.parametrize("goal", SAFE)
def test_a_click_leads_where_it_was_signed_for(goal: str):
    shared = links().click_urls(RECIPIENTS, goal)
    each = links().click_urls(RECIPIENTS, pl.Series([goal, "https://other.example/"]))
    assert shared[0] == each[0]
    assert shared.dtype == pl.String
    assert target(shared[1]) == goal
    assert KEYS.verify(token(shared[1]), Purpose.CLICK, goal) is not None
    assert KEYS.verify(token(each[1]), Purpose.CLICK, "https://other.example/") is not None


def test_a_target_is_readable_in_its_link():
    (url, _) = links().click_urls(RECIPIENTS, "https://example.org/a?b=1&c=2#d")
    assert url.endswith("?to=example.org/a?b=1%26c=2%23d")


@pytest.mark.parametrize("goal", UNSAFE)
def test_an_unsafe_target_is_not_signed(goal: str):
    assert is_safe_target(goal, PUBLIC_URL) is False
    with pytest.raises(UnsafeTarget, match=r"^link to .*: not an absolute https address") as caught:
        links().click_urls(RECIPIENTS, goal)
    assert "\n" not in str(caught.value)
    with pytest.raises(UnsafeTarget, match=r"^link to 1 of a column: "):
        links().click_urls(RECIPIENTS, pl.Series(["https://example.org/", goal]))


def test_an_error_quotes_no_address():
    with pytest.raises(UnsafeTarget) as caught:
        links().click_urls(RECIPIENTS, "http://example.org/?mail=ann@example.com")
    assert str(caught.value).startswith("link to 'http://example.org/?mail=<address>': ")


def test_a_recipient_without_a_target_is_an_error():
    with pytest.raises(UnsafeTarget, match="1 of a column"):
        links().click_urls(RECIPIENTS, pl.Series(["https://example.org/", None]))


def test_an_installation_without_tls_may_lead_to_itself():
    own = "http://127.0.0.1:8700"
    (url, _) = links(public_url=own).click_urls(RECIPIENTS, f"{own}/p/x?y=1")
    assert target(url) == "http://127.0.0.1:8700/p/x?y=1"
    assert is_safe_target(own, own)
    for other in ("http://127.0.0.1:87001/", "http://127.0.0.1:8700@evil.example/", "http://127.0.0.1/"):
        assert not is_safe_target(other, own)
    assert not is_safe_target("http://mail.lakeside.example/", PUBLIC_URL)


def test_no_recipients_no_links():
    for urls in (
        links().unsubscribe_urls(RECIPIENTS.head(0)),
        links().click_urls(RECIPIENTS.head(0), "https://example.org/"),
        links().click_urls(RECIPIENTS.head(0), pl.Series([], dtype=pl.String)),
    ):
        assert urls.to_list() == []
        assert urls.dtype == pl.String


@pytest.mark.parametrize("query", ["", "to", "url=https://evil.example", "x=1&to=example.org"])
def test_a_query_that_says_nothing_leads_nowhere(query: str):
    assert click_target(query) is None


HOSTILE = st.text(max_size=30) | st.from_regex(r"[a-z:/@\\.?#%\r\n]{0,30}", fullmatch=True)


@given(HOSTILE | HOSTILE.map(lambda rest: f"https://{rest}"))
def test_what_is_safe_is_read_as_one_host_by_everybody(goal: str):
    expected = is_safe_target(goal, PUBLIC_URL)
    column = pl.Series([goal])
    try:
        (url,) = links().click_urls(RECIPIENTS.head(1), column)
    except UnsafeTarget:
        assert not expected
        return
    assert expected
    parts = urlsplit(goal)
    assert parts.scheme == "https"
    assert parts.hostname is not None
    assert goal.startswith(f"https://{parts.netloc}")
    assert "@" not in parts.netloc
    assert goal.isascii()
    assert goal.isprintable()
    assert target(url) == goal
