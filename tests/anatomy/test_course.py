"""A disease's course goes from the same person's health to its extreme, without a jump, and always for the worse."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from numpy.random import default_rng

from cmrfed.anatomy.course import EXTREMES, physiology_of
from cmrfed.config import Disease, HeartConfig

RISES = {
    "DCM": {"lv_edv_ml": True, "ejection_fraction": False},
    "HCM": {"wall_mm": True, "bulge_mm": True, "ejection_fraction": True},
    "MINF": {"lv_edv_ml": True, "ejection_fraction": False, "akinesia": True, "thinning": True},
    "RV": {"rv_edv_ml": True, "rv_wall_mm": True, "flattening": True},
    "ASD": {"rv_edv_ml": True, "lv_edv_ml": False, "flattening": True, "leak": True},
    "TOF": {"rv_edv_ml": True, "ejection_fraction": False, "flattening": True, "leak": True},
}


def at(severity, pathology, seed=3, **asked):
    return physiology_of(HeartConfig(pathology=pathology, severity=severity, **asked), default_rng(seed))


@pytest.mark.parametrize("pathology", RISES)
def test_without_severity_it_is_the_person_in_health(pathology):
    healthy = at(0.0, "NOR")
    assert at(0.0, pathology) == replace(healthy, pathology=pathology)


def test_of_every_disease_there_is_a_course():
    assert tuple(EXTREMES) == get_args(Disease) and RISES.keys() == EXTREMES.keys() - {"NOR"}


@pytest.mark.parametrize(("pathology", "flow_ratio"), [("ASD", 2.5), ("TOF", 2.0)])
def test_what_leaks_is_pumped_by_the_right_ventricle_as_well(pathology, flow_ratio):
    for seed in range(5):
        found = at(1.0, pathology, seed)
        pumped = found.rv_edv_ml - found.rv_esv_ml
        assert pumped == pytest.approx(min(flow_ratio * found.stroke_volume_ml, 0.7 * found.rv_edv_ml))


@pytest.mark.parametrize("pathology", RISES)
def test_with_severity_all_marks_of_the_disease_grow_in_proportion(pathology):
    steps = np.linspace(0, 1, 6)
    for seed in range(5):
        course = [at(float(severity), pathology, seed) for severity in steps]
        for name, rises in RISES[pathology].items():
            change = np.diff([getattr(one, name) for one in course])
            assert (change > 0).all() if rises else (change < 0).all()
            np.testing.assert_allclose(change, change[0], rtol=1e-6)


def test_what_is_asked_is_what_the_heart_is_to_measure():
    found = at(0.5, "DCM", edv_ml=150.0, ef=0.45, rv_edv_ml=120.0)
    assert (found.lv_edv_ml, found.ejection_fraction, found.rv_edv_ml) == (150.0, 0.45, 120.0)
    assert at(0.5, "DCM", edv_ml=150.0, esv_ml=60.0).ejection_fraction == pytest.approx(0.6)
    assert at(0.5, "DCM", ef=0.5, esv_ml=60.0).lv_edv_ml == pytest.approx(120.0)


def test_the_right_ventricle_keeps_its_proportion_where_it_is_not_asked_for():
    drawn, asked = at(0.2, "RV"), at(0.2, "RV", edv_ml=200.0)
    assert asked.rv_edv_ml / asked.lv_edv_ml == pytest.approx(drawn.rv_edv_ml / drawn.lv_edv_ml)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"ef": 0.9}, "0.85"),
        ({"severity": 1.2}, "less than or equal to 1"),
        ({"edv_ml": 100.0, "esv_ml": 99.0}, "ejection fraction of 0.01; hearts have 0.05 to 0.85"),
        ({"edv_ml": 100.0, "esv_ml": 50.0, "ef": 0.5}, "give two of the three"),
        ({"esv_ml": 400.0, "ef": 0.8}, "an edv_ml of 2000; hearts have 20 to 500"),
        ({"wall_mm": 12.0, "mass_g": 100.0}, "told twice"),
    ],
)
def test_what_no_heart_is_like_is_refused_with_its_range(asked, said):
    with pytest.raises(ValueError, match=said):
        HeartConfig(**asked)
