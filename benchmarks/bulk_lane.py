"""Speed of the lane that sends 1,000 recipients per request, 8 KB and ten variables each, to a sink that only counts.

The whole engine sends (ledger on an embedded Postgres, claims, checks, SendGrid's adapter, recorded outcomes); beside
it a loop over SendGrid's own SDK, to a sink like it. Both find the texts ready made: batches are prepared as planning
queues them, which is the benchmark `planning`. Figures are recipients a second by the clock, and seconds of processor
time per 1,000 recipients of the sending process alone. Sink and Postgres share the machine. Promised: 100,000 a second
on two cores, 20 times the loop. Every message must have come in. Run: python benchmarks/bulk_lane.py [recipients]
"""

import hashlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import jinja2
import polars as pl
from _offer import LINKED_HTML, contacts
from _report import report
from _sink import Sink
from single_messages import Effort, measured, on_uvloop, open_ledger

from comms_pipeline.dispatch.engine import Lane, Scope
from comms_pipeline.dispatch.payload import pack
from comms_pipeline.domain.addresses import address_keys
from comms_pipeline.domain.content import Content
from comms_pipeline.domain.message import Channel, message_ids
from comms_pipeline.domain.tokens import Purpose, TokenKeys
from comms_pipeline.ledger import batches, launcher, sends
from comms_pipeline.ledger.batches import NewBatch
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.personalization.message import TemplateSource, compile_message
from comms_pipeline.providers.sendgrid_send import SendGrid

RECIPIENTS = 300_000
SDK_MESSAGES = 300
PROMISED_PER_SECOND, PROMISED_RATIO = 100_000.0, 20.0
LANE = "email:sendgrid"
SLICE = 50_000
SECRET = b"benchmark"
URL = "https://mail.lakeside.example/u/"
SENDER, SENDER_NAME = "club@lakeside.example", "The Club"
SUBJECT = "{{ subject_line|title }}"
POSTAL_ADDRESS = "1 Harbor Lane, Portland"


@dataclass(frozen=True, kw_only=True)
class Queued:
    """Batches of one content."""

    content: Content
    batches: list[NewBatch]


def prepared(send_id: str, count: int) -> Iterator[Queued]:
    """What planning queues for so many contacts."""
    message = compile_message(
        {
            "subject": TemplateSource(name="subject", text=SUBJECT, is_html=False),
            "html": TemplateSource(name="offer.html", text=LINKED_HTML, is_html=True),
        }
    )
    for start in range(0, count, SLICE):
        size = min(SLICE, count - start)
        recipients = queued_columns(send_id, start, size)
        people = contacts(size).with_columns(
            recipients["unsubscribe_url"], postal_address=pl.lit(POSTAL_ADDRESS)
        )
        for group in message.evaluate(people):
            content = Content(
                campaign_id="benchmark",
                parts=group.parts,
                sender=SENDER,
                sender_name=SENDER_NAME,
                has_one_click=True,
            )
            payload = recipients[group.rows].hstack(group.slots)
            yield Queued(content=content, batches=[batch(content, part) for part in sliced(payload)])


def queued_columns(send_id: str, start: int, size: int) -> pl.DataFrame:
    """Ids, addresses, their keys and the signed links of some contacts."""
    numbers = range(start, start + size)
    contact_ids = [hashlib.md5(str(number).encode()).hexdigest() for number in numbers]
    address = pl.Series([f"person.{number}@mail{number % 997}.example.com" for number in numbers])
    message_id = pl.Series(message_ids(send_id, contact_ids, Channel.EMAIL))
    address_key = address_keys(address, Channel.EMAIL, SECRET)
    tokens = TokenKeys.from_secret(SECRET).sign_column(
        Purpose.UNSUBSCRIBE,
        organisation_id="acme",
        channel=Channel.EMAIL,
        message_ids=message_id,
        contact_ids=pl.Series(contact_ids),
        address_keys=address_key,
    )
    return pl.DataFrame(
        {
            "message_id": message_id,
            "address": address,
            "address_key": address_key,
            "unsubscribe_url": URL + tokens,
        }
    )


def sliced(payload: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """A payload in batches."""
    return payload.iter_slices(SendGrid.limits.batch_size)


def batch(content: Content, payload: pl.DataFrame) -> NewBatch:
    """A batch that is due."""
    return NewBatch(
        lane=LANE,
        channel=Channel.EMAIL,
        content_id=content.content_id,
        priority=2,
        message_count=payload.height,
        payload=pack(payload),
        due_at=datetime.now(UTC),
    )


def fill_ledger(server: Server, send_id: str, count: int) -> None:
    """Queue a send to so many contacts."""
    with connect(server, autocommit=True) as connection, connection.transaction():
        sends.create_send(
            connection, send_id=send_id, campaign_id="benchmark", version=1, due_at=datetime.now(UTC)
        )
        assert sends.start_send(connection, send_id)
        for generation, queued in enumerate(prepared(send_id, count)):
            batches.enqueue(
                connection,
                send_id=send_id,
                organisation_id="acme",
                generation=generation,
                contents={queued.content.content_id: queued.content.to_dict()},
                batches=queued.batches,
            )


def run_engine(server: Server, url: str, send_id: str, count: int) -> None:
    """Send what the ledger holds of a send. Every message must end as accepted."""
    lane = Lane(
        lane=LANE,
        provider=SendGrid(api_key="SG.benchmark", base_url=url),
        connect=lambda: connect(server, autocommit=True),
        worker="benchmark",
        scope=Scope(send_id=send_id),
    )
    on_uvloop(lane.run())
    assert lane.report.counts == {"accepted": count}, lane.report


def engine(url: str, count: int) -> Effort:
    """The whole engine, after a first send that opens what stays open."""
    with tempfile.TemporaryDirectory() as folder:
        server = open_ledger(Path(folder))
        try:
            fill_ledger(server, "first", 10_000)
            run_engine(server, url, "first", 10_000)
            fill_ledger(server, "second", count)
            return measured(count, lambda: run_engine(server, url, "second", count))
        finally:
            launcher.remove(Path(folder))


def sdk(url: str, messages: int) -> Effort:
    """What a plain program does: SendGrid's SDK, one message after the other. Texts are rendered beforehand, too."""
    from sendgrid import SendGridAPIClient
    from sendgrid.helpers.mail import CustomArg, Header, Mail

    client = SendGridAPIClient("SG.benchmark", host=url)
    subject = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(SUBJECT)
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(LINKED_HTML)
    people = contacts(messages).with_columns(postal_address=pl.lit(POSTAL_ADDRESS))
    rows = people.hstack(queued_columns("sdk", 0, messages)).to_dicts()
    texts = [(subject.render(row), page.render(row)) for row in rows]

    def loop() -> None:
        for row, (title, html) in zip(rows, texts, strict=True):
            mail = Mail(
                from_email=(SENDER, SENDER_NAME),
                to_emails=row["address"],
                subject=title,
                html_content=html,
            )
            mail.add_custom_arg(CustomArg("comms_message", row["message_id"]))
            mail.add_header(Header("List-Unsubscribe", f"<{row['unsubscribe_url']}>"))
            mail.add_header(Header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
            answer = client.send(mail)
            assert answer.status_code == 202, answer.status_code

    return measured(messages, loop)


def main(count: int) -> int:
    """Prints the figures; 1 if the sinks counted anything but what was sent."""
    with Sink() as sink, Sink() as sdk_sink:
        plain = sdk(sdk_sink.url, SDK_MESSAGES)
        whole = engine(sink.url, count)
        counted = sink.counts().messages, sdk_sink.counts().requests
        if counted != (count + 10_000, SDK_MESSAGES):
            print(f"error: the sinks counted {counted[0]} and {counted[1]}", file=sys.stderr)
            return 1
    report("bulk_engine_beside_sdk", whole.per_second, "recipients/s", plain.per_second)
    milliseconds = whole.seconds_per_thousand * 1000, plain.seconds_per_thousand * 1000
    report("bulk_engine_beside_sdk_cpu", milliseconds[0], "ms/1000", milliseconds[1], is_more_better=False)
    report("bulk_engine_promised", whole.per_second, "recipients/s", PROMISED_PER_SECOND)
    report("bulk_engine_times_sdk_promised", whole.per_second / plain.per_second, "times", PROMISED_RATIO)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else RECIPIENTS))
