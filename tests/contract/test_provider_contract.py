"""What every sending provider keeps to, asked of each lane there is against its real HTTP API in the sandbox."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from sending import (
    AUTH_TOKEN,
    MAILGUN_DOMAIN,
    MAILGUN_KEY,
    PUBLIC_URL,
    RESEND_KEY,
    SandboxProcess,
    content,
    free_port,
    new_send_id,
    recipients,
)

from comms_pipeline.domain.content import Content
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.base import RESULTS, Envelope, Found, SendReport
from comms_pipeline.providers.registry import Providers
from comms_pipeline.settings import Settings

# The sandbox speaks HTTP only; SMTP is asked the same of a real server, in test_smtp_provider.py.
LANES = [lane for lane in Providers(Settings(_env_file=None)).lanes if lane != "email:smtp"]
MARGIN = timedelta(minutes=5)
CREDENTIALS = {
    "resend_api_key": RESEND_KEY,
    "mailgun_api_key": MAILGUN_KEY,
    "mailgun_domain": MAILGUN_DOMAIN,
}
"""Of the lanes that other tests do without: there they would stand in for the first one of their channel."""
BAD_ADDRESSES = {
    Channel.EMAIL: ["nobody at all", "nobody@nowhere"],
    Channel.SMS: ["+15550100002"],
    Channel.WHATSAPP: ["+15550100002"],
}
HOSTILE = [
    "-s0- -s1- -s0.000000- {{ s1 }} {% raw %} ${s1} %s1% [%s1%] <%s1%>",
    "%recipient.s1% %recipient.s1_% %recipient% %recipient_email% %unsubscribe_url% %",
    "line\r\nbreak\nand\rmore\ttab",
    "<script>alert('x')</script> & \"quotes\" \\ back\\n",
    "😀 Zürich naïve Ελλάδα 漢字 \u200b ‮",
    "-",
    "s1",
    "",
]


def channel_of(lane: str) -> Channel:
    return Channel(lane.partition(":")[0])


every_lane = pytest.mark.parametrize("lane", LANES)
every_email_lane = pytest.mark.parametrize(
    "lane", [lane for lane in LANES if channel_of(lane) is Channel.EMAIL]
)
every_sms_lane = pytest.mark.parametrize("lane", [lane for lane in LANES if channel_of(lane) is Channel.SMS])
every_text_lane = pytest.mark.parametrize(
    "lane", [lane for lane in LANES if channel_of(lane) is not Channel.EMAIL]
)


def fault_of(lane: str, **rule: object) -> dict[str, object]:
    return {"provider": lane.partition(":")[2], **rule}


def envelope(lane: str, payload: pl.DataFrame, shared: Content | None = None) -> Envelope:
    return Envelope(
        batch_id=int.from_bytes(new_send_id()[-6:].encode()),
        send_id="spring-1",
        organisation_id="acme",
        content=shared or content(channel_of(lane)),
        recipients=payload,
    )


def providers_of(sandbox: SandboxProcess, timeout_seconds: float = 30.0, **changes: Any) -> Providers:
    """Every lane's provider, talking to the sandbox."""
    return Providers(sandbox.settings(**CREDENTIALS | changes), timeout_seconds=timeout_seconds)


def people(lane: str, *names: str) -> pl.DataFrame:
    return recipients(channel_of(lane), list(names), new_send_id())


def send(providers: Providers, lane: str, sent: Envelope) -> SendReport:
    """Send, and check what holds for every answer: each message exactly once, in the agreed columns."""

    async def within() -> SendReport:
        async with providers.for_lane(lane) as provider:
            return await provider.send(sent)

    report = asyncio.run(within())
    assert report.results.match_to_schema(RESULTS).schema == RESULTS
    assert sorted(report.results["message_id"]) == sorted(sent.recipients["message_id"])
    return report


def find(providers: Providers, lane: str, sent: Envelope) -> Found | None:
    async def within() -> Found | None:
        now = datetime.now(UTC)
        async with providers.for_lane(lane) as provider:
            return await provider.find(sent, now - MARGIN, now + MARGIN)

    return asyncio.run(within())


def statuses(report: SendReport) -> set[str]:
    return set(report.results["status"])


@every_lane
def test_accepted_messages_carry_the_providers_ids(lane: str, sandbox: SandboxProcess) -> None:
    sent = envelope(lane, people(lane, "ann", "bob", "cem"))
    report = send(providers_of(sandbox), lane, sent)
    told = dict(report.results.select("message_id", "provider_message_id").iter_rows())
    recorded = sandbox.accepted(sent.recipients["message_id"])
    assert statuses(report) == {"accepted"}
    assert told == {message_id: accepted.provider_id for message_id, accepted in recorded.items()}
    assert {accepted.times for accepted in recorded.values()} == {1}
    assert (report.error, report.stop, report.retry_after_seconds) == (None, None, None)


@every_lane
def test_our_ids_arrive_with_the_message(lane: str, sandbox: SandboxProcess) -> None:
    sent = envelope(lane, people(lane, "ann"))
    send(providers_of(sandbox), lane, sent)
    message_id = sent.recipients["message_id"][0]
    shown = sandbox.message(message_id)
    assert shown
    assert (shown["message"], shown["org"]) == (message_id, "acme")
    prefix = "whatsapp:" if channel_of(lane) is Channel.WHATSAPP else ""
    assert shown["to"] == prefix + sent.recipients["address"][0]


@pytest.mark.parametrize(
    ("lane", "address"), [(lane, address) for lane in LANES for address in BAD_ADDRESSES[channel_of(lane)]]
)
def test_a_bad_address_is_refused_alone_and_the_others_still_go(
    lane: str, address: str, sandbox: SandboxProcess
) -> None:
    payload = people(lane, "ann", "bad", "cem")
    bad = payload["message_id"][1]
    payload = payload.with_columns(
        address=pl.when(pl.col("message_id") == bad).then(pl.lit(address)).otherwise("address")
    )
    refused, waiting = [], payload
    for _ in range(2):
        report = send(providers_of(sandbox), lane, envelope(lane, waiting))
        refused += report.results.filter(status="refused").select("message_id", "reason").rows()
        again = report.results.filter(status="deferred")["message_id"]
        assert again.is_empty() or report.retry_after_seconds == 0
        waiting = waiting.filter(pl.col("message_id").is_in(again.implode()))
        if waiting.is_empty():
            break
    assert refused == [(bad, "invalid")]
    assert set(sandbox.accepted(payload["message_id"])) == set(payload["message_id"]) - {bad}


@every_lane
def test_data_arrives_byte_for_byte(lane: str, sandbox: SandboxProcess) -> None:
    names = [f"p{number}" for number in range(len(HOSTILE))]
    payload = people(lane, *names).with_columns(s0=pl.Series(HOSTILE), s1=pl.Series(HOSTILE[::-1]))
    skeleton = ("a ", 0, 1, 0, " {{ s0 }} -s0- %recipient.s0% %recipient% <b> ", 1, " z")
    parts = {"text": skeleton, "html": skeleton, "subject": ("a ", 0, " z")}
    if channel_of(lane) is not Channel.EMAIL:
        parts = {"text": skeleton}
    report = send(
        providers_of(sandbox), lane, envelope(lane, payload, content(channel_of(lane), parts=parts))
    )
    assert statuses(report) == {"accepted"}
    for message_id, s0, s1 in payload.select("message_id", "s0", "s1").iter_rows():
        shown = sandbox.message(message_id)
        assert shown
        expected = f"a {s0}{s1}{s0} {{{{ s0 }}}} -s0- %recipient.s0% %recipient% <b> {s1} z"
        assert shown["text"] == expected
        if "html" in parts:
            assert (shown["html"], shown["subject"]) == (expected, f"a {s0} z")


@every_lane
def test_a_refused_credential_stops_the_lane_and_sends_nothing(lane: str, sandbox: SandboxProcess) -> None:
    wrong = providers_of(
        sandbox,
        sendgrid_api_key="SG.wrong",
        twilio_auth_token=AUTH_TOKEN + "-wrong",
        resend_api_key="re_wrong",
        mailgun_api_key="key-wrong",
    )
    sent = envelope(lane, people(lane, "ann", "bob"))
    report = send(wrong, lane, sent)
    assert isinstance(report.stop, ProviderMisconfigured)
    assert statuses(report) == {"deferred"}
    assert sandbox.accepted(sent.recipients["message_id"]) == {}
    assert find(wrong, lane, sent) is None


@every_lane
@pytest.mark.parametrize(
    ("code", "retry_after", "status"),
    [
        (408, None, "deferred"),
        (429, 7, "deferred"),
        (429, None, "deferred"),
        (500, None, "deferred"),
        (502, None, "unknown"),
        (503, None, "deferred"),
        (503, 30, "deferred"),
        (504, None, "unknown"),
    ],
)
def test_a_passing_fault_is_deferred_and_a_gateways_answer_is_in_doubt(
    lane: str, sandbox: SandboxProcess, code: int, retry_after: int | None, status: str
) -> None:
    sandbox.break_things(fault_of(lane, kind="status", code=code, retry_after=retry_after))
    sent = envelope(lane, people(lane, "ann", "bob"))
    report = send(providers_of(sandbox), lane, sent)
    assert statuses(report) == {status}
    assert report.retry_after_seconds == retry_after
    assert report.stop is None
    assert report.error


@every_lane
def test_too_many_requests_are_told_of(lane: str, sandbox: SandboxProcess) -> None:
    sent = envelope(lane, people(lane, "ann"))
    sandbox.break_things(fault_of(lane, kind="status", code=429, count=1))
    assert send(providers_of(sandbox), lane, sent).is_throttled is True
    assert send(providers_of(sandbox), lane, sent).is_throttled is False


@every_lane
def test_what_must_wait_for_its_turn_too_long_is_not_sent(lane: str, sandbox: SandboxProcess) -> None:
    async def later() -> float:
        return 12.5

    sent = replace(envelope(lane, people(lane, "ann", "bob")), pace=later)
    report = send(providers_of(sandbox), lane, sent)
    assert statuses(report) == {"deferred"}
    assert (report.retry_after_seconds, report.error, report.is_throttled) == (12.5, None, False)
    assert sandbox.accepted(sent.recipients["message_id"]) == {}


@every_lane
@pytest.mark.parametrize("code", [403, 404, 405])
def test_what_no_message_can_be_blamed_for_stops_the_lane(
    lane: str, sandbox: SandboxProcess, code: int
) -> None:
    sandbox.break_things(fault_of(lane, kind="status", code=code))
    report = send(providers_of(sandbox), lane, envelope(lane, people(lane, "ann", "bob")))
    assert isinstance(report.stop, ProviderMisconfigured)
    assert statuses(report) == {"deferred"}


@every_lane
def test_the_providers_own_rate_limit_says_how_long_to_wait(lane: str, sandbox: SandboxProcess) -> None:
    sandbox.break_things(fault_of(lane, kind="rate_limit", requests=0, window_seconds=1000))
    report = send(providers_of(sandbox), lane, envelope(lane, people(lane, "ann")))
    assert statuses(report) == {"deferred"}
    assert report.retry_after_seconds is not None
    assert 1 <= report.retry_after_seconds <= 1000


@every_lane
def test_a_refused_connection_is_surely_not_sent(lane: str, sandbox: SandboxProcess) -> None:
    nobody = providers_of(sandbox, sandbox_port=free_port())
    sent = envelope(lane, people(lane, "ann"))
    report = send(nobody, lane, sent)
    assert statuses(report) == {"deferred"}
    assert report.error
    assert report.error.startswith("cannot connect")
    assert find(nobody, lane, sent) is None


@every_lane
@pytest.mark.parametrize("kind", ["reset_after_accept", "timeout_after_accept"])
def test_an_answer_lost_after_acceptance_is_in_doubt_until_the_provider_says_accepted(
    lane: str, sandbox: SandboxProcess, kind: str
) -> None:
    sandbox.break_things(fault_of(lane, kind=kind, seconds=0.6))
    providers = providers_of(sandbox, timeout_seconds=0.3)
    sent = envelope(lane, people(lane, "ann", "bob"))
    report = send(providers, lane, sent)
    assert statuses(report) == {"unknown"}
    recorded = sandbox.accepted(sent.recipients["message_id"])
    assert len(recorded) == 2
    found = find(providers_of(sandbox), lane, sent)
    assert found
    assert found.accepted == {message_id: told.provider_id for message_id, told in recorded.items()}


@every_lane
@pytest.mark.parametrize("kind", ["reset_before", "timeout_before", "wrong_body"])
def test_an_answer_lost_before_acceptance_is_in_doubt_until_the_provider_says_no(
    lane: str, sandbox: SandboxProcess, kind: str
) -> None:
    sandbox.break_things(fault_of(lane, kind=kind, seconds=0.6))
    sent = envelope(lane, people(lane, "ann", "bob"))
    report = send(providers_of(sandbox, timeout_seconds=0.3), lane, sent)
    assert statuses(report) == {"unknown"}
    assert sandbox.accepted(sent.recipients["message_id"]) == {}
    assert find(providers_of(sandbox), lane, sent) == Found(accepted={})


@every_lane
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "code": 503},
        {"kind": "status", "code": 429},
        {"kind": "wrong_body"},
        {"kind": "reset_before"},
        {"kind": "timeout_before", "seconds": 0.6},
    ],
    ids=["503", "429", "wrong body", "reset", "timeout"],
)
def test_a_record_that_cannot_be_read_concludes_nothing(
    lane: str, sandbox: SandboxProcess, fault: dict[str, object]
) -> None:
    sent = envelope(lane, people(lane, "ann"))
    send(providers_of(sandbox), lane, sent)
    sandbox.break_things(fault_of(lane, on="read", **fault))
    assert find(providers_of(sandbox, timeout_seconds=0.3), lane, sent) is None


@every_lane
def test_another_batch_to_the_same_people_does_not_vouch_for_this_one(
    lane: str, sandbox: SandboxProcess
) -> None:
    yesterday = people(lane, "ann", "bob")
    today = yesterday.with_columns(
        message_id=pl.col("message_id").str.reverse(), s0=pl.lit("another text for you")
    )
    send(providers_of(sandbox), lane, envelope(lane, yesterday))
    assert find(providers_of(sandbox), lane, envelope(lane, today)) == Found(accepted={})


@every_lane
def test_a_batch_of_this_number_to_other_people_does_not_vouch_for_ours(
    lane: str, sandbox: SandboxProcess
) -> None:
    theirs = envelope(lane, people(lane, "their.ann", "their.bob"))
    ours = replace(theirs, recipients=people(lane, "our.ann", "our.bob"))
    assert statuses(send(providers_of(sandbox), lane, theirs)) == {"accepted"}
    assert find(providers_of(sandbox), lane, ours) == Found(accepted={})


@every_email_lane
def test_one_click_headers_arrive_where_the_content_has_them(lane: str, sandbox: SandboxProcess) -> None:
    with_headers = envelope(lane, people(lane, "ann"), content(channel_of(lane), has_one_click=True))
    without = envelope(lane, people(lane, "bob"))
    for sent in (with_headers, without):
        assert statuses(send(providers_of(sandbox), lane, sent)) == {"accepted"}
    ann = sandbox.message(with_headers.recipients["message_id"][0])
    bob = sandbox.message(without.recipients["message_id"][0])
    assert ann
    assert ann["headers"] == {
        "List-Unsubscribe": f"<{PUBLIC_URL}/u/ann>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert bob
    assert bob["headers"] == {}


@every_text_lane
def test_whoever_opted_out_at_the_provider_is_refused_as_unsubscribed(
    lane: str, sandbox: SandboxProcess
) -> None:
    payload = people(lane, "ann", "stop").with_columns(
        address=pl.when(pl.col("unsubscribe_url").str.ends_with("stop"))
        .then(pl.lit("+15550100009"))
        .otherwise("address")
    )
    report = send(providers_of(sandbox), lane, envelope(lane, payload))
    assert report.results.select("status", "reason", "code").rows() == [
        ("accepted", None, None),
        ("refused", "unsubscribed", "21610"),
    ]


@every_sms_lane
@pytest.mark.parametrize("sender", ["+15005550006", "MGM Grand", "MG" + "a" * 32, "12345"])
def test_a_campaign_may_send_under_a_number_a_name_or_a_service(
    lane: str, sandbox: SandboxProcess, sender: str
) -> None:
    sent = envelope(lane, people(lane, "ann"), content(channel_of(lane), sender=sender))
    assert statuses(send(providers_of(sandbox), lane, sent)) == {"accepted"}


@every_text_lane
def test_two_like_texts_to_one_number_are_found_as_often_as_they_were_accepted(
    lane: str, sandbox: SandboxProcess
) -> None:
    payload = people(lane, "ann", "twin").with_columns(pl.all().exclude("message_id").first())
    only_ann = envelope(lane, payload.head(1))
    report = send(providers_of(sandbox), lane, only_ann)
    found = find(providers_of(sandbox), lane, envelope(lane, payload))
    assert found
    assert list(found.accepted.values()) == report.results["provider_message_id"].to_list()
