"""The rules of alerts: what came with the product, what one's own file changes, what it may not say."""

from pathlib import Path

import pytest

from comms_pipeline.alerting.rules import InvalidAlertRule, Severity, load_rules

OWN_RULE = """
rules:
  - id: sms-bounces
    metric: bounced_share
    above: 0.02
    window_seconds: 3600
    severity: P2
    says: "{value:.1%} of {sample:,} bounced"
    fix: "Look"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "alerts.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_bounds_of_the_register_hold_by_default() -> None:
    bounds = {rule.id: (rule.above, rule.window_seconds) for rule in load_rules()}
    assert bounds["errors"] == (0.05, 300)
    assert bounds["standstill"] == (1000, 60)
    assert bounds["slow-urgent"] == (5000, 300)
    assert bounds["complaints"] == (0.001, 604800)


def test_own_file_changes_switches_off_and_adds(tmp_path: Path) -> None:
    own = "change:\n  errors: {above: 0.2, severity: P0}\n  quota: {enabled: false}\n" + OWN_RULE
    rules = {rule.id: rule for rule in load_rules(written(tmp_path, own))}
    assert (rules["errors"].above, rules["errors"].severity, rules["errors"].window_seconds) == (
        0.2,
        Severity.P0,
        300,
    )
    assert "quota" not in rules
    assert rules["sms-bounces"].least_sample == 1
    assert len(rules) == len(load_rules())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("change:\n  eror: {above: 1}", "alerts.yaml:2: there is no rule 'eror'. Did you mean 'errors'?"),
        (
            "change:\n  errors: {over: 1}",
            "alerts.yaml:2: unknown key 'over'. Did you mean 'above'?",
        ),
        (
            OWN_RULE.replace("bounced_share", "bounce_share"),
            "alerts.yaml:4: unknown metric 'bounce_share'. Did you mean 'bounced_share'?",
        ),
        (
            OWN_RULE.replace("sample:,", "who"),
            "alerts.yaml:8: '{value:.1%} of {who} bounced' cannot be filled in. "
            "Use {value}, {rest} (1 - value) and {sample} only",
        ),
        (
            OWN_RULE.replace("sms-bounces", "bounces"),
            "alerts.yaml:3: the id 'bounces' is used already. "
            "Change that rule under 'change:', or give this one another id",
        ),
        ("change: [", "alerts.yaml:1: "),
    ],
)
def test_faulty_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidAlertRule) as refused:
        load_rules(written(tmp_path, text))
    assert str(refused.value).startswith(message)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidAlertRule, match="it cannot be read"):
        load_rules(tmp_path / "none.yaml")
