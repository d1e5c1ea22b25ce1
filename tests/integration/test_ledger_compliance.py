"""What the ledger keeps of people's choices, on a real Postgres: every change is audited, the newest word holds."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from comms_pipeline.domain.consent import ConsentState
from comms_pipeline.domain.event import SuppressionReason, SuppressionScope
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.ledger import audit, caps, consents, do_not_call, preferences, suppressions
from comms_pipeline.ledger.caps import Cap
from comms_pipeline.ledger.consents import Consent, TextChanged
from comms_pipeline.ledger.preferences import Choice, PersonalLimits
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.ledger.suppressions import EVERY_ORGANISATION, Suppression

ADA, BEN, CAL = (bytes([number]) * 16 for number in (1, 2, 3))
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(database: Server) -> Iterator[Connection]:
    with connect(database, autocommit=True) as opened:
        yield opened


def trail(connection: Connection, *subjects: bytes) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Actor, action, subject and details of what was changed about somebody of acme."""
    entries = audit.of_subject(connection, "acme", subjects)
    return [(entry.actor, entry.action, entry.subject, entry.details) for entry in entries]


def opt_out(
    connection: Connection,
    key: bytes = ADA,
    reason: SuppressionReason = SuppressionReason.UNSUBSCRIBED,
    scope: SuppressionScope = SuppressionScope.ALL,
    organisation_id: str = "acme",
    source: str = "page",
) -> int:
    row = Suppression(
        organisation_id=organisation_id,
        channel=Channel.EMAIL,
        address_key=key,
        reason=reason,
        source=source,
        scope=scope,
    )
    return suppressions.suppress(connection, [row])


def reason_for(
    connection: Connection, key: bytes = ADA, message_class: MessageClass = MessageClass.MARKETING
) -> str | None:
    found = suppressions.reasons(connection, "acme", Channel.EMAIL, [key], message_class)
    assert found.keys() == suppressions.suppressed(connection, "acme", Channel.EMAIL, [key], message_class)
    return found.get(key)


def test_an_opt_out_of_marketing_leaves_other_messages_alone(connection: Connection) -> None:
    assert opt_out(connection, scope=SuppressionScope.MARKETING) == 1
    assert opt_out(connection, BEN) == 1
    assert reason_for(connection) == "unsubscribed"
    for message_class in (MessageClass.TRANSACTIONAL, MessageClass.EMERGENCY):
        assert reason_for(connection, ADA, message_class) is None
        assert reason_for(connection, BEN, message_class) == "unsubscribed"


def test_a_scope_widens_and_never_narrows(connection: Connection) -> None:
    opt_out(connection, scope=SuppressionScope.MARKETING)
    assert opt_out(connection, scope=SuppressionScope.MARKETING) == 0
    assert opt_out(connection, scope=SuppressionScope.ALL) == 1
    assert opt_out(connection, scope=SuppressionScope.MARKETING) == 0
    assert reason_for(connection, message_class=MessageClass.TRANSACTIONAL) == "unsubscribed"
    assert trail(connection, ADA) == [
        (
            "page",
            "suppress",
            f"acme/email/{ADA.hex()}",
            {
                "reason": "unsubscribed",
                "before": None,
                "after": {"reason": "unsubscribed", "scope": "marketing"},
            },
        ),
        (
            "page",
            "suppress",
            f"acme/email/{ADA.hex()}",
            {
                "reason": "unsubscribed",
                "before": {"reason": "unsubscribed", "scope": "marketing"},
                "after": {"reason": "unsubscribed", "scope": "all"},
            },
        ),
    ]


def test_widening_keeps_a_reason_that_people_may_not_take_back(connection: Connection) -> None:
    opt_out(connection, reason=SuppressionReason.COMPLAINED, scope=SuppressionScope.MARKETING)
    assert opt_out(connection, scope=SuppressionScope.ALL) == 1
    assert reason_for(connection, message_class=MessageClass.TRANSACTIONAL) == "complained"
    [standing] = suppressions.standing(connection, "acme", Channel.EMAIL, ADA)
    assert (standing.reason, standing.scope) == ("complained", "all")


def test_of_several_rows_for_one_address_the_widest_scope_and_the_gravest_reason_hold(
    connection: Connection,
) -> None:
    row = {"organisation_id": "acme", "channel": Channel.EMAIL, "address_key": ADA, "source": "import"}
    rows = [
        Suppression(reason=SuppressionReason.UNSUBSCRIBED, scope=SuppressionScope.ALL, **row),  # type: ignore[arg-type]
        Suppression(reason=SuppressionReason.MANUAL, scope=SuppressionScope.MARKETING, **row),  # type: ignore[arg-type]
    ]
    assert suppressions.suppress(connection, rows) == 1
    assert reason_for(connection, message_class=MessageClass.TRANSACTIONAL) == "manual"


def test_one_for_every_organisation_holds_beside_an_organisation_s_own(connection: Connection) -> None:
    opt_out(connection, scope=SuppressionScope.MARKETING)
    opt_out(connection, reason=SuppressionReason.BOUNCED, organisation_id=EVERY_ORGANISATION)
    assert reason_for(connection) == "unsubscribed"
    assert reason_for(connection, message_class=MessageClass.TRANSACTIONAL) == "bounced"


def test_lifting_says_what_there_was(connection: Connection) -> None:
    opt_out(connection, scope=SuppressionScope.MARKETING)
    lifted = suppressions.lift(
        connection,
        organisation_id="acme",
        channel=Channel.EMAIL,
        address_keys=[ADA],
        reasons=[SuppressionReason.UNSUBSCRIBED],
        actor="page",
    )
    assert lifted == 1
    assert reason_for(connection) is None
    before = {"reason": "unsubscribed", "scope": "marketing"}
    assert trail(connection, ADA)[-1] == (
        "page",
        "lift",
        f"acme/email/{ADA.hex()}",
        {"reason": "unsubscribed", "before": before, "after": None},
    )


def test_a_hundred_thousand_keys_are_one_question(connection: Connection) -> None:
    keys = [number.to_bytes(16) for number in range(100_000)]
    opt_out(connection, keys[0])
    opt_out(connection, keys[-1])
    assert suppressions.suppressed(connection, "acme", Channel.EMAIL, keys) == {keys[0], keys[-1]}
    assert len(suppressions.reasons(connection, "acme", Channel.EMAIL, keys)) == 2
    assert suppressions.suppressed(connection, "acme", Channel.EMAIL, []) == set()


def test_lists_come_in_the_order_of_keys(connection: Connection) -> None:
    opt_out(connection, BEN)
    opt_out(connection, ADA, scope=SuppressionScope.MARKETING)
    opt_out(connection, CAL, organisation_id="another")
    with connection.transaction():
        rows = [(row.address_key, row.scope, row.source) for row in suppressions.listed(connection, "acme")]
        first = [row.address_key for row in suppressions.listed(connection, "acme", limit=1)]
        texts = list(suppressions.listed(connection, "acme", channel=Channel.SMS))
    assert rows == [(ADA, "marketing", "page"), (BEN, "all", "page")]
    assert (first, texts) == ([ADA], [])


def choose(connection: Connection, subject: bytes, topic: str, is_wanted: bool) -> int:
    return preferences.set_choices(
        connection,
        organisation_id="acme",
        subject=subject,
        choices=[Choice(channel=Channel.EMAIL, topic=topic, is_wanted=is_wanted)],
        source="page",
    )


def wanted(connection: Connection, *subjects: bytes, topic: str = "news") -> dict[bytes, bool]:
    return preferences.wishes(
        connection, organisation_id="acme", channel=Channel.EMAIL, topic=topic, subjects=subjects
    )


def test_a_topic_s_own_choice_goes_before_the_one_for_every_topic(connection: Connection) -> None:
    choose(connection, ADA, "news", True)
    choose(connection, ADA, "*", False)
    choose(connection, BEN, "*", False)
    assert wanted(connection, ADA, BEN, CAL) == {ADA: True, BEN: False}
    assert wanted(connection, ADA, topic="offers") == {ADA: False}
    texts = preferences.wishes(
        connection, organisation_id="acme", channel=Channel.SMS, topic="news", subjects=[ADA]
    )
    assert texts == {}


def test_choices_are_audited_when_they_differ(connection: Connection) -> None:
    changes = [choose(connection, ADA, "news", is_wanted) for is_wanted in (False, False, True)]
    assert changes == [1, 0, 1]
    assert [details for *_, details in trail(connection, ADA)] == [
        {"topic": "news", "before": None, "after": False},
        {"topic": "news", "before": False, "after": True},
    ]
    assert trail(connection, ADA)[0][:3] == ("page", "choose", f"acme/email/{ADA.hex()}")


def test_of_one_person_s_subjects_the_newest_word_holds_also_when_it_is_repeated(
    connection: Connection,
) -> None:
    choose(connection, ADA, "news", True)
    choose(connection, BEN, "news", False)
    assert [choice.is_wanted for choice in preferences.choices_of(connection, "acme", [ADA, BEN])] == [False]
    choose(connection, ADA, "news", True)
    assert preferences.choices_of(connection, "acme", [BEN, ADA]) == [
        Choice(channel=Channel.EMAIL, topic="news", is_wanted=True)
    ]
    found = preferences.stated(
        connection, organisation_id="acme", channel=Channel.EMAIL, topic="news", subjects=[ADA, BEN]
    )
    assert max(found.values()).is_wanted


def test_limits_replace_each_other_and_are_audited(connection: Connection) -> None:
    first = PersonalLimits(quiet_from=1320, quiet_until=420, weekly_cap=2)
    second = PersonalLimits(paused_until=AT)

    def put(limits: PersonalLimits) -> bool:
        return preferences.set_limits(
            connection, organisation_id="acme", subject=ADA, limits=limits, source="page"
        )

    assert [put(limits) for limits in (first, first, second)] == [True, False, True]
    found = preferences.limits_of(connection, "acme", [ADA, BEN])
    assert found == {ADA: second}
    assert found[ADA].changed_at is not None
    entries = trail(connection, ADA)
    assert [entry[1:3] for entry in entries] == [("limit", f"acme/{ADA.hex()}")] * 2
    assert entries[1][3]["before"]["weekly_cap"] == 2
    assert entries[1][3]["after"]["weekly_cap"] is None


def consent(subject: bytes = ADA, **changes: Any) -> Consent:
    values = {
        "organisation_id": "acme",
        "subject": subject,
        "channel": Channel.EMAIL,
        "kind": "express",
        "state": ConsentState.GIVEN,
        "at": AT,
        "text_version": "2026-1",
        "source": "form",
        "ip_address": "192.0.2.7",
    }
    return Consent(**values | changes)


def latest(connection: Connection, *subjects: bytes, purpose: str = "news") -> dict[bytes, Consent]:
    return consents.latest(
        connection, organisation_id="acme", channel=Channel.EMAIL, purpose=purpose, subjects=subjects
    )


def test_the_latest_consent_is_the_one_last_given_not_the_one_last_imported(connection: Connection) -> None:
    withdrawn = consent(state=ConsentState.WITHDRAWN, at=AT + timedelta(days=1), ip_address=None)
    assert consents.record(connection, [withdrawn], "page") == 1
    assert consents.record(connection, [consent()], "import") == 1
    assert latest(connection, ADA, BEN) == {ADA: withdrawn}
    assert consents.history(connection, "acme", [ADA]) == [withdrawn, consent()]


def test_a_purpose_s_own_consent_goes_before_the_one_for_every_purpose(connection: Connection) -> None:
    own = consent(purpose="news", state=ConsentState.PENDING, at=AT - timedelta(days=9))
    consents.record(connection, [own, consent(), consent(BEN)], "page")
    assert latest(connection, ADA, BEN) == {ADA: own, BEN: consent(BEN)}
    assert latest(connection, ADA, purpose="offers") == {ADA: consent()}


def test_the_same_consent_is_recorded_once(connection: Connection) -> None:
    bare = consent(BEN, text_version=None, ip_address=None)
    assert consents.record(connection, [consent(), consent(), bare], "import") == 2
    assert consents.record(connection, [consent(), bare], "import") == 0
    assert consents.record(connection, [], "import") == 0
    assert trail(connection, ADA) == [
        (
            "import",
            "consent",
            f"acme/email/{ADA.hex()}",
            {
                "purpose": "*",
                "kind": "express",
                "at": "2026-05-01T12:00:00+00:00",
                "before": None,
                "after": "given",
            },
        )
    ]


def test_a_wording_people_agreed_to_never_changes(connection: Connection) -> None:
    assert consents.put_text(connection, "acme", "2026-1", "Yes, write to me.")
    assert not consents.put_text(connection, "acme", "2026-1", "Yes, write to me.")
    with pytest.raises(TextChanged, match="consent text '2026-1': it has another wording already"):
        consents.put_text(connection, "acme", "2026-1", "Yes, call me.")


def test_caps_are_replaced_as_a_whole_and_audited(connection: Connection) -> None:
    weekly = Cap(channel=Channel.EMAIL, messages=5, hours=168)
    daily = Cap(channel=Channel.EMAIL, topic="news", messages=1, hours=24)
    assert caps.put_caps(connection, "acme", [weekly, daily])
    assert not caps.put_caps(connection, "acme", [daily, weekly])
    assert caps.caps_of(connection, "acme") == [weekly, daily]
    assert caps.put_caps(connection, "acme", [daily])
    assert caps.caps_of(connection, "acme") == [daily]
    assert caps.put_caps(connection, "acme", [])
    assert caps.caps_by_organisation(connection, ["acme"]) == {}
    row = connection.execute("select details from audit where subject = 'acme' order by audit_id").fetchall()
    plain = {"channel": "email", "topic": "news", "messages": 1, "hours": 24}
    assert row[-1][0] == {"before": [plain], "after": None}


def note(
    connection: Connection, message: int, key: bytes = ADA, topic: str = "news", weekly_cap: int | None = None
) -> bool:
    """Whether a message may go."""
    message_id = message.to_bytes(16)
    over = caps.note_sent(
        connection,
        organisation_id="acme",
        channel=Channel.EMAIL,
        topic=topic,
        address_keys=[key],
        message_ids=[message_id],
        weekly_caps=[weekly_cap],
    )
    assert over <= {message_id}
    return not over


def count(connection: Connection) -> int:
    row = connection.execute("select count(*) from recent_message").fetchone()
    assert row
    return int(row[0])


def test_a_cap_counts_its_window_its_topic_and_a_retry_once(connection: Connection) -> None:
    daily = Cap(channel=Channel.EMAIL, topic="news", messages=1, hours=24)
    caps.put_caps(connection, "acme", [daily, Cap(channel=Channel.EMAIL, messages=2, hours=48)])
    assert [note(connection, 1), note(connection, 1), note(connection, 2)] == [True, True, False]
    assert note(connection, 3, BEN)
    assert [note(connection, 4, topic="offers"), note(connection, 5, topic="offers")] == [True, False]
    connection.execute("update recent_message set sent_at = sent_at - interval '25 hours'")
    # A day later the news are free again, all messages together are not.
    assert not note(connection, 6)
    connection.execute("update recent_message set sent_at = sent_at - interval '24 hours'")
    assert note(connection, 6)


def test_a_retry_that_finds_no_room_gives_its_own_place_back(connection: Connection) -> None:
    caps.put_caps(connection, "acme", [Cap(channel=Channel.EMAIL, messages=1, hours=24)])
    assert note(connection, 1)
    connection.execute("update recent_message set message_id = %s", ((2).to_bytes(16),))
    connection.execute(
        "insert into recent_message (organisation_id, channel, address_key, message_id, topic)"
        " values ('acme', 'email', %s, %s, 'news')",
        (ADA, (1).to_bytes(16)),
    )
    assert not note(connection, 1)
    assert count(connection) == 1


def test_a_recipient_s_own_cap_holds_without_any_of_the_organisation(connection: Connection) -> None:
    assert note(connection, 1)
    assert count(connection) == 0
    assert [note(connection, number, weekly_cap=2) for number in (2, 3, 4)] == [True, True, False]
    connection.execute("update recent_message set sent_at = sent_at - interval '7 days'")
    assert note(connection, 4, weekly_cap=2)


def test_what_is_too_old_for_any_cap_is_forgotten(connection: Connection) -> None:
    assert note(connection, 1, weekly_cap=9)
    assert note(connection, 2, weekly_cap=9)
    old = "update recent_message set sent_at = sent_at - interval '745 hours' where message_id = %s"
    connection.execute(old, ((1).to_bytes(16),))
    assert caps.purge(connection) == 1
    assert count(connection) == 1


def test_a_registry_is_replaced_by_what_is_imported(connection: Connection) -> None:
    with connection.transaction():
        assert do_not_call.replace_list(connection, "us", [ADA, BEN, BEN]) == 2
        assert do_not_call.replace_list(connection, "state", [BEN]) == 1
    with connection.transaction():
        assert do_not_call.replace_list(connection, "us", iter([CAL])) == 1
    assert do_not_call.listed(connection, [ADA, BEN, CAL]) == {BEN, CAL}
    assert do_not_call.listed(connection, []) == set()
    assert [(found.list_id, found.numbers) for found in do_not_call.lists(connection)] == [
        ("state", 1),
        ("us", 1),
    ]
    row = connection.execute("select details from audit where subject = 'us' order by audit_id").fetchall()
    assert [each[0]["after"]["numbers"] for each in row] == [2, 1]
    assert row[1][0]["before"]["numbers"] == 2


def test_a_note_in_the_trail_is_found_under_all_that_somebody_goes_by(connection: Connection) -> None:
    contact = audit.subject_of("acme", ADA)
    for subject in (contact, audit.subject_of("*", BEN, Channel.SMS), audit.subject_of("acme", CAL)):
        audit.note(connection, actor="cli:ada", action="export", subject=subject, details={"files": 2})
    assert trail(connection, ADA, BEN) == [
        ("cli:ada", "export", f"acme/{ADA.hex()}", {"files": 2}),
        ("cli:ada", "export", f"*/sms/{BEN.hex()}", {"files": 2}),
    ]
