"""Sums of products B·A without their full matrices: norms and truncated singular values."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

Term = tuple[float, np.ndarray, np.ndarray]
"""A weight, A [rank, in] and B [out, rank]: weight·B·A."""

ROW_NORM = 1 / np.sqrt(3)
"""Norm of a row of A from U(-1/√in, 1/√in), as adapters start with."""


@dataclass(frozen=True)
class Product:
    """B·A with `b` [out, k] and `a` [k, in], in float64."""

    b: np.ndarray
    a: np.ndarray


def sum_of(terms: Iterable[Term]) -> Product:
    """Σ weight·B·A, exact: the factors side by side."""
    terms = [(weight, a, b) for weight, a, b in terms if weight != 0]
    b = np.concatenate([weight * b.astype(np.float64) for weight, _, b in terms], axis=1)
    a = np.concatenate([a.astype(np.float64) for _, a, _ in terms], axis=0)
    return Product(b, a)


def squared_norm(product: Product) -> float:
    """‖B·A‖² (Frobenius), without B·A: of R_B·R_Aᵀ, where B = Q_B·R_B and Aᵀ = Q_A·R_A."""
    if product.a.shape[0] == 0:
        return 0.0
    left = np.linalg.qr(product.b, mode="r")
    right = np.linalg.qr(product.a.T, mode="r")
    return float(np.sum((left @ right.T) ** 2))


@dataclass(frozen=True)
class Truncated:
    """The best B·A of a rank: `b` [out, rank], `a` [rank, in].

    `kept` and `total` are squared norms: of it and of the product that it was made of.
    """

    a: np.ndarray
    b: np.ndarray
    kept: float
    total: float


def truncate(product: Product, rank: int, fresh: np.random.Generator) -> Truncated:
    """The closest product of a rank (Eckart and Young), by QR of both factors and an SVD between.

    Rows of A have the norm that they start a training with, so that steps of one learning rate mean the
    same in every round. Where the product has fewer ranks, rows of A are drawn as at a start and columns
    of B are zero: a pair of zeros would never learn.
    """
    q_left, r_left = np.linalg.qr(product.b)
    q_right, r_right = np.linalg.qr(product.a.T)
    u, s, vt = np.linalg.svd(r_left @ r_right.T)
    squares = s**2
    used = int(min(rank, np.sum(s > s[0] * 1e-12 if s.size and s[0] > 0 else s > 0)))
    inputs, outputs = product.a.shape[1], product.b.shape[0]
    a = fresh.uniform(-1, 1, (rank, inputs)) / np.sqrt(inputs)
    b = np.zeros((outputs, rank))
    a[:used] = (q_right @ vt[:used].T).T * ROW_NORM
    b[:, :used] = (q_left @ u[:, :used]) * s[:used] / ROW_NORM
    return Truncated(a, b, float(np.sum(squares[:used])), float(np.sum(squares)))
