"""The preference centre, behind the preferences link of a message. GET shows how things stand, POST changes it.

Three forms on one page: what to get, how and when; a pause; and out of everything. Without cookies, login or script.
A form says which standing it was made for, so that one that is sent again later changes nothing; only the way out
works whatever happened since. What a choice does to the ledger lives in `subscription`, reading a form in `forms`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

import psycopg
from fastapi import APIRouter, Request
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from comms_pipeline.domain.links import PATHS
from comms_pipeline.domain.message import EVERY_TOPIC, Channel
from comms_pipeline.domain.tokens import Purpose, TokenClaims, TokenKeys
from comms_pipeline.ledger.preferences import PersonalLimits
from comms_pipeline.web.answers import LimitedBody, Pages
from comms_pipeline.web.forms import CAPS, Action, Submitted, box_value, clock_value, read_form
from comms_pipeline.web.languages import Texts
from comms_pipeline.web.subscription import (
    Cell,
    Standing,
    address_claims,
    choose,
    how_it_stands,
    limit,
    one_at_a_time,
    sender_of,
    stop_everything,
)

# A day more than the page says, for a pause ends at midnight (UTC) and may begin at any time.
_PAUSE = timedelta(days=31)


@dataclass(frozen=True, kw_only=True)
class Box:
    """One type of message to tick."""

    value: str
    label: str
    is_ticked: bool


@dataclass(frozen=True, kw_only=True)
class Group:
    """The boxes of one channel. `barrier` says why none of them can be ticked; "" when they can."""

    channel: Channel
    label: str
    summary: str
    boxes: Sequence[Box]
    barrier: str


class Preferences:
    """The endpoints behind `/p/{token}`."""

    def __init__(self, keys: TokenKeys, pool: ConnectionPool, pages: Pages) -> None:
        self._keys = keys
        self._pool = pool
        self._pages = pages

    def router(self) -> APIRouter:
        """The routes, for the app to include."""
        router = APIRouter(tags=["preferences"])
        path = PATHS[Purpose.PREFERENCES] + "{token}"
        router.get(path, response_class=Response)(self.show)
        router.head(path, response_class=Response, include_in_schema=False)(self.show)
        router.post(path, response_class=Response)(self.change)
        return router

    def show(self, request: Request, token: str) -> Response:
        """The page with what is chosen now; opening it changes nothing."""
        claims = address_claims(self._keys, token, Purpose.PREFERENCES)
        with self._pool.connection() as connection:
            return self._page(connection, self._pages.texts(request), claims)

    def change(self, request: Request, token: str, body: LimitedBody) -> Response:
        """Store what was chosen and show the page again.

        Answers 415 and 422 to what is no form of the page, 422 with the page to a mistake, 409 with the page to a
        form made for an older standing. None of these changes anything.
        """
        claims = address_claims(self._keys, token, Purpose.PREFERENCES)
        now = datetime.now(UTC)
        # One transaction: a page that says "saved" is answered after the commit, any other after none.
        with self._pool.connection() as connection:
            one_at_a_time(connection, claims)
            before = how_it_stands(connection, claims, sender_of(connection, claims))
            form = read_form(
                request.headers.get("content-type"), body, before.wanted, _caps(before.limits.weekly_cap)
            )
            texts = self._pages.texts(request)
            if form.mistake:
                return self._page(connection, texts, claims, form=form)
            if form.action is Action.STOP:
                stop_everything(connection, claims, before)
                return self._page(connection, texts, claims, is_saved=True)
            limits = _limits(form, before.limits, now)
            is_same = limits == before.limits and form.wanted.items() <= before.wanted.items()
            if not is_same and form.version != before.version:
                return self._page(connection, texts, claims, is_outdated=True)
            choose(connection, claims, before, form.wanted)
            limit(connection, claims, limits)
            return self._page(connection, texts, claims, is_saved=True)

    def _page(
        self,
        connection: psycopg.Connection,
        texts: Texts,
        claims: TokenClaims,
        *,
        form: Submitted | None = None,
        is_saved: bool = False,
        is_outdated: bool = False,
    ) -> Response:
        """The page as things stand, with what was entered in `form` where there is one, for its mistake."""
        organisation = sender_of(connection, claims)
        standing = how_it_stands(connection, claims, organisation)
        limits, now = standing.limits, datetime.now(UTC)
        sender = organisation.name if organisation else texts("sender")
        reach = "stop_hint" if claims.contact_id else "stop_hint_here"
        quiet = (clock_value(limits.quiet_from), clock_value(limits.quiet_until))
        return self._pages.answer(
            "preferences",
            texts,
            status=422 if form else 409 if is_outdated else 200,
            sender=sender,
            stop_hint=texts(f"preferences.{reach}", by=texts(f"by.{claims.channel}"), sender=sender),
            standing=standing,
            limits=limits,
            groups=_groups(texts, claims, standing, form),
            quiet=form.entered if form else quiet,
            cap=form.weekly_cap if form else limits.weekly_cap,
            caps=_caps(limits.weekly_cap),
            mistake=form.mistake if form else None,
            is_saved=is_saved,
            is_outdated=is_outdated,
            is_paused=limits.paused_until is not None and limits.paused_until > now,
            pause_until=datetime.combine((now + _PAUSE).date(), time(), UTC),
        )


def _limits(form: Submitted, before: PersonalLimits, now: datetime) -> PersonalLimits:
    """The limits after this form. Raises a 422 for a pause that the page does not offer."""
    match form.action:
        case Action.PAUSE:
            return replace(before, paused_until=_end_of_pause(form.until, now))
        case Action.RESUME:
            return replace(before, paused_until=None)
        case _:
            start, end = form.quiet or (None, None)
            return replace(before, quiet_from=start, quiet_until=end, weekly_cap=form.weekly_cap)


def _end_of_pause(until: date | None, now: datetime) -> datetime:
    if until is None or not now.date() < until <= (now + _PAUSE).date():
        raise HTTPException(422, "the page offers no such pause")
    return datetime.combine(until, time(), UTC)


def _caps(chosen: int | None) -> list[int]:
    """What the page offers, with what an import may have brought."""
    return sorted({*CAPS, *([chosen] if chosen else [])})


def _groups(texts: Texts, claims: TokenClaims, standing: Standing, form: Submitted | None) -> list[Group]:
    entered = dict(standing.wanted) | (dict(form.wanted) if form else {})
    others = texts("preferences.others" if len(standing.topics) > 1 else "preferences.all")
    labels = {**standing.topics, EVERY_TOPIC: others}
    groups = []
    for channel in dict.fromkeys(cell.channel for cell in standing.wanted):
        wanted = [labels[topic] for topic in labels if standing.wanted[Cell(channel, topic)]]
        is_blocked = standing.barrier and channel is claims.channel
        groups.append(
            Group(
                channel=channel,
                label=texts(f"channel.{channel}"),
                summary=_summary(texts, wanted, len(labels)),
                boxes=[
                    Box(value=box_value(cell), label=label, is_ticked=entered[cell])
                    for topic, label in labels.items()
                    if (cell := Cell(channel, topic))
                ],
                barrier=texts(f"blocked.{standing.barrier}") if is_blocked else "",
            )
        )
    return groups


def _summary(texts: Texts, wanted: Sequence[str], possible: int) -> str:
    if len(wanted) == possible:
        return texts("preferences.everything")
    return ", ".join(wanted) or texts("preferences.nothing")
