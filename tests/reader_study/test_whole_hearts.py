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
def course():
    """A network that has learnt nothing draws its noise as it is."""
    generator = build_generator(GeneratorConfig(channels=(8, 8), norm_groups=4, trainable="all", init=None), seed=0)
    painter = Painter(generator, GRID, SamplingConfig(steps=1))
    requests = [HeartConfig(pathology="DCM", severity=severity) for severity in (0.0, 1.0)]
    drawn = painter.course(requests, 3, "Siemens", 10.0)
    assert drawn is not None
    return painter, requests, drawn


def test_one_person_is_drawn_with_the_same_noise_at_every_severity(course):
    _, _, (mild, severe) = course
    for phase in range(2):
        first = [int(np.flatnonzero(~np.isnan(heart[phase]).any(axis=(1, 2)))[0]) for heart in (mild, severe)]
        levels = min(mild.shape[1] - first[0], severe.shape[1] - first[1])
        found = [heart[phase, start : start + levels] for heart, start in zip((mild, severe), first, strict=True)]
        np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert not np.allclose(mild[0, -1], mild[1, -1])  # phases have noise of their own


def test_the_same_person_again_is_the_same_and_another_is_not(course):
    painter, requests, (mild, _) = course
    (again,) = painter.course(requests[:1], 3, "Siemens", 10.0)
    np.testing.assert_array_equal(again, mild)
    (other,) = painter.course(requests[:1], 4, "Siemens", 10.0)
    assert other.shape != mild.shape or not np.allclose(other[0, -1], mild[0, -1])
