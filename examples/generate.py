"""Writes the examples' data files, the same bytes every time: `python examples/generate.py [FOLDER]`.

Everyone is invented. E-mail addresses end in `.example` (RFC 2606); telephone numbers are from ranges set
aside for fiction: 555-0100 to 555-0199 in North America, 020 7946 0xxx in London, 070-174 06 xx in Sweden.
A few rows are wrong on purpose (bad addresses, duplicates, no address at all), as real files are.
"""

import csv
import io
import sys
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from hashlib import blake2b
from pathlib import Path

Row = dict[str, str]

_FIRST_NAMES = """
    Ada Amara Aisha Andrés Bao Beatriz Caleb Chloë Dana Daniel Elena Emeka Farah Fiona Gabriel Grace Hana
    Hugo Imani Isaac Jasmine Jonas José Kavya Kenji Lars Leila Lucia Marcus María Mei Nadia Noah Olivia
    Omar Priya Quinn Rafael Rosa Samir Sofia Tariq Tess Uma Victor Wendy Yara Zoë
"""
_LAST_NAMES = """
    Abara Alvarez Becker Bianchi Chen Cohen Dahl Diaz Eriksen Fofana Fraser Garcia Gruber Haddad Hayes
    Ibrahim Ito Jensen Johnson Kaur Kim Larsen Lopez Mensah Meyer Nguyen Novak O'Brien Okafor Olsen Park
    Patel Quispe Rahman Reyes Rossi Sato Silva Singh Tanaka Torres Ueda Varga Walker Wong Yilmaz Young
    Zhang
"""
_AREA_CODES = """
    202 206 212 213 214 215 303 305 312 314 404 415 503 504 505 512 602 612 615 617 702 713 801 808 901
    907 919 416 604 902
"""
FIRST_NAMES, LAST_NAMES, AREA_CODES = (text.split() for text in (_FIRST_NAMES, _LAST_NAMES, _AREA_CODES))
MAILBOXES = ("postbox.example", "oakfield.example", "inbox.example", "riverside.example")


def roll(sides: int, *key: object) -> int:
    """A number from 0 to `sides` - 1 that depends on nothing but the key."""
    digest = blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % sides


def pick(choices: Sequence[str], *key: object) -> str:
    """One of the choices, by the key alone. Repeat a choice to make it likelier."""
    return choices[roll(len(choices), *key)]


def person(example: str, number: int) -> str:
    """A full name; 48 first and 48 last names, combined so that no two of a file are alike."""
    shift = roll(len(LAST_NAMES), example)
    first = FIRST_NAMES[number % len(FIRST_NAMES)]
    last = LAST_NAMES[(number + number // len(FIRST_NAMES) * 7 + shift) % len(LAST_NAMES)]
    return f"{first} {last}"


def mailbox(name: str, domain: str) -> str:
    """An address made of a name, in ASCII."""
    ascii_name = name.lower().translate(str.maketrans("áéíóëñ", "aeioen", "'"))
    return f"{ascii_name.replace(' ', '.')}@{domain}"


def telephone(number: int, lowest: int) -> str:
    """A number set aside for fiction, written one of the ways people write them."""
    if number % 40 == 17:
        return f"+44 20 7946 0{lowest + number % 500:03}"
    if number % 80 == 33:
        return f"+46701740{605 + (lowest + number // 80) % 95}"
    area = AREA_CODES[number % len(AREA_CODES)]
    line = 100 + lowest + number // len(AREA_CODES)
    styles = ("+1{}5550{}", "({}) 555-0{}", "{}-555-0{}", "+1 {} 555 0{}")
    return styles[number % len(styles)].format(area, line)


def guests() -> list[Row]:
    """The wedding's guest list."""
    diets = [""] * 9 + ["vegetarian", "vegetarian", "vegan", "gluten-free", "nut allergy", "halal", "kosher"]
    groups = ("Ana's family", "Ben's family", "the school friends", "the colleagues", "the neighbors")
    rows = []
    for number in range(320):
        name = person("wedding", number)
        reach = roll(20, "wedding reach", number)
        row = {
            "email": "" if reach < 3 else mailbox(name, pick(MAILBOXES, "wedding mail", number)),
            "name": name,
            "phone": "" if reach > 15 else telephone(number, 0),
            "dietary_requirements": pick(diets, "wedding diet", number),
            "plus_one": pick(("yes", "no", "no"), "wedding plus one", number),
            "rsvp_status": pick(["pending"] * 4 + ["confirmed"] * 5 + ["declined"], "wedding rsvp", number),
            "table_group": pick(groups, "wedding group", number),
            "language": pick(["en"] * 8 + ["es", "fr"], "wedding language", number),
        }
        rows.append(row)
    rows[41]["email"] = "kenji.at.postbox.example"
    rows[97]["email"] = "nadia@@oakfield.example"
    rows[150]["phone"] = "555-01"
    rows[203]["phone"] = "ask her mother"
    rows[260] |= {"email": "", "phone": ""}
    rows.insert(120, dict(rows[11]))
    rows.insert(240, rows[52] | {"email": rows[52]["email"].upper(), "table_group": "the neighbors"})
    return rows


def leads() -> list[Row]:
    """People who might sponsor the summit."""
    makers = (
        "Alder",
        "Basalt",
        "Cobalt",
        "Delta",
        "Ember",
        "Fathom",
        "Granite",
        "Harbor",
        "Indigo",
        "Juniper",
    )
    trades = ("Analytics", "Robotics", "Security", "Cloud", "Health", "Logistics", "Media", "Energy")
    titles = (
        "Head of Marketing",
        "VP Partnerships",
        "Chief Executive",
        "Events Manager",
        "Brand Director",
        "",
    )
    tags = ("past-sponsor", "speaker", "exhibitor", "newsletter", "startup", "enterprise", "local")
    # Scores lie within their level's band, in hundredths.
    bands = {"hot": (80, 100), "warm": (50, 80), "cold": (10, 50), "new": (0, 10)}
    rows = []
    for number in range(500):
        name = person("sponsor", number)
        maker, trade = pick(makers, "maker", number), pick(trades, "trade", number)
        level = pick(["hot"] * 3 + ["warm"] * 6 + ["cold"] * 8 + ["new"] * 3, "level", number)
        low, high = bands[level]
        chosen = sorted({pick(tags, "tag", number, turn) for turn in range(roll(4, "tags", number))})
        row = {
            "email": mailbox(name, f"{maker}-{trade}.example".lower()),
            "name": name,
            "company": "" if roll(25, "company", number) == 0 else f"{maker} {trade}",
            "intent_level": level,
            "intent_score": f"{(low + roll(high - low, 'score', number)) / 100:.2f}",
            "tags": ";".join(chosen),
            "title": pick(titles, "title", number),
        }
        rows.append(row)
    rows[77]["email"] = "hello at basalt"
    rows[301]["email"] = ""
    rows.insert(400, dict(rows[8]))
    return rows


def customers() -> list[Row]:
    """Customers with one open invoice each, as of 1 December 2026."""
    today = date(2026, 12, 1)
    rows = []
    for number in range(200):
        name = person("billing", number)
        overdue = (-14, -7, -1, 0, 3, 7, 8, 12, 21, 30, 45)[roll(11, "overdue", number)]
        invoice = f"NS-2026-{1001 + number}"
        reach = roll(10, "billing reach", number)
        row = {
            "external_id": f"C{50001 + number}",
            "email": "" if reach == 0 else mailbox(name, pick(MAILBOXES, "billing mail", number)),
            "name": name,
            "phone": "" if reach > 7 else telephone(number, 60),
            "preferred_channel": pick(("email", "email", "sms"), "preferred", number),
            "invoice_number": invoice,
            "amount_due": f"{25 + roll(2400, 'amount', number)}.{roll(100, 'cents', number):02}",
            "currency": pick(["USD"] * 8 + ["CAD", "EUR"], "currency", number),
            "due_date": (today - timedelta(days=overdue)).isoformat(),
            "days_overdue": str(max(overdue, 0)),
            "payment_url": f"https://pay.northfield.example/i/{invoice.lower()}",
        }
        rows.append(row)
    rows[64]["email"] = "accounts@"
    rows[133]["phone"] = "+1 202 555"
    return rows


FILES: dict[str, Callable[[], list[Row]]] = {
    "wedding/guests.csv": guests,
    "sponsor/leads.csv": leads,
    "billing/customers.csv": customers,
}


def content(name: str) -> bytes:
    """The bytes of one data file: UTF-8, comma-separated, lines end in LF."""
    rows = FILES[name]()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def main() -> None:
    """Write every data file below the folder given, or below this file's."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name in FILES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(name))


if __name__ == "__main__":
    main()
