"""The e-mail of the benchmarks and its audience: 8 KB of HTML, ten variables, two conditionals. Measures nothing."""

from datetime import date
from decimal import Decimal

import polars as pl

_PARAGRAPH = """
  <tr><td style="padding:0 24px 16px;font:400 16px/24px Helvetica,Arial,sans-serif;color:#1f2937">
    A quieter week gives time to look at what is new: better seats, later trains and a table by the window.
    Everything below is picked for you, and nothing in it is urgent. Reply to this message at any time.
  </td></tr>"""
HTML = (
    """<!doctype html>
<html lang="{{ language }}"><head><title>{{ subject_line|title }}</title></head>
<body style="margin:0;background:#f3f4f6"><table role="presentation" width="600" align="center">
  <tr><td><h1>Hello {{ first_name|default('there', true)|capitalize }},</h1></td></tr>
  <tr><td>{{ company }} has been with us since {{ joined }}. Your number is {{ member_id|upper }}.</td></tr>"""
    + _PARAGRAPH * 11
    + """
  {% if is_member %}<tr><td>You have {{ points }} points, worth {{ points * 0.01 }} {{ currency }}.</td></tr>
  {% else %}<tr><td><a href="https://example.com/join?from={{ city|urlencode }}">Join in {{ city }}</a></td></tr>
  {% endif %}"""
    + _PARAGRAPH * 7
    + """
  {% if balance > 100 %}<tr><td>Your balance of {{ balance }} {{ currency }} is due.</td></tr>{% endif %}"""
    + _PARAGRAPH * 4
    + """
</table></body></html>
"""
)
LINKED_HTML = HTML.replace(
    "</table></body>",
    '<tr><td>{{ postal_address }}<br><a href="{{ unsubscribe_url }}">Unsubscribe</a></td></tr></table></body>',
)
"""The same as marketing: with a postal address and a way out, signed for each recipient."""


def contacts(count: int) -> pl.DataFrame:
    """An audience with accents, quotes, nulls and every type the template reads."""
    names = ["anna", "JOSÉ", "o'brien", "Li & Co", "", "zoë", "marie-claire", "Tom"]
    numbers = range(count)
    return pl.DataFrame(
        {
            "first_name": [None if i % 50 == 0 else names[i % 8] + str(i % 977) for i in numbers],
            "company": [f"Firm {i % 5003} <GmbH>" if i % 20 == 0 else f"Firm {i % 5003}" for i in numbers],
            "joined": [date(2015 + i % 10, 1 + i % 12, 1 + i % 28) for i in numbers],
            "member_id": [f"ab{i:07d}" for i in numbers],
            "subject_line": ["autumn offers for you" if i % 3 else "a table by the window" for i in numbers],
            "language": ["en" if i % 2 else "de" for i in numbers],
            "points": [i % 4000 for i in numbers],
            "currency": ["EUR" if i % 3 else "CHF" for i in numbers],
            "city": ["Zürich" if i % 7 == 0 else "Bern" for i in numbers],
            "is_member": [i % 3 == 0 for i in numbers],
            "balance": [Decimal(i % 20_000) / 100 for i in numbers],
        },
        schema_overrides={"balance": pl.Decimal(12, 2)},
    )
