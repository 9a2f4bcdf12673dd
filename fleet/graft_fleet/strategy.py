"""A round of a fleet: what boxes are asked, what is made of their answers."""

import time
from collections.abc import Iterable
from logging import INFO

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from .adapter import Adapter, Rejection, Update
from .averages import inexactness
from .flower_mean import flower_mean, spent_epsilon, strategy_for
from .history import History, Start
from .layout import format_layers
from .limits import Limited, limit, product_distances, vector_distances
from .received import (
    ADAPTER,
    AFTER,
    BEFORE,
    EXAMPLES,
    LAYOUT,
    TRAIN_LOSS,
    Expected,
    read_losses,
    sort_replies,
)
from .settings import Settings
from .stack import stack

PROTOCOL = 1


class FleetStrategy(Strategy):
    """Flower's strategy of a fleet of graft boxes.

    Boxes are drawn by one of Flower's strategies, which also averages arrays; `stack` is computed here.
    What is sent and answered is described in docs/design/fleet.md.
    """

    def __init__(self, settings: Settings, history: History, start: Start) -> None:
        self._settings = settings
        self._history = history
        self._flower = strategy_for(settings)
        self._adapter = start.adapter
        self._done = start.rounds
        self._private_rounds = start.rounds
        self._began = 0.0
        self._sampled = 0

    @property
    def adapter(self) -> Adapter | None:
        """The global adapter; None before the first round that had enough replies."""
        return self._adapter

    def arrays(self) -> ArrayRecord:
        """The array of the global adapter; without one it is empty."""
        vector = np.zeros(0, np.float32) if self._adapter is None else self._adapter.vector
        return ArrayRecord({ADAPTER: Array(vector)})

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Draw boxes and word what they are asked."""
        self._began = time.monotonic()
        drawn = self._flower.configure_train(server_round, self.arrays(), ConfigRecord(), grid)
        messages = self._messages(drawn, self._done + server_round, MessageType.TRAIN)
        self._sampled = len(messages)
        return messages

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Draw boxes that evaluate the global adapter on their own rows."""
        if self._adapter is None:
            return []
        drawn = self._flower.configure_evaluate(server_round, self.arrays(), ConfigRecord(), grid)
        return self._messages(drawn, self._done + server_round, MessageType.EVALUATE)

    def _messages(self, drawn: Iterable[Message], number: int, kind: str) -> list[Message]:
        """Messages that end with their round, so that a box that wakes up later does not begin it."""
        s = self._settings
        layers = format_layers(self._adapter.layers) if self._adapter else "[]"
        layout = {"layers": layers} | ({"parts": "B"} if s.parts == "B" else {})
        content = {
            "config": ConfigRecord(
                {
                    "graft-protocol": PROTOCOL,
                    "round": number,
                    "aggregation": s.aggregation,
                    "rank": s.rank,
                    "lora-alpha": s.lora_alpha,
                    "target-modules": s.modules,
                    "learning-rate": s.learning_rate,
                    "max-steps": s.max_steps,
                    "batch-size": s.batch_size,
                    "seed": s.seed,
                    "base-digest": s.base_digest,
                }
            ),
            LAYOUT: ConfigRecord(layout),
            ADAPTER: self.arrays(),
        }
        return [
            Message(RecordDict(content), m.metadata.dst_node_id, kind, ttl=s.round_timeout)
            for m in drawn
        ]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Check the answers, make the new global adapter of them, keep it."""
        number = self._done + server_round
        answers = {reply.metadata.src_node_id: reply for reply in replies}
        updates, rejections = sort_replies(list(answers.values()), self._expected())
        for rejection in rejections:
            log(INFO, "round %d: box %d is left out: %s", number, rejection.node, rejection.reason)
        record = self._record_of(updates, rejections)
        if len(updates) < self._settings.min_replies:
            log(
                INFO,
                "round %d: %d usable replies, fewer than min-replies, %d: the adapter stays as it is",
                *(number, len(updates), self._settings.min_replies),
            )
            self._history.keep(number, None, record)
            return None, None
        limited, figures = self._aggregate(number, updates, answers)
        record |= {
            "clipped": [u.node for u, c in zip(updates, limited.keeps, strict=True) if c < 1],
            EXAMPLES: float(sum(u.examples for u in updates)),
            TRAIN_LOSS: float(limited.shares @ [u.loss for u in updates]),
            **_held_out(limited),
            **figures,
            "seconds": round(time.monotonic() - self._began, 3),
        }
        self._history.keep(number, self._adapter, record)
        log(INFO, "round %d: %s", number, _words(record))
        numbers = {k: v for k, v in record.items() if isinstance(v, float)}
        return self.arrays(), MetricRecord(numbers)

    def _expected(self) -> Expected:
        s = self._settings
        return Expected(
            parts=s.parts,
            alpha=s.lora_alpha,
            rank=None if s.aggregation == "stack" else s.rank,
            max_rank=s.max_rank,
            layers=self._adapter.layers if self._adapter else None,
        )

    def _record_of(self, updates: list[Update], rejections: list[Rejection]) -> dict:
        return {
            "aggregation": self._settings.aggregation,
            "sampled": self._sampled,
            "replies": len(updates),
            "rejected": [{"box": r.node, "reason": r.reason} for r in rejections],
        }

    def _aggregate(
        self, number: int, updates: list[Update], answers: dict[int, Message]
    ) -> tuple[Limited, dict]:
        s = self._settings
        limits = {"norm_limit": s.norm_limit, "examples_limit": s.examples_limit}
        if s.aggregation == "stack":
            distances = product_distances(updates, self._adapter)
            limited = limit(updates, distances, **limits)
            fresh = np.random.default_rng([s.seed, number])
            found = stack(limited, self._adapter, s.saved_rank, fresh)
            self._adapter = found.adapter
            return limited, {"kept": found.kept, "least-kept": found.least, "layer": found.layer}
        center = self._center(updates)
        if s.dp != "none":
            # The wrapper clips to its own norm, and noise is for boxes of equal weight.
            limits["norm_limit"] = 0.0
        limited = limit(
            updates, vector_distances(updates, center), **limits, uniform=s.dp != "none"
        )
        used = [answers[update.node] for update in updates]
        vector = flower_mean(self._flower, number, used, limited, center)
        self._adapter = Adapter(updates[0].adapter.layers, vector, s.parts, s.lora_alpha)
        figures: dict = {}
        if s.aggregation == "average" and s.robust == "none":
            figures["inexactness"] = inexactness(updates, limited.shares, self._adapter)
        if s.dp != "none":
            self._private_rounds += 1
            spent = spent_epsilon(s.noise_multiplier, self._private_rounds, s.dp_delta)
            figures["epsilon"] = spent
        return limited, figures

    def _center(self, updates: list[Update]) -> np.ndarray:
        """The array that updates began with; before the first round their median."""
        if self._adapter is not None:
            return self._adapter.vector
        if self._settings.dp != "none":
            # B begins at zero, and a median would tell of the boxes' data.
            return np.zeros_like(updates[0].adapter.vector)
        return np.median([update.adapter.vector for update in updates], axis=0)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Means of losses and accuracies over the rows of the boxes."""
        found = read_losses(list(replies))
        if not found:
            return None
        weights = np.array([numbers[EXAMPLES] for numbers in found])
        names = ["loss"] + ["accuracy"] * all("accuracy" in numbers for numbers in found)
        means = {
            name: float(weights @ [numbers[name] for numbers in found] / weights.sum())
            for name in names
        }
        record = {"evaluated": len(found), EXAMPLES: float(weights.sum()), **means}
        self._history.note(self._done + server_round, record)
        return MetricRecord(means)

    def summary(self) -> None:
        """Log the settings that decide what an aggregate is."""
        s = self._settings
        log(INFO, "\t├──> %s, rank %d, alpha %g", s.aggregation, s.rank, s.lora_alpha)
        if s.aggregation == "average":
            log(INFO, "\t├──> inexact: the mean of A times the mean of B is no mean of products")
        self._flower.summary()


def _held_out(limited: Limited) -> dict[str, float]:
    """Mean losses on rows that boxes hold out, of those that do: the global adapter's, then their own."""
    pairs = [
        (share, update.before, update.after)
        for share, update in zip(limited.shares, limited.updates, strict=True)
        if update.before is not None and update.after is not None
    ]
    if not pairs:
        return {}
    shares, before, after = map(np.array, zip(*pairs, strict=True))
    return {
        BEFORE: float(shares @ before / shares.sum()),
        AFTER: float(shares @ after / shares.sum()),
    }


def _words(record: dict) -> str:
    parts = [f"{record['replies']} of {record['sampled']} boxes, loss {record[TRAIN_LOSS]:.4f}"]
    if BEFORE in record:
        parts.append(f"on rows held out {record[BEFORE]:.4f}, after training {record[AFTER]:.4f}")
    if record["rejected"]:
        parts.append(f"{len(record['rejected'])} left out")
    if record["clipped"]:
        parts.append(f"{len(record['clipped'])} clipped")
    if "kept" in record:
        parts.append(
            f"{record['kept']:.2%} of the squared norm kept "
            f"(least: {record['least-kept']:.2%}, {record['layer']})"
        )
    if "inexactness" in record:
        parts.append(f"inexact: {record['inexactness']:.2%} from the mean of the products")
    if "epsilon" in record:
        parts.append(f"epsilon {record['epsilon']:.2f} so far")
    return ", ".join(parts)
