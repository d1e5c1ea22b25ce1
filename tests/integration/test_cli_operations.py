"""What operations type while things run: short answers, errors in one line, everything in the audit trail."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from command_line import CommandLine, Printed
from sending import EMAIL_LANE, Ledger, content, recipients

from comms_pipeline.dispatch import operations as dispatch
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import batches, operations, sends

pytestmark = pytest.mark.xdist_group("command_line")

CAMPAIGN, SEND = "wedding-invitation", "wedding-invitation--operations"


@pytest.fixture
def ledger(comms: CommandLine) -> Iterator[Ledger]:
    """The ledger of the shared installation with a send of ten under way, which is gone afterwards."""
    opened = Ledger(server=comms.stores.server)
    with opened.connection() as connection, connection.transaction():
        version = sends.get_campaign(connection, CAMPAIGN)
        due_at = datetime(2030, 6, 1, 13, tzinfo=UTC)
        sends.create_send(
            connection, send_id=SEND, campaign_id=CAMPAIGN, version=version.version, due_at=due_at
        )
        sends.start_send(connection, SEND)
        batches.claim_generation(connection, send_id=SEND, generation=1, message_count=10)
        shared = content(Channel.EMAIL)
        payload = recipients(Channel.EMAIL, [f"p{number}" for number in range(10)], SEND)
        batches.enqueue(
            connection,
            send_id=SEND,
            organisation_id=version.organisation_id,
            generation=1,
            contents={shared.content_id: shared.to_dict()},
            batches=[
                batches.NewBatch(
                    lane=EMAIL_LANE,
                    channel=Channel.EMAIL,
                    content_id=shared.content_id,
                    priority=2,
                    message_count=part.height,
                    payload=dispatch.pack(part),
                    due_at=datetime.now(UTC),
                )
                for part in payload.iter_slices(5)
            ],
        )
    yield opened
    for table in ("outcome", "batch", "enqueued", "send"):
        opened.do(f"delete from {table} where send_id = %s", SEND)
    for table in ("stop", "quota_use", "quota"):
        opened.do(f"delete from {table}")


def cells(printed: str, word: str) -> list[list[str]]:
    """The cells of a table's rows that hold a word."""
    rows = [line.split("│")[1:-1] for line in printed.splitlines() if "│" in line and word in line]
    return [[cell.strip() for cell in row] for row in rows]


def refused(printed: Printed) -> str:
    """The one line of an error."""
    assert (printed.code, printed.out) == (1, "")
    [line] = printed.err.splitlines()
    return line


def audited(ledger: Ledger, subject: str) -> str:
    """The latest action on a subject."""
    return str(
        ledger.one("select action from audit where subject = %s order by audit_id desc limit 1", subject)
    )


def test_a_send_is_paused_and_resumed(comms: CommandLine, ledger: Ledger) -> None:
    assert comms.ok("sends", "pause", SEND, "--reason", "a typo") == (
        f"{SEND} is paused; `comms sends resume {SEND}` goes on\n"
    )
    [row] = cells(comms.ok("sends", "list"), SEND)
    assert row == [SEND, "paused", "2030-06-01 13:00", "", "a typo"]
    assert refused(comms("sends", "pause", SEND)) == (
        f"error: send {SEND}: it is paused and cannot be paused. See `comms sends list`"
    )
    assert comms.ok("sends", "resume", SEND) == f"{SEND} goes on; `comms up` takes it up within seconds\n"
    assert ledger.one("select status from send where send_id = %s", SEND) == "sending"
    assert refused(comms("sends", "resume", SEND)).startswith(f"error: send {SEND}: it is sending")
    assert audited(ledger, SEND) == "resume_send"


def test_a_send_is_cancelled_once(comms: CommandLine, ledger: Ledger) -> None:
    printed = comms.ok("sends", "cancel", SEND, "--reason", "wrong list")
    assert printed == f"{SEND} is cancelled: 10 messages will not be sent\n"
    assert ledger.statuses(SEND) == {"cancelled": 2}
    assert set(ledger.outcomes(SEND)["status"]) == {"cancelled"}
    assert refused(comms("sends", "cancel", SEND)).startswith(f"error: send {SEND}: it is cancelled")
    assert audited(ledger, SEND) == "cancel_send"


@pytest.mark.parametrize("order", ["pause", "resume", "cancel"])
def test_a_send_nobody_knows_is_named(comms: CommandLine, order: str) -> None:
    assert refused(comms("sends", order, "nobody")).startswith("error: send nobody: it does not exist")


def test_a_kill_switch_shows_in_the_queue_until_it_is_lifted(comms: CommandLine, ledger: Ledger) -> None:
    assert comms.ok("stop", "channel:email", "--reason", "[bold] leak") == "channel:email is stopped\n"
    assert comms.ok("stop", "channel:email") == "channel:email was stopped already\n"
    printed = comms.ok("queue")
    assert [row[:4] for row in cells(printed, "planned")] == [[EMAIL_LANE, "planned", "2", "10"]]
    assert "stopped channel:email since " in printed
    assert printed.endswith(": [bold] leak\n")
    assert audited(ledger, "channel:email") == "stop"
    assert comms.ok("start", "channel:email") == "channel:email sends again\n"
    assert "stopped" not in comms.ok("queue")
    assert refused(comms("start", "channel:email")) == (
        "error: stop of channel:email: there is none. See `comms queue`"
    )
    assert audited(ledger, "channel:email") == "start"


@pytest.mark.parametrize(
    "scope", ["", "everything", "lane", "channel:", "campaign:spring", "all; drop table"]
)
def test_a_scope_of_no_known_form_is_refused(comms: CommandLine, ledger: Ledger, scope: str) -> None:
    assert refused(comms("stop", scope)).startswith(f"error: scope '{scope}': there is none of this form.")
    assert ledger.one("select count(*) from stop") == 0


def test_quotas_are_set_listed_and_lifted(comms: CommandLine, ledger: Ledger) -> None:
    assert comms.ok("quotas", "set", "organisation:acme", "hour", "5000") == (
        "organisation:acme: 5,000 messages per hour\n"
    )
    assert cells(comms.ok("quotas", "list"), "acme") == [["organisation:acme", "hour", "5,000", "0"]]
    assert audited(ledger, "organisation:acme") == "quota"
    assert (
        comms.ok("quotas", "set", "organisation:acme", "hour", "--", "-1") == "organisation:acme: no quota\n"
    )
    assert cells(comms.ok("quotas", "list"), "acme") == []


@pytest.mark.parametrize(
    ("scope", "period", "culprit"),
    [("all", "hour", "all"), ("channel:email", "hour", "channel:email"), ("lane:email:smtp", "week", "week")],
)
def test_a_quota_that_cannot_be_is_refused(
    comms: CommandLine, ledger: Ledger, scope: str, period: str, culprit: str
) -> None:
    assert refused(comms("quotas", "set", scope, period, "1")).startswith(f"error: {culprit}: ")
    assert ledger.one("select count(*) from quota") == 0


def test_dead_letters_are_listed_and_retried(comms: CommandLine, ledger: Ledger) -> None:
    first = ledger.one("select min(batch_id) from batch where send_id = %s", SEND)
    ledger.do(
        "update batch set status = 'dead', attempt = 5, last_error = 'SendGrid answered 503'"
        " where send_id = %s",
        SEND,
    )
    listed = cells(comms.ok("dead-letters", "list", "--send", SEND), SEND)
    assert [row[1:5] for row in listed] == [[SEND, EMAIL_LANE, "5", "SendGrid answered 503"]] * 2
    assert cells(comms.ok("dead-letters", "list", "--send", "another"), SEND) == []
    retried = comms.ok("dead-letters", "retry", "--send", SEND, "--batch", str(first))
    assert retried == "5 messages are queued again; `comms up` sends them\n"
    assert ledger.statuses(SEND) == {"planned": 1, "dead": 1}
    assert comms.ok("dead-letters", "retry", "--send", SEND).startswith("5 messages are queued again")
    assert comms.ok("dead-letters", "retry", "--send", SEND).startswith("0 messages are queued again")
    assert audited(ledger, f"{SEND}/{first}") == "retry_dead"


def test_the_queue_counts_what_dead_letters_hold(comms: CommandLine, ledger: Ledger) -> None:
    ledger.do("update batch set status = 'dead' where send_id = %s", SEND)
    assert [row[1:4] for row in cells(comms.ok("queue"), "dead")] == [["dead", "2", "10"]]
    with ledger.connection() as connection:
        assert [letter.message_count for letter in operations.dead_letters(connection, SEND)] == [5, 5]
