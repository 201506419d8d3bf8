"""A reader's outlines are near the walls: as far as the reader strays, and no thinner at the apex than is drawn."""

import numpy as np
import pytest
from numpy.random import default_rng

from cmrfed.anatomy.reader import RIGHT, Reader
from cmrfed.phantom.heart import sample_heart, sample_physiology

CUTS_MM = [float(z) for z in range(4, 94, 8)]


@pytest.fixture(scope="module")
def ventricles():
    rng = default_rng(0)
    return sample_heart(rng, sample_physiology(rng, "NOR", "M"), RIGHT).phases["ED"]


def outlined(ventricles, phase="ED", seed=1, **numbers):
    reader = Reader(**{"inset_mm": 0.0, "apical_mm": 0.0, "wander_mm": 0.0} | numbers)
    return reader.outlined(ventricles, CUTS_MM, phase, default_rng(seed))


def test_whoever_draws_exactly_draws_the_walls(ventricles):
    for drawn, z in zip(outlined(ventricles), CUTS_MM, strict=True):
        for name in ("endo", "epi", "rv_radius"):
            np.testing.assert_allclose(getattr(drawn, name), getattr(ventricles.section(z), name), atol=1e-4)


def test_the_wall_is_thicker_by_the_inset_and_more_at_end_systole(ventricles):
    for phase, factor in (("ED", 1.0), ("ES", 1.3)):
        for drawn, z in zip(outlined(ventricles, phase, inset_mm=1.5), CUTS_MM, strict=True):
            true = ventricles.section(z)
            np.testing.assert_allclose(drawn.epi - drawn.endo, true.epi - true.endo + 1.5 * factor, atol=1e-4)


def test_at_the_apex_no_wall_is_thinner_than_is_drawn_and_at_the_base_it_is_left(ventricles):
    first, *_, last = outlined(ventricles, apical_mm=9.0)
    assert (last.epi - last.endo).min() >= 9 - 1e-4
    np.testing.assert_allclose(first.epi, ventricles.section(CUTS_MM[0]).epi, atol=1e-4)


def test_outlines_stray_by_as_much_as_the_reader_does_smoothly_and_from_slice_to_slice(ventricles):
    strayed = np.array(
        [
            [drawn.epi - ventricles.section(z).epi for drawn, z in zip(sections, CUTS_MM, strict=True)][:6]
            for sections in (outlined(ventricles, seed=seed, wander_mm=0.8) for seed in range(200))
        ]
    )
    assert np.sqrt((strayed**2).mean()) == pytest.approx(0.8, rel=0.1)
    steps = np.abs(np.diff(strayed, axis=-1)).max()  # 512 angles
    assert steps < 0.25
    following = np.corrcoef(strayed[:, 0].ravel(), strayed[:, 1].ravel())[0, 1]
    assert 0.4 < following < 0.95


def test_the_right_ventricle_strays_and_never_begins_where_it_was_not(ventricles):
    for drawn, z in zip(outlined(ventricles, wander_mm=1.0), CUTS_MM, strict=True):
        np.testing.assert_array_equal(drawn.rv_radius > 0, ventricles.section(z).rv_radius > 0)


def test_the_right_ventricle_reaches_further_than_the_phantoms():
    def last_mm(*right):
        rng = default_rng(3)
        phase = sample_heart(rng, sample_physiology(rng, "NOR", "F"), *right).phases["ED"]
        return max(z for z in np.arange(0, 120.0) if phase.section(z).rv_radius.any()) / phase.lv_length_mm

    assert last_mm(RIGHT) > last_mm()
