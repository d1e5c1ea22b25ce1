"""Importing contacts: whole or not at all, again without effect, and nobody's consent or erasure undone."""

import json

import pytest
from audiences import Club, people

from comms_pipeline.domain.errors import InvalidContactFile, NotFound
from comms_pipeline.loader.contacts import import_contacts


@pytest.fixture
def club(shared_stores, tmp_path) -> Club:
    return Club.founded(shared_stores, tmp_path)


def contacts(club: Club, columns: str = "email, name") -> list[tuple[object, ...]]:
    return club.rows(f"select {columns} from core.contacts where organisation_id = $id order by email, phone")


def test_a_file_is_imported_and_its_rejects_are_kept(club):
    rows = [
        {"email": "ada@people.example", "phone": "+12125550101", "name": "Ada"},
        {"email": "not an address", "phone": "+12125550102", "name": "Bo"},
        {"email": "neither", "phone": "nor", "name": "Cy"},
        {"email": "", "phone": "", "name": "Di"},
        {"email": "ADA@people.example", "phone": "", "name": "Ada again"},
    ]

    report = club.enrol(rows)

    assert (report.rows, report.written, report.unchanged, report.rejected_rows) == (5, 2, 0, 3)
    assert report.reject_reasons == [
        ("email", "not a valid e-mail address", 2),
        ("email", "no e-mail address and no phone number", 1),
        ("email", "same contact as another row", 1),
        ("phone", "not a valid phone number", 1),
    ]
    assert contacts(club, "email, phone, name") == [
        ("ada@people.example", "+12125550101", "Ada"),
        (None, "+12125550102", "Bo"),
    ]
    kept = club.rows(
        "select source_row, column_name, severity from raw.contact_rejects where import_id = $import order by all",
        **{"import": report.import_id},
    )
    assert kept == [
        (2, "email", "column"),
        (3, "email", "row"),
        (3, "phone", "column"),
        (4, "email", "row"),
        (5, "email", "row"),
    ]
    counts = (
        "select row_count, contact_count, rejected_rows from raw.contact_imports where organisation_id = $id"
    )
    assert club.rows(counts) == [(5, 2, 3)]


def test_importing_the_same_file_again_changes_nothing(club):
    club.enrol(people(3, tier="gold"))
    before = contacts(club, "*")

    report = club.enrol(people(3, tier="gold"))

    assert (report.written, report.unchanged) == (0, 3)
    assert contacts(club, "*") == before


def test_a_row_that_changed_updates_its_contact_and_keeps_when_it_came(club):
    club.enrol(people(2))
    before = dict(contacts(club, "email, created_at"))

    report = club.enrol([{"email": "p1@people.example", "name": "Renamed"}])

    assert (report.written, report.unchanged) == (1, 0)
    assert contacts(club) == [("p0@people.example", "Person 0"), ("p1@people.example", "Renamed")]
    assert dict(contacts(club, "email, created_at")) == before
    assert contacts(club, "updated_at > created_at") == [(False,), (True,)]


def test_the_erased_stay_erased(club):
    club.enrol(people(2))
    with club.stores.lake.writer() as writer:
        writer.cursor.execute(
            "update core.contacts set is_erased = true, name = null, phone = null "
            "where organisation_id = $id and email = 'p1@people.example'",
            {"id": club.id},
        )

    report = club.enrol(people(2))

    assert (report.written, report.unchanged) == (0, 2)
    assert contacts(club, "email, name, is_erased") == [
        ("p0@people.example", "Person 0", False),
        ("p1@people.example", None, True),
    ]
    assert club.rows("select count(*) from core.contacts where organisation_id = $id and not is_erased") == [
        (1,)
    ]


CONSENT = "consent_source, consent_kind, epoch(consent_at)::bigint"
EXPRESS = {"source": "form", "kind": "express", "at": "2026-01-02T00:00:00Z"}
STAMP = 1767312000


@pytest.mark.parametrize(
    ("then", "on_record"),
    [
        (EXPRESS, ("form", "express", STAMP)),
        # Who does not say on what ground takes nothing away.
        ({"source": "some list"}, ("form", "express", STAMP)),
        # The same consent, told without its date.
        ({"source": "form", "kind": "express"}, ("form", "express", STAMP)),
        # Another consent does not inherit the date of the first.
        ({"source": "shop", "kind": "soft_opt_in"}, ("shop", "soft-opt-in", None)),
        (EXPRESS | {"at": "2026-01-03T00:00:00Z"}, ("form", "express", STAMP + 86_400)),
    ],
)
def test_consent_on_record_is_replaced_whole_and_only_by_one_that_says_its_ground(club, then, on_record):
    club.enrol(people(1), consent=EXPRESS)
    club.enrol(people(1), consent=then)

    assert contacts(club, CONSENT) == [on_record]
    assert club.enrol(people(1), consent=then).written == 0


def test_a_consent_without_a_ground_gives_way_to_any(club):
    club.enrol(people(1), consent={"source": "old list"})
    club.enrol(people(1), consent={"source": "new list"})
    assert contacts(club, CONSENT) == [("new list", "unstated", None)]

    club.enrol(people(1), consent=EXPRESS)
    assert contacts(club, CONSENT) == [("form", "express", STAMP)]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"columns": {"email": "mail_adress"}}, "mail_adress"),
        ({"columns": {"email": "email", "name": "name::int::text"}}, "the expression fails for some row"),
        ({"colums": {"email": "email"}}, "unknown key 'colums'"),
        ({"consent": {}}, "'source' is missing"),
    ],
)
def test_a_bad_mapping_leaves_nothing(club, mapping, message):
    with pytest.raises(InvalidContactFile) as caught:
        club.enrol(people(3), **mapping)

    assert message in str(caught.value)
    assert "@" not in str(caught.value)
    assert contacts(club) == []
    assert club.rows("select * from raw.contact_imports where organisation_id = $id") == []


def test_a_file_that_fails_halfway_leaves_nothing(club, monkeypatch):
    from comms_pipeline.loader import contacts as loader

    real = loader.read_contacts

    def halfway(*arguments, **options):
        yield next(iter(real(*arguments, **options)))
        raise OSError("the disk went away")

    monkeypatch.setattr(loader, "read_contacts", halfway)
    with pytest.raises(OSError, match="the disk went away"):
        club.enrol(people(3))

    assert contacts(club) == []


def test_rows_that_cannot_be_split_are_rejects_without_a_column(club):
    path = club.folder / "broken.csv"
    path.write_text("email,name\na@people.example,Ada\nb@people.example,Bo,too,many\nc@people.example,Cy\n")

    report = import_contacts(club.stores, path, organisation=club.id, consent_source="form")

    assert (report.rows, report.written, report.rejected_rows) == (3, 2, 1)
    assert [(column, rows) for column, _, rows in report.reject_reasons] == [(None, 1)]
    kept = club.rows(
        "select source_row, column_name, severity from raw.contact_rejects where import_id = $import",
        **{"import": report.import_id},
    )
    assert kept == [(2, None, "row")]


def test_a_file_with_column_names_only_is_refused(club):
    path = club.folder / "empty.csv"
    path.write_text("email,name\n")

    with pytest.raises(InvalidContactFile, match="it has no rows"):
        import_contacts(club.stores, path, organisation=club.id, consent_source="form")

    assert club.rows("select * from raw.contact_imports where organisation_id = $id") == []


def test_whose_contacts_these_are_must_be_said_and_known(club):
    path = club.folder / "people.csv"
    path.write_text("email\na@people.example\n")

    with pytest.raises(InvalidContactFile, match="Pass --organisation and --consent"):
        import_contacts(club.stores, path, organisation=club.id)
    with pytest.raises(NotFound, match="organisation nobody: it is not known"):
        import_contacts(club.stores, path, organisation="nobody", consent_source="form")


def test_the_same_person_of_two_organisations_is_two_contacts(club, tmp_path):
    other = Club.founded(club.stores, tmp_path)
    club.enrol(people(1, tier="gold"))
    other.enrol(people(1, tier="tin"))

    assert [json.loads(row[0]) for row in contacts(club, "attributes")] == [{"tier": "gold"}]
    assert contacts(club, "contact_id") != contacts(other, "contact_id")
