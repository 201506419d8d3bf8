"""Names of one person written in two ways are doubted, both spellings said; names of different people are not."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cmrfed.datasets import doubtful_names
from cmrfed.datasets.names import normal_form

LETTERS = "ABCDEFGHKMNPRTUVWXYZ"
NAMES = st.from_regex(rf"[{LETTERS}]{{1,3}}[1-9][0-9]{{0,3}}", fullmatch=True)
OTHER_WAYS = {
    "case": str.lower,
    "leading zeros": lambda name: name.rstrip("0123456789") + name.lstrip(LETTERS).zfill(7),
    "a blank at the end": lambda name: f"{name} ",
    "a blank inside": lambda name: f"{name[0]} {name[1:]}",
    "a blank that does not break": lambda name: f"{name[0]}\u00a0{name[1:]}",
    "a letter that is not seen": lambda name: f"{name[0]}\u200b{name[1:]}",
    "wide letters": lambda name: "".join(chr(ord(letter) + 0xFEE0) for letter in name),
    "a number with decimals": lambda name: f"{name}.0",
}


def doubts(*names):
    return list(doubtful_names(("ours", f"ours-{name}") for name in names))


@pytest.mark.parametrize("way", OTHER_WAYS)
@given(name=NAMES)
def test_a_name_written_in_another_way_is_doubted_and_both_spellings_are_said(way, name):
    other = OTHER_WAYS[way](name)
    assume(other != name)
    (line,) = doubts(name, "Q9Q9", other, name)
    assert line.startswith("ours: ")
    assert repr(name) in line and repr(other) in line
    assert "count as 2" in line


@pytest.mark.parametrize(
    "names",
    [
        ("001", "1"),
        ("1.0", "1"),
        ("P7", "p7"),
        ("P-7", "P_7", "P\u20137"),
        ("1.00E+05", "100000"),
        ("1,00e+5", "100000"),
        ("stra\u00dfe", "STRASSE"),
    ],
)
def test_ways_that_people_and_spreadsheets_have(names):
    found = [line for line in doubts(*names) if "may be one patient" in line]
    assert len(found) == 1
    assert all(repr(name) in found[0] for name in names)


@pytest.mark.parametrize("name", ["nan", "NaN", "None", "n/a", "#N/A", "unknown", "-"])
def test_what_stands_for_a_missing_name_is_doubted(name):
    (line,) = doubts(name, "P1")
    assert repr(name) in line and "missing name" in line


@pytest.mark.parametrize("name", ["1.00E+05", "1,2E+11", "1e-05"])
def test_a_number_that_a_spreadsheet_shortened_is_doubted(name):
    (line,) = doubts(name, "P1")
    assert repr(name) in line and "shortened" in line


def test_names_of_real_data_sets_are_not_doubted():
    acdc = [f"patient{number:03}" for number in range(1, 151)]
    mnms = [
        f"{a}{i}{b}{j}{c}{k}" for a, i, b, j, c, k in zip("AABB", "0101", "SSTT", "9009", "VWVW", "9911", strict=True)
    ]
    others = ["mr_train_1001", "1000001", "1-10", "11-0", "110", "SCD0000101", "SCD0001001", "Philips/0001", "GE/0001"]
    assert doubts(*acdc) == doubts(*mnms) == doubts(*others) == []


@given(st.sets(st.from_regex(r"[A-Z][1-9][A-Z][1-9]", fullmatch=True), max_size=40))
def test_codes_of_one_form_are_never_doubted(names):
    assert doubts(*names) == []


def test_names_of_two_data_sets_are_not_compared():
    assert not list(doubtful_names([("one", "one-P7"), ("two", "two-p7")]))


@given(st.text())
def test_any_text_can_be_judged(name):
    assert all("\n" not in line for line in doubts(name, name.upper()))


@given(st.text(max_size=20))
def test_both_ways_to_write_an_accent_are_one_name(name):
    assert normal_form(unicodedata.normalize("NFD", name)) == normal_form(name)
