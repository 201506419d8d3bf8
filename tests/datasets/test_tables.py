"""Tables as spreadsheets and programs save them: whatever the separator, the same rows."""

import csv
import io
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses

from cmrfed.datasets.tables import SEPARATORS, file_inside, frame_index, read_rows, read_table

CELLS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\ufeff"), max_size=8)
COLUMNS = ("patient", "image", "weight (kg)", "a;b,c")
ROWS = st.lists(st.fixed_dictionaries(dict.fromkeys(COLUMNS, CELLS)), max_size=5)


@given(
    ROWS,
    st.sampled_from(SEPARATORS),
    st.sampled_from(["", "sep={}", '"sep={}"', "SEP={}"]),
    st.sampled_from(["utf-8", "utf-8-sig"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.integers(0, 2),
)
@settings(max_examples=150, deadline=None)
def test_a_table_is_read_whatever_program_saved_it(
    tmp_path_factory, rows, separator, named, encoding, newline, quoting, padding
):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator=newline, quoting=quoting)
    writer.writerow(["", *COLUMNS])
    writer.writerows([number, *(row[name] for name in COLUMNS)] for number, row in enumerate(rows))
    writer.writerows([[""] * 5] * padding)
    hint = named.format(separator) + newline if named else ""
    path = tmp_path_factory.mktemp("table") / "table.csv"
    path.write_bytes((hint + text.getvalue()).encode(encoding))
    expected = [{name: unicodedata.normalize("NFC", cell) for name, cell in row.items()} for row in rows]
    assert read_rows(path, ("patient", "image")) == [row for row in expected if any(row.values())]


def test_short_rows_are_filled_up_and_cells_that_are_too_many_are_nobodys(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("patient;image;vendor\nP1;a.nii\nP2;b.nii;GE;;;x\n\n")
    first, second = read_rows(path, ("patient", "image"))
    assert first == {"patient": "P1", "image": "a.nii", "vendor": ""}
    assert second == {"patient": "P2", "image": "b.nii", "vendor": "GE"}


def test_a_missing_column_is_told_with_those_that_are_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("sep=;\nPatient;image\nP1;a.nii\n")
    with refuses(path, "no column 'patient'", "found 'Patient, image'"):
        read_rows(path, ("patient", "image"))
    path.write_text("")
    with refuses(path, "no column 'patient'", "found 'nothing'"):
        read_rows(path, ("patient", "image"))


def test_codes_that_a_program_wrote_as_numbers_are_whole(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("code,vendor\n1.0,GE\n100012.00,GE\n2.5,GE\n007,GE\nA1.0,GE\n")
    assert list(read_table(path, ("code",))) == ["1", "100012", "2.5", "007", "A1.0"]
    path.write_text("code,vendor\n1.0,GE\n1,GE\n")
    with refuses(path, "2 rows name 1 patients"):
        read_table(path, ("code",))


@pytest.mark.parametrize(("text", "frame"), [("0", 0), ("0.0", 0), ("11.", 11), ("9,0", 9), ("007", 7), ("12.000", 12)])
def test_a_frame_may_be_written_with_decimals_that_are_none(text, frame):
    assert frame_index(text, "ED", "table") == frame


@pytest.mark.parametrize("text", ["", "2.5", "-1", "1e3", "\u0663", "0x1", "100000", "1 0", "nan", "1.0.0", "+1"])
def test_anything_else_is_no_frame(text):
    with refuses("table", "ED", repr(text), "counted from 0"):
        frame_index(text, "ED", "table")


def test_frames_counted_from_1_have_no_0():
    assert frame_index("1.0", "ED", "Info.cfg", first=1) == 1
    with refuses("Info.cfg", "counted from 1"):
        frame_index("0.0", "ED", "Info.cfg", first=1)


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_table", ["NFC", "NFD"])
def test_a_file_is_found_however_its_accents_are_written(tmp_path, on_disk, in_table):
    name = "J\u00fcrgen \u00c5/\u00e9t\u00e9.nii"
    path = tmp_path / unicodedata.normalize(on_disk, name)
    path.parent.mkdir()
    path.touch()
    (tmp_path / "cases.csv").write_text(f"image\n{unicodedata.normalize(in_table, name)}\n", encoding="utf-8")
    (row,) = read_rows(tmp_path / "cases.csv", ("image",))
    assert file_inside(tmp_path, row["image"], "row 1") == path
