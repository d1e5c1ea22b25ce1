"""Contacts and rejects of a file: every row accounted for, the same people the same ids, no value in a reject."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comms_pipeline.contacts.importer import CONTACTS, REJECTS, ImportBatch, read_contacts
from comms_pipeline.contacts.mapping import Columns, Consent, ContactMapping
from comms_pipeline.domain.errors import InvalidSettings

SECRET = b"a secret of this test"
CONSENT = Consent(source="web form", at=datetime(2026, 3, 1, tzinfo=UTC))
MAPPING = ContactMapping(organisation="acme", consent=CONSENT)


def read(path: Path, mapping: ContactMapping = MAPPING, batch_rows: int = 250_000) -> ImportBatch:
    """A whole file as one batch, with the schemas checked on the way."""
    batches = list(read_contacts(path, mapping, secret=SECRET, batch_rows=batch_rows))
    for batch in batches:
        assert batch.contacts.schema == CONTACTS
        assert batch.rejects.schema == REJECTS
    return ImportBatch(
        contacts=pl.concat([batch.contacts for batch in batches]),
        rejects=pl.concat([batch.rejects for batch in batches]),
    )


def csv_file(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "people.csv"
    path.write_bytes(text.encode(encoding))
    return path


def attributes(batch: ImportBatch) -> list[dict[str, Any]]:
    return [json.loads(text) for text in batch.contacts["attributes"]]


def test_a_row_becomes_a_contact_with_normal_forms(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        "Customer ID,E-Mail,Mobile,Full Name,Lang,TZ,Country,State,Zip,plan\n"
        ' 7 , Ada@Example.com ,(212) 555-0123,"Ada\r\nLovelace",EN_us,america/new_york,usa,NY,02139,gold\n',
    )

    batch = read(path)

    assert batch.rejects.is_empty()
    assert batch.contacts.drop("contact_id").row(0, named=True) == {
        "organisation_id": "acme",
        "external_id": "7",
        "email": "Ada@Example.com",
        "phone": "+12125550123",
        "name": "Ada Lovelace",
        "language": "en-us",
        "time_zone": "America/New_York",
        "country": "US",
        "region": "NY",
        "postcode": "02139",
        "attributes": '{"plan":"gold"}',
        "consent_source": "web form",
        "consent_at": datetime(2026, 3, 1, tzinfo=UTC),
        "source_row": 1,
    }
    assert len(batch.contacts["contact_id"][0]) == 32


def test_bad_cells_are_dropped_and_lost_rows_are_told_once(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        "email,phone,language,timezone,country\n"
        "bad,+12125550123,english please,Mars/Base,Narnia\n"
        "bad,12,,,\n"
        ",,,,\n"
        ",12,,Mars/Base,\n"
        "ada@example.com,12,,,\n"
        "only,four,cells,here\n",
    )

    batch = read(path)

    assert batch.contacts.select("source_row", "email", "phone").rows() == [
        (1, None, "+12125550123"),
        (5, "ada@example.com", None),
    ]
    assert sorted(batch.rejects.rows(), key=str) == [
        (1, "country", "not a country code such as US", "column"),
        (1, "email", "not a valid e-mail address", "column"),
        (1, "language", "not a language code such as en or pt-BR", "column"),
        (1, "time_zone", "not a time zone such as America/New_York", "column"),
        (2, "email", "not a valid e-mail address", "row"),
        (2, "phone", "not a valid phone number", "column"),
        (3, "email", "no e-mail address and no phone number", "row"),
        (4, "phone", "not a valid phone number", "row"),
        (4, "time_zone", "not a time zone such as America/New_York", "column"),
        (5, "phone", "not a valid phone number", "column"),
        (6, None, "has 4 values instead of 5", "row"),
    ]


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_the_first_row_of_a_contact_stays(tmp_path: Path, batch_rows: int) -> None:
    path = csv_file(
        tmp_path,
        "email,phone,external id\n"
        "ada@example.com,,\n"
        ",+12125550123,\n"
        "ADA@example.com,+12125550123,\n"
        "ada@example.com,,7\n"
        "broken row\n"
        "bob@example.com,,7\n"
        ",212-555-0123,\n"
        "ada@example.com,,\n",
    )

    batch = read(path, batch_rows=batch_rows)

    assert batch.contacts["source_row"].to_list() == [1, 2, 4]
    assert batch.rejects.rows() == [
        (3, "email", "same contact as row 1", "row"),
        (5, None, "has 1 values instead of 3", "row"),
        (6, "external_id", "same contact as row 4", "row"),
        (7, "phone", "same contact as row 2", "row"),
        (8, "email", "same contact as row 1", "row"),
    ]


def test_ids_are_the_same_in_every_import_and_differ_by_organisation_and_secret(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "email\nada@example.com\nbob@example.com\n")
    other = MAPPING.model_copy(update={"organisation": "other"})

    ids = read(path).contacts["contact_id"].to_list()
    (foreign,) = read_contacts(path, MAPPING, secret=b"another secret")

    assert (
        read(csv_file(tmp_path, "name,mail\nB, Bob@EXAMPLE.com\n")).contacts["contact_id"].to_list()
        == ids[1:]
    )
    assert set(read(path, other).contacts["contact_id"]).isdisjoint(ids)
    assert set(foreign.contacts["contact_id"]).isdisjoint(ids)


def test_without_a_secret_nothing_is_read(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "email\nada@example.com\n")

    with pytest.raises(InvalidSettings, match="COMMS_SECRET_KEY"):
        next(read_contacts(path, MAPPING, secret=b""))


def test_text_columns_that_hold_only_numbers_or_booleans_become_such(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        "email,age,spend,is_member,badge,mixed,quote,blank,account\n"
        'a@b.example,41,-1.50,TRUE,007,1,"say ""hi"" \\ \t",,1234567890123456\n'
        "c@b.example, ,0,false,42,x,  ,, 1\n",
    )

    assert attributes(read(path)) == [
        {
            "age": 41,
            "spend": -1.5,
            "is_member": True,
            "badge": "007",
            "mixed": "1",
            "quote": 'say "hi" \\',
            "account": "1234567890123456",
        },
        {"spend": 0, "is_member": False, "badge": "42", "mixed": "x", "account": "1"},
    ]


def test_mapped_expressions_make_targets_and_attributes(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "full_name,zip,amount\nAda Lovelace,12345,3\nBob,67890,4\n")
    mapping = ContactMapping(
        organisation="acme",
        consent=CONSENT,
        columns=Columns(email="'c' || row_number || '@shop.example'", name="full_name -- as given"),
        attributes={
            "first_name": "split_part(full_name, ' ', 1)",
            "zip": "cast(zip as varchar)",
            "double": "amount::int * 2",
            'it\'s "odd"': "amount",
        },
    )

    batch = read(path, mapping, batch_rows=1)

    assert batch.contacts["email"].to_list() == ["c1@shop.example", "c2@shop.example"]
    assert batch.contacts["name"].to_list() == ["Ada Lovelace", "Bob"]
    assert attributes(batch) == [
        {"first_name": "Ada", "zip": "12345", "double": 6, 'it\'s "odd"': 3},
        {"first_name": "Bob", "zip": "67890", "double": 8, 'it\'s "odd"': 4},
    ]


def test_all_attributes_are_the_columns_no_target_uses(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "Mail,name,row_number,x\nada@example.com,Ada,99,1\n")
    mapping = ContactMapping(
        organisation="acme", consent=CONSENT, columns=Columns(email="lower(mail)", external_id="row_number")
    )

    batch = read(path, mapping)

    assert batch.contacts["external_id"].to_list() == ["99"]
    assert attributes(batch) == [{"name": "Ada", "x": 1}]


def test_row_numbers_count_malformed_rows_too(tmp_path: Path) -> None:
    path = csv_file(tmp_path, 'n,m\n1,a\n2\n"3,c\n4,d\n')
    mapping = MAPPING.model_copy(update={"columns": Columns(email="'c' || row_number || '@shop.example'")})

    batch = read(path, mapping)

    assert batch.contacts["email"].to_list() == ["c1@shop.example", "c4@shop.example"]
    assert batch.contacts["source_row"].to_list() == [1, 4]
    assert batch.rejects["source_row"].to_list() == [2, 3]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encodings_and_delimiters_are_found_out(tmp_path: Path, encoding: str, delimiter: str) -> None:
    path = csv_file(tmp_path, f"email{delimiter}name\r\nzoe@example.com{delimiter}Zoë\r\n", encoding)

    batch = read(path)

    assert batch.contacts.select("email", "name").rows() == [("zoe@example.com", "Zoë")]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "people.parquet"
    pl.DataFrame(
        {
            "email": ["ada@example.com", None],
            "phone": [None, 12125550123.0],
            "code": ["12", "13"],
            "tags": [["x", "y"], []],
            "score": [float("nan"), 1.5],
            "seen": [datetime(2026, 1, 2, tzinfo=UTC).replace(tzinfo=None), None],
            "address": [{"city": "Paris"}, {"city": None}],
        }
    ).write_parquet(path)

    batch = read(path)

    assert batch.contacts["phone"].to_list() == [None, "+12125550123"]
    assert attributes(batch) == [
        {"code": "12", "tags": ["x", "y"], "seen": "2026-01-02 00:00:00", "address": {"city": "Paris"}},
        {"code": "13", "tags": [], "score": 1.5, "address": {"city": None}},
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_lines_keep_types_and_lose_only_what_is_no_object(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "people.ndjson"
    path.write_bytes(
        (
            '{"email": "ada@example.com", "n": 1, "day": "2026-01-02", "tags": ["x"], "mixed": 1}\n'
            "{broken\n"
            "\n"
            '{"email": "bob@example.com", "n": null, "mixed": "one", "none": null, "empty": ""}\n'
            "[1]\n"
        ).encode(encoding)
    )

    batch = read(path)

    assert batch.contacts["source_row"].to_list() == [1, 3]
    assert attributes(batch) == [{"n": 1, "day": "2026-01-02", "tags": ["x"], "mixed": 1}, {"mixed": "one"}]
    assert batch.rejects.rows() == [
        (2, None, "not a JSON object", "row"),
        (4, None, "not a JSON object", "row"),
    ]


def test_a_json_array_is_read_as_rows(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    path.write_text('  [{"email": "ada@example.com",\n "vip": true}, 5,\n {"email": "bob@example.com"}]')

    batch = read(path)

    assert batch.contacts.select("source_row", "email", "attributes").rows() == [
        (1, "ada@example.com", '{"vip":true}'),
        (3, "bob@example.com", "{}"),
    ]
    assert batch.rejects["source_row"].to_list() == [2]


def test_phone_numbers_are_read_in_the_rows_country(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "phone,country\n07400 123456,GB\n(212) 555-0123,\n")

    batch = read(path)

    assert batch.contacts.select("phone", "country").rows() == [
        ("+447400123456", "GB"),
        ("+12125550123", None),
    ]


def test_progress_is_told_in_rows(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "email\n" + "".join(f"c{n}@example.com\n" for n in range(5)))
    done: list[int] = []

    batches = list(read_contacts(path, MAPPING, secret=SECRET, batch_rows=2, progress=done.append))

    assert done == [2, 2, 1]
    assert [batch.contacts.height for batch in batches] == [2, 2, 1]


CELL = st.sampled_from(
    ["", "ada@example.com", "bob@example.com", "bad", "+12125550123", "12", '"', '"x"', 'x"y']
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CELL, min_size=1, max_size=4), min_size=1, max_size=15), st.integers(1, 20))
def test_contacts_and_lost_rows_add_up_to_the_rows_of_the_file(
    tmp_path: Path, rows: list[list[str]], batch_rows: int
) -> None:
    lines = [",".join(row) for row in rows]
    path = csv_file(tmp_path, "email,phone,note\n" + "\n".join([*lines, "last@example.com,,"]))

    batch = read(path, batch_rows=batch_rows)
    lost = batch.rejects.filter(pl.col("severity") == "row")["source_row"].to_list()
    kept = batch.contacts["source_row"].to_list()

    assert sorted(kept + lost) == list(range(1, len(kept) + len(lost) + 1))
    assert len(set(batch.contacts["contact_id"])) == len(kept)
    assert batch.contacts.filter(pl.coalesce("email", "phone").is_null()).is_empty()
    assert "example.com" not in str(batch.rejects["reason"].to_list())


def test_a_large_file_adds_up_across_batches(tmp_path: Path) -> None:
    rows = 120_000
    text = "".join(f"u{n % 100_000}@example.com,{n}\n" for n in range(rows))
    path = csv_file(tmp_path, "email,n\n" + text)

    batch = read(path, batch_rows=25_000)

    assert batch.contacts.height == 100_000
    assert batch.rejects.height == 20_000
    assert batch.rejects["reason"][-1] == "same contact as row 20000"
    assert json.loads(batch.contacts["attributes"][99_999]) == {"n": 99_999}
