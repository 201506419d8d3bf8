"""Hearts on demand are whole hearts, and measure what they were asked to."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng

from cmrfed.anatomy import draw_heart, measure, parametric, violations
from cmrfed.config import Disease, HeartConfig, UserError, VoxelsConfig
from cmrfed.shapes import Label

VOXELS = VoxelsConfig()
DISEASES = get_args(Disease)


def drawn(seed=0, voxels=VOXELS, **asked):
    return draw_heart(HeartConfig(**asked), voxels, default_rng(seed))


def measured(heart):
    return measure(heart.masks, heart.spacing_mm)


@settings(max_examples=25, deadline=None)
@given(pathology=st.sampled_from(DISEASES), severity=st.floats(0, 1), seed=st.integers(0, 10**6))
def test_of_whatever_disease_and_severity_it_is_a_heart_with_the_volumes_ordered(pathology, severity, seed):
    heart = drawn(seed, pathology=pathology, severity=severity)
    assert violations(heart.masks) == []
    found, ordered = measured(heart), heart.physiology
    assert found["edv_ml"] == pytest.approx(ordered.lv_edv_ml, rel=0.005)
    assert found["ef"] == pytest.approx(ordered.ejection_fraction, abs=0.005)
    assert found["rv_edv_ml"] == pytest.approx(ordered.rv_edv_ml, rel=0.02, abs=3)
    assert found["rv_esv_ml"] == pytest.approx(ordered.rv_esv_ml, rel=0.02, abs=3)


@settings(max_examples=20, deadline=None)
@given(
    pathology=st.sampled_from(DISEASES),
    edv_ml=st.floats(80, 300),
    ef=st.floats(0.15, 0.7),
    wall_mm=st.floats(6, 20),
    seed=st.integers(0, 10**6),
)
def test_volumes_and_wall_are_as_asked(pathology, edv_ml, ef, wall_mm, seed):
    found = measured(drawn(seed, pathology=pathology, edv_ml=edv_ml, ef=ef, wall_mm=wall_mm))
    assert found["edv_ml"] == pytest.approx(edv_ml, rel=0.01)
    assert found["esv_ml"] == pytest.approx(edv_ml * (1 - ef), rel=0.01)
    assert found["wall_mm"] == pytest.approx(wall_mm, abs=1)


def test_a_disease_does_not_turn_the_heart():
    """One person's hearts differ by the disease alone, so that severity is seen in nothing else."""
    for disease in DISEASES:
        for seed in range(4):
            healthy, ill = (drawn(seed, pathology=disease, severity=severity, sex="M") for severity in (0.0, 1.0))
            assert abs(np.angle(_to_the_right_one(healthy) / _to_the_right_one(ill))) < np.radians(30), (disease, seed)


def _to_the_right_one(heart):
    """From the left ventricle, as a complex number, in the slice that shows most of both."""
    mask = max(heart.masks["ED"], key=lambda one: min(np.count_nonzero(one == label) for label in (Label.LV, Label.RV)))
    row, column = np.argwhere(mask == Label.RV).mean(0) - np.argwhere(mask == Label.LV).mean(0)
    return complex(column, row)


@pytest.mark.parametrize("slice_mm", [5.0, 8.0, 10.0])
def test_the_mass_is_as_asked_whatever_the_slices(slice_mm):
    voxels = VoxelsConfig(slice_mm=slice_mm)
    for seed in range(3):
        assert measured(drawn(seed, voxels, mass_g=130.0))["mass_g"] == pytest.approx(130, rel=0.01)


@pytest.mark.parametrize(
    ("pathology", "measure_name", "rises"),
    [("HCM", "wall_mm", True), ("DCM", "edv_ml", True), ("DCM", "ef", False), ("MINF", "ef", False),
     ("RV", "rv_edv_ml", True), ("ASD", "rv_edv_ml", True), ("TOF", "rv_edv_ml", True)],
)  # fmt: skip
def test_one_persons_masks_tell_the_severity(pathology, measure_name, rises):
    for seed in range(3):
        found = [measured(drawn(seed, pathology=pathology, severity=one))[measure_name] for one in (0, 0.25, 0.5, 1.0)]
        assert (np.diff(found) > 0).all() if rises else (np.diff(found) < 0).all()


def test_it_is_decided_by_its_seed_and_lies_in_the_middle_of_the_image():
    first, again, other = drawn(1), drawn(1), drawn(2)
    for phase in ("ED", "ES"):
        np.testing.assert_array_equal(first.masks[phase], again.masks[phase])
        assert first.masks[phase].shape[1:] == (224, 224)
    assert not np.array_equal(first.masks["ED"][3], other.masks["ED"][3])
    places = np.argwhere(first.masks["ED"].any(axis=0))
    np.testing.assert_allclose((places.min(0) + places.max(0)) / 2, 111.5, atol=6)


@pytest.mark.parametrize("asked", [{"pathology": "TOF", "severity": 0.7}, {"wall_mm": 16.0}, {"rv_edv_ml": 330.0}])
def test_a_narrow_window_changes_nothing(asked, monkeypatch):
    found = drawn(4, **asked)
    monkeypatch.setattr(parametric, "_LEAST_ROOM_MM", parametric._ROOM_MM)
    for phase, mask in drawn(4, **asked).masks.items():
        np.testing.assert_array_equal(found.masks[phase], mask)


def test_an_image_too_small_for_it_is_refused_with_the_size_it_takes():
    with pytest.raises(UserError, match=r"^voxels.size: 40 pixels of 1.25 mm have no room .* give \d+ or more"):
        drawn(voxels=VoxelsConfig(size=40))
