"""What a campaign file may say of its test, and what is wrong with what it must not."""

import pytest
from pydantic import ValidationError

from comms_pipeline.domain.campaign import CAMPAIGN_KEYS, CampaignSpec
from comms_pipeline.domain.experiment import Experiment, Metric
from comms_pipeline.domain.validation import faults

TWO = [{"name": "a"}, {"name": "b"}]
ARMS = {"A": "a", "B": "b"}


def campaign(**changes: object) -> dict[str, object]:
    return {
        "id": "news",
        "organisation": "lakeside",
        "audience": {"everyone": True},
        "channels": ["sms"],
        "sender": {"from_email": "hello@lakeside.example", "from_name": "Lakeside"},
        "templates": {"sms": {"text": "news.txt"}},
    } | changes


def problem(**changes: object) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        CampaignSpec.model_validate(campaign(**changes))
    first = faults(caught.value, CAMPAIGN_KEYS)[0]
    return first.problem, first.fix


def test_a_test_needs_no_more_than_variants_or_a_holdout():
    found = CampaignSpec.model_validate(campaign(variants=TWO)).experiment

    assert found == Experiment()
    assert (found.metric, found.window_days, found.minimum_uplift, found.assign_by) == (None, 7, 0.1, None)


def test_an_assignment_names_the_attribute_and_the_arm_of_each_value():
    experiment = {
        "metric": "revenue",
        "window_days": 14,
        "assign_by": "attributes.test.group",
        "arms": {3: "a", "B": "b", True: "holdout"},
    }
    spec = CampaignSpec.model_validate(campaign(variants=TWO, holdout=0.3, experiment=experiment))

    assert spec.experiment.metric is Metric.REVENUE
    assert spec.experiment.assign_by == "test.group"
    assert spec.experiment.arms == {"3": "a", "B": "b", "true": "holdout"}
    assert CampaignSpec.model_validate(spec.as_json()) == spec


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"experiment": {"window_days": 3}},
            ("there is nothing to compare", "Add two 'variants:', or a 'holdout:'"),
        ),
        (
            {"experiment": {"metric": "human_click"}, "holdout": 0.1},
            (
                "'human_click' is not known of who gets no message",
                "Use conversion or revenue, or add variants",
            ),
        ),
        (
            {"experiment": {"metric": "complaint"}, "variants": TWO},
            (
                "'complaint' does not decide a test; every winner is held against it anyway",
                "Use one of: human_open, human_click, conversion, revenue",
            ),
        ),
        (
            {"experiment": {"assign_by": "group"}, "variants": TWO},
            ("'assign_by' needs 'arms'", "Add 'arms:' with the variant for each value"),
        ),
        (
            {"experiment": {"arms": ARMS}, "variants": TWO},
            ("'arms' needs 'assign_by'", "Add 'assign_by:' with the attribute's name"),
        ),
        (
            {"experiment": {"assign_by": "group", "arms": ARMS | {"C": "bb"}}, "variants": TWO},
            ("'bb' is neither a variant nor 'holdout'", "Did you mean 'b'?"),
        ),
        (
            {"experiment": {"assign_by": "group", "arms": {"A": "a"}}, "variants": TWO},
            ("no value of 'arms' leads to variant 'b'", "Add the value, or drop the variant"),
        ),
        (
            {"experiment": {"assign_by": "group", "arms": ARMS}, "variants": TWO, "holdout": 0.1},
            (
                "'arms' and 'holdout' disagree on whether contacts are held out",
                "Write the intended share under 'holdout:' and the value for it under 'arms:', or neither",
            ),
        ),
        (
            {"experiment": {"assign_by": "group", "arms": {"N": "holdout"}}, "holdout": 0.1},
            ("'arms' has no variant to lead to", "Add 'variants:', one at least"),
        ),
        (
            {"variants": [*TWO, {"name": "holdout"}]},
            ("'holdout' is no name for a variant", "Choose another; it means who gets nothing"),
        ),
        (
            {"experiment": {"metrik": "revenue"}, "variants": TWO},
            ("unknown key 'metrik'", "Did you mean 'metric'?"),
        ),
    ],
)
def test_faults_of_a_test_say_what_to_do(changes, expected):
    assert problem(**changes) == expected
