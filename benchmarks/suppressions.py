"""How long it takes to ask which of many addresses are suppressed, of 5,000,000 that are.

As before every request and every plan: 1,000 keys in one question, and 100,000; a tenth of them suppressed, all of them
different in every round. The rows are filled in the order of the index, as a restored ledger has them. Figures are
milliseconds by the clock, from the keys to the set of answers, Postgres on the same machine. Promised: 30 ms for 1,000.
Run: python benchmarks/suppressions.py [rows]
"""

import hashlib
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from _report import report
from single_messages import open_ledger

from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger import launcher, suppressions
from comms_pipeline.ledger.server import connect

ROWS = 5_000_000
FEW, MANY = 1_000, 100_000
ROUNDS_OF_FEW, ROUNDS_OF_MANY = 300, 20
PROMISED_MILLISECONDS = 30.0
HITS_OF = 10
FILL = """
    insert into suppression (organisation_id, channel, address_key, reason, source, scope)
    select case n %% 4 when 0 then '*' else 'acme' end, 'email', decode(md5(n::text), 'hex'), 'unsubscribed',
           'benchmark', case n %% 2 when 0 then 'all' else 'marketing' end
    from generate_series(1, %(rows)s) as n
    order by 1, 2, 3
"""


def key(number: int) -> bytes:
    """As `FILL` makes them."""
    return hashlib.md5(str(number).encode(), usedforsecurity=False).digest()


def milliseconds(connection: psycopg.Connection, rows: int, keys: int, rounds: int) -> list[float]:
    """How long each round took."""
    chance = random.Random(1)
    hits = keys // HITS_OF
    found = []
    for _ in range(rounds):
        numbers = [chance.randrange(1, rows + 1) for _ in range(hits)]
        numbers += [chance.randrange(rows + 1, 1_000 * rows) for _ in range(keys - hits)]
        chance.shuffle(numbers)
        asked = [key(number) for number in numbers]
        started = time.perf_counter()
        answer = suppressions.suppressed(connection, "acme", Channel.EMAIL, asked)
        found.append((time.perf_counter() - started) * 1000)
        assert answer == {key(number) for number in numbers if number <= rows}
    return found


def main(rows: int) -> None:
    """Fill the table, ask, print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        server = open_ledger(Path(folder))
        try:
            with connect(server, autocommit=True) as connection:
                connection.execute(FILL, {"rows": rows})
                # What filling left to do must not be done while we measure.
                connection.execute("vacuum analyze suppression")
                connection.execute("checkpoint")
                milliseconds(connection, rows, MANY, 1)
                few = milliseconds(connection, rows, FEW, ROUNDS_OF_FEW)
                many = milliseconds(connection, rows, MANY, ROUNDS_OF_MANY)
        finally:
            launcher.remove(Path(folder))
    for keys, found in ((FEW, few), (MANY, many)):
        promised = PROMISED_MILLISECONDS * keys / FEW
        p99 = statistics.quantiles(found, n=100, method="inclusive")[98]
        for figure, value in (("median", statistics.median(found)), ("p99", p99)):
            report(f"suppressions_{keys}_{figure}", value, "ms", promised, is_more_better=False)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
