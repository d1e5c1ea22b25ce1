"""Saved segments on a real ledger and lake: applied, versioned, used by a campaign, counted, sampled, and bounded."""

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from audiences import Club

from comms_pipeline.audience.definition import compile_audience
from comms_pipeline.campaign_files import InvalidCampaignFiles
from comms_pipeline.domain.errors import CommsError, InvalidSegment
from comms_pipeline.domain.segment import Comparison, Operator, Sql
from comms_pipeline.lake.confined import run_confined
from comms_pipeline.ledger import segments as stored
from comms_pipeline.loader.models import rebuild, refresh
from comms_pipeline.loader.watermarks import Mark, move_marks, next_load_id
from comms_pipeline.planning import segments
from comms_pipeline.planning.audience import ask
from comms_pipeline.planning.segments import SegmentReference

GUESTS = [
    {"email": "ada@mail.example", "name": "Ada", "town": "Bath", "tags": "vip, local"},
    {"email": "bob@mail.example", "name": "Bob", "town": "Rome", "tags": "local"},
    {"email": "cat@mail.example", "name": "Cat", "town": "Bath", "tags": ""},
]


@pytest.fixture
def club(shared_stores, tmp_path) -> Club:
    club = Club.founded(shared_stores, tmp_path)
    club.enrol(GUESTS)
    return club


def save(club: Club, **definitions: object) -> Path:
    """Write segments into the campaign's folder, where the campaign is applied with them."""
    folder = club.folder / "campaign" / "segments"
    folder.mkdir(parents=True, exist_ok=True)
    for name, definition in definitions.items():
        document = {"organisation": club.id, "audience": definition}
        # JSON is YAML.
        (folder / f"{name}.yaml").write_text(json.dumps(document), encoding="utf-8")
    return folder.parent


def count(club: Club, name: str) -> int:
    return segments.count_contacts(club.stores, club.id, SegmentReference(segment=name))


BATH = {"field": "town", "op": "eq", "value": "Bath"}


def test_a_segment_is_counted_and_may_name_others(club):
    folder = save(
        club, bath=BATH, locals={"list": "local"}, both={"all": [{"segment": "bath"}, {"segment": "locals"}]}
    )

    segments.apply_segments(club.stores, folder, actor="test")

    assert {name: count(club, name) for name in ("bath", "locals", "both")} == {
        "bath": 2,
        "locals": 2,
        "both": 1,
    }


def test_applying_again_adds_a_version_only_for_other_content(club):
    versions = [
        segments.apply_segments(club.stores, save(club, bath=definition), actor="test")[0]
        for definition in (BATH, BATH, {"not": BATH})
    ]

    assert [(each.version, each.is_new) for each in versions] == [(1, True), (1, False), (2, True)]
    with club.stores.ledger() as ledger:
        kept = stored.versions(ledger, club.id, "bath")
        noted = ledger.execute(
            "select action, details from audit where subject = %s order by audit_id",
            (f"segment:{club.id}/bath",),
        ).fetchall()
    assert [each.definition for each in kept][-1] == {"not": BATH}
    assert noted == [("segment.applied", {"version": 1}), ("segment.applied", {"version": 2})]


def test_an_event_counts_before_the_scores_know_of_it_and_after(club):
    segments.apply_segments(
        club.stores, save(club, readers={"event": "opened", "within_days": 30}), actor="test"
    )
    rebuild(club.stores, "core.contact_scores")
    [(reader,), *_] = club.rows("select contact_id from core.contacts where organisation_id = $id")
    assert count(club, "readers") == 0

    with club.stores.lake.writer() as writer:
        load_id = next_load_id(writer)
        writer.cursor.execute(
            "insert into core.message_status by name select $id || '-1' as message_id, $id as organisation_id, "
            "$reader as contact_id, 'email' as channel, 'opened' as status, 60 as status_rank, 0 as opens, "
            "0 as clicks, 1 as human_opens, 0 as human_clicks, $now as first_human_opened_at, $now as updated_at, "
            "$load_id as load_id",
            {"id": club.id, "reader": reader, "now": club.stores.now(), "load_id": load_id},
        )
        move_marks(writer, {Mark.LOADS: load_id}, club.stores.now())
    assert count(club, "readers") == 1

    refresh(club.stores, "core.contact_scores")
    assert count(club, "readers") == 1


def test_a_send_records_the_versions_it_selected_by(club):
    save(club, bath={"not": BATH}, guests={"segment": "bath"})
    club.announce(audience={"segment": "guests"})
    save(club, bath=BATH)
    club.announce(audience={"segment": "guests"})

    assert club.plan() == 2
    [(used,)] = club.rows("select segments from campaign.sends where send_id = $id")
    assert used == [{"name": "bath", "version": 2}, {"name": "guests", "version": 1}]


def test_a_campaign_cannot_name_a_segment_that_is_not_saved(club):
    save(club, guests=BATH)

    with pytest.raises(InvalidSegment, match=r"segment gests: it is not saved .* Did you mean 'guests'"):
        club.announce(audience={"segment": "gests"})


def test_a_circle_is_refused_and_nothing_of_the_folder_is_saved(club):
    folder = save(club, a={"segment": "b"}, b={"segment": "a"}, bath=BATH)

    with pytest.raises(InvalidSegment, match="comes back to itself"):
        segments.apply_segments(club.stores, folder, actor="test")

    with club.stores.ledger() as ledger:
        assert stored.segments(ledger, club.id) == []


def test_a_circle_by_way_of_what_is_saved_is_refused(club):
    segments.apply_segments(club.stores, save(club, a=BATH, b={"segment": "a"}), actor="test")

    with pytest.raises(InvalidSegment, match="comes back to itself"):
        segments.apply_segments(club.stores, save(club, a={"segment": "b"}), actor="test")


def test_faults_of_files_are_named_with_file_and_line(club):
    folder = save(club, broken={"event": "opend"}, shut={"sql": "select * from secret"})

    with pytest.raises(InvalidCampaignFiles) as caught:
        segments.apply_segments(club.stores, folder, actor="test")

    problems = [str(each).replace(f"{folder}/", "") for each in caught.value.problems]
    assert problems[0].startswith("segments/broken.yaml:1: 'opend' is no event. Did you mean 'opened'?")
    assert "'secret' is not a relation audiences may read" in problems[1]


def test_checking_a_folder_finds_its_contacts_and_stores_nothing(club):
    folder = save(club, bath=BATH, all_of_them={"everyone": True})
    (folder / "segments/all_of_them.yaml").rename(folder / "segments/everyone.yaml")

    checked = segments.check_segments(club.stores, folder)

    assert [(each.name, each.contacts) for each in checked] == [("bath", 2), ("everyone", 3)]
    with club.stores.ledger() as ledger:
        assert stored.segments(ledger, club.id) == []


def test_a_field_nobody_has_is_found_in_a_segment_too(club):
    folder = save(club, bath={"field": "twon", "op": "eq", "value": "Bath"}, again={"segment": "bath"})

    with pytest.raises(InvalidSegment, match=r"no contact has a field 'twon'\. Did you mean 'town'"):
        segments.check_segments(club.stores, folder)


def sample(club: Club, **options: object) -> pl.DataFrame:
    definition = Comparison(field="town", op=Operator.EQ, value="Rome")
    return segments.sample_contacts(
        club.stores, club.id, definition, actor="test", subject=f"segment:{club.id}", **{"size": 5} | options
    )


def test_a_sample_masks_addresses_unless_they_are_asked_for(club):
    [row] = sample(club).rows(named=True)
    assert (row["email"], row["phone"], row["country"]) == ("b***@mail.example", None, None)

    [row] = sample(club, columns=["email", "town"]).rows(named=True)
    assert (row["email"], row["town"]) == ("bob@mail.example", "Rome")


def test_looking_at_contacts_is_noted(club):
    sample(club, columns=["email", "town"])

    with club.stores.ledger() as ledger:
        noted = ledger.execute(
            "select actor, action, details from audit where subject = %s", (f"segment:{club.id}",)
        ).fetchall()
    assert noted == [
        ("test", "pii-access", {"for": "segment sample", "columns": ["email", "town"], "found": 1})
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["twon"]}, "no contact has a field 'twon'"),
        ({"columns": ['x" from core.outcomes --']}, "is not a field name"),
        ({"size": 0}, "0 contacts are asked for"),
        ({"size": 1_001}, "1001 contacts are asked for"),
    ],
)
def test_a_sample_of_nonsense_is_refused(club, options, message):
    with pytest.raises(CommsError, match=message):
        sample(club, **options)


def run(club: Club, sql: str, seconds: float = 60.0) -> pl.DataFrame:
    query = compile_audience(Sql(sql=sql), club.id)
    with club.stores.lake.reader() as cursor:
        return ask(cursor, club.stores, query, seconds=seconds)


CROSSED = "select a.contact_id from contacts a, {} where hash({}) = 0".format(
    ", ".join(f"(select unnest([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) as one) t{n}" for n in range(12)),
    " + ".join(f"t{n}.one" for n in range(12)),
)
PLANNED_FOR_EVER = "select contact_id, name as text from contacts"
for _ in range(40):
    PLANNED_FOR_EVER = f"select contact_id, text || text as text from ({PLANNED_FOR_EVER})"


@pytest.mark.parametrize(
    ("sql", "seconds", "message"),
    [
        (
            f"select contact_id from ({PLANNED_FOR_EVER}) where length(text) > 1",
            8.0,
            "it ran for too long and was stopped. Join on contact_id, and filter before joining",
        ),
        (
            CROSSED,
            60.0,
            "it needs more memory than it may have. Select fewer columns and rows before joining, grouping or sorting",
        ),
    ],
)
def test_sql_that_runs_away_is_stopped_and_says_why(club, sql, seconds, message):
    with pytest.raises(InvalidSegment) as caught:
        run(club, sql, seconds=seconds)

    assert str(caught.value) == f"audience sql: {message}"
    assert run(club, "select contact_id from contacts").height == 3


def confined(club: Club, statement: str) -> pl.DataFrame:
    return run_confined(club.stores.lake_site, statement, {}, seconds=60.0, megabytes=100)


def test_the_bounds_are_of_that_query_alone(club):
    theirs = confined(club, "select current_setting('memory_limit') as bound").item()
    [(ours,)] = club.rows("select current_setting('memory_limit')")

    assert (theirs, ours) == ("100.0 MiB", "3.7 GiB")


@pytest.mark.parametrize(
    "statement",
    [
        "select * from read_text('/etc/hostname')",
        "copy (select 1) to '/tmp/segment-escape.csv'",
        "attach '/tmp/segment-escape.db'",
        "set memory_limit = '64GB'",
        "set enable_external_access = true",
        "delete from core.contacts",
    ],
)
def test_behind_the_fence_there_is_no_way_out_either(club, statement):
    with pytest.raises(duckdb.Error, match=r"disabled|locked|read-only"):
        confined(club, statement)

    assert not Path("/tmp/segment-escape.csv").exists()


def test_behaviour_is_read_from_the_lakes_own_tables(club):
    [(ada,)] = club.rows("select contact_id from core.contacts where organisation_id = $id and name = 'Ada'")
    status = pl.DataFrame(
        {
            "message_id": [f"{club.id}-1"],
            "contact_id": [ada],
            "channel": ["email"],
            "organisation_id": [club.id],
            "status": ["opened"],
            "status_rank": [40],
            "first_human_opened_at": [datetime(2026, 1, 1, tzinfo=UTC)],
            "opens": [1],
            "human_opens": [1],
            "clicks": [0],
            "human_clicks": [0],
            "updated_at": [datetime(2026, 1, 1, tzinfo=UTC)],
        }
    )
    with club.stores.lake.writer() as writer:
        load_id = next_load_id(writer)
        writer.append("core.message_status", status.with_columns(load_id=pl.lit(load_id)))
        move_marks(writer, {Mark.LOADS: load_id}, club.stores.now())
    every_kind = {
        "any": [
            *(
                {"event": kind}
                for kind in ("accepted", "delivered", "bounced", "failed", "opened", "clicked")
            ),
            {"event": "unsubscribed"},
            {"event": "complained", "campaign": "x", "topic": "y", "channel": "sms"},
            {"event": "purchase", "value_at_least": 1, "currency": "EUR"},
            {"event": "purchase", "campaign": "x", "topic": "y", "channel": "sms"},
            {"score": "churn_risk", "between": [0, 1]},
            {"audience_type": "hot"},
            {"list": "nothing"},
        ]
    }
    segments.apply_segments(club.stores, save(club, did=every_kind), actor="test")

    assert count(club, "did") == 1
    rebuild(club.stores, "core.contact_scores")
    assert count(club, "did") == 1


def test_a_campaigns_story_tells_which_condition_is_not_met(club):
    from comms_pipeline.planning.conditions import conditions_of

    segments.apply_segments(club.stores, save(club, bath=BATH), actor="test")
    club.announce(
        audience={"all": [{"segment": "bath"}, {"event": "opened", "within_days": 30, "channel": "email"}]}
    )
    context = club.send()
    [(ada,)] = club.rows("select contact_id from core.contacts where organisation_id = $id and name = 'Ada'")

    with club.stores.lake.reader() as cursor:
        found = conditions_of(cursor, club.stores, context, ada)

    assert [(each.words, each.is_met) for each in found] == [
        ("in the segment bath", True),
        ("opened at least 1 times, in the last days 30, channel email", False),
    ]
