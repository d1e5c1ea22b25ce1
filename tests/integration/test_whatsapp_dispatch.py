"""WhatsApp, from the ledger to the sandbox: free text only answers people, a Content template reaches everybody."""

import asyncio
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from sending import SECRET, Ledger, SandboxProcess, content, new_send_id, recipients

from comms_pipeline.dispatch.send import run_lane
from comms_pipeline.domain.addresses import address_key
from comms_pipeline.domain.content import Content, variable_part
from comms_pipeline.domain.event import SuppressionReason
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import suppressions, windows
from comms_pipeline.ledger.suppressions import EVERY_ORGANISATION, Suppression
from comms_pipeline.providers.base import Envelope, Found

LANE = "whatsapp:twilio"
TEMPLATE = content(
    Channel.WHATSAPP,
    parts={variable_part("1"): (0,), variable_part("2"): ("spring",)},
    content_sid="HX" + "a" * 32,
)
MARGIN = timedelta(minutes=5)


def people(send_id: str, count: int) -> pl.DataFrame:
    return recipients(Channel.WHATSAPP, [f"p{number}" for number in range(count)], send_id)


def wrote(ledger: Ledger, keys: pl.Series, ago: str = "1 hour") -> None:
    for key in keys:
        with ledger.connection() as connection:
            windows.note_inbound(connection, Channel.WHATSAPP, key)
        ledger.do("update last_inbound set at = now() - %s::interval where address_key = %s", ago, key)


def counts_of(ledger: Ledger, sandbox: SandboxProcess, send_id: str) -> dict[str, int]:
    report = run_lane(ledger.connect, sandbox.providers(), lane=LANE, send_id=send_id, linger_seconds=0)
    return report.counts


def test_free_text_goes_only_to_those_who_wrote_within_a_day(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = people(send_id, 5)
    ledger.enqueue(send_id, LANE, payload, batch_size=2)
    keys = payload["address_key"]
    wrote(ledger, keys[:2], "23 hours 59 minutes")
    wrote(ledger, keys[2:4], "24 hours 1 minute")
    assert counts_of(ledger, sandbox, send_id) == {"accepted": 2, "refused": 3}
    ids = payload["message_id"]
    told = ledger.outcomes(send_id).select("message_id", "status", "reason")
    assert sorted(told.filter(status="refused").rows()) == sorted(
        (message_id, "refused", "window") for message_id in ids[2:]
    )
    assert set(sandbox.accepted(ids)) == set(ids[:2])


def test_a_content_template_needs_nobodys_message(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = people(send_id, 3)
    ledger.enqueue(send_id, LANE, payload, shared=TEMPLATE)
    assert counts_of(ledger, sandbox, send_id) == {"accepted": 3}
    shown = sandbox.message(payload["message_id"][1])
    assert shown
    assert shown["text"] == f"[{TEMPLATE.content_sid}] p1 of {send_id} spring"
    assert shown["to"] == f"whatsapp:{payload['address'][1]}"


def test_a_text_message_asks_for_nobodys_either(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    ledger.enqueue(send_id, "sms:twilio", recipients(Channel.SMS, ["ann"], send_id))
    report = run_lane(
        ledger.connect, sandbox.providers(), lane="sms:twilio", send_id=send_id, linger_seconds=0
    )
    assert report.counts == {"accepted": 1}


def test_whoever_wrote_stop_is_suppressed_first_of_all(ledger: Ledger, sandbox: SandboxProcess) -> None:
    send_id = new_send_id()
    payload = people(send_id, 3)
    ledger.enqueue(send_id, LANE, payload)
    wrote(ledger, payload["address_key"][:2])
    stopped = [
        Suppression(
            organisation_id=EVERY_ORGANISATION,
            channel=channel,
            address_key=key,
            reason=SuppressionReason.STOPPED,
            source="twilio",
        )
        for channel, key in [
            (Channel.WHATSAPP, payload["address_key"][0]),
            (Channel.SMS, payload["address_key"][1]),
            (Channel.WHATSAPP, payload["address_key"][2]),
        ]
    ]
    with ledger.connection() as connection:
        suppressions.suppress(connection, stopped)
    assert counts_of(ledger, sandbox, send_id) == {"accepted": 1, "refused": 2}
    told = ledger.outcomes(send_id).filter(status="refused")
    assert told["reason"].to_list() == ["suppressed", "suppressed"]
    assert set(sandbox.accepted(payload["message_id"])) == {payload["message_id"][1]}


def test_only_channels_with_a_window_note_who_wrote_and_old_notes_are_forgotten(ledger: Ledger) -> None:
    old, new = (
        address_key(number, Channel.WHATSAPP, SECRET) for number in ("+4369912345678", "+4369912345679")
    )
    wrote(ledger, pl.Series([old]), "25 hours")
    wrote(ledger, pl.Series([new]), "23 hours")
    with ledger.connection() as connection:
        windows.note_inbound(connection, Channel.SMS, address_key("+4369912345678", Channel.SMS, SECRET))
        assert windows.open_windows(connection, Channel.WHATSAPP, [old, new]) == {new}
        assert windows.open_windows(connection, Channel.WHATSAPP, []) == set()
        assert windows.purge(connection) == 1
    assert ledger.one("select array_agg(channel) from last_inbound") == ["whatsapp"]


def found(sandbox: SandboxProcess, payload: pl.DataFrame, shared: Content) -> Found | None:
    async def within() -> Found | None:
        now = datetime.now(UTC)
        async with sandbox.providers().for_lane(LANE) as provider:
            return await provider.find(envelope(payload, shared), now - MARGIN, now + MARGIN)

    return asyncio.run(within())


def envelope(payload: pl.DataFrame, shared: Content) -> Envelope:
    return Envelope(
        batch_id=1, send_id="spring-1", organisation_id="acme", content=shared, recipients=payload
    )


def accepted(sandbox: SandboxProcess, payload: pl.DataFrame, shared: Content) -> dict[str, str]:
    """Send; the provider's ids by ours."""

    async def within() -> dict[str, str]:
        async with sandbox.providers().for_lane(LANE) as provider:
            report = await provider.send(envelope(payload, shared))
        assert report.results["status"].unique().to_list() == ["accepted"]
        return dict(report.results.select("message_id", "provider_message_id").iter_rows())

    return asyncio.run(within())


def test_messages_of_a_content_template_are_found_by_what_filled_it(sandbox: SandboxProcess) -> None:
    payload = people(new_send_id(), 3)
    sids = accepted(sandbox, payload.head(2), TEMPLATE)
    assert found(sandbox, payload, TEMPLATE) == Found(accepted=sids)


@pytest.mark.parametrize("parts", [{}, {variable_part("1"): (0,)}], ids=["no variables", "one"])
def test_whom_nothing_was_sent_to_was_surely_not_sent_the_template(
    sandbox: SandboxProcess, parts: dict[str, tuple[str | int, ...]]
) -> None:
    shared = content(Channel.WHATSAPP, parts=parts, content_sid=TEMPLATE.content_sid)
    assert found(sandbox, people(new_send_id(), 2), shared) == Found(accepted={})


def test_another_message_to_the_same_number_leaves_a_content_template_in_doubt(
    sandbox: SandboxProcess,
) -> None:
    payload = people(new_send_id(), 1)
    accepted(sandbox, payload.with_columns(s0=pl.lit("something else")), TEMPLATE)
    assert found(sandbox, payload, TEMPLATE) is None
