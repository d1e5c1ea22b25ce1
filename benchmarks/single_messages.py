"""Speed of the lane that sends one request per message, 8 KB each, to a sink that only counts.

Three things send: our HTTP client alone, the whole engine (ledger on an embedded Postgres, claims, checks, Twilio's
adapter, recorded outcomes), and what others do in the same run: aiohttp, and a loop over Twilio's own SDK. Figures are
messages per second, and seconds of processor time per 1,000 messages of the sending process alone, of which the sink
and Postgres are none. Promised: 16,000 messages a second and 0.10 s on two cores. Every message must have come in.
Run: python benchmarks/single_messages.py [messages]
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import polars as pl
import uvloop
from _report import report
from _sink import Sink

from comms_pipeline.dispatch.engine import Lane, Scope
from comms_pipeline.dispatch.payload import pack
from comms_pipeline.domain.addresses import address_keys
from comms_pipeline.domain.content import Content
from comms_pipeline.domain.message import Channel, message_ids
from comms_pipeline.ledger import batches, launcher, sends
from comms_pipeline.ledger.batches import NewBatch
from comms_pipeline.ledger.migrate import migrate
from comms_pipeline.ledger.sends import Organisation
from comms_pipeline.ledger.server import Server, connect
from comms_pipeline.providers import http
from comms_pipeline.providers.twilio_send import Twilio

MESSAGES = 100_000
SDK_MESSAGES = 400
PROMISED_PER_SECOND = 16_000.0
PROMISED_SECONDS = 0.10
CONNECTIONS = 16
LANE = "sms:twilio"
ACCOUNT, SENDER = "AC" + "0" * 32, "+15005550006"
SENTENCE = "Your seats for the concert are kept until noon; show this message at the door. "
# With its form around it, a message of about 8 KB.
TEXT = ("Dear ", 0, ", " + SENTENCE * 90, "your number is ", 1, ".")
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class Effort:
    """What sending some messages took, of the clock and of this process's processor time."""

    messages: int
    seconds: float
    processor_seconds: float

    @property
    def per_second(self) -> float:
        return self.messages / self.seconds

    @property
    def seconds_per_thousand(self) -> float:
        return self.processor_seconds / self.messages * 1000


def measured(messages: int, work: Callable[[], object]) -> Effort:
    """Run it once."""
    started, used = time.perf_counter(), time.process_time()
    work()
    return Effort(
        messages=messages,
        seconds=time.perf_counter() - started,
        processor_seconds=time.process_time() - used,
    )


def on_uvloop(work: Coroutine[Any, Any, object]) -> None:
    """As dispatch runs its loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


async def side_by_side(messages: int, send: Callable[[], Awaitable[int]]) -> None:
    """Send that many, `CONNECTIONS` at a time. Every answer must be a 201."""
    turns = iter(range(messages))

    async def work() -> None:
        for _ in turns:
            status = await send()
            assert status == 201, status

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


async def client_alone(url: str, messages: int, body: bytes) -> None:
    """Our client, one body again and again."""
    session = http.open_session(connections=CONNECTIONS, timeout_seconds=30, headers={})

    async def send() -> int:
        reply = await http.post(session, url, data=body, content_type=FORM)
        return reply.status if isinstance(reply, http.Answer) else 0

    await side_by_side(messages, send)
    await session.close()


async def aiohttp_alone(url: str, messages: int, body: bytes) -> None:
    """The same over aiohttp."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def send() -> int:
            async with session.post(url, data=body, headers={"Content-Type": FORM}) as answer:
                await answer.read()
                return answer.status

        await side_by_side(messages, send)


def sdk_loop(url: str, messages: int) -> None:
    """What a plain program does: Twilio's SDK, one message after the other, over one pooled session."""
    from twilio.http.http_client import TwilioHttpClient
    from twilio.rest import Client

    class ToSink(TwilioHttpClient):  # type: ignore[misc]
        def request(self, method: str, uri: str, *rest: Any, **options: Any) -> Any:
            return super().request(method, uri.replace("https://api.twilio.com", url), *rest, **options)

    client = Client(ACCOUNT, "secret", http_client=ToSink())
    for number in range(messages):
        text = "".join(piece if isinstance(piece, str) else f"Ann {number}" for piece in TEXT)
        sent = client.messages.create(
            to=f"+1555{number:07}", from_=SENDER, body=text, status_callback=f"{url}/status?message={number}"
        )
        assert sent.sid


def fill_ledger(server: Server, send_id: str, messages: int) -> None:
    """Batches as planning enqueues them, ready to be claimed."""
    people = pl.DataFrame({"number": range(messages)}).select(
        address=pl.format("+1555{}", pl.col("number").cast(pl.String).str.zfill(7)),
        s0=pl.format("Ann O'Neill-{} & Zoë", "number"),
        s1=pl.format("AB {}", "number"),
        message_id=pl.Series(message_ids(send_id, map(str, range(messages)), Channel.SMS)),
    )
    payload = people.with_columns(address_key=address_keys(people["address"], Channel.SMS, b"benchmark"))
    content = Content(campaign_id="benchmark", parts={"text": TEXT}, sender="")
    now = datetime.now(UTC)
    with connect(server, autocommit=True) as connection, connection.transaction():
        sends.create_send(connection, send_id=send_id, campaign_id="benchmark", version=1, due_at=now)
        assert sends.start_send(connection, send_id)
        batches.enqueue(
            connection,
            send_id=send_id,
            organisation_id="acme",
            generation=1,
            contents={content.content_id: content.to_dict()},
            batches=[
                NewBatch(
                    lane=LANE,
                    channel=Channel.SMS,
                    content_id=content.content_id,
                    priority=2,
                    message_count=part.height,
                    payload=pack(part),
                    due_at=now,
                )
                for part in payload.iter_slices(Twilio.limits.batch_size)
            ],
        )


def open_ledger(home: Path) -> Server:
    """A fresh ledger on an embedded Postgres, with the one campaign of the benchmark."""
    server = launcher.ensure_started(home)
    launcher.ensure_databases(server)
    migrate(server)
    with connect(server, autocommit=True) as connection, connection.transaction():
        sends.put_organisation(
            connection, Organisation(organisation_id="acme", name="Acme", postal_address="1 Main Street")
        )
        sends.apply_campaign(
            connection, campaign_id="benchmark", organisation_id="acme", digest="1", spec={}, templates={}
        )
    return server


def run_engine(server: Server, url: str, send_id: str, messages: int) -> None:
    """Send what the ledger holds of a send. Every message must end as accepted."""
    provider = Twilio(
        channel=Channel.SMS,
        account_sid=ACCOUNT,
        auth_token="secret",
        base_url=url,
        sender=SENDER,
        callback_url="https://mail.lakeside.example/webhooks/twilio/status",
        connections=CONNECTIONS,
    )
    lane = Lane(
        lane=LANE,
        provider=provider,
        connect=lambda: connect(server, autocommit=True),
        worker="benchmark",
        scope=Scope(send_id=send_id),
    )
    on_uvloop(lane.run())
    assert lane.report.counts == {"accepted": messages}, lane.report


def engine(url: str, messages: int) -> Effort:
    """The whole engine, after a first send that opens what stays open."""
    with tempfile.TemporaryDirectory() as folder:
        server = open_ledger(Path(folder))
        try:
            fill_ledger(server, "first", 1_000)
            run_engine(server, url, "first", 1_000)
            fill_ledger(server, "second", messages)
            return measured(messages, lambda: run_engine(server, url, "second", messages))
        finally:
            launcher.remove(Path(folder))


def main(messages: int) -> int:
    """Prints the figures; 1 if the sink counted anything but what was sent."""
    with Sink() as sink:
        url = f"{sink.url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
        body = b"To=%2B15550000000&Body=" + b"x" * 8192
        slow = messages // 4
        sdk = measured(SDK_MESSAGES, lambda: sdk_loop(sink.url, SDK_MESSAGES))
        peer = measured(slow, lambda: on_uvloop(aiohttp_alone(url, slow, body)))
        client = measured(messages, lambda: on_uvloop(client_alone(url, messages, body)))
        whole = engine(sink.url, messages)
        expected = SDK_MESSAGES + slow + 2 * messages + 1_000
        if (counted := sink.counts().messages) != expected:
            print(f"error: the sink counted {counted}, not {expected}", file=sys.stderr)
            return 1
    for name, ours, theirs in (
        ("client_beside_aiohttp", client, peer),
        ("engine_beside_aiohttp", whole, peer),
        ("engine_beside_sdk", whole, sdk),
    ):
        report(f"single_{name}", ours.per_second, "messages/s", theirs.per_second)
        milliseconds = ours.seconds_per_thousand * 1000, theirs.seconds_per_thousand * 1000
        report(f"single_{name}_cpu", milliseconds[0], "ms/1000", milliseconds[1], is_more_better=False)
    report("single_engine_promised", whole.per_second, "messages/s", PROMISED_PER_SECOND)
    used = whole.seconds_per_thousand * 1000
    report("single_engine_cpu_promised", used, "ms/1000", PROMISED_SECONDS * 1000, is_more_better=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES))
