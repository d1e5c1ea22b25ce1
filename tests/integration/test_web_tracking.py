"""Pixels and tracked links: what is answered, what is landed, and where nobody is ever sent."""

import base64
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from browsing import (
    LANDED,
    MESSAGE_ID,
    PUBLIC_URL,
    Client,
    Query,
    emptied,
    link,
    serving,
    web_ledger,
    web_settings,
)
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from comms_pipeline.domain.event import EventKind, ProviderEvent
from comms_pipeline.domain.tokens import Purpose
from comms_pipeline.ledger.landing import land
from comms_pipeline.ledger.server import Server
from comms_pipeline.loader.events import load_provider_events, refresh_events
from comms_pipeline.loader.message_status import refresh_message_status
from comms_pipeline.providers.event_parsers import parse_landed
from comms_pipeline.stores import Stores
from comms_pipeline.web.app import create_app
from comms_pipeline.web.tracking import PIXEL

TARGET = "https://tickets.example.org/spring?day=2&seat=4#map"
OPEN = link(Purpose.OPEN, contact_id=None, address_key=b"")
UNSAFE_TARGETS = [
    "//evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https://tickets.example.org@evil.example/",
    "https://user:word@evil.example/",
    "https://evil.example\\@tickets.example.org",
    "https://evil.example/\r\nSet-Cookie: a=b",
    "https://evil.example/\n",
    "https://evil.example/\x00",
    "https://еvil.example/",
    "https://evil.example/ü",
    "https://evil。example/",
    "javascript:alert(1)",
    "data:text/html,x",
    "http://evil.example/",
    "http://mail.example.org/",
    "HTTPS://evil.example/",
    " https://evil.example/",
    "https://",
    "",
    "/u/x",
    "https://evil.example/" + "x" * 2000,
]


def click(target: str = TARGET, *, shown: str | None = None, **changed: Any) -> str:
    claims = {"contact_id": None, "address_key": b"", "target": target} | changed
    to = target.removeprefix("https://") if shown is None else shown
    return f"{link(Purpose.CLICK, **claims)}?to={quote(to, safe='')}"


@pytest.fixture(scope="module")
def web_database(postgres: Server) -> Server:
    return web_ledger(postgres, "web_tracking")


@pytest.fixture(scope="module")
def client(web_database: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(create_app(web_settings(tmp_path_factory.mktemp("home")), web_database)) as client:
        yield client


@pytest.fixture(autouse=True)
def query(web_database: Server) -> Iterator[Query]:
    """Runs a query on the ledger, which is empty at the start of every test."""
    with emptied(web_database) as run:
        yield run


def landed(query: Query) -> list[ProviderEvent]:
    return [event for row in query(LANDED) for event in parse_landed(*row)]


# --- The pixel ------------------------------------------------------------------------------------------


def test_an_open_is_landed_and_answered_with_a_pixel(client: Client, query: Query):
    response = client.get(OPEN, headers={"user-agent": "Mozilla/5.0 (Macintosh)"})
    assert (response.status_code, response.content) == (200, PIXEL)
    assert response.headers["content-type"] == "image/gif"
    assert response.headers["cache-control"] == "no-store"
    assert "set-cookie" not in response.headers
    (event,) = landed(query)
    assert (event.provider, event.kind, event.message_id) == ("comms", EventKind.OPENED, MESSAGE_ID)
    assert (event.organisation_id, event.is_machine) == ("wedding", False)
    assert event.user_agent == "Mozilla/5.0 (Macintosh)"
    assert event.occurred_at is not None


def test_the_pixel_is_43_transparent_bytes():
    assert (len(PIXEL), PIXEL[:6], PIXEL[6:10]) == (43, b"GIF89a", b"\x01\x00\x01\x00")
    assert PIXEL[19:24] == b"\x21\xf9\x04\x01\x00"  # Graphic control: the first colour is transparent.


@pytest.mark.parametrize(
    "path",
    [
        "/o/",
        "/o/nonsense",
        OPEN[:-1],
        OPEN + "A",
        OPEN + "/x",
        "/o/" + "A" * 5000,
        "/o/%00%ff",
        link(Purpose.UNSUBSCRIBE, path="/o/"),
        link(Purpose.OPEN, secret=b"somebody else's"),
    ],
)
def test_a_bad_token_gets_the_same_pixel_and_is_not_stored(client: Client, query: Query, path: str):
    response = client.get(path)
    assert (response.status_code, response.content) == (200, PIXEL)
    assert client.head(path).status_code == 200
    assert query(LANDED) == []


def test_the_same_message_opened_again_is_another_event(client: Client, query: Query):
    for _ in range(3):
        client.get(OPEN)
    events = landed(query)
    assert len({event.provider_event_id for event in events}) == 3
    assert len({event.occurred_at for event in events}) == 3


def test_every_hit_is_an_event_of_its_own_in_the_lake(client: Client, query: Query, stores: Stores):
    client.get(OPEN)
    client.get(OPEN)
    client.get(click())
    client.head(click())
    _land_there(query, stores)
    assert load_provider_events(stores).events == 4
    assert refresh_events(stores, score=None) == 4
    with stores.lake.reader() as cursor:
        rows = cursor.execute("select kind, verdict, url from core.events order by all").fetchall()
    assert rows == [
        ("clicked", "human", TARGET),
        ("clicked", "machine", TARGET),
        ("opened", "human", None),
        ("opened", "human", None),
    ]


def _land_there(query: Query, stores: Stores) -> None:
    """What was landed here is landed in the ledger of these stores."""
    with stores.ledger() as ledger:
        for provider, kind, sent, body in query(LANDED):
            land(ledger, provider, kind, sent, bytes(body))


@pytest.mark.parametrize(
    ("forwarded", "alike"),
    [("203.0.113.9", "203.0.113.9"), ("2001:db8:1:2::3", "2001:db8:1:2:ffff::9")],
)
def test_a_client_is_a_keyed_hash_behind_a_proxy_too(
    client: Client, query: Query, forwarded: str, alike: str
):
    for address in (forwarded, alike, "198.51.100.7"):
        client.get(OPEN, headers={"x-forwarded-for": address})
    keys = [orjson.loads(body)["ip_key"] for *_, body in query(LANDED)]
    assert (len(keys[0]), keys[0] == keys[1], keys[1] == keys[2]) == (16, True, False)
    assert not any(forwarded.encode() in bytes(body) for *_, body in query(LANDED))


# --- Clicks ---------------------------------------------------------------------------------------------


def test_a_click_is_landed_and_leads_on(client: Client, query: Query):
    response = client.get(click())
    assert (response.status_code, response.headers["location"]) == (302, TARGET)
    assert response.content == b""
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    (event,) = landed(query)
    assert (event.kind, event.message_id, event.url) == (EventKind.CLICKED, MESSAGE_ID, TARGET)
    assert event.is_machine is False


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("GET", {"Sec-Purpose": "prefetch;prerender"}),
        ("GET", {"Purpose": "prefetch"}),
        ("GET", {"X-Purpose": "preview"}),
        ("GET", {"X-Moz": "Prefetch"}),
    ],
)
def test_a_head_or_a_prefetch_is_a_machines_and_answered_alike(
    client: Client, query: Query, method: str, headers: dict[str, str]
):
    response = client.request(method, click(), headers=headers)
    assert (response.status_code, response.headers["location"]) == (302, TARGET)
    assert client.request(method, OPEN, headers=headers).status_code == 200
    assert [event.is_machine for event in landed(query)] == [True, True]


def test_what_others_append_to_a_link_does_not_break_it(client: Client):
    response = client.get(click() + "&utm_source=x&fbclid=1")
    assert response.headers["location"] == TARGET


def test_a_plus_stays_a_plus(client: Client):
    target = "https://example.org/search?q=a+b%20c"
    assert client.get(click(target)).headers["location"] == target
    assert client.get(click(target).replace("%2B", "+")).headers["location"] == target


@pytest.mark.parametrize(
    "path",
    [
        "/c/nonsense?to=example.org",
        click(shown="evil.example"),
        click(shown=TARGET.removeprefix("https://") + "x"),
        click().partition("?")[0],
        click().partition("?")[0] + "?to=",
        click().partition("?")[0] + "?url=https://evil.example",
        click()[:40] + "A" + click()[41:],
        click(secret=b"somebody else's"),
        link(Purpose.OPEN, path="/c/", contact_id=None, address_key=b"") + "?to=tickets.example.org",
        "/c/%00%ff?to=%00%ff",
    ],
)
def test_a_link_we_did_not_sign_gets_a_page_that_says_nothing(client: Client, query: Query, path: str):
    got = client.get(path)
    assert got.status_code == 404
    assert "This link does not work" in got.text
    assert got.text == client.get("/c/other").text
    assert "location" not in got.headers
    assert client.head(path).status_code == 404
    assert query(LANDED) == []


@pytest.mark.parametrize("target", UNSAFE_TARGETS)
def test_nobody_is_redirected_to_an_unsafe_target_even_if_it_was_signed(
    client: Client, query: Query, target: str
):
    for shown in (target, target.removeprefix("https://")):
        response = client.get(click(target, shown=shown))
        assert response.status_code == 404
        assert "location" not in response.headers
    assert query(LANDED) == []


def test_the_end_of_a_target_cannot_be_taken_for_an_id(client: Client):
    # 16 bytes, as long as an id: a MAC over the two joined would hold for the rest as well.
    target = "https://abc.com/https://evil.example"
    path = click(target)
    token = path.removeprefix("/c/").partition("?")[0]
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    forged = base64.urlsafe_b64encode(raw[:-10] + target[:16].encode() + raw[-10:]).rstrip(b"=").decode()
    assert client.get(path).headers["location"] == target
    assert client.get(f"/c/{forged}?to=evil.example").status_code == 404


def test_an_installation_without_tls_may_lead_to_itself(web_database: Server, tmp_path: Path):
    own = "http://127.0.0.1:8700"
    with serving(create_app(web_settings(tmp_path, public_url=own), web_database)) as client:
        assert client.get(click(f"{own}/p/x")).headers["location"] == f"{own}/p/x"
        for other in (f"{own}1/", f"{own}@evil.example/", "http://127.0.0.1:8701/"):
            assert client.get(click(other)).status_code == 404


def test_addresses_in_a_target_are_not_landed(client: Client, query: Query):
    target = "https://example.org/?mail=ann@example.com&next=1"
    assert client.get(click(target)).headers["location"] == target
    ((_, _, _, body),) = query(LANDED)
    assert orjson.loads(body)["url"] == "https://example.org/?mail=<address>&next=1"


def test_without_the_database_people_still_get_where_they_want(
    web_database: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    app = create_app(web_settings(tmp_path), replace(web_database, database="nowhere"))
    with serving(app) as client:
        pixel, clicked = client.get(OPEN), client.get(click())
    assert (pixel.status_code, pixel.content) == (200, PIXEL)
    assert (clicked.status_code, clicked.headers["location"]) == (302, TARGET)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("comms")]
    assert ours[0] == "the ledger takes no hits, they are spooled: OperationalError"
    assert not any("lost" in text for text in ours)
    assert OPEN.removeprefix("/o/")[:20] not in caplog.text


def test_hits_of_the_time_without_a_database_are_landed_when_it_is_back(
    client: Client, web_database: Server, tmp_path: Path, query: Query
):
    app = create_app(web_settings(tmp_path), replace(web_database, database="nowhere"))
    with serving(app) as without:
        without.get(OPEN)
        without.get(click())
        without.head(OPEN)
    (spooled,) = (tmp_path / "spool").iterdir()
    assert spooled.stat().st_mode & 0o777 == 0o600
    with spooled.open("ab") as file:
        file.write(b'["open","{\\"chan')  # What a crash leaves of a line.
    with serving(create_app(web_settings(tmp_path), web_database)):
        _wait_until(lambda: not list((tmp_path / "spool").iterdir()))
    assert [(event.kind, event.is_machine) for event in landed(query)] == [
        (EventKind.OPENED, False),
        (EventKind.CLICKED, False),
        (EventKind.OPENED, True),
    ]


def test_without_database_and_spool_people_still_get_where_they_want(
    web_database: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "spool").write_text("no folder", encoding="ascii")
    app = create_app(web_settings(tmp_path), replace(web_database, database="nowhere"))
    with serving(app) as client:
        assert client.get(OPEN).content == PIXEL
        assert client.get(click()).headers["location"] == TARGET
    assert "1 hits are lost, the spool takes none" in caplog.text


def _wait_until(is_so: Callable[[], bool]) -> None:
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")


# --- The link that nobody sees --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_trap_looks_like_a_link_that_does_not_work_and_is_landed(
    client: Client, query: Query, method: str
):
    trap = link(Purpose.TRAP, contact_id=None, address_key=b"")
    response = client.request(method, trap, headers={"user-agent": "Gateway/1.0"})
    assert response.status_code == 404
    assert response.text == client.request(method, "/t/other").text
    (event,) = landed(query)
    assert (event.kind, event.raw_kind, event.message_id) == (EventKind.TRAP, "trap", MESSAGE_ID)
    assert (event.user_agent, event.raw["is_head"]) == ("Gateway/1.0", method == "HEAD")


@pytest.mark.parametrize("path", ["/t/nonsense", OPEN.replace("/o/", "/t/"), click().replace("/c/", "/t/")])
def test_a_trap_we_did_not_sign_is_not_stored(client: Client, query: Query, path: str):
    assert client.get(path).status_code == 404
    assert query(LANDED) == []


def test_the_trap_makes_machines_of_its_visitors_hits_and_nothing_of_the_message(
    client: Client, query: Query, stores: Stores
):
    trap = link(Purpose.TRAP, contact_id=None, address_key=b"")
    gateway = {"user-agent": "Mozilla/5.0 (Windows NT 10.0) Chrome/142.0.0.0"}
    client.get(trap, headers=gateway)
    client.get(click(), headers=gateway)
    _land_there(query, stores)
    load_provider_events(stores)
    refresh_events(stores)
    refresh_message_status(stores)
    with stores.lake.reader() as cursor:
        told = cursor.execute(
            "select kind, verdict, verdict_reasons, ip_key is not null, is_head from core.events order by kind"
        ).fetchall()
        status = cursor.execute("select status, opens, clicks from core.message_status").fetchall()
    assert told == [
        ("clicked", "machine", ["trap", "trapped-client", "click-without-open"], True, False),
        ("trap", "unknown", None, True, False),
    ]
    assert status == []  # No plan of ours has the message: what matches nothing is no status.


def test_links_lead_to_the_public_address():
    assert not click("https://mail.example.org/p/x").startswith(PUBLIC_URL)
    assert click("https://a.example/x?y=1").endswith("?to=a.example%2Fx%3Fy%3D1")


# --- Anything -------------------------------------------------------------------------------------------

# The autouse fixture empties the ledger once for all examples, which is right here.
fuzzed = hypothesis_settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@fuzzed
@given(
    prefix=st.sampled_from("upoct"),
    token=st.text(max_size=80) | st.from_regex(r"[A-Za-z0-9_-]{40,110}", fullmatch=True),
    target=st.text(max_size=60) | st.sampled_from(UNSAFE_TARGETS),
    method=st.sampled_from(["GET", "HEAD", "POST"]),
)
def test_nothing_unsigned_is_stored_redirected_or_breaks_anything(
    client: Client, query: Query, prefix: str, token: str, target: str, method: str
):
    path = f"/{prefix}/{quote(token, safe='')}?to={quote(target, safe='')}"
    response = client.request(method, path)
    assert response.status_code in {200, 404, 405}
    assert "location" not in response.headers
    assert (response.status_code == 200) <= (prefix == "o")
    assert query("select count(*) from landing") == [(0,)]
