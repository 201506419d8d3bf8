"""Outlines found against outlines asked for, on masks made by hand."""

import math

import numpy as np
import pytest
import torch

from cmrfed.evaluation.fidelity.metrics import FAITHFULNESS, faithfulness
from cmrfed.shapes import Label

SPACING = np.array([2.0, 2.0])


def square(first, last, label=Label.LV, size=24):
    mask = torch.zeros(1, size, size, dtype=torch.long)
    mask[0, first:last, first:last] = label
    return mask


def scores(found, asked):
    return dict(zip(FAITHFULNESS, faithfulness(found, asked, SPACING)[0].tolist(), strict=True))


def test_the_mask_itself_is_followed_perfectly():
    mask = torch.cat([square(4, 10), square(12, 20, Label.MYO), square(2, 9, Label.RV)]).amax(0, keepdim=True)
    found = scores(mask, mask)
    assert found == {"dice_lv": 1, "dice_myo": 1, "dice_rv": 1, "dice_mean": 1, "hd95_mm": 0}


def test_dice_and_distance_of_shifted_squares_are_known():
    found = scores(square(4, 14), square(6, 16))
    assert found["dice_lv"] == pytest.approx(2 * 64 / 200)
    assert found["dice_mean"] == found["dice_lv"]  # structures that neither has do not count
    # the corners are the furthest, 2 pixels off in both directions: 95 % of an outline is no further than 4 mm
    assert found["hd95_mm"] == pytest.approx(4, abs=2)
    assert np.isnan(found["dice_rv"])


@pytest.mark.parametrize(("found", "asked"), [((0, 0), (4, 14)), ((4, 14), (0, 0))])
def test_a_structure_that_is_missed_or_made_up_costs_all_of_its_dice_and_the_slice_s_diagonal(found, asked):
    scored = scores(square(*found), square(*asked))
    assert scored["dice_lv"] == 0
    assert scored["hd95_mm"] == pytest.approx(math.hypot(24 * 2, 24 * 2))


def test_a_right_ventricle_missed_in_half_the_images_is_in_their_distance():
    both = torch.cat([square(4, 10), square(12, 20, Label.RV)]).amax(0, keepdim=True)
    found = torch.cat([both, square(4, 10)])
    assert faithfulness(found, torch.cat([both, both]), SPACING)[:, -1] == pytest.approx([0, math.hypot(48, 48) / 2])


def test_a_slice_without_any_structure_has_no_score():
    assert np.isnan(faithfulness(square(0, 0), square(0, 0), SPACING)).all()


def test_distances_are_in_mm():
    near, far = (faithfulness(square(4, 14), square(6, 16), np.array([mm, mm]))[0, -1] for mm in (1.0, 3.0))
    assert far == pytest.approx(3 * near)
