"""One number for a reader in a hurry, which never stands without its parts.

A weighted geometric mean over fidelity, utility and privacy, each in [0, 1] with 1 best (after Padariya 2025, who joins
the three for synthetic medical images). Geometric, because a generator that leaks everything or draws nothing of use
must not be saved by the other two.
"""

import math

from cmrfed.config import CompositeConfig
from cmrfed.evaluation.subject import Results


def composite(scores: Results, weights: CompositeConfig) -> Results | None:
    """{"value", "parts", "weights", "void"} of one arm's scores; None where one of the three was not measured.

    fidelity: floor over FID, at most 1. utility: how far a segmenter trained on synthetic images gets from the blind
    mask, which looks at no image, to one trained on real images: (Dice - blind) / (real - blind), at most 1, and 0
    where it does not beat blind. privacy: 1 - 2 (AUC - 1/2) of the strongest attack, from 1 (blind) to 0; as the
    largest of several noisy figures it errs towards a leak.

    Where the segmenter trained on real images does not beat blind, utility is not known: it and the value are None, and
    `void` says why.
    """
    if not all(scores.get(kind) for kind in ("fidelity", "utility", "leakage")):
        return None
    fidelity, void = scores["fidelity"], scores["utility"]["void"]
    strongest = max(attack["auc"] for attack in scores["leakage"].values())
    parts = {
        "fidelity": _share(fidelity["fid_real"], fidelity["fid"]),
        "utility": None if void else _use(scores["utility"]),
        "privacy": min(1.0, 2 - 2 * strongest),
    }
    shares = weights.model_dump()
    total = sum(shares.values())
    known = [(part, shares[name] / total) for name, part in parts.items() if part is not None]
    return {
        "value": None if void else math.prod(part**share for part, share in known),
        "parts": parts,
        "weights": {name: share / total for name, share in shares.items()},
        "void": void,
    }


def _use(utility: Results) -> float:
    synthetic, real = (utility["over_blind"][name] for name in ("synthetic", "real"))
    return _share(synthetic["value"], real["value"]) if synthetic["beats_blind"] else 0.0


def _share(part: float, whole: float) -> float:
    """part / whole, kept in [0, 1]; 1 where there is no whole to fall short of."""
    return min(1.0, max(0.0, part) / whole) if whole > 0 else 1.0
