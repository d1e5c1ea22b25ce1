"""What the sandbox's recipients do, as SendGrid tells it, and what must become of it in the lake. No tests."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

import orjson
import polars as pl

from comms_pipeline.sandbox.recipients import Repeat
from comms_pipeline.sandbox.record import Provider, StoredMessage, StoredRequest
from comms_pipeline.sandbox.sent_mail import SentMail

_MOST_TELLINGS = 40
START = datetime(2026, 11, 2, 8, tzinfo=UTC)
_SKELETON = {
    "from": {"email": "office@gallery.example"},
    "subject": "Open day",
    "content": [
        {
            "type": "text/html",
            "value": '<a href="https://gallery.example/a?x=1&amp;y=2">A</a> <a href="https://gallery.example/b">B</a>',
        }
    ],
}
# What each word of SendGrid's makes of a message, and how far that is: written down here once more, on purpose.
_STEPS = {
    "processed": (20, "accepted"),
    "deferred": (40, "deferred"),
    "delivered": (50, "delivered"),
    "dropped": (51, "failed"),
    "blocked": (51, "failed"),
    "bounce": (52, "bounced"),
    "open": (60, "opened"),
    "click": (61, "clicked"),
    "unsubscribe": (70, "unsubscribed"),
    "spamreport": (71, "complained"),
}
HAPPENED = {
    "message_id": pl.String(),
    "word": pl.String(),
    "occurred_at": pl.Int64(),
    "url": pl.String(),
    "code": pl.String(),
}


class Recipients:
    """The sandbox's recipients: what they did, as SendGrid would tell it."""

    def __init__(self, randomness: Random) -> None:
        self._random = randomness
        self._messages = 0
        self.happened: list[pl.DataFrame] = []

    def act(self, events: int) -> tuple[list[bytes], pl.DataFrame]:
        """At least so many tellings of different events, and the messages they are about."""
        told: list[bytes] = []
        rows: list[tuple[object, ...]] = []
        planned: list[str] = []
        while len(rows) < events:
            mail = self._mail()
            planned.append(mail.stored.message_id)
            for step in mail.steps:
                # The sandbox repeats some by itself, at other times; here that is our part.
                if step.repeat is Repeat.NO:
                    for event in mail.events(step):
                        word = "blocked" if event.get("type") == "blocked" else event["event"]
                        what = (event["timestamp"], event.get("url"), event.get("status"))
                        rows.append((mail.stored.message_id, word, *what))
                        told += self._tellings(event)
        # Two opens in one second are one to whoever keeps no finer time.
        self.happened.append(pl.DataFrame(rows, schema=HAPPENED, orient="row").unique())
        return told, pl.DataFrame({"message_id": planned})

    def _mail(self) -> SentMail:
        number = self._messages
        self._messages += 1
        message_id = f"{self._random.getrandbits(128):032x}"
        request, position = divmod(number, 1000)
        personalization = {
            "to": [{"email": f"p{number}@x.example"}],
            "custom_args": {"comms_message": message_id, "comms_org": "gallery"},
        }
        starts_at = (START + timedelta(seconds=request)).timestamp()
        return SentMail(
            stored=StoredMessage(
                key=request * 1024 + position,
                recipient=0,
                message_id=message_id,
                organisation="gallery",
                send="open-day",
                address=f"p{number}@x.example",
                starts_at=starts_at,
                payload=orjson.dumps(personalization),
            ),
            request=StoredRequest(
                request_id=request,
                provider=Provider.SENDGRID,
                provider_id=f"request-{request}",
                accepted_at=starts_at,
                categories=("gallery", "open-day") if request % 2 else ("open-day",),
            ),
            skeleton=_SKELETON,
            seed=1,
            delay=600.0,
        )

    def _tellings(self, event: dict[str, object]) -> Iterator[bytes]:
        """One event, mostly once or twice, now and then dozens of times; a third of the repeats under a new id."""
        chance = self._random.random()
        most = 2 if chance < 0.9 else 8 if chance < 0.99 else _MOST_TELLINGS
        for telling in range(self._random.randint(1, most)):
            if telling and self._random.random() < 0.33:
                yield orjson.dumps(event | {"sg_event_id": f"{self._random.getrandbits(128):032x}"})
            else:
                yield orjson.dumps(event)


def statuses(happened: pl.DataFrame) -> pl.DataFrame:
    """Where each message stands, by what happened to it."""
    rank = pl.col("word").replace_strict(
        {word: rank for word, (rank, _) in _STEPS.items()}, return_dtype=pl.Int32
    )
    status = pl.col("status_rank").replace_strict(dict(_STEPS.values()))

    def first(*words: str) -> pl.Expr:
        return pl.col("occurred_at").filter(pl.col("word").is_in(words)).min()

    def count(word: str) -> pl.Expr:
        return (pl.col("word") == word).sum().cast(pl.Int64)

    return (
        happened.group_by("message_id")
        .agg(
            status_rank=rank.max(),
            deferred_at=first("deferred"),
            delivered_at=first("delivered"),
            bounced_at=first("bounce"),
            failed_at=first("dropped", "blocked"),
            first_opened_at=first("open"),
            first_clicked_at=first("click"),
            complained_at=first("spamreport"),
            unsubscribed_at=first("unsubscribe"),
            last_event_at=pl.col("occurred_at").max(),
            opens=count("open"),
            clicks=count("click"),
        )
        .with_columns(status=status)
        .select("message_id", "status", pl.exclude("message_id", "status"))
    )
