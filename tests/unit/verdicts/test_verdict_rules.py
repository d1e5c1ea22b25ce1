"""The rules as they are written: what ships is sound, and what is wrong is said with its line."""

from pathlib import Path

import polars as pl
import pytest

from comms_pipeline.domain.event import EventKind
from comms_pipeline.verdicts.agents import crawler_patterns, matching
from comms_pipeline.verdicts.rules_file import (
    InvalidVerdictRule,
    Verdict,
    VerdictRule,
    load_verdict_rules,
)

VALID = """\
version: 3
thresholds: {unknown_from: 0.4, machine_from: 0.7}
rules:
  - id: head
    kinds: [clicked]
    check: flag
    with: {column: is_head}
    weight: 0.5
    speaks_for: machine
    source: RFC 9110
    verified_on: 2026-11-23
"""
PEOPLE = """\
Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36 Edg/142.0
Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15
Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Instagram 350.0
Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) [FBAN/FBIOS]
Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.1.0
Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Microsoft Outlook 16.0.17328; ms-office; MSOffice 16)
Mozilla/5.0 (Linux; Android 14; SM-S918B; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/130 GSA/15
Outlook-iOS/709.2226530.prod.iphone (3.24.1)""".splitlines()


def written(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in VALID
    path = folder / "rules.yaml"
    path.write_text(VALID.replace(old, new) if old else VALID, encoding="utf-8")
    return path


def test_the_rules_that_ship_are_read_in_their_order():
    shipped = load_verdict_rules()
    assert [rule.id for rule in shipped.rules][:3] == ["told-machine", "head-request", "prefetch"]
    assert {rule.speaks_for for rule in shipped.rules} == {Verdict.MACHINE, Verdict.PROXY, Verdict.HUMAN}
    assert all(rule.source for rule in shipped.rules)
    assert (shipped.crowd_seconds, shipped.crowd_recipients) == (61, 10)


def test_a_rule_says_what_it_asks_and_how_much_it_weighs(tmp_path):
    rules = load_verdict_rules(written(tmp_path))
    assert (rules.version, rules.unknown_from, rules.machine_from) == (3, 0.4, 0.7)
    [rule] = rules.rules
    assert isinstance(rule, VerdictRule)
    assert (rule.id, rule.kinds, rule.weight) == ("head", {EventKind.CLICKED}, 0.5)
    assert rule.check.model_dump() == {"column": "is_head"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("check: flag", "check: flagg", "rules.yaml:6: unknown check 'flagg'. Did you mean 'flag'?"),
        (
            "is_head}",
            "is_tail}",
            "rules.yaml:7: 'is_tail' is not a value of 'column'. Use one of: is_head, is_prefetch, is_told_machine",
        ),
        ("column: is_head", "colum: is_head", "rules.yaml:7: unknown key 'colum'. Did you mean 'column'?"),
        ("weight: 0.5", "weight: 1.5", "rules.yaml:8: 'weight' should be less than or equal to 1."),
        ("weight: 0.5", "weight: 0", "rules.yaml:8: 'weight' should be greater than 0."),
        ("machine\n", "unknown\n", "rules.yaml:9: 'unknown' is not a value of 'speaks_for'."),
        ("[clicked]", "[bounced]", "rules.yaml:5: 'bounced' is not a value of 'kinds'."),
        ("[clicked]", "[]", "rules.yaml:5: 'kinds'"),
        ("    source: RFC 9110\n", "", "rules.yaml:4: 'source' is missing. Add 'source:'"),
        ("unknown_from: 0.4", "unknown_from: 0.8", "rules.yaml:2: 'unknown_from' is above 'machine_from'."),
        ("version: 3\n", "", "rules.yaml:1: 'version' is missing."),
        ("rules:\n", "rules:\n  - id: [\n", "rules.yaml:5: not valid YAML"),
        (
            "check: flag\n    with: {column: is_head}",
            "check: agent\n    with: {patterns: ['(']}",
            "rules.yaml:7: '(' is no regular expression.",
        ),
        (
            "check: flag\n    with: {column: is_head}",
            "check: agent\n    with: {patterns: ['(?=a)']}",
            "rules.yaml:7: '(?=a)' is no regular expression.",
        ),
        (
            "check: flag\n    with: {column: is_head}",
            "check: agent\n    with: {}",
            "rules.yaml:7: it names no agent. Add 'patterns:' or 'crawlers: true'",
        ),
        (
            "[clicked]\n    check: flag\n    with: {column: is_head}",
            "[opened]\n    check: no_open\n    with: {}",
            "rules.yaml:7: only clicks can lack an open. Write 'kinds: [clicked]'",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_a_fix(tmp_path, old, new, problem):
    with pytest.raises(InvalidVerdictRule) as raised:
        load_verdict_rules(written(tmp_path, old, new))
    assert str(raised.value).startswith(problem)


def test_an_id_is_used_once(tmp_path):
    path = written(tmp_path)
    path.write_text(VALID + VALID[VALID.index("  - id") :], encoding="utf-8")
    with pytest.raises(InvalidVerdictRule, match=r"rules\.yaml:12: the id 'head' is used twice"):
        load_verdict_rules(path)


def test_the_list_of_crawlers_knows_crawlers_and_no_people():
    patterns = crawler_patterns()
    assert len(patterns) > 1400
    machines = [
        "Googlebot/2.1",
        "python-requests/2.32",
        "Go-http-client/1.1",
        "Slackbot-LinkExpanding 1.0",
        "curl/8",
    ]
    assert matching(pl.Series(machines), patterns).to_list() == [True] * 5
    assert matching(pl.Series(PEOPLE), patterns).to_list() == [False] * 8
    assert matching(pl.Series([None, ""], dtype=pl.String), patterns).to_list() == [False, False]
