"""Scores of images against images, pixel by pixel: of an image and the real one of its mask, and among one set."""

from cmrfed.evaluation.fidelity.metrics.pixels.diversity import pair_similarity
from cmrfed.evaluation.fidelity.metrics.pixels.paired import PAIRED, ms_ssim, ssim
from cmrfed.evaluation.fidelity.metrics.pixels.partners import nearest_by_mask
from cmrfed.evaluation.fidelity.metrics.pixels.perceptual import perceptual_distance

__all__ = ["PAIRED", "ms_ssim", "nearest_by_mask", "pair_similarity", "perceptual_distance", "ssim"]
