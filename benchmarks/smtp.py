"""Speed of SMTP sending to a server that only counts, beside a plain loop over smtplib in the same run.

8 KB e-mails of text and HTML with ten slots, in batches as the queue holds them: written out, sent, answered and
reported. The sink runs in a process of its own on the same machine. The baseline writes each message with Python's
e-mail package and sends it over one kept connection. Every figure ends with a check that the sink got each message.
Run: python benchmarks/smtp.py
"""

import asyncio
import contextlib
import resource
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from pathlib import Path

import polars as pl
import uvloop
from _report import report

from comms_pipeline.domain.content import Content, Skeleton
from comms_pipeline.providers.base import Envelope, joined
from comms_pipeline.providers.smtp_opening import Account
from comms_pipeline.providers.smtp_send import Smtp
from comms_pipeline.settings import SmtpSecurity

MESSAGES = 60_000
BASELINE_MESSAGES = 500
CONNECTIONS = 16
SLOTS = 10
_PARAGRAPH = (
    '<tr><td style="padding:0 24px 16px">A quieter week gives time to look at what is new.</td></tr>\n'
)
_HTML: Skeleton = tuple(
    piece for slot in range(SLOTS) for piece in (f"<p>Zürich {slot}</p>\n" + _PARAGRAPH * 7, slot)
)
_TEXT: Skeleton = ("Hello ", 0, ",\n\n" + "A quieter week gives time to look at what is new.\n" * 8, 1, "\n")
CONTENT = Content(
    campaign_id="spring",
    parts={"subject": ("News for ", 0), "text": _TEXT, "html": _HTML},
    sender="office@acme.example",
    sender_name="Acme",
    has_one_click=True,
)


def batches() -> list[Envelope]:
    """The messages as the queue holds them."""
    numbers = range(MESSAGES)
    payload = pl.DataFrame(
        {
            "message_id": [f"{number:032x}" for number in numbers],
            "address": [f"someone.{number}@mail{number % 97}.example" for number in numbers],
            "unsubscribe_url": [f"https://mail.acme.example/u/{number:064x}" for number in numbers],
        }
        | {f"s{slot}": [f"value {slot} of {number}" for number in numbers] for slot in range(SLOTS)}
    )
    return [
        Envelope(
            batch_id=number, send_id="spring-1", organisation_id="acme", content=CONTENT, recipients=part
        )
        for number, part in enumerate(payload.iter_slices(Smtp.limits.batch_size))
    ]


@contextlib.contextmanager
def sink(expected: int) -> Iterator[int]:
    """A sink's port. Fails unless it got all messages, and nothing else."""
    command = [sys.executable, str(Path(__file__).parent / "_smtp_sink.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        told, _ = process.communicate()
    messages, data_bytes = map(int, told.split())
    assert messages == expected, f"the sink got {messages} of {expected}"
    assert 7_000 <= data_bytes / messages <= 10_000, f"{data_bytes / messages:.0f} bytes each"


async def send_all(port: int, envelopes: list[Envelope]) -> int:
    """Send the batches, as many at once as the provider's limits say; how many messages were accepted."""
    account = Account(host="127.0.0.1", port=port, security=SmtpSecurity.NONE)
    waiting = iter(envelopes)
    accepted = 0

    async def lane(provider: Smtp) -> None:
        nonlocal accepted
        for envelope in waiting:
            told = await provider.send(envelope)
            accepted += told.results.filter(status="accepted").height

    async with Smtp(account, connections=CONNECTIONS) as provider:
        await asyncio.gather(*(lane(provider) for _ in range(Smtp.limits.concurrency)))
    return accepted


def plain_loop(port: int, envelope: Envelope) -> None:
    """What one writes without us: smtplib and the e-mail package, one connection, one message after the other."""
    recipients = envelope.recipients
    columns = [joined(CONTENT.parts[part], recipients).to_list() for part in ("subject", "text", "html")]
    with smtplib.SMTP("127.0.0.1", port) as server:
        for row, subject, text, html in zip(recipients.iter_rows(named=True), *columns, strict=True):
            message = EmailMessage(policy=SMTP_POLICY.clone(max_line_length=998))
            message["From"], message["To"], message["Subject"] = CONTENT.sender, row["address"], subject
            message["List-Unsubscribe"] = f"<{row['unsubscribe_url']}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
            message.set_content(text, cte="8bit")
            message.add_alternative(html, subtype="html", cte="8bit")
            server.send_message(message)


def main() -> int:
    """Prints the figures."""
    envelopes = batches()
    few = [
        Envelope(**{**vars(envelopes[0]), "recipients": pl.concat([e.recipients for e in envelopes[:10]])})
    ]
    few = [Envelope(**{**vars(few[0]), "recipients": few[0].recipients.head(BASELINE_MESSAGES)})]
    with sink(BASELINE_MESSAGES) as port:
        started = time.perf_counter()
        plain_loop(port, few[0])
        baseline = BASELINE_MESSAGES / (time.perf_counter() - started)
    with sink(MESSAGES) as port:
        before = resource.getrusage(resource.RUSAGE_SELF)
        started = time.perf_counter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            accepted = runner.run(send_all(port, envelopes))
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_SELF)
    assert accepted == MESSAGES, f"{accepted} accepted of {MESSAGES}"
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    report("smtp_messages", MESSAGES / seconds, "messages/s", baseline)
    report("smtp_messages_per_core", MESSAGES / used, "messages/cpu-s", baseline)
    return 0


if __name__ == "__main__":
    sys.exit(main())
