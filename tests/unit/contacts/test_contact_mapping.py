"""The mapping file: what it may say, and errors that name line and fix."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from comms_pipeline.contacts.mapping import (
    Consent,
    ConsentKind,
    ContactMapping,
    Target,
    load_mapping,
    recognise,
)
from comms_pipeline.domain.errors import InvalidContactFile

HEAD = "organisation: acme\nconsent:\n  source: web form\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "map.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_full_mapping_is_read(tmp_path: Path) -> None:
    mapping = load_mapping(
        write(
            tmp_path,
            "organisation: acme\n"
            "consent: {source: web form, at: 2026-03-01T10:00:00-05:00, kind: express}\n"
            "default_region: gb\n"
            'delimiter: "\\t"\n'
            "columns:\n"
            "  email: lower(mail)\n"
            "  language: \"'no'\"\n"
            "attributes:\n"
            "  tier: upper(tier)\n",
        )
    )

    assert mapping.organisation == "acme"
    assert mapping.consent.at == datetime(2026, 3, 1, 15, tzinfo=UTC)
    assert mapping.consent.kind is ConsentKind.EXPRESS
    assert mapping.default_region == "GB"
    assert mapping.delimiter == "\t"
    assert mapping.columns.given() == {Target.EMAIL: "lower(mail)", Target.LANGUAGE: "'no'"}
    assert mapping.attributes == {"tier": "upper(tier)"}


def test_what_is_not_said_has_defaults(tmp_path: Path) -> None:
    mapping = load_mapping(write(tmp_path, HEAD + "attributes: all\n"))

    assert mapping.consent == Consent(source="web form", at=None, kind=ConsentKind.UNSTATED)
    assert (mapping.default_region, mapping.delimiter, mapping.attributes) == ("US", None, None)
    assert mapping.columns.given() == {}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            HEAD + "columns:\n  emial: mail\n",
            5,
            "unknown key 'emial'. Did you mean 'email'? Fields of your own go",
        ),
        (HEAD + "atributes: all\n", 4, "unknown key 'atributes'. Did you mean 'attributes'?"),
        (HEAD + "attributes: some\n", 4, "'attributes' is neither 'all' nor a list of names"),
        (HEAD + "attributes:\n  tier: 5\n", 5, "'tier' should be a valid string"),
        (HEAD + "default_region: Texas\n", 4, "'Texas' is not a country. Use two letters"),
        (HEAD + "delimiter: tab\n", 4, "the delimiter is not one character"),
        (HEAD + "  kind: exprss\n", 4, "'exprss' is not a value of 'kind'. Did you mean 'express'?"),
        (HEAD + "  at: 2026-03-01T10:00:00\n", 4, "the time has no offset"),
        ("organisation: Acme Inc\nconsent: {source: x}\n", 1, "'Acme Inc' is not an id"),
        ("organisation: acme\n", 1, "'consent' is missing. Add 'consent:'"),
        ("- a\n", 1, "it holds no keys"),
        (HEAD + "columns: {email: a\n", 5, "not valid YAML"),
        (HEAD + "organisation: b\n", 4, "duplicate key 'organisation'"),
    ],
)
def test_errors_name_file_line_and_fix(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = write(tmp_path, text)

    with pytest.raises(InvalidContactFile) as caught:
        load_mapping(path)

    assert str(caught.value).startswith(f"{path}:{line}: {message}")
    assert "\n" not in str(caught.value)


def test_a_missing_or_unreadable_mapping_file_is_named(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("organisation: caf\xe9\n".encode("latin-1"))

    with pytest.raises(InvalidContactFile, match=r"none\.yaml: no such file"):
        load_mapping(tmp_path / "none.yaml")
    with pytest.raises(InvalidContactFile, match=r"latin\.yaml: it is not UTF-8"):
        load_mapping(latin)


def test_a_mapping_made_in_code_is_validated_too() -> None:
    with pytest.raises(ValidationError):
        ContactMapping(organisation="Not An Id", consent=Consent(source="x"))

    assert (
        ContactMapping(organisation="acme", consent=Consent(source="x")).place("columns") == "mapping columns"
    )


def test_columns_are_recognised_by_name_whatever_their_spelling() -> None:
    columns = ["E-Mail Address", "mail", "Mobile Phone", "Full_Name", "ZIP", "State", "timezone", "plus_one"]

    assert recognise(columns) == {
        Target.EMAIL: "E-Mail Address",
        Target.PHONE: "Mobile Phone",
        Target.NAME: "Full_Name",
        Target.POSTCODE: "ZIP",
        Target.REGION: "State",
        Target.TIME_ZONE: "timezone",
    }
    assert recognise(["a", "b"]) == {}
