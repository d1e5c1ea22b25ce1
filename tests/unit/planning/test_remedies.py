"""Every rule says what would change it."""

from comms_pipeline.compliance.checks import CHECKS
from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.planning.remedies import CAPS, remedy


def test_every_rule_has_a_remedy() -> None:
    assert {rule.id: remedy(rule) for rule in load_rules() if not remedy(rule)} == {}


def test_every_check_has_a_remedy() -> None:
    rule = load_rules()[0]
    kinds = {
        name: type(rule)(**(vars(rule) | {"check": kind.model_construct()})) for name, kind in CHECKS.items()
    }
    assert {name for name, each in kinds.items() if not remedy(each)} == set()
    assert set(CHECKS.values()) >= CAPS


def test_a_rule_that_is_gone_asks_for_a_new_plan() -> None:
    assert remedy(None) == "Plan the send again: today's rules lack this one"
