"""What boxes send, checked before anything is computed with it."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from .adapter import Adapter, Rejection, Update
from .layout import Layers, LayoutError, parse_layers, split

ADAPTER, LAYOUT, METRICS = "adapter", "layout", "metrics"
EXAMPLES, TRAIN_LOSS = "num-examples", "train-loss"
BEFORE, AFTER = "loss-before", "loss-after"


@dataclass(frozen=True)
class Expected:
    """What an update of this fleet is like.

    `rank` is None where it may differ from box to box, `layers` None before the first round.
    """

    parts: str
    alpha: float
    rank: int | None
    max_rank: int
    layers: Layers | None


def sort_replies(
    replies: list[Message], expected: Expected
) -> tuple[list[Update], list[Rejection]]:
    """Updates that can be used, and the others with the reason."""
    updates: list[Update] = []
    rejections: list[Rejection] = []
    for reply in replies:
        node = reply.metadata.src_node_id
        if reply.has_error():
            rejections.append(Rejection(node, f"error of the box: {reply.error.reason}"[:300]))
            continue
        try:
            updates.append(_read_update(node, reply.content, expected))
        except LayoutError as error:
            rejections.append(Rejection(node, str(error)))
    layers = expected.layers or most_common_layers(updates)
    agreed: list[Update] = []
    for update in updates:
        why = _disagreement(update.adapter.layers, layers)
        if why is None:
            agreed.append(update)
        else:
            rejections.append(Rejection(update.node, why))
    return agreed, rejections


def _read_update(node: int, content: RecordDict, expected: Expected) -> Update:
    layout = _record(content, LAYOUT, ConfigRecord)
    if (parts := layout.get("parts", "AB")) != expected.parts:
        raise LayoutError(f'the parts are "{str(parts)[:20]}": must be "{expected.parts}"')
    if not isinstance(text := layout.get("layers"), str):
        raise LayoutError('the layout has no text "layers"')
    layers = parse_layers(text)
    if not layers:
        raise LayoutError("the layout has no layers")
    for layer in layers:
        wanted = expected.rank or layer.rank
        if layer.rank and (layer.rank != wanted or layer.rank > expected.max_rank):
            must = f"be {wanted}" if layer.rank != wanted else f"be at most {expected.max_rank}"
            raise LayoutError(f'the rank of "{layer.name[:80]}" is {layer.rank}: must {must}')
    vector = _read_array(_record(content, ADAPTER, ArrayRecord))
    split(vector, layers, expected.parts)
    if not np.all(np.isfinite(vector)):
        raise LayoutError("the adapter has numbers that are not finite")
    metrics = _record(content, METRICS, MetricRecord)
    examples, loss = _finite(metrics, EXAMPLES), _finite(metrics, TRAIN_LOSS)
    if examples is None or examples <= 0:
        raise LayoutError(f'"{EXAMPLES}" is no number > 0')
    if loss is None:
        raise LayoutError(f'"{TRAIN_LOSS}" is no finite number')
    adapter = Adapter(layers, vector, expected.parts, expected.alpha)
    return Update(node, adapter, examples, loss, _finite(metrics, BEFORE), _finite(metrics, AFTER))


def _record(content: RecordDict, name: str, kind: type):
    record = content.get(name)
    if not isinstance(record, kind):
        raise LayoutError(f'the reply has no {kind.__name__} "{name}"')
    return record


def _read_array(record: ArrayRecord) -> np.ndarray:
    array = record.get(ADAPTER)
    if not isinstance(array, Array) or len(record) != 1:
        raise LayoutError(f'the ArrayRecord must have one array, "{ADAPTER}"')
    try:
        vector = array.numpy()
    except (ValueError, TypeError, EOFError, OSError, SyntaxError, MemoryError):
        raise LayoutError("the array cannot be read") from None
    if vector.dtype != np.float32:
        raise LayoutError(f"the array is of {vector.dtype}: must be float32")
    return vector


def _finite(metrics: MetricRecord, name: str) -> float | None:
    value = metrics.get(name)
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def most_common_layers(updates: list[Update]) -> Layers | None:
    """The layers that most updates have, but for ranks; None without updates."""
    counts = Counter(_sites(update.adapter.layers) for update in updates)
    if not counts:
        return None
    (best, _), *_ = counts.most_common(1)
    return next(u.adapter.layers for u in updates if _sites(u.adapter.layers) == best)


def _sites(layers: Layers) -> tuple:
    return tuple(layer.site for layer in layers)


def _disagreement(layers: Layers, wanted: Layers) -> str | None:
    if len(layers) != len(wanted):
        return f"the adapter has {len(layers)} layers: those of the fleet have {len(wanted)}"
    for found, other in zip(layers, wanted, strict=True):
        if found.site != other.site:
            return (
                f'layer "{found.name[:80]}" [{found.outputs}, {found.inputs}] is "{other.name[:80]}" '
                f"[{other.outputs}, {other.inputs}] in the fleet"
            )
    return None


def read_losses(replies: list[Message]) -> list[dict[str, float]]:
    """Numbers of evaluations; replies without usable ones are left out."""
    found: list[dict[str, float]] = []
    for reply in replies:
        if reply.has_error():
            continue
        record = reply.content.get(METRICS)
        if not isinstance(record, MetricRecord):
            continue
        found_numbers = {name: _finite(record, name) for name in (EXAMPLES, "loss", "accuracy")}
        numbers = {name: value for name, value in found_numbers.items() if value is not None}
        if numbers.get(EXAMPLES, 0) > 0 and "loss" in numbers:
            found.append(numbers)
    return found
