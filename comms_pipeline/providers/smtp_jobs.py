"""Messages on their way to an SMTP server, and the orders they came in. No dialogue, no sessions."""

import asyncio
from collections.abc import Sequence

from comms_pipeline.providers.smtp_replies import Outcome


class Order:
    """Messages handed in together: `outcomes` in their order, complete when `done` is."""

    def __init__(self, messages: Sequence[tuple[str, bytes, bytes]]) -> None:
        """Each message is our id, its commands (MAIL, RCPT, DATA in lines) and its data with the final dot."""
        self.outcomes: list[Outcome | None] = [None] * len(messages)
        self.jobs = [Job(self, row, *message) for row, message in enumerate(messages)]
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = len(messages)

    def settle(self, row: int, told: Outcome) -> None:
        """One message's outcome; the first one stays."""
        if self.outcomes[row] is None:
            self.outcomes[row] = told
            self._left -= 1
            if not self._left and not self.done.done():
                self.done.set_result(None)


class Job:
    """One message. `refusal` is what the server had against it before it saw the data, `has_recipient` whether it
    took the recipient all the same.
    """

    __slots__ = (
        "commands",
        "data",
        "has_recipient",
        "is_second_try",
        "message_id",
        "order",
        "refusal",
        "row",
    )

    def __init__(self, order: Order, row: int, message_id: str, commands: bytes, data: bytes) -> None:
        self.order = order
        self.row = row
        self.message_id = message_id
        self.commands = commands
        self.data = data
        self.refusal: Outcome | None = None
        self.has_recipient = False
        self.is_second_try = False
