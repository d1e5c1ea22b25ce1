"""Plans on WhatsApp: who may be written to, what fills a Content template, and what is queued of it."""

from pathlib import Path

import pytest
from audiences import Club, people

from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.stores import Stores

CONTENT_SID = "HX" + "a" * 32


@pytest.fixture
def club(shared_stores: Stores, tmp_path: Path) -> Club:
    return Club.founded(shared_stores, tmp_path)


def members(*phones: str, **columns: object) -> list[dict[str, object]]:
    return [row | {"phone": phone} for row, phone in zip(people(len(phones), **columns), phones, strict=True)]


def announce(club: Club, *, message_class: str = "transactional", **template: object) -> None:
    club.announce(
        {"news.txt": "Hi {{ name }}"},
        **{"class": message_class},
        channels=["whatsapp"],
        templates={"whatsapp": template or {"text": "news.txt"}},
    )


def test_marketing_leaves_out_numbers_of_plus_one(club: Club) -> None:
    club.enrol(members("+12025550101", "+436991234001"))
    announce(club, message_class="marketing")
    assert club.plan() == 1
    assert club.exclusions() == {"whatsapp-no-us-marketing": 1}


def test_variables_of_a_content_template_are_slots_and_the_rest_is_shared(club: Club) -> None:
    club.enrol(members("+12025550101", "+12025550102"))
    announce(club, content_sid=CONTENT_SID, content_variables={2: "for {{ name }}", 1: "spring"})
    assert (club.plan(), club.enqueue()) == (2, 2)
    [(content, payload)] = club.queued()
    assert (content.content_sid, content.sender) == (CONTENT_SID, "")
    assert content.variables == {"1": ("spring",), "2": ("for ", 0)}
    assert sorted(payload["s0"]) == ["Person 0", "Person 1"]
    assert sorted(payload["address"]) == ["+12025550101", "+12025550102"]
    assert club.rows(
        "select distinct channel, lane, segments from campaign.messages where send_id = $id"
    ) == [("whatsapp", "whatsapp:twilio", None)]


def test_a_content_template_without_variables_is_queued_as_it_is(club: Club) -> None:
    club.enrol(members("+12025550101"))
    announce(club, content_sid=CONTENT_SID)
    assert (club.plan(), club.enqueue()) == (1, 1)
    [(content, _)] = club.queued()
    assert (content.content_sid, content.parts) == (CONTENT_SID, {})


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("a\nb", "1 message with a line break, a tab or five spaces in it, which WhatsApp refuses"),
        ("a     b", "1 message with a line break, a tab or five spaces in it, which WhatsApp refuses"),
        ("x" * 1601, "1 message longer than 1,600 characters"),
        (" ", "1 message with nothing in it"),
    ],
)
def test_what_whatsapp_refuses_in_a_variable_stops_the_plan(club: Club, value: str, problem: str) -> None:
    (ann, bo) = members("+12025550101", "+12025550102")
    club.enrol([ann | {"note": "fine"}, bo])
    club.announce(
        **{"class": "transactional"},
        channels=["whatsapp"],
        templates={"whatsapp": {"content_sid": CONTENT_SID, "content_variables": {"1": "{{ note }}"}}},
        fallbacks={"note": value},
    )
    with pytest.raises(TemplateError) as raised:
        club.plan()
    assert raised.value.culprit == f"campaign {club.id}, content variable 1"
    assert raised.value.problem == problem


def test_free_text_may_be_4096_characters_long(club: Club) -> None:
    club.enrol(members("+12025550101"))
    club.announce(
        {"news.txt": "x" * 4096},
        **{"class": "transactional"},
        channels=["whatsapp"],
        templates={"whatsapp": {"text": "news.txt"}},
    )
    assert club.plan() == 1
