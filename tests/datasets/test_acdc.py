import shutil

import numpy as np
import pytest
from dataset_contract import LabelledContract
from layouts import write_acdc_patient
from refusals import refuses
from toy_hearts import SPACING_MM, toy_mask

from cmrfed.datasets import find_entries
from cmrfed.slices import collect
from cmrfed.volumes import load_case


@pytest.fixture
def root(tmp_path):
    write_acdc_patient(tmp_path / "training" / "patient003", "DCM", (1, 15))
    write_acdc_patient(tmp_path / "training" / "patient010", "RV", (2, 9))
    write_acdc_patient(tmp_path / "testing" / "patient101", "NOR")
    (tmp_path / "training" / "MANDATORY_CITATION.md").write_text("cite us")
    return tmp_path


class TestAcdc(LabelledContract):
    name, patients = "acdc", 3


def test_one_part_alone_may_be_the_root(root):
    assert len(find_entries("acdc", root / "testing")) == 2
    assert len(find_entries("acdc", root / "training")) == 4


def test_metadata_is_that_of_info_cfg(root):
    entry = find_entries("acdc", root)[1]
    assert (entry.patient, entry.phase, entry.vendor, entry.centre) == ("acdc-patient003", "ES", "Siemens", "Dijon")
    assert entry.pathology == "DCM"
    assert entry.image_path.name == "patient003_frame15.nii.gz"


def test_images_masks_and_spacing_come_out_as_they_went_in(root):
    case = load_case(find_entries("acdc", root)[0])
    np.testing.assert_array_equal(case.mask, toy_mask())
    assert case.spacing_mm == SPACING_MM
    assert case.image.max() == pytest.approx(127.5)  # the slope of 0.5 is applied


def test_uncompressed_files_are_found_too(root):
    folder = root / "training" / "patient003"
    for path in folder.glob("*.nii.gz"):
        path.rename(path.with_suffix(""))
    assert find_entries("acdc", root)[0].image_path.name == "patient003_frame01.nii"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ED: 1\nGroup: DCM\n", ["'ES'", "ED, Group"]),
        ("ED: 1\nES: 15\n", ["'Group'"]),
        ("ED: one\nES: 15\nGroup: DCM\n", ["ED is 'one'"]),
        ("ED: 1\nES: 0\nGroup: DCM\n", ["ES is '0'"]),
        ("ED: 1\nES: 15\nGroup: XYZ\n", ["'XYZ'", "NOR, DCM, HCM, MINF, RV"]),
        ("", ["'Group'", "nothing"]),
    ],
)
def test_a_damaged_info_cfg_is_refused(root, text, words):
    path = root / "training" / "patient003" / "Info.cfg"
    path.write_text(text)
    with refuses(path, *words):
        find_entries("acdc", root)


def test_a_missing_info_cfg_is_refused(root):
    path = root / "training" / "patient003" / "Info.cfg"
    path.unlink()
    with refuses(path):
        find_entries("acdc", root)


@pytest.mark.parametrize("stem", ["patient003_frame15", "patient003_frame01_gt"])
def test_a_missing_volume_is_refused_before_any_is_read(root, stem):
    (root / "training" / "patient003" / f"{stem}.nii.gz").unlink()
    with refuses(root / "training" / "patient003", stem):
        find_entries("acdc", root)


def test_a_patient_in_both_parts_is_one_patient_with_two_visits(root):
    write_acdc_patient(root / "testing" / "patient003", frames=(3, 9))
    found = [entry for entry in find_entries("acdc", root) if entry.patient == "acdc-patient003"]
    assert [(entry.visit, entry.phase) for entry in found] == [
        ("testing/patient003", "ED"),
        ("testing/patient003", "ES"),
        ("training/patient003", "ED"),
        ("training/patient003", "ES"),
    ]


def test_a_copy_of_a_patient_in_the_other_part_is_refused_when_it_is_read(root):
    shutil.copytree(root / "training" / "patient003", root / "testing" / "patient003")
    with refuses("acdc-patient003", "ED", "visit training/patient003", "keep one copy"):
        collect(map(load_case, find_entries("acdc", root)))


def test_a_link_to_a_patient_in_the_other_part_is_refused_before_it_is_read(root):
    (root / "testing" / "patient003").symlink_to(root / "training" / "patient003")
    with refuses(root, "acdc-patient003", "found twice at ED"):
        find_entries("acdc", root)
