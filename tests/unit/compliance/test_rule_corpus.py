"""Every case of the corpus is decided as it says, and every rule speaks in one of them."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from comms_pipeline.compliance.decide import decide
from comms_pipeline.compliance.places import places
from comms_pipeline.compliance.rules_file import load_rules
from comms_pipeline.domain.cap import Cap
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.sending_hours import SendingHours
from comms_pipeline.domain.yaml_marks import parse_yaml

PLACE = dict.fromkeys(("time_zone", "country", "region", "postcode", "phone"), pl.String())
TIME = pl.Datetime("us", "UTC")
FACTS: Mapping[str, pl.DataType] = {
    "contact_id": pl.String(),
    "address": pl.String(),
    "holder": pl.String(),
    "suppression_reason": pl.String(),
    "consent_kind": pl.String(),
    "consent_state": pl.String(),
    "consent_at": TIME,
    "is_wanted": pl.Boolean(),
    "paused_until": TIME,
    "quiet_from": pl.Int16(),
    "quiet_until": pl.Int16(),
    "weekly_cap": pl.Int16(),
    "date_off": pl.Date(),
    "recent_at": pl.List(TIME),
    "recent_topics": pl.List(pl.String),
    "birth_date": pl.Date(),
    "is_minor": pl.Boolean(),
    "is_do_not_call": pl.Boolean(),
    "holdout": pl.String(),
}
USUAL_CONTACT: Mapping[str, Any] = dict.fromkeys(FACTS) | {
    "contact_id": "a",
    "address": "+15005550006",
    "consent_kind": "written",
    "consent_state": "given",
    "consent_at": "2026-01-01T00:00:00Z",
    "recent_at": [],
    "recent_topics": [],
    "is_do_not_call": False,
}
USUAL_PLACE = {"phone": "+12125550123"}
USUAL_SEND = {"channel": "sms", "class": "marketing"}
USUAL_TIME = "2026-11-24T12:00:00-05:00"


def corpus() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A name and the whole of each case: group and case laid over what is usual."""
    for path in sorted((Path(__file__).parent / "corpus").glob("*.yaml")):
        groups: Any = parse_yaml(path.read_text(encoding="utf-8")).value
        for group in groups:
            assert group.keys() <= {"group", "source", "contact", "send", "cases"}
            for number, case in enumerate(group["cases"], 1):
                assert case.keys() <= {"contact", "send", "at", "decision", "not_before", "rules"}
                contact, place = dict(USUAL_CONTACT), USUAL_PLACE
                for told in (group.get("contact", {}), case.get("contact", {})):
                    assert told.keys() <= FACTS.keys() | PLACE.keys()
                    contact |= {key: value for key, value in told.items() if key in FACTS}
                    place = {key: value for key, value in told.items() if key in PLACE} or place
                whole = case | {
                    "source": group["source"],
                    "contact": contact,
                    "place": place,
                    "send": USUAL_SEND | group.get("send", {}) | case.get("send", {}),
                    "at": datetime.fromisoformat(case.get("at", USUAL_TIME)),
                }
                yield f"{group['group']} {number}", whole


def facts_of(contact: Mapping[str, Any], place: Mapping[str, str]) -> pl.DataFrame:
    times = {
        key: contact[key] and datetime.fromisoformat(contact[key]) for key in ("consent_at", "paused_until")
    }
    dates = {key: contact[key] and date.fromisoformat(contact[key]) for key in ("date_off", "birth_date")}
    recent = [datetime.fromisoformat(text) for text in contact["recent_at"]]
    topics = contact["recent_topics"] or ["general"] * len(recent)
    row = {**contact, **times, **dates, "recent_at": recent, "recent_topics": topics}
    where = places(pl.DataFrame([dict.fromkeys(PLACE) | place], schema=PLACE))
    return pl.concat([pl.DataFrame([row], schema=FACTS), where], how="horizontal")


CASES = list(corpus())


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[name for name, _ in CASES])
def test_a_case_is_decided_as_the_corpus_says(case):
    send = case["send"]
    hours = send.get("hours")

    (found,) = decide(
        facts_of(case["contact"], case["place"]),
        load_rules(),
        channel=Channel(send["channel"]),
        message_class=send["class"],
        topic=send.get("topic", "general"),
        at=case["at"],
        hours=SendingHours.model_validate(hours) if hours else None,
        caps=[Cap(**{**cap, "channel": Channel(cap["channel"])}) for cap in send.get("caps", [])],
    ).to_dicts()

    not_before = case.get("not_before")
    assert [rule["rule_id"] for rule in found["rules"]] == case.get("rules", [])
    assert found["decision"] == case["decision"]
    assert found["not_before"] == (not_before and datetime.fromisoformat(not_before).astimezone(UTC))
    assert all(rule["evidence"] for rule in found["rules"])


def test_the_corpus_is_large_and_every_case_has_a_source():
    assert len(CASES) >= 160
    assert all(case["source"] for _, case in CASES)


def test_every_rule_speaks_in_some_case():
    spoken = {rule for _, case in CASES for rule in case.get("rules", [])}

    assert {rule.id for rule in load_rules()} - spoken == set()
