"""What the recipient of an accepted e-mail gets."""

from typing import Any

from comms_pipeline.sandbox.mail import Link, links, one_click_url, render

SKELETON: dict[str, Any] = {
    "from": {"email": "office@example.org", "name": "Office"},
    "reply_to": {"email": "-desk-@example.org"},
    "subject": "Hello -name-",
    "content": [
        {"type": "text/plain", "value": "Dear -name-, see https://shop.example/a?b=1&c=2."},
        {
            "type": "text/html",
            "value": '<p>Dear -name-</p><a href="https://shop.example/a?b=1&amp;c=2">Shop</a>'
            '<a href="mailto:x@example.org">Write</a><a class="x" href=\'https://x.example/out\'>Unsubscribe</a>'
            '<a href="https://x.example/-token-">-name-</a>',
        },
    ],
    "headers": {"X-Campaign": "-name-"},
}
PERSONALIZATION: dict[str, Any] = {
    "to": [{"email": "anna@example.org"}],
    "substitutions": {"-name-": "Anna & Ben", "-desk-": "desk7", "-token-": "t0k"},
    "headers": {
        "List-Unsubscribe": "<mailto:out@example.org>, <https://x.example/u/1>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    },
}


def test_substitutions_reach_subject_reply_to_and_bodies_as_plain_text() -> None:
    rendered = render(SKELETON, PERSONALIZATION, "anna@example.org")
    assert rendered.subject == "Hello Anna & Ben"
    assert rendered.reply_to == "desk7@example.org"
    assert rendered.text == "Dear Anna & Ben, see https://shop.example/a?b=1&c=2."
    assert rendered.html.startswith("<p>Dear Anna & Ben</p>")
    assert rendered.sender == "Office <office@example.org>"


def test_substitutions_never_reach_headers() -> None:
    rendered = render(SKELETON, PERSONALIZATION, "anna@example.org")
    assert rendered.headers["X-Campaign"] == "-name-"


def test_links_are_those_of_the_delivered_body_and_know_the_way_out() -> None:
    assert links(render(SKELETON, PERSONALIZATION, "anna@example.org")) == [
        Link("https://shop.example/a?b=1&c=2", False),
        Link("https://x.example/out", True),
        Link("https://x.example/t0k", False),
    ]


def test_a_link_that_is_the_list_unsubscribe_address_is_a_way_out() -> None:
    skeleton = {
        **SKELETON,
        "content": [{"type": "text/html", "value": '<a href="https://x.example/u/1">here</a>'}],
    }
    assert links(render(skeleton, PERSONALIZATION, "a@b.example")) == [Link("https://x.example/u/1", True)]


def test_a_plain_text_mail_has_links_too() -> None:
    skeleton = {**SKELETON, "content": SKELETON["content"][:1]}
    assert links(render(skeleton, PERSONALIZATION, "a@b.example")) == [
        Link("https://shop.example/a?b=1&c=2", False)
    ]


def test_one_click_needs_both_headers() -> None:
    offered = render(SKELETON, PERSONALIZATION, "anna@example.org")
    assert one_click_url(offered) == "https://x.example/u/1"
    only_list = {**PERSONALIZATION, "headers": {"List-Unsubscribe": "<https://x.example/u/1>"}}
    assert one_click_url(render(SKELETON, only_list, "anna@example.org")) is None
