"""What filters take offence at, message by message."""

import pytest

from comms_pipeline.compliance.campaign_facts import CampaignFacts, Case, Link, Sample, read_page
from comms_pipeline.compliance.campaign_rules import load_rule_book
from comms_pipeline.compliance.content_filter import CONTENT_CHECKS, phrases_in
from comms_pipeline.domain.message import Channel, MessageClass

FACTS = CampaignFacts(
    message_class=MessageClass.MARKETING,
    channels=(Channel.EMAIL,),
    from_email="hello@bakery.com",
    from_name="Corner Bakery",
    organisation_name="Corner Bakery",
    postal_address="3 Oven Lane",
    public_url="http://10.0.0.5:8000",
    one_click=frozenset(),
    samples=(),
)


def found(check: str, *, limit: int = 0, phrases: dict[str, int] | None = None, **parts: str) -> list[str]:
    sample = Sample(channel=Channel.EMAIL, **parts)
    case = Case(facts=FACTS, samples=(sample,), limit=limit, phrases=phrases or {})
    return list(CONTENT_CHECKS[check](case))


def link(target: str, label: str = "Look") -> dict[str, str]:
    return {"html": f'<p>Rye and spelt. <a href="{target}">{label}</a></p>'}


def test_phrases_are_whole_words_in_any_case_with_any_blanks():
    phrases = {"free money": 5, "won": 1, "risk-free": 2}

    assert phrases_in("FREE\n money, Risk-Free", phrases) == ["free money", "risk-free"]
    assert phrases_in("carefree moneylender wonders", phrases) == []


def test_phrases_add_up_over_subject_page_and_text_and_count_once():
    parts = {"subject": "Free money", "html": "<p>Act <b>now</b></p>", "text": "act now, free money"}
    phrases = {"free money": 5, "act now": 2}

    assert found("spam_phrases", limit=7, phrases=phrases, **parts) == []
    assert found("spam_phrases", limit=6, phrases=phrases, **parts) == [
        "email: 'free money', 'act now' (7 points, 6 are tolerated)"
    ]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("You have won! Free money, no credit check, act now", ["spam", "spam-phrases"]),
        ("Limited time offer: order now, while supplies last, no obligation", []),
        ("Please confirm your password by reply", ["phishing"]),
        ("Never share your password or PIN with anybody; we never ask for it", []),
        ("Congratulations! You are invited, dear friend, to a free tasting", []),
    ],
)
def test_the_lists_of_the_rules_tell_spam_from_letters(text, ids):
    book = load_rule_book()
    rules = [rule for rule in book.rules if rule.check == "spam_phrases"]
    failing = [
        rule.id
        for rule in rules
        if found("spam_phrases", limit=rule.limit, phrases=dict(book.phrases[rule.phrases or ""]), text=text)
    ]

    assert sorted(failing) == ids


def test_shouting_is_a_share_of_the_longer_words_or_a_row_of_marks():
    calm = " ".join(["bread"] * 14)
    loud = " ".join(["BREAD"] * 6)

    assert found("shouting", limit=30, text=f"{calm} {loud}") == []
    assert found("shouting", limit=29, text=f"{calm} {loud}") == ["email: 6 of 20 words are in capitals"]
    assert found("shouting", limit=29, text="BREAD TODAY") == []
    assert found("shouting", limit=29, text="Bread!!!!!") == ["email: '!!!'"]


def test_a_page_of_images_needs_words_and_a_pixel_is_no_image():
    words = " ".join(["rye"] * 20)

    assert found("image_only", limit=20, html="<img src='a.png'><p>Rye</p>") == [
        "email: the page shows 1 words beside its images"
    ]
    assert found("image_only", limit=20, html=f"<img src='a.png'><p>{words}</p>") == []
    assert found("image_only", limit=20, html="<p>Rye</p><img src='o' width='1' height='1'>") == []


@pytest.mark.parametrize(
    ("html", "evidence"),
    [
        ("<script>alert(1)</script>", ["email: <script>"]),
        ("<FORM action='x'></FORM>", ["email: <form>"]),
        ("<a href=' JavaScript:run()'>x</a>", ["email: a link that runs a script or opens data"]),
        ("<p>A script about a form</p>", []),
    ],
)
def test_active_content_is_found(html, evidence):
    assert found("active_content", html=html) == evidence


@pytest.mark.parametrize(
    ("target", "evidence"),
    [
        ("https://203.0.113.9/a", ["email: a link leads to the IP address 203.0.113.9"]),
        ("http://[2001:db8::1]/", ["email: a link leads to the IP address 2001:db8::1"]),
        ("http://3405803785/", ["email: a link leads to the IP address 3405803785"]),
        ("http://0x7f.1/", ["email: a link leads to the IP address 0x7f.1"]),
        ("https://bank.com@evil.org/", ["email: a link hides its host evil.org behind an '@'"]),
        ("https://bakery.com/@baker", []),
        ("https://1password.com/", []),
        ("http://10.0.0.5:8000/u/token", []),
        ("mailto:hello@bakery.com", []),
        ("https://[broken", []),
    ],
)
def test_hosts_without_a_name_or_in_disguise_are_found_but_for_our_own(target, evidence):
    assert found("nameless_hosts", **link(target)) == evidence


@pytest.mark.parametrize(
    ("target", "label", "evidence"),
    [
        ("https://evil.org/", "https://bank.com", ["email: it shows bank.com and leads to evil.org"]),
        ("https://evil.org/", "www.bank.com/login", ["email: it shows bank.com and leads to evil.org"]),
        ("https://a.co.uk/", "b.co.uk", ["email: it shows b.co.uk and leads to a.co.uk"]),
        ("https://bank.com.evil.org/", "bank.com", ["email: it shows bank.com and leads to bank.com.evil.org"]),
        ("https://shop.bakery.com/rye", "<b>bakery</b>.com", []),
        ("https://bakery.com/", "WWW.Bakery.com", []),
        ("https://evil.org/", "our bakery", []),
        ("https://files.org/a", "menu.pdf", []),
        ("mailto:hello@bakery.com", "bakery.org", []),
        ("http://10.0.0.5:8000/c/token", "bakery.com", []),
    ],
)  # fmt: skip
def test_links_lead_where_they_say(target, label, evidence):
    # Tags within a label are read as blanks between words.
    label = label.replace("<b>bakery</b>.com", "bakery.com")
    assert found("misleading_links", **link(target, label)) == evidence


@pytest.mark.parametrize(
    ("parts", "evidence"),
    [
        (link("https://bit.ly/3x"), ["email: bit.ly"]),
        ({"text": "Look: bit.ly/3x."}, ["email: bit.ly"]),
        ({"text": "Look: HTTPS://www.Bit.ly/3x"}, ["email: www.bit.ly"]),
        ({"text": "habit.ly/3x and a@bit.ly and/or bit.ly"}, []),
    ],
)
def test_shared_shorteners_are_found_with_and_without_a_scheme(parts, evidence):
    assert found("shorteners", phrases={"bit.ly": 1}, **parts) == evidence


def test_links_are_encrypted_but_for_our_own():
    assert found("plain_http", text="http://bakery.com/a https://bakery.com http://10.0.0.5:8000/u/x") == [
        "email: a link to http://bakery.com"
    ]


@pytest.mark.parametrize("host", ["xn--bckerei-5wa.de", "bäckerei.de", "shop.xn--bckerei-5wa.de"])
def test_hosts_beyond_ascii_are_found(host):
    assert found("look_alike_hosts", **link(f"https://{host}/")) == [f"email: {host}"]
    assert found("look_alike_hosts", **link("https://baeckerei.de/")) == []


def test_lengths_are_limits_that_may_be_reached():
    assert found("too_many_segments", limit=2, text="x" * 306) == []
    assert found("too_many_segments", limit=2, text="x" * 307) == ["email: 3 segments, 2 are plenty"]
    assert found("too_long", limit=1600, text="x" * 1600) == []
    assert found("too_long", limit=1600, text="x" * 1601) == [
        "email: 1,601 characters, 1,600 are taken"
    ]  # fmt: skip


def test_a_page_is_its_visible_words_its_links_images_and_tags():
    page = read_page(
        "<html><head><title>No</title><style>p{}</style></head><body><!-- no --><p hidden>No<br>no</p>"
        "<div style='display:none'>No<p>no</div><h1>Rye &amp; spelt</h1><img src=a><br/>"
        "<a href='https://a.com'>See <b>more</b></a><a href=b>and<a>"
    )

    assert page.text == "Rye & spelt See more and"
    assert page.links[:2] == (Link(target="https://a.com", label="See more"), Link(target="b", label="and"))
    assert page.images == 1
    assert {"html", "h1", "img", "a"} <= page.tags


@pytest.mark.parametrize(
    "html", ["", "<", "<a href", "</p></p>", "<p <b> &#x110000; &#0;", "<![CDATA[", "\x00"]
)
def test_any_page_can_be_read(html):
    assert read_page(html).images == 0
