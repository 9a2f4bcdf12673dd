"""Limits to what one box can do to a round: the length of its update and its weight in the mean.

Both are relative to the medians of the round, which fewer than half of the boxes cannot move.
"""

from dataclasses import dataclass

import numpy as np

from .adapter import Adapter, Update
from .layout import Matrices
from .low_rank import squared_norm, sum_of


@dataclass(frozen=True)
class Limited:
    """Updates with their shares of the mean (they add up to 1) and how much of each way is kept.

    Where `keeps` is c, the box counts as if it had gone c of the way from the global adapter.
    """

    updates: list[Update]
    shares: np.ndarray
    keeps: np.ndarray
    distances: np.ndarray


def limit(
    updates: list[Update],
    distances: np.ndarray,
    *,
    norm_limit: float,
    examples_limit: float,
    uniform: bool = False,
) -> Limited:
    """Cut distances and numbers of examples to so many times the median of the round (0: never).

    `uniform` gives all boxes the same share, which differential privacy needs.
    """
    examples = np.array([1.0 if uniform else update.examples for update in updates])
    if examples_limit > 0:
        examples = np.minimum(examples, examples_limit * np.median(examples))
    keeps = np.ones(len(updates))
    if norm_limit > 0:
        longest = norm_limit * np.median(distances)
        over = distances > longest
        keeps[over] = longest / distances[over]
    return Limited(updates, examples / examples.sum(), keeps, distances)


def product_distances(updates: list[Update], center: Adapter | None) -> np.ndarray:
    """‖ΔW − ΔW of the global adapter‖ of each update, over all layers.

    Without a global adapter products are measured from zero, tensors trained in full from the median.
    """
    starts = center.matrices if center else [(None, m) for m in _full_middles(updates)]
    return np.array([np.sqrt(_squared_distance(u.adapter, center, starts)) for u in updates])


def _full_middles(updates: list[Update]) -> list[np.ndarray | None]:
    """Medians of the tensors that are trained in full, number by number; None for other layers."""
    return [
        None if layer.rank else np.median([u.adapter.matrices[i][1] for u in updates], axis=0)
        for i, layer in enumerate(updates[0].adapter.layers)
    ]


def _squared_distance(adapter: Adapter, center: Adapter | None, starts: list[Matrices]) -> float:
    total = 0.0
    for i, (layer, (a, b)) in enumerate(zip(adapter.layers, adapter.matrices, strict=True)):
        if layer.rank == 0:
            total += float(np.sum((b.astype(np.float64) - starts[i][1]) ** 2))
            continue
        terms = [(adapter.alpha / layer.rank, a, b)]
        if center is not None:
            terms.append((-center.alpha / center.layers[i].rank, *starts[i]))
        total += squared_norm(sum_of(terms))
    return total


def vector_distances(updates: list[Update], center: np.ndarray) -> np.ndarray:
    """Distance of each update's array from the global one."""
    return np.array([np.linalg.norm(u.adapter.vector.astype(np.float64) - center) for u in updates])
