"""Every spelling of an address is found, and no address of anybody else."""

import re

import pytest

from comms_pipeline.privacy.spellings import Spellings

ADA = Spellings(address="Ada.Lovelace+vip@x.example")
PHONE = Spellings(address="+12025550101")
ACCENT = Spellings(address="zoë@x.example")


@pytest.mark.parametrize(
    "text",
    [
        "Ada.Lovelace+vip@x.example",
        "ada.lovelace+VIP@X.EXAMPLE",
        "<ada.lovelace+vip@x.example>",
        "To=Ada.Lovelace%2Bvip%40x.example&From=b",
        "name%3AAda.Lovelace%2bvip%40x.example",
        "%22ada.lovelace%2Bvip%40x.example%22",
        r'{"text": "\nada.lovelace+vip@x.example"}',
        r'{"email":"ada.lovelace\u002bvip\u0040x.example"}',
        r'{"text":"\u003cada.lovelace+vip@x.example\u003e"}',
        "ada.lovelace&#43;vip&#64;x.example",
        "ada.lovelace&#x2B;vip&#x40;x.example",
        "write to ada.lovelace+vip@x.example.",
        "mailto:ada.lovelace+vip@x.example?subject=x",
    ],
)
def test_email_is_found_however_it_is_written(text: str) -> None:
    assert ADA.is_in(text.encode())
    assert not ADA.is_in(ADA.erased_from(text.encode()))


@pytest.mark.parametrize(
    "text",
    [
        "mada.lovelace+vip@x.example",
        "my-ada.lovelace+vip@x.example",
        "x%2Bada.lovelace%2Bvip%40x.example",
        "ada.lovelace+vip@x.example.org",
        "ada.lovelace+vip@x.example-two.org",
        "ada.lovelace@x.example",
        "adaxlovelace+vip@x.example",
    ],
)
def test_longer_or_other_email_is_left_alone(text: str) -> None:
    assert not ADA.is_in(text.encode())
    assert ADA.erased_from(text.encode()) == text.encode()


def test_plus_is_a_space_in_forms_only() -> None:
    form = b"Body=mail+ada.lovelace%2Bvip%40x.example+now"
    assert ADA.erased_from(form) == b"Body=mail+<erased>+now"
    assert not ADA.is_in(b"friends+ada.lovelace+vip@x.example")


@pytest.mark.parametrize(
    "text",
    [
        "+12025550101",
        "To=%2B12025550101&x",
        "whatsapp:+12025550101",
        "WaId=12025550101",
        "1 (202) 555-0101",
        "a12025550101",
    ],
)
def test_phone_is_found_however_it_is_written(text: str) -> None:
    assert PHONE.is_in(text.encode())
    assert not PHONE.is_in(PHONE.erased_from(text.encode()))


@pytest.mark.parametrize("text", ["+120255501012", "+912025550101", "1202555010", "+12025550102"])
def test_longer_or_other_phone_is_left_alone(text: str) -> None:
    assert not PHONE.is_in(text.encode())


@pytest.mark.parametrize(
    "data",
    [
        "zoë@x.example".encode(),
        "ZOË@x.example".encode(),
        b"zo%C3%ABb@x.example"[:8] + b"%40x.example",
        rb"zo\u00eb@x.example",
        rb"zo\303\253@x.example",
    ],
)
def test_letters_beyond_ascii_are_found_as_escapes_too(data: bytes) -> None:
    assert ACCENT.is_in(data)


def test_neighbours_that_share_a_separator_are_all_erased() -> None:
    assert PHONE.erased_from(b"12025550101,12025550101,12025550101") == b"<erased>,<erased>,<erased>"
    assert ADA.erased_from(f"{ADA.address} {ADA.address}".encode()) == b"<erased> <erased>"


def test_patterns_have_two_groups_and_no_look_around() -> None:
    for each in (ADA, PHONE, ACCENT):
        for pattern in (each.pattern, each.form_pattern):
            assert re.compile(pattern).groups == 2
            assert re.search(r"\(\?[=!<]", pattern) is None
