"""Sending again on purpose: to whom it was ordered for and nobody else, as a send with books of its own."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from copies import copy_databases
from running import VISITORS, Dagster
from sending import SandboxProcess

from comms_pipeline.domain.errors import NotFound
from comms_pipeline.ledger.launcher import ensure_databases
from comms_pipeline.ledger.migrate import migrate
from comms_pipeline.ledger.server import Database, Server
from comms_pipeline.planning import resending
from comms_pipeline.planning.resending import NotResendable, Whom
from comms_pipeline.settings import Settings
from comms_pipeline.stores import Stores

# One worker of xdist prepares the gallery, not each.
pytestmark = pytest.mark.xdist_group("resend")

SEND, PEOPLE = "open-day", "cli:ann"


@pytest.fixture(scope="module")
def sent(postgres: Server, _sandbox: SandboxProcess, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A gallery with four visitors whose campaign was sent; Ben's message was refused, Cleo's met faults only."""
    server, folder = replace(postgres, database="resend_sent"), tmp_path_factory.mktemp("sent")
    ensure_databases(server)
    migrate(server)
    settings = _sandbox.settings(
        home=folder / "home", database_url=server.url(), secret_key=secrets.token_urlsafe(32)
    )
    stores = Stores(settings)
    stores.lake.create_tables()
    with dg.DagsterInstance.ephemeral() as instance:
        opened = Dagster(stores=stores, instance=instance)
        (folder / "gallery").mkdir()
        opened.apply_gallery(folder / "gallery")
        opened.import_visitors(folder, VISITORS)
        opened.create_send(SEND)
        assert opened.run("send_campaign", SEND).success
        for name, reason in (("Ben", "invalid"), ("Cleo", "exhausted")):
            opened.spoil(
                f"update core.outcomes set status = 'refused', reason = '{reason}' where message_id in"
                f" (select message_id from campaign.messages where contact_id = '{contact(opened, name)}')"
            )
    stores.lake.close()
    return settings


@pytest.fixture
def gallery(sent: Settings, database: Server, sandbox: SandboxProcess, tmp_path: Path) -> Iterator[Dagster]:
    """A copy of that gallery: of this test's own."""
    settings = sandbox.settings(
        home=tmp_path / "home",
        database_url=database.url(),
        secret_key=sent.secret_key.get_secret_value(),
    )
    copy_databases(sent, settings, Database.LEDGER, Database.CATALOG)
    stores = Stores(settings)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Dagster(stores=stores, instance=instance)
    stores.lake.close()


def contact(gallery: Dagster, name: str) -> str:
    found = gallery.lake(f"select contact_id from core.contacts where name = '{name}'")
    return str(found["contact_id"].item())


def test_it_is_for_those_whose_message_fared_so(gallery: Dagster) -> None:
    ben, cleo, ada = (contact(gallery, name) for name in ("Ben", "Cleo", "Ada"))
    assert resending.choose(gallery.stores, SEND, Whom.REFUSED) == [ben]
    assert resending.choose(gallery.stores, SEND, Whom.DEAD) == [cleo]
    assert resending.choose(gallery.stores, SEND, Whom.CONTACTS, [ada, "0" * 32]) == [ada]


def test_people_get_it_again_and_the_books_of_both_sends_agree(
    gallery: Dagster, sandbox: SandboxProcess
) -> None:
    ada = contact(gallery, "Ada")
    created = resending.order(gallery.stores, SEND, [ada], actor=PEOPLE)
    assert created == "open-day--again-1"
    before = gallery.message_ids()
    result = gallery.run("send_campaign", created)
    assert result.success
    assert all(check.passed for check in result.get_asset_check_evaluations())
    plan = gallery.lake(f"select contact_id, message_id from campaign.messages where send_id = '{created}'")
    assert plan["contact_id"].to_list() == [ada]
    assert plan["message_id"].item() not in set(before)
    assert {accepted.times for accepted in sandbox.accepted(gallery.message_ids()).values()} == {1}
    assert gallery.ledger("select send_id, status from send order by 1") == [
        ("open-day", "sent"),
        ("open-day--again-1", "sent"),
    ]
    details = {"of_send": SEND, "contacts": 1}
    audited = gallery.ledger("select actor, action, subject, details from audit where action = 'resend'")
    assert audited == [(PEOPLE, "resend", created, details)]


def test_every_order_is_a_send_of_its_own(gallery: Dagster) -> None:
    ada = contact(gallery, "Ada")
    names = [resending.order(gallery.stores, SEND, [ada], actor=PEOPLE) for _ in range(2)]
    assert names == ["open-day--again-1", "open-day--again-2"]
    assert gallery.ledger("select count(*) from send where due_at <= now() and status = 'scheduled'") == [
        (2,)
    ]


@pytest.mark.parametrize("status", ["scheduled", "sending", "paused", "failed", "cancelled"])
def test_a_send_that_is_not_complete_is_not_sent_again(gallery: Dagster, status: str) -> None:
    gallery.ledger("update send set status = %s", status)
    with pytest.raises(NotResendable, match=f"it is {status}"):
        resending.choose(gallery.stores, SEND, Whom.REFUSED)
    with pytest.raises(NotResendable, match=f"it is {status}"):
        resending.order(gallery.stores, SEND, [contact(gallery, "Ada")], actor=PEOPLE)


def test_dead_letters_that_can_be_retried_are_not_sent_again_beside_it(gallery: Dagster) -> None:
    gallery.ledger("update batch set status = 'dead', payload = 'x' where batch_id = 1")
    with pytest.raises(NotResendable, match="its dead letters can be retried"):
        resending.choose(gallery.stores, SEND, Whom.DEAD)


def test_a_send_nobody_knows_is_named(gallery: Dagster) -> None:
    with pytest.raises(NotFound, match="send nobody"):
        resending.choose(gallery.stores, "nobody", Whom.REFUSED)
