"""Rounds without Flower's network: `python -m graft_fleet.offline`, for experiments and tests.

Reads one JSON object a line from standard input and answers each with one line; everything between is
what `flwr run` does, from the checks of the answers to the adapter that is kept. The first line is
{"settings": {...}}, as in `[tool.flwr.app.config]`. Each further one is a round, with the boxes that were
asked and what some of them answered:

{"boxes": [1, 2], "replies": [{"box": 1, "layers": [...], "path": FILE, "num-examples": 10,
"train-loss": 0.5}]}

FILE has the float32 numbers of the array; "parts" may be there, too. The answer has the round's record,
the layers of the new global adapter, and "path": the file with its numbers.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from .history import RECORD, History
from .layout import format_layers
from .received import ADAPTER, EXAMPLES, LAYOUT, METRICS, TRAIN_LOSS
from .settings import read_settings
from .strategy import FleetStrategy


class KnownBoxes(Grid):
    """A grid that only knows which boxes there are."""

    def __init__(self, nodes: list[int]) -> None:
        self.nodes = nodes

    def set_run(self, run) -> None:
        """Set the run, which there is none of."""

    @property
    def run(self):
        """No run."""
        raise NotImplementedError

    def create_message(self, *args, **kwargs) -> Message:
        """Create no message: Flower's constructor does."""
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        """Boxes that are connected."""
        return self.nodes

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send nothing."""
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Fetch nothing."""
        raise NotImplementedError

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send nothing."""
        raise NotImplementedError


def reply_to(message: Message, answer: dict) -> Message:
    """A box's reply, from the answer that a line describes."""
    vector = np.fromfile(answer["path"], np.float32)
    layout = {"layers": json.dumps(answer["layers"])}
    if "parts" in answer:
        layout["parts"] = answer["parts"]
    metrics = {name: float(answer[name]) for name in (EXAMPLES, TRAIN_LOSS)}
    content = {
        LAYOUT: ConfigRecord(layout),
        ADAPTER: ArrayRecord({ADAPTER: Array(vector)}),
        METRICS: MetricRecord(metrics),
    }
    return Message(RecordDict(content), reply_to=message)


def be_task() -> None:
    """Take numbers that Flower gives to a process of a run, and without which it makes no messages."""
    TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1


def main() -> None:
    """Answer lines until there are none."""
    be_task()
    settings = read_settings(json.loads(sys.stdin.readline())["settings"])
    history = History(settings)
    strategy = FleetStrategy(settings, history, history.start())
    folder = Path(settings.save_path)
    for number, line in enumerate(sys.stdin, 1):
        asked_for = json.loads(line)
        answers = {answer["box"]: answer for answer in asked_for["replies"]}
        grid = KnownBoxes(asked_for["boxes"])
        asked = strategy.configure_train(number, strategy.arrays(), ConfigRecord(), grid)
        asked = [m for m in asked if m.metadata.dst_node_id in answers]
        strategy.aggregate_train(
            number, [reply_to(m, answers[m.metadata.dst_node_id]) for m in asked]
        )
        record = json.loads((folder / RECORD).read_text().splitlines()[-1])
        answer = {"record": record, "layers": [], "path": None}
        if strategy.adapter is not None:
            path = folder / "global.f32"
            strategy.adapter.vector.tofile(path)
            layers = json.loads(format_layers(strategy.adapter.layers))
            answer |= {"layers": layers, "path": str(path)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
