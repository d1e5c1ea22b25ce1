"""Small checked texts that files written by people share: ids, one-line texts, addresses, languages."""

import re
from typing import Annotated

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, Field

from comms_pipeline.domain.validation import fault, single_line

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# Twilio's senders: E.164, short code, Messaging Service SID, alphanumeric id (with at least one letter).
_SMS_FROM = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|MG[0-9a-f]{32}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11}")
# Twilio's Content API: a template's SID, and the placeholders {{1}}, {{2}} … of one.
_CONTENT_SID = re.compile(r"HX[0-9a-f]{32}")
_VARIABLE_NUMBER = re.compile(r"[1-9][0-9]?")
# BCP 47: a language, then script, region and variants.
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        raise fault(f"'{value[:80]}' is not an id", "Use up to 63 of a-z, 0-9 and '-', not starting with '-'")
    return value


def _email_address(value: str) -> str:
    try:
        return validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError:
        raise fault("the e-mail address is not valid", "Write e.g. hello@lakeside.example") from None


def _sms_from(value: str) -> str:
    if not _SMS_FROM.fullmatch(value):
        raise fault(
            "the SMS sender is not valid",
            "Use '+' and digits, a short code, a Messaging Service SID or a name",
        )
    return value


def _content_sid(value: str) -> str:
    if not _CONTENT_SID.fullmatch(value):
        raise fault("the Content template's SID is not valid", "Write HX and 32 of 0-9 and a-f")
    return value


def _variable_number(value: object) -> str:
    # In YAML 1 is as good as "1".
    number = str(value)
    if not _VARIABLE_NUMBER.fullmatch(number):
        raise fault(f"'{number[:80]}' is no content variable", "Write its number in the template, like 1")
    return number


def _not_blank(value: str) -> str:
    if not value.strip():
        raise fault("the text is empty", "Fill it in, or remove the key")
    return value


def normal_language(tag: str) -> str:
    """One spelling for a language tag: `pt_br` and `PT-BR` are `pt-br`."""
    return tag.strip().replace("_", "-").lower()


def _language(value: str) -> str:
    if not _LANGUAGE.fullmatch(value):
        raise fault(f"'{value[:80]}' is not a language", "Write a tag such as en, de or pt-BR")
    return normal_language(value)


Slug = Annotated[str, AfterValidator(_slug)]
EmailAddress = Annotated[str, AfterValidator(_email_address)]
SmsFrom = Annotated[str, AfterValidator(_sms_from)]
ContentSid = Annotated[str, AfterValidator(_content_sid)]
VariableNumber = Annotated[str, BeforeValidator(_variable_number)]
SingleLine = Annotated[str, Field(max_length=998), AfterValidator(_not_blank), AfterValidator(single_line)]
FileName = Annotated[str, Field(max_length=255), AfterValidator(_not_blank), AfterValidator(single_line)]
Language = Annotated[str, AfterValidator(_language)]
