"""Lets recipients act in time: turns the record into webhooks, posts them, and remembers how far it came.

Events are not stored. They follow from the record, the seed and the event delay, so a watermark is enough:
everything due before it was taken by the receiver. After a crash what lies behind it is derived again, so
that an event may be posted twice with the same id, as the real providers do, but none is lost.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import orjson

from comms_pipeline.sandbox import sent_mailgun, sent_resend
from comms_pipeline.sandbox.agenda import Agenda
from comms_pipeline.sandbox.config import SandboxConfig
from comms_pipeline.sandbox.recipients import HORIZON, Happening, Repeat, Step
from comms_pipeline.sandbox.record import Provider, Record, StoredMessage
from comms_pipeline.sandbox.sent_mail import Event, SentMail
from comms_pipeline.sandbox.sent_mailgun import SentMailgunMail
from comms_pipeline.sandbox.sent_resend import SentResendMail
from comms_pipeline.sandbox.sent_text import REPLIES, SentText
from comms_pipeline.sandbox.webhooks import (
    ONE_CLICK_BODY,
    ONE_CLICK_HEADERS,
    EventSigner,
    Post,
    Postman,
    mailgun_signature,
    svix_headers,
    twilio_request,
)

logger = logging.getLogger(__name__)

BATCH_EVENTS = 250
"""Events of one post to the event webhook."""
PAUSE_SECONDS = 0.05
SAVE_SECONDS = 1.0
MOST_WAITING_POSTS = 2_000
"""More than this many untaken posts hold back later ticks; they stay in the agenda, which is small."""
ONE_CLICK_ATTEMPTS = VISIT_ATTEMPTS = 5
_MAILS: dict[Provider, type[SentMail]] = {Provider.RESEND: SentResendMail, Provider.MAILGUN: SentMailgunMail}
# Mailgun asks no more for what is answered with this.
_NOT_ACCEPTABLE = frozenset({406})


class Poster:
    """Posts what recipients do. `announce` before a request is recorded, `schedule` or `withdraw` after."""

    def __init__(self, config: SandboxConfig, record: Record) -> None:
        self._config = config
        self._record = record
        self._signer = EventSigner(config.webhook_private_key)
        self._postman = Postman(config.web_url)
        self._resume_at, self._posted = record.progress()
        self._agenda = Agenda(self._resume_at)
        self._stopped = record.stopped()
        self._unscheduled: dict[int, float] = {}
        self._ready: deque[tuple[int, Sequence[StoredMessage] | None]] = deque()
        self._untaken: Counter[float] = Counter()
        earliest = self._resume_at - HORIZON * config.event_delay_seconds
        for request_id in record.requests_since(earliest):
            self.announce(request_id, self._resume_at)
            self._ready.append((request_id, None))
        self._task = asyncio.create_task(self._run())

    @property
    def posted(self) -> int:
        """Steps whose webhooks were taken, since the record began."""
        return self._posted

    @property
    def owed(self) -> int:
        """Steps still to come or not yet taken; messages just accepted count as one."""
        return self._agenda.waiting + sum(self._untaken.values()) + len(self._unscheduled)

    def announce(self, request_id: int, starts_at: float) -> None:
        """Hold the watermark before this request, whose record is on its way."""
        self._unscheduled[request_id] = starts_at

    def schedule(self, request_id: int, messages: Sequence[StoredMessage]) -> None:
        """The request is on disk: let its recipients act."""
        self._ready.append((request_id, messages))

    def withdraw(self, request_id: int) -> None:
        """The request could not be recorded."""
        self._unscheduled.pop(request_id, None)

    def has_stopped(self, address: str) -> bool:
        """Whether the owner of this number has replied STOP."""
        return address in self._stopped

    def mail(self, stored: StoredMessage) -> SentMail:
        """The e-mail as told of, from its record."""
        request = self._record.request(stored.request_id)
        skeleton = self._record.skeleton(request.digest) if request.digest is not None else {}
        return _MAILS.get(request.provider, SentMail)(
            stored=stored,
            request=request,
            skeleton=skeleton,
            seed=self._config.seed,
            delay=self._config.event_delay_seconds,
        )

    def text(self, stored: StoredMessage) -> SentText:
        """The text message as told of, from its record."""
        return SentText(
            stored=stored,
            request=self._record.request(stored.request_id),
            account_sid=self._config.twilio_account_sid,
            seed=self._config.seed,
            delay=self._config.event_delay_seconds,
        )

    async def close(self) -> None:
        """Stop acting; remember how far it came."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._postman.close()
        await self._record.save_progress(self._watermark(), self._posted)

    async def _run(self) -> None:
        saved_at = time.monotonic()
        while True:
            try:
                await self._enter_ready()
                await self._post_due()
                if time.monotonic() - saved_at > SAVE_SECONDS:
                    await self._record.save_progress(self._watermark(), self._posted)
                    saved_at = time.monotonic()
            except Exception:
                # One broken message must not silence all others; the watermark keeps what it owes.
                logger.exception("the sandbox could not post webhooks")
            await asyncio.sleep(PAUSE_SECONDS)

    def _watermark(self) -> float:
        marks = [self._agenda.mark, *self._untaken]
        # In order of acceptance, so the first is the earliest but for clock steps.
        marks += list(self._unscheduled.values())[:1]
        return max(min(marks), self._resume_at)

    async def _enter_ready(self) -> None:
        while self._ready:
            request_id, messages = self._ready.popleft()
            for stored in messages or self._record.messages_of_request(request_id):
                told = self._told(stored)
                for index, step in enumerate(told.steps):
                    due_at = told.due_at(step)
                    if due_at >= self._resume_at:
                        self._agenda.add(stored.key, index, due_at)
            self._unscheduled.pop(request_id, None)
            await asyncio.sleep(0)

    def _told(self, stored: StoredMessage) -> SentMail | SentText:
        provider = self._record.request(stored.request_id).provider
        return self.text(stored) if provider is Provider.TWILIO else self.mail(stored)

    async def _post_due(self) -> None:
        while taken := self._agenda.take(time.time()):
            mark, due = taken
            self._untaken[mark] += len(due)
            for start in range(0, len(due), BATCH_EVENTS):
                while self._postman.waiting > MOST_WAITING_POSTS:
                    await asyncio.sleep(PAUSE_SECONDS)
                await self._post(mark, due[start : start + BATCH_EVENTS])
                await asyncio.sleep(0)

    async def _post(self, mark: float, due: Sequence[tuple[int, int]]) -> None:
        events: list[Event] = []
        steps = 0
        for key, index in due:
            stored = self._record.message(key)
            if stored is None:
                self._settle(mark, 1, is_taken=False)
                continue
            told = self._told(stored)
            step = told.steps[index]
            if isinstance(told, SentText):
                await self._post_text(mark, told, step)
            elif step.what is Happening.UNSUBSCRIBED and (url := told.one_click_url):
                self._post_one_click(mark, url, step)
            else:
                for url in told.visits(step):
                    self._visit(mark, url, told.visitor(step))
                if isinstance(told, SentResendMail):
                    self._post_resend(mark, told, step)
                elif isinstance(told, SentMailgunMail):
                    self._post_mailgun(mark, told, step)
                else:
                    events += told.events(step)
                    steps += 1
        if events:
            self._post_events(mark, events, steps)
        elif steps:
            self._settle(mark, steps, is_taken=False)

    def _post_events(self, mark: float, events: Sequence[Event], steps: int) -> None:
        # SendGrid ends the array with CRLF, which is part of what it signs.
        body = b"[" + b",\r\n".join(map(orjson.dumps, events)) + b"]\r\n"
        headers = self._signer.headers(body, int(time.time()))
        url = f"{self._config.web_url}/webhooks/sendgrid"
        self._send(mark, url, body, headers, steps)

    def _post_one_click(self, mark: float, url: str, step: Step) -> None:
        if step.repeat is not Repeat.NO:
            self._settle(mark, 1, is_taken=False)
        else:
            self._send(mark, url, ONE_CLICK_BODY, ONE_CLICK_HEADERS, 1, max_attempts=ONE_CLICK_ATTEMPTS)

    def _visit(self, mark: float, url: str, user_agent: str) -> None:
        def done(_is_taken: bool) -> None:
            self._settle(mark, 1, is_taken=False)

        self._untaken[mark] += 1
        headers = {"User-Agent": user_agent}
        self._postman.send(
            Post(url=url, body=b"", headers=headers, done=done, max_attempts=VISIT_ATTEMPTS, is_visit=True)
        )

    def _post_resend(self, mark: float, told: SentResendMail, step: Step) -> None:
        secret = self._config.resend_webhook_secret
        url = f"{self._config.web_url}{sent_resend.PATH}"
        posts = told.webhooks(step) if secret else []
        done = self._step_of(mark, len(posts))
        for webhook_id, body in posts:

            def sign(webhook_id: str = webhook_id, body: bytes = body) -> dict[str, str]:
                return svix_headers(secret, webhook_id, body, int(time.time()))

            self._postman.send(Post(url=url, body=body, headers={}, done=done, sign=sign))

    def _post_mailgun(self, mark: float, told: SentMailgunMail, step: Step) -> None:
        key = self._config.mailgun_webhook_key
        url = f"{self._config.web_url}{sent_mailgun.PATH}"
        posts = told.webhooks(step) if key else []
        done = self._step_of(mark, len(posts))
        for token, data in posts:
            body = sent_mailgun.body(mailgun_signature(key, token, int(time.time())), data)
            headers = {"Content-Type": "application/json", "User-Agent": "mailgun/treq-16.12.0"}
            self._postman.send(Post(url=url, body=body, headers=headers, done=done, refusals=_NOT_ACCEPTABLE))

    def _step_of(self, mark: float, posts: int) -> Callable[[bool], None]:
        """Settles a step when each of its posts is done; at once when there is none."""
        left, are_taken = posts, True

        def done(is_taken: bool) -> None:
            nonlocal left, are_taken
            left, are_taken = left - 1, are_taken and is_taken
            if left == 0:
                self._settle(mark, 1, is_taken=are_taken)

        if not posts:
            self._settle(mark, 1, is_taken=False)
        return done

    async def _post_text(self, mark: float, told: SentText, step: Step) -> None:
        if step.what is Happening.STOPPED:
            self._stopped.add(told.stored.address)
            await self._record.add_stopped(told.stored.address, told.due_at(step))
        if step.what in REPLIES:
            url, form = f"{self._config.web_url}/webhooks/twilio/inbound", told.reply(step)
        else:
            url, form = told.form.get("StatusCallback", ""), told.callback(step)
        if not url:
            self._settle(mark, 1, is_taken=False)
            return
        token = told.delivery_token(step)
        body, headers = twilio_request(self._config.twilio_auth_token, url, form, token)
        self._send(mark, url, body, headers, 1)

    def _send(
        self,
        mark: float,
        url: str,
        body: bytes,
        headers: dict[str, str],
        steps: int,
        max_attempts: int | None = None,
    ) -> None:
        def done(is_taken: bool) -> None:
            self._settle(mark, steps, is_taken=is_taken)

        self._postman.send(Post(url=url, body=body, headers=headers, done=done, max_attempts=max_attempts))

    def _settle(self, mark: float, steps: int, *, is_taken: bool) -> None:
        self._posted += steps if is_taken else 0
        self._untaken[mark] -= steps
        if self._untaken[mark] <= 0:
            del self._untaken[mark]
