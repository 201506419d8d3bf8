"""Whole hearts as they are shown: level by level, and one person's at several severities."""

from dataclasses import replace

import numpy as np
import pytest
from toy_hearts import toy_case, toy_mask

from cmrfed.config import GeneratorConfig, HeartConfig, PreprocessingConfig, SamplingConfig
from cmrfed.generators import build_generator
from cmrfed.reader_study.hearts import Painter, level_by_level, patients_heart
from cmrfed.slices import Slices, collect
from cmrfed.volumetry import slice_levels

GRID = PreprocessingConfig(size=16)


def tapering(phase: str, slices: int) -> np.ndarray:
    """A heart that gets smaller from its first slice, the base, to its last."""
    scales = np.linspace(1.0, 0.4, slices) * (1.0 if phase == "ED" else 0.8)
    masks = np.concatenate([toy_mask(slices=1, columns=40, scale=scale) for scale in scales])
    for number in range(slices):
        masks[number, :, : 6 + 2 * number] = 0  # so does the right ventricle
    return masks


def numbered(cases: list) -> Slices:
    """Slices whose pixels say which slice they are."""
    slices = collect(cases)
    numbers = np.arange(len(slices), dtype=np.float32)
    return replace(slices, images=np.broadcast_to(numbers[:, None, None], slices.masks.shape).copy())


def test_stacks_end_at_the_apex_together_and_what_is_not_there_is_empty():
    ed, es = (np.full((levels, 4, 4), value, np.float32) for levels, value in ((5, 0.5), (3, -0.5)))
    heart = level_by_level([ed, es])
    assert np.isnan(heart).all(axis=(2, 3)).tolist() == [[False] * 5, [True, True, False, False, False]]
    assert (heart[0] == 0.5).all() and (heart[1, 2:] == -0.5).all()


@pytest.mark.parametrize("turned", [False, True])
def test_a_patients_heart_is_shown_from_base_to_apex_however_it_was_acquired(turned):
    order = slice(None, None, -1) if turned else slice(None)
    cases = [
        toy_case("P", phase, mask=tapering(phase, levels)[order].copy()) for phase, levels in (("ED", 5), ("ES", 4))
    ]
    slices = numbered(cases)
    heart = patients_heart(slices, 0)
    assert heart is not None and heart.shape[:2] == (2, 5)
    shown = [int(heart[0, level, 0, 0]) for level in range(5)]
    assert slice_levels(np.asarray(slices.masks)[shown]).tolist() == [1, 0.75, 0.5, 0.25, 0]
    assert shown == sorted(shown, reverse=turned)


def test_a_patient_without_end_systole_is_not_shown():
    assert patients_heart(numbered([toy_case("P", "ED", mask=tapering("ED", 4))]), 0) is None


@pytest.fixture(scope="module")
def painter():
    """A network that has learnt nothing draws its noise as it is."""
    config = GeneratorConfig(channels=(8, 8), norm_groups=4, trainable="all", init=None)
    return Painter(build_generator(config, seed=0), GRID, SamplingConfig(steps=1))


def shown(heart: np.ndarray) -> np.ndarray:
    """All slices that are there, of both phases."""
    return heart[~np.isnan(heart).any(axis=(2, 3))]


def test_one_person_has_the_same_noise_in_every_slice_at_every_severity(painter):
    requests = [HeartConfig(pathology="DCM", severity=severity) for severity in (0.0, 1.0)]
    drawn = painter.course(requests, 3, "Siemens")
    assert drawn is not None
    for heart in drawn:
        assert np.isfinite(heart[0]).all()
        np.testing.assert_allclose(shown(heart), np.broadcast_to(drawn[0][0, 0], shown(heart).shape), atol=1e-5)


def test_a_heart_to_rate_is_alike_in_all_slices_and_the_same_in_none_and_when_asked_again(painter):
    asked = HeartConfig(pathology="RV", severity=0.5)
    heart, again, other = (painter.heart(asked, person, "GE", 12.0) for person in (3, 3, 4))
    np.testing.assert_array_equal(again, heart)
    slices = shown(heart).reshape(len(shown(heart)), -1)
    alike = np.corrcoef(slices)[np.triu_indices(len(slices), 1)]
    assert alike.min() > 0.4 and alike.max() < 0.95
    assert not np.allclose(other[0, -1], heart[0, -1])


def test_slices_lie_as_far_apart_as_is_asked(painter):
    asked = HeartConfig(severity=0.0)
    near, far = (painter.heart(asked, 3, "GE", slice_mm) for slice_mm in (6.0, 12.0))
    assert 1.5 < near.shape[1] / far.shape[1] < 2.5
