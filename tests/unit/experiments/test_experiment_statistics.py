"""Formulas of tests of variants, against statsmodels and scipy for any counts, and against published figures."""

from math import inf, sqrt
from unittest import mock

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    power_proportions_2indep,
    proportion_confint,
    proportions_ztest,
)

from comms_pipeline.experiments import means, power, rates
from comms_pipeline.experiments.comparison import compare_means, compare_rates
from comms_pipeline.experiments.means import Mean
from comms_pipeline.experiments.normal import below, two_sided_p_value, two_sided_quantile
from comms_pipeline.experiments.rates import Rate
from comms_pipeline.experiments.several import holm, sample_ratio_p_value

SHARES = st.floats(min_value=0.01, max_value=0.99)


@st.composite
def some_rates(draw: st.DrawFn, fewest: int = 0) -> Rate:
    contacts = draw(st.integers(min_value=max(1, fewest), max_value=200_000))
    return Rate(successes=draw(st.integers(min_value=fewest, max_value=contacts)), contacts=contacts)


def mean_of(values: list[float]) -> Mean:
    return Mean(contacts=len(values), total=sum(values), squares=sum(value * value for value in values))


def test_the_normal_distribution_keeps_its_digits_far_out():
    assert two_sided_quantile(0.95) == pytest.approx(1.959963984540054, rel=1e-12)
    assert below(-8) == pytest.approx(6.220960574271785e-16, rel=1e-9)
    assert two_sided_p_value(-12) == pytest.approx(2 * stats.norm.sf(12), rel=1e-9)


@given(some_rates(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilsons_interval_is_that_of_statsmodels(rate, level):
    found = rates.wilson(rate, level)
    low, high = proportion_confint(rate.successes, rate.contacts, alpha=1 - level, method="wilson")

    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert 0 <= found.low <= rate.successes / rate.contacts <= found.high <= 1


@given(some_rates(), some_rates())
def test_newcombes_interval_is_that_of_statsmodels(treated, control):
    found = rates.newcombe(treated, control)
    low, high = confint_proportions_2indep(
        treated.successes, treated.contacts, control.successes, control.contacts, method="newcomb"
    )

    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)
    assert -1 - 1e-12 <= found.low <= found.high <= 1 + 1e-12


def test_newcombes_interval_of_his_own_example():
    # Newcombe (1998), table II, example (a), method 10: 56/70 less 48/80.
    found = rates.newcombe(Rate(successes=56, contacts=70), Rate(successes=48, contacts=80))

    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)


@given(some_rates(), some_rates())
def test_the_p_value_of_two_rates_is_that_of_statsmodels(treated, control):
    successes = treated.successes + control.successes
    assume(0 < successes < treated.contacts + control.contacts)
    expected = proportions_ztest(
        [treated.successes, control.successes], [treated.contacts, control.contacts]
    )[1]

    assert rates.p_value(treated, control) == pytest.approx(expected, rel=1e-7, abs=1e-300)


@pytest.mark.parametrize("successes", [0, 10])
def test_where_nobody_or_everybody_succeeded_nothing_speaks_for_a_difference(successes):
    rate = Rate(successes=successes, contacts=10)
    found = compare_rates(rate, rate)

    assert found is not None
    assert (found.difference, found.p_value, found.always_p_value) == (0, 1, 1)


@given(some_rates(fewest=1), some_rates(fewest=1))
def test_the_uplift_of_two_rates_is_that_of_statsmodels(treated, control):
    assume(treated.successes < treated.contacts or control.successes < control.contacts)
    found = rates.uplift(treated, control)
    low, high = confint_proportions_2indep(
        treated.successes,
        treated.contacts,
        control.successes,
        control.contacts,
        compare="ratio",
        method="log",
    )

    assert found is not None
    assert (found.low, found.high) == pytest.approx((low - 1, high - 1), rel=1e-6, abs=1e-6)


def test_an_uplift_over_nothing_is_not_told():
    found = compare_rates(Rate(successes=3, contacts=10), Rate(successes=0, contacts=10))

    assert found is not None
    assert (found.uplift, found.uplift_interval) == (None, None)
    assert found.difference == 0.3


def test_nobody_is_compared_with_nobody():
    assert compare_rates(Rate(successes=0, contacts=0), Rate(successes=1, contacts=2)) is None
    assert compare_means(mean_of([]), mean_of([1.0, 2.0]), 2) is None


VALUES = st.lists(st.one_of(st.just(0.0), st.floats(min_value=0, max_value=1_000)), min_size=2, max_size=40)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(VALUES, VALUES)
def test_welchs_test_is_that_of_scipy(treated, control):
    spread = np.var(treated, ddof=1) + np.var(control, ddof=1)
    assume(spread > 1e-3)
    found = means.welch(mean_of(treated), mean_of(control))
    expected = stats.ttest_ind(treated, control, equal_var=False)
    interval = expected.confidence_interval(0.95)

    assert found is not None
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-5, abs=1e-9)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (interval.low, interval.high), rel=1e-5, abs=1e-5
    )


def test_means_without_variance_say_nothing():
    found = compare_means(mean_of([0.0, 0.0]), mean_of([0.0, 0.0, 0.0]), 0)

    assert found is not None
    assert (found.difference, found.p_value, found.once, found.always) == (0, 1, None, None)
    assert means.welch(mean_of([1.0]), mean_of([1.0, 2.0])) is None


def test_the_uplift_of_means_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(7)
    held = 0
    for _ in range(500):
        # Spend: most spend nothing. The truth is an uplift of 25 %.
        one = random.binomial(1, 0.25, 2_000) * random.gamma(2.0, 20.0, 2_000)
        other = random.binomial(1, 0.20, 3_000) * random.gamma(2.0, 20.0, 3_000)
        found = means.uplift(mean_of(one.tolist()), mean_of(other.tolist()))
        assert found is not None
        held += found.low <= 0.25 <= found.high

    assert 0.93 <= held / 500 <= 0.97


@given(st.lists(st.floats(min_value=0, max_value=1), min_size=1, max_size=8))
def test_holms_correction_is_that_of_statsmodels(p_values):
    # There each call begins with a collection of garbage, of all that the tests before have left.
    with mock.patch("gc.collect"):
        expected = list(multipletests(p_values, method="holm")[1])

    assert holm(p_values) == pytest.approx(expected, abs=1e-12)


def test_nothing_to_correct_is_no_fault():
    assert holm([]) == []


@given(st.lists(st.tuples(st.integers(1, 100_000), st.floats(0.1, 10)), min_size=2, max_size=6))
def test_the_sample_ratio_check_is_the_chi_square_of_scipy(arms):
    contacts, shares = [count for count, _ in arms], np.array([share for _, share in arms])
    expected = stats.chisquare(contacts, shares / shares.sum() * sum(contacts)).pvalue

    assert sample_ratio_p_value(contacts, shares.tolist()) == pytest.approx(expected, rel=1e-7, abs=1e-300)


def test_a_sample_ratio_that_is_off_by_a_hundredth_shows_in_a_large_test():
    # Kohavi, Tang & Xu (2020), Trustworthy Online Controlled Experiments, chapter 21.
    found = sample_ratio_p_value([821_588, 815_482], [1, 1])

    assert found is not None
    assert found == pytest.approx(1.8e-6, rel=0.02)
    assert sample_ratio_p_value([505, 495], [1, 1]) == pytest.approx(0.7518, abs=1e-4)
    assert sample_ratio_p_value([0, 0], [1, 1]) is None
    assert sample_ratio_p_value([5], [1]) is None


@given(SHARES, SHARES, st.integers(20, 100_000), st.floats(0.2, 5))
def test_the_power_of_a_test_of_rates_is_that_of_statsmodels(control, treated, contacts, ratio):
    found = power.power_of_rates(contacts, control, treated, ratio=ratio)
    # There the first sample is the treated one, of contacts times its own ratio to the second.
    expected = power_proportions_2indep(
        treated - control, control, contacts * ratio, ratio=1 / ratio, return_results=False
    )

    assert found == pytest.approx(expected, abs=2e-6)


@given(st.floats(0.01, 3), st.integers(5, 10_000), st.floats(0.2, 5))
def test_the_power_of_a_test_of_means_is_that_of_statsmodels(difference, contacts, ratio):
    found = power.power_of_means(contacts, difference, 1.0, ratio=ratio)

    assert found == pytest.approx(NormalIndPower().power(difference, contacts, 0.05, ratio=ratio), abs=1e-9)


def test_the_contacts_a_test_needs_are_the_fewest_with_that_power():
    # 5 % and a tenth more, once and daily; by the formula of Fleiss, Levin & Paik, section 4.2.
    def once(contacts: int) -> float:
        return power.power_of_rates(contacts, 0.05, 0.055)

    def daily(contacts: int) -> float:
        return power.power_of_rates(contacts, 0.05, 0.055, is_sequential=True)

    assert power.contacts_needed(once) == 31_234
    assert once(31_233) < 0.8 <= once(31_234)
    needed = power.contacts_needed(daily)
    assert needed is not None
    assert 1.8 < needed / 31_234 < 2.6
    assert power.contacts_needed(lambda contacts: 0.0) is None


def test_money_needs_more_contacts_than_a_rate_does():
    needed = power.contacts_needed(lambda contacts: power.power_of_means(contacts, 0.1, 15.0))

    # 2 (1.96 + 0.84)² σ²/δ², Chow et al. (2008), 3.2.
    assert needed == pytest.approx(2 * (1.959964 + 0.841621) ** 2 * 150**2, rel=1e-4)
    assert power.of_treated(1_000, 9.0) == 9_000
    assert power.of_treated(3, 1 / 3) == 1
    assert sqrt(power.power_of_means(10, inf, 1.0)) == 1
