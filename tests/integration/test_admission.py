"""The last word before bytes leave: what people said after the plan was made holds for all that is still queued."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import polars as pl
import pytest
from sending import EMAIL_LANE, ORGANISATION, Ledger, SandboxProcess, new_send_id, recipients

from comms_pipeline.dispatch.admission import Admission, admit
from comms_pipeline.dispatch.engine import LaneReport
from comms_pipeline.dispatch.payload import unpack
from comms_pipeline.dispatch.send import run_lane
from comms_pipeline.domain.event import SuppressionReason, SuppressionScope
from comms_pipeline.domain.hours import ALWAYS, Hours
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import batches, caps, limits, preferences, suppressions
from comms_pipeline.ledger.caps import Cap
from comms_pipeline.ledger.preferences import Choice, PersonalLimits
from comms_pipeline.ledger.suppressions import Suppression

ACME = ORGANISATION.organisation_id
NAMES = ["ada", "ben", "cal", "dot"]
# A Monday.
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
_TABLES = ("preference", "personal_limit", "frequency_cap", "recent_message")


@pytest.fixture(autouse=True)
def _nothing_said(ledger: Ledger) -> Iterator[None]:
    """What is said here is nobody's business in other tests of this database."""
    yield
    for table in _TABLES:
        ledger.do(f"delete from {table}")


def contact(name: str) -> bytes:
    return name.encode().ljust(16, b".")


def enqueue(
    ledger: Ledger,
    names: Sequence[str] = NAMES,
    *,
    has_contacts: bool = True,
    batch_size: int = 1000,
    **fields: str,
) -> pl.DataFrame:
    """Queue a send; `fields` are columns of its batches."""
    send_id = new_send_id()
    payload = recipients(Channel.EMAIL, list(names), send_id)
    if has_contacts:
        payload = payload.with_columns(contact_id=pl.Series([contact(name).hex() for name in names]))
    ledger.enqueue(send_id, EMAIL_LANE, payload, batch_size=batch_size)
    for field, value in fields.items():
        ledger.do(f"update batch set {field} = %s where send_id = %s", value, send_id)
    return payload.with_columns(send_id=pl.lit(send_id))


def admission(ledger: Ledger, *, now: datetime | None = None, limit: int = 10) -> Admission:
    """Claim what is due, check it, mark it."""
    with ledger.connection() as connection, connection.transaction():
        claims = batches.claim_due(connection, lane=EMAIL_LANE, worker="w", limit=limit, lease_seconds=60)
        checked = admit(connection, claims, now=now)
        batches.postpone(connection, checked.postponed)
        batches.mark_sending(connection, [job.claim for job in checked.admitted], lease_seconds=60)
    return checked


def reasons(checked: Admission, payload: pl.DataFrame) -> list[str | None]:
    """Why each message of the payload was dropped; None: it goes."""
    going = [job.payload["message_id"] for job in checked.admitted]
    dropped = [job.dropped.select("message_id", "reason", "status") for job in checked.admitted]
    told = pl.concat(dropped)
    assert set(told["status"]) <= {"refused"}
    assert not set(told["message_id"]) & set(pl.concat(going))
    return payload.join(told, on="message_id", how="left", maintain_order="left")["reason"].to_list()


def said(ledger: Ledger, payload: pl.DataFrame | None = None) -> list[str | None]:
    """Why each message was dropped, of a payload that is queued now."""
    queued = enqueue(ledger) if payload is None else payload
    return reasons(admission(ledger), queued)


def key_of(name: str) -> bytes:
    key: bytes = recipients(Channel.EMAIL, [name], "any")["address_key"][0]
    return key


def suppress(ledger: Ledger, keys: Sequence[bytes], scope: SuppressionScope = SuppressionScope.ALL) -> None:
    with ledger.connection() as connection:
        suppressions.suppress(
            connection,
            [
                Suppression(
                    organisation_id=ACME,
                    channel=Channel.EMAIL,
                    address_key=key,
                    reason=SuppressionReason.UNSUBSCRIBED,
                    source="page",
                    scope=scope,
                )
                for key in keys
            ],
        )


def choose(ledger: Ledger, subject: bytes, is_wanted: bool, topic: str = "general") -> None:
    with ledger.connection() as connection:
        preferences.set_choices(
            connection,
            organisation_id=ACME,
            subject=subject,
            choices=[Choice(channel=Channel.EMAIL, topic=topic, is_wanted=is_wanted)],
            source="page",
        )


def limit(ledger: Ledger, subject: bytes, **values: object) -> None:
    with ledger.connection() as connection:
        preferences.set_limits(
            connection,
            organisation_id=ACME,
            subject=subject,
            limits=PersonalLimits(**values),  # type: ignore[arg-type]
            source="page",
        )


def cap(ledger: Ledger, messages: int, topic: str = "*", hours: int = 24) -> None:
    with ledger.connection() as connection:
        caps.put_caps(
            connection, ACME, [Cap(channel=Channel.EMAIL, topic=topic, messages=messages, hours=hours)]
        )


def tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


@pytest.mark.parametrize(
    ("message_class", "dropped"),
    [
        ("marketing", ["suppressed", "suppressed", None, None]),
        ("transactional", [None, "suppressed", None, None]),
        ("emergency", [None, "suppressed", None, None]),
    ],
)
def test_a_suppression_stands_against_the_messages_of_its_scope(
    ledger: Ledger, message_class: str, dropped: list[str | None]
) -> None:
    suppress(ledger, [key_of("ada")], SuppressionScope.MARKETING)
    suppress(ledger, [key_of("ben")])
    assert said(ledger, enqueue(ledger, message_class=message_class)) == dropped


def test_a_choice_holds_by_address_and_by_contact_for_its_topic(ledger: Ledger) -> None:
    choose(ledger, key_of("ada"), False)
    choose(ledger, contact("ben"), False, topic="*")
    choose(ledger, contact("cal"), False, topic="offers")
    choose(ledger, contact("dot"), False, topic="*")
    choose(ledger, contact("dot"), True)
    assert said(ledger) == ["unwanted", "unwanted", None, None]


def test_of_address_and_contact_the_newest_word_holds(ledger: Ledger) -> None:
    for first, second, is_wanted in [("ada", "ada", False), ("ben", "ben", True)]:
        choose(ledger, contact(first), not is_wanted)
        choose(ledger, key_of(second), is_wanted)
    limit(ledger, key_of("cal"), paused_until=tomorrow())
    limit(ledger, contact("cal"))
    limit(ledger, contact("dot"))
    limit(ledger, key_of("dot"), paused_until=tomorrow())
    assert said(ledger) == ["unwanted", None, None, "unwanted"]


def test_whoever_has_paused_gets_nothing_until_the_pause_is_over(ledger: Ledger) -> None:
    limit(ledger, contact("ada"), paused_until=tomorrow())
    limit(ledger, key_of("ben"), paused_until=tomorrow() - timedelta(days=2))
    assert said(ledger) == ["unwanted", None, None, None]


def test_a_payload_without_contacts_is_asked_for_by_address(ledger: Ledger) -> None:
    choose(ledger, key_of("ada"), False)
    choose(ledger, contact("ben"), False)
    payload = enqueue(ledger, has_contacts=False)
    assert said(ledger, payload) == ["unwanted", None, None, None]


@pytest.mark.parametrize("message_class", ["transactional", "emergency"])
def test_neither_wishes_nor_caps_speak_of_messages_that_are_no_marketing(
    ledger: Ledger, message_class: str
) -> None:
    choose(ledger, contact("ada"), False, topic="*")
    limit(ledger, contact("ben"), paused_until=tomorrow())
    cap(ledger, 1)
    for _ in range(2):
        assert said(ledger, enqueue(ledger, message_class=message_class)) == [None] * 4
    assert ledger.one("select count(*) from recent_message") == 0


def test_a_message_has_the_first_reason_of_all(ledger: Ledger) -> None:
    suppress(ledger, [key_of("ada")])
    choose(ledger, contact("ada"), False)
    cap(ledger, 1)
    assert said(ledger) == ["suppressed", None, None, None]
    assert said(ledger) == ["suppressed", "capped", "capped", "capped"]
    # Who was dropped for something else was not counted.
    assert ledger.one("select count(*) from recent_message") == 3


def test_a_cap_counts_across_sends_and_within_one_round(ledger: Ledger) -> None:
    cap(ledger, 2)
    first = [enqueue(ledger, batch_size=2) for _ in range(3)]
    checked = admission(ledger)
    told = Counter(reason for payload in first for reason in reasons(checked, payload))
    assert told == {None: 8, "capped": 4}
    assert said(ledger) == ["capped"] * 4
    ledger.do("update recent_message set sent_at = sent_at - interval '1 day'")
    assert said(ledger) == [None] * 4


def test_a_cap_of_one_topic_counts_that_topic(ledger: Ledger) -> None:
    cap(ledger, 1, topic="news")
    for topic, reason in [("news", None), ("news", "capped"), ("general", None), ("general", None)]:
        assert said(ledger, enqueue(ledger, ["ada"], topic=topic)) == [reason]


def test_a_retry_counts_once(ledger: Ledger) -> None:
    cap(ledger, 1)
    payload = enqueue(ledger)
    assert reasons(admission(ledger), payload) == [None] * 4
    ledger.do("update batch set status = 'planned'")
    assert reasons(admission(ledger), payload) == [None] * 4
    assert ledger.one("select count(*) from recent_message") == 4


def test_a_recipient_s_own_cap_holds_beside_the_organisation_s(ledger: Ledger) -> None:
    limit(ledger, contact("ada"), weekly_cap=1)
    limit(ledger, key_of("ben"), weekly_cap=2)
    assert said(ledger) == [None] * 4
    assert ledger.one("select count(*) from recent_message") == 2
    assert said(ledger) == ["capped", None, None, None]
    cap(ledger, 9)
    assert said(ledger) == ["capped", "capped", None, None]


def test_two_workers_at_once_do_not_both_find_room(ledger: Ledger) -> None:
    cap(ledger, 1)
    payloads = [enqueue(ledger) for _ in range(4)]
    ready = Barrier(4)

    def work(_: int) -> Admission:
        ready.wait()
        return admission(ledger, limit=1)

    with ThreadPoolExecutor(4) as workers:
        done = list(workers.map(work, range(4)))
    went = [job.payload.height for checked in done for job in checked.admitted]
    assert sorted(went) == [0, 0, 0, 4]
    assert len(payloads) == 4


def closed_on_sunday(*hours: tuple[int, int]) -> str:
    return str(Hours(zones=("UTC",), week=(hours,) * 6 + ((),), dates_off=frozenset()))


@pytest.mark.parametrize(
    ("hours", "opens_at"),
    [
        (closed_on_sunday((0, 720)), datetime(2026, 6, 2, tzinfo=UTC)),
        (closed_on_sunday((900, 960)), datetime(2026, 6, 1, 15, tzinfo=UTC)),
        (closed_on_sunday(), datetime(2026, 6, 15, 12, tzinfo=UTC)),
    ],
)
def test_out_of_hours_a_batch_waits_for_the_first_open_minute(
    ledger: Ledger, hours: str, opens_at: datetime
) -> None:
    enqueue(ledger, hours=hours)
    with ledger.connection() as connection:
        limits.put_quota(connection, f"organisation:{ACME}", "hour", 100)
    checked = admission(ledger, now=NOON)
    assert checked.admitted == []
    assert [due_at for _, due_at in checked.postponed] == [opens_at]
    assert ledger.one("select due_at from batch where status = 'planned'") == opens_at
    assert ledger.one("select coalesce(sum(used), 0) from quota_use") == 0


@pytest.mark.parametrize(
    ("message_class", "hours"),
    [
        ("emergency", closed_on_sunday()),
        ("transactional", closed_on_sunday((720, 721))),
        ("marketing", str(Hours(zones=("UTC",), week=(ALWAYS,) * 7, dates_off=frozenset()))),
    ],
)
def test_within_hours_and_in_an_emergency_a_batch_goes(
    ledger: Ledger, message_class: str, hours: str
) -> None:
    payload = enqueue(ledger, message_class=message_class, hours=hours)
    assert reasons(admission(ledger, now=NOON), payload) == [None] * 4


def test_a_lane_that_is_warming_up_sends_no_more_than_its_plan_allows(ledger: Ledger) -> None:
    enqueue(ledger, batch_size=1)
    with ledger.connection() as connection:
        limits.put_quota(connection, f"warm-up:{EMAIL_LANE}", "day", 3)
    checked = admission(ledger)
    assert (len(checked.admitted), len(checked.postponed)) == (3, 1)


def everybody_opts_out(ledger: Ledger, payload: pl.DataFrame) -> None:
    suppress(ledger, payload["address_key"].to_list(), SuppressionScope.MARKETING)


def everybody_turns_it_off(ledger: Ledger, payload: pl.DataFrame) -> None:
    ledger.do(
        "insert into preference (organisation_id, subject, channel, topic, is_wanted, source)"
        " select 'acme', unnest(%s::bytea[]), 'email', '*', false, 'page'",
        payload["address_key"].to_list(),
    )


def everybody_pauses(ledger: Ledger, payload: pl.DataFrame) -> None:
    ledger.do(
        "insert into personal_limit (organisation_id, subject, paused_until, source)"
        " select 'acme', unnest(%s::bytea[]), now() + interval '30 days', 'page'",
        payload["address_key"].to_list(),
    )


@pytest.mark.parametrize(
    ("say_no", "reason"),
    [
        (everybody_opts_out, "suppressed"),
        (everybody_turns_it_off, "unwanted"),
        (everybody_pauses, "unwanted"),
    ],
)
def test_what_is_said_while_a_send_runs_holds_for_everybody_later_in_the_queue(
    ledger: Ledger, sandbox: SandboxProcess, say_no: Callable[[Ledger, pl.DataFrame], None], reason: str
) -> None:
    payload = enqueue(ledger, [f"p{number}" for number in range(600)], batch_size=5)
    committed_at: list[datetime] = []

    def interrupt(_: LaneReport) -> None:
        if not committed_at:
            say_no(ledger, payload)
            committed_at.append(ledger.one("select clock_timestamp()"))

    run_lane(
        ledger.connect,
        sandbox.providers(),
        lane=EMAIL_LANE,
        send_id=payload["send_id"][0],
        linger_seconds=0.0,
        on_progress=interrupt,
    )
    told = outcomes_by_start(ledger)
    later = told.filter(pl.col("sending_at") > committed_at[0])
    assert set(later["reason"]) == {reason}
    assert told.filter(status="accepted").height > 0
    assert told.height == 600
    assert sandbox.accepted(later["message_id"]) == {}


def outcomes_by_start(ledger: Ledger) -> pl.DataFrame:
    """Every outcome with the time at which its batch was marked as sending."""
    with ledger.connection() as connection:
        rows = connection.execute(
            "select sending_at, results from outcome join batch using (batch_id)"
        ).fetchall()
    return pl.concat(
        unpack(results).with_columns(sending_at=pl.lit(sending_at, pl.Datetime("us", "UTC")))
        for sending_at, results in rows
    )
