"""Looking again and again: tests of nothing find nothing more often than they say, and real differences are found."""

from math import exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from comms_pipeline.experiments import sequential
from comms_pipeline.experiments.comparison import compare_means, compare_rates
from comms_pipeline.experiments.means import Mean
from comms_pipeline.experiments.rates import Rate

RUNS = 2_000
LOOKS = 40


def found_at_any_look(
    successes: "np.ndarray[tuple[int, int], np.dtype[np.int64]]",
    others: "np.ndarray[tuple[int, int], np.dtype[np.int64]]",
    contacts: list[int],
) -> tuple[float, float]:
    """Shares of runs with a p-value below 0.05 at any look: always-valid, and of looking once. (runs, looks) counts."""
    always = once = 0
    for one, other in zip(successes.tolist(), others.tolist(), strict=True):
        looks = [
            compare_rates(Rate(successes=x, contacts=n), Rate(successes=y, contacts=n))
            for x, y, n in zip(one, other, contacts, strict=True)
        ]
        always += any(look is not None and look.always_p_value < 0.05 for look in looks)
        once += any(look is not None and look.p_value < 0.05 for look in looks)
    return always / len(successes), once / len(successes)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.4])
def test_who_looks_daily_while_contacts_join_is_misled_in_no_more_than_one_of_twenty_tests(rate):
    random = np.random.default_rng(11)
    daily = random.binomial(500, rate, (2, RUNS, LOOKS)).cumsum(axis=2)
    always, once = found_at_any_look(daily[0], daily[1], [500 * (look + 1) for look in range(LOOKS)])

    assert always <= 0.05
    # What it is for: an ordinary p-value misleads several times as often.
    assert once > 0.2


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_who_looks_daily_while_contacts_go_on_to_open_is_not_misled_either(share):
    """A send of one day: nobody joins, and those at hand open and buy bit by bit."""
    random = np.random.default_rng(13)
    contacts = 4_000
    # Half of what will happen happens in the first tenth of the looks.
    chances = share * (np.arange(1, LOOKS + 1) / LOOKS) ** 0.3
    steps = np.diff(np.concatenate([[0.0], chances, [1.0]]))
    draws = random.multinomial(contacts, steps, (2, RUNS)).cumsum(axis=2)[:, :, :LOOKS]
    always, once = found_at_any_look(draws[0], draws[1], [contacts] * LOOKS)

    assert always <= 0.05
    assert once > 0.1


def test_who_looks_daily_at_money_is_not_misled_either():
    random = np.random.default_rng(17)
    misled = 0
    for _ in range(500):
        spend = random.binomial(1, 0.05, (2, LOOKS * 500)) * random.lognormal(3.0, 1.0, (2, LOOKS * 500))
        totals, squares = spend.cumsum(axis=1), (spend**2).cumsum(axis=1)
        buyers = (spend > 0).cumsum(axis=1)
        looks = []
        for contacts in range(500, LOOKS * 500 + 1, 500):
            one, other = (
                Mean(contacts=contacts, total=totals[arm, contacts - 1], squares=squares[arm, contacts - 1])
                for arm in (0, 1)
            )
            looks.append(compare_means(one, other, int(buyers[:, contacts - 1].sum())))
        misled += any(look is not None and look.always_p_value < 0.05 for look in looks)

    assert misled / 500 <= 0.05


def test_a_real_difference_is_found():
    random = np.random.default_rng(19)
    one, other = (random.binomial(2_000, rate, (200, LOOKS)).cumsum(axis=1) for rate in (0.05, 0.06))
    always, _ = found_at_any_look(one, other, [2_000 * (look + 1) for look in range(LOOKS)])

    assert always == 1


def test_all_intervals_of_a_test_hold_the_truth_together():
    random = np.random.default_rng(23)
    one, other = (random.binomial(1_000, rate, (500, LOOKS)).cumsum(axis=1) for rate in (0.12, 0.10))
    held = 0
    for successes, others in zip(one.tolist(), other.tolist(), strict=True):
        looks = [
            compare_rates(Rate(successes=x, contacts=n), Rate(successes=y, contacts=n))
            for n, x, y in zip(range(1_000, LOOKS * 1_000 + 1, 1_000), successes, others, strict=True)
        ]
        held += all(look and look.always and look.always.low <= 0.02 <= look.always.high for look in looks)

    assert held / 500 >= 0.95


@given(st.floats(-5, 5), st.floats(0.01, 3), st.floats(0.1, 1e6))
def test_an_interval_leaves_nothing_out_exactly_where_the_p_value_is_below_alpha(difference, error, reached):
    interval = sequential.interval(difference, error, reached)
    p_value = sequential.p_value(difference, error, reached)

    if abs(p_value - sequential.ALPHA) > 1e-9:
        assert (p_value < sequential.ALPHA) == (not interval.low <= 0 <= interval.high)
    # Never surer than who looks only once.
    assert interval.high - interval.low > 2 * 1.96 * error


def test_the_boundary_at_the_information_it_is_made_for():
    # The mixture's ratio is 5.9915 + ln 6.9915 = 7.9362 there: sqrt(8.9362 / 7.9362 × (ln 8.9362 + 5.9915)).
    assert sequential.boundary(100.0) == pytest.approx(3.0352, abs=1e-4)
    # Ten times less or more costs little.
    assert sequential.boundary(10.0) == pytest.approx(3.8551, abs=1e-4)
    assert sequential.boundary(1_000.0) == pytest.approx(3.2417, abs=1e-4)


@given(st.floats(-4, 4), st.floats(5, 5_000))
def test_the_p_value_is_one_over_the_likelihood_ratio_mixed_over_a_normal_prior(z, reached):
    deviation = sqrt(reached / 100 * (-2 * log(0.05) + log(1 - 2 * log(0.05))))

    def mixed(theta: float) -> float:
        return float(exp(theta * z - theta**2 / 2) * stats.norm.pdf(theta, scale=deviation))

    likelihood_ratio, _ = integrate.quad(mixed, -50, 50, points=[0, z], limit=200)

    assert sequential.p_value(z, 1.0, reached) == pytest.approx(min(1, 1 / likelihood_ratio), rel=1e-6)


def test_information_grows_with_contacts_and_with_what_they_do():
    assert sequential.information(1_000, 1_000, 99) == pytest.approx(500 * 100 / 1_902)
    assert sequential.harmonic(1_000, 1_000) == 500
    assert sequential.harmonic(100_000, 1_000) == pytest.approx(990.1, abs=0.01)
