"""What two people read to each other over the phone, to know that they have the same certificate or key."""

import hashlib
import re

_DIGITS = 32
"""128 bits: nobody finds a second certificate or key with the same."""


def fingerprint(content: bytes) -> str:
    """The first 128 bits of SHA-256 as eight groups of four hex digits, so that letters' case does not matter.

    >>> fingerprint(b"abc")
    'ba78-16bf-8f01-cfea-4141-40de-5dae-2223'
    """
    digits = hashlib.sha256(content).hexdigest()[:_DIGITS]
    return "-".join(re.findall("....", digits))


def same_fingerprint(one: str, other: str) -> bool:
    """Whether they are of the same content, however their groups were written down; a part of one is none.

    >>> same_fingerprint("BA78 16BF 8F01 CFEA 4141 40DE 5DAE 2223", fingerprint(b"abc"))
    True
    """
    digits = [re.sub(r"[\s:-]", "", text).lower() for text in (one, other)]
    return digits[0] == digits[1] and bool(re.fullmatch(f"[0-9a-f]{{{_DIGITS}}}", digits[0]))
