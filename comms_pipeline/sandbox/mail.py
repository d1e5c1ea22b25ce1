"""What the recipient of an accepted mail/send gets: substitutions, links, the way out. Pure."""

import re
from html import unescape
from typing import Any, NamedTuple

Mail = dict[str, Any]
"""A decoded request body, or a part of one: foreign data."""

_ANCHOR = re.compile(r"(<a\b[^>]*?\bhref\s*=\s*[\"'](https?://[^\"']+)[\"'][^>]*>)(.*?)</a>", re.I | re.S)
_UNTRACKED = re.compile(r"\bclicktracking\s*=\s*[\"']?off\b", re.I)
_URL = re.compile(r"https?://[^\s<>\"']+")
_OPT_OUT = re.compile(r"unsubscrib|opt.?out|preferences", re.I)


class Rendered(NamedTuple):
    """One e-mail as its recipient gets it."""

    to: str
    sender: str
    reply_to: str
    subject: str
    text: str
    html: str
    headers: dict[str, str]


class Link(NamedTuple):
    """A link in a body; `is_opt_out` when it lets the reader out, which nobody clicks by chance.

    `is_tracked`: the provider counts its clicks. One that is not leads straight to where it says.
    """

    url: str
    is_opt_out: bool
    is_tracked: bool = True


def addresses(personalization: Mail) -> list[str]:
    """Whom a valid personalization goes to: to, cc, bcc."""
    if "cc" not in personalization and "bcc" not in personalization:
        return [to["email"] for to in personalization["to"]]
    return [to["email"] for kind in ("to", "cc", "bcc") for to in personalization.get(kind) or ()]


def substitute(personalization: Mail, text: str) -> str:
    """Plain text replacement, tag by tag in the order given."""
    for tag, value in (personalization.get("substitutions") or {}).items():
        text = text.replace(tag, value)
    return text


def subject(skeleton: Mail, personalization: Mail) -> str:
    """The subject as the recipient reads it."""
    return substitute(personalization, personalization.get("subject") or skeleton.get("subject") or "")


def render(skeleton: Mail, personalization: Mail, to: str) -> Rendered:
    """The whole e-mail. Substitutions reach subject, reply-to and bodies, never headers or arguments."""
    bodies = {part["type"]: part["value"] for part in skeleton.get("content") or ()}
    sender = personalization.get("from") or skeleton["from"]
    reply_to = skeleton.get("reply_to") or {}
    return Rendered(
        to=to,
        sender=_mailbox(sender),
        reply_to=substitute(personalization, _mailbox(reply_to)) if reply_to else "",
        subject=subject(skeleton, personalization),
        text=substitute(personalization, bodies.get("text/plain", "")),
        html=substitute(personalization, bodies.get("text/html", "")),
        headers={**(skeleton.get("headers") or {}), **(personalization.get("headers") or {})},
    )


def links(rendered: Rendered) -> list[Link]:
    """The http(s) links of the delivered body, in order, each once; of the HTML body when there is one."""
    if rendered.html:
        found = [
            Link(unescape(url), bool(_OPT_OUT.search(url + text)), not _UNTRACKED.search(tag))
            for tag, url, text in _ANCHOR.findall(rendered.html)
        ]
    else:
        found = [Link(url.rstrip(".,;)"), bool(_OPT_OUT.search(url))) for url in _URL.findall(rendered.text)]
    header = rendered.headers.get("List-Unsubscribe", "")
    once = {link.url: link for link in found}.values()
    return [link._replace(is_opt_out=link.is_opt_out or f"<{link.url}>" in header) for link in once]


def one_click_url(rendered: Rendered) -> str | None:
    """Where a one-click unsubscription is to be posted (RFC 8058), when the message offers one."""
    headers = {name.lower(): value for name, value in rendered.headers.items()}
    if "list-unsubscribe=one-click" not in headers.get("list-unsubscribe-post", "").lower():
        return None
    found = re.search(r"<(https?://[^>]+)>", headers.get("list-unsubscribe", ""))
    return found.group(1) if found else None


def _mailbox(person: Mail) -> str:
    name = person.get("name")
    return f"{name} <{person['email']}>" if name else str(person["email"])
