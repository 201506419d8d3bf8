"""Where the randomness that the guarantee rests on comes from.

Both the patients' Poisson sampling and the Gaussian noise must be unpredictable to whoever sees an update:
amplification by sampling presumes that the sample is secret. `SecureRandom` expands 256 bits of operating-system
entropy with AES-CTR (NIST SP 800-90A's construction); `SeededRandom` repeats itself and is for tests alone.
"""

import math
import secrets
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from jaxtyping import Bool, Float
from torch import Tensor

KEY_BYTES = 32
_BLOCK = 1 << 17


def fresh_key() -> bytes:
    """256 bits of operating-system entropy: the key of one stream."""
    return secrets.token_bytes(KEY_BYTES)


class Random(ABC):
    """Uniform and Gaussian draws from a stream of random 64-bit words."""

    secure: bool

    @abstractmethod
    def words(self, count: int) -> np.ndarray:
        """`count` uniform words, uint64."""

    def uniform(self, count: int) -> Float[Tensor, " count"]:
        """Uniform doubles in (0, 1], 53 bits each; never 0, whose logarithm Box-Muller takes."""
        high_bits = (self.words(count) >> np.uint64(11)).astype(np.int64)
        return (torch.from_numpy(high_bits).double() + 1) * 2.0**-53

    def fine_uniform(self, count: int) -> Float[Tensor, " count"]:
        """Uniform doubles in (0, 1] that keep 53 bits wherever they lie, down to 2^-118."""
        words = self.words(count)
        values = words.astype(np.float64)
        few = np.flatnonzero(words < np.uint64(1 << 53))  # a word above fills all 53 bits by itself
        values[few] += (self.words(len(few)).astype(np.float64) + 0.5) * 2.0**-64
        return torch.from_numpy(values).mul_(2.0**-64)

    def bernoulli(self, probability: float, count: int) -> Bool[Tensor, " count"]:
        """Independent coin flips; probability 1 is certain and 0 impossible."""
        return self.uniform(count) <= probability

    def normal(self, count: int) -> Float[Tensor, " count"]:
        """Unit Gaussians in double precision by Box and Muller (1958); in blocks that fit the cache.

        The radius comes from 128 bits, so that tails reach to |z| = 12.8 (from 53 bits they would end at 8.6, and what
        is cut off, 1e-17 a draw, would add up over millions of weights).
        """
        draws = torch.empty(count, dtype=torch.float64)
        for start in range(0, count, 2 * _BLOCK):
            block = draws[start : start + 2 * _BLOCK]
            pairs = (len(block) + 1) // 2
            radius = self.fine_uniform(pairs).log_().mul_(-2).sqrt_()
            angle = self.uniform(pairs).mul_(2 * math.pi)
            block[:pairs] = radius * angle.cos()
            block[pairs:] = (radius * angle.sin_())[: len(block) - pairs]
        return draws


class SecureRandom(Random):
    """AES-256 in counter mode under a secret key, used for one stream and never again: 32 bytes from the operating
    system, drawn here or, where a crash must not cost a second draw, beforehand (`fresh_key`)."""

    secure = True

    def __init__(self, key: bytes | None = None) -> None:
        if key is not None and len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, found {len(key)}")
        self._stream = Cipher(algorithms.AES(key or fresh_key()), modes.CTR(bytes(16))).encryptor()

    def words(self, count: int) -> np.ndarray:
        return np.frombuffer(self._stream.update(bytes(8 * count)), dtype=np.uint64)


class SeededRandom(Random):
    """A repeatable stream. Whoever knows the seed can take the noise away again: for tests, never for patients."""

    secure = False

    def __init__(self, *seed: int) -> None:
        self._stream = np.random.default_rng(seed)

    @property
    def state(self) -> dict[str, Any]:
        """Where the stream stands, as JSON can hold it; set, it goes on from there."""
        return dict(self._stream.bit_generator.state)

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._stream.bit_generator.state = state

    def words(self, count: int) -> np.ndarray:
        return self._stream.integers(0, 2**64, count, dtype=np.uint64)
