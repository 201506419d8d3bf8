"""Whether a segmenter's volumes, ejection fraction and mass agree with those of the reader's masks."""

import numpy as np

from cmrfed.evaluation.schema import Function
from cmrfed.evaluation.utility.metrics import MEASURES, Outcome, bland_altman, cardiac_function, mean_function
from cmrfed.slices import Slices


def function_agreement(outcome: Outcome, held_out: Slices) -> Function:
    """Bland and Altman's agreement by measure, over whole hearts.

    Left out are patients without a stack at both phases, and those of whom some slice has no label, since the rest of a
    stack is not its volume.
    """
    reference, measured = cardiac_function(outcome.tested), mean_function(outcome)
    whole = {record.patient for record in wholly_labelled(outcome.tested, held_out).records}
    kept = np.array([record.patient in whole for record in reference.patients], dtype=bool)
    left_out = {
        "without_both_phases": outcome.tested.number_of_patients - len(reference.patients),
        "partly_labelled": int((~kept).sum()),
    }
    agreement = {name: bland_altman(measured.values[name][kept], reference.values[name][kept]) for name in MEASURES}
    return Function.model_validate({**agreement, "left_out": left_out})


def wholly_labelled(labelled: Slices, slices: Slices) -> Slices:
    """Of the labelled slices those of patients whose every slice is labelled."""
    counts = {name: len(slices.of_patient(number)) for number, name in enumerate(slices.patient_names)}
    return labelled.subset(
        name for number, name in enumerate(labelled.patient_names) if len(labelled.of_patient(number)) == counts[name]
    )
