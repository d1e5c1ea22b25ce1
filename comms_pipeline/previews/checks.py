"""What is wrong with a draft, found without any contact: syntax, links, pictures, what law asks for, length.

Never renders; `rendering.py` does. What only contacts can tell (missing values, exact lengths) planning finds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from comms_pipeline.builtin_templates import TextChannel
from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.domain.message import MessageClass
from comms_pipeline.domain.sms import SmsEncoding, encoding
from comms_pipeline.planning.variables import PROVIDED
from comms_pipeline.previews.drafts import Draft
from comms_pipeline.previews.markup import SLOT, LiteralText, Page, literal_text, read_page

MAX_CHARACTERS = {TextChannel.SMS: 1_600, TextChannel.WHATSAPP: 4_096, TextChannel.MESSENGER: 2_000}
"""What Twilio takes in one message."""
_GMAIL_CLIPS_BYTES = 102 * 1024
_LONG_SUBJECT = 70
"""Characters; most inboxes show fewer."""
_FORBIDDEN_TAGS = frozenset({"script", "form", "iframe", "object", "embed", "audio", "video"})
"""What mail clients remove, or take for an attack."""
_OTHER_SCHEMES = ("mailto:", "tel:", "sms:")


class Severity(StrEnum):
    """An error must not be sent; a warning is worth a look."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing found; reads like an error: `culprit: problem. fix`."""

    severity: Severity
    culprit: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.culprit}: {self.problem}. {self.fix}"


def check(draft: Draft) -> list[Finding]:
    """Everything found in a draft, errors first. One that does not compile has that one error."""
    try:
        program = draft.compiled.program
    except TemplateError as error:
        return [_error(error.culprit, error.problem, error.fix)]
    found = list(_undeclared(draft))
    for part in draft.parts:
        literal = literal_text(program, part)
        if part == "html":
            page = read_page(literal)
            found += [*_structure(draft, page), *_links(page), *_pictures(page), *_size(draft, literal)]
        elif part == "subject":
            found += _subject(draft, literal)
        elif part == "text" and draft.channel is not TextChannel.EMAIL:
            found += _text_message(draft, literal)
        found += _required_by_law(draft, part, literal)
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def _error(culprit: str, problem: str, fix: str) -> Finding:
    return Finding(severity=Severity.ERROR, culprit=culprit, problem=problem, fix=fix)


def _warning(culprit: str, problem: str, fix: str) -> Finding:
    return Finding(severity=Severity.WARNING, culprit=culprit, problem=problem, fix=fix)


def _undeclared(draft: Draft) -> Iterator[Finding]:
    if draft.declared is None:
        return
    for name in sorted(draft.compiled.variables - draft.declared - PROVIDED):
        yield _error(
            draft.name, f"it reads '{name}', which its manifest lacks", "Describe it under 'variables:'"
        )


def _structure(draft: Draft, page: Page) -> Iterator[Finding]:
    for place, problem in page.misplaced:
        yield _error(place, problem, "Pair the tags, and keep each pair within one branch")
    for tag in page.tags:
        if tag.name in _FORBIDDEN_TAGS:
            yield _error(tag.place, f"mail clients remove <{tag.name}>", "Leave it out")
    if not any(tag.attributes.get("lang") for tag in page.named("html")):
        yield _warning(
            draft.parts["html"].name,
            "it does not say its language",
            'Write <html lang="en"> for screen readers',
        )
    if not page.named("title"):
        yield _warning(draft.parts["html"].name, "it has no <title>", "Add one to the head")


def _links(page: Page) -> Iterator[Finding]:
    for tag in page.tags:
        attribute = {"a": "href", "img": "src"}.get(tag.name, "")
        target = tag.attributes.get(attribute, "").strip() if attribute else SLOT
        if target.startswith(SLOT) or target.lower().startswith("https://"):
            continue
        if tag.name == "a" and target.lower().startswith(_OTHER_SCHEMES):
            continue
        shown = target.replace(SLOT, "…")[:60]
        problem = f"the link '{shown}' is not absolute and https" if shown else f"<{tag.name}> leads nowhere"
        yield _error(tag.place, problem, "Write the whole address, from https:// on")


def _pictures(page: Page) -> Iterator[Finding]:
    for tag in page.named("img"):
        if "alt" not in tag.attributes:
            yield _error(
                tag.place, "the picture has no alt text", 'Say what it shows, or write alt="" for decoration'
            )


def _size(draft: Draft, literal: LiteralText) -> Iterator[Finding]:
    size = len(literal.text.encode())
    if size > _GMAIL_CLIPS_BYTES:
        name = draft.parts["html"].name
        yield _warning(name, f"it has {size:,} bytes; Gmail cuts off after 102 KiB", "Shorten it")


def _subject(draft: Draft, literal: LiteralText) -> Iterator[Finding]:
    name = draft.parts["subject"].name
    if "\n" in literal.text.strip():
        yield _error(name, "the subject has several lines", "Write it on one line")
    if len(literal.text) > _LONG_SUBJECT:
        yield _warning(name, f"the subject is longer than {_LONG_SUBJECT} characters", "Shorten it")


def _text_message(draft: Draft, literal: LiteralText) -> Iterator[Finding]:
    name = draft.parts["text"].name
    limit = MAX_CHARACTERS[draft.channel]
    length = len(literal.text.replace(SLOT, ""))
    if length > limit:
        yield _error(
            name, f"it has {length:,} characters without any value; {limit:,} are allowed", "Shorten it"
        )
    if draft.channel is not TextChannel.SMS:
        return
    for offset, character in enumerate(literal.text):
        if character != SLOT and encoding(character) is SmsEncoding.UCS2:
            problem = f"'{character}' is not in GSM-7: a segment then holds 70 characters, not 160"
            yield _warning(literal.place(offset), problem, "Write it otherwise")
            break


def _required_by_law(draft: Draft, part: str, literal: LiteralText) -> Iterator[Finding]:
    """Marketing needs a way out and, in e-mail, a postal address: 15 U.S.C. 7704(a)(3), (a)(5); 47 CFR 64.1200."""
    if draft.message_class not in (MessageClass.MARKETING, None) or part not in ("html", "text"):
        return
    name = draft.parts[part].name
    # Of a file on its own nobody knows whether it is marketing.
    report = _error if draft.message_class else _warning
    if draft.channel is TextChannel.SMS:
        if "stop" not in literal.text.lower():
            yield _warning(name, "marketing SMS should say how to opt out", "Add 'Reply STOP to opt out'")
    elif draft.channel is TextChannel.EMAIL:
        variables = _read_by(draft, part)
        if "unsubscribe_url" not in variables:
            yield report(name, "marketing needs an unsubscribe link", "Add {{ unsubscribe_url }}")
        if "postal_address" not in variables:
            yield report(name, "marketing needs a postal address", "Add {{ postal_address }}")


def _read_by(draft: Draft, part: str) -> frozenset[str]:
    program = draft.compiled.program
    return frozenset().union(*(program.reads(node) for node in program.trees[part].body))
