"""Twilio, outgoing, SMS and WhatsApp: one request per message over pooled connections, reconciliation by listing."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote_plus

import orjson
import polars as pl

from comms_pipeline.domain.content import Content, Skeleton
from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.outcome import OutcomeStatus, RejectReason
from comms_pipeline.providers import http
from comms_pipeline.providers.base import RESULTS, Envelope, Found, Limits, SendReport, joined
from comms_pipeline.providers.http_account import HttpAccount, basic
from comms_pipeline.providers.twilio_codes import MEANINGS, Action

_IN_DOUBT = {502, 504}
_ACTIONS = {
    401: Action.CONFIGURATION,
    403: Action.CONFIGURATION,
    404: Action.CONFIGURATION,
    405: Action.CONFIGURATION,
    408: Action.TRANSIENT,
    429: Action.TRANSIENT,
}
"""What a status asks for where Twilio's code does not say."""
_FORM = "application/x-www-form-urlencoded"
_UNQUOTED = bytes(byte for byte in range(128) if quote_plus(bytes([byte])) == chr(byte))
_MOST_PASSES = 24
_SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
_PREFIXES: Mapping[Channel, str] = {Channel.SMS: "", Channel.WHATSAPP: "whatsapp:"}
"""What comes before the number of a sender or recipient."""
_JSON_ESCAPES = {
    **{chr(code): f"\\u{code:04x}" for code in range(0x20)},
    **{"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"},
}
"""What may not stand in a JSON string as it is (RFC 8259, section 7)."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one message. `error` is free of personal data."""

    status: OutcomeStatus
    reason: RejectReason | None = None
    code: str | None = None
    provider_message_id: str | None = None
    error: str | None = None
    retry_after_seconds: float | None = None
    is_misconfigured: bool = False
    is_throttled: bool = False


class Twilio(HttpAccount):
    """One Twilio account, for SMS or WhatsApp. `sender` is a number (E.164) or a Messaging Service SID (MG…)."""

    name = "twilio"
    # What a crash leaves in doubt is asked for message by message: batches are no larger than claiming and recording
    # them, a few milliseconds each, is worth. Two, so that one begins while the other's last answers come.
    limits = Limits(batch_size=500, concurrency=2)

    def __init__(
        self,
        *,
        channel: Channel,
        account_sid: str,
        auth_token: str,
        base_url: str,
        sender: str,
        callback_url: str,
        connections: int = 16,
        timeout_seconds: float = http.REQUEST_TIMEOUT_SECONDS,
    ) -> None:
        super().__init__(
            authorization=basic(account_sid, auth_token),
            connections=connections,
            timeout_seconds=timeout_seconds,
        )
        self.channel = channel
        self._messages_url = f"{base_url}/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._base_url = base_url
        self._sender = sender
        self._callback_url = callback_url

    async def send(self, envelope: Envelope) -> SendReport:
        """One request per message, `connections` at a time.

        What is left after a configuration error, or when its turn would come too late, is not tried: it is deferred.
        """
        session = self._session
        bodies = request_bodies(
            envelope, channel=self.channel, sender=self._sender, callback_url=self._callback_url
        )
        forms = enumerate(bodies)
        tally = _Tally(envelope.recipients["message_id"])

        async def work() -> None:
            # Not one task per message: as many as can be under way at once, each taking the next.
            for place, form in forms:
                wait = 0.0 if tally.is_over else await envelope.pace()
                if wait:
                    tally.put_off(wait)
                if tally.is_over:
                    return
                tally.note(place, await http.post(session, self._messages_url, data=form, content_type=_FORM))

        await asyncio.gather(*(work() for _ in range(min(self._connections, envelope.recipients.height))))
        return tally.report()

    async def find(self, envelope: Envelope, since: datetime, until: datetime) -> Found | None:
        """List what went to each address in the window and compare what it says, one address at a time.

        Twilio's list names neither our ids nor the Content template. A text must be the same, what came of a template
        must hold all that we filled in; not conclusive when an address got only others, as a value may stand where the
        list shows nothing. Where two messages in doubt are alike, each listed one vouches for one of them.
        """
        content, recipients = envelope.content, envelope.recipients
        parts = list(content.variables.values()) if content.content_sid else [content.parts["text"]]
        said = pl.DataFrame({str(place): joined(part, recipients) for place, part in enumerate(parts)})
        rows = said.rows() or [()] * recipients.height
        accepted: dict[str, str] = {}
        for message_id, to, texts in zip(
            recipients["message_id"].to_list(), recipients["address"].to_list(), rows, strict=True
        ):
            listed = await self._sent_to(_PREFIXES[self.channel] + to, since, until)
            if listed is None:
                return None
            alike = [sid for sid, body in listed if _is_alike(body, texts, content)]
            if content.content_sid and listed and not alike:
                return None
            sid = next((sid for sid in alike if sid not in accepted.values()), None)
            if sid:
                accepted[message_id] = sid
        return Found(accepted=accepted)

    async def _sent_to(self, to: str, since: datetime, until: datetime) -> list[tuple[str, str]] | None:
        """SID and text of what went to `to` in the window; `None` when Twilio does not say."""
        params = {
            "To": to,
            "DateSent>": since.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "DateSent<": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "PageSize": "1000",
        }
        url: str | None = self._messages_url
        found: list[tuple[str, str]] = []
        query: dict[str, str] | None = params
        while url:
            reply = await http.get(self._session, url, params=query)
            if reply is None or reply.status != 200:
                return None
            page = _json(reply.body)
            messages = page.get("messages")
            if not isinstance(messages, list):
                return None
            found += [(m["sid"], m["body"] or "") for m in messages]
            next_page = page.get("next_page_uri")
            if next_page and not str(next_page).startswith("/"):
                # It would run on into the host's name, and our credentials go to that host.
                return None
            url, query = (f"{self._base_url}{next_page}" if next_page else None), None
        return found


def request_bodies(envelope: Envelope, *, channel: Channel, sender: str, callback_url: str) -> list[bytes]:
    """The form of `POST Messages.json` for each message of an envelope. Our ids travel in the callback's query."""
    content, recipients, prefix = envelope.content, envelope.recipients, _PREFIXES[channel]
    sender = content.sender or sender
    from_field = f"MessagingServiceSid={sender}"
    if not _SERVICE.fullmatch(sender):
        from_field = f"From={quote_plus(prefix + sender)}"
    fields, skeleton = _said(content)
    # Quoting goes character by character, so quoted pieces joined are the quoted text: what all messages share is
    # quoted once, and of each message only its slots.
    values = [recipients[f"s{piece}"] for piece in {*skeleton} if isinstance(piece, int)]
    if content.content_sid:
        values = [_escaped(texts) for texts in values]
    slots = recipients.select("message_id", *map(_quoted, values))
    skeleton = tuple(quote_plus(piece) if isinstance(piece, str) else piece for piece in skeleton)
    query_end = f"&org={quote_plus(envelope.organisation_id)}"
    forms = pl.select(
        form=pl.concat_str(
            pl.lit(f"To={quote_plus(prefix)}"),
            _quoted(recipients["address"]),
            pl.lit(f"&{from_field}{fields}"),
            joined(skeleton, slots),
            pl.lit(f"&StatusCallback={quote_plus(f'{callback_url}?message=')}"),
            _quoted(_quoted(recipients["message_id"])),
            pl.lit(quote_plus(query_end)),
        ).cast(pl.Binary)
    )
    return forms["form"].to_list()


def _said(content: Content) -> tuple[str, Skeleton]:
    """The form's fields for what a message says: up to the value of the last one, and that value's skeleton."""
    if not content.content_sid:
        return "&Body=", content.parts["text"]
    if not content.variables:
        return f"&ContentSid={content.content_sid}", ()
    pieces: list[str | int] = []
    for number, skeleton in content.variables.items():
        pieces.append(f'{"," if pieces else "{"}"{number}":"')
        pieces += (
            orjson.dumps(piece).decode()[1:-1] if isinstance(piece, str) else piece for piece in skeleton
        )
        pieces.append('"')
    return f"&ContentSid={content.content_sid}&ContentVariables=", (*pieces, "}")


def _escaped(texts: pl.Series) -> pl.Series:
    """Each text as it stands between the quotes of a JSON string, exactly as orjson has it."""
    return texts.str.replace_many(_JSON_ESCAPES)


def _is_alike(body: str, parts: Sequence[str], content: Content) -> bool:
    """Whether a listed message may be ours: the same text, or one that holds every variable of its template."""
    return all(part in body for part in parts) if content.content_sid else [body] == list(parts)


def _quoted(texts: pl.Series) -> pl.Series:
    """Each text as a form's value, exactly as `urllib.parse.quote_plus` has it.

    One pass over the column for each different character that needs it. Where they are many, as in texts of other
    scripts, one text after the other is faster.
    """
    special = set("".join(texts.to_list()).encode().translate(None, _UNQUOTED).decode())
    if len(special) > _MOST_PASSES:
        return pl.Series(texts.name, [quote_plus(text) for text in texts.to_list()], dtype=pl.String)
    # Quotes consist of percent signs, pluses and what is never quoted: those two go before they come.
    for character in sorted(special, key=lambda character: (character != "%", character != "+")):
        texts = texts.str.replace_all(character, quote_plus(character), literal=True)
    return texts


def result(reply: http.Reply) -> Result:
    """Translate Twilio's answer to one message: its error code first, the HTTP status where there is none."""
    if isinstance(reply, http.NotSent):
        return Result(status=OutcomeStatus.DEFERRED, error=reply.error)
    if isinstance(reply, http.NoAnswer):
        return Result(status=OutcomeStatus.UNKNOWN, error=reply.error)
    body = _json(reply.body)
    if reply.status == 201 and "sid" in body:
        return Result(status=OutcomeStatus.ACCEPTED, provider_message_id=str(body["sid"]))
    if reply.status in _IN_DOUBT or reply.status < 400:
        return Result(
            status=OutcomeStatus.UNKNOWN, code=str(reply.status), error=f"Twilio answered {reply.status}"
        )
    number = body.get("code")
    code = str(number or reply.status)
    error = f"Twilio answered {code}"
    meaning = MEANINGS.get(number) if isinstance(number, int) else None
    retry_after = reply.headers.get("Retry-After", "")
    action = meaning.action if meaning else _ACTIONS.get(reply.status)
    if action is Action.CONFIGURATION:
        return Result(status=OutcomeStatus.DEFERRED, code=code, error=error, is_misconfigured=True)
    if action in {Action.TRANSIENT, Action.NEXT_WINDOW} or reply.status >= 500:
        seconds = float(retry_after) if retry_after.isdigit() else None
        return Result(
            status=OutcomeStatus.DEFERRED,
            code=code,
            error=error,
            retry_after_seconds=seconds,
            is_throttled=reply.status == 429,
        )
    reason = meaning.reason if meaning else RejectReason.OTHER
    return Result(status=OutcomeStatus.REFUSED, reason=reason, code=code)


def _json(body: bytes) -> dict[str, object]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


class _Tally:
    """Results by column. A message nobody tried is deferred."""

    def __init__(self, message_ids: pl.Series) -> None:
        self.is_over = False
        """Whether the messages not tried yet are to stay so."""
        self._message_ids = message_ids
        self._statuses = [OutcomeStatus.DEFERRED.value] * len(message_ids)
        self._sids: list[str | None] = [None] * len(message_ids)
        self._others: dict[int, Result] = {}
        self._waits: list[float] = []

    def put_off(self, seconds: float) -> None:
        """What is left would go too late: it is due again in so many seconds."""
        self._waits.append(seconds)
        self.is_over = True

    def note(self, place: int, reply: http.Reply) -> None:
        """What became of the message in this place."""
        told = result(reply)
        self._statuses[place] = told.status.value
        if told.status is OutcomeStatus.ACCEPTED:
            self._sids[place] = told.provider_message_id
            return
        self._others[place] = told
        self.is_over |= told.is_misconfigured
        if told.retry_after_seconds:
            self._waits.append(told.retry_after_seconds)

    def report(self) -> SendReport:
        """All of it, as columns."""
        reasons: list[str | None] = [None] * len(self._statuses)
        codes: list[str | None] = [None] * len(self._statuses)
        for place, told in self._others.items():
            reasons[place] = told.reason.value if told.reason else None
            codes[place] = told.code
        frame = pl.DataFrame(
            {
                "message_id": self._message_ids,
                "status": self._statuses,
                "reason": reasons,
                "code": codes,
                "provider_message_id": self._sids,
            },
            schema=RESULTS,
        )
        others = self._others.values()
        return SendReport(
            results=frame,
            retry_after_seconds=max(self._waits, default=None),
            error=next((told.error for told in others if told.error), None),
            stop=next((_stop(told) for told in others if told.is_misconfigured), None),
            is_throttled=any(told.is_throttled for told in others),
        )


def _stop(faulty: Result) -> ProviderMisconfigured:
    return ProviderMisconfigured(
        "Twilio",
        f"it refused our configuration (code {faulty.code})",
        "Look the code up in Twilio's error dictionary; check COMMS_TWILIO_*",
    )
