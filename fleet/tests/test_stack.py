import unittest

import numpy as np

from graft_fleet.adapter import Adapter, Update
from graft_fleet.limits import Limited, limit, product_distances
from graft_fleet.low_rank import Product, squared_norm, sum_of, truncate
from graft_fleet.stack import stack

from .boxes import LAYERS, layers_of_rank, vector_for

ALPHA = 4.0


def update(seed, rank, examples=1.0):
    layers = layers_of_rank(rank)
    return Update(seed, Adapter(layers, vector_for(layers, seed), "AB", ALPHA), examples, 0.5)


def products(adapter):
    """ΔW of each layer in full, float64."""
    return [
        b.astype(np.float64)
        if a is None
        else ALPHA / layer.rank * (b.astype(float) @ a.astype(float))
        for layer, (a, b) in zip(adapter.layers, adapter.matrices, strict=True)
    ]


def relative(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


class Stack(unittest.TestCase):
    def test_is_the_weighted_sum_of_the_products_of_boxes_of_different_ranks(self):
        updates = [update(1, 1, 10), update(2, 2, 30), update(3, 4, 60)]
        shares = np.array([0.1, 0.3, 0.6])
        limited = Limited(updates, shares, np.ones(3), np.ones(3))
        found = stack(limited, None, 6, np.random.default_rng(0))
        for i, got in enumerate(products(found.adapter)):
            wanted = sum(s * products(u.adapter)[i] for s, u in zip(shares, updates, strict=True))
            self.assertLessEqual(relative(got, wanted), 1e-6, LAYERS[i].name)
        self.assertAlmostEqual(found.kept, 1, 12)

    def test_keeps_the_largest_singular_values_and_says_their_share(self):
        updates = [update(seed, 3) for seed in range(5)]
        limited = Limited(updates, np.full(5, 0.2), np.ones(5), np.ones(5))
        found = stack(limited, None, 2, np.random.default_rng(0))
        kept = total = 0
        for i in range(2):
            mean = sum(products(u.adapter)[i] for u in updates) / 5
            u, s, vt = np.linalg.svd(mean)
            best = (u[:, :2] * s[:2]) @ vt[:2]
            self.assertLessEqual(relative(products(found.adapter)[i], best), 1e-6)
            kept += np.sum(s[:2] ** 2)
            total += np.sum(s**2)
        self.assertAlmostEqual(found.kept, kept / total, 9)
        self.assertLess(found.least, found.kept)

    def test_a_cut_update_counts_for_its_part_of_the_way_from_the_global_adapter(self):
        center = update(9, 2).adapter
        updates = [update(1, 1), update(2, 2)]
        keeps = np.array([1.0, 0.25])
        found = stack(
            Limited(updates, np.array([0.5, 0.5]), keeps, np.ones(2)),
            *(center, 8, np.random.default_rng(0)),
        )
        for i, got in enumerate(products(found.adapter)):
            start = products(center)[i]
            ways = [products(u.adapter)[i] - start for u in updates]
            wanted = start + 0.5 * ways[0] + 0.125 * ways[1]
            self.assertLessEqual(relative(got, wanted), 1e-6, LAYERS[i].name)

    def test_ranks_that_a_sum_does_not_have_can_still_learn(self):
        a = np.array([[1.0, 2, 3, 4]])
        cut = truncate(Product(np.array([[2.0], [1], [0]]), a), 3, np.random.default_rng(0))
        self.assertLessEqual(relative(cut.b @ cut.a, np.array([[2.0], [1], [0]]) @ a), 1e-12)
        self.assertTrue(np.all(np.linalg.norm(cut.a, axis=1) > 0.1))
        nothing = truncate(Product(np.zeros((3, 1)), a), 2, np.random.default_rng(0))
        self.assertTrue(np.all(nothing.b == 0))
        self.assertTrue(np.all(np.linalg.norm(nothing.a, axis=1) > 0.1))

    def test_squared_norm_and_distances_need_no_full_matrices(self):
        updates = [update(1, 2), update(2, 5)]
        center = update(3, 2).adapter
        for adapter in (None, center):
            found = product_distances(updates, adapter)
            for one, distance in zip(updates, found, strict=True):
                starts = (
                    products(center)
                    if adapter
                    else [0, 0, np.median([products(u.adapter)[2] for u in updates], axis=0)]
                )
                wanted = sum(
                    np.sum((p - s) ** 2) for p, s in zip(products(one.adapter), starts, strict=True)
                )
                self.assertAlmostEqual(distance**2 / wanted, 1, 6)
        product = sum_of([(2.0, np.eye(3), np.ones((4, 3)))])
        self.assertAlmostEqual(squared_norm(product), 48)

    def test_limits_are_multiples_of_the_medians_of_the_round(self):
        updates = [update(seed, 2, examples) for seed, examples in enumerate((10, 10, 10, 10**9))]
        limited = limit(updates, np.array([1.0, 1, 1, 50]), norm_limit=2.0, examples_limit=3.0)
        np.testing.assert_allclose(limited.shares, np.array([1, 1, 1, 3]) / 6)
        np.testing.assert_allclose(limited.keeps, [1, 1, 1, 2 / 50])
