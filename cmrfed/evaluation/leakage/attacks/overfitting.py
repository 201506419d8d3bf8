"""The overfitting gap: how much lower the loss is on trained patients than on held-out ones (Yeom et al., CSF 2018,
arXiv:1709.01604, who show that it bounds the mean advantage of the loss attack)."""

import numpy as np
from jaxtyping import Float

from cmrfed.evaluation.leakage.attacks.areas import MemberScores, NonMemberScores
from cmrfed.evaluation.leakage.attacks.membership import resampled
from cmrfed.statistics import percentile_interval


def overfitting_gap(
    trained: Float[np.ndarray, " member"],
    held_out: Float[np.ndarray, " non_member"],
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, float | list[float]]:
    """Mean losses by patient of both sides, "gap" (held-out minus trained; 0 without overfitting) and "gap_ci95" by
    bootstrap over patients."""
    draws = [_gap(*pair) for pair in resampled(trained, held_out, replicates, seed)]
    return {
        "loss_trained": float(trained.mean()),
        "loss_held_out": float(held_out.mean()),
        "gap": _gap(trained, held_out),
        "gap_ci95": percentile_interval(np.array(draws)),
    }  # fmt: skip


def _gap(trained: MemberScores, held_out: NonMemberScores) -> float:
    return float(held_out.mean() - trained.mean())
