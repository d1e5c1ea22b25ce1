"""What an SMTP server's replies make of a message, and what its answer to EHLO offers."""

import pytest

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.providers.smtp_connection import Offers
from comms_pipeline.providers.smtp_opening import offers
from comms_pipeline.providers.smtp_replies import Reply, Stage, accepted, outcome


def reply(*lines: str) -> Reply:
    return Reply.parse([f"{line}\r".encode() for line in lines])


@pytest.mark.parametrize(
    ("lines", "code", "enhanced"),
    [
        (["250 2.1.0 Ok"], 250, "2.1.0"),
        (["250"], 250, None),
        (["250 "], 250, None),
        (["550 5.1.10 null MX"], 550, "5.1.10"),
        (["550-5.1.1 no", "550 5.1.1 such user"], 550, "5.1.1"),
        (["550 5.1.1"], 550, "5.1.1"),
        (["550 5.1.1x"], 550, None),
        # A class that contradicts the plain code is no enhanced code.
        (["450 5.1.1 greylisted"], 450, None),
        (["550 mailbox 5.1.1"], 550, None),
        (["150 what"], 0, None),
        (["650 what"], 0, None),
        (["25 what"], 0, None),
        (["HTTP/1.1 400 Bad Request"], 0, None),
        ([""], 0, None),
    ],
)
def test_replies_are_read_by_code_and_enhanced_code(
    lines: list[str], code: int, enhanced: str | None
) -> None:
    told = reply(*lines)
    assert (told.code, told.enhanced) == (code, enhanced)


@pytest.mark.parametrize(
    ("stage", "line", "fate"),
    [
        (Stage.RECIPIENT, "550 5.1.1 x", ("refused", "invalid", "5.1.1")),
        (Stage.RECIPIENT, "550 5.1.2 x", ("refused", "invalid", "5.1.2")),
        (Stage.RECIPIENT, "550 5.1.3 x", ("refused", "invalid", "5.1.3")),
        (Stage.RECIPIENT, "550 5.1.6 x", ("refused", "invalid", "5.1.6")),
        (Stage.RECIPIENT, "556 5.1.10 x", ("refused", "invalid", "5.1.10")),
        (Stage.RECIPIENT, "550 5.2.1 x", ("refused", "bounced", "5.2.1")),
        (Stage.RECIPIENT, "552 5.2.2 x", ("deferred", None, "5.2.2")),
        (Stage.RECIPIENT, "552 mailbox full", ("deferred", None, "552")),
        (Stage.RECIPIENT, "550 5.7.1 x", ("refused", "blocked", "5.7.1")),
        (Stage.RECIPIENT, "550 5.7.26 x", ("refused", "blocked", "5.7.26")),
        (Stage.RECIPIENT, "550 5.4.1 x", ("refused", "other", "5.4.1")),
        (Stage.RECIPIENT, "550 no such user", ("refused", "bounced", "550")),
        (Stage.RECIPIENT, "553 x", ("refused", "invalid", "553")),
        (Stage.RECIPIENT, "451 4.7.1 greylisted", ("deferred", None, "4.7.1")),
        (Stage.RECIPIENT, "421 x", ("deferred", None, "421")),
        (Stage.SENDER, "552 5.3.4 x", ("refused", "content", "5.3.4")),
        (Stage.SENDER, "552 x", ("refused", "content", "552")),
        (Stage.DATA, "554 5.5.1 no valid recipients", ("refused", "other", "5.5.1")),
        (Stage.MESSAGE, "552 5.3.4 x", ("refused", "content", "5.3.4")),
        (Stage.MESSAGE, "554 5.6.0 x", ("refused", "content", "5.6.0")),
        (Stage.MESSAGE, "554 5.7.1 x", ("refused", "blocked", "5.7.1")),
        (Stage.MESSAGE, "554 x", ("refused", "other", "554")),
        (Stage.MESSAGE, "421 4.3.0 x", ("deferred", None, "4.3.0")),
        (Stage.MESSAGE, "354 what", ("unknown", None, "354")),
        (Stage.MESSAGE, "garbage", ("unknown", None, "0")),
        (Stage.RECIPIENT, "garbage", ("deferred", None, "0")),
    ],
)
def test_a_reply_decides_about_its_message(
    stage: Stage, line: str, fate: tuple[str, str | None, str | None]
) -> None:
    told = outcome(stage, reply(line))
    assert (told.status, told.reason, told.code) == fate
    assert told.stop is None
    assert told.error == f"the SMTP server answered {fate[2]} to {stage}"


@pytest.mark.parametrize(
    ("stage", "line"),
    [
        (Stage.LOGIN, "535 5.7.8 x"),
        (Stage.LOGIN, "534 x"),
        (Stage.LOGIN, "504 unknown mechanism"),
        (Stage.SENDER, "530 5.7.0 authentication required"),
        (Stage.SENDER, "550 5.7.1 not your address"),
        (Stage.SENDER, "553 x"),
        (Stage.RECIPIENT, "550 5.1.8 sender's domain not found"),
        (Stage.RECIPIENT, "550 5.1.7 bad sender"),
        (Stage.CONNECTION, "554 no service for you"),
    ],
)
def test_what_no_message_can_be_blamed_for_stops_the_lane(stage: Stage, line: str) -> None:
    told = outcome(stage, reply(line))
    assert told.status == "deferred"
    assert isinstance(told.stop, ProviderMisconfigured)


def test_nothing_a_server_says_of_an_address_gets_into_an_error() -> None:
    told = outcome(Stage.RECIPIENT, reply("550 5.1.1 <ann@x.example>: no such user"))
    assert "ann" not in str(told)


@pytest.mark.parametrize(
    ("line", "provider_id"),
    [
        (b"250 2.0.0 Ok: queued as 4F1A22C\r", "4F1A22C"),
        (b"250 OK id=1rXyz-0001aB-2C\r", "1rXyz-0001aB-2C"),
        (b"250 Ok 0102018d7e2b3c4d-11aa22bb-000000\r", "0102018d7e2b3c4d-11aa22bb-000000"),
        (b"250 2.0.0 Ok\r", "our-id"),
        (b"250\r", "our-id"),
    ],
)
def test_the_servers_queue_id_is_kept_where_it_tells_one(line: bytes, provider_id: str) -> None:
    told = accepted(line, "our-id")
    assert (told.status, told.provider_message_id) == ("accepted", provider_id)


def test_an_answer_to_ehlo_is_read_whatever_its_case() -> None:
    told = reply(
        "250-mx.example greets", "250-pipelining", "250-SIZE 1000", "250-8BITMIME", "250-AUTH=LOGIN",
        "250-AUTH PLAIN XOAUTH2", "250-STARTTLS", "250 SMTPUTF8",
    )  # fmt: skip
    assert offers(told) == Offers(
        has_pipelining=True,
        has_8bit=True,
        has_utf8=True,
        has_starttls=True,
        has_size=True,
        max_bytes=1000,
        logins=frozenset({"LOGIN", "PLAIN", "XOAUTH2"}),
    )


def test_a_server_named_like_an_offer_offers_nothing() -> None:
    assert offers(reply("250 PIPELINING")) == Offers()


@pytest.mark.parametrize("line", ["250 SIZE", "250 SIZE 0", "250 SIZE many"])
def test_a_size_of_zero_or_none_is_no_limit(line: str) -> None:
    assert offers(reply("250-mx.example", line)).max_bytes is None
