"""What a token says and to whom; nothing about the pages behind it."""

import base64

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tokens import Purpose, TokenClaims, TokenKeys

KEYS = TokenKeys.from_secret(b"a secret of this test")
CONTACT = "c0" * 16
MESSAGE = "11223344556677889900aabbccddeeff"
ADDRESS_KEY = bytes(range(16))


def sign(
    keys: TokenKeys = KEYS, purpose: Purpose = Purpose.UNSUBSCRIBE, address_key: bytes = ADDRESS_KEY
) -> str:
    return keys.sign(
        purpose,
        organisation_id="wedding",
        contact_id=CONTACT,
        channel=Channel.EMAIL,
        message_id=MESSAGE,
        address_key=address_key,
    )


def test_a_token_says_what_was_signed():
    assert KEYS.verify(sign(), Purpose.UNSUBSCRIBE) == TokenClaims(
        organisation_id="wedding",
        contact_id="c0" * 16,
        channel=Channel.EMAIL,
        message_id="11223344556677889900aabbccddeeff",
        address_key=bytes(range(16)),
    )


def test_a_token_may_go_without_an_address_key():
    claims = KEYS.verify(sign(purpose=Purpose.OPEN, address_key=b""), Purpose.OPEN)
    assert claims is not None
    assert claims.address_key == b""


def test_the_layout_never_changes_for_links_already_sent():
    token = (
        "AQEBB3dlZGRpbmcRIjNEVWZ3iJkAqrvM3e7_wMDAwMDAwMDAwMDAwMDAwAABAgMEBQYHCAkKCwwNDg_guzNLtKLXgChblvh5cvNj"
    )
    assert sign() == token


SHORT = {"organisation_id": "wedding", "channel": Channel.SMS, "message_id": MESSAGE}
CLICK = "AgFHd2VkZGluZxEiM0RVZneImQCqu8zd7v-2En6jLwreLUfT"


def test_a_token_without_a_contact_is_short_and_says_the_rest():
    token = KEYS.sign(Purpose.UNSUBSCRIBE, **SHORT, address_key=ADDRESS_KEY)
    assert len(token) == 70
    assert KEYS.verify(token, Purpose.UNSUBSCRIBE) == TokenClaims(
        organisation_id="wedding",
        contact_id=None,
        channel=Channel.SMS,
        message_id="11223344556677889900aabbccddeeff",
        address_key=bytes(range(16)),
    )


def test_the_short_layout_never_changes_either():
    token = KEYS.sign(
        Purpose.CLICK,
        organisation_id="wedding",
        channel=Channel.EMAIL,
        message_id=MESSAGE,
        target="https://example.org/",
    )
    assert token == CLICK


@pytest.mark.parametrize(
    "target",
    [
        "https://example.org",
        "https://example.org/?",
        "https://evil.example/",
        "",
        "https://example.org/\ud800",
    ],
)
def test_a_click_is_valid_for_the_target_it_was_signed_with_and_no_other(target: str):
    assert KEYS.verify(CLICK, Purpose.CLICK, "https://example.org/") is not None
    assert KEYS.verify(CLICK, Purpose.CLICK, target) is None
    assert KEYS.verify(CLICK, Purpose.CLICK) is None
    assert KEYS.verify(CLICK, Purpose.OPEN) is None
    assert KEYS.verify(CLICK, Purpose.OPEN, "https://example.org/") is None


def test_every_click_has_a_target_and_nothing_else_does():
    with pytest.raises(ValueError, match="click token without a target"):
        KEYS.sign(Purpose.CLICK, **SHORT)
    with pytest.raises(ValueError, match="open token with a target"):
        KEYS.sign(Purpose.OPEN, **SHORT, target="https://example.org/")


def test_an_organisation_that_does_not_fit_is_refused():
    longest = KEYS.sign(Purpose.OPEN, **SHORT | {"organisation_id": "o" * 63})
    claims = KEYS.verify(longest, Purpose.OPEN)
    assert claims is not None
    assert claims.organisation_id == "o" * 63
    with pytest.raises(ValueError, match="at most 63 characters"):
        KEYS.sign(Purpose.OPEN, **SHORT | {"organisation_id": "o" * 64})


def test_a_token_is_short_and_safe_in_a_path():
    token = sign()
    assert len(token) == 100
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize("purpose", [Purpose.PREFERENCES, Purpose.OPEN, Purpose.CONFIRM])
def test_a_token_for_one_purpose_means_nothing_to_another(purpose: Purpose):
    assert KEYS.verify(sign(), purpose) is None
    assert KEYS.verify(sign(purpose=purpose), Purpose.UNSUBSCRIBE) is None
    assert KEYS.verify(sign(purpose=purpose), purpose) is not None


def test_every_changed_character_invalidates_the_token():
    token = sign()
    for position, character in enumerate(token):
        other = "A" if character != "A" else "B"
        assert KEYS.verify(token[:position] + other + token[position + 1 :], Purpose.UNSUBSCRIBE) is None


def test_every_changed_bit_invalidates_the_token():
    raw = base64.urlsafe_b64decode(sign() + "==")
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        token = base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
        assert KEYS.verify(token, Purpose.UNSUBSCRIBE) is None


def test_every_changed_bit_of_a_short_token_invalidates_it():
    raw = base64.urlsafe_b64decode(CLICK)
    assert base64.urlsafe_b64encode(raw).decode() == CLICK
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        token = base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
        assert KEYS.verify(token, Purpose.CLICK, "https://example.org/") is None


def test_only_one_spelling_of_a_token_is_valid():
    token = KEYS.sign(
        Purpose.OPEN, organisation_id="o", contact_id=CONTACT, channel=Channel.SMS, message_id=MESSAGE
    )
    assert len(token) % 4 != 0
    assert KEYS.verify(token, Purpose.OPEN) is not None
    # The last character carries bits that decode to nothing.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [token[:-1] + character for character in alphabet if character != token[-1]]
    assert [other for other in others if KEYS.verify(other, Purpose.OPEN)] == []
    assert KEYS.verify(token + "=", Purpose.OPEN) is None


def test_a_cut_token_is_invalid():
    token = sign()
    assert [length for length in range(len(token)) if KEYS.verify(token[:length], Purpose.UNSUBSCRIBE)] == []


@given(
    st.text(max_size=300)
    | st.binary(max_size=140).map(lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()),
    st.sampled_from(Purpose),
    st.none() | st.text(max_size=40),
)
def test_no_text_we_did_not_sign_is_valid(text: str, purpose: Purpose, target: str | None):
    assert KEYS.verify(text, purpose, target) is None


def test_another_secret_refuses_the_token():
    assert TokenKeys.from_secret(b"another").verify(sign(), Purpose.UNSUBSCRIBE) is None


def test_after_a_rotation_old_tokens_verify_and_new_ones_use_the_new_key():
    old = sign()
    rotated = TokenKeys(secrets={1: b"a secret of this test", 2: b"the next secret"})
    new = sign(rotated)
    assert rotated.verify(old, Purpose.UNSUBSCRIBE) is not None
    assert rotated.verify(new, Purpose.UNSUBSCRIBE) is not None
    assert KEYS.verify(new, Purpose.UNSUBSCRIBE) is None
    assert new != old


def test_what_a_dropped_key_signed_or_forges_is_refused():
    all_keys = TokenKeys(secrets={1: b"a secret of this test", 2: b"stolen"})
    forged = sign(all_keys)
    remaining = TokenKeys(secrets={1: b"a secret of this test", 3: b"the next secret"})
    assert all_keys.verify(forged, Purpose.UNSUBSCRIBE) is not None
    assert remaining.verify(forged, Purpose.UNSUBSCRIBE) is None
    assert remaining.verify(sign(), Purpose.UNSUBSCRIBE) is not None


@pytest.mark.parametrize("secrets", [{}, {1: b""}, {1: b"good", 2: b""}])
def test_an_empty_secret_is_refused(secrets: dict[int, bytes]):
    with pytest.raises(InvalidSettings, match="COMMS_SECRET_KEY: is empty"):
        TokenKeys(secrets=secrets)


def test_a_secret_never_shows():
    assert "a secret" not in repr(KEYS)


@given(
    st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16)), max_size=20)
)
def test_a_column_is_signed_as_each_of_its_rows(rows: list[tuple[bytes, bytes]]):
    contacts = [contact.hex() for contact, _ in rows]
    messages = [message.hex() for _, message in rows]
    address_keys = [contact[::-1] for contact, _ in rows]
    tokens = KEYS.sign_column(
        Purpose.UNSUBSCRIBE,
        organisation_id="wedding",
        contact_ids=pl.Series(contacts, dtype=pl.String),
        channel=Channel.SMS,
        message_ids=pl.Series(messages, dtype=pl.String),
        address_keys=pl.Series(address_keys, dtype=pl.Binary),
    )
    assert tokens.dtype == pl.String
    assert tokens.to_list() == [
        KEYS.sign(
            Purpose.UNSUBSCRIBE,
            organisation_id="wedding",
            contact_id=contact,
            channel=Channel.SMS,
            message_id=message,
            address_key=address_key,
        )
        for contact, message, address_key in zip(contacts, messages, address_keys, strict=True)
    ]


def test_a_column_without_address_keys_is_signed_too():
    tokens = KEYS.sign_column(
        Purpose.OPEN,
        organisation_id="wedding",
        contact_ids=pl.Series([CONTACT]),
        channel=Channel.EMAIL,
        message_ids=pl.Series([MESSAGE]),
    )
    assert tokens.to_list() == [sign(purpose=Purpose.OPEN, address_key=b"")]


def test_a_column_without_contacts_is_short():
    tokens = KEYS.sign_column(
        Purpose.UNSUBSCRIBE,
        organisation_id="wedding",
        channel=Channel.SMS,
        message_ids=pl.Series([MESSAGE]),
        address_keys=pl.Series([ADDRESS_KEY]),
    )
    assert tokens.to_list() == [KEYS.sign(Purpose.UNSUBSCRIBE, **SHORT, address_key=ADDRESS_KEY)]


@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.text(max_size=30)), max_size=20))
def test_a_column_of_clicks_is_signed_as_each_of_its_rows(rows: list[tuple[bytes, str]]):
    claims = {"organisation_id": "wedding", "channel": Channel.EMAIL}
    messages = pl.Series([message.hex() for message, _ in rows], dtype=pl.String)
    targets = pl.Series([target for _, target in rows], dtype=pl.String)
    each = KEYS.click_column(targets, message_ids=messages, **claims)
    assert each.to_list() == [
        KEYS.sign(Purpose.CLICK, message_id=message, target=target, **claims)
        for message, target in zip(messages, targets, strict=True)
    ]
    shared = KEYS.click_column("https://example.org/", message_ids=messages, **claims)
    assert shared.to_list() == [
        KEYS.sign(Purpose.CLICK, message_id=message, target="https://example.org/", **claims)
        for message in messages
    ]


@pytest.mark.parametrize("targets", [["https://example.org/", None], ["https://example.org/"]])
def test_a_message_without_a_target_is_refused(targets: list[str | None]):
    with pytest.raises(ValueError, match=r"needs a target|shorter"):
        KEYS.click_column(
            pl.Series("target", targets, dtype=pl.String),
            organisation_id="wedding",
            channel=Channel.EMAIL,
            message_ids=pl.Series([MESSAGE, MESSAGE]),
        )


@pytest.mark.parametrize("wrong", [None, "", "not hexadecimal at all, you see..", "c0" * 15])
def test_ids_of_another_shape_are_refused(wrong: str | None):
    with pytest.raises(ValueError, match="every value must be 16 bytes"):
        KEYS.sign_column(
            Purpose.OPEN,
            organisation_id="wedding",
            contact_ids=pl.Series("contact_id", [CONTACT, wrong]),
            channel=Channel.EMAIL,
            message_ids=pl.Series("message_id", [MESSAGE, MESSAGE]),
        )


@pytest.mark.parametrize("wrong", ["", "c0" * 15, "c0" * 17])
def test_an_id_of_another_width_is_refused(wrong: str):
    with pytest.raises(ValueError, match="expected"):
        KEYS.sign(
            Purpose.OPEN,
            organisation_id="wedding",
            contact_id=wrong,
            channel=Channel.EMAIL,
            message_id=MESSAGE,
        )
