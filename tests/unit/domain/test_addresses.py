"""Addresses: what is valid, what is the same mailbox, and columns that never disagree with the plain truth."""

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comms_pipeline.domain.addresses import (
    INVALID_EMAIL,
    INVALID_PHONE,
    address_key,
    address_keys,
    email_column,
    email_key,
    email_keys,
    normalise_email,
    normalise_phone,
    phone_column,
)
from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.phone_plans import certain_e164

SECRET = b"a secret of this test"

EMAILS = [
    (" Ada.Lovelace+news@Example.COM ", "Ada.Lovelace+news@Example.COM"),
    ("c1@shop.example", "c1@shop.example"),
    ("o'brien@mail.example.com", "o'brien@mail.example.com"),
    ("jürgen@müller.example", "jürgen@xn--mller-kva.example"),
    ("ju\u0308rgen@example.com", "jürgen@example.com"),
    ("a@xn--mller-kva.example", "a@xn--mller-kva.example"),
    ("x" * 64 + "@example.com", "x" * 64 + "@example.com"),
    ("x" * 65 + "@example.com", None),
    ("a@" + "b" * 63 + ".com", "a@" + "b" * 63 + ".com"),
    ("a@" + "b" * 64 + ".com", None),
    ("a@example", None),
    ("a@example.test", None),
    ("a@printer.LOCAL", None),
    ("a@1.2.3.4", None),
    ("a..b@example.com", None),
    (".a@example.com", None),
    ("a@-example.com", None),
    ("a@ab--cd.com", None),
    ("a b@example.com", None),
    ('"a b"@example.com', None),
    ("Ada <a@example.com>", None),
    ("a@example.com\nbcc: b@example.com", None),
    ("a@example.com,b@example.com", None),
    ("a" * 5_000 + "@example.com", None),
]

PHONES = [
    ("+12125550123", "US", "+12125550123"),
    ("(212) 555-0123", "US", "+12125550123"),
    ("1-212-555-0123", "US", "+12125550123"),
    ("212.555.0123", "us", "+12125550123"),
    ("tel:+1-212-555-0123", "US", "+12125550123"),
    ("416 555 0134", "US", "+14165550134"),
    ("07400 123456", "GB", "+447400123456"),
    ("+44 (0)20 7946 0123", "GB", "+442079460123"),
    ("0044 20 7946 0123", "DE", "+442079460123"),
    ("011 44 20 7946 0123", "US", "+442079460123"),
    ("06 698 12345", "IT", "+390669812345"),
    ("+800 1234 5678", "US", "+80012345678"),
    ("212-555-0123 ext. 7", "US", None),
    ("+1 555 555 0123", "US", None),
    ("+44 7700 900123", "GB", None),
    ("555-0123", "US", None),
    ("12", "US", None),
    ("not a number", "US", None),
]

PLAUSIBLE_EMAIL = st.from_regex(
    r"\A[ ]?[A-Za-z0-9.+'-]{1,8}@([A-Za-z0-9-]{1,5}\.){1,2}(com|c0m|example|test|LOCAL|xn--p1ai|c)[ \n]?\Z"
)
REGION = st.sampled_from(
    ["US", "CA", "AG", "GB", "IM", "DE", "FR", "IT", "VA", "BR", "MX", "AR", "AU", "HU", "KZ"]
)
CODE = st.sampled_from(
    ["", "+", "1", "+1", "44", "+44", "49", "+49", "39", "+39", "55", "0055", "+7", "+800", "06"]
)
NATIONAL = st.sampled_from(
    ["2125550123", "7400123456", "2079460123", "0669812345", "15123456789", "1123456789"]
)


@pytest.mark.parametrize(("given_text", "expected"), EMAILS)
def test_email_is_trimmed_and_kept_or_refused(given_text: str, expected: str | None) -> None:
    assert normalise_email(given_text) == expected


def test_email_column_gives_normal_forms_and_reasons() -> None:
    values, reasons = email_column(pl.Series("email", [text for text, _ in EMAILS] + [None, "", "  "]))

    assert values.name == "email"
    assert values.to_list() == [expected for _, expected in EMAILS] + [None, None, None]
    assert reasons.to_list() == [None if expected else INVALID_EMAIL for _, expected in EMAILS] + [None] * 3


@given(st.lists(PLAUSIBLE_EMAIL | st.emails() | st.text(max_size=20), max_size=20))
def test_email_column_agrees_with_the_library_on_every_value(texts: list[str]) -> None:
    values, _ = email_column(pl.Series("email", texts, pl.String))

    assert values.to_list() == [normalise_email(text) for text in texts]


@pytest.mark.parametrize(("number", "region", "expected"), PHONES)
def test_phone_becomes_e164_or_is_refused(number: str, region: str, expected: str | None) -> None:
    assert normalise_phone(number, region) == expected


def test_phone_column_reads_each_number_in_its_region() -> None:
    numbers = pl.Series("phone", [number for number, _, _ in PHONES] + [None, " "])
    regions = pl.Series([region for _, region, _ in PHONES] + ["US", "US"])

    values, reasons = phone_column(numbers, regions)

    assert values.name == "phone"
    assert values.to_list() == [expected for _, _, expected in PHONES] + [None, None]
    assert (
        reasons.to_list() == [None if expected else INVALID_PHONE for _, _, expected in PHONES] + [None] * 2
    )


def test_phone_column_of_nothing_has_no_numbers_and_no_reasons() -> None:
    values, reasons = phone_column(pl.Series("phone", [None, ""], pl.String), "US")

    assert values.to_list() == [None, None]
    assert reasons.to_list() == [None, None]
    assert email_column(pl.Series("email", [], pl.String))[0].len() == 0


@given(
    st.lists(
        st.builds(
            lambda code, national, cut, noise: code + national[:cut] + noise + national[cut + len(noise) :],
            CODE,
            NATIONAL,
            st.integers(0, 10),
            st.text("0123456789 ()-.", max_size=4),
        ),
        min_size=1,
        max_size=30,
    ),
    REGION,
)
@example(["268 464 1234", "4641234", "+12684641234"], "AG")
@example(["(+1) 212 555 0123", "+1 (212) 555-0123", "-212-555-0123"], "US")
def test_numbers_called_certain_are_exactly_what_the_library_makes_of_them(
    numbers: list[str], region: str
) -> None:
    certain = certain_e164(pl.Series(numbers), region).to_list()
    library = [normalise_phone(number, region) for number in numbers]

    assert [found for found in certain if found] == [
        known for found, known in zip(certain, library, strict=True) if found
    ]


def test_every_plan_of_the_library_can_be_used_over_columns() -> None:
    import phonenumbers

    examples = [
        (region, phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        if (number := phonenumbers.example_number(region)) is not None
    ]
    certain = [certain_e164(pl.Series([number]), region)[0] for region, number in examples]

    assert len(examples) > 200
    assert [found for found in certain if found] == [
        number for found, (_, number) in zip(certain, examples, strict=True) if found
    ]
    assert sum(found is not None for found in certain) > 200


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (" Ada@Example.COM ", "ada@example.com"),
        ("JÜRGEN@MÜLLER.example", "ju\u0308rgen@xn--mller-kva.example"),
        ("straße@example.com", "STRASSE@example.com"),
        ("\u1e9e@example.com", "ss@example.com"),
    ],
)
def test_spellings_of_one_mailbox_have_one_key(one: str, other: str) -> None:
    assert email_key(one) == email_key(other)
    assert address_key(one, Channel.EMAIL, SECRET) == address_key(other, Channel.EMAIL, SECRET)


def test_plus_tags_and_dots_make_different_mailboxes() -> None:
    assert (
        len({email_key(text) for text in ("ada@example.com", "a.da@example.com", "ada+x@example.com")}) == 3
    )


@given(st.text(max_size=30) | st.emails())
def test_an_email_key_is_its_own_key_and_the_column_agrees(text: str) -> None:
    assert email_keys(pl.Series([text])).to_list() == [email_key(text)]
    if "@" in text and normalise_email(text):
        assert email_key(email_key(text)) == email_key(text)


def test_address_keys_are_hmacs_separated_by_channel() -> None:
    emails = address_keys(pl.Series("key", ["Ada@example.com", None]), Channel.EMAIL, SECRET)
    numbers = pl.Series("key", ["+12125550123"])
    sms = address_keys(numbers, Channel.SMS, SECRET)
    whatsapp = address_keys(numbers, Channel.WHATSAPP, SECRET)

    assert emails.dtype == pl.Binary
    assert emails.to_list() == [bytes.fromhex("0a953007c1890fdb4d17c19dca9fd0f0"), None]
    assert sms.to_list() == [bytes.fromhex("2fc593b90446000836f9f55848f73b8f")]
    assert sms.to_list() == [address_key(" +12125550123", Channel.SMS, SECRET)]
    assert whatsapp.to_list() != sms.to_list()


@given(st.binary(min_size=1, max_size=200), st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_column_of_keys_agrees_with_the_single_key_for_secrets_of_any_length(
    secret: bytes, address: str
) -> None:
    assert address_keys(pl.Series([address, None]), Channel.EMAIL, secret).to_list() == [
        address_key(address, Channel.EMAIL, secret),
        None,
    ]


def test_without_a_secret_no_address_key_is_made() -> None:
    with pytest.raises(InvalidSettings, match="COMMS_SECRET_KEY"):
        address_key("ada@example.com", Channel.EMAIL, b"")
    with pytest.raises(InvalidSettings, match="COMMS_SECRET_KEY"):
        address_keys(pl.Series(["ada@example.com"]), Channel.EMAIL, b"")
