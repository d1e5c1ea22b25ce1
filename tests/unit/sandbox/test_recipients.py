"""How recipients behave."""

from collections import Counter

import pytest

from comms_pipeline.sandbox.recipients import (
    HORIZON,
    EmailFate,
    Happening,
    Repeat,
    email_fate,
    email_steps,
    sms_refusal,
    sms_steps,
    whatsapp_steps,
)

MANY = 20_000


def happenings(address: str, seed: int = 1) -> list[Happening]:
    return [step.what for step in email_steps(seed, address, "m1") if step.repeat is Repeat.NO]


def text_happenings(number: str) -> list[tuple[Happening, int]]:
    return [(step.what, step.code) for step in sms_steps(1, number, "m1", has_service=False)]


def test_behaviour_depends_on_seed_address_and_message_only() -> None:
    steps = email_steps(7, "someone@example.org", "m1")
    assert steps == email_steps(7, "SOMEONE@example.org", "m1")
    assert steps != email_steps(8, "someone@example.org", "m1")
    assert steps != email_steps(7, "someone@example.org", "m2")


def test_an_address_that_bounces_bounces_every_message() -> None:
    bouncing = next(
        address
        for address in (f"user{number}@example.org" for number in range(MANY))
        if email_fate(1, address) is EmailFate.BOUNCED
    )
    assert all(
        Happening.BOUNCED in [step.what for step in email_steps(1, bouncing, f"m{number}")]
        for number in range(50)
    )


FORCED = {
    "bounce1@x.example": [Happening.PROCESSED, Happening.BOUNCED],
    "Blocked.Ben@x.example": [Happening.PROCESSED, Happening.BLOCKED],
    "async@x.example": [Happening.PROCESSED, Happening.DELIVERED, Happening.BOUNCED_LATE],
    "defer@x.example": [Happening.PROCESSED, Happening.DEFERRED, Happening.DELIVERED],
    "drop@x.example": [Happening.DROPPED],
    "quiet@x.example": [Happening.PROCESSED, Happening.DELIVERED],
    "open@x.example": [Happening.PROCESSED, Happening.DELIVERED, Happening.OPENED],
    "click@x.example": [Happening.PROCESSED, Happening.DELIVERED, Happening.OPENED, Happening.CLICKED],
    "machine@x.example": [
        Happening.PROCESSED,
        Happening.DELIVERED,
        Happening.SCANNED,
        Happening.OPENED_BY_MACHINE,
    ],
    "unsub@x.example": [Happening.PROCESSED, Happening.DELIVERED, Happening.OPENED, Happening.UNSUBSCRIBED],
    "complain@x.example": [Happening.PROCESSED, Happening.DELIVERED, Happening.OPENED, Happening.COMPLAINED],
}


@pytest.mark.parametrize(("address", "expected"), FORCED.items())
def test_the_local_part_can_force_what_happens(address: str, expected: list[Happening]) -> None:
    found = happenings(address)
    # A forced deferral says nothing of what its owner does after delivery.
    assert (found[: len(expected)] if address.startswith("defer") else sorted(found)) == (
        expected if address.startswith("defer") else sorted(expected)
    )


def test_shares_of_email_outcomes_are_believable() -> None:
    counts: Counter[Happening] = Counter()
    repeats = 0
    for number in range(MANY):
        steps = email_steps(3, f"user{number}@example.org", f"m{number}")
        counts.update(step.what for step in steps if step.repeat is Repeat.NO)
        repeats += sum(step.repeat is not Repeat.NO for step in steps)
    delivered = counts[Happening.DELIVERED]
    assert 0.96 < delivered / MANY < 0.985
    assert 0.010 < counts[Happening.BOUNCED] / MANY < 0.016
    assert 0.005 < counts[Happening.BLOCKED] / MANY < 0.009
    assert 0.006 < counts[Happening.DEFERRED] / MANY < 0.010
    assert 0.002 < counts[Happening.DROPPED] / MANY < 0.006
    assert 0.33 < counts[Happening.OPENED] / delivered < 0.37
    assert 0.23 < counts[Happening.OPENED_BY_MACHINE] / delivered < 0.27
    assert 0.07 < counts[Happening.CLICKED] / delivered < 0.09
    assert 0.002 < counts[Happening.UNSUBSCRIBED] / delivered < 0.006
    assert 0.0003 < counts[Happening.COMPLAINED] / delivered < 0.002
    assert 0.007 < repeats / counts.total() < 0.013


def test_the_median_delivery_takes_one_event_delay_and_nothing_exceeds_the_horizon() -> None:
    steps = [email_steps(3, f"user{number}@example.org", "m") for number in range(5000)]
    arrivals = sorted(
        step.after for each in steps for step in each if step.what is Happening.DELIVERED and not step.repeat
    )
    assert 0.95 < arrivals[len(arrivals) // 2] < 1.05
    assert max(step.after for each in steps for step in each) < HORIZON


def test_people_click_long_after_delivery_and_scanners_at_once() -> None:
    delays: dict[Happening, list[float]] = {Happening.CLICKED: [], Happening.SCANNED: []}
    for number in range(5000):
        steps = [step for step in email_steps(3, f"user{number}@example.org", "m") if not step.repeat]
        arrival = next((step.after for step in steps if step.what is Happening.DELIVERED), 0.0)
        for step in steps:
            if step.what in delays:
                delays[step.what].append(step.after - arrival)
    # More than 5 s also where a delay is 0.3 s.
    assert min(delays[Happening.CLICKED]) > 16.7
    assert max(delays[Happening.SCANNED]) < 1


TEXTS = {
    "+15550100001": [(Happening.SENT, 0), (Happening.DELIVERED, 0), (Happening.STOPPED, 0)],
    "+15550100003": [(Happening.SENT, 0), (Happening.UNDELIVERED, 30005)],
    "+15550100004": [(Happening.SENT, 0), (Happening.UNDELIVERED, 30003)],
    "+15550100005": [(Happening.SENT, 0), (Happening.UNDELIVERED, 30006)],
    "+15550100007": [(Happening.DELIVERED, 0), (Happening.SENT, 0)],
    "+15550100008": [(Happening.SENT, 0), (Happening.DELIVERED, 0)],
    "+15550100010": [(Happening.SENT, 0), (Happening.DELIVERED, 0), (Happening.REPLIED, 0)],
}


@pytest.mark.parametrize(("number", "expected"), TEXTS.items())
def test_the_last_digits_can_force_what_happens_to_a_text(
    number: str, expected: list[tuple[Happening, int]]
) -> None:
    found = text_happenings(number)
    assert (found if number.endswith(("7", "8")) else sorted(found)) == (
        expected if number.endswith(("7", "8")) else sorted(expected)
    )


def test_the_last_digits_can_force_a_refusal() -> None:
    numbers = ("+15550100002", "+15550100006", "+15550100009", "+15550100123")
    assert [sms_refusal(number) for number in numbers] == [21211, 21614, 21610, None]


def test_a_message_through_a_service_reports_that_it_was_queued() -> None:
    steps = sms_steps(1, "+15550100008", "m1", has_service=True)
    assert [step.what for step in steps] == [Happening.QUEUED, Happening.SENT, Happening.DELIVERED]


def test_shares_of_text_outcomes_are_believable() -> None:
    counts = Counter(
        step.what
        for number in range(MANY)
        for step in sms_steps(3, f"+1555{1_000_000 + number}", f"m{number}", has_service=False)
    )
    assert 0.025 < counts[Happening.UNDELIVERED] / MANY < 0.035
    assert 0.003 < counts[Happening.STOPPED] / MANY < 0.008


WHATSAPP = {
    "0001": [Happening.SENT, Happening.DELIVERED, Happening.STOPPED],
    "0008": [Happening.SENT, Happening.DELIVERED],
    "0010": [Happening.SENT, Happening.DELIVERED, Happening.OPENED, Happening.REPLIED],
}


def whatsapp(number: str, *, is_outside_window: bool = False) -> list[tuple[Happening, int]]:
    steps = whatsapp_steps(1, number, "m1", has_service=False, is_outside_window=is_outside_window)
    return [(step.what, step.code) for step in steps]


@pytest.mark.parametrize(("ending", "expected"), WHATSAPP.items())
def test_the_last_digits_can_force_what_happens_on_whatsapp(ending: str, expected: list[Happening]) -> None:
    assert whatsapp(f"whatsapp:+1555010{ending}") == [(what, 0) for what in expected]


def test_who_has_no_whatsapp_is_told_by_its_own_code() -> None:
    assert whatsapp("whatsapp:+15550100003")[-1] == (Happening.UNDELIVERED, 63024)


@pytest.mark.parametrize("ending", ["0003", "0008", "0010"])
def test_free_text_that_answers_nobody_is_undelivered(ending: str) -> None:
    found = whatsapp(f"whatsapp:+1555010{ending}", is_outside_window=True)
    assert found == [(Happening.UNDELIVERED, 63016)]


def test_most_people_read_what_they_get_on_whatsapp() -> None:
    counts = Counter(
        what for number in range(2_000) for what, _ in whatsapp(f"whatsapp:+1555{2_000_000 + number}")
    )
    assert 0.65 < counts[Happening.OPENED] / counts[Happening.DELIVERED] < 0.75
