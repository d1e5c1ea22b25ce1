"""A draft as one reader gets it: by example values, or by what a contact's record holds. Writes the files.

Personal data goes into these files and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from comms_pipeline.builtin_templates import TextChannel
from comms_pipeline.domain.sms import encoding, segments
from comms_pipeline.personalization.bodies import Bodies
from comms_pipeline.personalization.message import RenderedGroup
from comms_pipeline.previews.drafts import Draft

STAND_INS: Mapping[str, object] = {
    "unsubscribe_url": "https://example.com/unsubscribe",
    "preferences_url": "https://example.com/preferences",
    "confirm_url": "https://example.com/confirm",
    "postal_address": "Corner Bakery, 3 Oven Lane, Portland, ME 04101, USA",
    "organisation_name": "Corner Bakery",
    "sender_name": "Noor Haddad",
    "campaign_id": "preview",
    "message_language": "en",
    "name": "Ada",
    "email": "ada@example.com",
    "phone": "+12025550142",
    "language": "en",
    "time_zone": "America/New_York",
    "country": "US",
    "region": "ME",
    "postcode": "04101",
    "external_id": "1001",
    "contact_id": "preview",
}
"""Example values of what every message is given and every contact may have. No link of these does anything."""

_LIGHT_OR_DARK = "(prefers-color-scheme: dark)"
_HTML_ENDING = ".html"


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A message as it would arrive, by part (`subject`, `html`, `text`, or what fills a provider's own template)."""

    draft: Draft
    parts: Mapping[str, str]

    @property
    def text(self) -> str:
        """The text, or each variable of the provider's own template on a line: its words are not ours to know."""
        if "text" in self.parts or self.draft.channel is TextChannel.EMAIL:
            return self.parts.get("text", "")
        return "\n".join(f"{self.draft.parts[part].name}: {value}" for part, value in self.parts.items())

    @property
    def subject(self) -> str:
        """ "" where the message has none."""
        return " ".join(self.parts.get("subject", "").split())

    @property
    def summary(self) -> str:
        """Characters and, for SMS, segments; holds no personal data."""
        text = self.text
        if self.draft.channel is TextChannel.SMS:
            count = segments(text)
            plural = "" if count == 1 else "s"
            return f"{len(text):,} characters, {count} segment{plural} ({encoding(text)})"
        return f"{len(text):,} characters" if text else ""


def example_frame(draft: Draft) -> pl.DataFrame:
    """One row of example values; a variable without an example reads as its own name in brackets."""
    named = {name: f"[{name}]" for name in draft.compiled.variables}
    values = {**named, **STAND_INS, **draft.examples}
    return pl.DataFrame([{name: values[name] for name in [*named, *STAND_INS, *draft.examples]}])


def render(draft: Draft, frame: pl.DataFrame) -> Preview:
    """The message for the one row of `frame`. Raises `TemplateError`."""
    (group,) = draft.compiled.evaluate(frame)
    finished = _finished(group, frame)
    return Preview(draft=draft, parts={part: str(finished.join(part).item()) for part in finished.parts})


def _finished(group: RenderedGroup, recipients: pl.DataFrame) -> RenderedGroup:
    """The group as it leaves: CSS in the tags, a text part where the template has none, no tracking."""
    return Bodies().finish(group, recipients) if "html" in group.parts else group


def write(preview: Preview, folder: Path, *, stem: str = "preview", is_dark: bool = False) -> list[Path]:
    """Writes `preview.html` and `preview.txt`, or `preview.sms.txt` and the like; the paths, HTML first.

    The subject is the first line of an e-mail's text.
    With `is_dark` the page shows what it looks like in dark mode, whatever the reader's own setting is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    if "html" in preview.parts:
        page = preview.parts["html"]
        written.append(folder / f"{stem}{_HTML_ENDING}")
        written[-1].write_text(page.replace(_LIGHT_OR_DARK, "all") if is_dark else page, encoding="utf-8")
    if preview.draft.channel is not TextChannel.EMAIL:
        written.append(folder / f"{stem}.{preview.draft.channel}.txt")
        written[-1].write_text(preview.text, encoding="utf-8")
    elif "subject" in preview.parts or "text" in preview.parts:
        subject = f"Subject: {preview.subject}\n\n" if preview.subject else ""
        written.append(folder / f"{stem}.txt")
        written[-1].write_text(subject + preview.text, encoding="utf-8")
    return written
