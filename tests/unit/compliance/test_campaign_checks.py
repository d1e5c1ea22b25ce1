"""What law and carriers ask of a campaign as a whole, held against small campaigns that break one thing each."""

from dataclasses import replace
from pathlib import Path

import pytest

from comms_pipeline.builtin_templates import BuiltinTemplate, TextChannel, builtin_templates
from comms_pipeline.compliance.campaign_facts import CampaignFacts, Sample
from comms_pipeline.compliance.campaign_rules import CampaignCheck, Severity, check_facts, load_rule_book
from comms_pipeline.compliance.rules_file import InvalidRule
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.domain.tiers import Tier
from comms_pipeline.previews.drafts import builtin_drafts
from comms_pipeline.previews.rendering import STAND_INS, example_frame, render

OPT_OUT = "https://mail.bakery.com/u/token"
ADDRESS = "Corner Bakery, 3 Oven Lane, Portland"
EMAIL = Sample(
    channel=Channel.EMAIL,
    subject="Ada, Saturday's bread",
    html=f'<p>Rye and spelt.</p><p>CORNER BAKERY<br>3 Oven Lane &middot; Portland</p><a href="{OPT_OUT}">Enough</a>',
    text=f"Rye and spelt.\n\nCorner Bakery\n3 Oven Lane\nPortland\n{OPT_OUT}",
    opt_out_urls=(OPT_OUT,),
)
SMS = Sample(
    channel=Channel.SMS,
    text="Corner Bakery: rye and spelt on Saturday. Msg & data rates may apply. Reply STOP to opt out",
)
FACTS = CampaignFacts(
    message_class=MessageClass.MARKETING,
    channels=(Channel.EMAIL, Channel.SMS),
    from_email="hello@bakery.com",
    from_name="Corner Bakery",
    organisation_name="Corner Bakery",
    postal_address=ADDRESS,
    public_url="https://mail.bakery.com",
    one_click=frozenset({Channel.EMAIL}),
    audience_size=100,
    samples=(EMAIL, SMS),
)


def checked(**changes: object) -> CampaignCheck:
    return check_facts(replace(FACTS, **changes), load_rule_book())


def failed(**changes: object) -> dict[str, str]:
    return {item.rule.id: item.found for item in checked(**changes).failed}


def email(**changes: object) -> dict[str, object]:
    return {"samples": (replace(EMAIL, **changes), SMS)}


def sms(text: str, **changes: object) -> dict[str, object]:
    return {"samples": (EMAIL, replace(SMS, text=text, **changes))}


def test_a_campaign_that_breaks_nothing_has_all_points():
    check = checked()

    assert check.failed == ()
    assert check.score == 100
    assert len(check.items) == len(load_rule_book().rules) - 1  # all but the one for WhatsApp


def test_points_are_lost_item_by_item_down_to_none_and_blocking_items_come_first():
    check = checked(postal_address="", from_name="Info", **email(subject="RE: hello"))

    assert [(item.rule.id, item.points) for item in check.failed] == [
        ("postal-address-set", 30),
        ("subject-no-answer", 25),
        ("sender-named", 8),
    ]
    assert [item.rule.id for item in check.blocking] == ["postal-address-set", "subject-no-answer"]
    assert check.score == 37
    assert (
        checked(
            postal_address="",
            one_click=frozenset(),
            audience_size=101,
            tier=Tier.FREE,
            **email(subject="Re: a"),
        ).score
        == 0
    )


@pytest.mark.parametrize(
    ("changes", "rule", "found"),
    [
        ({"postal_address": " "}, "postal-address-set", "there is no postal address"),
        ({"postal_address": "Portland"}, "postal-address-set", "it is a single word"),
        (email(html="<p>Rye</p>" + OPT_OUT), "postal-address-shown", "email: the page does not show it"),
        (email(text=f"Rye {OPT_OUT}"), "postal-address-shown", "email: the text does not show it"),
        (
            email(html=EMAIL.html.replace("<p>CORNER", '<p style="color:red; display: none">CORNER')),
            "postal-address-shown",
            "email: the page does not show it",
        ),
        ({"from_name": "No Reply"}, "sender-named", "the sender's name could be anybody's"),
        (
            {"from_name": "service@bank.com"},
            "sender-named",
            "the sender's name shows an address of another domain",
        ),
        (
            {"from_email": "hello@yourdomain.com"},
            "sender-placeholder",
            "mail comes from yourdomain.com",
        ),
        (
            {"from_email": "hello@bakery.example"},
            "sender-reserved-domain",
            "mail comes from bakery.example, a domain for examples",
        ),
        (
            {"from_email": "hello@news.example.com"},
            "sender-reserved-domain",
            "mail comes from news.example.com, a domain for examples",
        ),
        (
            {"from_email": "corner.bakery@gmail.com"},
            "sender-own-domain",
            "mail comes from gmail.com, which only its own servers may send for",
        ),
        (
            email(html=f"<p>{ADDRESS}</p><a href='https://mail.bakery.com/u/another'>Enough</a>"),
            "unsubscribe-link",
            "email: the page has none",
        ),
        (email(text=ADDRESS), "unsubscribe-link", "email: the text has none"),
        ({"one_click": frozenset()}, "list-unsubscribe", "messages carry no List-Unsubscribe header"),
        (
            {"public_url": "http://127.0.0.1:8000"},
            "own-links-reachable",
            "our own links begin with http://; our own links lead to 127.0.0.1, which only this machine reaches",
        ),
        (sms("Corner Bakery: non-stop bread, data rates"), "sms-opt-out", "sms: neither STOP nor a link"),
        (sms("Bread! Data rates. STOP ends it"), "sms-brand", "sms: it names neither sender nor organisation"),
        (sms("Corner Bakery: STOP ends it"), "sms-rates", "sms: it does not say so"),
        (email(subject="Fwd: our talk"), "subject-no-answer", "email: it begins with 'Fwd:'"),
        (email(subject="AW: Ihr Brot"), "subject-no-answer", "email: it begins with 'AW:'"),
        (email(subject="You have  WON bread"), "subject-true", "email: 'you have won'"),
        (email(subject="Your account has been suspended"), "subject-true", "email: 'account has been suspended'"),
        (email(subject="An invoice for bread"), "subject-no-business", "email: 'invoice'"),
        (email(subject="SATURDAY'S BREAD"), "subject-calm", "email: 14 of 14 letters are capitals"),
        (email(subject="Bread today??"), "subject-calm", "email: '??'"),
        (email(subject="x" * 79), "subject-short", "email: 79 characters, 78 are shown"),
        (
            {"audience_size": 501, "tier": Tier.STARTER},
            "tier-recipients",
            "501 recipients; tier starter allows 500",
        ),
        (
            {"samples": (EMAIL,)},
            "looked-at",
            "nobody of the audience can be reached by sms: its message was not looked at",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found_and_nothing_else(changes, rule, found):
    assert failed(**changes) == {rule: found}


@pytest.mark.parametrize(
    "changes",
    [
        email(subject="Re-opening on Monday"),
        email(subject="Regarding: bread"),
        email(subject="Order your rye now: ready on Saturday"),
        email(subject="You won't believe this rye"),
        email(subject="NEW: rye"),
        email(subject="x" * 78),
        {"from_name": "hello@bakery.com"},
        {"from_email": "hello@examplebakery.com"},
        {"audience_size": 500, "tier": Tier.STARTER},
        {"audience_size": 5_000_000},
        {"audience_size": None, "tier": Tier.FREE},
        sms("Corner Bakery: rye. Msg&data rates may apply. txt stop to end"),
        sms(f"Bakery: rye. Message and data rates may apply. {OPT_OUT}", opt_out_urls=(OPT_OUT,)),
        email(html=f"<p>{ADDRESS} {OPT_OUT}</p>"),
    ],
)
def test_what_only_looks_wrong_passes(changes):
    assert failed(**changes) == {}


def test_adult_material_says_so_first_in_the_subject_and_in_the_message():
    mark = "SEXUALLY-EXPLICIT: "
    told = {
        "html": f"<p>{mark}</p>{EMAIL.html}",
        "text": f"{mark}\n{EMAIL.text}",
        "subject": f"{mark}bread of the night",
    }

    assert failed(is_adult=True, **email(**told)) == {}
    assert failed(is_adult=True) == {
        "adult-mark": "email: the subject does not begin with it; email: the message does not say it"
    }
    for subject in ("Sexually-explicit: bread", f" {mark}bread", "SEXUALLY-EXPLICIT:bread"):
        found = failed(is_adult=True, **email(**told | {"subject": subject}))
        assert found["adult-mark"] == "email: the subject does not begin with it"


def test_transactional_messages_need_no_way_out_and_may_speak_of_invoices():
    bare = Sample(channel=Channel.EMAIL, subject="Your order: an invoice", text="Thank you.")

    assert failed(
        message_class=MessageClass.TRANSACTIONAL,
        postal_address="",
        one_click=frozenset(),
        channels=(Channel.EMAIL,),
        samples=(bare,),
    ) == {}  # fmt: skip


def test_nothing_stops_an_emergency():
    assert not [
        rule.id
        for rule in load_rule_book().rules
        if MessageClass.EMERGENCY in rule.classes and rule.severity is Severity.BLOCKING
    ]


def test_samples_that_say_the_same_are_told_once_and_many_are_counted():
    names = ["a", "a", "b", "c", "d"]
    samples = tuple(replace(EMAIL, variant=name, language="de", subject="Re: bread") for name in names)

    assert failed(samples=(*samples, SMS)) == {
        "subject-no-answer": "email a de: it begins with 'Re:'; email b de: it begins with 'Re:'; and 2 more"
    }


def test_evidence_never_quotes_what_a_message_says_to_its_recipient():
    secret = "Ada Lovelace"
    check = checked(
        samples=(
            replace(EMAIL, subject=f"RE: {secret.upper()} YOU WON!!!", html=f"<p>{secret}</p>", text=secret),
            replace(SMS, text=secret),
        )
    )

    assert len(check.failed) >= 8
    assert not [item for item in check.items if "lovelace" in item.found.casefold()]


@pytest.mark.parametrize("template", builtin_templates(), ids=lambda template: template.name)
def test_built_in_templates_lose_next_to_nothing(template: BuiltinTemplate) -> None:
    samples = []
    for draft in builtin_drafts(template):
        if draft.channel is not TextChannel.MESSENGER:
            preview = render(draft, example_frame(draft))
            samples.append(
                Sample(
                    channel=Channel(draft.channel.value),
                    subject=preview.subject,
                    html=preview.parts.get("html", ""),
                    text=preview.text,
                    opt_out_urls=(str(STAND_INS["unsubscribe_url"]),),
                )
            )
    check = checked(
        message_class=template.message_class,
        channels=tuple(sample.channel for sample in samples),
        postal_address=STAND_INS["postal_address"],
        samples=tuple(samples),
    )

    assert check.blocking == ()
    assert check.score >= 90


RULE = """\
rules:
  - id: calm
    version: 1
    severity: warning
    weight: 5
    channels: [email]
    classes: [marketing]
    check: shouting
    limit: 30
    fix: Write in sentence case
    source: Common practice
    verified_on: 2026-11-23
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    source: Common practice\n", "", "rules.yaml:2: 'source' is missing. Add 'source:'"),
        ("source: Common practice", 'source: ""', "rules.yaml:11: 'source' string should have at least 1"),
        ("check: shouting", "check: shoutin", "rules.yaml:8: unknown check 'shoutin'. Did you mean 'shouting'?"),
        ("weight: 5", "weight: 101", "rules.yaml:5: 'weight' should be less than or equal to 100"),
        ("severity: warning", "severity: warn", "'warn' is not a value of 'severity'. Did you mean 'warning'?"),
        ("channels: [email]", "channels: []", "rules.yaml:6: 'channels' frozenset should have at least 1"),
        ("limit: 30", "limits: 30", "rules.yaml:9: unknown key 'limits'. Did you mean 'limit'?"),
        ("limit: 30", "phrases: spam", "rule 'calm' names the unknown phrases 'spam'"),
        ("2026-11-23", "soon", "rules.yaml:12: 'verified_on'"),
        ("rules:", "rules: []\nphrases:", "rules.yaml:"),
    ],
)  # fmt: skip
def test_a_faulty_row_is_reported_by_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in RULE
    path = tmp_path / "rules.yaml"
    path.write_text(RULE.replace(old, new), encoding="utf-8")

    with pytest.raises(InvalidRule) as caught:
        load_rule_book(path)

    assert message in str(caught.value)


def test_an_id_used_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(RULE + RULE.removeprefix("rules:\n"), encoding="utf-8")

    with pytest.raises(InvalidRule, match=r"the id 'calm' is used twice\. Give each rule its own id"):
        load_rule_book(path)


def test_every_rule_names_its_source_and_list_of_phrases():
    book = load_rule_book()

    assert all(rule.source and rule.fix for rule in book.rules)
    assert {rule.phrases for rule in book.rules if rule.phrases} == set(book.phrases)
