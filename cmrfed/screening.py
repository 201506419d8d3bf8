"""Images that do not show what they were asked for are drawn again, and left out where that does not help.

A frozen segmenter (Ma et al. screen so) looks for each mask's structures in the image that was drawn for it. It learnt
from phantoms alone, so that screening looks at nobody; what it cannot find, others will hardly learn from. It judges
phantoms' looks: where real images differ much from all of them, it finds less, and its threshold is to be lower.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import nn

from cmrfed.cache import cache_folder
from cmrfed.config import PreprocessingConfig, ScreeningConfig
from cmrfed.core.progress import ProgressBar
from cmrfed.evaluation.fidelity.metrics import FAITHFULNESS, faithfulness
from cmrfed.evaluation.utility.metrics import BACKBONES, TrainingSet, predict, train_segmenter
from cmrfed.phantom.layout import VERSION as PHANTOM_VERSION
from cmrfed.preparation import phantom_slices
from cmrfed.shapes import structures_of
from cmrfed.slices import Slices
from cmrfed.updates import load_arrays, read_weights, save_weights, write_weights

_HEARTS, _STEPS, _SEED = 120, 600, 2**62
"""What the segmenter learns from and how long; no training of a generator sees these hearts."""

Draw = Callable[[int], Slices]
"""The images of a stack, drawn for the so-manieth time, counted from 0."""


@dataclass(frozen=True)
class Screened:
    """images: of each slice the one in which most was found. dice: what was found, NaN where nothing was asked for.
    drawn_again: how many slices are from another than the first try."""

    images: Float32[np.ndarray, "slice row column"]
    dice: Float[np.ndarray, " slice"]
    drawn_again: int

    @property
    def mean_dice(self) -> float:
        """Over the slices that asked for something; 1 where none did."""
        known = self.dice[np.isfinite(self.dice)]
        return float(known.mean()) if len(known) else 1.0


@dataclass(frozen=True)
class Screen:
    """The segmenter and what it must find."""

    segmenter: nn.Module
    config: ScreeningConfig

    def __call__(self, draw: Draw) -> Screened:
        """Draw a stack until every slice shows what was asked for, `tries` times at most."""
        drawn = draw(0)
        best, images = self._dice(drawn), np.array(drawn.images)
        again = np.zeros(len(drawn), bool)
        for number in range(1, self.config.tries):
            if not (best < self.config.dice).any():
                break
            other = draw(number)
            found = self._dice(other)
            better = (best < self.config.dice) & (found > best)
            images[better], best = np.asarray(other.images)[better], np.where(better, found, best)
            again |= better
        return Screened(images, best, int(again.sum()))

    def _dice(self, drawn: Slices) -> Float[np.ndarray, " slice"]:
        asked = structures_of(torch.from_numpy(np.asarray(drawn.masks)).long())
        found = torch.from_numpy(predict(self.segmenter, drawn)).long()
        return np.asarray(faithfulness(found, asked, drawn.spacing_mm[0, 1:])[:, FAITHFULNESS.index("dice_mean")])


def frozen_segmenter(preprocessing: PreprocessingConfig, bar: ProgressBar) -> nn.Module:
    """The segmenter for images on that grid, from the cache, or trained now: some minutes, once."""
    parts = [PHANTOM_VERSION, _HEARTS, _STEPS, preprocessing.model_dump()]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]
    kept = cache_folder() / "screening" / f"{key}.safetensors"
    segmenter = BACKBONES["unet"].build().eval()
    if not kept.exists():
        with bar("imaging phantoms") as progress:
            hearts = phantom_slices(_HEARTS, _SEED, preprocessing, progress)
        with bar("segmenter for screening") as progress:
            trained = train_segmenter(TrainingSet((hearts,)), _STEPS, 0, progress=progress)
        kept.parent.mkdir(parents=True, exist_ok=True)
        save_weights(kept, read_weights(trained), {})
    write_weights(segmenter, load_arrays(kept)[0])
    return segmenter
