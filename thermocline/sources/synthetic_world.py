"""A made-up market, the same every time: each number is a hash of the seed, the symbol, the instant and a channel.

Nothing depends on what was asked before or on the range asked for, so any part of it can be made alone.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]

DAY_SECONDS = 86_400

_STRIDE = np.uint64(0x9E3779B97F4A7C15)
_CHANNEL = np.uint64(0xD1342543DE82EF95)
_TO_UNIT = 2.0**-53
_NOISE = 0.0004  # of the price, from one instant to the next
_SWINGS = (
    (0.25, 300, 500),
    (0.08, 20, 40),
    (0.01, 1, 2),
)  # amplitude in log price, shortest period and spread, in days


@dataclass(frozen=True)
class World:
    """Prices and chances of a seed. Symbols are given as their `keys`, instants as seconds since 1970."""

    seed: int = 0
    start_price: float = 100.0

    def keys(self, symbols: Sequence[str]) -> Keys:
        """One key for each symbol."""
        digests = [hashlib.blake2b(f"{self.seed}/{each}".encode(), digest_size=8).digest() for each in symbols]
        return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)

    def bits(self, keys: Keys, seconds: Integers, channel: int) -> Keys:
        """Sixty-four random bits (the finaliser of splitmix64, https://prng.di.unimi.it/splitmix64.c, read 2026-11)."""
        with np.errstate(over="ignore"):
            values = keys + seconds.astype(np.uint64) * _STRIDE + np.uint64(channel) * _CHANNEL
            values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            return values ^ (values >> np.uint64(31))

    def chance(self, keys: Keys, seconds: Integers, channel: int) -> Floats:
        """Uniform in [0, 1)."""
        return (self.bits(keys, seconds, channel) >> np.uint64(11)).astype(np.float64) * _TO_UNIT

    def choice(self, keys: Keys, seconds: Integers, channel: int, count: int) -> Integers:
        """One of 0 to count - 1."""
        return (self.bits(keys, seconds, channel) % np.uint64(count)).astype(np.int64)

    def cents(self, keys: Keys, seconds: Integers) -> Integers:
        """The price at an instant, in cents, at least one. It swings around a level of its own for each symbol."""
        none = np.zeros(1, dtype=np.int64)
        logarithm = 1.5 * (self.chance(keys, none, 0) - 0.5)
        days = seconds / DAY_SECONDS
        for number, (amplitude, shortest, spread) in enumerate(_SWINGS):
            period = shortest + spread * self.chance(keys, none, 10 + number)
            phase = 2 * np.pi * self.chance(keys, none, 20 + number)
            logarithm = logarithm + amplitude * np.sin(2 * np.pi * days / period + phase)
        logarithm = logarithm + _NOISE * (2 * self.chance(keys, seconds, 1) - 1)
        cents: Integers = np.maximum(np.rint(100 * self.start_price * np.exp(logarithm)), 1).astype(np.int64)
        return cents
