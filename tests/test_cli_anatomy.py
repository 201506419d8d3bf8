"""`cmrfed anatomy`: hearts by disease and severity as files, and `cmrfed generate anatomy=` for them."""

import csv

import numpy as np
import pytest
from matplotlib.image import imread

from cmrfed.anatomy import measure, read_rows
from cmrfed.volumes import read_mask, read_volume

TABLE = {label: label for label in range(4)}


def rows_of(folder):
    with (folder / "hearts.csv").open() as file:
        return list(csv.DictReader(file))


def masks_of(folder, name):
    return {phase: read_mask(folder / f"{name}_{phase}.nii.gz", TABLE) for phase in ("ED", "ES")}


def test_the_table_tells_what_was_asked_and_what_the_masks_measure(run_in_one_line, tmp_path):
    code, printed = run_in_one_line(
        "anatomy", f"out={tmp_path}", "pathology=HCM", "severity=0.3", "edv_ml=150", "ef=0.45", "wall_mm=16", "n=2"
    )
    assert code == 0 and "2 hearts" in printed
    for row in rows_of(tmp_path):
        found = masks_of(tmp_path, row["name"])
        masks, (spacing_mm, _) = {phase: mask for phase, (mask, _) in found.items()}, [mm for _, mm in found.values()]
        measured = measure(masks, spacing_mm)
        for name in ("edv_ml", "ef", "wall_mm", "mass_g"):
            assert float(row[name]) == pytest.approx(measured[name], abs=1e-3)
        assert float(row["asked_edv_ml"]) == 150 and float(row["edv_ml"]) == pytest.approx(150, rel=0.01)
        assert float(row["ef"]) == pytest.approx(0.45, abs=0.005)
        assert float(row["wall_mm"]) == pytest.approx(16, abs=1)
        assert (row["pathology"], row["severity"], row["asked_mass_g"]) == ("HCM", "0.3", "")
    assert imread(tmp_path / "hearts.png").ndim == 3
    assert "nobody's" in (tmp_path / "README.md").read_text()


def test_diseases_come_in_turn_and_ranges_are_drawn_from(run_in_one_line, tmp_path):
    code, _ = run_in_one_line("anatomy", f"out={tmp_path}", "pathology=all", "ef=[0.3,0.6]", "n=8")
    assert code == 0
    rows = read_rows(tmp_path)
    assert [row.pathology for row in rows] == ["NOR", "DCM", "HCM", "MINF", "RV", "ASD", "TOF", "NOR"]
    drawn = [row.asked_ef for row in rows]
    assert len(set(drawn)) == 8 and all(0.3 <= one <= 0.6 for one in drawn)
    np.testing.assert_allclose([row.ef for row in rows], drawn, atol=0.005)


def test_a_table_of_hearts_is_drawn_line_by_line(run_in_one_line, tmp_path):
    (tmp_path / "asked.csv").write_text("pathology,ef,edv_ml\nHCM,0.7,\nDCM,0.2,300\n")
    code, _ = run_in_one_line("anatomy", f"out={tmp_path / 'hearts'}", f"hearts={tmp_path / 'asked.csv'}")
    first, second = read_rows(tmp_path / "hearts")
    assert code == 0 and (first.pathology, second.pathology) == ("HCM", "DCM")
    assert first.asked_edv_ml is None and second.edv_ml == pytest.approx(300, rel=0.01)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ef=0.95"], "ef: Input should be less than or equal to 0.85"),
        (["edv_ml=[300,40]"], "edv_ml: give a number, or the least and the largest"),
        (["edv_ml=100", "esv_ml=[50,99]"], "esv_ml: 99 of edv_ml=100 is an ejection fraction of 0.01"),
        (["wall_mm=12", "mass_g=100"], "wall_mm: with mass_g beside it"),
        (["pathology=HMC"], "pathology"),
        (["hearts={table}"], "there is no column 'edx'"),
        (["hearts={table}", "ef=0.3"], "ef: is a column of the table"),
        (["hearts={missing}"], "cannot be read as a table"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_written(run_in_one_line, tmp_path, words, said):
    (tmp_path / "table.csv").write_text("pathology,edx\nHCM,\n")
    places = {"table": tmp_path / "table.csv", "missing": tmp_path / "none.csv"}
    code, printed = run_in_one_line("anatomy", f"out={tmp_path / 'hearts'}", *(word.format(**places) for word in words))
    assert code == 2 and said in printed and len(printed.strip().splitlines()) == 1
    assert not (tmp_path / "hearts").exists()


@pytest.mark.parametrize("name", ["heart00000_ED.nii.gz", "hearts.csv", "hearts.png", "README.md"])
def test_somebody_elses_file_in_its_place_stays_and_its_own_are_written_over(run_in_one_line, tmp_path, name):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / name).write_bytes(b"not ours")
    code, printed = run_in_one_line("anatomy", "out=theirs", "n=1")
    assert code == 2 and "is not overwritten" in printed
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == [name]
    assert (tmp_path / "theirs" / name).read_bytes() == b"not ours"
    for _ in range(2):
        assert run_in_one_line("anatomy", "out=ours", "n=1")[0] == 0


def test_images_are_drawn_for_hearts_each_told_as_its_table_has_it(run_in_one_line, tmp_path, monkeypatch):
    from cmrfed import generation

    told = {}
    original = generation.masks_alone

    def spied(masks, columns, spacing_mm):
        told[len(told)] = columns
        return original(masks, columns, spacing_mm)

    monkeypatch.setattr(generation, "masks_alone", spied)
    assert run_in_one_line("anatomy", f"out={tmp_path / 'hearts'}", "pathology=DCM", "severity=0.8", "n=1")[0] == 0
    code, printed = run_in_one_line(
        "generate", "model=foundation", f"anatomy={tmp_path / 'hearts'}", f"out={tmp_path / 'images'}",
        "sampling.steps=1",
    )  # fmt: skip
    assert code == 0 and "2 image and mask pairs" in printed
    assert "drawn without their severity, pathology, sex" in printed and "this generator is not told (2)" in printed
    (row,) = read_rows(tmp_path / "hearts")
    assert [columns["phase"][0] for columns in told.values()] == [0, 1]
    for columns in told.values():
        assert columns["edv"][0] == pytest.approx(row.edv_ml) and columns["severity"][0] == pytest.approx(0.8)
    image, spacing_mm = read_volume(tmp_path / "images" / "heart00000_ED.nii.gz")
    mask, mask_mm = read_mask(tmp_path / "images" / "heart00000_ED_gt.nii.gz", TABLE)
    assert image.shape == mask.shape and spacing_mm == mask_mm
    np.testing.assert_array_equal(mask, masks_of(tmp_path / "hearts", "heart00000")["ED"][0])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["masks=masks"], "anatomy: stands for masks="),
        (["phase=ED"], "phase: each of the hearts"),
        ([], "holds no hearts.csv"),
    ],
)
def test_hearts_are_not_asked_for_beside_masks_or_a_phase(run_in_one_line, tmp_path, words, said):
    code, printed = run_in_one_line("generate", "model=foundation", f"anatomy={tmp_path}", "out=images", *words)
    assert code == 2 and said in printed


def test_a_heart_left_over_from_an_earlier_call_is_not_drawn_as_of_nobody_knows_what(run_in_one_line, tmp_path):
    for n in (2, 1):
        assert run_in_one_line("anatomy", "out=hearts", f"n={n}")[0] == 0
    code, printed = run_in_one_line("generate", "model=foundation", "anatomy=hearts", "out=images")
    assert code == 2 and "heart00001_ED.nii.gz, of which its hearts.csv does not tell" in printed
