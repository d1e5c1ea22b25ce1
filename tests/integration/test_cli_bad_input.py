"""Bad input at the command line: one line that names the culprit and the fix, exit code 1, nothing half-done."""

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from command_line import EXAMPLES, CommandLine

pytestmark = pytest.mark.xdist_group("command_line")

GUESTS = str(EXAMPLES / "wedding/guests.csv")
GUESTS_MAP = str(EXAMPLES / "wedding/guests.map.yaml")
MAPPING = "organisation: lakeside-weddings\nconsent: {source: form}\n"
ORGANISATION = "{id: lakeside-weddings, name: Lakeside, postal_address: 1 Main Street}"
CAMPAIGN = """id: spring
organisation: lakeside-weddings
audience: {everyone: true}
channels: [email]
sender: {from_email: office@lakeside.example, from_name: Lakeside}
templates: {email: {subject: Hello, html: page.html}}
"""
PAGE = "<p>Hello {{ name }}</p>"


def import_of(file: str, mapping: str = GUESTS_MAP) -> list[str]:
    return ["import", "contacts", file, "--map", mapping]


def campaign(**changes: str) -> dict[str, str]:
    """The files of a campaign folder `spring`, some changed."""
    files = {"organisation.yaml": ORGANISATION, "spring.yaml": CAMPAIGN, "page.html": PAGE}
    return {f"spring/{name}": text for name, text in (files | changes).items()}


# name: (files, arguments, what the line begins with after "error: ", what it says). {} is the files' folder.
FILES: Mapping[str, tuple[Mapping[str, str | bytes], list[str], str, list[str]]] = {
    "missing file": ({}, import_of("{}/absent.csv"), "{}/absent.csv: ", ["no such file", "Check the path"]),
    "folder for a file": ({}, import_of("{}"), "{}: ", ["it is a folder", "Name one file in it"]),
    "wrong delimiter": (
        {"semi.csv": "email;name\na@b.example;A\n", "m.yaml": f"{MAPPING}delimiter: '|'\n"},
        import_of("{}/semi.csv", "{}/m.yaml"),
        "{}/semi.csv: ",
        ["only one column is found", "Put 'delimiter: \";\"' (semicolon) into the mapping"],
    ),
    "bad encoding": (
        {"latin.csv": b"email,name\nj\xe9@b.example,A\n"},
        import_of("{}/latin.csv"),
        "{}/latin.csv:2: ",
        ["not UTF-8", "iconv"],
    ),
    "missing column": (
        {"nomail.csv": "name,phone,language\nA,,en\n"},
        import_of("{}/nomail.csv"),
        f"{GUESTS_MAP}:5: ",
        ["no column 'email'", "Use one of: language, name, phone"],
    ),
    "unknown mapping column": (
        {"m.yaml": f"{MAPPING}columns: {{emial: email}}\n"},
        import_of(GUESTS, "{}/m.yaml"),
        "{}/m.yaml:3: ",
        ["unknown key 'emial'", "Did you mean 'email'?"],
    ),
    "mapping is not YAML": (
        {"m.yaml": "organisation: [lakeside\n"},
        import_of(GUESTS, "{}/m.yaml"),
        "{}/m.yaml:",
        ["not valid YAML", "Check indentation and quotes"],
    ),
    "no mapping and no options": ({}, ["import", "contacts", GUESTS], "import: ", ["--organisation"]),
    "unknown organisation": (
        {"m.yaml": "organisation: nobodys\nconsent: {source: form}\n"},
        import_of(GUESTS, "{}/m.yaml"),
        "organisation nobodys: ",
        ["it is not known", "organisation.yaml"],
    ),
    "missing campaign folder": ({}, ["campaigns", "apply", "{}/absent"], "{}/absent: ", ["no such folder"]),
    "campaign is not YAML": (
        campaign(**{"spring.yaml": CAMPAIGN + "schedule: {at: [\n"}),
        ["campaigns", "apply", "{}/spring"],
        "{}/spring/spring.yaml:",
        ["not valid YAML"],
    ),
    "template that is not Jinja": (
        campaign(**{"page.html": "<p>\n{% if name %}"}),
        ["campaigns", "apply", "{}/spring"],
        "{}/spring/page.html:2: ",
        ["Correct the template"],
    ),
    "audience SQL of two statements": (
        campaign(
            **{"spring.yaml": CAMPAIGN.replace("{everyone: true}", "{sql: select 1; drop table contacts}")}
        ),
        ["campaigns", "apply", "{}/spring"],
        "{}/spring/spring.yaml:3: ",
        ["SELECT"],
    ),
}

REAL_KEYS = {
    "COMMS_SANDBOX": "false",
    "COMMS_SENDGRID_API_KEY": "SG.real",
    "COMMS_TWILIO_FROM": "+12025550100",
}
# name: (arguments, variables, what the line begins with after "error: ", what it says)
COMMANDS: Mapping[str, tuple[list[str], Mapping[str, str], str, list[str]]] = {
    "send of an unknown campaign": (
        ["send", "nobodys"],
        {},
        "campaign nobodys: ",
        ["has not been applied", "comms campaigns list"],
    ),
    "plan of an unknown campaign": (["campaigns", "plan", "nobodys"], {}, "campaign nobodys: ", ["applied"]),
    "time in words": (["send", "wedding-invitation", "--at", "tomorrow"], {}, "--at: ", ["'tomorrow'"]),
    "time without offset": (
        ["send", "wedding-invitation", "--at", "2030-01-01T09:00"],
        {},
        "--at: ",
        ["no offset", "Add the offset"],
    ),
    "SendGrid key missing": (
        ["send", "wedding-invitation"],
        {**REAL_KEYS, "COMMS_SENDGRID_API_KEY": ""},
        "COMMS_SENDGRID_API_KEY: ",
        ["it is not set", "COMMS_SANDBOX=true"],
    ),
    "Twilio token missing": (
        ["send", "wedding-invitation"],
        {**REAL_KEYS, "COMMS_TWILIO_AUTH_TOKEN": ""},
        "COMMS_TWILIO_AUTH_TOKEN: ",
        ["it is not set"],
    ),
    "sandbox keys for real providers": (
        ["send", "wedding-invitation"],
        {"COMMS_SANDBOX": "false"},
        "COMMS_SENDGRID_API_KEY: ",
        ["it still holds the sandbox's", "COMMS_SANDBOX=true"],
    ),
    "occurrence that is no id": (
        ["send", "wedding-invitation", "--occurrence", "../../etc"],
        {},
        "--occurrence: ",
        ["'../../etc' is no id"],
    ),
    "query that writes": (["query", "delete from core.contacts"], {}, "query: ", ["read-only"]),
    "query of an unknown table": (["query", "from nobodys"], {}, "query: ", ["nobodys", "show all tables"]),
    "empty query": (["query", ""], {}, "query: ", ["it holds 0 statements", "Write one"]),
    "two queries": (["query", "select 1; select 2"], {}, "query: ", ["it holds 2 statements"]),
    "query that fails late": (
        ["query", "select error('halfway') from core.contacts", "--format", "csv"],
        {},
        "query: ",
        ["halfway"],
    ),
    "no database": (
        ["status"],
        {"COMMS_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/comms"},
        "Postgres at 127.0.0.1:1: ",
        ["nothing listens there", "COMMS_DATABASE_URL"],
    ),
    "address of another kind": (
        ["status"],
        {"COMMS_DATABASE_URL": "mysql://u:p@127.0.0.1/comms"},
        "COMMS_DATABASE_URL: ",
        ["postgresql://user:password@host:5432/comms"],
    ),
    "port that is no number": (["status"], {"COMMS_WEB_PORT": "web"}, "COMMS_WEB_PORT: ", ["integer"]),
    "home nobody initialised": (
        ["status"],
        {"COMMS_HOME": "/nowhere/at/all"},
        "/nowhere/at/all: ",
        ["comms init"],
    ),
    "home that is a file": (["init"], {"COMMS_HOME": GUESTS}, "COMMS_HOME: ", ["cannot be used", "Choose"]),
    "deleting what is no home": (
        ["clean", "--yes"],
        {"COMMS_HOME": str(EXAMPLES)},
        "COMMS_HOME: ",
        ["was not made by `comms init`"],
    ),
}


def assert_one_line(printed: tuple[int, str, str], start: str, parts: list[str]) -> None:
    code, _, err = printed
    assert code == 1
    assert err.startswith(f"error: {start}"), err
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    assert [part for part in parts if part not in err] == []
    assert "Traceback" not in err


@pytest.mark.parametrize("name", FILES)
def test_bad_files_change_nothing(comms: CommandLine, tmp_path: Path, name: str) -> None:
    files, arguments, start, parts = FILES[name]
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = comms.state()
    printed = comms(*(argument.replace("{}", str(tmp_path)) for argument in arguments))
    assert_one_line(printed, start.replace("{}", str(tmp_path)), parts)
    assert comms.state() == before


@pytest.mark.parametrize("name", COMMANDS)
def test_bad_commands_change_nothing(comms: CommandLine, name: str) -> None:
    arguments, variables, start, parts = COMMANDS[name]
    before = comms.state()
    assert_one_line(comms(*arguments, **variables), start, parts)
    assert comms.state() == before


def test_template_with_an_unknown_variable_is_not_sent(comms: CommandLine, tmp_path: Path) -> None:
    for path, content in campaign(**{"page.html": "<p>{{ nmae }}</p>"}).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content)
    comms.ok("campaigns", "apply", str(tmp_path / "spring"))
    before = comms.state()
    expected = ["'nmae'", "Did you mean 'name'?"]
    assert_one_line(comms("campaigns", "plan", "spring"), "campaign spring: ", expected)
    assert comms.state() == before
    assert_one_line(comms("send", "spring"), "job send_campaign: campaign spring: ", expected)
    # The send is there, failed, and the audit trail says so.
    noted = {"send": 0, "lake": 0, "audit": 0}
    assert {**comms.state(), **noted} == {**before, **noted}, "nothing is queued"


@pytest.fixture
def taken_port() -> Iterator[str]:
    """A port somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield str(other.getsockname()[1])


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        (["serve", "web"], "COMMS_WEB_PORT"),
        (["serve", "sandbox"], "COMMS_SANDBOX_PORT"),
        (["sandbox"], "COMMS_SANDBOX_PORT"),
        (["serve", "dagster"], "COMMS_DAGSTER_PORT"),
        (["up"], "COMMS_DAGSTER_PORT"),
    ],
)
def test_port_in_use_names_the_variable(
    comms: CommandLine, taken_port: str, arguments: list[str], variable: str
) -> None:
    others = {
        name: "1"
        for name in ("COMMS_WEB_PORT", "COMMS_SANDBOX_PORT", "COMMS_DAGSTER_PORT")
        if name != variable
    }
    printed = comms(*arguments, **(others | {variable: taken_port}))
    assert_one_line(printed, f"port {taken_port}: ", ["another process is using it", f"set {variable}"])
