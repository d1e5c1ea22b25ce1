"""After an erasure no store holds the address in any spelling, everybody else is as before, and the books balance."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from erasing import (
    ADA,
    ADA_PHONE,
    BEN,
    GUESTS,
    LONGER,
    MAPPING,
    SENT,
    WAITING,
    Gallery,
    open_gallery,
    queue_closing,
    send_opening,
)
from psycopg import sql
from sending import SandboxProcess

from comms_pipeline.dispatch.payload import unpack
from comms_pipeline.domain.addresses import address_key
from comms_pipeline.domain.errors import NotFound
from comms_pipeline.domain.message import Channel
from comms_pipeline.ledger.server import Database, Server, connect
from comms_pipeline.ledger.suppressions import reasons
from comms_pipeline.loader.contacts import import_contacts
from comms_pipeline.loader.events import load_provider_events
from comms_pipeline.loader.outcomes import load_outcomes
from comms_pipeline.people import Ambiguous
from comms_pipeline.privacy import provider_calls
from comms_pipeline.privacy.erase import Erased, UnderWay, erase
from comms_pipeline.privacy.people import find_contact
from comms_pipeline.privacy.proof import search
from comms_pipeline.privacy.spellings import Spellings
from comms_pipeline.settings import Settings
from comms_pipeline.stores import Stores

# Written here once more, by other means than the product's: what must not be found, in lower case.
HERS = (
    "ada.lovelace+vip@x.example",
    "ada.lovelace%2bvip%40x.example",
    r"ada.lovelace\u002bvip\u0040x.example",
    "12025550101",
)
THEIRS = "mada.lovelace+vip@x.example"


@pytest.fixture
def gallery(
    database: Server, lay_tables: Callable[[Settings], None], sandbox: SandboxProcess, tmp_path: Path
) -> Iterator[Gallery]:
    settings = sandbox.settings(
        home=tmp_path / "home",
        database_url=database.url(),
        secret_key="a secret for tests only",
        sandbox=True,
    )
    lay_tables(settings)
    stores = Stores(settings)
    yield open_gallery(stores, tmp_path / "gallery")
    stores.lake.close()


def erased(gallery: Gallery, text: str = ADA, organisation: str | None = None) -> Erased:
    contact = find_contact(gallery.stores, text, organisation=organisation, actor="anna", purpose="erase")
    return erase(gallery.stores, contact, text, organisation=organisation, actor="anna")


def holds(value: object) -> bool:
    """Whether hers is in it; an address that merely ends like hers is taken out before."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    lower = text.lower().replace(THEIRS, "").replace(THEIRS.replace("+", "%2b").replace("@", "%40"), "")
    return any(spelling in lower for spelling in HERS)


def places(gallery: Gallery) -> set[str]:
    """Where hers is, looked for in every file's bytes, every Parquet file's rows, every column of every table."""
    stores = gallery.stores
    found = set()
    for path in filter(Path.is_file, stores.settings.home.rglob("*")):
        if path.suffix == ".duckdb_extension":
            continue
        if holds(path.read_bytes()):
            found.add(path.name)
        if path.suffix == ".parquet":
            rows = duckdb.connect().execute("select f::varchar from read_parquet($p) f", {"p": str(path)})
            found |= {f"{path.parent.name}/*.parquet" for (row,) in rows.fetchall() if holds(row)}
    for which in (Database.LEDGER, Database.CATALOG):
        with connect(stores.server, which) as connection:
            tables = connection.execute(
                "select table_schema, table_name from information_schema.tables "
                "where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')"
            ).fetchall()
            assert len(tables) > 15
            for name in tables:
                for row in connection.execute(sql.SQL("select * from {}").format(sql.Identifier(*name))):
                    for value in row:
                        packed = isinstance(value, bytes) and value.startswith(b"ARROW1")
                        if holds(unpack(value).rows() if packed else value):
                            found.add(f"{which.name.lower()}.{name[1]}")
    return found


def test_nothing_of_the_person_is_left_anywhere(gallery: Gallery) -> None:
    send_opening(gallery)
    queue_closing(gallery)
    assert places(gallery) >= {
        "contacts/*.parquet",
        "events/*.parquet",
        "ledger.batch",
        "ledger.content",
        "ledger.landing",
        "catalog.ducklake_file_column_stats",
        "catalog.ducklake_table_column_stats",
    }
    report = erased(gallery)
    assert places(gallery) == set()
    assert report.proof is not None
    assert report.proof.found == []
    assert report.proof.files >= 5
    assert report.proof.tables > 40
    rows = {line.store: line.rows for line in report.lines}
    assert rows["ledger: suppression"] == 3
    assert rows["ledger: batch"] == 2
    assert rows["ledger: content"] == 2
    assert rows["ledger: landing"] == 2
    assert rows["lake: core.contacts"] == 1
    assert rows["lake: core.contact_scores"] == rows["lake: core.send_hours"] == 1
    assert rows["lake: words of others"] == 1


def test_everybody_else_is_as_before(gallery: Gallery) -> None:
    send_opening(gallery)
    queue_closing(gallery)
    others = f"contact_id <> '{gallery.ids['Ada']}'"
    before = {
        table: gallery.lake(f"select * from {table} where {others} order by all")
        for table in ("core.contacts", "core.contact_scores", "core.send_hours", "campaign.messages")
    }
    erased(gallery)
    for table, rows in before.items():
        assert gallery.lake(f"select * from {table} where {others} order by all") == rows
    assert gallery.lake(f"select email from core.contacts where email = '{BEN}'") == [(BEN,)]
    assert gallery.lake("select email from core.contacts where email > 'm'") == [(LONGER,)]
    ((payload,),) = gallery.ledger("select payload from batch where payload is not null")
    assert unpack(payload)["address"].to_list() == [BEN]
    bodies = b"".join(body for (body,) in gallery.ledger("select body from landing order by landing_id"))
    assert LONGER.encode() in bodies
    assert bodies.count(b"<erased>") == 3
    assert load_provider_events(gallery.stores).webhooks == 2
    assert find_contact(gallery.stores, BEN, actor="anna", purpose="test") is not None


def test_books_of_every_send_still_balance(gallery: Gallery) -> None:
    send_opening(gallery)
    queue_closing(gallery)
    erased(gallery)
    load_outcomes(gallery.stores)
    states = gallery.lake(
        "select send_id, channel, coalesce(status, 'waiting'), count(*) from campaign.messages m left join "
        "(select message_id, arg_max(status, outcome_id) as status from core.outcomes group by 1) o "
        "using (message_id) group by all order by all"
    )
    assert states == [
        (WAITING, "email", "cancelled", 1),
        (WAITING, "email", "waiting", 1),
        (WAITING, "sms", "cancelled", 1),
        (SENT, "email", "accepted", 2),
        (SENT, "sms", "accepted", 1),
    ]
    assert gallery.ledger(
        "select status, message_count from batch where send_id = %s order by 1", WAITING
    ) == [
        ("cancelled", 1),
        ("planned", 1),
    ]


def test_nothing_is_ever_sent_again_and_no_import_brings_the_person_back(
    gallery: Gallery, tmp_path: Path
) -> None:
    erased(gallery)
    guests, mapping = tmp_path / "again.csv", tmp_path / "again.yaml"
    guests.write_text(GUESTS, encoding="utf-8")
    mapping.write_text(MAPPING, encoding="utf-8")
    assert import_contacts(gallery.stores, guests, mapping).written == 0
    assert gallery.lake("select count(*) from core.contacts where is_erased and email is null") == [(1,)]
    with gallery.stores.ledger() as ledger:
        for channel, address in (
            (Channel.EMAIL, ADA),
            (Channel.SMS, ADA_PHONE),
            (Channel.WHATSAPP, ADA_PHONE),
        ):
            key = gallery.key(address, channel)
            assert reasons(ledger, "gallery", channel, [key]) == {key: "erased"}


def test_providers_are_asked_to_erase_and_references_are_dropped(
    gallery: Gallery, sandbox: SandboxProcess
) -> None:
    send_opening(gallery)
    letter, text = gallery.message_id("Ada", SENT), gallery.message_id("Ada", SENT, Channel.SMS)
    assert sandbox.message(letter) is not None
    assert sandbox.message(text) is not None
    assert erased(gallery).providers == provider_calls.CarriedOut(done=2, failed=0, waiting=0)
    assert sandbox.message(letter) is None
    assert sandbox.message(text) is None
    assert sandbox.message(gallery.message_id("Ben", SENT)) is not None
    assert gallery.ledger(
        "select provider, reference, done_at is not null from provider_erasure order by 1"
    ) == [("sendgrid", "", True), ("twilio", "", True)]


def test_a_provider_that_fails_is_asked_again_after_1_5_15_60_minutes_then_daily(
    gallery: Gallery, sandbox: SandboxProcess
) -> None:
    send_opening(gallery)
    sandbox.break_things({"provider": "sendgrid", "kind": "status", "code": 503, "on": "any"})
    assert erased(gallery).providers == provider_calls.CarriedOut(done=1, failed=1, waiting=1)
    assert places(gallery) == set()
    minutes = []
    for _ in range(6):
        ((wait, error),) = gallery.ledger(
            "select round(extract(epoch from due_at - now()) / 60), last_error from provider_erasure "
            "where done_at is null"
        )
        minutes.append(int(wait))
        assert error == "HTTP 503"
        assert provider_calls.carry_out(gallery.stores).failed == 0
        gallery.ledger("update provider_erasure set due_at = now()")
        assert provider_calls.carry_out(gallery.stores).failed == 1
    assert minutes == [1, 5, 15, 60, 1440, 1440]
    sandbox.mend()
    gallery.ledger("update provider_erasure set due_at = now()")
    assert provider_calls.carry_out(gallery.stores) == provider_calls.CarriedOut(done=1, failed=0, waiting=0)


def test_erasing_twice_is_fine(gallery: Gallery) -> None:
    send_opening(gallery)
    erased(gallery)
    again = erased(gallery, gallery.ids["Ada"])
    assert again.proof is None
    assert {line.store: line.rows for line in again.lines}["lake: core.contacts"] == 0
    by_address = erased(gallery, ADA, "gallery")
    assert by_address.proof is not None
    assert by_address.proof.found == []
    assert gallery.ledger("select count(*) from provider_erasure") == [(2,)]


def test_an_address_that_nobody_has_is_suppressed_all_the_same(gallery: Gallery) -> None:
    report = erased(gallery, "nobody@x.example", "gallery")
    assert [line.rows for line in report.lines if line.store == "ledger: suppression"] == [1]
    assert gallery.ledger("select organisation_id, channel, reason, contact_id from suppression") == [
        ("gallery", "email", "erased", None)
    ]
    with pytest.raises(NotFound, match="gallery knows nobody by this"):
        erased(gallery, "G-1", "gallery")
    with pytest.raises(NotFound, match="nobody is known by this"):
        erased(gallery, "0" * 32)


def test_what_is_being_sent_is_waited_for_and_nothing_more_goes(gallery: Gallery) -> None:
    queue_closing(gallery)
    gallery.ledger("update batch set status = 'sending', sending_at = now() where channel = 'email'")
    with pytest.raises(UnderWay, match=r"messages in batches \d+ are being sent, or in doubt"):
        erased(gallery)
    assert gallery.lake(f"select count(*) from core.contacts where email = '{ADA}'") == [(1,)]
    assert gallery.ledger("select count(*) from suppression where reason = 'erased'") == [(3,)]
    gallery.ledger("update batch set status = 'planned' where channel = 'email'")
    erased(gallery)
    assert places(gallery) == set()


def test_a_plan_that_is_not_queued_yet_is_waited_for(gallery: Gallery) -> None:
    gallery.open_send(WAITING)
    gallery.plan(WAITING, ["Ada"], Channel.EMAIL, [ADA])
    with pytest.raises(UnderWay, match="the plan of closing is not in the queue yet"):
        erased(gallery)
    gallery.ledger("update send set status = 'cancelled'")
    erased(gallery)
    assert places(gallery) == set()


def test_people_are_found_by_any_of_their_names_and_the_look_is_noted(gallery: Gallery) -> None:
    ada = gallery.ids["Ada"]
    for text, organisation in (
        (ada, None),
        ("G-7", "gallery"),
        (ADA.upper(), None),
        (f" {ADA_PHONE} ", None),
        ("+1 202-555-0101", None),
    ):
        found = find_contact(gallery.stores, text, organisation=organisation, actor="anna", purpose="export")
        assert found is not None
        assert found.contact_id == ada
    assert find_contact(gallery.stores, "G-7", actor="anna", purpose="export") is None
    assert find_contact(gallery.stores, ADA, organisation="other", actor="anna", purpose="export") is None
    noted = gallery.ledger(
        "select actor, subject, details from audit where action = 'pii-access' order by audit_id"
    )
    assert noted[:5] == [
        ("anna", f"gallery/{ada}", {"by": by, "for": "export", "found": 1})
        for by in ("id", "external_id", "email", "phone", "phone")
    ]
    # Whoever asks by address learns that nobody has it.
    key = address_key(ADA, Channel.EMAIL, gallery.stores.secret).hex()
    assert noted[5:] == [("anna", f"other/{key}", {"by": "email", "for": "export", "found": 0})]


def test_an_address_of_several_people_names_nobody(gallery: Gallery, tmp_path: Path) -> None:
    guests = tmp_path / "more.csv"
    guests.write_text(f"id,email,name\nG-20,{BEN},Bea\n", encoding="utf-8")
    (tmp_path / "more.yaml").write_text(MAPPING.replace("phone: phone, ", ""), encoding="utf-8")
    import_contacts(gallery.stores, guests, tmp_path / "more.yaml")
    with pytest.raises(Ambiguous, match=r"2 contacts have this. Name one, .*[0-9a-f]{32} of gallery") as told:
        erased(gallery, BEN)
    assert BEN not in str(told.value)
    report = erased(gallery, "G-20", "gallery")
    assert report.proof is not None
    assert any(re.search(r"contacts/.*parquet", place) for place, _ in report.proof.found)


def test_the_search_names_every_place(gallery: Gallery) -> None:
    send_opening(gallery)
    queue_closing(gallery)
    proof = search(gallery.stores, [Spellings(address=ADA)])
    found = {re.sub(r"^test_\w+: ", "", place).split("/ducklake")[0] for place, _ in proof.found}
    assert found >= {
        "batch.payload",
        "content.body",
        "landing.body",
        "lake/core/contacts",
        "lake/core/events",
    }
    assert {"ducklake_file_column_stats.min_value", "ducklake_table_column_stats.min_value"} <= found
    assert search(gallery.stores, [Spellings(address="no.one@x.example")]).found == []


def test_wishes_go_and_consents_stay_as_evidence(gallery: Gallery) -> None:
    ada, ben = (bytes.fromhex(gallery.ids[name]) for name in ("Ada", "Ben"))
    for subject in (ada, gallery.key(ADA), ben):
        gallery.ledger("insert into preference values ('gallery', %s, 'email', '*', true, 'page')", subject)
        gallery.ledger("insert into personal_limit values ('gallery', %s, 60, 120, null, 3, 'page')", subject)
        gallery.ledger(
            "insert into consent (organisation_id, subject, channel, kind, state, at, source, ip_address) "
            "values ('gallery', %s, 'email', 'express', 'given', now(), 'form', '192.0.2.7')",
            subject,
        )
    erased(gallery)
    assert gallery.ledger("select subject from preference") == [(ben,)]
    assert gallery.ledger("select subject from personal_limit") == [(ben,)]
    latest = "select distinct on (subject) state from consent where subject = any(%s) order by subject, consent_id desc"
    assert gallery.ledger(latest, [ada, gallery.key(ADA)]) == [("withdrawn",), ("withdrawn",)]
    assert gallery.ledger(latest, [ben]) == [("given",)]
    assert gallery.ledger("select count(*) from consent where ip_address is not null") == [(1,)]
