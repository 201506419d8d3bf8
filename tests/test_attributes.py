"""A request in words is read whole, or refused by the first word that is not understood."""

import pytest
from refusals import refuses

from cmrfed.attributes import conditions_of
from cmrfed.conditions import CONDITIONS, UNKNOWN, Categorical


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hypertrophic heart of a woman of 60 years, end systole, Philips, 3 T",
         {"pathology": "HCM", "sex": "F", "age": 60.0, "phase": "ES", "vendor": "Philips", "field_strength": 3.0}),
        ("DCM, EF 25%, EDV 260 ml", {"pathology": "DCM", "ejection_fraction": 25.0, "edv": 260.0}),
        ("ejection fraction of 40 %, end-systolic volume 90 ml, at end diastole",
         {"ejection_fraction": 40.0, "esv": 90.0, "phase": "ED"}),
        ("wall thickness 16 mm, severity 0.5, BMI 31, aged 71",
         {"wall_thickness": 16.0, "severity": 0.5, "bmi": 31.0, "age": 71.0}),
        ("a 45-year old man", {"age": 45.0, "sex": "M"}),
        ("", {}),
    ],
)  # fmt: skip
def test_words_and_numbers_are_conditions(text, expected):
    assert conditions_of(text) == expected


def test_every_value_of_every_condition_has_a_word():
    for name, one in CONDITIONS.items():
        if isinstance(one, Categorical) and name != "sex":
            for value in set(one.values) - {UNKNOWN}:
                assert conditions_of(value) == {name: value}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hypertrofic heart", "'hypertrofic' is not understood; did you mean hypertrophic?"),
        ("with lots of noise", "'lots' is not understood"),
        ("GE or Siemens", "'or' is not understood"),
        ("Siemens and GE", "says vendor twice, Siemens and GE"),
        ("ejection fraction 140 %", "ejection_fraction is 0 to 100 %, found 140"),
    ],
)
def test_what_is_not_understood_is_said(text, said):
    with refuses(said):
        conditions_of(text)
