"""Outlines found against outlines asked for, on masks made by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_hausdorff_distance
from scipy.ndimage import gaussian_filter

from cmrfed.fidelity import FAITHFULNESS, faithfulness
from cmrfed.fidelity.faithfulness import hd95_mm
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


def test_a_structure_that_is_missing_costs_all_of_its_dice_and_has_no_distance():
    found = scores(square(0, 0), square(4, 14))
    assert found["dice_lv"] == 0
    assert np.isnan(found["hd95_mm"])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_the_distance_is_monais(seed):
    random = np.random.default_rng(seed)
    one, other = (gaussian_filter(random.normal(size=(24, 24)), 2) > 0.05 for _ in range(2))
    pair = (torch.from_numpy(region)[None, None] for region in (one, other))
    expected = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=[1.5, 2.5])
    assert hd95_mm(one, other, np.array([1.5, 2.5])) == pytest.approx(float(expected))


def test_distances_are_in_mm():
    near, far = (faithfulness(square(4, 14), square(6, 16), np.array([mm, mm]))[0, -1] for mm in (1.0, 3.0))
    assert far == pytest.approx(3 * near)
