"""The main job on a real customer file: 64,000 customers of a retailer (Hillstrom's e-mail challenge, 2008).

The file is public but not ours to ship: name it in COMMS_HILLSTROM_CSV, or the test is skipped.
"""

import os
from pathlib import Path

import pytest
from acceptance_support import Installation

PROJECT = Path(__file__).parents[2]
CANDIDATES = (os.environ.get("COMMS_HILLSTROM_CSV", ""), str(PROJECT.parent / "shared/data/hillstrom.csv"))
FILE = next((Path(path) for path in CANDIDATES if path and Path(path).is_file()), None)

CAMPAIGN = {
    "organisation.yaml": "{id: retailer, name: The Retailer, postal_address: 1 Main Street}",
    "womens.yaml": """
id: womens-email
organisation: retailer
audience: {all: [{field: segment, op: eq, value: Womens E-Mail}]}
channels: [email]
sender: {from_email: shop@retailer.example, from_name: The Retailer}
templates: {email: {subject: "New arrivals", html: womens.html}}
""",
    "womens.html": """<html lang="en"><body>
<p>You last bought {{ recency }} months ago, for {{ history }} in all.</p>
{% if newbie == 1 %}<p>Welcome!</p>{% endif %}
<p><a href="https://retailer.example/new?zone={{ zip_code | urlencode }}">What is new</a></p>
<p>{{ postal_address }} <a href="{{ unsubscribe_url }}">No more e-mails</a></p>
</body></html>""",
    "customers.map.yaml": """
organisation: retailer
consent: {source: customer file, kind: express}
columns: {email: "'c' || row_number || '@hillstrom.example'"}
""",
}


@pytest.mark.skipif(FILE is None, reason="the Hillstrom file is not here")
@pytest.mark.xdist_group("hillstrom")
def test_every_customer_of_a_real_file_is_accounted_for(services: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "campaign"
    folder.mkdir()
    for name, text in CAMPAIGN.items():
        (folder / name).write_text(text, encoding="utf-8")
    services.comms("campaigns", "apply", str(folder))
    printed = services.comms("import", "contacts", str(FILE), "--map", str(folder / "customers.map.yaml"))
    assert "64,000 rows: 64,000 contacts new or changed, 0 unchanged, 0 rows rejected" in printed

    services.comms("send", "womens-email")

    assert services.query("select count(*) from core.contacts") == [(64_000,)]
    assert services.query("select count(*) from campaign.audiences") == [(21_387,)]
    assert services.query("select decision, count(*) from campaign.decisions group by all") == [
        ("allowed", 21_387)
    ]
    planned = {row[0] for row in services.query("select message_id from campaign.messages")}
    assert len(planned) == 21_387
    accepted = {
        row[0] for row in services.query("select message_id from core.outcomes where status = 'accepted'")
    }
    assert accepted == planned
    record = services.sandbox_record()
    assert set(record) == planned
    assert set(record.values()) == {1}
    assert services.ledger("select sum(message_count)::int, count(payload) from batch") == [(21_387, 0)]
    assert services.query("select audience, excluded, messages, accepted, waiting from mart.send_funnel") == [
        (21_387, 0, 21_387, 21_387, 0)
    ]
