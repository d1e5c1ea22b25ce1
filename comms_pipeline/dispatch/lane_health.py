"""Writes into the ledger whether a lane sends, when there is news. Decides nothing: the breaker and the engine do."""

import psycopg

from comms_pipeline.ledger import alerts
from comms_pipeline.ledger.alerts import Trouble


class LaneHealth:
    """One lane's health as this process last told it. Not told yet: an earlier process may have said anything."""

    def __init__(self, lane: str) -> None:
        self._lane = lane
        self._is_told_well = False
        self._news: tuple[Trouble, str] | None = None
        self._has_news = False

    def is_well(self) -> None:
        """A batch went well."""
        self._news, self._has_news = None, not self._is_told_well

    def is_in_trouble(self, kind: Trouble, problem: str) -> None:
        """The lane does not send. Told every time, so that people see when it was seen last."""
        self._news, self._has_news = (kind, problem), True

    def tell(self, connection: psycopg.Connection) -> None:
        """Write the news, if any, in the caller's transaction."""
        if not self._has_news:
            return
        if self._news is None:
            alerts.clear_trouble(connection, self._lane)
        else:
            alerts.note_trouble(connection, self._lane, *self._news)
        self._is_told_well, self._has_news = self._news is None, False
