"""How fast a contact file is read: 1,000,000 rows of e-mail, US phone and six attributes.

Prints one line a figure: name, value, unit, baseline (what we promise), ratio (how many times better).
Run: python benchmarks/contact_import.py [rows]
"""

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from _report import peak_megabytes, report

from comms_pipeline.contacts.importer import read_contacts
from comms_pipeline.contacts.mapping import Consent, ContactMapping

ROWS = 1_000_000
PROMISED_SECONDS, PROMISED_MEGABYTES = 60.0, 1_000.0
HEADER = "email,phone,name,city,recency,spend,segment,is_member\n"


def lines(rows: int) -> Iterator[str]:
    """Synthetic people, the same ones every time."""
    chance = random.Random(1)
    for row in range(rows):
        phone = f"+1{chance.choice(('212', '415', '305', '702'))}555{row % 10_000:04d}"
        address = f"user{row}.{chance.randrange(999)}@mail{row % 997}.example.com"
        spend = f"{chance.random() * 500:.2f}"
        yield (
            f"{address},{phone},First{row % 1000} Last{row % 5000},City {row % 300},"
            f"{chance.randrange(1, 13)},{spend},seg{row % 5},{'true' if row % 3 else 'false'}\n"
        )


def main(rows: int) -> None:
    """Write the file, read it once, print the figures."""
    mapping = ContactMapping(organisation="benchmark", consent=Consent(source="benchmark"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.csv"
        with path.open("w", encoding="utf-8") as file:
            file.write(HEADER)
            file.writelines(lines(rows))
        started = time.perf_counter()
        contacts = sum(batch.contacts.height for batch in read_contacts(path, mapping, secret=b"benchmark"))
        seconds = time.perf_counter() - started
    if contacts != rows:
        raise SystemExit(f"{contacts} contacts of {rows} rows")
    promised_seconds = PROMISED_SECONDS * rows / ROWS
    report("contact_import_seconds", seconds, "s", promised_seconds, is_more_better=False)
    report("contact_import_rate", rows / seconds, "rows/s", ROWS / PROMISED_SECONDS)
    report("contact_import_peak_memory", peak_megabytes(), "MB", PROMISED_MEGABYTES, is_more_better=False)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
