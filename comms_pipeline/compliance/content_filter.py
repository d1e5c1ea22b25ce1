"""What filters and carriers take offence at: phrases, shouting, links, pages that are one image, length.

Judges finished messages by parameters that the rule rows give. What law asks for is in `campaign_checks`. Evidence
names phrases of ours and hosts, never what a message says to somebody.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from comms_pipeline.compliance.campaign_facts import ADULT_MARK, Case, Check, Link, Sample
from comms_pipeline.domain.sms import segments

_ACTIVE_TAGS = frozenset({"script", "form", "iframe", "object", "embed"})
_EXCLAMATIONS = re.compile(r"!{3,}|\${3,}")
_WORD = re.compile(r"[^\W\d_]{4,}")
_FEW_WORDS = 20
"""Below this many words, a few in capitals are no shouting."""
_NUMERIC_HOST = re.compile(r"(?:0x[0-9a-f]+|[0-9]+)(?:\.(?:0x[0-9a-f]+|[0-9]+))*")
# What people take for an address of the web: with a scheme, "www.", or an ending they know.
_SHOWN_ADDRESS = re.compile(
    r"(?:https?://|www\.)?(?P<host>(?:[a-z0-9-]+\.)+(?:com|org|net|edu|gov|info|biz|app|dev|shop|example|[a-z]{2}))"
    r"(?:[/?#]\S*)?",
    re.IGNORECASE,
)
_SECOND_LEVEL = frozenset({"ac", "co", "com", "edu", "gov", "net", "or", "org"})
"""Names below a country's that belong to nobody: example.co.uk is not a part of co.uk."""


def phrases_in(text: str, phrases: Mapping[str, int]) -> list[str]:
    """The phrases that occur in a text as whole words, whatever their case and blanks, in the order given."""
    return [phrase for phrase in phrases if _pattern(phrase).search(text)]


@cache
def _pattern(phrase: str) -> re.Pattern[str]:
    words = r"\s+".join(map(re.escape, phrase.split()))
    return re.compile(rf"(?<!\w){words}(?!\w)", re.IGNORECASE)


def spam_phrases(case: Case) -> Iterator[str]:
    """The phrases of a message together weigh more than the limit."""
    for sample in case.samples:
        found = phrases_in(sample.words, case.phrases)
        total = sum(case.phrases[phrase] for phrase in found)
        if total > case.limit:
            heaviest = sorted(found, key=lambda phrase: -case.phrases[phrase])[:4]
            named = ", ".join(f"'{phrase}'" for phrase in heaviest)
            yield f"{sample.name}: {named} ({total} points, {case.limit} are tolerated)"


def shouting(case: Case) -> Iterator[str]:
    """More than the limit's percentage of the longer words is in capitals, or "!!!" and "$$$" occur."""
    for sample in case.samples:
        if mark := _EXCLAMATIONS.search(sample.words):
            yield f"{sample.name}: '{mark[0][:3]}'"
        words = _WORD.findall(sample.words.replace(ADULT_MARK.strip(": "), ""))
        capitals = sum(word.isupper() for word in words)
        if len(words) >= _FEW_WORDS and capitals * 100 > len(words) * case.limit:
            yield f"{sample.name}: {capitals} of {len(words)} words are in capitals"


def image_only(case: Case) -> Iterator[str]:
    """A page with images and fewer words than the limit."""
    for sample in case.samples:
        words = len(sample.page.text.split())
        if sample.page.images and words < case.limit:
            yield f"{sample.name}: the page shows {words} words beside its images"


def active_content(case: Case) -> Iterator[str]:
    """Scripts, forms and frames, which mail programs take for an attack."""
    for sample in case.samples:
        for tag in sorted(sample.page.tags & _ACTIVE_TAGS):
            yield f"{sample.name}: <{tag}>"
        if any(link.target.strip().lower().startswith(("javascript:", "data:")) for link in sample.links):
            yield f"{sample.name}: a link that runs a script or opens data"


def nameless_hosts(case: Case) -> Iterator[str]:
    """Links to a bare IP address, or with a name before an "@" that passes for the host."""
    for sample, link in _foreign_links(case):
        if _is_ip(link.host):
            yield f"{sample.name}: a link leads to the IP address {link.host}"
        elif "@" in urlsplit(link.target.strip()).netloc:
            yield f"{sample.name}: a link hides its host {link.host} behind an '@'"


def shorteners(case: Case) -> Iterator[str]:
    """Links through a shortener that everybody uses: the phrases are their hosts."""
    for sample, link in _foreign_links(case):
        if link.host.removeprefix("www.") in case.phrases:
            yield f"{sample.name}: {link.host}"


def plain_http(case: Case) -> Iterator[str]:
    """Links without encryption."""
    for sample, link in _foreign_links(case):
        if link.target.strip().lower().startswith("http://"):
            yield f"{sample.name}: a link to http://{link.host}"


def misleading_links(case: Case) -> Iterator[str]:
    """Links that show one domain and lead to another."""
    for sample, link in _foreign_links(case):
        shown = _SHOWN_ADDRESS.fullmatch(link.label)
        if shown and _domain(shown["host"].lower()) != _domain(link.host):
            yield f"{sample.name}: it shows {shown['host'].lower()} and leads to {link.host}"


def look_alike_hosts(case: Case) -> Iterator[str]:
    """Hosts in letters beyond ASCII, which may pass for others."""
    for sample, link in _foreign_links(case):
        if not link.host.isascii() or any(label.startswith("xn--") for label in link.host.split(".")):
            yield f"{sample.name}: {link.host}"


def too_many_segments(case: Case) -> Iterator[str]:
    """A text that takes more SMS segments than the limit."""
    for sample in case.samples:
        if (count := segments(sample.text)) > case.limit:
            yield f"{sample.name}: {count} segments, {case.limit} are plenty"


def too_long(case: Case) -> Iterator[str]:
    """A text of more characters than the limit, which the provider refuses."""
    for sample in case.samples:
        if len(sample.text) > case.limit:
            yield f"{sample.name}: {len(sample.text):,} characters, {case.limit:,} are taken"


def _foreign_links(case: Case) -> Iterator[tuple[Sample, Link]]:
    """Links to the web that are not our own: ours are as safe as the installation is."""
    own = case.facts.public_url.rstrip("/") + "/"
    for sample in case.samples:
        for link in sample.links:
            if link.host and not link.target.startswith(own):
                yield sample, link


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        # Browsers read these too: 0x7f.1, 2130706433.
        return _NUMERIC_HOST.fullmatch(host) is not None
    return True


def _domain(host: str) -> str:
    """What somebody registered: the last two labels of a host, three below such as co.uk."""
    labels = host.split(".")
    is_below_country = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3:] if is_below_country else labels[-2:])


CONTENT_CHECKS: Mapping[str, Check] = {
    "spam_phrases": spam_phrases,
    "shouting": shouting,
    "image_only": image_only,
    "active_content": active_content,
    "nameless_hosts": nameless_hosts,
    "shorteners": shorteners,
    "plain_http": plain_http,
    "misleading_links": misleading_links,
    "look_alike_hosts": look_alike_hosts,
    "too_many_segments": too_many_segments,
    "too_long": too_long,
}
"""By the name that rule rows give them."""
