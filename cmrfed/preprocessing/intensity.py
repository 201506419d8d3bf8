"""Intensities of one stack -> [0, 1]. Everything is measured on this one volume, inside the field of view.

So nothing passes from patient to patient, and what lies outside the field of view, which varies with how the scan was
planned, has no say.
"""

import numpy as np
from jaxtyping import Float32
from skimage.filters import threshold_otsu

from cmrfed.config import PreprocessingConfig, UserError
from cmrfed.shapes import Volume


def to_unit(cropped: Volume, config: PreprocessingConfig, name: str) -> Float32[np.ndarray, "slice row column"]:
    """Clip to a range of the volume's own and map that to [0, 1].

    "percentiles": the range between `config.percentiles`. "minmax": from the least to the largest value. "zscore": the
    foreground's mean and `config.zscore_limit` standard deviations either way, the foreground being what is brighter
    than Otsu's threshold (IEEE Trans SMC 9(1), 1979). Raises UserError when the image is constant.
    """
    low, high = _range(cropped, config)
    if not high > low:
        raise UserError(f"{name}: the image is constant ({low:g}) around the heart; export it again")
    return (cropped.clip(low, high) - low) / (high - low)


def _range(cropped: Volume, config: PreprocessingConfig) -> tuple[np.float32, np.float32]:
    if config.intensity == "percentiles":
        low, high = np.percentile(cropped, config.percentiles)
    elif config.intensity == "minmax":
        low, high = cropped.min(), cropped.max()
    elif cropped.min() == cropped.max():
        low = high = cropped.min()
    else:
        foreground = cropped[cropped > threshold_otsu(cropped)]
        middle, reach = foreground.mean(), config.zscore_limit * foreground.std()
        low, high = middle - reach, middle + reach
    return np.float32(low), np.float32(high)
