# ruff: noqa: E501  # templates and texts stay on one line
"""The law on messages as people write them: invitations, invoices, reminders, digests, SMS. And on hostile data."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal

import polars as pl
import pytest

_FRAME = pl.DataFrame(
    {
        "first_name": ["Ann", "José", None, "o'Brien & <Co>", "שרה", ""],
        "last_name": ["Lee", "García", "Meier", "X", "כהן", "Li"],
        "email": ["a@x.org", "j+1@x.org", "m@x.org", "o@x.org", "s@x.org", "l@x.org"],
        "language": ["en", "es", "de", "en", "he", "de"],
        "is_member": [True, False, True, False, True, False],
        "plan": ["gold", "free", "silver", "free", "gold", None],
        "points": [1200, 0, 35, 1, 999, 0],
        "balance": [Decimal("120.50"), Decimal("0.00"), Decimal("-3.10"), Decimal("19.99"), Decimal("5.00"), Decimal("7.25")],
        "rate": [0.125, 1.0, 0.333333333, 2.5, 1e-7, 12.0],
        "due_on": [date(2026, 1, 31), date(2026, 2, 1), None, date(2026, 3, 15), date(2026, 12, 24), date(2027, 1, 1)],
        "seen_at": [datetime.fromisoformat(f"2026-0{month}-02T08:30:00") for month in range(1, 7)],
        "address": [{"city": city, "zip": zip_code} for city, zip_code in
                    [("Bern", "3000"), ("Sevilla", "41001"), ("Zürich", "8001"), ("Cork", "T12"), ("תל אביב", "61000"), ("Basel", None)]],
        "guests": [["Tom", "Kim"], [], ["Zoë"], ["A", "B", "C"], ["<i>"], []],
        "lines": [[{"title": "Seat", "quantity": 2, "price": 9.5}, {"title": "Tea & cake", "quantity": 1, "price": 3.25}]] * 3
        + [[]] * 2 + [[{"title": "<b>Desk</b>", "quantity": 3, "price": 100.0}]],
        "currency": ["EUR", "CHF", "eur", "JPY", "ILS", "KWD"],
        "zone": ["Europe/Berlin", None, "America/New_York", "Asia/Tokyo", "UTC", "Europe/Zurich"],
        "starts_at": ["2026-06-20T13:30:00Z", "2026-06-20T15:30:00+02:00", "2026-06-20 15:30", "2026-12-31T23:59:59Z", "2026-06-20T13:30:00Z", "2026-06-20T13:30:00Z"],
        "phone": ["+41311234567", "+34955123456", "031 123 45 67", "nobody", "+97231234567", "<+1>"],
        "order_id": ["A-1", "A-2", "A-3", "A-4", "A-5", "A-6"],
        "token": ["a/b c", "d?e=f", "ü", "-s1-", "{{ x }}", "%41"],
    }
)  # fmt: skip
_INCLUDES = {
    "layout.html": "<!doctype html><html lang=\"{{ language|default('en') }}\"><title>{% block title %}News{% endblock %}</title>\n"
    "<body>{% block body %}{% endblock %}{% include 'footer.html' %}</body></html>\n",
    "footer.html": '<hr>{{ address.city }} · <a href="https://x.org/u/{{ token|urlencode }}">Unsubscribe</a>\n',
    "issue.html": "{% extends 'layout.html' %}{% block title %}{{ seen_at|date('MMMM y') }}{% endblock %}{% block body %}<ul>{% block items %}<li>{{ seen_at|datetime('short') }}</li>{% endblock %}</ul>{% endblock %}",
    "buttons.html": '{% macro button(url, label) %}<a class="b" href="{{ url }}">{{ label }}</a>{% endmacro %}',
}
_CORPUS = {
    "invitation": "{% extends 'layout.html' %}{% block title %}You are invited, {{ first_name|default('friend', true) }}{% endblock %}"
    "{% block body %}<p>Dear {{ first_name|default('friend', true)|title }},</p>{% if guests %}<p>and {{ guests|join(', ') }}</p>{% endif %}{% endblock %}",
    "invoice": "Invoice {{ order_id }}\n{% for line in lines %}{{ loop.index }}. {{ line.title }} {{ line.quantity }} × {{ '%.2f'|format(line.price) }}\n"
    "{% else %}Nothing ordered\n{% endfor %}Total {{ '%.2f'|format(lines|sum(attribute='price')) }}{% if balance < 0 %} CR{% endif %}\n",
    "reminder": "{% if due_on %}Due {{ due_on }} ({{ due_on.strftime('%d.%m.%Y') }}){% else %}No date{% endif %}: {{ balance }} EUR",
    "greeting by language": "{% if language == 'de' %}Guten Tag {{ last_name }}{% elif language == 'es' %}Hola {{ first_name }}{% else %}Hello {{ first_name }}{% endif %}!",
    "plan table": "{% set names = {'gold': 'Gold ★', 'silver': 'Silver', 'free': 'Free'} %}{{ names.get(plan, 'none') }}",
    "points": "You have {{ points }} point{{ 's' if points != 1 }}{% if points >= 1000 %} 🎉{% endif %} = {{ (points * 0.01)|round(2) }} EUR",
    "sms reminder": "{{ first_name|default('Hi', true)|truncate(12, true, '') }}: {{ order_id }} {{ balance }} due {{ due_on }}. Reply STOP to end",
    "sms code": "Your code is {{ order_id|replace('A-', '90') }}.",
    "preheader": "{% set preheader %}{{ guests|length }} guests, {{ points }} points{% endset %}<div hidden>{{ preheader }}</div>{{ preheader|upper }}",
    "address": "{{ last_name|upper }} {{ first_name }}\n{{ address.zip }} {{ address.city|upper }}\n",
    "buttons": "{% from 'buttons.html' import button %}{{ button('https://x.org/?t=' ~ token|urlencode, 'Open ' ~ order_id) }}{{ button('https://x.org', '<Home>') }}",
    "guest list": "{% for guest in guests|sort %}{% if not loop.first %}{{ ' and ' if loop.last else ', ' }}{% endif %}{{ guest }}{% endfor %}",
    "first guest": "{% if guests %}{{ guests[0] }}{% if guests|length > 1 %} + {{ guests|length - 1 }}{% endif %}{% else %}nobody{% endif %}",
    "member block": "{% if is_member and plan in ['gold', 'silver'] %}<b>{{ plan|capitalize }}</b>{% elif not is_member %}Join{% endif %}",
    "initials": "{{ last_name[0] }}.{{ (first_name or 'N')[0]|upper }}.",
    "debug": "{{ guests }} {{ address }} {{ rate }} {{ balance }} {{ is_member }} {{ seen_at }} {{ due_on }}",
    "json-ld": "<script type=\"application/ld+json\">{\"name\": {{ first_name|tojson }}, \"total\": {{ rate }}}</script>",
    "tracking link": "https://x.org/c?e={{ email|urlencode }}&amp;o={{ order_id }}&t={{ token|urlencode }}",
    "comparison": "{{ 'early' if seen_at.hour < 9 else 'late' }} {{ rate > 1 }} {{ points == 0 }} {{ plan is none }} {{ nothing is defined }}",
    "missing": "{{ nickname|default(first_name)|default('x') }} {{ company|d('') }}{% if coupon is defined %}{{ coupon }}{% endif %}",
    "whitespace": "  {%- if is_member %}\n  member  \n{% else -%}\n  guest\n  {%- endif %}\n\n",
    "escaping": "{{ first_name|e }} {{ '<br>'|safe }} {{ first_name ~ '<br>' }} {{ ('<i>' ~ last_name)|striptags }} {{ guests|join('<br>') }}",
    "macro": "{% macro money(x) %}{{ '%.2f'|format(x) }} €{% endmacro %}{{ money(rate) }} / {{ money(points) }} / {{ money(balance) }}",
    "nested loops": "{% for guest in guests %}{% for line in lines %}{{ guest[0] }}{{ line.title }};{% endfor %}{% endfor %}",
    "arithmetic": "{{ points + 1 }} {{ points - 2000 }} {{ points // 7 }} {{ points % 7 }} {{ points / 4 }} {{ rate * points }} {{ -rate }}",
    "digest": "{% for key, rows in lines|groupby('quantity') %}{{ key }}: {{ rows|map(attribute='title')|join(', ') }}\n{% endfor %}",
    "wedding": "{% extends 'layout.html' %}{% block title %}{{ starts_at|date('d MMMM y', language) }}{% endblock %}{% block body %}<h1>{{ first_name|default('Dear guest', true) }}"
    "{% if guests %} &amp; {{ guests|join(' & ') }}{% endif %}</h1><p>{{ starts_at|date('EEEE, d MMMM', language, zone) }}, {{ starts_at|time(locale=language, zone=zone) }}</p>"
    "<p>{{ phone|phone('international') }}</p>{% endblock %}",
    "invoice with amounts": "{{ order_id }} {{ due_on|default('2026-01-01', true)|date('long') }}\n{% for line in lines %}{{ line.quantity }} × {{ line.title }} {{ line.price|currency(currency) }}"
    " = {{ (line.quantity * line.price)|currency(currency) }}\n{% else %}Nothing ordered\n{% endfor %}{{ balance|currency(currency) }}",
    "payment reminder": "{% if balance > 0 %}{{ balance|currency('EUR') }} {% if due_on %}by {{ due_on|date('full') }}{% else %}now{% endif %}{% else %}Nothing due, credit {{ -balance }}{% endif %}",
    "newsletter": "{% extends 'issue.html' %}{% block title %}{{ super() }} for {{ first_name|default('you', true) }}{% endblock %}"
    "{% block items %}{{ super() }}{% if is_member %}<li>{{ points }} points = {{ (points * 0.01)|currency('EUR', 'de') }}</li>{% endif %}{% endblock %}",
    "sms amount": "{{ first_name|default('Hi', true)|truncate(12, true, '') }}, {{ balance|currency(currency) }} is due {{ due_on|default('2026-01-01', true)|date('short') }}. Call {{ phone|phone }}",
    "signature": "{% set team = 'The ' ~ (plan or 'free')|title ~ ' team' %}-- \n{{ team }}\n{{ team|length }}\n",
}  # fmt: skip


@pytest.mark.parametrize("name", _CORPUS)
def test_realistic_message_equals_jinja2(law: Callable[..., list[str] | None], name: str) -> None:
    texts = law(_FRAME, includes=_INCLUDES, subject="{{ order_id }}", html=_CORPUS[name], text=_CORPUS[name])
    assert texts is not None
    assert len(texts) == 6


@pytest.mark.parametrize("language", ["de-CH", "he", "xx"])
@pytest.mark.parametrize(
    "name", ["wedding", "invoice with amounts", "payment reminder", "newsletter", "sms amount"]
)
def test_realistic_message_in_another_language_equals_jinja2(
    law: Callable[..., list[str] | None], name: str, language: str
) -> None:
    texts = law(_FRAME, includes=_INCLUDES, language=language, html=_CORPUS[name], text=_CORPUS[name])
    assert texts is not None


def test_what_a_payment_reminder_says(law: Callable[..., list[str] | None]) -> None:
    assert law(_FRAME, language="de", text=_CORPUS["payment reminder"]) == [
        "120,50 € by Samstag, 31. Januar 2026",
        "Nothing due, credit 0.00",
        "Nothing due, credit 3.10",
        "19,99 € by Sonntag, 15. März 2026",
        "5,00 € by Donnerstag, 24. Dezember 2026",
        "7,25 € by Freitag, 1. Januar 2027",
    ]


_HOSTILE = [
    "{{ 7*7 }}",
    "{% raw %}",
    "{# x",
    "-s1-",
    "s0",
    "a\r\nBcc: x@y.example",
    "<script>alert('1')</script>",
    "&amp;\"'",
    "\u202eאבג",
    "👩‍👩‍👧",
    "\x00\ufeff",
    "%s %(x)s {0} $1 \\1",
]
_TEXT_COLUMNS = ["first_name", "last_name", "email", "language", "plan", "phone", "order_id", "token"]


def _hostile_frame() -> pl.DataFrame:
    """Contacts whose every text is hostile, in fields and lists too; codes and dates are in order."""
    frame = _FRAME[[0] * len(_HOSTILE)]
    hostile = pl.Series(_HOSTILE)
    return frame.with_columns(
        *[hostile.alias(name) for name in _TEXT_COLUMNS],
        pl.struct(city=hostile, zip=hostile).alias("address"),
        pl.Series("guests", [[text, text] for text in _HOSTILE]),
        pl.Series("lines", [[{"title": text, "quantity": 1, "price": 2.5}] for text in _HOSTILE]),
    )


@pytest.mark.parametrize("name", _CORPUS)
def test_hostile_data_stays_data_in_realistic_messages(
    law: Callable[..., list[str] | None], name: str
) -> None:
    subject = "{{ first_name }} {{ phone|phone }} {{ 7|currency('EUR', language) }}"
    texts = law(_hostile_frame(), includes=_INCLUDES, html=_CORPUS[name], text=_CORPUS[name], subject=subject)
    assert texts == [f"{text} {text} €7.00" for text in _HOSTILE]


def test_hostile_markup_is_escaped_in_html_alone(law: Callable[..., list[str] | None]) -> None:
    template = "{% for guest in guests %}{{ guest }}{% endfor %}{{ phone|phone }}"
    frame = _hostile_frame().filter(pl.col("first_name").str.starts_with("<script>"))
    script = "<script>alert('1')</script>"
    escaped = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"
    assert law(frame, text=template, html=template) == [escaped * 3]
    assert law(frame, html=template, text=template) == [script * 3]


@pytest.mark.parametrize("name", _CORPUS)
def test_null_everywhere_fails_or_equals_jinja2(law: Callable[..., list[str] | None], name: str) -> None:
    nothing = _FRAME.clear(2)
    texts = law(nothing, includes=_INCLUDES, html=_CORPUS[name], text=_CORPUS[name])
    assert texts is None or (len(texts) == 2 and texts[0] == texts[1])


def test_defaults_carry_a_message_over_nulls(law: Callable[..., list[str] | None]) -> None:
    template = (
        "{{ first_name|default('friend', true) }}: {{ balance|default(0, true)|currency(currency|default('EUR', true)) }}"
        "{% if due_on %} by {{ due_on|date }}{% endif %} {{ starts_at|default('2026-06-20', true)|date(locale=language, zone=zone) }}"
    )
    assert law(_FRAME.clear(1), language="de", text=template) == ["friend: 0,00 € 20.06.2026"]


def test_parts_and_rows_with_a_small_group_limit_equal_jinja2(law: Callable[..., list[str] | None]) -> None:
    everything = "\n".join(text for text in _CORPUS.values() if "extends" not in text)
    assert law(_FRAME, includes=_INCLUDES, max_groups=2, html=everything, text=everything) is not None
