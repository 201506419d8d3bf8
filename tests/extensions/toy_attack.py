"""An attack: patients whose images are brightest are called members."""

import numpy as np

from cmrfed.evaluation.leakage.attacks import Attack, Probe


def brightness_scores(probe: Probe) -> np.ndarray:
    return probe.patient_means(probe.slices.images.flatten(1).mean(1))


BRIGHTNESS = Attack(
    scores=brightness_scores,
    needs="probe",
    access="samples",
    family="brightness",
    paper="none",
    meaning="Members are bright.",
)
