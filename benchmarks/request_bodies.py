"""Speed from contacts to finished SendGrid request bodies of 1,000, beside a row-by-row program, on an 8 KB e-mail.

Both hash addresses, sign a link for each recipient, put it into text and headers, and end with the bytes of the
requests: ours as columns (skeleton and slots), the baseline with plain Jinja2 (no sandbox, optimized), a dictionary
per recipient and orjson. Figures are recipients per second of processor time, all threads counted: what one core does.
Promised: 150,000 a second. Run: python benchmarks/request_bodies.py [contacts]
"""

import hashlib
import sys
from collections.abc import Iterator
from typing import Any

import jinja2
import orjson
import polars as pl
from _offer import LINKED_HTML, contacts
from _report import processor_seconds, report

from comms_pipeline.domain.addresses import address_key, address_keys
from comms_pipeline.domain.content import Content
from comms_pipeline.domain.message import Channel, message_ids
from comms_pipeline.domain.tokens import Purpose, TokenKeys
from comms_pipeline.personalization.message import CompiledMessage, TemplateSource, compile_message
from comms_pipeline.planning.rendering import SLICE
from comms_pipeline.providers.base import Envelope
from comms_pipeline.providers.sendgrid_send import request_body

CONTACTS = 200_000
SAMPLE = 5_000
BATCH = 1_000
PROMISED = 150_000.0
SUBJECT = "{{ subject_line|title }}"
POSTAL_ADDRESS = "1 Harbor Lane, Portland"
SECRET = b"benchmark"
KEYS = TokenKeys.from_secret(SECRET)
URL = "https://mail.lakeside.example/u/"
SENDER = {"email": "club@lakeside.example", "name": "The Club"}


def audience(count: int) -> pl.DataFrame:
    """The contacts of the e-mail, with ids and addresses."""
    return contacts(count).with_columns(
        contact_id=pl.Series([hashlib.md5(str(number).encode()).hexdigest() for number in range(count)]),
        address=pl.format("Person.{}@mail.example.com", pl.int_range(count)),
        postal_address=pl.lit(POSTAL_ADDRESS),
    )


def columnar(message: CompiledMessage, people: pl.DataFrame) -> Iterator[bytes]:
    """Our way, by the same calls as planning and dispatch make."""
    recipients = people.select("contact_id", "address").with_columns(
        message_id=pl.Series(message_ids("benchmark", people["contact_id"].to_list(), Channel.EMAIL)),
        address_key=address_keys(people["address"], Channel.EMAIL, SECRET),
    )
    tokens = KEYS.sign_column(
        Purpose.UNSUBSCRIBE,
        organisation_id="club",
        channel=Channel.EMAIL,
        message_ids=recipients["message_id"],
        contact_ids=recipients["contact_id"],
        address_keys=recipients["address_key"],
    )
    recipients = recipients.with_columns(unsubscribe_url=URL + tokens)
    for group in message.evaluate(people.with_columns(recipients["unsubscribe_url"])):
        content = Content(
            campaign_id="benchmark",
            parts=group.parts,
            sender=SENDER["email"],
            sender_name=SENDER["name"],
            has_one_click=True,
        )
        for part in recipients[group.rows].hstack(group.slots).iter_slices(BATCH):
            envelope = Envelope(
                batch_id=1, send_id="benchmark", organisation_id="club", content=content, recipients=part
            )
            yield request_body(envelope, nonce="0a1b2c3d4e5f")


def row_by_row(templates: dict[str, jinja2.Template], rows: list[dict[str, Any]]) -> Iterator[bytes]:
    """What a plain program does: every text of every recipient in full, orjson once for 1,000 of them."""
    ids = message_ids("benchmark", (row["contact_id"] for row in rows), Channel.EMAIL)
    for start in range(0, len(rows), BATCH):
        mails = []
        for row, message_id in zip(rows[start : start + BATCH], ids[start : start + BATCH], strict=True):
            token = KEYS.sign(
                Purpose.UNSUBSCRIBE,
                organisation_id="club",
                channel=Channel.EMAIL,
                message_id=message_id,
                contact_id=row["contact_id"],
                address_key=address_key(row["address"], Channel.EMAIL, SECRET),
            )
            values = row | {"unsubscribe_url": URL + token}
            mails.append(
                {
                    "to": [{"email": row["address"]}],
                    "from": SENDER,
                    "custom_args": {"comms_message": message_id, "comms_org": "club"},
                    "headers": {
                        "List-Unsubscribe": f"<{URL}{token}>",
                        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                    },
                    "subject": templates["subject"].render(values),
                    "html": templates["html"].render(values),
                }
            )
        yield orjson.dumps(mails)


def filled(bodies: Iterator[bytes]) -> dict[str, tuple[str, str]]:
    """Subject and HTML by address, as SendGrid makes them of our requests."""
    found = {}
    for body in map(orjson.loads, bodies):
        for personalization in body["personalizations"]:
            texts = [body["subject"], body["content"][0]["value"]]
            for tag, value in personalization["substitutions"].items():
                texts = [text.replace(tag, value) for text in texts]
            found[personalization["to"][0]["email"]] = (texts[0], texts[1])
    return found


def main(count: int) -> int:
    """Prints the figures; 1 if any recipient would read something else than row by row."""
    people = audience(count)
    rows = people.head(SAMPLE).to_dicts()
    message = compile_message(
        {
            "subject": TemplateSource(name="subject", text=SUBJECT, is_html=False),
            "html": TemplateSource(name="offer.html", text=LINKED_HTML, is_html=True),
        }
    )
    templates = {
        "subject": jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(SUBJECT),
        "html": jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
            LINKED_HTML
        ),
    }
    expected = {
        mail["to"][0]["email"]: (mail["subject"], mail["html"])
        for body in row_by_row(templates, rows)
        for mail in orjson.loads(body)
    }
    if filled(columnar(message, people.head(SAMPLE))) != expected:
        print("error: messages differ from those made row by row", file=sys.stderr)
        return 1
    baseline = len(rows) / processor_seconds(lambda: sum(map(len, row_by_row(templates, rows))))
    ours = count / processor_seconds(
        lambda: sum(len(body) for part in people.iter_slices(SLICE) for body in columnar(message, part))
    )
    report("request_bodies", ours, "recipients/s", baseline)
    report("request_bodies_promised", ours, "recipients/s", PROMISED)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else CONTACTS))
