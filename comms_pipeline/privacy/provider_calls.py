"""Erasure at the providers: what to ask of whom, and asking it until it is done. The queue is the ledger's.

References are encrypted in the queue, so that an address that is gone from the ledger does not wait there.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import groupby

import orjson

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.ledger import erasure
from comms_pipeline.ledger.erasure import ProviderErasure
from comms_pipeline.providers import http
from comms_pipeline.providers.http_account import basic, bearer
from comms_pipeline.settings import Settings
from comms_pipeline.stores import Stores

SENDGRID, TWILIO = "sendgrid", "twilio"
RETRY_MINUTES = (1, 5, 15, 60)
"""Waits after an attempt that failed; after the last, once a day: the duty to erase does not lapse."""
_DAY_MINUTES = 24 * 60
_PER_ROUND = 500
_CONNECTIONS = 4


@dataclass(frozen=True, kw_only=True)
class CarriedOut:
    """What became of the erasures that were due, and how many still wait."""

    done: int = 0
    failed: int = 0
    waiting: int = 0


def needed(email: str | None, provider_ids: Collection[tuple[str, str | None]]) -> set[tuple[str, str]]:
    """Provider and reference of each erasure to ask for, from all (provider, its message id) of somebody.

    SendGrid erases by address (`POST /v3/recipients/erasejob`), Twilio by message (`DELETE …/Messages/SID.json`).
    The others offer nothing of the kind.
    """
    wanted = {(TWILIO, sid) for provider, sid in provider_ids if provider == TWILIO and sid}
    if email is not None and any(provider == SENDGRID for provider, _ in provider_ids):
        wanted.add((SENDGRID, email))
    return wanted


def queue(stores: Stores, wanted: Collection[tuple[str, str]]) -> int:
    """Queue what is not in the queue yet; returns how many were added."""
    box = _Box(stores.secret)
    with stores.ledger() as ledger, ledger.transaction():
        known = {
            (provider, box.opened(reference))
            for provider, reference in erasure.open_provider_erasures(ledger)
        }
        added = sorted(set(wanted) - known)
        erasure.add_provider_erasures(
            ledger, [(provider, box.closed(reference)) for provider, reference in added]
        )
    return len(added)


def carry_out(stores: Stores) -> CarriedOut:
    """Ask the providers for every erasure that is due. What fails is due again later. Can run at any time."""
    done = failed = 0
    box = _Box(stores.secret)
    while True:
        with stores.ledger() as ledger, ledger.transaction():
            due = erasure.due_provider_erasures(ledger, _PER_ROUND)
            errors = asyncio.run(_ask_all(stores.settings, due, box)) if due else {}
            erasure.provider_erasures_done(
                ledger, [row.erasure_id for row in due if row.erasure_id not in errors]
            )
            for row in due:
                if row.erasure_id in errors:
                    erasure.provider_erasures_failed(
                        ledger,
                        [row.erasure_id],
                        error=errors[row.erasure_id],
                        delay_seconds=60 * _delay_minutes(row.attempts),
                    )
        done += len(due) - len(errors)
        failed += len(errors)
        if len(due) < _PER_ROUND:
            with stores.ledger() as ledger:
                waiting, _ = erasure.provider_erasures_waiting(ledger)
            return CarriedOut(done=done, failed=failed, waiting=waiting)


def _delay_minutes(attempts: int) -> int:
    return RETRY_MINUTES[attempts] if attempts < len(RETRY_MINUTES) else _DAY_MINUTES


async def _ask_all(settings: Settings, due: Sequence[ProviderErasure], box: "_Box") -> dict[int, str]:
    """Ask for each; what went wrong by erasure id."""
    errors: dict[int, str] = {}
    for provider, rows in groupby(sorted(due, key=lambda row: row.provider), key=lambda row: row.provider):
        ask = {SENDGRID: _ask_sendgrid, TWILIO: _ask_twilio}[provider]
        errors |= await ask(settings, {row.erasure_id: box.opened(row.reference) for row in rows})
    return errors


async def _ask_sendgrid(settings: Settings, addresses: Mapping[int, str]) -> dict[int, str]:
    """One job for all of them: it takes up to 5,000 addresses."""
    session = http.open_session(
        connections=1,
        timeout_seconds=http.REQUEST_TIMEOUT_SECONDS,
        headers={"Authorization": bearer(settings.sendgrid_api_key.get_secret_value())},
    )
    try:
        reply = await http.post(
            session,
            f"{settings.sendgrid_url}/v3/recipients/erasejob",
            data=orjson.dumps({"email_addresses": sorted(set(addresses.values()))}),
            content_type="application/json",
        )
    finally:
        await session.close()
    problem = _problem(reply, taken={200, 202})
    return dict.fromkeys(addresses, problem) if problem else {}


async def _ask_twilio(settings: Settings, sids: Mapping[int, str]) -> dict[int, str]:
    """A request for each message; one that is gone already is as good as deleted."""
    account = settings.twilio_account_sid
    session = http.open_session(
        connections=_CONNECTIONS,
        timeout_seconds=http.REQUEST_TIMEOUT_SECONDS,
        headers={"Authorization": basic(account, settings.twilio_auth_token.get_secret_value())},
    )
    path = f"{settings.twilio_url}/2010-04-01/Accounts/{account}/Messages"
    try:
        replies = await asyncio.gather(
            *(session.ask("DELETE", f"{path}/{sid}.json", b"", None) for sid in sids.values())
        )
    finally:
        await session.close()
    problems = (_problem(reply, taken={204, 404}) for reply in replies)
    return {
        erasure_id: problem for erasure_id, problem in zip(sids, problems, strict=True) if problem is not None
    }


def _problem(reply: http.Reply, *, taken: Collection[int]) -> str | None:
    if isinstance(reply, http.Answer):
        return None if reply.status in taken else f"HTTP {reply.status}"
    return reply.error


class _Box:
    """Encrypts references under a key of their own, made of the installation's secret."""

    def __init__(self, secret: bytes) -> None:
        from cryptography.fernet import Fernet

        self._fernet = Fernet(
            urlsafe_b64encode(blake2b(secret, digest_size=32, person=b"comms erasures").digest())
        )

    def closed(self, reference: str) -> str:
        return self._fernet.encrypt(reference.encode()).decode()

    def opened(self, token: str) -> str:
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(token).decode()
        except InvalidToken:
            raise ProviderMisconfigured(
                "COMMS_SECRET_KEY",
                "queued erasures were encrypted under another key",
                "Set the key of this installation again",
            ) from None
