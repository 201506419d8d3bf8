"""What every attack is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Evidence = Literal["probe", "shadows", "pixels", "features"]
"""What is at hand: a `Probe`, `Shadows`, or `Samples` in one of two spaces."""


@dataclass(frozen=True)
class Attack:
    """One attack. `scores` takes the evidence that it `needs`; one score a patient, higher for members, or several
    numbers a patient for a classifier to weight.

    calibrated: whether it learns from calibration patients, whom it must then not be judged on.
    access: what the attacker holds: the loss of any image, the model's predictions, its gradients, or samples alone.
    family: attacks of one family rest on one idea, and count once.
    """

    scores: Callable[[Any], Any]
    needs: Evidence
    access: Literal["loss", "model", "gradients", "samples"]
    family: str
    paper: str
    meaning: str
    calibrated: bool = False
