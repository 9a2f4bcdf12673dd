"""Adapters and updates as values."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .layout import Layers, Matrices, split


@dataclass(frozen=True)
class Adapter:
    """An adapter, or the part of one that travels (`parts` "B": without A).

    `vector` is the float32 array that travels; the scale of a layer is `alpha` / its rank.
    """

    layers: Layers
    vector: np.ndarray
    parts: str
    alpha: float

    @cached_property
    def matrices(self) -> list[Matrices]:
        """A and B of each layer, views of the array."""
        return split(self.vector, self.layers, self.parts)


@dataclass(frozen=True)
class Update:
    """What a box sent back: its adapter after training, and what the training was of.

    `before` and `after` are losses on rows that the box holds out, of the adapter that came and of its own;
    None where it holds out none.
    """

    node: int
    adapter: Adapter
    examples: float
    loss: float
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class Rejection:
    """An update that is not used, and why."""

    node: int
    reason: str
