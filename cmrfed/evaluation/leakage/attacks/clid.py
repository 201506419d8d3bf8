"""CLiD for masks, conditional likelihood discrepancy (Zhai et al., NeurIPS 2024, arXiv:2405.14800).

An overfitted conditional generator has learnt its members' images *given their conditions*: what the condition brings
is larger for them.

    score = mean_h [ L(x_h | no mask, no condition) - L(x_h | mask, condition) ].
"""

import numpy as np
from jaxtyping import Float

from cmrfed.evaluation.leakage.attacks.attack import Attack
from cmrfed.evaluation.leakage.attacks.probe import Probe


def clid_scores(probe: Probe) -> Float[np.ndarray, " patient"]:
    """What mask and condition take off a patient's loss: higher means "more likely a member"."""
    return probe.patient_means((probe.losses_over_times(kept=False) - probe.loss_curve).mean(dim=1))


CLID = Attack(
    scores=clid_scores,
    needs="probe",
    access="loss",
    family="condition",
    paper="Zhai et al. 2024, arXiv:2405.14800",
    meaning="Mask and vendor help the generator more with a training image than with a stranger's.",
)
