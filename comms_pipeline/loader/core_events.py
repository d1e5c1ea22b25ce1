"""Makes events that happened of events as they were told: each once, with its message. Parses nothing.

Only what was told since the last run is looked at; the mark of it moves in the same lake transaction.
"""

from collections.abc import Callable
from datetime import datetime

from comms_pipeline.lake.writer import LakeWriter
from comms_pipeline.loader.conversions import attribute
from comms_pipeline.loader.verdicts import judge_placed
from comms_pipeline.loader.watermarks import NOTHING_YET, Mark, move_marks, next_load_id, read_mark
from comms_pipeline.sqlfiles import named_queries
from comms_pipeline.stores import Stores

_QUERIES = "lake/queries/core_events.sql"

Score = Callable[[LakeWriter, int], None]
"""(writer, load id): gives the events in the temporary table `placed` their verdicts, before they are written.

Events of `core.events` whose verdict it changes get that load id as well, and their messages are added to the temporary
table `placed_messages`: what is counted of them follows.
"""


def refresh_events(stores: Stores, score: Score | None = judge_placed) -> int:
    """Add to `core.events` what `raw.provider_events` newly tells; returns how many events were new.

    Keys of an event are what happened and the provider's own id of it, however often it was told. Events that no
    message was found for are tried again when outcomes have come since. Can run again.
    """
    with stores.lake.writer() as writer:
        return add_new_events(writer, stores.now(), score)


def add_new_events(writer: LakeWriter, now: datetime, score: Score | None = judge_placed) -> int:
    """The same inside an open transaction."""
    after = read_mark(writer.cursor, Mark.CORE_EVENTS)
    outcomes_after = read_mark(writer.cursor, Mark.CORE_EVENTS_OUTCOMES)
    load_id = next_load_id(writer)
    sql = named_queries(_QUERIES)
    make_keys(writer)
    told = writer.cursor.execute(sql["tell"].format(which=since(after)), {"after": after}).fetchall()
    choose_fresh(writer, after)
    again = sql["try_again"].format(which=since(outcomes_after))
    writer.cursor.execute(again, {"after": outcomes_after})
    added, mended = place_fresh(writer, load_id, score)
    if added or mended or told != [(0,)]:
        marks = dict.fromkeys((Mark.LOADS, Mark.CORE_EVENTS, Mark.CORE_EVENTS_OUTCOMES), load_id)
        move_marks(writer, marks, now)
    return added


def make_keys(writer: LakeWriter) -> None:
    """Define what makes two tellings the same event, as macros of this connection."""
    writer.cursor.execute(named_queries(_QUERIES)["macros"])


def tell_of_subjects(writer: LakeWriter) -> None:
    """Make the temporary table `told` of everything ever told of what is in the temporary table `subjects`."""
    sql = named_queries(_QUERIES)
    writer.cursor.execute(sql["tell"].format(which=sql["of_subjects"]))


def choose_fresh(writer: LakeWriter, after: int) -> None:
    """Make the temporary table `fresh` of `told`; what was told in loads up to `after` is known by its id."""
    writer.cursor.execute(named_queries(_QUERIES)["choose_fresh"], {"after": after})


def place_fresh(writer: LakeWriter, load_id: int, score: Score | None = judge_placed) -> tuple[int, int]:
    """Write the events of the temporary table `fresh` with their messages; returns how many are new and mended.

    Conversions that they may have led to are credited anew.
    """
    sql = named_queries(_QUERIES)
    cursor = writer.cursor
    for step in ("find_by_message_id", "find_by_provider_id", "add_found"):
        cursor.execute(sql[step])
    cursor.execute(sql["place"], {"load_id": load_id})
    cursor.execute(sql["leave_unmatched"])
    row = cursor.execute(sql["count_placed"]).fetchone()
    added, mended = row or (0, 0)
    if mended:
        cursor.execute(sql["remove_mended"])
    if added or mended:
        cursor.execute(sql["messages_placed"])
        if score is not None:
            score(writer, load_id)
        cursor.execute(sql["add_events"])
        attribute(cursor, "placed_messages")
    cursor.execute(sql["drop_steps"])
    return added, mended


def since(mark: int, parameter: str = "after") -> str:
    """The condition on `load_id` for what a run takes up; the mark goes in as a parameter of this name."""
    # The very first run takes all: rows from before load ids were kept have none.
    return f"load_id > ${parameter}" if mark != NOTHING_YET else f"${parameter} < 0"
