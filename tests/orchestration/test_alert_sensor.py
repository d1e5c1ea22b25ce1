"""The sensor `alerts` over real stores and a real notifier: what is told, once, again, and when it is over."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import dagster as dg
import pytest
from running import Dagster
from typer.testing import CliRunner

from comms_pipeline.alerting.alerts import current_alerts
from comms_pipeline.alerting.metrics import METRICS, Measurement, Sources
from comms_pipeline.alerting.rules import load_rules
from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.ledger import alerts as lane_alerts
from comms_pipeline.ledger import notices
from comms_pipeline.ledger.alerts import Trouble
from comms_pipeline.sensors import alerts

SEND = "open-day"


class Messenger:
    """Takes what Apprise posts, as a chat's webhook does; can be told to refuse."""

    def __init__(self) -> None:
        self.told: list[dict[str, str]] = []
        self.is_refusing = False
        messenger = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if not messenger.is_refusing:
                    messenger.told.append(body)
                self.send_response(500 if messenger.is_refusing else 200)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self._server.server_address[1]}/"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self) -> list[tuple[str, str]]:
        """(title, text) of what came since the last time."""
        told, self.told = self.told, []
        return [(each["title"], each["message"]) for each in told]


@pytest.fixture
def messenger() -> Iterator[Messenger]:
    made = Messenger()
    yield made
    made.stop()


def at(dagster: Dagster, moment: datetime, notify: str) -> Dagster:
    """The same installation, at another time and with these people to tell."""
    settings = dagster.stores.settings.model_copy(
        update={"notify": type(dagster.stores.settings.notify)(notify)}
    )
    return replace(dagster, stores=replace(dagster.stores, settings=settings, now=lambda: moment))


def tick(dagster: Dagster) -> str:
    context = dg.build_sensor_context(
        dagster.instance, definitions=dagster.definitions, resources={"stores": dagster.stores}
    )
    result = alerts(context)
    assert isinstance(result, dg.SkipReason)
    return result.skip_message or ""


def test_trouble_is_told_once_again_when_it_lasts_and_when_it_is_over(
    gallery: Dagster, messenger: Messenger
) -> None:
    start = datetime.now(UTC)
    assert tick(at(gallery, start, messenger.url)) == "0 alerts; 0 told"
    with gallery.stores.ledger() as ledger:
        lane_alerts.note_trouble(ledger, "email:sendgrid", Trouble.MISCONFIGURED, "it refused the key")
    assert tick(at(gallery, start, messenger.url)) == "1 alerts; 1 told"
    [(title, text)] = messenger.take()
    assert title == "comms P1: email:sendgrid"
    assert text.startswith("P1 email:sendgrid: the provider refuses us: it refused the key, since 20")

    tick(at(gallery, start + timedelta(minutes=59), messenger.url))
    assert messenger.take() == []
    tick(at(gallery, start + timedelta(minutes=61), messenger.url))
    assert len(messenger.take()) == 1, "a P1 is told again after an hour"

    with gallery.stores.ledger() as ledger:
        lane_alerts.clear_trouble(ledger, "email:sendgrid")
    gone = start + timedelta(minutes=62)
    tick(at(gallery, gone, messenger.url))
    assert messenger.take() == [], "it may come back"
    tick(at(gallery, gone + timedelta(minutes=3), messenger.url))
    [(title, text)] = messenger.take()
    assert title == "comms: over: email:sendgrid"
    assert text.startswith("Over since 20")
    tick(at(gallery, gone + timedelta(days=3), messenger.url))
    assert messenger.take() == []


def test_notice_that_was_not_taken_is_told_with_the_next_tick(gallery: Dagster, messenger: Messenger) -> None:
    with gallery.stores.ledger() as ledger:
        lane_alerts.note_trouble(ledger, "email:sendgrid", Trouble.DOWN, "no answer")
    here = at(gallery, datetime.now(UTC), messenger.url)
    messenger.is_refusing = True
    assert tick(here) == "1 alerts; 0 told"
    messenger.is_refusing = False
    assert tick(here) == "1 alerts; 1 told"
    assert [title for title, _ in messenger.take()] == ["comms P3: email:sendgrid"]


def test_target_hears_only_what_is_grave_enough_for_it(gallery: Dagster, messenger: Messenger) -> None:
    with gallery.stores.ledger() as ledger:
        lane_alerts.note_trouble(ledger, "email:sendgrid", Trouble.DOWN, "no answer")
    assert tick(at(gallery, datetime.now(UTC), f"P2={messenger.url}")) == "1 alerts; 1 told"
    assert messenger.take() == []


def test_failed_run_is_an_alert_until_it_succeeds(
    gallery: Dagster, durable_instance: dg.DagsterInstance, messenger: Messenger
) -> None:
    gallery = replace(gallery, instance=durable_instance)
    gallery.create_send(SEND)
    gallery.ledger("update campaign_version set spec = '{}'")
    assert not gallery.run("send_campaign", SEND).success
    start = datetime.now(UTC)
    tick(at(gallery, start, messenger.url))
    [(title, text)] = messenger.take()
    assert title == "comms P1: send_campaign open-day"
    assert "the run failed" in text

    gallery.run("load_events")
    tick(at(gallery, start + timedelta(minutes=1), messenger.url))
    assert messenger.take() == [], "another job's success is no news of this one"


def test_failed_check_is_an_alert_until_it_passes(
    gallery: Dagster, durable_instance: dg.DagsterInstance, messenger: Messenger
) -> None:
    gallery = replace(gallery, instance=durable_instance)

    def evaluated(*, passed: bool) -> None:
        durable_instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(["core", "events"]),
                check_name="events_well_formed",
                passed=passed,
                severity=dg.AssetCheckSeverity.ERROR,
            )
        )

    evaluated(passed=False)
    start = datetime.now(UTC)
    tick(at(gallery, start, messenger.url))
    [(title, text)] = messenger.take()
    assert title == "comms P1: core/events"
    assert "the check events_well_formed failed" in text
    evaluated(passed=True)
    tick(at(gallery, start, messenger.url))
    tick(at(gallery, start + timedelta(minutes=3), messenger.url))
    assert [title for title, _ in messenger.take()] == ["comms: over: core/events"]


def test_many_messages_refused_at_first_are_told_by_lane(gallery: Dagster) -> None:
    gallery.create_send(SEND)
    assert gallery.run("send_campaign", SEND).success
    # As if the provider's answer to every e-mail had never come.
    gallery.ledger(
        "update batch set status = 'unknown', sending_at = now(), payload = '' where lane = 'email:sendgrid'"
    )
    gallery.ledger("update batch set message_count = 100")
    rules = [rule for rule in load_rules() if rule.id == "errors"]
    [found] = [each for each in current_alerts(gallery.stores, rules) if each.key.startswith("rule:")]
    assert (found.key, found.severity) == ("rule:errors:email:sendgrid", "P1")
    assert found.what == "100.0% of 100 messages were not taken at once"


def test_every_metric_answers_on_an_empty_installation(dagster: Dagster) -> None:
    with dagster.stores.ledger() as ledger, dagster.stores.lake.reader() as lake:
        sources = Sources(stores=dagster.stores, ledger=ledger, lake=lake)
        assert {name: measure(sources, 300) for name, measure in METRICS.items()} == {
            name: [] for name in METRICS
        }


def test_complaints_are_measured_of_what_was_delivered(dagster: Dagster) -> None:
    dagster.spoil(
        """
        insert into core.message_status by name
        select 'm' || i as message_id, 'gallery' as organisation_id, 'email' as channel, 'delivered' as status,
               50 as status_rank, now() as accepted_at, case when i < 800 then now() end as delivered_at,
               case when i < 4 then now() end as complained_at, 0 as opens, 0 as human_opens, 0 as clicks,
               0 as human_clicks, now() as updated_at
        from range(1000) t(i)
        """
    )
    with dagster.stores.ledger() as ledger, dagster.stores.lake.reader() as lake:
        sources = Sources(stores=dagster.stores, ledger=ledger, lake=lake)
        assert METRICS["complained_share"](sources, 3600) == [
            Measurement(subject="gallery email", value=0.005, sample=800)
        ]


def test_address_that_no_notifier_knows_is_refused_without_quoting_it(gallery: Dagster) -> None:
    with pytest.raises(InvalidSettings) as refused:
        tick(at(gallery, datetime.now(UTC), "P1=nothing://secret-token"))
    assert str(refused.value).startswith("COMMS_NOTIFY: entry 1 is no address that Apprise knows")
    assert "secret" not in str(refused.value)


def test_test_notice_arrives(gallery: Dagster, messenger: Messenger, monkeypatch: pytest.MonkeyPatch) -> None:
    from running import write_settings

    from comms_pipeline.cli.main import app

    write_settings(gallery.stores.settings, notify=messenger.url)
    monkeypatch.setenv("COMMS_HOME", str(gallery.stores.settings.home))
    result = CliRunner().invoke(app, ["alerts", "test"])
    assert result.exit_code == 0, result.output
    assert [title for title, _ in messenger.take()] == ["comms: test notice"]
    with gallery.stores.ledger() as ledger:
        assert notices.open_notices(ledger) == []
    assert "Nothing is the matter." in CliRunner().invoke(app, ["alerts", "list"]).output
    assert "complaints" in CliRunner().invoke(app, ["alerts", "rules"]).output
