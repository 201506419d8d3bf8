import numpy as np
import pytest
from dataset_contract import LabelledContract
from image_files import toy_cine
from layouts_more import write_folder
from refusals import refuses

from cmrfed.datasets import find_entries
from cmrfed.volumes import load_case

ROWS = ("P1,cine.nii.gz,cine.nii.gz,,SIEMENS", "P2,cine.nii.gz,cine.nii.gz,ED,", "P2,cine.nii.gz,cine.nii.gz,ES,")


@pytest.fixture
def root(tmp_path):
    write_folder(tmp_path, ROWS)
    return tmp_path


class TestFolder(LabelledContract):
    name, patients = "folder", 2


def entries_of(root, *rows, columns="patient,image,mask,phase,vendor", unlabelled=True):
    write_folder(root, rows, columns)
    return find_entries("folder", root, unlabelled)


def test_the_frames_found_are_those_of_the_largest_and_the_smallest_cavity(root):
    _, masks = toy_cine()
    ed, es = (load_case(entry) for entry in find_entries("folder", root)[:2])
    np.testing.assert_array_equal(ed.mask, masks[0])
    np.testing.assert_array_equal(es.mask, masks[2])


def test_rows_without_a_mask_come_only_when_asked_for(tmp_path):
    rows = ("P1,cine.nii.gz,cine.nii.gz,,", "P2,series,,,")
    assert len(entries_of(tmp_path, *rows, unlabelled=False)) == 2
    found = entries_of(tmp_path, *rows)
    assert [(entry.patient, entry.phase, entry.vendor) for entry in found[2:]] == [
        ("folder-P2", "ED", "Siemens"),
        ("folder-P2", "ES", "Siemens"),
    ]
    np.testing.assert_array_equal(load_case(found[3]).image, toy_cine()[0][2])


def test_only_patient_and_image_are_needed(tmp_path):
    (entry,) = entries_of(tmp_path, "P1,ed.nii.gz", columns="patient,image")
    assert (entry.phase, entry.vendor, entry.centre, entry.pathology) == ("unknown",) * 4
    assert load_case(entry).motion is None


def test_a_frame_that_is_given_is_read(tmp_path):
    (entry,) = entries_of(tmp_path, "P1,cine.nii.gz,1", columns="patient,image,frame")
    assert (entry.phase, entry.frame) == ("unknown", 1)
    (entry,) = entries_of(tmp_path, "P1,cine.nii.gz,3,ES", columns="patient,image,frame,phase")
    assert (entry.phase, entry.frame) == ("ES", 3)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("P1,../cases.csv,,,", ["lies outside"]),
        ("P1,../../../../etc/passwd,,,", ["lies outside"]),
        ("P1,/etc/passwd,,,", ["lies outside"]),
        ("P1,,,,", ["lies outside"]),
        ("P1,link.nii.gz,,,", ["lies outside"]),
        ("P1,none.nii.gz,,,", ["is not in"]),
        ("P1,ed.nii.gz,../images/ed.nii.gz,,", ["lies outside", "masks"]),
        ("P1,ed.nii.gz,,systole,", ["'systole'", "ED, ES"]),
        ("P1,ed.nii.gz,,,Simens", ["'Simens'", "Siemens"]),
        (",ed.nii.gz,,,", ["patient is ''"]),
        ('"P\n1",ed.nii.gz,,,', ["patient is 'P\\n1'"]),
        ("P1,cine.nii.gz,,unknown,", ["4 frames", "column frame"]),
    ],
)
def test_a_bad_row_is_refused_by_its_number(tmp_path, row, words):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "link.nii.gz").symlink_to("/etc/passwd")
    with refuses(tmp_path / "cases.csv", "row 1", *words):
        entries_of(tmp_path, row)
