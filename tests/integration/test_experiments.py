"""`mart.experiments`: who is in which arm, what counts for it, and the figures of a real experiment, computed twice."""

import csv
import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from audiences import DUE, Club, people
from command_line import CommandLine
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

from comms_pipeline.domain.business_event import BusinessEvent, read_event
from comms_pipeline.domain.experiment import Metric
from comms_pipeline.experiments.conclusions import conclusions
from comms_pipeline.experiments.reading import Row
from comms_pipeline.ledger.feeds import LandingRow
from comms_pipeline.loader.conversions import add_business_events
from comms_pipeline.loader.experiments import experiments, readings
from comms_pipeline.loader.model_checks import check_model
from comms_pipeline.loader.models import rebuild
from comms_pipeline.planning import stages
from comms_pipeline.planning.choices import Unassigned
from comms_pipeline.providers.business_events import body_of
from comms_pipeline.stores import Stores

NOW = DUE + timedelta(minutes=5)
TWO = [{"name": "a"}, {"name": "b"}]


@pytest.fixture
def club(shared_stores, tmp_path) -> Club:
    return at(Club.founded(shared_stores, tmp_path), NOW)


def at(club: Club, moment: datetime) -> Club:
    """The same club at another time."""
    stores: Stores = replace(club.stores, now=lambda: moment)
    vars(stores).update(lake=club.stores.lake)
    return replace(club, stores=stores)


def buy(club: Club, *purchases: dict[str, Any]) -> None:
    """Load purchases: `email` and whatever else differs."""
    plain = {"organisation": club.id, "type": "purchase", "value": 10, "currency": "EUR"}
    events = []
    for number, purchase in enumerate(purchases):
        plain["idempotency_key"] = f"{club.id}-{number}"
        event = read_event(
            plain | {"occurred_at": (DUE + timedelta(hours=1)).isoformat()} | purchase,
            DUE + timedelta(days=99),
        )
        assert isinstance(event, BusinessEvent), event
        events.append(event)
    with club.stores.lake.writer() as writer:
        for number, part in enumerate(events[start : start + 1000] for start in range(0, len(events), 1000)):
            row = LandingRow(
                xact=1,
                id=number,
                provider="business",
                kind="events",
                received_at=DUE + timedelta(days=99),
                query="",
                body=body_of(part, source="file", secret=club.stores.secret),
            )
            add_business_events(writer.cursor, [row], secret=club.stores.secret)


def told(club: Club, message_ids: list[str], *steps: str) -> None:
    """Make those messages have taken these steps (columns of core.message_status)."""
    with club.stores.lake.writer() as writer:
        schema = writer.cursor.execute("select * from core.message_status limit 0").pl().schema
        row = {
            "send_id": club.id,
            "status": "clicked",
            "status_rank": 9,
            **dict.fromkeys(("opens", "human_opens", "clicks", "human_clicks"), 0),
            "updated_at": NOW,
            **dict.fromkeys(steps, NOW),
        }
        rows = [row | {"message_id": message_id} for message_id in message_ids]
        writer.append("core.message_status", pl.DataFrame(rows, schema=dict(schema)))


def arms(club: Club) -> dict[str, list[str]]:
    """Addresses by arm."""
    query = """
        select coalesce(m.variant, 'holdout'), list(email order by email) from core.contacts c
        left join (select * from campaign.messages where send_id = $id) m using (contact_id)
        where organisation_id = $id group by all"""
    return dict(club.rows(query))


def rows_of(club: Club, moment: datetime = NOW) -> list[Row]:
    [reading] = readings(at(club, moment).stores, club.id)
    return list(reading.rows)


def row(
    rows: list[Row], variant: str, metric: Metric, control: str | None = None, channel: str = "all"
) -> Row:
    [found] = [
        each
        for each in rows
        if (each.variant, each.metric, each.control, each.channel) == (variant, metric, control, channel)
    ]
    return found


def test_a_campaign_that_compares_nothing_is_no_experiment(club):
    club.enrol(people(3))
    club.announce(variants=[{"name": "only"}])
    club.plan()

    assert readings(club.stores, club.id) == []


def test_an_arm_is_who_was_meant_to_get_it_whatever_became_of_the_message(club):
    club.enrol(people(60))
    club.announce(variants=TWO)
    club.plan()
    messages = dict(club.rows("select message_id, variant from campaign.messages where send_id = $id"))
    of_b = sorted(message_id for message_id, variant in messages.items() if variant == "b")
    told(club, of_b[:2], "first_human_opened_at", "first_human_clicked_at")
    told(club, of_b[2:3], "unsubscribed_at", "first_opened_at")

    found = rows_of(club)

    counts = {variant: len(addresses) for variant, addresses in arms(club).items()}
    assert counts["a"] + counts["b"] == 60
    click = row(found, "b", Metric.HUMAN_CLICK, "a")
    assert (click.contacts, click.successes, click.control_contacts, click.control_successes) == (
        counts["b"],
        2,
        counts["a"],
        0,
    )
    # A machine's open is none.
    assert row(found, "b", Metric.HUMAN_OPEN, "a").successes == 2
    assert row(found, "b", Metric.UNSUBSCRIBE, "a").successes == 1
    assert row(found, "a", Metric.HUMAN_CLICK).rate == 0
    assert {each.channel for each in found} == {"all"}


def test_who_was_held_out_is_compared_over_the_same_window(club):
    club.enrol(people(80))
    club.announce(holdout=0.5, experiment={"window_days": 2})
    club.plan()
    by_arm = arms(club)
    held, treated = by_arm["holdout"], by_arm[""]
    day = timedelta(days=1)
    buy(
        club,
        {"email": treated[0], "value": 30},
        {"email": treated[0], "value": 12.5},
        {"email": held[0], "value": 5},
        # Before it, after it, none at all, and somebody else's.
        {"email": held[1], "occurred_at": (DUE - day).isoformat()},
        {"email": held[2], "occurred_at": (DUE + 2 * day).isoformat()},
        {"email": treated[1], "type": "invoice_created"},
        {"email": "stranger@people.example"},
        # The last moment of it.
        {
            "email": treated[2],
            "occurred_at": (DUE + 2 * day - timedelta(seconds=1)).isoformat(),
            "value": 0.5,
        },
    )

    found = rows_of(club, DUE + 3 * day)

    conversion = row(found, "", Metric.CONVERSION, "holdout")
    assert (conversion.contacts, conversion.successes) == (len(treated), 2)
    assert (conversion.control_contacts, conversion.control_successes) == (len(held), 1)
    revenue = row(found, "", Metric.REVENUE, "holdout")
    assert revenue.currency == "EUR"
    assert (revenue.mean, revenue.control_mean) == (43 / len(treated), 5 / len(held))
    assert row(found, "holdout", Metric.CONVERSION).rate == 1 / len(held)
    # What nobody can tell of them is not told.
    assert not [each for each in found if each.variant == "holdout" and each.metric is Metric.HUMAN_CLICK]


def test_who_is_held_out_within_closed_hours_is_part_of_the_control_and_who_was_excluded_anyway_is_not(club):
    rows = people(60)
    for each in rows[:20]:
        each["email"] = ""
        each["phone"] = "+12125550100"
    club.enrol(rows)
    # It is Tuesday wherever they may be: everybody is deferred.
    club.announce(holdout=0.5, hours={"days_off": ["tuesday"]})
    club.plan()

    found = rows_of(club)

    treated, held = row(found, "", Metric.CONVERSION, "holdout"), row(found, "holdout", Metric.CONVERSION)
    assert treated.contacts + held.contacts == 40
    assert treated.contacts == club.funnel().messages
    assert 8 < held.contacts < 32


def test_a_contact_counts_once_however_many_sends_there_were(club):
    club.enrol(people(30))
    club.announce(variants=TWO)
    club.plan()
    with club.stores.lake.writer() as writer:
        for table in ("campaign.sends", "campaign.messages"):
            writer.cursor.execute(
                f"insert into {table} by name select * replace (send_id || '-2' as send_id, "
                f"due_at + interval 7 day as due_at) from {table} where send_id = $id",
                {"id": club.id},
            )
        writer.cursor.execute(
            "update campaign.messages set message_id = message_id || '-2' where send_id = $id",
            {"id": f"{club.id}-2"},
        )
    address = arms(club)["b"][0]
    buy(club, {"email": address}, {"email": address, "occurred_at": (DUE + timedelta(days=10)).isoformat()})

    before, after = rows_of(club), rows_of(club, DUE + timedelta(days=20))

    assert (
        row(before, "a", Metric.CONVERSION).contacts + row(before, "b", Metric.CONVERSION, "a").contacts == 30
    )
    assert (
        row(after, "a", Metric.CONVERSION).contacts + row(after, "b", Metric.CONVERSION, "a").contacts == 30
    )
    assert row(after, "b", Metric.CONVERSION, "a").successes == 1
    assert row(after, "b", Metric.REVENUE, "a").mean == 20 / row(after, "b", Metric.CONVERSION, "a").contacts


def test_contacts_shared_out_differently_are_another_test(club):
    club.enrol(people(30))
    club.announce(variants=TWO)
    club.plan()
    club.announce(variants=[{"name": "a"}, {"name": "b", "weight": 9}])

    assert readings(club.stores, club.id) == []

    club.announce(variants=[])
    assert readings(club.stores, club.id) == []
    assert experiments(club.stores).filter(campaign_id=club.id).height == 0


def test_channels_are_told_apart_and_holdouts_only_as_a_whole(club):
    rows = people(60, phone="+12125550100")
    for number, each in enumerate(rows):
        each |= {"phone": f"+1212555{1000 + number}"} if number % 2 else {"phone": "", "language": ""}
        each["preferred_channel"] = "sms" if number % 2 else "email"
    club.enrol(rows)
    both = {"email": {"subject": "News", "html": "news.html"}, "sms": {"text": "news.txt"}}
    club.announce(
        {"news.txt": "Hi {{ name }}"}, channels=["email", "sms"], templates=both, variants=TWO, holdout=0.2
    )
    club.plan()

    found = rows_of(club)

    assert {each.channel for each in found} == {"all", "email", "sms"}
    assert {each.variant for each in found if each.channel == "sms"} == {"a", "b"}
    whole = row(found, "a", Metric.CONVERSION, "holdout").contacts
    assert whole == sum(
        row(found, "a", Metric.CONVERSION, channel=each).contacts for each in ("email", "sms")
    )
    assert row(found, "a", Metric.CONVERSION, channel="sms").expected_share == 0.5
    assert row(found, "a", Metric.CONVERSION, "holdout").expected_share == pytest.approx(0.4)


ASSIGNED = {
    "variants": TWO,
    "holdout": 0.5,
    "experiment": {"assign_by": "attributes.test.group", "arms": {1: "a", 2: "b", "none": "holdout"}},
}


def test_an_assignment_made_elsewhere_is_kept(club):
    rows = people(9)
    for number, each in enumerate(rows):
        each["group"] = ("1", "2", "none")[number % 3]
    club.enrol(rows, attributes={"test": "{'group': \"group\"}"})
    club.announce(**ASSIGNED)

    assert club.plan() == 6

    assert arms(club) == {
        "a": [f"p{n}@people.example" for n in (0, 3, 6)],
        "b": [f"p{n}@people.example" for n in (1, 4, 7)],
        "holdout": [f"p{n}@people.example" for n in (2, 5, 8)],
    }
    assert club.exclusions() == {"holdout": 3}


def test_a_contact_in_no_arm_stops_the_plan(club):
    rows = people(3, group="1")
    rows[2]["group"] = "3"
    club.enrol(rows, attributes={"test": "{'group': \"group\"}"})
    club.announce(**ASSIGNED)

    with pytest.raises(Unassigned) as caught:
        club.plan()

    assert caught.value.problem == "at least 1 contacts of its audience are in no arm of the experiment"
    assert stages.funnel(club.stores.lake.connect(), club.id).messages == 0


def test_the_mart_holds_what_readings_say_and_a_rebuild_changes_nothing(club):
    club.enrol(people(40))
    club.announce(variants=TWO, holdout=0.2)
    club.plan()

    rebuild(club.stores, "mart.experiments")
    query = "select * exclude (computed_at) from mart.experiments where campaign_id = $id order by all"
    first = club.rows(query)
    rebuild(club.stores, "mart.experiments")
    assert [each.findings for each in check_model(club.stores, "mart.experiments") if not each.passed] == []

    assert club.rows(query) == first
    assert len(first) == len(rows_of(club))
    keys = {(each[0], *each[4:9]) for each in first}
    assert len(keys) == len(first)


def test_an_empty_warehouse_has_no_experiment(stores):
    assert experiments(stores).height == 0
    assert rebuild(stores, "mart.experiments").rows == 0


@pytest.fixture
def comms(club) -> CommandLine:
    """`comms` as typed on the club's installation."""
    settings = club.stores.settings
    variables = {
        "COMMS_DATABASE_URL": settings.database_url.get_secret_value(),
        "COMMS_SECRET_KEY": settings.secret_key.get_secret_value(),
    }
    command = CommandLine(home=settings.home, variables=variables)
    command.ok("init")
    return command


def test_the_command_shows_figures_and_says_what_they_mean(club, comms):
    club.enrol(people(400))
    club.announce(variants=[{"name": "plain"}, {"name": "warm"}], holdout=0.25)
    club.plan()
    messages = club.rows("select message_id from campaign.messages where send_id = $id and variant = 'warm'")
    told(club, [message_id for (message_id,) in messages[:90]], "first_human_clicked_at")
    with club.stores.lake.writer() as writer:
        writer.cursor.execute(
            "update campaign.sends set due_at = now() - interval 1 hour where send_id = $id", {"id": club.id}
        )
    before = comms.state()

    printed = comms.ok("experiments", "show", club.id)

    assert "warm wins: more clicks than plain" in printed
    assert "Against the holdout: no difference detected yet" in printed
    assert "Conversions count until" in printed
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines()]
    [clicks] = [row for row in cells if [*row[:2], *row[3:4]] == ["clicks", "warm", "plain"]]
    assert clicks[4] == "0.00 %"
    assert clicks[-2:] == ["<0.0001", "wins"]
    assert [row[0] for row in cells if row[-1:] == ["25 %"]] == ["holdout"]
    assert comms.state() == before


def test_the_command_says_what_is_missing(club, comms):
    club.announce()

    assert comms("experiments", "show", club.id).err == (
        f"error: campaign {club.id}: it compares nothing, or no send of it was due yet. "
        "Give it two variants or a holdout, and send it\n"
    )
    assert "it has not been applied" in comms("experiments", "show", "nothing").err


def test_the_command_says_how_many_contacts_a_test_needs(comms):
    printed = comms.ok("experiments", "size", "--baseline", "0.05", "--uplift", "0.1")

    assert "31,234" in printed
    assert "69,282" in printed
    money = comms.ok("experiments", "size", "--mean", "1.05", "--deviation", "15", "--contacts", "640000")
    assert "79.96 %" in money
    uneven = comms.ok("experiments", "size", "--baseline", "0.02", "--arms", "3", "--control-share", "0.2")
    assert "To find an uplift of 10 %" in uneven


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "size: it must be clear what is measured"),
        (["--baseline", "0.5", "--mean", "1"], "size: it must be clear what is measured"),
        (["--baseline", "0.95"], "--baseline: rates lie between 0 and 1, with and without the uplift"),
        (["--mean", "3"], "--mean: it needs a mean other than 0"),
        (["--baseline", "0.1", "--uplift", "0"], "--uplift: 0.0 is no change"),
        (["--baseline", "0.1", "--power", "1"], "--power: 1.0 is no such chance"),
        (["--baseline", "0.1", "--control-share", "1"], "--control-share: 1.0 is no share"),
    ],
)
def test_a_test_that_makes_no_sense_is_refused(comms, options, problem):
    printed = comms("experiments", "size", *options)

    assert printed.code == 1
    assert printed.err.startswith(f"error: {problem}")


PROJECT = Path(__file__).parents[2]
CANDIDATES = (os.environ.get("COMMS_HILLSTROM_CSV", ""), str(PROJECT.parent / "shared/data/hillstrom.csv"))
FILE = next((Path(path) for path in CANDIDATES if path and Path(path).is_file()), None)
SEGMENTS = {"Mens E-Mail": "mens", "Womens E-Mail": "womens", "No E-Mail": "holdout"}


@pytest.mark.skipif(FILE is None, reason="the Hillstrom file is not here")
@pytest.mark.xdist_group("hillstrom")
def test_a_real_experiment_reads_as_statsmodels_and_scipy_read_it(club, tmp_path):
    assert FILE is not None
    with FILE.open(encoding="utf-8") as file:
        customers = list(csv.DictReader(file))
    club.enrol_file(FILE, columns={"email": "'c' || row_number || '@hillstrom.example'"})
    club.announce(
        {"news.html": "<p>News {{ unsubscribe_url }} {{ postal_address }}</p>"},
        variants=[{"name": "mens"}, {"name": "womens"}],
        holdout=1 / 3,
        experiment={"metric": "conversion", "window_days": 14, "assign_by": "segment", "arms": SEGMENTS},
    )
    assert club.plan() == 42_694
    buy(
        club,
        *(
            {"email": f"c{number}@hillstrom.example", "value": customer["spend"], "currency": "USD"}
            for number, customer in enumerate(customers, 1)
            if customer["conversion"] == "1"
        ),
    )

    [reading] = readings(at(club, DUE + timedelta(days=15)).stores, club.id)
    found = list(reading.rows)

    spend = {
        arm: [float(customer["spend"]) for customer in customers if customer["segment"] == segment]
        for segment, arm in SEGMENTS.items()
    }
    buyers = {arm: sum(value > 0 for value in values) for arm, values in spend.items()}
    assert buyers == {"mens": 267, "womens": 189, "holdout": 122}
    sizes = [len(spend[arm]) for arm in SEGMENTS.values()]
    for control, treated in (("holdout", ("mens", "womens")), ("mens", ("womens",))):
        ps, welch_ps = [], []
        for arm in treated:
            rate = row(found, arm, Metric.CONVERSION, control)
            counts, contacts = [buyers[arm], buyers[control]], [len(spend[arm]), len(spend[control])]
            assert [rate.successes, rate.control_successes] == counts
            assert [rate.contacts, rate.control_contacts] == contacts
            ps.append(proportions_ztest(counts, contacts)[1])
            assert rate.p_value == pytest.approx(ps[-1], rel=1e-9)
            both = [value for pair in zip(counts, contacts, strict=True) for value in pair]
            low, high = confint_proportions_2indep(*both, method="newcomb", compare="diff")
            assert (rate.difference_low, rate.difference_high) == pytest.approx((low, high), rel=1e-9)
            low, high = confint_proportions_2indep(*both, method="log", compare="ratio")
            assert (rate.uplift_low, rate.uplift_high) == pytest.approx((low - 1, high - 1), rel=1e-9)

            mean = row(found, arm, Metric.REVENUE, control)
            tested = stats.ttest_ind(spend[arm], spend[control], equal_var=False)
            interval = tested.confidence_interval(0.95)
            welch_ps.append(tested.pvalue)
            assert mean.currency == "USD"
            assert mean.mean == pytest.approx(sum(spend[arm]) / len(spend[arm]), rel=1e-12)
            assert mean.p_value == pytest.approx(tested.pvalue, rel=1e-7)
            assert (mean.difference_low, mean.difference_high) == pytest.approx(
                (interval.low, interval.high), rel=1e-7
            )
        adjusted = [row(found, arm, Metric.CONVERSION, control).adjusted_p_value for arm in treated]
        assert adjusted == pytest.approx(list(multipletests(ps, method="holm")[1]), rel=1e-9)
        adjusted = [row(found, arm, Metric.REVENUE, control).adjusted_p_value for arm in treated]
        assert adjusted == pytest.approx(list(multipletests(welch_ps, method="holm")[1]), rel=1e-7)
    expected = stats.chisquare(sizes).pvalue
    assert found[0].sample_ratio_p_value == pytest.approx(expected, rel=1e-9)
    assert conclusions(reading.design, found) == [
        "mens wins: more conversions than womens",
        "Against the holdout: 119 % more conversions with mens and 54.3 % more conversions with womens",
    ]
