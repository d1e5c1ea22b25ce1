"""What the sandbox's mail/send refuses, as SendGrid does."""

from typing import Any

import pytest

from comms_pipeline.sandbox.mail_rules import check

NOW = 1_800_000_000.0
ANNA = {"email": "anna@example.org"}


def mail(**changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {
        "personalizations": [{"to": [ANNA], "substitutions": {"-name-": "Anna"}}],
        "from": {"email": "office@example.org", "name": "Office"},
        "subject": "Hello -name-",
        "content": [{"type": "text/plain", "value": "Hi"}, {"type": "text/html", "value": "<p>Hi</p>"}],
        "categories": ["send-1", "batch-1"],
    }
    body.update(changes)
    return {name: value for name, value in body.items() if value is not None}


def one(**changes: Any) -> list[dict[str, Any]]:
    return [{"to": [ANNA], **changes}]


ACCEPTED = {
    "as it is": mail(),
    "a thousand personalizations": mail(personalizations=[{"to": [ANNA]}] * 1000),
    "subjects of its own": mail(subject=None, personalizations=one(subject="Hi")),
    "ten categories": mail(categories=[str(number) for number in range(10)]),
    "one address in two personalizations": mail(personalizations=[{"to": [ANNA]}, {"to": [ANNA]}]),
    "substitutions of exactly 10,000 bytes": mail(personalizations=one(substitutions={"-a-": "x" * 9997})),
    "one-click headers": mail(headers={"List-Unsubscribe": "<https://x.example/u>"}),
    "send_at within 72 hours": mail(send_at=int(NOW) + 72 * 3600),
    "several to reply to": mail(reply_to_list=[ANNA]),
}

REFUSED = {
    "no sender": (mail(**{"from": None}), "from.email"),
    "an invalid sender": (mail(**{"from": {"email": "office"}}), "from.email"),
    "no personalizations": (mail(personalizations=None), "personalizations"),
    "no personalization at all": (mail(personalizations=[]), "personalizations"),
    "1,001 personalizations": (mail(personalizations=[{"to": [ANNA]}] * 1001), "personalizations"),
    "more than 1,000 recipients": (
        mail(personalizations=[{"to": [{"email": f"a{n}@b.example"} for n in range(1001)]}]),
        "personalizations",
    ),
    "nobody to send to": (mail(personalizations=[{}]), "personalizations.0.to"),
    "an invalid address": (
        mail(personalizations=[{"to": [{"email": "a@b"}]}]),
        "personalizations.0.to.0.email",
    ),
    "an address beyond ASCII": (
        mail(personalizations=[{"to": [{"email": "ännä@b.example"}]}]),
        "personalizations.0.to.0.email",
    ),
    "copies that are no list": (
        mail(personalizations=one(cc="x@y.example")),
        "personalizations.0.cc.0.email",
    ),
    "an address twice": (
        mail(personalizations=one(cc=[{"email": "ANNA@example.org"}])),
        "personalizations.0",
    ),
    "10,001 bytes of substitutions": (
        mail(personalizations=one(substitutions={"-a-": "x" * 9998})),
        "personalizations.0.substitutions",
    ),
    "10,001 bytes by characters of two bytes": (
        mail(personalizations=one(substitutions={"-a-": "é" * 4999})),
        "personalizations.0.substitutions",
    ),
    "a substitution that is a number": (
        mail(personalizations=one(substitutions={"-n-": 3})),
        "personalizations.0.substitutions",
    ),
    "an empty substitution tag": (
        mail(personalizations=one(substitutions={"": "x"})),
        "personalizations.0.substitutions",
    ),
    "10,001 bytes of custom arguments": (
        mail(personalizations=one(custom_args={"k": "x" * 10_000})),
        "personalizations.0.custom_args",
    ),
    "too many bytes of custom arguments together": (
        mail(custom_args={"a": "x" * 6000}, personalizations=one(custom_args={"b": "x" * 6000})),
        "personalizations.0.custom_args",
    ),
    "eleven categories": (mail(categories=[str(number) for number in range(11)]), "categories"),
    "a category twice": (mail(categories=["a", "a"]), "categories"),
    "a category of 256 characters": (mail(categories=["x" * 256]), "categories"),
    "a category that is a number": (mail(categories=[1]), "categories"),
    "a reserved header": (mail(headers={"Reply-To": "x@y.example"}), "headers.Reply-To"),
    "a reserved header for one": (
        mail(personalizations=one(headers={"subject": "x"})),
        "personalizations.0.headers.subject",
    ),
    "a header with a line break": (mail(headers={"X-A": "b\r\nBcc: c@d.example"}), "headers.X-A"),
    "no subject": (mail(subject=None), "subject"),
    "an empty subject for one": (mail(personalizations=one(subject="")), "personalizations.0.subject"),
    "no content": (mail(content=None), "content"),
    "empty content": (mail(content=[{"type": "text/plain", "value": ""}]), "content.0.value"),
    "content of a type with parameters": (
        mail(content=[{"type": "text/plain; charset=utf-8", "value": "Hi"}]),
        "content.0.type",
    ),
    "HTML before plain text": (
        mail(content=[{"type": "text/html", "value": "<p>"}, {"type": "text/plain", "value": "x"}]),
        "content",
    ),
    "an unknown template": (mail(template_id="d-1", personalizations=one()), "template_id"),
    "substitutions in a dynamic template": (
        mail(template_id="d-1"),
        "personalizations.0.substitutions",
    ),
    "both kinds of reply_to": (mail(reply_to=ANNA, reply_to_list=[ANNA]), "reply_to"),
    "an invalid reply_to": (mail(reply_to={"email": "x"}), "reply_to.email"),
    "a reply_to_list that is no list": (mail(reply_to_list="x"), "reply_to_list.0.email"),
    "send_at beyond 72 hours": (mail(send_at=int(NOW) + 72 * 3600 + 1), "send_at"),
    "send_at that is no number": (mail(send_at="tomorrow"), "send_at"),
    "a pool name of one character": (mail(ip_pool_name="x"), "ip_pool_name"),
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED)
def test_a_valid_mail_has_no_faults(body: dict[str, Any]) -> None:
    assert check(body, NOW) == []


@pytest.mark.parametrize(("body", "field"), REFUSED.values(), ids=REFUSED)
def test_a_faulty_mail_is_refused_naming_the_field(body: dict[str, Any], field: str) -> None:
    assert field in [error.field for error in check(body, NOW)]


def test_a_body_that_is_no_object_is_a_bad_request() -> None:
    assert [error.message for error in check(["mail"], NOW)] == ["Bad Request"]


def test_every_fault_of_a_mail_is_named_at_once() -> None:
    faulty = mail(subject=None, content=None, categories=["a", "a"])
    assert [error.field for error in check(faulty, NOW)] == ["subject", "content", "categories"]


def test_a_duplicate_address_is_explained_in_sendgrids_words() -> None:
    [error] = check(mail(personalizations=one(bcc=[ANNA])), NOW)
    assert error.message == (
        "Each email address in the personalization block should be unique between to, cc, and bcc. "
        "We found the first duplicate instance of [anna@example.org] in the personalizations.0.bcc field."
    )
    assert error.help == (
        "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html#message.recipient-errors"
    )
