"""The pages' texts: the same in every language, and the one that a visitor reads."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.requests import Request

from comms_pipeline.web.languages import Languages, Texts

LANGUAGES = Languages()
TEMPLATES = Path(__file__).parents[3] / "comms_pipeline/web/templates"
BRACES = re.compile(r"\{(\w+)\}")


def texts(accepted: str = "", query: str = "") -> Texts:
    headers = [(b"accept-language", accepted.encode())] if accepted else []
    return LANGUAGES.of(Request({"type": "http", "headers": headers, "query_string": query.encode()}))


def test_there_are_four_languages_that_name_themselves():
    assert LANGUAGES.names == {"de": "Deutsch", "en": "English", "es": "Español", "fr": "Français"}


@pytest.mark.parametrize("language", ["de", "es", "fr"])
def test_every_language_has_every_text_with_the_same_braces(language: str):
    english, other = LANGUAGES.texts("en").entries, LANGUAGES.texts(language).entries
    assert other.keys() == english.keys()
    for name, text in other.items():
        assert set(BRACES.findall(text)) == set(BRACES.findall(english[name])), name
        assert text.strip(), name


@pytest.mark.parametrize("language", ["de", "es", "fr"])
def test_no_text_was_left_in_english(language: str):
    english, other = LANGUAGES.texts("en").entries, LANGUAGES.texts(language).entries
    # Loan words.
    same = {name for name, text in other.items() if text == english[name]}
    assert same <= {"channel.email", "channel.whatsapp"}


def test_every_text_a_template_names_is_there():
    named = {
        name
        for path in TEMPLATES.glob("*.html")
        for name in re.findall(r"""t\(["']([\w.]+)["'][,)]""", path.read_text("utf-8"))
    }
    assert "preferences.saved" in named
    assert named <= LANGUAGES.texts("en").entries.keys()


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"),
        ("fr", "fr"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en;q=0.5, es-MX", "es"),
        ("pt-BR,pt;q=0.9,es;q=0.8,en;q=0.7", "es"),
        ("ja", "en"),
        ("fr;q=0, es;q=0.1", "es"),
        ("*", "en"),
        ("de;q=x, fr;q=0.3", "fr"),
        ("../../etc, \x00, de", "de"),
        ("x" * 10_000, "en"),
        (";;;,,,==", "en"),
    ],
)
def test_the_visitors_language_is_the_most_liked_one_there_is(accepted: str, language: str):
    assert texts(accepted).language == language


@pytest.mark.parametrize(
    ("query", "language", "ending"),
    [("lang=fr", "fr", "?lang=fr"), ("lang=xx", "de", ""), ("lang=", "de", ""), ("lang=../en", "de", "")],
)
def test_the_address_outweighs_the_browser_and_goes_on_doing_so(query: str, language: str, ending: str):
    found = texts("de", query)
    assert (found.language, found.query) == (language, ending)


@pytest.mark.parametrize(
    ("accepted", "date", "clock"),
    [
        ("en-GB", "24 December 2026", "21:30"),
        ("en-US", "December 24, 2026", "9:30\u202fPM"),
        ("de-AT", "24. Dezember 2026", "21:30"),
        ("es", "24 de diciembre de 2026", "21:30"),
        ("fr-x-unknown", "24 décembre 2026", "21:30"),
    ],
)
def test_dates_and_times_are_those_of_the_visitors_country(accepted: str, date: str, clock: str):
    found = texts(accepted)
    assert found.date(datetime(2026, 12, 24, tzinfo=UTC)) == date
    assert found.clock(21 * 60 + 30) == clock


def test_braces_in_a_name_stay_as_they_are():
    assert texts()("preferences.title", sender="{by} & {0}") == "Your messages from {by} & {0}"


def test_a_text_that_is_not_there_is_an_error():
    with pytest.raises(KeyError):
        texts()("no.such.text")
