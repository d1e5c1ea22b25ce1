"""What the commands do when all is well: on a home of their own, with a real Postgres and a real lake."""

import json
import socket
from pathlib import Path

import pytest
from command_line import EXAMPLES, CommandLine, Printed

from comms_pipeline.ledger import launcher, sends

pytestmark = pytest.mark.xdist_group("command_line")

WEDDING = EXAMPLES / "wedding"


def test_init_again_keeps_the_keys(comms: CommandLine) -> None:
    kept = (comms.home / "settings.env").read_text(encoding="utf-8")
    assert f"Ready in {comms.home}" in comms.ok("init")
    assert (comms.home / "settings.env").read_text(encoding="utf-8") == kept
    assert "COMMS_SECRET_KEY=" in kept


def test_home_is_for_its_owner_alone(comms: CommandLine) -> None:
    secrets = ("settings.env", "sandbox_webhook_key.pem", "dagster/dagster.yaml")
    assert [oct((comms.home / name).stat().st_mode & 0o777) for name in secrets] == ["0o600"] * 3
    assert oct(comms.home.stat().st_mode & 0o777) == "0o700"


def test_import_again_changes_nothing_and_lists_the_rejects(comms: CommandLine) -> None:
    printed = comms.ok(
        "import", "contacts", str(WEDDING / "guests.csv"), "--map", str(WEDDING / "guests.map.yaml")
    )
    assert "322 rows: 0 contacts new or changed, 319 unchanged, 3 rows rejected" in printed
    assert "Rejects (raw.contact_rejects)" in printed
    assert "not a valid phone number" in printed


def test_apply_tells_what_changed_and_when_it_is_due(comms: CommandLine) -> None:
    before = comms.state()
    printed = comms.ok("campaigns", "apply", str(WEDDING))
    rows = [line.split("│")[1:-1] for line in printed.splitlines() if "wedding-" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["wedding-invitation", "1", "unchanged", "by hand"],
        ["wedding-rsvp-reminder", "1", "unchanged", "by hand"],
        ["wedding-week-of-details", "1", "unchanged", "2027-06-14 09:00 -04:00"],
    ]
    assert comms.state() == before


def test_list_shows_the_latest_versions(comms: CommandLine) -> None:
    printed = comms.ok("campaigns", "list")
    assert "wedding-invitation" in printed
    assert "lakeside-weddings" in printed
    assert "email, sms" in printed


@pytest.mark.parametrize(
    "arguments", [["campaigns", "plan", "wedding-invitation"], ["send", "wedding-invitation", "--dry-run"]]
)
def test_dry_run_counts_and_writes_nothing(comms: CommandLine, arguments: list[str]) -> None:
    before = comms.state()
    printed = comms.ok(*arguments)
    assert "wedding-invitation: 319 contacts in the audience" in printed
    assert "message by email" in printed
    assert "SMS segments:" in printed
    assert comms.state() == before


def test_send_at_a_later_time_can_be_moved_until_it_has_begun(comms: CommandLine) -> None:
    def at(time: str) -> Printed:
        return comms("send", "wedding-invitation", "--at", time, "--occurrence", "later")

    assert "wedding-invitation--later is due 2030-06-01 13:00 UTC" in at("2030-06-01T09:00-04:00").out
    assert "wedding-invitation--later is due 2031-01-01 09:00 UTC" in at("2031-01-01T09:00Z").out
    with comms.stores.ledger() as ledger:
        send = sends.get_send(ledger, "wedding-invitation--later")
        assert (send.status, send.requested_run_at) == ("scheduled", None)
        assert sends.start_send(ledger, send.send_id)
    late = at("2032-01-01T09:00Z")
    assert late.code == 1
    assert "send wedding-invitation--later: it exists already and is due 2031-01-01 09:00 UTC" in late.err


def test_query_prints_a_table(comms: CommandLine) -> None:
    printed = comms.ok("query", "select 1234567 as n, ':x: [red]' as word, null as nothing, true as flag")
    assert [line.split("│")[1:-1] for line in printed.splitlines() if "│" in line] == [
        [" 1,234,567 ", " :x: [red] ", "         ", " yes  "]
    ]


def test_query_prints_whatever_type_as_csv_and_json(comms: CommandLine) -> None:
    sql = "select 1.50::decimal(4, 2) as d, interval 1 day as i, {'a': [1]} as s, 'a,\"b' as t, null as n"
    assert comms.ok("query", sql, "--format", "csv") == 'd,i,s,t,n\n1.50,1 day,{\'a\': [1]},"a,""b",\n'
    assert json.loads(comms.ok("query", sql, "--format", "json")) == {
        "d": 1.5,
        "i": "1 day",
        "s": {"a": [1]},
        "t": 'a,"b',
        "n": None,
    }


def test_query_prints_all_rows_to_files_and_some_to_people(comms: CommandLine) -> None:
    csv = comms.ok("query", "select range as n from range(25_000) order by n", "--format", "csv").splitlines()
    assert (len(csv), csv[0], csv[1], csv[-1]) == (25_001, "n", "0", "24999")
    table = comms("query", "select range as n from range(25_000) order by n")
    assert table.code == 0
    assert "│ 199 │" in table.out
    assert "│ 200 │" not in table.out
    assert table.err == "The first 200 rows; --format csv prints all.\n"


def test_shell_answers_line_by_line_and_survives_mistakes(comms: CommandLine) -> None:
    good = "select count(*) as guests\nfrom core.contacts;\n"
    bad = "selec 1;\ndelete from core.contacts;\n"
    printed = comms("shell", stdin=f"{good}{bad}select 7 as n;\n.quit\n")
    assert printed.code == 0
    assert "│    319 │" in printed.out
    assert "│ 7 │" in printed.out
    errors = printed.err.splitlines()
    assert len(errors) == 2
    assert "syntax error" in errors[0]
    assert "read-only" in errors[1]


def test_doctor_tells_what_is_wrong_by_its_exit_code(comms: CommandLine) -> None:
    well = comms("doctor", COMMS_WEB_PORT="1", COMMS_PUBLIC_URL="http://127.0.0.1:1")
    assert well.code == 0
    assert "ok    ledger" in well.out
    assert "off   web app" in well.out
    real = {
        "COMMS_SANDBOX": "false",
        "COMMS_SENDGRID_API_KEY": "SG.real",
        "COMMS_TWILIO_FROM": "+12025550100",
    }
    ill = comms("doctor", **real, COMMS_TWILIO_AUTH_TOKEN="")
    assert ill.code == 1
    wrong = [line for line in ill.out.splitlines() if line.startswith("wrong")]
    assert len(wrong) == 1
    assert "lane sms:twilio" in wrong[0]
    assert "COMMS_TWILIO_AUTH_TOKEN: it is not set" in wrong[0]


def test_status_shows_sends_and_an_empty_queue(comms: CommandLine) -> None:
    printed = comms.ok("status")
    assert "wedding-week-of-details" in printed
    assert "The queue is empty." in printed
    assert "Waiting to be loaded: 0 webhooks, 0 outcomes" in printed


def test_embedded_postgres_starts_stops_and_goes(tmp_path: Path) -> None:
    comms = CommandLine(home=tmp_path / "a hömé", variables={"COMMS_WEB_PORT": str(free_port())})
    try:
        assert "Postgres runs at 127.0.0.1:" in comms.ok("db", "start")
        server = launcher.running(comms.home)
        assert server is not None
        assert server.address in comms.ok("db", "start")
        assert "Postgres is stopped" in comms.ok("db", "stop")
        assert launcher.running(comms.home) is None
        assert "Postgres is stopped" in comms.ok("down")
        stopped = comms("serve", "web")
        assert stopped.code == 1
        assert stopped.err.startswith("error: embedded Postgres: it is not running. Start it with")
        assert f"{comms.home} is gone" in comms.ok("clean", "--yes")
        assert not comms.home.exists()
        assert "nothing to delete" in comms.ok("clean", "--yes")
    finally:
        launcher.remove(comms.home)


def test_clean_asks_first(comms: CommandLine) -> None:
    answered = comms("clean", stdin="n\n")
    assert answered.code == 1
    assert "with everything in it? [y/N]" in answered.out
    assert comms.home.exists()


@pytest.mark.parametrize(
    "command",
    [[], *([name] for name in ("import", "campaigns", "db", "serve", "init", "send", "query", "up", "demo"))],
)
def test_every_command_explains_itself(comms: CommandLine, command: list[str]) -> None:
    printed = comms(*command, "--help")
    assert printed.code == 0
    assert "Usage:" in printed.out


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
