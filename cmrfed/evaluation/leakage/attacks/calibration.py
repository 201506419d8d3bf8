"""From several numbers a patient to one score, by a classifier that patients of known membership teach.

Those patients' own scores are too good to be reported. Cross-fitting, where two halves teach each other, would score
everybody; but with few patients the two halves' chance errors are nearly the same number, so that an interval over
both is too narrow.
"""

import numpy as np
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

_INVERSE_STRENGTH = 0.1
"""Strong regularisation: there are about as many numbers as patients."""


def fitted_scores(
    statistics: Float[np.ndarray, "patient statistic"],
    member: Bool[np.ndarray, " patient"],
    calibration: Bool[np.ndarray, " patient"],
) -> Float[np.ndarray, " patient"]:
    """Log odds of membership by L2-regularised logistic regression on the calibration patients.

    The scores of the calibration patients themselves may choose a threshold and nothing else. Raises ValueError unless
    members and non-members are among them.
    """
    if len(set(member[calibration].tolist())) < 2:
        raise ValueError("calibration needs members and non-members")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=_INVERSE_STRENGTH, class_weight="balanced"))
    model.fit(statistics[calibration], member[calibration])
    return np.asarray(model.decision_function(statistics), dtype=np.float64)
