"""Whether a generator draws one patient over and over: the share of images whose nearest training image is of the same
patient, for the patient to whom most images are nearest."""

import numpy as np

from cmrfed.evaluation.leakage.attacks.neighbours import Neighbours, Points


def share_of_one_patient(found: Neighbours, train: Points) -> float:
    """Of images, given their neighbours in the training set; in (0, 1], near 1 / patients where they spread evenly."""
    owners = train.owners[found.indices[:, 0]]
    return float(np.unique(owners, return_counts=True)[1].max() / len(owners))
