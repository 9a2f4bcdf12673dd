"""The A that boxes start with, from the seed: the numbers that graft itself draws.

Where A is frozen it never travels; the server makes it to write whole adapters. As in graft, the seed is
hashed with a purpose (src/data/random.ts) and starts a PCG-XSH-RR 64/32 (src/random.ts), whose numbers
fill A of each layer in order with U(-1/√in, 1/√in) (src/lora/init.ts).
"""

import json
import math

import numpy as np

from .layout import Layers

MULTIPLIER = 6364136223846793005
INCREMENT = 1442695040888963407
MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF


def seeded_a(layers: Layers, seed: int) -> list[np.ndarray | None]:
    """A [rank, in] of each layer as float32; None for tensors trained in full."""
    state = (_hash53(json.dumps([seed, "adapter"], separators=(",", ":"))) + INCREMENT) & MASK64
    _, state = _draw(1, state)
    found: list[np.ndarray | None] = []
    for layer in layers:
        if layer.rank == 0:
            found.append(None)
            continue
        numbers, state = _draw(layer.rank * layer.inputs, state)
        uniform = (numbers + 0.5) / 2**32
        a = (2 * uniform - 1) / math.sqrt(layer.inputs)
        found.append(a.astype(np.float32).reshape(layer.rank, layer.inputs))
    return found


def _draw(count: int, state: int) -> tuple[np.ndarray, int]:
    """`count` whole numbers in [0, 2³²) as float64, and the state after them."""
    states = np.empty(count, np.uint64)
    for i in range(count):
        states[i] = state
        state = (state * MULTIPLIER + INCREMENT) & MASK64
    mixed = (((states >> np.uint64(18)) ^ states) >> np.uint64(27)) & np.uint64(MASK32)
    turn = states >> np.uint64(59)
    back = (np.uint64(32) - turn) & np.uint64(31)
    turned = ((mixed >> turn) | (mixed << back)) & np.uint64(MASK32)
    return turned.astype(np.float64), state


def _hash53(text: str) -> int:
    a, b = 0x9E3779B9, 0x85EBCA6B
    for character in text:
        unit = ord(character)
        a = ((a ^ unit) * 0xCC9E2D51) & MASK32
        b = ((b ^ unit) * 0x1B873593) & MASK32
        a = ((a << 13) | (a >> 19)) & MASK32
        b = ((b << 15) | (b >> 17)) & MASK32
    high = _finalize(a ^ len(text) ^ _finalize(b))
    low = _finalize(b ^ high)
    return (high >> 11) * 2**32 + low


def _finalize(h: int) -> int:
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & MASK32
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & MASK32
    return h ^ (h >> 16)
