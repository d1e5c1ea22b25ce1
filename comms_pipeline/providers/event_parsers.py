"""The one list of landed webhooks and who reads them: a provider's events are a module and a line here."""

from collections.abc import Callable, Mapping

from comms_pipeline.domain.event import InvalidEvents, ProviderEvent
from comms_pipeline.providers import (
    mailgun_events,
    own_events,
    resend_events,
    sendgrid_events,
    twilio_events,
)

Parser = Callable[[str, bytes], list[ProviderEvent]]
"""(query, body) → events in the body's order. Raises `InvalidEvents`."""
Parsers = Mapping[tuple[str, str], Parser]
"""(provider, kind) → who reads it."""


def _own_parser(kind: str) -> Parser:
    return lambda _, body: [own_events.parse(kind, body)]


PARSERS: Parsers = {
    (sendgrid_events.PROVIDER, "events"): lambda _, body: sendgrid_events.parse(body),
    (twilio_events.PROVIDER, "status"): lambda query, body: [twilio_events.parse_status(query, body)],
    (twilio_events.PROVIDER, "inbound"): lambda _, body: [twilio_events.parse_inbound(body)],
    (resend_events.PROVIDER, "events"): resend_events.parse,
    (mailgun_events.PROVIDER, "events"): lambda _, body: mailgun_events.parse(body),
    **{(own_events.PROVIDER, kind): _own_parser(kind) for kind in own_events.KINDS},
}


def parse_landed(
    provider: str, kind: str, query: str, body: bytes, parsers: Parsers = PARSERS
) -> list[ProviderEvent]:
    """The events of one landed webhook. Raises `InvalidEvents` when nobody can read it."""
    parser = parsers.get((provider, kind))
    if parser is None:
        raise InvalidEvents(f"webhook {provider}/{kind}", "no parser knows it", "Add one to event_parsers")
    return parser(query, body)
