"""What ops find on the pages of the Dagster UI: the story of a send, numbers that are drawn, nobody's address."""

from typing import Any

import dagster as dg
import pytest
from running import Dagster

from comms_pipeline import vocabulary
from comms_pipeline.metadata import bars, figures, line, rates, rows_table, story
from comms_pipeline.models.pictures import chart_query, figures_query
from comms_pipeline.models.registry import models

SEND = "open-day"
SHOWN_IN_PLACE = 1000
"""Longer Markdown Dagster hides behind a link."""
STORY = [
    "[audience](/assets/campaign/audience?view=partitions&partition=open-day)",
    "[who may be reached](/assets/campaign/eligibility?view=partitions&partition=open-day)",
    "[plan](/assets/campaign/messages?view=partitions&partition=open-day)",
    "[sending](/assets/campaign/dispatch?view=partitions&partition=open-day)",
    "[books](/assets/campaign/reconciliation?view=partitions&partition=open-day)",
    "[report](/assets/report/campaign?view=partitions&partition=open-day)",
]
NUMBERS = {
    "campaign/audience": {"audience": 4, "campaign_version": 1},
    "campaign/messages": {"audience": 4, "excluded": 0, "messages_added": 4},
    "campaign/dispatch": {
        "progress": 1.0,
        "accepted": 4,
        "refused": 0,
        "deferred": 0,
        "unknown": 0,
        "waiting": 0,
        "still_unknown": 0,
    },
    "campaign/reconciliation": {"accepted": 4, "open_messages": 0},
    "report/campaign": {"audience": 4, "messages": 4, "accepted": 4, "books": "balanced"},
    "mart/campaign_performance": {"accepted": 4},
    "mart/send_funnel": {"audience": 4, "messages": 4, "accepted": 4, "unknown": 0},
}
CHARTS = {
    "campaign/messages": "funnel_chart",
    "campaign/dispatch": "funnel_chart",
    "report/campaign": "funnel",
    "core/outcomes": "outcomes_chart",
    "core/message_status": "statuses_chart",
    "mart/campaign_performance": "accepted_by_send",
    "mart/costs": "messages_by_lane",
}


def shown(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, dg.MetadataValue[Any]]]:
    """What each asset's page says, by asset."""
    assert result.success
    return {
        event.asset_key.to_user_string(): dict(event.materialization.metadata)
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }


def test_the_pages_of_a_send_tell_its_story(gallery: Dagster) -> None:
    gallery.create_send(SEND)
    sent = gallery.run("send_campaign", SEND)
    pages = shown(sent) | shown(gallery.run("load_events"))
    texts = repr(pages)

    for asset, numbers in NUMBERS.items():
        assert {name: pages[asset][name].value for name in numbers} == numbers, asset
    for asset, chart in CHARTS.items():
        assert "](data:image/svg+xml;base64," in str(pages[asset][chart].value), asset
    of_send = {name for name in pages if name.startswith(("campaign/", "report/"))}
    assert of_send == {
        *(
            f"campaign/{name}"
            for name in ("audience", "eligibility", "messages", "dispatch", "reconciliation")
        ),
        "report/campaign",
    }
    for asset in of_send:
        assert str(pages[asset]["this_send"].value).split(" → ") == STORY, asset
    lanes = pages["campaign/dispatch"]["lanes"]
    assert isinstance(lanes, dg.TableMetadataValue)
    assert [(row.data["lane"], row.data["accepted"]) for row in lanes.records] == [
        ("email:sendgrid", 3),
        ("sms:twilio", 1),
    ]
    markdown = [
        (asset, name, value.value)
        for asset, page in pages.items()
        for name, value in page.items()
        if isinstance(value, dg.MarkdownMetadataValue)
    ]
    assert [(asset, name) for asset, name, text in markdown if len(str(text)) >= SHOWN_IN_PLACE] == []
    for personal in ("x.example", "+1202555", "Ada", "Cleo"):
        assert personal not in texts
    run = gallery.instance.get_run_by_id(sent.run_id)
    assert run is not None
    assert (run.tags["campaign"], run.tags["organisation"]) == ("open-day", "gallery")


def test_a_send_leaves_no_file_of_dagsters_behind(gallery: Dagster) -> None:
    gallery.create_send(SEND)
    pages = shown(gallery.run("send_campaign", SEND))
    assert "path" not in pages["campaign/dispatch"]


@pytest.mark.parametrize("table", sorted(models()))
def test_charts_and_figures_of_models_answer_on_an_empty_warehouse(shared_stores: Any, table: str) -> None:
    model = models()[table]
    with shared_stores.lake.reader() as cursor:
        chart, figures = chart_query(model), figures_query(model)
        if chart is not None:
            assert len(cursor.execute(chart).fetchall()) <= 1
        if figures is not None:
            assert len(cursor.execute(figures).fetchall()) == 1


def test_the_largest_bars_and_the_last_points_are_drawn(shared_stores: Any) -> None:
    channel, day = (chart_query(models()[name]) for name in ("core.message_counts", "mart.channel_day"))
    assert channel is not None
    assert channel.endswith("order by 2 desc, 1 limit 10")
    assert day is not None
    assert day.endswith("order by 1 desc limit 60) order by 1")


def test_pictures_are_always_shown_in_place() -> None:
    many = {f"a-campaign-with-a-long-name-{number}": 10**9 + number for number in range(40)}
    title = "t" * 30
    for picture in (bars(many, title), bars({}, title), line(range(10_000), title), line([], title)):
        assert len(str(picture.value)) < SHOWN_IN_PLACE
    assert len(str(story("s" * 60)["this_send"].value)) < SHOWN_IN_PLACE


def test_rates_of_nothing_are_not_numbers() -> None:
    told = figures({"accepted": 3, "delivery_rate": None, "bounce_rate": float("nan"), "open_rate": 0.25})
    assert {name: value.value for name, value in told.items()} == {"accepted": 3, "open_rate": 0.25}
    assert rates({"accepted": 0, "delivered": 0, "converted": 0}) == {}
    of_some = rates({"accepted": 8, "delivered": 4, "opened by people": 1, "converted": 0})
    assert {name: value.value for name, value in of_some.items()} == {
        "delivery_rate": 0.5,
        "human_open_rate": 0.25,
        "conversion_rate": 0.0,
    }


def test_an_empty_table_says_so() -> None:
    assert rows_table([]).value == "none"


def test_nothing_is_late_that_the_night_keeps_fresh(tmp_path: Any) -> None:
    from comms_pipeline.definitions import build_definitions
    from comms_pipeline.settings import load_settings

    definitions = build_definitions(load_settings(tmp_path / "absent"))
    late_after = {
        spec.key.to_user_string()
        for spec in definitions.resolve_all_asset_specs()
        if spec.freshness_policy == vocabulary.EVERY_NIGHT
    }
    marts = {table.replace(".", "/") for table in models() if table.startswith("mart.")}
    nightly = definitions.resolve_job_def("load_events").asset_layer.selected_asset_keys
    assert late_after == marts | {"core/events", "core/message_status"}
    assert {dg.AssetKey(name.split("/")) for name in late_after} <= set(nightly)
