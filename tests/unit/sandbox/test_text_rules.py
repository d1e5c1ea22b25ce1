"""What the sandbox's create-message refuses, as Twilio does."""

import pytest

from comms_pipeline.sandbox.text_rules import check, starts_at

TO_WHATSAPP = {"To": "whatsapp:+15550100123", "From": "whatsapp:+15005550006"}
TEMPLATE = {"Body": "", "ContentSid": "HX" + "b" * 32}
NOW = 1_800_000_000.0
SERVICE = "MG" + "a" * 32
VALID = {"To": "+15550100123", "From": "+15005550006", "Body": "Hello"}
LATER = "2027-01-15T09:00:00Z"


def form(**changes: str) -> dict[str, str]:
    return {name: value for name, value in {**VALID, **changes}.items() if value}


ACCEPTED = {
    "as it is": form(),
    "1,600 characters": form(Body="x" * 1600),
    "through a service": form(From="", MessagingServiceSid=SERVICE),
    "from a short code": form(From="12345"),
    "from a name": form(From="Acme"),
    "to WhatsApp": form(To="whatsapp:+15550100123", From="whatsapp:+15005550006"),
    "4,096 characters on WhatsApp": form(**TO_WHATSAPP, Body="x" * 4096),
    "WhatsApp through a service": form(To=TO_WHATSAPP["To"], From="", MessagingServiceSid=SERVICE),
    "a content template without variables": form(**TO_WHATSAPP, **TEMPLATE),
    "a content template": form(Body="", ContentSid="HX" + "b" * 32, ContentVariables='{"1": "x"}'),
    "with a callback": form(StatusCallback="http://127.0.0.1:8700/webhooks/twilio/status?message=1"),
    "scheduled through a service": form(MessagingServiceSid=SERVICE, ScheduleType="fixed", SendAt=LATER),
    "a schedule without a service, which is ignored": form(ScheduleType="fixed", SendAt="never"),
}

REFUSED = {
    "nobody to send to": (form(To=""), 21604),
    "a number without country": (form(To="5550100123"), 21211),
    "a word for a number": (form(To="+1555CALLME"), 21211),
    "no sender": (form(From=""), 21603),
    "an invalid sender": (form(From="+15005550001"), 21212),
    "a sender of another channel": (form(To="whatsapp:+15550100123"), 21212),
    "a number that is not ours": (form(From="+15005550007"), 21606),
    "an unknown service": (form(MessagingServiceSid="MG1"), 21701),
    "no body": (form(Body=""), 21602),
    "1,601 characters": (form(Body="x" * 1601), 21617),
    "variables that are no JSON": (form(ContentSid="HX" + "b" * 32, ContentVariables="x"), 21656),
    "4,097 characters on WhatsApp": (form(**TO_WHATSAPP, Body="x" * 4097), 21617),
    "a WhatsApp sender for an SMS": (form(From=TO_WHATSAPP["From"]), 21212),
    "WhatsApp to no number": (form(**TO_WHATSAPP | {"To": "whatsapp:ann"}), 21211),
    "a content template of another shape": (form(**TO_WHATSAPP, Body="", ContentSid="HX1"), 20404),
    "variables in a list": (form(**TEMPLATE, ContentVariables='["x"]'), 21656),
    "a variable that is no text": (form(**TEMPLATE, ContentVariables='{"1": 1}'), 21656),
    "an empty variable": (form(**TEMPLATE, ContentVariables='{"1": ""}'), 21656),
    "a variable of two lines": (form(**TEMPLATE, ContentVariables='{"1": "a\\nb"}'), 21656),
    "five spaces in a variable": (form(**TEMPLATE, ContentVariables='{"1": "a     b"}'), 21656),
    "a variable too long": (form(**TEMPLATE, ContentVariables=f'{{"1": "{"x" * 1601}"}}'), 21658),
    "a callback that is no address": (form(StatusCallback="callback"), 21609),
    "a time too near": (
        form(MessagingServiceSid=SERVICE, ScheduleType="fixed", SendAt="2027-01-15T08:04:00Z"),
        35114,
    ),
    "a time beyond 35 days": (
        form(MessagingServiceSid=SERVICE, ScheduleType="fixed", SendAt="2027-02-20T08:00:00Z"),
        35114,
    ),
}


@pytest.mark.parametrize("fields", ACCEPTED.values(), ids=ACCEPTED)
def test_a_valid_message_is_accepted(fields: dict[str, str]) -> None:
    assert check(fields, [], NOW) is None


@pytest.mark.parametrize(("fields", "code"), REFUSED.values(), ids=REFUSED)
def test_a_faulty_message_is_refused_with_twilios_code(fields: dict[str, str], code: int) -> None:
    refusal = check(fields, [], NOW)
    assert refusal is not None
    assert refusal.code == code


def test_media_may_stand_for_a_body_but_not_eleven_of_them() -> None:
    assert check(form(Body=""), ["https://x.example/1.png"], NOW) is None
    refusal = check(form(), ["https://x.example/1.png"] * 11, NOW)
    assert refusal is not None
    assert refusal.code == 21623


def test_an_error_is_told_in_twilios_shape() -> None:
    refusal = check(form(To="12"), [], NOW)
    assert refusal is not None
    assert refusal.status == 400
    assert refusal.body == {
        "code": 21211,
        "message": "The 'To' number 12 is not a valid phone number.",
        "more_info": "https://www.twilio.com/docs/errors/21211",
        "status": 400,
    }


def test_a_scheduled_message_starts_when_it_is_due() -> None:
    scheduled = form(MessagingServiceSid=SERVICE, ScheduleType="fixed", SendAt=LATER)
    assert starts_at(scheduled, NOW) == NOW + 3600
    assert starts_at(form(), NOW) == NOW
