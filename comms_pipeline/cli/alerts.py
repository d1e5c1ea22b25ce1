"""`comms alerts`: what is the matter, by which rules, and whether notices arrive. The sensor `alerts` tells."""

from comms_pipeline.cli.console import out, table
from comms_pipeline.cli.opened import open_stores
from comms_pipeline.domain.errors import CommsError


class NotDelivered(CommsError):
    """A notifier did not take the test notice."""


def list_alerts() -> None:
    """What is the matter now, as the sensor `alerts` saw it last, the gravest first."""
    from comms_pipeline.ledger import notices

    with open_stores().ledger() as ledger:
        found = notices.open_notices(ledger)
    if not found:
        out.print("Nothing is the matter.")
        return
    table(
        None,
        ["severity", "subject", "what", "since (UTC)", "what to do"],
        [
            (
                notice.severity,
                notice.subject,
                notice.what,
                f"{notice.since:%Y-%m-%d %H:%M}",
                notice.fix,
            )
            for notice in found
        ],
    )


def list_rules() -> None:
    """The rules in force, with your own file's changes."""
    from comms_pipeline.alerting.rules import load_rules

    table(
        None,
        ["rule", "metric", "above", "window (s)", "least sample", "severity"],
        [
            (
                rule.id,
                rule.metric,
                f"{rule.above:g}",
                f"{rule.window_seconds:,}",
                f"{rule.least_sample:,}",
                str(rule.severity),
            )
            for rule in load_rules(open_stores().settings.alerts)
        ],
    )


def test() -> None:
    """Send a test notice to everybody named in COMMS_NOTIFY."""
    from comms_pipeline.alerting import notify

    found = notify.targets(open_stores().settings)
    if not found:
        raise NotDelivered(
            "COMMS_NOTIFY", "it is empty: alerts are only in the log", "Set it to an Apprise address"
        )
    for place, target in enumerate(found, start=1):
        body = "This is a test. When something is the matter, you hear of it here."
        if not notify.send(target, "comms: test notice", body, is_grave=False):
            raise NotDelivered(
                f"COMMS_NOTIFY entry {place}",
                "the notice was not taken",
                "See that address in Apprise's wiki",
            )
        out.print(f"entry {place} ({target.url.split(':')[0]}, from {target.from_severity}): taken")
