"""The pages in a real headless Chromium: accessible by axe's rules, in every language, without a script or a mouse."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import (
    EMAIL_KEY,
    Query,
    emptied,
    link,
    serving,
    web_ledger,
    web_settings,
)
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from comms_pipeline.domain.event import SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose
from comms_pipeline.ledger.sends import Organisation, apply_campaign, put_organisation
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.ledger.suppressions import Suppression, suppress
from comms_pipeline.previews.pictures import BROWSERS
from comms_pipeline.web.app import create_app

LANGUAGES = ["de", "en", "es", "fr"]
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
# The narrowest there is: 1280 pixels at 400 % (WCAG 1.4.10).
NARROWEST = {"width": 320, "height": 640}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
UNSUBSCRIBE, PREFERENCES, CONFIRM = (
    link(purpose) for purpose in (Purpose.UNSUBSCRIBE, Purpose.PREFERENCES, Purpose.CONFIRM)
)
AXE = Axe()


@pytest.fixture(scope="module")
def web_database(postgres: Server) -> Server:
    server = web_ledger(postgres, "web_pages")
    organisation = Organisation(
        organisation_id="wedding",
        name="Ann & Bob",
        postal_address="1 Lake Road",
        spec={"topics": {"details": "Details of the day", "photographs": "Photographs"}},
    )
    with connect(server) as connection:
        put_organisation(connection, organisation)
        apply_campaign(
            connection,
            campaign_id="invitation",
            organisation_id="wedding",
            digest="1",
            spec={"channels": ["email", "sms"]},
            templates={},
        )
    return server


@pytest.fixture(scope="module")
def address(web_database: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the app listens."""
    with serving(create_app(web_settings(tmp_path_factory.mktemp("home")), web_database)) as client:
        yield client.address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip("there is no Chromium on the PATH")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def query(web_database: Server) -> Iterator[Query]:
    """Runs a query on the ledger, which is empty at the start of every test."""
    with emptied(web_database) as run:
        yield run


@dataclass
class Visit:
    """A page, and all that its browser asked for and complained of."""

    page: Page
    requests: list[str]
    complaints: list[str]


def visiting(context: BrowserContext) -> Visit:
    visit = Visit(context.new_page(), [], [])
    visit.page.on("request", lambda request: visit.requests.append(request.url))
    visit.page.on("console", lambda message: visit.complaints.append(message.text))
    return visit


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    context = browser.new_context(base_url=address, viewport=PHONE, locale="en-GB")
    yield visiting(context)
    context.close()


@pytest.fixture
def plain(browser: Browser, address: str) -> Iterator[Page]:
    """A page of a browser that runs no script."""
    context = browser.new_context(base_url=address, viewport=PHONE, locale="en-GB", java_script_enabled=False)
    yield context.new_page()
    context.close()


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """The rules that axe finds broken, each with the elements at fault."""
    found = AXE.run(page, options=RULES).response["violations"]
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found]


def opened(path: str) -> Callable[[Page, Server], None]:
    return lambda page, _: page.goto(path) and None


def pressed(path: str, button: str) -> Callable[[Page, Server], None]:
    def steps(page: Page, _: Server) -> None:
        page.goto(path)
        page.click(f"button:has-text('{button}')")

    return steps


def stopped(page: Page, server: Server) -> None:
    row = Suppression(
        organisation_id="*",
        channel=Channel.EMAIL,
        address_key=EMAIL_KEY,
        reason=SuppressionReason.COMPLAINED,
        source="sendgrid",
    )
    with connect(server) as connection:
        suppress(connection, [row])
    page.goto(PREFERENCES)


def limited(page: Page, _: Server) -> None:
    page.goto(PREFERENCES)
    page.fill("#quiet_from", "22:00")
    page.fill("#quiet_until", "07:30")
    page.select_option("#weekly_cap", "3")
    page.uncheck("[name=wanted][value='email/photographs']")
    page.click("button[value=save]")


def mistaken(page: Page, _: Server | None = None) -> None:
    page.goto(PREFERENCES)
    page.fill("#quiet_from", "22:00")
    page.click("button[value=save]")


def outdated(page: Page, server: Server) -> None:
    page.goto(PREFERENCES)
    other = page.context.new_page()
    limited(other, server)
    other.close()
    page.uncheck("[name=wanted][value='email/details']")
    page.click("button[value=save]")


PAGES: dict[str, Callable[[Page, Server], None]] = {
    "unsubscribe": opened(UNSUBSCRIBE),
    "unsubscribed": pressed(UNSUBSCRIBE, "Unsubscribe"),
    "preferences": opened(PREFERENCES),
    "saved": limited,
    "paused": pressed(PREFERENCES, "Pause until"),
    "stopped": pressed(PREFERENCES, "Unsubscribe from everything"),
    "blocked": stopped,
    "mistake": mistaken,
    "outdated": outdated,
    "confirm": opened(CONFIRM),
    "confirmed": pressed(CONFIRM, "Yes, I want this"),
    "missing": opened("/u/nonsense"),
}


@pytest.mark.parametrize("name", list(PAGES))
def test_every_page_is_accessible_in_light_and_dark_and_keeps_to_itself(
    visit: Visit, web_database: Server, address: str, name: str
):
    PAGES[name](visit.page, web_database)
    for scheme, viewport in (("light", PHONE), ("dark", DESKTOP)):
        visit.page.emulate_media(color_scheme=scheme)
        visit.page.set_viewport_size(viewport)
        assert violations(visit.page) == []
    assert {url[: len(address) + 1] for url in visit.requests} <= {f"{address}/"}
    refusals = ("Failed to load resource: the server responded with a status of",)
    assert [said for said in visit.complaints if not said.startswith(refusals)] == []


@pytest.mark.parametrize("name", list(PAGES))
def test_no_page_scrolls_sideways_on_the_narrowest_screen(visit: Visit, web_database: Server, name: str):
    PAGES[name](visit.page, web_database)
    visit.page.set_viewport_size(NARROWEST)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", [UNSUBSCRIBE, PREFERENCES, CONFIRM, "/u/nonsense"])
def test_every_language_is_accessible_and_fits(browser: Browser, address: str, path: str, language: str):
    context = browser.new_context(base_url=address, viewport=NARROWEST, locale=language)
    page = context.new_page()
    page.goto(path)
    assert page.get_attribute("html", "lang") == language
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    context.close()


def test_another_language_is_one_link_away(plain: Page):
    plain.goto(UNSUBSCRIBE)
    plain.click("text=Deutsch")
    assert plain.inner_text("h1") == "Abmelden?"
    plain.click("text=Stattdessen auswählen")
    assert plain.inner_text("h1") == "Ihre Nachrichten von Ann & Bob"
    plain.click("button[value=save]")
    assert plain.inner_text("[role=status]") == "Gespeichert."


def test_people_choose_without_a_script(plain: Page, query: Query):
    plain.goto(PREFERENCES)
    plain.uncheck("[name=wanted][value='sms/*']")
    plain.uncheck("[name=wanted][value='email/photographs']")
    plain.fill("#quiet_from", "22:00")
    plain.fill("#quiet_until", "07:30")
    plain.select_option("#weekly_cap", "3")
    plain.click("button[value=save]")
    assert plain.inner_text("[role=status]") == "Saved."
    said = plain.inner_text("section >> nth=0")
    assert [line for line in said.splitlines()[1:] if line] == [
        "E-mail",
        "Details of the day, All other messages",
        "Text messages",
        "Details of the day, Photographs",
        "Nothing comes between 22:00 and 07:30, by your own clock.",
        "Messages a week on each channel, at most: 3.",
    ]
    assert query("select channel, topic, is_wanted from preference order by 1, 2") == [
        ("email", "photographs", False),
        ("sms", "*", False),
        ("sms", "details", True),
        ("sms", "photographs", True),
    ]


def test_people_choose_with_the_keyboard_alone(visit: Visit, query: Query):
    page = visit.page
    page.goto(PREFERENCES)
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]")
    assert query("select channel, topic, is_wanted from preference") == [("email", "photographs", False)]


def test_what_has_the_focus_is_seen(visit: Visit):
    visit.page.goto(PREFERENCES)
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"


def test_a_mistake_leads_to_the_field_and_keeps_what_was_entered(visit: Visit, query: Query):
    mistaken(visit.page)
    assert visit.page.title() == "Please look at this again – Your messages from Ann & Bob"
    assert visit.page.input_value("#quiet_from") == "22:00"
    visit.page.click("[role=alert] a")
    assert visit.page.evaluate("document.activeElement.id") == "quiet_from"
    assert query("select count(*) from personal_limit") == [(0,)]
