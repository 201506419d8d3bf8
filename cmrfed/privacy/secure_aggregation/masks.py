"""Masks: ChaCha20 keystreams (RFC 8439) read as little-endian 32-bit words and added modulo 2^32.

A site i masks its vector x_i as in Bonawitz et al. (2017), section 4:

    y_i = x_i + PRG(b_i) + sum over peers j of sign(i, j) PRG(s_ij)   mod 2^32,   sign(i, j) = +1 if i < j else -1

`context` is the roster's digest, which binds the session and everybody's keys.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from jaxtyping import UInt32

from cmrfed.privacy.secure_aggregation.keys import agreed_key, derive_key

_BLOCK = 1 << 18
"""Entries of keystream that are in memory at once."""


def add_self_mask(
    vector: UInt32[np.ndarray, " entry"], seed: str, name: str, context: str, sign: Literal[1, -1]
) -> None:
    """Add (or, to unmask, subtract) PRG(b) of the site `name`, in place. `seed` is hex."""
    key = derive_key(bytes.fromhex(seed), "self mask", context, name)
    _add_keystream(vector, key, sign)


def add_pairwise_masks(
    vector: UInt32[np.ndarray, " entry"], private: str, name: str, peers: Iterable[tuple[str, str]], context: str
) -> None:
    """Add the masks that the site `name`, whose private mask key is given, has with each of `peers` (name, public key).

    The two sides of a pair add what cancels. In place. Raises ProtocolViolation on a degenerate public key.
    """
    for peer, public in peers:
        first, second = sorted((name, peer))
        key = agreed_key(private, public, "pairwise mask", context, first, second)
        _add_keystream(vector, key, 1 if name == first else -1)


def _add_keystream(vector: UInt32[np.ndarray, " entry"], key: bytes, sign: Literal[1, -1]) -> None:
    # The nonce may be constant: a key is derived for one stream and never used for another.
    stream = Cipher(algorithms.ChaCha20(key, nonce=bytes(16)), mode=None).encryptor()
    accumulate = np.add if sign == 1 else np.subtract
    for start in range(0, len(vector), _BLOCK):
        block = vector[start : start + _BLOCK]
        words = np.frombuffer(stream.update(bytes(block.nbytes)), dtype="<u4")
        accumulate(block, words, out=block)
