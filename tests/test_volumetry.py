"""Volumes, ejection fraction and mass, by their definitions."""

import numpy as np
import pytest

from cmrfed.shapes import Label
from cmrfed.volumetry import ejection_fraction, structure_ml


def test_a_volume_is_the_sum_of_discs_each_with_its_own_thickness():
    masks = np.zeros((2, 10, 10), dtype=np.uint8)
    masks[0, :4, :5], masks[1, :2, :5], masks[:, 9] = Label.LV, Label.LV, Label.RV
    spacing_mm = np.array([[10.0, 1.5, 2.0], [8.0, 1.5, 2.0]])
    assert structure_ml(masks, Label.LV, spacing_mm) == pytest.approx((20 * 30 + 10 * 24) / 1000)


def test_an_ejection_fraction_is_the_share_of_blood_that_leaves_and_unknown_of_an_empty_heart():
    found = ejection_fraction(np.array([100.0, 0.0, np.nan]), np.array([40.0, 0.0, 10.0]))
    assert found[0] == pytest.approx(0.6)
    assert np.isnan(found[1:]).all()
    assert float(ejection_fraction(np.array(80.0), np.array(20.0))) == pytest.approx(0.75)
