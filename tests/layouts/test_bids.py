"""Names, side files and tables are as BIDS asks for derivatives."""

import csv
import json
import re

import numpy as np
import pytest
from laid_out import drawn_in, write_masks
from toy_hearts import toy_mask

from cmrfed.shapes import Label
from cmrfed.volumes import read_mask, read_volume

LABELS = {**{label: label for label in Label}, 255: 255}
NAME = re.compile(r"(sub-[A-Za-z0-9]+)(_acq-[A-Za-z0-9]+)?(_desc-[A-Za-z0-9]+)?_(cine|dseg)\.(nii\.gz|json)")


@pytest.fixture
def out(tmp_path, monkeypatch):
    write_masks(tmp_path / "masks")
    known = {"heart0_ED": {"sex": "F", "age": 61.5, "phase": "ED"}, "heart0_ES": {"sex": "F", "age": 61.5}}
    looks = {"vendors": ("GE", "unknown"), "of_stack": known}
    drawn_in("bids", tmp_path / "masks", tmp_path / "out", monkeypatch, grid="model", **looks)
    return tmp_path / "out"


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_files_are_named_by_entities_in_their_order_within_their_participants_folder(out):
    files = [path for path in out.rglob("sub-*/*/*") if path.is_file()]
    assert len(files) == 3 * 2 * 4
    for path in files:
        found = NAME.fullmatch(path.name)
        assert found and path.parent == out / found[1] / "anat"
    assert (out / "sub-heart0" / "anat" / "sub-heart0_acq-GE_desc-ED_cine.nii.gz").exists()
    assert (out / "sub-p1xs" / "anat" / "sub-p1xs_dseg.nii.gz").exists()


def test_images_and_masks_are_those_of_pairs(out):
    folder = out / "sub-heart0" / "anat"
    image, spacing_mm = read_volume(folder / "sub-heart0_desc-ED_cine.nii.gz")
    mask, mask_mm = read_mask(folder / "sub-heart0_desc-ED_dseg.nii.gz", LABELS)
    assert spacing_mm == mask_mm == (8.0, 2.0, 2.0) and image.shape == mask.shape == (len(toy_mask()), 32, 32)
    np.testing.assert_array_equal(image == 1, mask == Label.LV)


def test_a_side_file_says_what_was_asked_and_which_generator_answered(out):
    told = json.loads((out / "sub-heart0" / "anat" / "sub-heart0_acq-GE_desc-ED_cine.json").read_text())
    assert told["Synthetic"] is True and len(told["GeneratorSHA256"]) == 64 and told["Model"] == "model.safetensors"
    assert told["AskedFor"] == {"vendor": "GE", "phase": "ED", "sex": "F", "age": 61.5}
    mask = json.loads((out / "sub-heart0" / "anat" / "sub-heart0_acq-GE_desc-ED_dseg.json").read_text())
    assert mask["Synthetic"] is None and mask["Mask"] == "heart0_ED"


def test_the_data_set_says_that_it_is_a_derivative_by_what_and_of_what_version(out):
    told = json.loads((out / "dataset_description.json").read_text())
    assert told["DatasetType"] == "derivative" and told["BIDSVersion"]
    (tool,) = told["GeneratedBy"]
    assert tool["Name"] == "cmrfed generate" and tool["Version"] and tool["Synthetic"] is True


def test_participants_are_hearts_and_every_column_is_explained(out):
    rows = rows_of(out / "participants.tsv")
    assert [row["participant_id"] for row in rows] == ["sub-heart0", "sub-p1xs"]
    assert (rows[0]["sex"], rows[0]["age"], rows[1]["age"]) == ("F", "61.5", "n/a")
    explained = json.loads((out / "participants.json").read_text())
    assert list(explained) == list(rows[0]) and explained["age"]["Units"] == "years"
    assert {f"{path.name}" for path in out.glob("sub-*")} == {row["participant_id"] for row in rows}


def test_every_label_of_a_mask_is_in_the_table(out):
    named = {int(row["index"]): row["name"] for row in rows_of(out / "dseg.tsv")}
    assert named == {0: "BACKGROUND", 1: "LV", 2: "MYO", 3: "RV", 255: "unlabelled"}
