"""Whether a generator draws one patient over and over: the share of images whose nearest training image is of the same
patient, for the patient to whom most images are nearest."""

import numpy as np

from cmrfed.attacks.neighbours import Points, nearest


def share_of_one_patient(images: Points, train: Points) -> float:
    """In (0, 1]; near 1 / patients where images spread evenly."""
    owners = train.owners[nearest(images, train).indices[:, 0]]
    return float(np.unique(owners, return_counts=True)[1].max() / len(owners))
