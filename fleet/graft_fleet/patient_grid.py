"""Sends a round's messages and waits: for a share of the replies, or up to a deadline."""

import math
import time
from collections.abc import Iterable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

# Messages are announced together and then stored one after another: boxes wait for what was announced.
MESSAGES_AT_ONCE = 16
# Replies are asked for this many seconds apart, more for each box that is waited for.
PAUSE = 1.0
PAUSE_PER_BOX = 0.01


class PatientGrid(Grid):
    """A grid whose rounds end once a share of the boxes has answered well.

    Flower's own waits for all of them or the deadline, so that one box that is switched off delays every
    round. Replies that come later are never fetched.
    """

    def __init__(self, grid: Grid, share: float, *, pause: float = PAUSE) -> None:
        self._grid = grid
        self._share = share
        self._pause = pause

    def set_run(self, run) -> None:
        """Set the run."""
        self._grid.set_run(run)

    @property
    def run(self):
        """The run."""
        return self._grid.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Boxes that are connected."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; returns their ids."""
        sent = list(messages)
        parts = range(0, len(sent), MESSAGES_AT_ONCE)
        return [
            name
            for start in parts
            for name in self._grid.push_messages(sent[start : start + MESSAGES_AT_ONCE])
        ]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies to messages that have come."""
        return self._grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send messages and return the replies of enough boxes, or those up to the timeout."""
        sent = list(messages)
        waiting = {name for name in self.push_messages(sent) if name is not None}
        enough = math.ceil(self._share * len(sent))
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        good = 0
        while waiting and good < enough and time.monotonic() < deadline:
            for reply in self._grid.pull_messages(waiting):
                waiting.discard(reply.metadata.reply_to_message_id)
                replies.append(reply)
                good += not reply.has_error()
            if waiting and good < enough:
                time.sleep(self._pause + PAUSE_PER_BOX * len(waiting))
        return replies
