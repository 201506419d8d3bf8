"""Where the randomness that the guarantee rests on comes from.

Both the patients' Poisson sampling and the Gaussian noise must be unpredictable to whoever sees an update:
amplification by sampling presumes that the sample is secret. `SecureRandom` expands 256 bits of operating-system
entropy with AES-CTR (NIST SP 800-90A's construction); `SeededRandom` repeats itself and is for tests alone.
"""

import math
import secrets
from abc import ABC, abstractmethod

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from jaxtyping import Bool, Float
from torch import Tensor

_BLOCK = 1 << 17


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

    def bernoulli(self, probability: float, count: int) -> Bool[Tensor, " count"]:
        """Independent coin flips; probability 1 is certain and 0 impossible."""
        return self.uniform(count) <= probability

    def normal(self, count: int) -> Float[Tensor, " count"]:
        """Unit Gaussians in double precision by Box and Muller (1958), to |z| < 8.6; in blocks that fit the cache."""
        draws = torch.empty(count, dtype=torch.float64)
        for start in range(0, count, 2 * _BLOCK):
            block = draws[start : start + 2 * _BLOCK]
            pairs = (len(block) + 1) // 2
            uniform = self.uniform(2 * pairs)
            radius = uniform[:pairs].log_().mul_(-2).sqrt_()
            angle = uniform[pairs:].mul_(2 * math.pi)
            block[:pairs] = radius * angle.cos()
            block[pairs:] = (radius * angle.sin_())[: len(block) - pairs]
        return draws


class SecureRandom(Random):
    """AES-256 in counter mode under a key from the operating system that never leaves this object."""

    secure = True

    def __init__(self) -> None:
        self._stream = Cipher(algorithms.AES(secrets.token_bytes(32)), modes.CTR(secrets.token_bytes(16))).encryptor()

    def words(self, count: int) -> np.ndarray:
        return np.frombuffer(self._stream.update(bytes(8 * count)), dtype=np.uint64)


class SeededRandom(Random):
    """A repeatable stream. Whoever knows the seed can take the noise away again: for tests, never for patients."""

    secure = False

    def __init__(self, *seed: int) -> None:
        self._stream = np.random.default_rng(seed)

    def words(self, count: int) -> np.ndarray:
        return self._stream.integers(0, 2**64, count, dtype=np.uint64)
