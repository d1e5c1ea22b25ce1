"""What a test's counts are made into: designs, rows, verdicts and sentences."""

from dataclasses import replace

import pytest

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.experiment import Metric
from comms_pipeline.experiments.conclusions import conclusions
from comms_pipeline.experiments.design import Design, design_of
from comms_pipeline.experiments.reading import Row, Statistics, read
from comms_pipeline.experiments.verdicts import Verdict

CLICK, CONVERSION, REVENUE = Metric.HUMAN_CLICK, Metric.CONVERSION, Metric.REVENUE


def spec(**changes: object) -> CampaignSpec:
    plain = {
        "id": "news",
        "organisation": "lakeside",
        "audience": {"everyone": True},
        "channels": ["email"],
        "sender": {"from_email": "hello@lakeside.example", "from_name": "Lakeside"},
        "postal_address": "1 Harbor Lane",
        "templates": {"email": {"subject": "News", "html": "news.html"}},
    }
    return CampaignSpec.model_validate(plain | changes)


def design(*variants: str, holdout: float = 0.0, **experiment: object) -> Design:
    listed = [{"name": name} for name in variants]
    changes = {"experiment": experiment} if experiment else {}
    found = design_of([(1, spec(variants=listed, holdout=holdout, **changes))])
    assert found is not None
    return found


def arm(variant: str, contacts: int, **successes: int) -> list[Statistics]:
    """Counts of every metric; those not named happened to nobody."""
    return [
        Statistics(
            channel="all",
            variant=variant,
            metric=metric,
            contacts=contacts,
            successes=successes.get(metric, 0),
        )
        for metric in Metric
    ]


def money(variant: str, contacts: int, spenders: int, each: float, currency: str = "EUR") -> list[Statistics]:
    """Counts of an arm whose spenders spend the same."""
    bought = Statistics(
        channel="all",
        variant=variant,
        metric=REVENUE,
        currency=currency,
        contacts=contacts,
        successes=spenders,
        total=spenders * each,
        squares=spenders * each * each,
    )
    return [*(each for each in arm(variant, contacts) if each.metric is not REVENUE), bought]


def deciding(rows: list[Row]) -> list[tuple[str, str | None, Verdict | None]]:
    return [(row.variant, row.control, row.verdict) for row in rows if row.is_deciding]


def test_shares_are_by_weight_of_those_who_are_not_held_out():
    weighted = spec(variants=[{"name": "a"}, {"name": "b", "weight": 3}], holdout=0.2)
    found = design_of([(1, weighted)])

    assert found is not None
    assert found.shares == pytest.approx({"a": 0.2, "b": 0.6, "holdout": 0.2})
    assert list(found.shares) == ["a", "b", "holdout"]


def test_what_decides_unless_the_file_says_so():
    assert design("a", "b").metric is CLICK
    assert design(holdout=0.1).metric is CONVERSION
    assert design("a", "b", holdout=0.1).deciding_metric("holdout") is CONVERSION
    assert design("a", "b", holdout=0.1, metric="revenue").deciding_metric("holdout") is REVENUE


def test_a_test_is_the_latest_versions_that_share_contacts_out_alike():
    two = [{"name": "a"}, {"name": "b"}]
    versions = [
        (1, spec(variants=two)),
        (2, spec(variants=two, holdout=0.1)),
        (3, spec()),
        (4, spec(variants=two, holdout=0.1, description="A word changed")),
        (5, spec()),
    ]
    found = design_of(versions)

    assert found is not None
    assert found.versions == (2, 4)
    assert design_of(versions[:1]) is not None
    assert design_of([versions[2]]) is None


def test_every_arm_is_compared_with_the_holdout_and_with_the_first_variant():
    counts = [*arm("a", 500), *arm("b", 500), *arm("c", 500), *arm("holdout", 500)]
    rows = read(design("a", "b", "c", holdout=0.25), counts)

    assert [(row.variant, row.control) for row in rows if row.metric is CONVERSION] == [
        ("a", "holdout"),
        ("b", "holdout"),
        ("c", "holdout"),
        ("b", "a"),
        ("c", "a"),
        ("holdout", None),
    ]
    assert [(row.variant, row.control) for row in rows if row.metric is CLICK] == [
        ("b", "a"),
        ("c", "a"),
        ("a", None),
    ]


def test_p_values_are_adjusted_for_the_arms_compared_with_the_same_control():
    counts = [
        *arm("a", 5_000, human_click=200),
        *arm("b", 5_000, human_click=260),
        *arm("c", 5_000, human_click=240),
    ]
    b, c = (row for row in read(design("a", "b", "c"), counts) if row.metric is CLICK and row.control)

    assert b.p_value is not None
    assert c.p_value is not None
    assert b.adjusted_p_value == pytest.approx(2 * b.p_value)
    assert c.adjusted_p_value == pytest.approx(c.p_value)


def test_a_variant_that_is_surely_better_wins():
    counts = [*arm("a", 10_000, human_click=500), *arm("b", 10_000, human_click=700)]
    rows = read(design("a", "b"), counts)

    assert deciding(rows) == [("b", "a", Verdict.WINS)]
    assert conclusions(design("a", "b"), rows) == ["b wins: 40 % more clicks than a"]


def test_a_variant_that_is_surely_worse_makes_the_first_win():
    counts = [*arm("a", 10_000, human_click=700), *arm("b", 10_000, human_click=500)]

    assert conclusions(design("a", "b"), read(design("a", "b"), counts)) == ["a wins: more clicks than b"]


def test_what_only_an_ordinary_p_value_finds_is_not_decided_yet():
    counts = [*arm("a", 10_000, human_click=500), *arm("b", 10_000, human_click=570)]
    rows = read(design("a", "b"), counts)
    [row] = [row for row in rows if row.is_deciding]

    assert row.p_value is not None
    assert row.p_value < 0.05
    assert row.verdict is Verdict.UNDECIDED
    [sentence] = conclusions(design("a", "b"), rows)
    assert sentence == "No difference detected yet; about 59,000 more per arm would show an uplift of 10 %"


def test_a_test_large_enough_to_find_the_uplift_says_that_there_is_none():
    counts = [*arm("a", 90_000, human_click=4_500), *arm("b", 90_000, human_click=4_510)]

    assert conclusions(design("a", "b"), read(design("a", "b"), counts)) == [
        "No difference detected, though the test is large enough for an uplift of 10 %"
    ]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([*arm("a", 99, human_click=10), *arm("b", 99, human_click=90)], Verdict.TOO_FEW),
        ([*arm("a", 5_000, human_click=0), *arm("b", 5_000, human_click=19)], Verdict.TOO_FEW),
        ([*arm("a", 5_000, human_click=0), *arm("b", 5_000, human_click=45)], Verdict.WINS),
    ],
)
def test_nothing_is_concluded_from_too_few(counts, expected):
    [(_, _, found)] = deciding(read(design("a", "b"), counts))

    assert found is expected


def test_nothing_is_concluded_where_the_sizes_are_off():
    counts = [*arm("a", 10_000, human_click=500), *arm("b", 11_000, human_click=1_500)]
    rows = read(design("a", "b"), counts)

    assert deciding(rows) == [("b", "a", Verdict.BROKEN)]
    assert conclusions(design("a", "b"), rows) == [
        "Sample ratio off: do not trust these figures. The arms do not have the sizes they were meant to have"
    ]


def test_an_arm_that_is_not_there_is_a_sample_ratio_that_is_off():
    rows = read(design("a", "b"), arm("a", 1_000, human_click=50))

    assert deciding(rows) == [("b", "a", Verdict.BROKEN)]
    [row] = [row for row in rows if row.is_deciding]
    assert (row.contacts, row.rate, row.difference) == (0, None, None)


@pytest.mark.parametrize("harm", ["unsubscribe", "complaint"])
def test_no_variant_wins_that_drives_more_people_away(harm):
    counts = [
        *arm("a", 10_000, human_click=500, **{harm: 5}),
        *arm("b", 10_000, human_click=700, **{harm: 40}),
    ]
    rows = read(design("a", "b"), counts)

    assert deciding(rows) == [("b", "a", Verdict.HARMFUL)]
    assert conclusions(design("a", "b"), rows) == [
        "b has 40 % more clicks than a, but more unsubscribes or complaints: no winner"
    ]


def test_of_several_winners_the_best_is_named_first():
    counts = [
        *arm("a", 10_000, human_click=500),
        *arm("b", 10_000, human_click=650),
        *arm("c", 10_000, human_click=800),
    ]

    assert conclusions(design("a", "b", "c"), read(design("a", "b", "c"), counts)) == [
        "c wins: 60 % more clicks than a; b too"
    ]


def test_sending_is_compared_with_not_sending():
    counts = [*arm("", 9_000, conversion=270), *arm("holdout", 1_000, conversion=10)]
    kept = design(holdout=0.1)

    assert conclusions(kept, read(kept, counts)) == [
        "Against the holdout: 200 % more conversions with the message"
    ]
    little = [*arm("", 9_000, conversion=90), *arm("holdout", 1_000, conversion=10)]
    assert conclusions(kept, read(kept, little)) == [
        "Against the holdout: no difference detected yet; about 1,900,000 more contacts in all "
        "would show an uplift of 10 %"
    ]


def test_revenue_is_judged_currency_by_currency():
    by_revenue = design("a", "b", metric="revenue")
    counts = [
        *money("a", 10_000, 500, 20.0),
        *money("b", 10_000, 800, 20.0),
        *(each for each in money("a", 10_000, 150, 9.0, "USD") if each.currency),
    ]
    rows = read(by_revenue, counts)

    assert [(row.currency, row.variant, row.mean) for row in rows if row.metric is REVENUE] == [
        ("EUR", "b", 1.6),
        ("EUR", "a", 1.0),
        ("USD", "b", 0.0),
        ("USD", "a", 0.135),
    ]
    assert conclusions(by_revenue, rows) == [
        "b wins: 60 % more revenue than a, in EUR",
        "a wins: more revenue than b, in USD",
    ]


def test_money_waits_for_more_spenders_than_a_rate_does():
    by_revenue = design("a", "b", metric="revenue")
    counts = [*money("a", 10_000, 9, 20.0), *money("b", 10_000, 90, 20.0)]

    assert deciding(read(by_revenue, counts)) == [("b", "a", Verdict.TOO_FEW)]


def test_before_anything_has_happened_the_sentence_says_so():
    rows = read(design("a", "b"), [*arm("a", 500), *arm("b", 500)])

    assert conclusions(design("a", "b"), rows) == [
        "No difference detected yet; too little has happened to say how many more contacts it takes"
    ]
    assert read(design("a", "b"), []) == []
    assert conclusions(design("a", "b"), []) == []


def test_counts_of_arms_the_design_does_not_know_are_left_out():
    counts = [*arm("a", 500), *arm("b", 500), *arm("z", 500)]

    assert {row.variant for row in read(design("a", "b"), counts)} == {"a", "b"}


def test_a_channel_has_no_holdout():
    counts = [*arm("a", 500), *arm("holdout", 500)]
    email = [replace(each, channel="email") for each in arm("a", 500)]
    rows = read(design("a", "b", holdout=0.5), [*counts, *email])

    assert {row.variant for row in rows if row.channel == "email"} == {"a", "b"}
    assert [row.channel for row in rows] == sorted(row.channel for row in rows)
