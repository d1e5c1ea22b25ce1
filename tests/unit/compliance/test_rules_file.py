"""Rule rows: every mistake is named by file and line, and a set that cannot be read is no permission."""

import re
from pathlib import Path

import pytest

from comms_pipeline.compliance.checks import CHECKS
from comms_pipeline.compliance.rules_file import InvalidRule, load_rules
from comms_pipeline.compliance.windows import OpeningHours
from comms_pipeline.domain.message import Channel, MessageClass

ROW = """\
- id: {id}
  version: 1
  jurisdiction: any
  channels: [email]
  classes: [marketing]
  check: has_address
  source: 15 USC 7704
  verified_on: 2026-11-22
"""


# Law and platforms that hold wherever the message is of that kind; nothing may quietly drop out of them.
FORBIDDING = ["address-present", "not-suppressed", "unique-address"]


def test_what_forbids_a_message_covers_every_channel_class_and_place():
    rules = {rule.id: rule for rule in load_rules()}

    for name in FORBIDDING:
        assert rules[name].channels == set(Channel)
        assert rules[name].classes == set(MessageClass)
        assert rules[name].jurisdictions == {"any"}


def cells(name: str, columns: int) -> list[list[str]]:
    """The first columns of the table of the compliance page whose first heading is `name`."""
    page = (Path(__file__).parents[3] / "docs/compliance.md").read_text(encoding="utf-8")
    table = page.split(f"| {name} |", 1)[1].split("\n\n", 1)[0]
    rows = [line.split("|")[1:] for line in table.splitlines()[2:]]
    return [[cell.strip("` ") for cell in row[:columns]] for row in rows]


def listed(chosen: frozenset[str], known: type[Channel] | type[MessageClass]) -> str:
    return "all" if chosen == set(known) else ", ".join(each for each in known if each in chosen)


def test_the_compliance_page_lists_every_rule_as_it_is():
    assert cells("rule", 4) == [
        [
            rule.id,
            ", ".join(sorted(rule.jurisdictions)),
            listed(rule.channels, Channel),
            listed(rule.classes, MessageClass),
        ]
        for rule in load_rules()
    ]


def test_the_compliance_page_lists_every_check_with_its_parameters():
    described = {name: set(re.findall(r"\w+", parameters)) for name, parameters in cells("check", 2)}

    assert described == {name: set(check.model_fields) for name, check in CHECKS.items()}


def test_only_what_forbids_a_message_and_opting_in_to_whatsapp_covers_emergencies():
    covering = [rule.id for rule in load_rules() if MessageClass.EMERGENCY in rule.classes]

    assert covering == sorted([*FORBIDDING, "whatsapp-opt-in"])


def test_every_check_is_used_by_a_rule_we_ship():
    assert {type(rule.check) for rule in load_rules()} == set(CHECKS.values())


def test_a_rule_without_topics_concerns_all_of_them():
    (rule,) = [rule for rule in load_rules() if rule.id == "consent-recorded"]

    assert rule.topics is None
    assert rule.concerns(Channel.EMAIL, MessageClass.MARKETING, "anything")
    assert not rule.concerns(Channel.EMAIL, MessageClass.TRANSACTIONAL, "anything")


def test_a_rule_may_name_places_topics_and_what_its_check_needs(tmp_path):
    text = ROW.format(id="lunch").replace("jurisdiction: any", "jurisdiction: [US-TX, CA, unknown]")
    text = text.replace("has_address", 'opening_hours\n  with: {open: "11:00-13:00"}\n  topics: [lunch]')
    (tmp_path / "us.yaml").write_text(text)

    (rule,) = load_rules(tmp_path)

    assert rule.jurisdictions == {"US-TX", "CA", "unknown"}
    assert rule.topics == {"lunch"}
    assert rule.check == OpeningHours(open="11:00-13:00")


def test_rules_of_all_files_come_by_id(tmp_path):
    (tmp_path / "b.yaml").write_text(ROW.format(id="b") + ROW.format(id="c"))
    (tmp_path / "a.yaml").write_text(ROW.format(id="d") + ROW.format(id="a"))

    assert [rule.id for rule in load_rules(tmp_path)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("has_address", "has_adress", "us.yaml:14: unknown check 'has_adress'. Did you mean 'has_address'?"),
        ("  source: 15 USC 7704\n", "", "us.yaml:9: 'source' is missing. Add 'source:'"),
        ("  source: 15 USC 7704\n", "  source: ''\n", "us.yaml:15: 'source' string should have at least 1"),
        ("  source:", "  sauce:", "us.yaml:15: unknown key 'sauce'. Did you mean 'source'?"),
        ("[email]", "[fax]", "us.yaml:12: 'fax' is not a value of 'channels'. Use one of: email, sms"),
        ("[email]", "[]", "us.yaml:12: 'channels' frozenset should have at least 1 item"),
        ("[marketing]", "[]", "us.yaml:13: 'classes' frozenset should have at least 1 item"),
        ("version: 1", "version: 0", "us.yaml:10: 'version' should be greater than or equal to 1"),
        ("2026-11-22", "lately", "us.yaml:16: 'verified_on' should be a valid date"),
        ("id: second", "id: Second", "us.yaml:9: 'id' string should match pattern"),
        ("id: second", "id: first", "us.yaml:9: the id 'first' is used twice. Give each rule its own id"),
        ("any", "texas", "us.yaml:11: 'jurisdiction' string should match pattern"),
        ("any", "[]", "us.yaml:11: 'jurisdiction' value should have at least 1 item"),
        ("[marketing]", "[marketing]\n  topics: []", "us.yaml:14: 'topics' frozenset should have at least 1"),
        ("check:", "check", "us.yaml:15: not valid YAML"),
        ("  check:", "  id: second\n  check:", "us.yaml:14: duplicate key 'id'"),
    ],
)
def test_a_mistake_is_named_by_file_and_line_and_says_what_to_do(tmp_path, old, new, message):
    text = ROW.format(id="second")
    assert old in text
    (tmp_path / "us.yaml").write_text(ROW.format(id="first") + text.replace(old, new))

    with pytest.raises(InvalidRule) as caught:
        load_rules(tmp_path)

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("check", "parameters", "message"),
    [
        ("opening_hours", "{}", "us.yaml:7: 'open' is missing. Add 'open:'"),
        ("opening_hours", '{open: "21:00-08:00"}', "us.yaml:7: '21:00-08:00' are not hours of a day. Write"),
        ("opening_hours", '{open: "08:00-25:00"}', "us.yaml:7: '08:00-25:00' are not hours of a day. Write"),
        (
            "opening_hours",
            '\n    open: "08:00-21:00"\n    closed: [sonday]',
            "us.yaml:9: 'sonday' is not a value of 'closed'. Did you mean 'sunday'?",
        ),
        (
            "opening_hours",
            '\n    open: "08:00-21:00"\n    days:\n      sunday: "12:00-12:00"',
            "us.yaml:10: '12:00-12:00' are not hours of a day",
        ),
        (
            "opening_hours",
            '{open: "08:00-21:00", days: {sunday: "12:00-21:00"}, closed: [sunday]}',
            "us.yaml:7: sunday has hours and is closed. Keep one of the two",
        ),
        (
            "opening_hours",
            '{open: "08:00-21:00", closed: [monday, tuesday, wednesday, thursday, friday, saturday, sunday]}',
            "us.yaml:7: every day of the week is closed. Leave a day out of 'closed:'",
        ),
        (
            "opening_hours",
            '{open: "08:00-21:00", zone: America/New_Yorck}',
            "us.yaml:7: unknown key 'zone'. Use one of: closed, days, open",
        ),
        ("has_address", "{open: now}", "us.yaml:7: unknown key 'open'."),
        ("has_address", "[open]", "us.yaml:7: 'with' must hold keys and values"),
        ("consent_of_kind", "{kinds: []}", "us.yaml:7: 'kinds' frozenset should have at least 1 item"),
        ("consent_of_kind", "{kinds: [writen]}", "us.yaml:7: 'writen' is not a value of 'kinds'. Did you"),
        ("consent_not_expired", "{months: {implied: 0}}", "us.yaml:7: 'implied' should be greater than"),
        ("at_most", "{messages: 3}", "us.yaml:7: 'hours' is missing. Add 'hours:'"),
        ("old_enough", "{under: 0}", "us.yaml:7: 'under' should be greater than or equal to 1"),
    ],
)
def test_what_a_check_cannot_use_is_named_by_file_and_line(tmp_path, check, parameters, message):
    text = ROW.format(id="only").replace("has_address", f"{check}\n  with: {parameters}")
    (tmp_path / "us.yaml").write_text(text)

    with pytest.raises(InvalidRule) as caught:
        load_rules(tmp_path)

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_id_used_in_two_files_is_a_mistake_of_the_second(tmp_path):
    (tmp_path / "ca.yaml").write_text(ROW.format(id="same"))
    (tmp_path / "us.yaml").write_text(ROW.format(id="other") + ROW.format(id="same"))

    with pytest.raises(InvalidRule, match=r"us\.yaml:9: the id 'same' is used twice"):
        load_rules(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "first: {}", "- just a word"])
def test_a_file_without_rules_is_a_mistake(tmp_path, text):
    (tmp_path / "us.yaml").write_text(text)

    with pytest.raises(InvalidRule):
        load_rules(tmp_path)


def test_no_file_at_all_is_no_permission(tmp_path):
    with pytest.raises(InvalidRule, match="it holds no rule"):
        load_rules(tmp_path)
