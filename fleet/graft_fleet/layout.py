"""How the tensors of an adapter lie in the one array that travels.

For every layer in order: A [rank, in], then B [out, rank], row by row. A layer of rank 0 is a tensor
that is trained in full, [out, in], such as a classifier's weight. With `parts` "B" A stays where it is,
and only B and full tensors travel.
"""

import json
from dataclasses import dataclass, replace

import numpy as np

Matrices = tuple[np.ndarray | None, np.ndarray]
"""A and B of a layer; A is None where it does not travel, and for tensors trained in full."""

MOST_TEXT = 4 << 20
MOST_LAYERS = 10_000
MOST_SIDE = 1 << 24
MOST_NAME = 512


class LayoutError(ValueError):
    """A layout that cannot be used; its text says why."""


@dataclass(frozen=True)
class Layer:
    """One adapted layer.

    `name` is PEFT's path of the module, `rank` that of its adapter (0: a tensor trained in full).
    """

    name: str
    rank: int
    inputs: int
    outputs: int

    def count(self, parts: str) -> int:
        """Numbers of this layer in the array."""
        if self.rank == 0:
            return self.outputs * self.inputs
        return self.rank * (self.outputs + (self.inputs if parts == "AB" else 0))

    @property
    def site(self) -> tuple[str, int, int, bool]:
        """What must be equal from box to box: everything but the rank."""
        return (self.name, self.inputs, self.outputs, self.rank == 0)


Layers = tuple[Layer, ...]


def parse_layers(text: str) -> Layers:
    """Read the JSON of a layout, which another machine wrote."""
    if len(text) > MOST_TEXT:
        raise LayoutError(f"the layout has {len(text)} characters: at most {MOST_TEXT}")
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        raise LayoutError("the layout is no JSON") from None
    if not isinstance(rows, list) or len(rows) > MOST_LAYERS:
        raise LayoutError(f"the layout is no list of at most {MOST_LAYERS} layers")
    layers = tuple(_parse_layer(row) for row in rows)
    if len({layer.name for layer in layers}) != len(layers):
        raise LayoutError("the layout names a layer twice")
    return layers


def _parse_layer(row: object) -> Layer:
    if not isinstance(row, dict):
        raise LayoutError("a layer of the layout is no object")
    name, rank = row.get("name"), row.get("rank")
    sides = (row.get("in"), row.get("out"))
    if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME:
        raise LayoutError(f"a layer's name is no text of at most {MOST_NAME} characters")
    if not all(_is_count(n, 1) for n in sides) or not _is_count(rank, 0):
        raise LayoutError(f'rank, in and out of layer "{name[:80]}" are no sizes')
    return Layer(name, rank, *sides)


def _is_count(value: object, least: int) -> bool:
    return type(value) is int and least <= value <= MOST_SIDE


def format_layers(layers: Layers) -> str:
    """The JSON of a layout."""
    return json.dumps(
        [{"name": y.name, "rank": y.rank, "in": y.inputs, "out": y.outputs} for y in layers]
    )


def count_numbers(layers: Layers, parts: str) -> int:
    """Numbers in the array of a layout."""
    return sum(layer.count(parts) for layer in layers)


def split(vector: np.ndarray, layers: Layers, parts: str) -> list[Matrices]:
    """The matrices of an array, as views of it."""
    if vector.shape != (wanted := count_numbers(layers, parts),):
        raise LayoutError(f"the array has {vector.size} numbers: its layout has {wanted}")
    matrices: list[Matrices] = []
    at = 0

    def take(rows: int, columns: int) -> np.ndarray:
        nonlocal at
        at += rows * columns
        return vector[at - rows * columns : at].reshape(rows, columns)

    for layer in layers:
        if layer.rank == 0:
            matrices.append((None, take(layer.outputs, layer.inputs)))
            continue
        a = take(layer.rank, layer.inputs) if parts == "AB" else None
        matrices.append((a, take(layer.outputs, layer.rank)))
    return matrices


def join(matrices: list[Matrices]) -> np.ndarray:
    """One float32 array of matrices."""
    flat = [m.ravel() for pair in matrices for m in pair if m is not None]
    return np.concatenate(flat or [np.zeros(0)]).astype(np.float32)


def with_rank(layers: Layers, rank: int) -> Layers:
    """The same layers, all low-rank ones with this rank."""
    return tuple(y if y.rank == 0 else replace(y, rank=rank) for y in layers)
