"""Means of arrays by Flower's own strategies: plain, robust, with differential privacy."""

import math

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import (
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
    FedMedian,
    FedTrimmedAvg,
    Krum,
    MultiKrum,
    Strategy,
)

from .limits import Limited
from .received import ADAPTER, EXAMPLES, METRICS, TRAIN_LOSS
from .settings import SettingError, Settings

PRIVATE = (
    DifferentialPrivacyServerSideFixedClipping,
    DifferentialPrivacyServerSideAdaptiveClipping,
)


def strategy_for(s: Settings) -> Strategy:
    """Flower's strategy for these settings; it also draws the boxes of a round."""
    common = {
        "fraction_train": s.fraction,
        "fraction_evaluate": s.fraction_evaluate,
        "min_train_nodes": min(s.min_boxes, s.min_replies),
        "min_evaluate_nodes": 1,
        "min_available_nodes": s.min_boxes,
        "weighted_by_key": EXAMPLES,
        "arrayrecord_key": ADAPTER,
        "configrecord_key": "config",
    }
    match s.robust:
        case "median":
            plain = FedMedian(**common)
        case "trimmed-mean":
            plain = FedTrimmedAvg(**common, beta=s.trim)
        case "krum":
            plain = Krum(**common, num_malicious_nodes=s.malicious)
        case "multi-krum":
            selected = max(1, s.min_replies - s.malicious)
            plain = MultiKrum(
                **common, num_malicious_nodes=s.malicious, num_nodes_to_select=selected
            )
        case _:
            plain = FedAvg(**common)
    try:
        return _private(plain, s)
    except ValueError as error:
        raise SettingError(f'dp = "{s.dp}", min-replies = {s.min_replies}: {error}') from None


def _private(plain: Strategy, s: Settings) -> Strategy:
    match s.dp:
        case "fixed":
            return DifferentialPrivacyServerSideFixedClipping(
                plain, s.noise_multiplier, s.clipping_norm, s.min_replies
            )
        case "adaptive":
            return DifferentialPrivacyServerSideAdaptiveClipping(
                plain, s.noise_multiplier, s.min_replies, initial_clipping_norm=s.clipping_norm
            )
        case _:
            return plain


def flower_mean(
    strategy: Strategy, number: int, replies: list[Message], limited: Limited, center: np.ndarray
) -> np.ndarray:
    """Flower's aggregate of the updates, each as far from the global array as it counts.

    `replies` are those of the updates, in their order.
    """
    if isinstance(strategy, PRIVATE):
        # What clipping is measured from, which is empty before the first round.
        strategy.current_arrays = _arrays(center)
        # Noise is for a mean of so many.
        strategy.num_sampled_clients = len(replies)
    shares = limited.shares * len(limited.shares)
    for reply, update, share, keep in zip(
        replies, limited.updates, shares, limited.keeps, strict=True
    ):
        vector = center + keep * (update.adapter.vector - center)
        metrics = MetricRecord({EXAMPLES: float(share), TRAIN_LOSS: update.loss})
        reply.content = RecordDict({ADAPTER: _arrays(vector), METRICS: metrics})
    arrays, _ = strategy.aggregate_train(number, replies)
    return arrays[ADAPTER].numpy().astype(np.float32)


def _arrays(vector: np.ndarray) -> ArrayRecord:
    return ArrayRecord({ADAPTER: Array(np.asarray(vector, np.float32))})


def spent_epsilon(noise_multiplier: float, rounds: int, delta: float) -> float:
    """ε of so many Gaussian mechanisms at a δ, without amplification by sampling.

    Their Rényi divergence of order α is α·rounds / (2·noise²) (Mironov 2017, arXiv:1702.07476,
    proposition 7); ε = that + ln(1/δ) / (α − 1) (proposition 3), smallest at the α below.
    """
    cost = rounds / (2 * noise_multiplier**2)
    return cost + 2 * math.sqrt(cost * math.log(1 / delta))
