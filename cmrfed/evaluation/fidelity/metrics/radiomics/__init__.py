"""Radiomic features of whole slices: the space of the Frechet radiomic distance (FRD; Konz, Osuala et al., Medical
Image Analysis 2026, arXiv:2412.01496).

Its published recipe for 2-D images: intensities standardised and times 100, bins 5 wide, first-order, co-occurrence,
run-length, size-zone and neighbourhood features of the image and of its four wavelet bands, as PyRadiomics defines them
(van Griethuysen et al., Cancer Research 2017; Zwanenburg et al., IBSI, Radiology 2020). Here they are computed for a
batch of images at once. Two departures: pixels are not resampled, for the common grid is near the recipe's 2 mm; and
"total energy", which is energy times a constant, is left out.
"""

import numpy as np
import pywt
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import nn

from cmrfed.evaluation.fidelity.metrics.radiomics.cooccurrence import cooccurrence
from cmrfed.evaluation.fidelity.metrics.radiomics.first_order import first_order
from cmrfed.evaluation.fidelity.metrics.radiomics.neighbourhood import neighbourhood
from cmrfed.evaluation.fidelity.metrics.radiomics.runs import run_lengths
from cmrfed.evaluation.fidelity.metrics.radiomics.zones import size_zones

SCALE, BIN_WIDTH, WAVELET = 100.0, 5.0, "coif1"

Images = Float64[np.ndarray, "image row column"]


class Radiomics(nn.Module):
    """Grey 8-bit images of even sides -> 380 features; it has no weights and computes on the CPU."""

    def forward(self, pixels: UInt8[torch.Tensor, "batch 1 row column"]) -> Float[torch.Tensor, "batch feature"]:
        """Features in the order of `radiomic_features`."""
        found = radiomic_features(pixels[:, 0].cpu().numpy().astype(np.float64))
        return torch.from_numpy(np.column_stack(list(found.values())))


def radiomic_features(images: Images) -> dict[str, Float64[np.ndarray, " image"]]:
    """Every feature of every image by name, as "band_class_feature". Each image is standardised by itself first, so
    that the scale of intensities plays no part. Raises ValueError when a side is odd, which has no wavelet bands."""
    if any(side % 2 for side in images.shape[1:]):
        raise ValueError(f"radiomic features need even sides, found {images.shape[1:]}")
    found: dict[str, Float64[np.ndarray, " image"]] = {}
    for band, image in bands(standardised(images)).items():
        levels = grey_levels(image)
        classes = {
            "firstorder": first_order(image, levels),
            "glcm": cooccurrence(levels),
            "glrlm": run_lengths(levels),
            "glszm": size_zones(levels),
            "ngtdm": neighbourhood(levels),
        }
        found |= {f"{band}_{kind}_{name}": row for kind, rows in classes.items() for name, row in rows.items()}
    return found


def standardised(images: Images) -> Images:
    """Mean 0 and standard deviation `SCALE` (of a sample) for every image; an image of one value becomes 0."""
    centred = images - images.mean((1, 2), keepdims=True)
    spread = images.std((1, 2), ddof=1, keepdims=True)
    return SCALE * centred / np.where(spread > 0, spread, 1)


def bands(images: Images) -> dict[str, Images]:
    """The images, and their four undecimated wavelet bands, named by the filter along columns and then along rows."""
    ((low, (across_rows, across_columns, both)),) = pywt.swt2(images, WAVELET, level=1, axes=(1, 2))
    return {
        "original": images,
        "wavelet-LL": low,
        "wavelet-LH": across_rows,
        "wavelet-HL": across_columns,
        "wavelet-HH": both,
    }


def grey_levels(images: Images) -> Int64[np.ndarray, "image row column"]:
    """Bins from 1 on, whose edges are multiples of `BIN_WIDTH`."""
    bins = np.floor(images / BIN_WIDTH).astype(np.int64)
    return bins - bins.min((1, 2), keepdims=True) + 1
