"""`comms suppressions`, `consents` and `do-not-call`: lists come in whole or not at all, and no address comes out."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CommandLine

from comms_pipeline.domain.addresses import address_key
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import consents, do_not_call, suppressions

pytestmark = pytest.mark.xdist_group("command_line")

OURS = ("--organisation", "lakeside-weddings")
EMAIL = ("--channel", "email")
_TABLES = ("suppression", "consent", "do_not_call_list", "audit")


@pytest.fixture(autouse=True)
def _empty(comms: CommandLine) -> Iterator[None]:
    yield
    with comms.stores.ledger() as ledger:
        for table in _TABLES:
            ledger.execute(f"delete from {table}".encode())


def written(folder: Path, text: str, name: str = "list.csv") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def key(comms: CommandLine, address: str, channel: Channel = Channel.EMAIL) -> bytes:
    return address_key(address, channel, comms.stores.secret)


def kept(comms: CommandLine, organisation: str = "lakeside-weddings") -> list[tuple[str, str, str, str]]:
    """Channel, key in hex, reason and scope of every suppression."""
    with comms.stores.ledger() as ledger, ledger.transaction():
        return [
            (row.channel, row.address_key.hex(), row.reason, row.scope)
            for row in suppressions.listed(ledger, organisation)
        ]


def audited(comms: CommandLine) -> list[tuple[str, str]]:
    with comms.stores.ledger() as ledger:
        return ledger.execute(
            "select actor, action from audit where action in ('suppress', 'lift') order by audit_id"
        ).fetchall()


def test_an_address_is_suppressed_listed_and_lifted_by_hand(comms: CommandLine) -> None:
    added = ("suppressions", "add", " Ada@Example.com", *OURS, *EMAIL, "--scope", "marketing")
    assert comms.ok(*added) == "It is suppressed from now on\n"
    assert comms.ok(*added) == "It was suppressed already\n"
    hex_key = key(comms, "ada@example.com").hex()
    assert kept(comms) == [("email", hex_key, "manual", "marketing")]
    shown = comms.ok("suppressions", "list", *OURS)
    assert hex_key in shown
    assert "ada" not in shown.lower().replace(hex_key, "")
    lifted = ("suppressions", "lift", "ada@example.com", *OURS, *EMAIL)
    assert comms.ok(*lifted) == "It is lifted\n"
    assert kept(comms) == []
    again = comms(*lifted)
    assert again.code == 1
    assert "suppression 'manual' on email: the address has none of lakeside-weddings" in again.err
    [(first, added_as), (second, lifted_as)] = audited(comms)
    assert (added_as, lifted_as) == ("suppress", "lift")
    assert first == second
    assert re.fullmatch(r"cli(:.+)?", first)


def test_what_people_asked_for_is_lifted_only_by_its_name(comms: CommandLine) -> None:
    comms.ok(
        "suppressions",
        "add",
        "+12025550100",
        "--organisation",
        "*",
        "--channel",
        "sms",
        "--reason",
        "stopped",
    )
    lift = ("suppressions", "lift", "+12025550100", *OURS, "--channel", "sms")
    refused = comms(*lift)
    assert refused.code == 1
    assert "but stopped for *. Name it with --reason and --organisation" in refused.err
    assert comms.ok(*lift[:3], "--organisation", "*", *lift[5:], "--reason", "stopped") == "It is lifted\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "nobody", *OURS, *EMAIL), "address: the address is not valid for the channel."),
        (("add", "2025550100", *OURS, "--channel", "sms"), "numbers need + and country code"),
        (("add", "a@b.example", "--organisation", "nobody", *EMAIL), "organisation"),
        (("list", "--organisation", "nobody"), "organisation"),
        (("import", "missing.csv", *OURS), "missing.csv: No such file"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    comms: CommandLine, arguments: tuple[str, ...], message: str
) -> None:
    printed = comms("suppressions", *arguments)
    assert printed.code == 1
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert (kept(comms), audited(comms)) == ([], [])


def test_a_list_is_imported_once_and_its_export_is_no_news(comms: CommandLine, tmp_path: Path) -> None:
    given = key(comms, "ben@example.com").hex()
    file = written(
        tmp_path,
        "address,address_key,channel,reason,scope\n"
        "ada@example.com,,email,unsubscribed,marketing\n"
        f",{given.upper()},email,complained,\n"
        "\n"
        '"+1 202-555-0100",,sms,stopped,all\n',
    )
    imported = comms.ok("suppressions", "import", file, *OURS)
    assert imported == "3 suppressions: 3 new or changed, 0 there already\n"
    expected = {
        ("email", key(comms, "ada@example.com").hex(), "unsubscribed", "marketing"),
        ("email", given, "complained", "all"),
        ("sms", key(comms, "+12025550100", Channel.SMS).hex(), "stopped", "all"),
    }
    assert set(kept(comms)) == expected
    exported = tmp_path / "export.csv"
    assert "3 suppressions are in" in comms.ok("suppressions", "export", str(exported), *OURS)
    with exported.open(encoding="utf-8", newline="") as opened:
        rows = {
            (row["channel"], row["address_key"], row["reason"], row["scope"])
            for row in csv.DictReader(opened)
        }
    assert rows == expected
    before = audited(comms)
    again = comms.ok("suppressions", "import", str(exported), *OURS)
    assert again == "3 suppressions: 0 new or changed, 3 there already\n"
    assert audited(comms) == before
    # An export never writes over a file.
    assert "File exists" in comms("suppressions", "export", str(exported), *OURS).err


BAD_SUPPRESSIONS = (
    "address,address_key,channel,reason,scope\n"
    "ada@example.com,,email,unsubscribed,all\n"
    "secret-name,,email,unsubscribed,all\n"
    "ada@example.com,,pigeon,unsubscribed,all\n"
    "ada@example.com,,,unsubscribed,all\n"
    "ada@example.com,,email,angry,all\n"
    "ada@example.com,,email,manual,some\n"
    ",,email,manual,all\n"
    ",abc,email,manual,all\n"
    "2025550100,,sms,manual,all\n"
)


def test_one_bad_row_stops_the_whole_import_and_is_named_by_its_line(
    comms: CommandLine, tmp_path: Path
) -> None:
    printed = comms("suppressions", "import", written(tmp_path, BAD_SUPPRESSIONS), *OURS)
    assert printed.code == 1
    assert "list.csv: 8 rows are not valid, nothing was imported" in printed.err
    rows = [
        [cell.strip() for cell in line.split("│")[1:3]] for line in printed.out.splitlines() if "│" in line
    ]
    assert rows == [
        ["3", "the address is not valid for the channel"],
        ["4", "the channel is unknown"],
        ["5", "the channel is unknown"],
        ["6", "the reason is unknown"],
        ["7", "the scope is unknown"],
        ["8", "it needs either address or address_key"],
        ["9", "the address_key is no key"],
        ["10", "the address is not valid for the channel"],
    ]
    assert "secret-name" not in printed.out + printed.err
    assert kept(comms) == []


def test_bad_rows_can_be_skipped_and_are_counted(comms: CommandLine, tmp_path: Path) -> None:
    file = written(tmp_path, BAD_SUPPRESSIONS)
    printed = comms.ok("suppressions", "import", file, *OURS, "--skip-bad")
    assert "1 suppressions: 1 new or changed, 0 there already; 8 rows skipped" in printed
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in printed.splitlines() if "│" in line]
    assert rows[:2] == [["the address is not valid for the channel", "2"], ["the channel is unknown", "2"]]
    assert len(kept(comms)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("address,channel,raeson\n", "unknown column 'raeson'. Did you mean 'reason'?"),
        ("address,channel\n", "it has no column 'reason'. Add it to the first line"),
        ("", "it is no CSV file in UTF-8"),
        ("address,channel,reason\na@b.example,email\x00,manual,x,y\n", "it is no CSV file in UTF-8"),
    ],
)
def test_a_file_of_another_form_is_refused(
    comms: CommandLine, tmp_path: Path, text: str, message: str
) -> None:
    printed = comms("suppressions", "import", written(tmp_path, text), *OURS)
    assert printed.code == 1
    assert message in printed.err


CONSENTS = (
    "address,channel,kind,state,at,text_version,purpose,source,ip\n"
    "ada@example.com,email,double-opt-in,given,2026-05-01T12:00:00Z,2026-1,newsletter,form,2001:db8::0:1\n"
    "+12025550100,sms,written,withdrawn,2026-05-01T08:00:00-04:00,,,import,\n"
)


def test_consents_are_imported_once(comms: CommandLine, tmp_path: Path) -> None:
    file = written(tmp_path, CONSENTS)
    assert comms.ok("consents", "import", file, *OURS) == "2 consents: 2 new or changed, 0 there already\n"
    assert comms.ok("consents", "import", file, *OURS) == "2 consents: 0 new or changed, 2 there already\n"
    with comms.stores.ledger() as ledger:
        subjects = [key(comms, "ada@example.com"), key(comms, "+12025550100", Channel.SMS)]
        found = consents.history(ledger, "lakeside-weddings", subjects)
    assert [
        (each.purpose, each.kind, each.state, each.at.isoformat()[:16], each.text_version, each.ip_address)
        for each in sorted(found, key=lambda each: each.channel)
    ] == [
        ("newsletter", "double-opt-in", "given", "2026-05-01T12:00", "2026-1", "2001:db8::1"),
        ("*", "written", "withdrawn", "2026-05-01T12:00", None, None),
    ]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (",email,express,given,2026-05-01T12:00:00Z,,,form,", "it has no address"),
        ("a@b.example,post,express,given,2026-05-01T12:00:00Z,,,form,", "the channel is unknown"),
        (
            "nobody,email,express,given,2026-05-01T12:00:00Z,,,form,",
            "the address is not valid for the channel",
        ),
        ("a@b.example,email,,given,2026-05-01T12:00:00Z,,,form,", "the kind is no plain word"),
        ("a@b.example,email,express,yes,2026-05-01T12:00:00Z,,,form,", "the state is unknown"),
        ("a@b.example,email,express,given,2026-05-01T12:00:00,,,form,", "'at' is no time with a zone"),
        ("a@b.example,email,express,given,yesterday,,,form,", "'at' is no time with a zone"),
        ("a@b.example,email,express,given,0001-01-01T00:00:00+14:00,,,form,", "'at' is no time with a zone"),
        ("a@b.example,email,express,given,2999-05-01T12:00:00Z,,,form,", "'at' is in the future"),
        ("a@b.example,email,express,given,2026-05-01T12:00:00Z,,All of it,form,", "neither a topic nor *"),
        ("a@b.example,email,express,given,2026-05-01T12:00:00Z,,,,", "it has no source"),
        ("a@b.example,email,express,given,2026-05-01T12:00:00Z,,,form,1.2.3", "the ip is no IP address"),
    ],
)
def test_a_malformed_consent_is_named_with_its_line(
    comms: CommandLine, tmp_path: Path, row: str, problem: str
) -> None:
    printed = comms("consents", "import", written(tmp_path, f"{CONSENTS}{row}\n"), *OURS)
    assert printed.code == 1
    assert "list.csv: 1 rows are not valid, nothing was imported" in printed.err
    [line] = [line for line in printed.out.splitlines() if "│" in line]
    assert line.split("│")[1].strip() == "4"
    assert problem in line
    assert audited(comms) == []


def test_a_registry_is_imported_and_ages(comms: CommandLine, tmp_path: Path) -> None:
    file = written(tmp_path, "phone\n202,5550100\n(202) 555-0101\n+442079460000\n\n12025550100\n")
    command = ("do-not-call", "import", file, "--list", "us-national")
    assert comms.ok(*command) == "us-national holds 3 numbers now\n"
    numbers = ["+12025550100", "+12025550101", "+442079460000", "+12025550102"]
    keys = [key(comms, number, Channel.SMS) for number in numbers]
    with comms.stores.ledger() as ledger:
        assert do_not_call.listed(ledger, keys) == set(keys[:3])
    fresh = comms("do-not-call", "list")
    assert (fresh.code, fresh.err) == (0, "")
    assert "us-national" in fresh.out
    with comms.stores.ledger() as ledger:
        ledger.execute("update do_not_call_list set imported_at = imported_at - interval '32 days'")
    assert "us-national is 32 days old; the law wants 31 at most" in comms("do-not-call", "list").err


def test_a_registry_with_a_bad_line_stays_as_it_was(comms: CommandLine, tmp_path: Path) -> None:
    def load(text: str, *options: str) -> tuple[int, str]:
        printed = comms("do-not-call", "import", written(tmp_path, text), "--list", "us", *options)
        return printed.code, printed.out + printed.err

    assert load("2025550100\n")[0] == 0
    code, said = load("2025550101\nnobody home\n")
    assert code == 1
    assert "1 rows are not valid, nothing was imported" in said
    with comms.stores.ledger() as ledger:
        [found] = do_not_call.lists(ledger)
        assert found.numbers == 1
        assert do_not_call.listed(ledger, [key(comms, "+12025550100", Channel.SMS)])
    assert "it holds no number" in load("phone\n")[1]
    code, said = load("2025550101\nnobody home\n", "--skip-bad")
    assert code == 0
    assert "us holds 1 numbers now; 1 rows skipped" in said
    assert "it is no plain word" in comms("do-not-call", "import", "x", "--list", "US List").err
