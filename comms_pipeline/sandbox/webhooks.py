"""Posting webhooks: signatures as the providers make them, and queues that retry until they are taken.

Posts go to this machine or to the web app's own host, never anywhere else: the sandbox must not reach out to
an address that happens to stand in a message. Knows nothing of events or messages.
"""

import asyncio
import base64
import hmac
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import aiohttp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from yarl import URL

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

logger = logging.getLogger(__name__)

WORKERS_PER_ORIGIN = 8
TIMEOUT_SECONDS = 15.0
FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 5.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Post:
    """One request to make, again and again until it is taken, or `max_attempts` times.

    A webhook is taken when it is answered with 2xx, the visit to a page (`is_visit`, a GET) by any answer.
    """

    url: str
    body: bytes
    headers: Mapping[str, str]
    done: Callable[[bool], None]
    """Called once: with True when it was taken, False when it was given up."""
    max_attempts: int | None = None
    sign: Callable[[], Mapping[str, str]] | None = None
    """Headers made anew for each attempt."""
    refusals: frozenset[int] = frozenset()
    """Answers other than 2xx that are not to be asked again for."""
    is_visit: bool = False


class EventSigner:
    """Signs SendGrid's event webhook: ECDSA P-256 with SHA-256 over the timestamp and the raw body."""

    def __init__(self, private_key: "EllipticCurvePrivateKey | str") -> None:
        key = (
            load_pem_private_key(private_key.encode(), None) if isinstance(private_key, str) else private_key
        )
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("the webhook key must be an elliptic curve key")
        self._key = key

    def headers(self, body: bytes, timestamp: int) -> dict[str, str]:
        signature = self._key.sign(str(timestamp).encode() + body, ec.ECDSA(hashes.SHA256()))
        return {
            "Content-Type": "application/json",
            "User-Agent": "SendGrid Event API",
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Twilio-Email-Event-Webhook-Timestamp": str(timestamp),
        }


def svix_headers(secret: str, webhook_id: str, body: bytes, timestamp: int) -> dict[str, str]:
    """Headers of a webhook of Resend's: Svix signs the id, the time and the raw body with HMAC-SHA256."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, "sha256")
    return {
        "Content-Type": "application/json",
        "User-Agent": "Svix-Webhooks/1.0",
        "svix-id": webhook_id,
        "svix-timestamp": str(timestamp),
        "svix-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def mailgun_signature(key: str, token: str, timestamp: int) -> dict[str, str]:
    """The signature in a webhook of Mailgun's: HMAC-SHA256 over time and token, in hexadecimal."""
    digest = hmac.digest(key.encode(), f"{timestamp}{token}".encode(), "sha256").hex()
    return {"timestamp": str(timestamp), "token": token, "signature": digest}


def twilio_signature(auth_token: str, url: str, form: Mapping[str, str]) -> str:
    """X-Twilio-Signature: base64 HMAC-SHA1 of the full URL and the sorted names and values."""
    text = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.digest(auth_token.encode(), text.encode(), "sha1")).decode()


def twilio_request(
    auth_token: str, url: str, form: Mapping[str, str], token: str
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a Twilio webhook; `token` names the delivery, the same for each retry."""
    headers = {
        "Content-Type": f"{_FORM}; charset=UTF-8",
        "User-Agent": "TwilioProxy/1.1",
        "I-Twilio-Idempotency-Token": token,
        "X-Twilio-Signature": twilio_signature(auth_token, url, form),
    }
    return urlencode(form).encode(), headers


ONE_CLICK_BODY = b"List-Unsubscribe=One-Click"
ONE_CLICK_HEADERS = {"Content-Type": _FORM}
"""What a mailbox provider posts when its user unsubscribes (RFC 8058)."""


class Postman:
    """Queues by origin, each with a few workers. Use within a running loop; `close` leaves what waits."""

    def __init__(self, web_url: str) -> None:
        self._hosts = _LOOPBACK | {urlsplit(web_url).hostname}
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS),
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=WORKERS_PER_ORIGIN),
        )
        self._queues: dict[str, _Queue] = {}
        self._strangers: set[str] = set()
        self.waiting = 0
        """Posts not yet taken."""

    def send(self, post: Post) -> None:
        """Queue a post. One to a foreign host is given up at once."""
        parts = urlsplit(post.url)
        if parts.scheme not in {"http", "https"} or parts.hostname not in self._hosts:
            host = parts.hostname or ""
            if host not in self._strangers:
                self._strangers.add(host)
                logger.warning("the sandbox posts to this machine and the web app only, not to %s", host)
            post.done(False)
            return
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._queues:
            self._queues[origin] = _Queue(self._session, self._finished)
        self.waiting += 1
        self._queues[origin].put(post)

    async def close(self) -> None:
        for queue in self._queues.values():
            await queue.close()
        await self._session.close()

    def _finished(self, post: Post, is_taken: bool) -> None:
        self.waiting -= 1
        post.done(is_taken)


class _Queue:
    """One origin's posts. A failed post goes to the end; while nothing succeeds the workers slow down."""

    def __init__(self, session: aiohttp.ClientSession, finished: Callable[[Post, bool], None]) -> None:
        self._session = session
        self._finished = finished
        self._posts: deque[tuple[Post, int]] = deque()
        self._arrived = asyncio.Event()
        self._failures = 0
        self._workers = [asyncio.create_task(self._work()) for _ in range(WORKERS_PER_ORIGIN)]

    def put(self, post: Post) -> None:
        self._posts.append((post, 0))
        self._arrived.set()

    async def close(self) -> None:
        for worker in self._workers:
            worker.cancel()
        for worker in self._workers:
            with suppress(asyncio.CancelledError):
                await worker

    async def _work(self) -> None:
        while True:
            while not self._posts:
                self._arrived.clear()
                await self._arrived.wait()
            post, attempts = self._posts.popleft()
            status = await self._answer(post)
            is_taken = bool(status) if post.is_visit else 200 <= status < 300
            if is_taken or status in post.refusals:
                self._failures = 0
                self._finished(post, is_taken)
                continue
            self._failures += 1
            if post.max_attempts is not None and attempts + 1 >= post.max_attempts:
                self._finished(post, False)
            else:
                self._posts.append((post, attempts + 1))
            doublings = min(self._failures // WORKERS_PER_ORIGIN, 10)
            await asyncio.sleep(min(FIRST_BACKOFF_SECONDS * 2**doublings, LONGEST_BACKOFF_SECONDS))

    async def _answer(self, post: Post) -> int:
        """The status of the answer; 0 when there was none."""
        # The signature is over the address as given: it must not be re-encoded on its way.
        url = URL(post.url, encoded=True)
        headers = post.sign() if post.sign else post.headers
        try:
            async with self._session.request(
                "GET" if post.is_visit else "POST",
                url,
                data=post.body or None,
                headers=headers,
                allow_redirects=False,
            ) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0
