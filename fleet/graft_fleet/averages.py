"""What an average of arrays leaves out: the product of means is not the mean of products."""

import numpy as np

from .adapter import Adapter, Update
from .low_rank import squared_norm, sum_of


def inexactness(updates: list[Update], shares: np.ndarray, mean: Adapter) -> float:
    """‖Σ share·B·A − B̄·Ā‖ / ‖Σ share·B·A‖ over all layers (Frobenius), without full matrices."""
    wrong = right = 0.0
    every = [update.adapter.matrices for update in updates]
    for i, (layer, (mean_a, mean_b)) in enumerate(zip(mean.layers, mean.matrices, strict=True)):
        if layer.rank == 0:
            continue
        scale = mean.alpha / layer.rank
        terms = [
            (share * scale, *matrices[i]) for share, matrices in zip(shares, every, strict=True)
        ]
        right += squared_norm(sum_of(terms))
        wrong += squared_norm(sum_of([*terms, (-scale, mean_a, mean_b)]))
    return float(np.sqrt(wrong / right)) if right else 0.0
