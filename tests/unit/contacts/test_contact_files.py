"""Contact files that cannot be used: one line that names culprit and fix, and nothing imported."""

import os
from pathlib import Path

import polars as pl
import pytest

from comms_pipeline.contacts.importer import read_contacts
from comms_pipeline.contacts.mapping import Columns, Consent, ContactMapping, load_mapping
from comms_pipeline.domain.errors import InvalidContactFile

MAPPING = ContactMapping(organisation="acme", consent=Consent(source="web form"))


def refused(path: Path, mapping: ContactMapping = MAPPING) -> str:
    """The error of importing a file."""
    with pytest.raises(InvalidContactFile) as caught:
        next(read_contacts(path, mapping, secret=b"secret"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "it is empty"),
        ("blank.csv", b"\n \n\n", "it is empty"),
        ("header.csv", b"email,name\n", "it has no rows"),
        ("data.csv", b"ada@example.com,Ada\n", ":1: the first line holds data, not column names"),
        (
            "latin.csv",
            "email,name\na@b.example,Ada\nc@d.example,Zo\xeb\n".encode("latin-1"),
            ":3: not UTF-8 text",
        ),
        ("cut.csv", "email\nzo\xeb@b.example".encode()[:9], ":2: not UTF-8 text"),
        ("odd.csv", b"\xff\xfee\x00m\x00a", ":1: not valid UTF-16 text. Save it as UTF-8"),
        ("binary.csv", b"email\n\x00\x01\x02\n", "it is not a text file"),
        ("book.csv", b"PK\x03\x04rest", "it is a spreadsheet or an archive. Save it as CSV"),
        ("people.csv", b"\x1f\x8b\x08rest", "it is compressed. Unpack it first"),
        ("people.xls", b"email\na@b.example\n", "its name does not tell what kind of file it is"),
        ("twice.csv", b"email,Email\na@b.example,c@d.example\n", "two columns are called 'Email'"),
        (
            "quote.csv",
            b'email,"name\na@b.example,Ada\n',
            ":1: the line of column names has an unclosed quote",
        ),
        ("other.csv", b"address,name\na@b.example,Ada\n", "no column for 'email' or 'phone' is found"),
        ("people.parquet", b"email\na@b.example\n", "it is not a Parquet file, or a damaged one"),
        ("people.json", b'[{"email": "a@b.example"}', "it is not valid JSON"),
        ("people.ndjson", b"1\n2\n", "it holds no JSON objects with fields"),
        ("nameless.ndjson", b'{"email": "a@b.example", "": 1}\n', "column 2 has no name. Name it"),
        ("twice.ndjson", b'{"email": "a@b.example", "EMAIL": 1}\n', "two columns are called 'EMAIL'"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    assert message in refused(path)
    assert name == "other.csv" or refused(path).startswith(str(path))


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.csv") == f"{tmp_path}/none.csv: there is no such file. Check the path"
    assert refused(tmp_path) == f"{tmp_path}: it is a folder. Name one file in it"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("email\n")
    path.chmod(0)

    assert "it cannot be read (permission denied). Check its permissions" in refused(path)


def test_a_wrong_delimiter_is_named_with_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("email;name\na@b.example;Ada\n")
    mapping = MAPPING.model_copy(update={"delimiter": ","})

    assert refused(path, mapping).endswith(
        'only one column is found when the delimiter is ",". Put \'delimiter: ";"\' (semicolon) into the mapping'
    )


@pytest.mark.parametrize(
    ("columns", "line", "message"),
    [
        ("email: e_mail", 5, "the file has no column 'e_mail'. Did you mean 'mail'?"),
        ("name: nme", 5, "the file has no column 'nme'. Did you mean 'name'?"),
        ("email: (select mail)", 5, "not one plain expression"),
        ("email: lower(mail, 3)", 5, "No function matches"),
        ("email: mail\n  external_id: name::integer", 6, "the expression fails for some row. Use try_cast"),
    ],
)
def test_mapping_errors_name_the_line_and_hold_no_values(
    tmp_path: Path, columns: str, line: int, message: str
) -> None:
    path, map_path = tmp_path / "people.csv", tmp_path / "map.yaml"
    path.write_text("mail,name\nada@b.example,Lovelace\n")
    map_path.write_text(f"organisation: acme\nconsent:\n  source: web\ncolumns:\n  {columns}\n")

    error = refused(path, load_mapping(map_path))

    assert error.startswith(f"{map_path}:{line}: {message}")
    assert "Lovelace" not in error


def test_failing_attributes_are_found_before_anything_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("email,age\n" + "".join(f"a{n}@b.example,{n}\n" for n in range(50)) + "z@b.example,old\n")
    mapping = MAPPING.model_copy(
        update={
            "columns": Columns(email="email"),
            "attributes": {"x": "upper(email)", "y": "(age::int)::text || ''"},
        }
    )

    assert refused(path, mapping).startswith("mapping attributes.y: the expression fails for some row")


def test_a_name_with_wildcards_means_that_file_only(tmp_path: Path) -> None:
    pl.DataFrame({"email": ["right@b.example"]}).write_parquet(tmp_path / "a*.parquet")
    pl.DataFrame({"email": ["wrong@b.example"]}).write_parquet(tmp_path / "ab.parquet")

    (batch,) = read_contacts(tmp_path / "a*.parquet", MAPPING, secret=b"secret")

    assert batch.contacts["email"].to_list() == ["right@b.example"]


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    path = tmp_path / "people.csv"
    path.write_text("email\na@b.example\nc@d.example\n")

    batches = read_contacts(path, MAPPING, secret=b"secret", batch_rows=1)
    next(batches)
    assert len(list(scratch.iterdir())) == 1
    batches.close()
    refused(tmp_path / "none.csv")

    assert list(scratch.iterdir()) == []
