"""The `comms` command: assembles the sub-commands, prints errors in one line. What they do lives beside it."""

import os
import sys
from typing import Annotated

import typer

from comms_pipeline.cli import (
    alerts,
    campaigns,
    compliance,
    contacts,
    demo,
    events,
    experiments,
    health,
    lists,
    message_status,
    plans,
    privacy,
    reports,
    segments,
    sends,
    services,
    templates,
    warehouse,
    why,
)
from comms_pipeline.cli.console import err
from comms_pipeline.domain.errors import CommsError

app = typer.Typer(
    name="comms",
    help="Customer messaging you run yourself: every contact accounted for, nothing sent twice.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
campaigns_app = typer.Typer(help="Campaigns as code: apply, list, plan.", no_args_is_help=True)
templates_app = typer.Typer(help="Templates: list, check, preview.", no_args_is_help=True)
import_app = typer.Typer(help="Bring data in.", no_args_is_help=True)
segments_app = typer.Typer(help="Saved segments: apply, count, sample.", no_args_is_help=True)
sends_app = typer.Typer(help="Sends: list, pause, resume, cancel.", no_args_is_help=True)
dead_app = typer.Typer(help="Messages whose every attempt failed in passing.", no_args_is_help=True)
quotas_app = typer.Typer(help="How many messages may go per hour or day.", no_args_is_help=True)
events_app = typer.Typer(help="Who opened and clicked, and what messages brought.", no_args_is_help=True)
experiments_app = typer.Typer(help="Tests of variants and against holdouts.", no_args_is_help=True)
suppressions_app = typer.Typer(help="Whom we must not reach.", no_args_is_help=True)
consents_app = typer.Typer(help="Who agreed to what.", no_args_is_help=True)
do_not_call_app = typer.Typer(help="National do-not-call registries.", no_args_is_help=True)
alerts_app = typer.Typer(help="What people must hear of, and who hears it.", no_args_is_help=True)
reports_app = typer.Typer(help="Reports on sends and weeks: write, find.", no_args_is_help=True)
privacy_app = typer.Typer(help="A person's copy of their data, and erasure with proof.", no_args_is_help=True)
warehouse_app = typer.Typer(help="The warehouse for analysts and their tools.", no_args_is_help=True)
db_app = typer.Typer(help="The embedded Postgres.", no_args_is_help=True)
serve_app = typer.Typer(help="Run one service in the foreground (`comms up` runs all).", no_args_is_help=True)
app.add_typer(campaigns_app, name="campaigns")
app.add_typer(templates_app, name="templates")
app.add_typer(segments_app, name="segments")
app.add_typer(sends_app, name="sends")
app.add_typer(dead_app, name="dead-letters")
app.add_typer(quotas_app, name="quotas")
app.add_typer(import_app, name="import")
app.add_typer(events_app, name="events")
app.add_typer(experiments_app, name="experiments")
app.add_typer(suppressions_app, name="suppressions")
app.add_typer(consents_app, name="consents")
app.add_typer(do_not_call_app, name="do-not-call")
app.add_typer(alerts_app, name="alerts")
app.add_typer(reports_app, name="reports")
app.add_typer(privacy_app, name="privacy")
app.add_typer(warehouse_app, name="warehouse")
app.add_typer(db_app, name="db")
app.add_typer(serve_app, name="serve")

app.command("init")(services.init)
app.command("demo")(demo.demo)
app.command("send")(campaigns.send)
app.command("status")(message_status.status)
app.command("doctor")(health.doctor)
app.command("queue")(sends.queue)
app.command("stop")(sends.stop)
app.command("start")(sends.start)
app.command("worker")(sends.worker)
segments_app.command("apply")(segments.apply)
segments_app.command("list")(segments.list_segments)
segments_app.command("show")(segments.show)
segments_app.command("count")(segments.count)
segments_app.command("sample")(segments.sample)
segments_app.command("check")(segments.check)
sends_app.command("list")(sends.list_sends)
sends_app.command("pause")(sends.pause)
sends_app.command("resume")(sends.resume)
sends_app.command("cancel")(sends.cancel)
sends_app.command("resend")(sends.resend)
dead_app.command("list")(sends.dead_letters)
dead_app.command("retry")(sends.retry_dead)
quotas_app.command("list")(sends.list_quotas)
quotas_app.command("set")(sends.set_quota)
alerts_app.command("list")(alerts.list_alerts)
alerts_app.command("rules")(alerts.list_rules)
alerts_app.command("test")(alerts.test)
reports_app.command("write")(reports.write)
reports_app.command("path")(reports.show_path)
privacy_app.command("export")(privacy.export)
privacy_app.command("erase")(privacy.erase)
app.command("why")(why.why)
app.command("query")(warehouse.query)
app.command("shell")(warehouse.shell)
warehouse_app.command("questions")(warehouse.list_questions)
warehouse_app.command("export")(warehouse.export)
warehouse_app.command("rebuild")(warehouse.rebuild)
warehouse_app.command("reader")(warehouse.reader)
app.command("up")(services.up)
app.command("down")(services.down)
app.command("clean")(services.clean)
campaigns_app.command("apply")(campaigns.apply)
campaigns_app.command("list")(campaigns.list_campaigns)
campaigns_app.command("plan")(plans.plan)
campaigns_app.command("check")(compliance.check)
experiments_app.command("show")(experiments.show)
experiments_app.command("size")(experiments.size)
suppressions_app.command("list")(lists.list_suppressions)
suppressions_app.command("add")(lists.add_suppression)
suppressions_app.command("lift")(lists.lift_suppression)
suppressions_app.command("import")(lists.import_suppressions)
suppressions_app.command("export")(lists.export_suppressions)
consents_app.command("import")(lists.import_consents)
do_not_call_app.command("import")(lists.import_do_not_call)
do_not_call_app.command("list")(lists.list_do_not_call)
templates_app.command("list")(templates.list_templates)
templates_app.command("check")(templates.check)
templates_app.command("preview")(templates.preview)
import_app.command("contacts")(contacts.import_contacts)
import_app.command("events")(events.import_events)
events_app.command("verdicts")(events.show_verdicts)
events_app.command("rescore")(events.rescore)
events_app.command("conversions")(events.show_conversions)
db_app.command("start")(services.start_database_command)
db_app.command("stop")(services.stop_database)
serve_app.command("web")(services.web)
serve_app.command("sandbox")(services.sandbox)
serve_app.command("dagster")(services.dagster)
serve_app.command("daemon")(services.daemon)
serve_app.command("loader")(services.loader)
# The sandbox is what people try first: it has a short name too.
app.command("sandbox", help="Run the sandbox providers in the foreground.")(services.sandbox)


@app.callback()
def _options(
    home: Annotated[
        str | None, typer.Option("--home", help="Where everything lives; stands in for COMMS_HOME.")
    ] = None,
) -> None:
    if home:
        os.environ["COMMS_HOME"] = home


def main() -> None:
    """Entry point. `COMMS_DEBUG=1` shows the stack trace of an error."""
    try:
        app(standalone_mode=True)
    except CommsError as error:
        if os.environ.get("COMMS_DEBUG"):
            raise
        err.print(f"[red]error:[/red] {_plain(error)}")
        sys.exit(1)


def _plain(error: CommsError) -> str:
    from rich.markup import escape

    return escape(str(error))
