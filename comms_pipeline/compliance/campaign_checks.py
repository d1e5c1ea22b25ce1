"""What law and carriers ask of a campaign as a whole: who sends, what the subject says, the way out, how many.

Pure checks over `CampaignFacts`; which of them hold where, and what failing costs, is in `campaign_rules.yaml`. Rules
for single contacts are elsewhere (`decide`). Evidence holds no word that is a recipient's own.
"""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from comms_pipeline.compliance.campaign_facts import ADULT_MARK, CampaignFacts, Case, Check, Sample
from comms_pipeline.compliance.content_filter import CONTENT_CHECKS, phrases_in
from comms_pipeline.domain.message import Channel
from comms_pipeline.domain.tiers import TIER_LIMITS

_WORDS = re.compile(r"\w+")
# In many languages: answer, forward.
_ANSWER = re.compile(r"\s*(?:re|fwd?|aw|wg|antw|sv|tr|rv|rif|odp)\s*(?:\[\d+\])?:", re.IGNORECASE)
_STOP = re.compile(r"\bSTOP\b|(?i:\b(?:reply|text|txt|send|respond)\s+(?:with\s+)?[\"']?stop\b)")
_RATES = re.compile(r"(?:msg|message|data)s?\b[^.]{0,30}\brates?\b", re.IGNORECASE)
_LETTERS_OF_A_SHOUT = 10
_DOUBLE_MARKS = re.compile(r"[!?$]{2,}")
# RFC 2606 and RFC 6761: nobody owns these, and nothing sent from them arrives.
_RESERVED = (
    ".example",
    ".example.com",
    ".example.net",
    ".example.org",
    ".test",
    ".invalid",
    ".localhost",
    ".local",
)


def postal_address_set(case: Case) -> Iterator[str]:
    """There is a postal address that says more than a word."""
    if len(_WORDS.findall(case.facts.postal_address)) < 2:
        yield "there is no postal address" if not case.facts.postal_address.strip() else "it is a single word"


def postal_address_shown(case: Case) -> Iterator[str]:
    """Page and text show the address; case, blanks and marks do not matter."""
    wanted = _spoken(case.facts.postal_address)
    for sample in case.samples if wanted.strip() else ():  # without one, `postal_address_set` fails
        for part, text in (("page", sample.page.text if sample.html else None), ("text", sample.text)):
            if text is not None and wanted not in _spoken(text):
                yield f"{sample.name}: the {part} does not show it"


def _spoken(text: str) -> str:
    return f" {' '.join(_WORDS.findall(text.casefold()))} "


def sender_name(case: Case) -> Iterator[str]:
    """The sender's name tells who it is: none of the phrases alone, and no address of another domain."""
    name = case.facts.from_name.strip()
    if name.casefold() in case.phrases:
        yield "the sender's name could be anybody's"
    _, at, domain = name.rpartition("@")
    if at and domain.strip(" >\"'").casefold() != _domain(case.facts):
        yield "the sender's name shows an address of another domain"


def sender_placeholder(case: Case) -> Iterator[str]:
    """The sender's domain is none of the phrases, which guides and generators leave behind."""
    if _domain(case.facts) in case.phrases:
        yield f"mail comes from {_domain(case.facts)}"


def sender_reserved(case: Case) -> Iterator[str]:
    """The sender's domain is one that somebody can own."""
    domain = _domain(case.facts)
    if f".{domain}".endswith(_RESERVED) or "." not in domain:
        yield f"mail comes from {domain}, a domain for examples"


def sender_freemail(case: Case) -> Iterator[str]:
    """The sender's domain is none of the phrases, the providers of mailboxes for everybody."""
    if _domain(case.facts) in case.phrases:
        yield f"mail comes from {_domain(case.facts)}, which only its own servers may send for"


def _domain(facts: CampaignFacts) -> str:
    return facts.from_email.rpartition("@")[2].casefold()


def unsubscribe_link(case: Case) -> Iterator[str]:
    """Page and text have a link of the recipient's own that ends it."""
    for sample in case.samples:
        targets = {link.target for link in sample.page.links}
        if sample.html and not any(url in targets or url in sample.page.text for url in sample.opt_out_urls):
            yield f"{sample.name}: the page has none"
        if not any(url in sample.text for url in sample.opt_out_urls):
            yield f"{sample.name}: the text has none"


def one_click(case: Case) -> Iterator[str]:
    """Messages carry List-Unsubscribe and List-Unsubscribe-Post."""
    if Channel.EMAIL not in case.facts.one_click:
        yield "messages carry no List-Unsubscribe header"


def links_reachable(case: Case) -> Iterator[str]:
    """Our own links are https and lead to a host that others can reach."""
    parts = urlsplit(case.facts.public_url)
    host = parts.hostname or ""
    if parts.scheme != "https":
        yield f"our own links begin with {parts.scheme}://"
    if host in ("localhost", "127.0.0.1", "::1", "0.0.0.0"):  # noqa: S104 (nothing is bound here)
        yield f"our own links lead to {host}, which only this machine reaches"


def sms_opt_out(case: Case) -> Iterator[str]:
    """The text says how to stop: STOP, or a link of the recipient's own."""
    for sample in case.samples:
        if not _STOP.search(sample.text) and not any(url in sample.text for url in sample.opt_out_urls):
            yield f"{sample.name}: neither STOP nor a link"


def sms_brand(case: Case) -> Iterator[str]:
    """The text names who sends: the whole name of sender or organisation, or a word of it that stands for it."""
    names = (case.facts.from_name, case.facts.organisation_name)
    wanted = {_spoken(name) for name in names}
    wanted |= {_spoken(word) for name in names for word in _WORDS.findall(name) if len(word) > 3}
    for sample in case.samples:
        if not any(word in _spoken(sample.text) for word in wanted):
            yield f"{sample.name}: it names neither sender nor organisation"


def sms_rates(case: Case) -> Iterator[str]:
    """The text says that message and data rates may apply."""
    for sample in case.samples:
        if not _RATES.search(sample.text):
            yield f"{sample.name}: it does not say so"


def subject_answer(case: Case) -> Iterator[str]:
    """The subject does not pass for an answer or something handed on."""
    for sample in case.samples:
        if mark := _ANSWER.match(_told(sample)):
            yield f"{sample.name}: it begins with '{mark[0].strip()}'"


def subject_phrases(case: Case) -> Iterator[str]:
    """The subject says none of the phrases."""
    for sample in case.samples:
        for phrase in phrases_in(_told(sample), case.phrases):
            yield f"{sample.name}: '{phrase}'"


def subject_shouting(case: Case) -> Iterator[str]:
    """At most the limit's percentage of the letters are capitals, and marks stand alone."""
    for sample in case.samples:
        letters = [letter for letter in _told(sample) if letter.isalpha()]
        capitals = sum(letter.isupper() for letter in letters)
        if len(letters) >= _LETTERS_OF_A_SHOUT and capitals * 100 > len(letters) * case.limit:
            yield f"{sample.name}: {capitals} of {len(letters)} letters are capitals"
        if mark := _DOUBLE_MARKS.search(_told(sample)):
            yield f"{sample.name}: '{mark[0][:3]}'"


def subject_length(case: Case) -> Iterator[str]:
    """The subject has at most so many characters."""
    for sample in case.samples:
        if len(sample.subject) > case.limit:
            yield f"{sample.name}: {len(sample.subject)} characters, {case.limit} are shown"


def _told(sample: Sample) -> str:
    """The subject without the mark that law wants in capitals."""
    return sample.subject.removeprefix(ADULT_MARK)


def adult_mark(case: Case) -> Iterator[str]:
    """Adult material says so at the beginning of the subject, and in the message."""
    if not case.facts.is_adult:
        return
    for sample in case.samples:
        if not sample.subject.startswith(ADULT_MARK):
            yield f"{sample.name}: the subject does not begin with it"
        shown = (sample.page.text,) if sample.html else ()
        if not all(ADULT_MARK.strip(" :") in text for text in (*shown, sample.text)):
            yield f"{sample.name}: the message does not say it"


def tier_recipients(case: Case) -> Iterator[str]:
    """The tier allows so many recipients."""
    allowed = TIER_LIMITS[case.facts.tier].recipients
    if allowed is not None and case.facts.audience_size is not None and case.facts.audience_size > allowed:
        yield f"{case.facts.audience_size:,} recipients; tier {case.facts.tier} allows {allowed:,}"


def was_rendered(case: Case) -> Iterator[str]:
    """There is somebody to look at a message of, on every channel."""
    for channel in case.facts.channels:
        if not any(sample.channel is channel for sample in case.facts.samples):
            yield f"nobody of the audience can be reached by {channel}: its message was not looked at"


CHECKS: Mapping[str, Check] = {
    "postal_address_set": postal_address_set,
    "postal_address_shown": postal_address_shown,
    "sender_name": sender_name,
    "sender_placeholder": sender_placeholder,
    "sender_reserved": sender_reserved,
    "sender_freemail": sender_freemail,
    "unsubscribe_link": unsubscribe_link,
    "one_click": one_click,
    "links_reachable": links_reachable,
    "sms_opt_out": sms_opt_out,
    "sms_brand": sms_brand,
    "sms_rates": sms_rates,
    "subject_answer": subject_answer,
    "subject_phrases": subject_phrases,
    "subject_shouting": subject_shouting,
    "subject_length": subject_length,
    "adult_mark": adult_mark,
    "tier_recipients": tier_recipients,
    "was_rendered": was_rendered,
    **CONTENT_CHECKS,
}
"""By the name that rule rows give them."""
