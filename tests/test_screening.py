"""Screening draws again what does not show its mask, keeps the best of its tries, and says how many."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import toy_slices
from torch import nn

from cmrfed import screening
from cmrfed.config import PreprocessingConfig, ScreeningConfig
from cmrfed.console import progress_bar
from cmrfed.evaluation.utility.metrics import BACKBONES
from cmrfed.screening import Screen, frozen_segmenter
from cmrfed.slices import Slices


class Reads(nn.Module):
    """Finds in an image the labels that are written into it as intensities 0, 0.1, 0.2, 0.3."""

    def __init__(self):
        super().__init__()
        self.known = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return -(images - 0.1 * torch.arange(4.0)[:, None, None]).abs()


def showing(slices, share, seed=0):
    """The slices with images that show their masks in that share of the pixels of each."""
    shown = np.random.default_rng(seed).random(slices.masks.shape) < np.asarray(share)[:, None, None]
    return replace(slices, images=np.where(shown, slices.masks / 10, 0).astype(np.float32))


SLICES = toy_slices([4])


def screened(shares, **config):
    asked = []

    def draw(number):
        asked.append(number)
        return showing(SLICES, shares[number])

    return Screen(Reads(), ScreeningConfig(**config))(draw), asked


def test_what_obeys_at_once_is_drawn_once():
    found, asked = screened([[1, 1, 1, 1]])
    assert asked == [0] and found.drawn_again == 0 and found.mean_dice == 1.0


def test_a_slice_that_does_not_obey_is_drawn_again_and_the_best_is_kept():
    shares = [[1, 0.2, 1, 0.3], [0, 1, 0, 0.1], [0, 0, 0, 0.5], [0, 0, 0, 0.4]]
    found, asked = screened(shares, tries=4, dice=0.9)
    assert asked == [0, 1, 2, 3] and found.drawn_again == 2
    assert np.array_equal(found.images[[0, 2]], showing(SLICES, shares[0]).images[[0, 2]])
    assert np.array_equal(found.images[1], showing(SLICES, shares[1]).images[1])
    assert np.array_equal(found.images[3], showing(SLICES, shares[2]).images[3])
    assert found.dice[1] == 1.0 and found.dice[3] < 0.9 and found.mean_dice == pytest.approx(found.dice.mean())


def test_where_no_structure_is_asked_for_there_is_nothing_to_find():
    empty = replace(SLICES, masks=np.zeros_like(SLICES.masks))
    found = Screen(Reads(), ScreeningConfig())(lambda number: showing(empty, [0, 0, 0, 0]))
    assert np.isnan(found.dice).all() and found.mean_dice == 1.0


def test_the_segmenter_is_trained_once_and_finds_hearts_of_phantoms(tmp_path, monkeypatch):
    monkeypatch.setenv("CMRFED_CACHE", str(tmp_path))
    monkeypatch.setattr(screening, "_HEARTS", 6)
    monkeypatch.setattr(screening, "_STEPS", 60)
    grid = PreprocessingConfig(size=32)
    first = frozen_segmenter(grid, progress_bar)
    monkeypatch.setattr(screening, "train_segmenter", None)  # from now on it is there
    again = frozen_segmenter(grid, progress_bar)
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    hearts: Slices = screening.phantom_slices(2, 5, grid)
    dice = Screen(again, ScreeningConfig(tries=1))(lambda number: hearts).dice
    blank = Screen(BACKBONES["unet"].build().eval(), ScreeningConfig(tries=1))(lambda number: hearts).dice
    assert np.nanmean(dice) > np.nanmean(blank) + 0.08, "on hearts that it has not seen"
