"""One number for a reader in a hurry, which never stands without its parts.

A weighted geometric mean over fidelity, utility and privacy, each in [0, 1] with 1 best (after Padariya 2025, who joins
the three for synthetic medical images). Geometric, because a generator that leaks everything or draws nothing of use
must not be saved by the other two.
"""

import math

from cmrfed.config import CompositeConfig
from cmrfed.evaluation.schema import ArmScores, Composite, Utility


def composite(scores: ArmScores, weights: CompositeConfig) -> Composite | None:
    """Of one arm's scores; None where one of the three was not measured, or too few images were for an FID.

    fidelity: floor over FID, at most 1. utility: how far a segmenter trained on synthetic images gets from the blind
    mask, which looks at no image, to one trained on real images: (Dice - blind) / (real - blind), at most 1, and 0
    where it does not beat blind. privacy: 1 - 2 (AUC - 1/2) of the strongest attack, from 1 (blind) to 0; as the
    largest of several noisy figures it errs towards a leak.

    Where the segmenter trained on real images does not beat blind, utility is not known: it and the value are None, and
    `void` says why.
    """
    frechet = scores.fidelity.frechet if scores.fidelity else None
    utility, attacks = scores.utility, scores.leakage
    if frechet is None or frechet.floor is None or utility is None or not attacks:
        return None
    parts = {
        "fidelity": _share(frechet.floor, frechet.value),
        "utility": None if utility.void else _use(utility),
        "privacy": min(1.0, 2 - 2 * max(attack.auc for attack in attacks.values())),
    }
    shares = weights.model_dump()
    total = sum(shares.values())
    known = [(part, shares[name] / total) for name, part in parts.items() if part is not None]
    return Composite.model_validate(
        {
            "value": None if utility.void else math.prod(part**share for part, share in known),
            "parts": parts,
            "weights": {name: share / total for name, share in shares.items()},
            "void": utility.void,
        }
    )


def _use(utility: Utility) -> float:
    gains = utility.over_blind
    return 0.0 if utility.of_no_use else _share(gains.synthetic.value, gains.real.value)


def _share(part: float, whole: float) -> float:
    """part / whole, kept in [0, 1]; 1 where there is no whole to fall short of."""
    return min(1.0, max(0.0, part) / whole) if whole > 0 else 1.0
