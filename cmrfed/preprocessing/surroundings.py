"""What is around the heart, as unsupervised classes of tissue: extra labels for a generator to draw from.

Masks of the ventricles alone leave a generator to invent the rest; told where bright, middling and dark tissue lies, it
draws better images (multi-tissue conditioning, Al Khalil et al., Medical Image Analysis 2023, uses such labels).
"""

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.ndimage import gaussian_filter
from sklearn.cluster import KMeans

from cmrfed.shapes import FIRST_TISSUE, Label

_BLUR_PX = 0.7  # classes are of tissue, not of noise
_PIXELS = 20_000


def with_tissue_classes(
    image: Float32[np.ndarray, "slice row column"], mask: UInt8[np.ndarray, "slice row column"], classes: int
) -> UInt8[np.ndarray, "slice row column"]:
    """The mask with its background replaced by `classes` (0: none) classes of intensity, FIRST_TISSUE the darkest.

    k-means on the intensities of this one stack, started at their quantiles, so that it is the same every time.
    """
    around = mask == Label.BACKGROUND
    values = gaussian_filter(image, (0, _BLUR_PX, _BLUR_PX))[around]
    if classes == 0 or len(np.unique(values)) <= classes:
        return mask
    some = values[:: max(1, len(values) // _PIXELS), None]
    start = np.quantile(some, (np.arange(classes) + 0.5) / classes)[:, None]
    centres = np.sort(KMeans(classes, init=start, n_init=1).fit(some).cluster_centers_[:, 0])
    labelled = mask.copy()
    labelled[around] = FIRST_TISSUE + np.searchsorted((centres[1:] + centres[:-1]) / 2, values)
    return labelled
