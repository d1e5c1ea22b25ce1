"""What is wrong with the messages of a plan, found while it is made: nothing is queued until this is silent.

Everything is counted over the whole audience. What is counted how is the business of `personalization.body_checks`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from comms_pipeline.domain.campaign import CampaignSpec
from comms_pipeline.domain.errors import TemplateError
from comms_pipeline.domain.message import Channel, MessageClass
from comms_pipeline.personalization.body_checks import (
    messages_without,
    messages_without_words,
    unusable_links,
)
from comms_pipeline.personalization.message import CompiledMessage, RenderedGroup
from comms_pipeline.planning.context import SendContext
from comms_pipeline.planning.rendering import Rendered
from comms_pipeline.planning.templates import TemplateProblems
from comms_pipeline.planning.variables import PROVIDED

# RFC 5322, 2.1.1: a line has at most 998 octets, and not every relay folds.
_MAX_SUBJECT_BYTES = 998
# Beyond this no inbox shows it.
_LONG_SUBJECT_CHARACTERS = 150
# Gmail shows no more, and hides the unsubscribe link with the rest.
_CLIPPED_BYTES = 102_000
_LINE_BREAK = r"[\n\r\x0B\x0C\x1C-\x1E\x{85}\x{2028}\x{2029}]"
_MAX_CHARACTERS = {Channel.SMS: 1_600, Channel.WHATSAPP: 4_096}
"""What Twilio takes in one message."""
_NOT_IN_VARIABLES = r"[\n\r\t]| {5}"
_MAX_VARIABLE_CHARACTERS = 1_600


@dataclass(frozen=True, kw_only=True)
class Missing:
    """How many contacts lack what templates read, and for how many of them a fallback stands in."""

    contacts: int
    filled: int


@dataclass(frozen=True)
class _Finding:
    """Something wrong with a number of messages. Without a fix it is a warning."""

    culprit: str
    what: str
    fix: str = ""

    def problem(self, count: int) -> str:
        return f"{count:,} message{'' if count == 1 else 's'} {self.what}"


class Findings:
    """Gathers over all slices of a plan; `finish` raises when messages must not go out as they are."""

    def __init__(self, context: SendContext) -> None:
        self._spec = context.spec
        self._postal_address = context.postal_address
        self._counts: Counter[_Finding] = Counter()
        self._faults: dict[str, None] = {}
        self._lacking: Counter[str] = Counter()

    @property
    def missing(self) -> Mapping[str, Missing]:
        """By variable that some contact lacks a value for. Empty text counts as none."""
        fallbacks = self._spec.fallbacks
        return {
            name: Missing(contacts=count, filled=count if name in fallbacks else 0)
            for name, count in sorted(self._lacking.items())
        }

    @property
    def warnings(self) -> list[str]:
        """What to look at although messages may go out, one line each."""
        counted = [f"{f.culprit}: {f.problem(count)}" for f, count in self._counts.items() if not f.fix]
        return [*self._faults, *counted]

    def add(self, rendered: Rendered) -> None:
        """Look at one slice. Raises `TemplateError` for what no later slice can mend."""
        check_blanks(self._spec, rendered.message, rendered.frame, rendered.groups)
        self._lacking.update(_lacking(rendered))
        for fault in rendered.faults:
            self._faults[f"{_culprit(self._spec, rendered, 'html')}: {fault}"] = None
        for group in rendered.groups:
            for finding, count in self._found(rendered, group):
                if count:
                    self._counts[finding] += count

    def finish(self) -> None:
        """Raises `TemplateProblems` naming the worst finding over the whole audience, with all others."""
        errors = sorted(
            ((finding, count) for finding, count in self._counts.items() if finding.fix),
            key=lambda each: -each[1],
        )
        if errors:
            raise TemplateProblems([TemplateError(f.culprit, f.problem(count), f.fix) for f, count in errors])

    def _found(self, rendered: Rendered, group: RenderedGroup) -> Iterator[tuple[_Finding, int]]:
        channel = rendered.key[0]
        if channel is not Channel.EMAIL:
            for part in group.parts:
                culprit = _culprit(self._spec, rendered, part)
                if part == "text":
                    yield from _text_findings(culprit, channel, group)
                else:
                    yield from _variable_findings(culprit, part, group)
            return
        yield from _subject_findings(_culprit(self._spec, rendered, "subject"), group)
        yield from _page_findings(_culprit(self._spec, rendered, "html"), group, rendered.public_url)
        if self._spec.message_class is MessageClass.MARKETING:
            for part in ("html", "text"):
                culprit = _culprit(self._spec, rendered, part)
                yield from _marketing_findings(culprit, part, rendered, group, self._postal_address)


def _culprit(spec: CampaignSpec, rendered: Rendered, part: str) -> str:
    """Campaign, template and part; variant and language where there are several."""
    sources = rendered.message.program.sources
    template = sources[part].name if part in sources else f"{sources['html'].name} ({part} derived)"
    _, variant, language = rendered.key
    which = [variant] if variant else []
    which += [language] if len(spec.languages) > 1 else []
    return f"campaign {spec.id}, {' '.join([template, *which])}"


def _lacking(rendered: Rendered) -> dict[str, int]:
    """Contacts without a value, by variable."""
    values = rendered.values
    counts = {}
    for name in rendered.message.variables - PROVIDED:
        count = values.height
        if name in values.columns:
            is_missing = pl.col(name).is_null()
            if values.schema[name] == pl.String:
                is_missing |= pl.col(name) == ""
            count = int(values.select(is_missing.sum()).item())
        if count:
            counts[name] = count
    return counts


def _subject_findings(culprit: str, group: RenderedGroup) -> Iterator[tuple[_Finding, int]]:
    subject = group.join("subject")
    yield (
        _Finding(
            culprit, "with an empty subject", "Write one that needs nothing of the contact, or fallbacks"
        ),
        int((subject.str.strip_chars() == "").sum()),
    )
    yield (
        _Finding(culprit, "with a line break in the subject", "Take it out: {{ … | replace('\\n', ' ') }}"),
        int(subject.str.contains(_LINE_BREAK).sum()),
    )
    is_too_long = subject.str.len_bytes() > _MAX_SUBJECT_BYTES
    yield (
        _Finding(
            culprit,
            f"with a subject longer than {_MAX_SUBJECT_BYTES} bytes",
            "Shorten what contacts bring along: {{ … | truncate(80) }}",
        ),
        int(is_too_long.sum()),
    )
    yield (
        _Finding(culprit, f"with a subject longer than {_LONG_SUBJECT_CHARACTERS} characters"),
        int((~is_too_long & (subject.str.len_chars() > _LONG_SUBJECT_CHARACTERS)).sum()),
    )


def _page_findings(culprit: str, group: RenderedGroup, public_url: str) -> Iterator[tuple[_Finding, int]]:
    for where, count in unusable_links(group, public_url):
        fix = "Write absolute https addresses, also in the contacts' data"
        yield _Finding(culprit, f"with {where} that leads nowhere from an inbox", fix), count
    literal = sum(len(piece.encode()) for piece in group.parts["html"] if isinstance(piece, str))
    sizes = [pl.col(f"s{piece}").str.len_bytes() for piece in group.parts["html"] if isinstance(piece, int)]
    size = (
        group.slots.select(literal + pl.sum_horizontal(sizes)).to_series() if sizes else pl.Series([literal])
    )
    clipped = int((size > _CLIPPED_BYTES).sum()) * (1 if sizes else len(group.rows))
    yield _Finding(culprit, f"larger than {_CLIPPED_BYTES // 1000} KB, which Gmail clips"), clipped


def _marketing_findings(
    culprit: str, part: str, rendered: Rendered, group: RenderedGroup, postal_address: str
) -> Iterator[tuple[_Finding, int]]:
    # 15 U.S.C. 7704(a)(3) and (5): a way to opt out and a postal address, in what people read.
    link = '<a href="{{ unsubscribe_url }}">Unsubscribe</a>' if part == "html" else "{{ unsubscribe_url }}"
    urls = rendered.recipients["unsubscribe_url"][group.rows]
    yield (
        _Finding(culprit, "without an unsubscribe link", f"Add {link}"),
        messages_without(group, part, urls),
    )
    yield (
        _Finding(culprit, "without the postal address", "Add {{ postal_address }}"),
        messages_without_words(group, part, postal_address),
    )


def _text_findings(culprit: str, channel: Channel, group: RenderedGroup) -> Iterator[tuple[_Finding, int]]:
    text = group.join("text")
    yield (
        _Finding(
            culprit, "without any text", "Write something that needs nothing of the contact, or fallbacks"
        ),
        int((text.str.strip_chars() == "").sum()),
    )
    limit = _MAX_CHARACTERS[channel]
    yield (
        _Finding(
            culprit,
            f"longer than the {limit:,} characters that {channel} takes",
            "Shorten it, or what contacts bring along: {{ … | truncate(100) }}",
        ),
        int((text.str.len_chars() > limit).sum()),
    )


def _variable_findings(culprit: str, part: str, group: RenderedGroup) -> Iterator[tuple[_Finding, int]]:
    # What fills a Content template; Twilio's errors 21656 and 21658.
    text = group.join(part)
    yield (
        _Finding(
            culprit, "with nothing in it", "Write something that needs nothing of the contact, or fallbacks"
        ),
        int((text.str.strip_chars() == "").sum()),
    )
    yield (
        _Finding(
            culprit,
            "with a line break, a tab or five spaces in it, which WhatsApp refuses",
            "Take them out: {{ … | replace('\\n', ', ') }}",
        ),
        int(text.str.contains(_NOT_IN_VARIABLES).sum()),
    )
    yield (
        _Finding(
            culprit,
            f"longer than {_MAX_VARIABLE_CHARACTERS:,} characters",
            "Shorten what contacts bring along: {{ … | truncate(100) }}",
        ),
        int((text.str.len_chars() > _MAX_VARIABLE_CHARACTERS).sum()),
    )


def check_blanks(
    spec: CampaignSpec, message: CompiledMessage, frame: pl.DataFrame, groups: Sequence[RenderedGroup]
) -> None:
    """Check that no message says "None" for what its contact lacks: nobody wants to be "Dear None".

    `groups` are what `message` made of `frame`. Raises `TemplateError` naming what is lacking.
    """
    values = frame.select(name for name in frame.columns if name in message.variables)
    is_null = values.select(pl.all().is_null())
    # It may also be somebody's own word.
    own_words = values.select(
        pl.any_horizontal(False, _is_none(pl.col(pl.String))).fill_null(False)
    ).to_series()
    for group in groups:
        if group.slots.width:
            says_none = group.slots.select(pl.any_horizontal(_is_none(pl.all()))).to_series()
            rows = group.rows.filter(says_none)
            blank = is_null[rows].filter(~own_words[rows]).filter(pl.any_horizontal(False, pl.all()))
            if blank.height:
                names = " or ".join(f"'{name}'" for name in blank.columns if blank[name].any())
                raise TemplateError(
                    f"campaign {spec.id}",
                    f"{blank.height} messages would say 'None' to contacts without {names}",
                    "Say what to write instead under 'fallbacks:'",
                )


def _is_none(texts: pl.Expr) -> pl.Expr:
    return texts.str.to_lowercase() == "none"
