"""Aggregation `stack`: the exact mean of the boxes' products, then the closest adapter of a rank.

The factors of all boxes side by side are the sum of their products (FLoRA, Wang et al. 2024,
arXiv:2409.05976), whatever the ranks of the boxes; singular values bring it to one rank (FlexLoRA, Bai
et al. 2024, arXiv:2402.11505).
"""

from dataclasses import dataclass

import numpy as np

from .adapter import Adapter
from .layout import Matrices, join, with_rank
from .limits import Limited
from .low_rank import Product, Term, sum_of, truncate


@dataclass(frozen=True)
class Stacked:
    """The new global adapter; the share of the squared norm of the mean's products that it keeps.

    `least` is the smallest share of a layer, `layer` its name.
    """

    adapter: Adapter
    kept: float
    least: float
    layer: str


def stack(
    limited: Limited, center: Adapter | None, rank: int, fresh: np.random.Generator
) -> Stacked:
    """Σ share·B·A of the updates, cut to a rank.

    An update that counts for a part c of its way is c·(its product) + (1 − c)·(the global product).
    """
    found = [update.adapter for update in limited.updates]
    alpha = found[0].alpha
    layers = with_rank(found[0].layers, rank)
    matrices: list[Matrices] = []
    kept = total = 0.0
    shares: list[tuple[float, str]] = []
    every = [adapter.matrices for adapter in found]
    for i, layer in enumerate(layers):
        if layer.rank == 0:
            matrices.append((None, _mean(limited, [m[i][1] for m in every], center, i)))
            continue
        cut = truncate(layer_sum(limited, center, i), rank, fresh)
        # The array has B without the scale alpha / rank.
        matrices.append((cut.a, cut.b / (alpha / rank)))
        kept += cut.kept
        total += cut.total
        shares.append((cut.kept / cut.total if cut.total else 1.0, layer.name))
    least, name = min(shares, default=(1.0, ""))
    adapter = Adapter(layers, join(matrices), "AB", alpha)
    return Stacked(adapter, kept / total if total else 1.0, least, name)


def layer_sum(limited: Limited, center: Adapter | None, i: int) -> Product:
    """Σ share·scale·B·A of layer i, exact."""
    terms: list[Term] = []
    for update, share, keep in zip(limited.updates, limited.shares, limited.keeps, strict=True):
        a, b = update.adapter.matrices[i]
        terms.append((share * keep * update.adapter.alpha / update.adapter.layers[i].rank, a, b))
    if center is not None and (rest := float(np.sum(limited.shares * (1 - limited.keeps)))):
        a, b = center.matrices[i]
        terms.append((rest * center.alpha / center.layers[i].rank, a, b))
    return sum_of(terms)


def _mean(limited: Limited, found: list[np.ndarray], center: Adapter | None, i: int) -> np.ndarray:
    start = center.matrices[i][1] if center else np.median(np.stack(found), axis=0)
    return start + sum(
        share * keep * (w.astype(np.float64) - start)
        for share, keep, w in zip(limited.shares, limited.keeps, found, strict=True)
    )
