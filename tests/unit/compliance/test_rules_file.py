"""Rule rows: every mistake is named by file and line, and a set that cannot be read is no permission."""

import pytest

from comms_pipeline.compliance.checks import CHECKS
from comms_pipeline.compliance.rules_file import InvalidRule, load_rules
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


def test_the_rules_we_ship_cover_every_channel_and_class():
    rules = load_rules()

    assert [rule.id for rule in rules] == [
        "address-present",
        "consent-recorded",
        "holdout",
        "not-suppressed",
        "unique-address",
        "whatsapp-no-us-marketing",
        "whatsapp-opt-in",
    ]
    for rule in rules[:5]:
        assert rule.channels == set(Channel)
        is_of_marketing = rule.id in {"consent-recorded", "holdout"}
        assert rule.classes == ({MessageClass.MARKETING} if is_of_marketing else set(MessageClass))
    for rule in rules[5:]:
        assert rule.channels == {Channel.WHATSAPP}
    assert {rule.check for rule in rules} == set(CHECKS)


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
