"""Which rule strikes which request, and how requests are limited."""

import pytest
from pydantic import ValidationError

from comms_pipeline.sandbox.faults import FAULT_RULES, FaultKind, Faults, provider_of
from comms_pipeline.sandbox.limits import RateLimit, RateLimiter
from comms_pipeline.sandbox.record import Provider


def faults(rules: str) -> Faults:
    armed = Faults()
    armed.add(FAULT_RULES.validate_json(rules))
    return armed


def test_a_counted_rule_strikes_so_often_and_only_its_provider() -> None:
    armed = faults('[{"provider": "sendgrid", "kind": "reset_before", "count": 2}]')
    assert armed.strike(Provider.TWILIO, is_send=True) is None
    struck = [armed.strike(Provider.SENDGRID, is_send=True) for _ in range(3)]
    assert [rule.kind if rule else None for rule in struck] == [
        FaultKind.RESET_BEFORE,
        FaultKind.RESET_BEFORE,
        None,
    ]


def test_by_default_only_sending_is_disturbed() -> None:
    armed = faults('[{"provider": "twilio", "kind": "status"}]')
    assert armed.strike(Provider.TWILIO, is_send=False) is None
    assert armed.strike(Provider.TWILIO, is_send=True) is not None


def test_a_probable_rule_strikes_the_same_requests_each_time() -> None:
    rule = '[{"provider": "sendgrid", "kind": "slow", "probability": 0.3, "seed": 5}]'
    first, second = faults(rule), faults(rule)
    struck = [first.strike(Provider.SENDGRID, is_send=True) is not None for _ in range(100)]
    assert struck == [second.strike(Provider.SENDGRID, is_send=True) is not None for _ in range(100)]
    assert 15 < sum(struck) < 45


def test_cleared_rules_strike_no_more() -> None:
    armed = faults('[{"provider": "sendgrid", "kind": "reset_before"}]')
    armed.clear()
    assert armed.strike(Provider.SENDGRID, is_send=True) is None


@pytest.mark.parametrize(
    "rule",
    [
        '{"provider": "sendgrid"}',
        '{"provider": "x", "kind": "slow"}',
        '{"provider": "twilio", "kind": "slow", "often": 1}',
    ],
)
def test_a_malformed_rule_is_refused(rule: str) -> None:
    with pytest.raises(ValidationError):
        FAULT_RULES.validate_json(f"[{rule}]")


def test_a_limit_holds_within_its_window_and_lifts_after_it() -> None:
    limiter = RateLimiter(RateLimit(requests=2, window_seconds=10))
    first, second, third = (limiter.take(1003.5) for _ in range(3))
    assert (first.is_granted, first.remaining, first.reset_at) == (True, 1, 1010)
    assert (second.is_granted, second.remaining) == (True, 0)
    assert (third.is_granted, third.remaining, third.retry_after_seconds) == (False, 0, 7)
    assert limiter.take(1010.0).is_granted


@pytest.mark.parametrize(
    ("path", "provider"),
    [
        ("/v3/mail/send", "sendgrid"),
        ("/v3/logs", "sendgrid"),
        ("/v3/logs/messages", "sendgrid"),
        ("/v3/unknown", "sendgrid"),
        ("/v3/mg.acme.example/messages", "mailgun"),
        ("/v3/mg.acme.example/events/WzFd", "mailgun"),
        ("/2010-04-01/Accounts/AC0/Messages.json", "twilio"),
        ("/emails", "resend"),
        ("/emails/batch", "resend"),
        ("/emailsomething", None),
        ("/", None),
        ("/_sandbox/faults", None),
    ],
)
def test_a_path_belongs_to_one_api(path: str, provider: str | None) -> None:
    assert provider_of(path) == provider
