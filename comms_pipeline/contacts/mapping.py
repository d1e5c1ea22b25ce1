"""What a contact file's columns mean: the mapping people write, and the names recognised without one.

Reads the mapping file, never the contact file. SQL is only carried here; `expressions` fences it.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError

from comms_pipeline.domain.consent import ConsentKind
from comms_pipeline.domain.errors import InvalidContactFile
from comms_pipeline.domain.fields import SingleLine, Slug
from comms_pipeline.domain.validation import Fault, Strict, fault, faults, keys_of
from comms_pipeline.domain.yaml_marks import MarkedYaml, YamlSyntaxError, parse_yaml


class Target(StrEnum):
    """The columns of a contact that a file can fill."""

    EXTERNAL_ID = "external_id"
    EMAIL = "email"
    PHONE = "phone"
    NAME = "name"
    LANGUAGE = "language"
    TIME_ZONE = "time_zone"
    COUNTRY = "country"
    REGION = "region"
    POSTCODE = "postcode"


def _region(value: str) -> str:
    from phonenumbers import SUPPORTED_REGIONS

    if value.upper() not in SUPPORTED_REGIONS:
        raise fault(f"'{value[:80]}' is not a country", "Use two letters such as US or GB")
    return value.upper()


def _delimiter(value: str) -> str:
    if len(value) != 1 or value in '"\r\n\0':
        raise fault("the delimiter is not one character", r"Write e.g. ';' or '|', or \"\\t\" for a tab")
    return value


def _with_offset(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise fault("the time has no offset", "Add the offset from UTC, e.g. -05:00 or Z")
    return value


def _all_or_each(value: object) -> object:
    if value == "all":
        return None
    if value is not None and not isinstance(value, Mapping):
        raise fault("'attributes' is neither 'all' nor a list of names", "Write 'name: SQL expression' lines")
    return value


Expression = Annotated[str, Field(min_length=1, max_length=10_000)]


def _hyphenated(value: object) -> object:
    return value.replace("_", "-") if isinstance(value, str) else value


class Consent(Strict):
    """Where the permission to write to these people comes from. `at` is when it was given, if known."""

    source: SingleLine
    at: Annotated[datetime, AfterValidator(_with_offset)] | None = None
    kind: Annotated[ConsentKind, BeforeValidator(_hyphenated)] = ConsentKind.UNSTATED


class Columns(Strict):
    """One SQL expression over the file's columns (and `row_number`, from 1) for each target wanted."""

    external_id: Expression | None = None
    email: Expression | None = None
    phone: Expression | None = None
    name: Expression | None = None
    language: Expression | None = None
    time_zone: Expression | None = None
    country: Expression | None = None
    region: Expression | None = None
    postcode: Expression | None = None

    def given(self) -> dict[Target, str]:
        """The expressions written down."""
        return {target: sql for target in Target if (sql := getattr(self, target)) is not None}


class ContactMapping(Strict):
    """How a contact file becomes contacts.

    Without `columns`, columns are recognised by name. `attributes` None ("all" in files) means every column
    that `columns` does not use; `default_region` is where telephone numbers without "+" are dialled from.
    """

    organisation: Slug
    consent: Consent
    default_region: Annotated[str, AfterValidator(_region)] = "US"
    delimiter: Annotated[str, AfterValidator(_delimiter)] | None = None
    columns: Columns = Columns()
    attributes: Annotated[dict[str, Expression] | None, BeforeValidator(_all_or_each)] = None

    _file: str = PrivateAttr(default="mapping")
    _marks: MarkedYaml | None = PrivateAttr(default=None)

    def place(self, *path: str) -> str:
        """Where a part is written, for errors: `file:line`, or its path when no file was read."""
        if self._marks is None:
            return f"{self._file} {'.'.join(path)}"
        return f"{self._file}:{self._marks.line(path)}"


_KNOWN_KEYS = {
    "": keys_of(ContactMapping),
    "consent": keys_of(Consent),
    "columns": keys_of(Columns),
}


def load_mapping(path: Path) -> ContactMapping:
    """Read a mapping file (YAML, UTF-8). Raises `InvalidContactFile`, naming the line at fault."""
    try:
        marks = parse_yaml(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        problem = (error.strerror or "it cannot be read").lower()
        raise InvalidContactFile(str(path), problem, "Check the mapping file's path") from None
    except UnicodeDecodeError:
        raise InvalidContactFile(str(path), "it is not UTF-8 text", "Save it as UTF-8") from None
    except YamlSyntaxError as error:
        raise InvalidContactFile(f"{path}:{error.line}", error.problem, error.fix) from None
    return _validated(marks, path)


def _validated(marks: MarkedYaml, path: Path) -> ContactMapping:
    if not isinstance(marks.value, Mapping):
        raise InvalidContactFile(f"{path}:1", "it holds no keys", "Write 'organisation:' and 'consent:'")
    try:
        mapping = ContactMapping.model_validate(marks.value)
    except ValidationError as error:
        first = faults(error, _KNOWN_KEYS)[0]
        raise InvalidContactFile(f"{path}:{marks.line(first.path)}", first.problem, _fix(first)) from None
    mapping._file, mapping._marks = str(path), marks
    return mapping


def _fix(found: Fault) -> str:
    if found.path[:1] == ("columns",) and found.problem.startswith("unknown key"):
        return f"{found.fix} Fields of your own go under 'attributes'"
    return found.fix


# Compared without case, blanks and punctuation. The first name of a row that a file has is taken.
_SYNONYMS: Mapping[Target, tuple[str, ...]] = {
    Target.EXTERNAL_ID: ("externalid", "customerid", "contactid", "crmid", "userid", "memberid"),
    Target.EMAIL: ("email", "emailaddress", "mail", "primaryemail", "emailaddr"),
    Target.PHONE: (
        "phone",
        "mobile",
        "phonenumber",
        "mobilephone",
        "mobilenumber",
        "cell",
        "cellphone",
        "tel",
        "telephone",
        "msisdn",
    ),
    Target.NAME: ("name", "fullname", "displayname", "contactname"),
    Target.LANGUAGE: ("language", "lang", "locale", "preferredlanguage"),
    Target.TIME_ZONE: ("timezone", "tz"),
    Target.COUNTRY: ("country", "countrycode"),
    Target.REGION: ("region", "state", "province"),
    Target.POSTCODE: ("postcode", "postalcode", "zip", "zipcode"),
}


def recognise(columns: list[str]) -> dict[Target, str]:
    """The columns of a file whose meaning their names tell."""
    by_form: dict[str, str] = {}
    for column in columns:
        by_form.setdefault("".join(filter(str.isalnum, column.casefold())), column)
    found: dict[Target, Any] = {
        target: next((by_form[form] for form in forms if form in by_form), None)
        for target, forms in _SYNONYMS.items()
    }
    return {target: column for target, column in found.items() if column is not None}
