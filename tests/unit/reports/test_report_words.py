"""The words of reports: numbers, weeks, reasons, comparisons with what is usual."""

from datetime import UTC, datetime

import pytest

from comms_pipeline.compliance.checks import CHECKS
from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.reports.charts.svg import Tone
from comms_pipeline.reports.engagement import course_section
from comms_pipeline.reports.phrases import count, moment, money, percent, plural, points, share, signed
from comms_pipeline.reports.rates import HEADLINES, figure
from comms_pipeline.reports.reasons import _REASONS, advice, reason
from comms_pipeline.reports.weeks import InvalidWeek, parse_week, week_before

DELIVERED, OPENED, _, UNSUBSCRIBED, *_ = HEADLINES


def counts(
    delivered: int = 900, opened: int = 400, accepted: int = 1000, unsubscribed: int = 9
) -> dict[str, int]:
    return {
        "accepted": accepted,
        "delivered": delivered,
        "human_opened": opened,
        "human_clicked": 0,
        "unsubscribed": unsubscribed,
        "complained": 0,
        "bounced": 0,
    }


def test_numbers_are_written_for_people():
    assert [percent(rate) for rate in (None, 0, 0.0012, 0.01, 0.4567, 1)] == [
        "–",
        "0.0%",
        "0.12%",
        "1.0%",
        "45.7%",
        "100.0%",
    ]
    assert (count(None), count(1234567)) == ("–", "1,234,567")
    assert [signed(number) for number in (1234, -5, 0)] == ["+1,234", "−5", "0"]
    assert (points(0.012), points(-0.034)) == ("+1.2 points", "−3.4 points")
    assert (share(1, 4), share(0, 0)) == (0.25, None)
    assert (plural(1, "contact"), plural(2, "contact"), plural(0, "message was", "messages were")) == (
        "1 contact",
        "2 contacts",
        "0 messages were",
    )
    assert moment(datetime(2026, 12, 1, 9, 5, tzinfo=UTC)) == "1 December 2026, 09:05 UTC"


def test_money_shows_small_amounts():
    assert money(None, "USD") == "–"
    assert money(0, None) == "0.00"
    assert money(1_234_560_000, "EUR") == "1,234.56 EUR"
    assert money(600, "USD") == "0.0006 USD"


def test_a_rate_is_compared_with_the_median_of_earlier_ones():
    shown = figure(
        OPENED, counts(), [counts(opened=270), counts(opened=297), counts(opened=450)], "3 earlier sends"
    )

    assert (shown.value, shown.tone) == ("44.4%", Tone.GOOD)
    assert shown.note == "+11.4 points from the median of 3 earlier sends, 33.0%"
    assert shown.trend == (0.3, 0.33, 0.5, 400 / 900)


def test_what_chance_alone_could_make_is_as_usual():
    shown = figure(OPENED, counts(opened=410), [counts(opened=400)], "1 earlier send")

    assert (shown.note, shown.tone) == ("as usual: the median of 1 earlier send, 44.4%", Tone.PLAIN)


def test_more_of_what_nobody_wants_is_worse():
    shown = figure(UNSUBSCRIBED, counts(unsubscribed=90), [counts()], "1 earlier send")

    assert shown.tone is Tone.BAD


def test_a_rate_of_nothing_is_no_rate_and_is_compared_with_nothing():
    nothing = counts(accepted=0, delivered=0, opened=0)

    assert figure(DELIVERED, nothing, [counts()], "1 earlier send").value == "–"
    assert figure(DELIVERED, counts(), [nothing], "1 earlier send").note == "nothing earlier to compare with"
    assert figure(DELIVERED, counts(), [], "0 earlier sends").trend == ()


def test_every_rule_has_a_reason_and_advice_in_words():
    assert set(_REASONS) == set(CHECKS.values())
    for rule in load_rules():
        assert reason(rule.id) != rule.id
        assert advice(rule.id)
    assert reason("a-rule-of-long-ago") == "a-rule-of-long-ago"
    assert advice("a-rule-of-long-ago") == "Plan the send again: today's rules lack this one"


def test_a_week_is_a_monday_to_the_next():
    week = parse_week("2026-W47")

    assert (week.begins, week.ends) == (
        datetime(2026, 11, 16, tzinfo=UTC),
        datetime(2026, 11, 23, tzinfo=UTC),
    )
    assert str(parse_week("2027-W01")) == "2027-W01"
    assert str(week_before(datetime(2026, 11, 23, 5, tzinfo=UTC))) == "2026-W47"
    assert str(week_before(datetime(2026, 11, 22, 23, 59, tzinfo=UTC))) == "2026-W46"


@pytest.mark.parametrize(
    "text", ["", "2026-47", "2026-W54", "2026-W00", "0000-W01", "last", "2026-W47\n", "x" * 999]
)
def test_what_is_no_week_is_refused_in_one_line(text):
    with pytest.raises(InvalidWeek, match=r"there is no such week. Write it like 2026-W47") as error:
        parse_week(text)
    assert len(str(error.value)) < 100


def act(hour: int, opened: int, clicked: int = 0) -> dict[str, int]:
    return {"hour": hour, "opened": opened, "clicked": clicked}


def test_a_time_course_has_no_more_than_72_steps_and_loses_nobody():
    for hours in (1, 71, 72, 200, 5_000, 500_000):
        section = course_section([act(1_000_000, 3), act(1_000_000 + hours - 1, 4, 2)])
        (chart,) = section.charts

        assert 1 <= len(chart.moments) <= 72
        assert [sum(series.counts) for series in chart.series] == [7, 2]
        assert chart.ticks


def test_a_time_course_names_its_midnights():
    noon = 24 * 20_000 + 12

    (hourly,) = course_section([act(noon, 1), act(noon + 5, 1)]).charts
    (daily,) = course_section([act(noon, 1), act(noon + 60, 1)]).charts
    assert [hourly.moments[tick] for tick in hourly.ticks] == [
        "4 Oct 12:00",
        "4 Oct 13:00",
        "4 Oct 14:00",
        "4 Oct 15:00",
        "4 Oct 16:00",
        "4 Oct 17:00",
    ]
    assert [daily.moments[tick] for tick in daily.ticks] == ["5 Oct 00:00", "6 Oct 00:00", "7 Oct 00:00"]
    assert course_section([]) is None
