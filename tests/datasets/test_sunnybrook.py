import shutil

import numpy as np
import pytest
from dataset_contract import LvContract
from image_files import toy_cine
from layouts_more import write_sunnybrook
from refusals import refuses

from cmrfed.conditions import UNLABELLED
from cmrfed.datasets import find_entries
from cmrfed.shapes import Label
from cmrfed.volumes import load_case


@pytest.fixture
def root(tmp_path):
    write_sunnybrook(tmp_path, ("SC-HF-I-1", "SC-HYP-37"))
    return tmp_path


@pytest.fixture
def contours(root):
    return root / "SCD_ManualContours" / "SC-HF-I-01" / "contours-manual" / "IRCCI-expert"


class TestSunnybrook(LvContract):
    name, patients = "sunnybrook", 2


@pytest.mark.parametrize("padded", [True, False])
def test_contours_are_found_by_the_original_id_padded_or_not(tmp_path, padded):
    write_sunnybrook(tmp_path, ("SC-HF-I-1",), padded)
    assert len(find_entries("sunnybrook", tmp_path)) == 2


def test_what_is_inside_the_contours_is_labelled_and_the_rest_is_not_background(root):
    images, masks = toy_cine()
    ed, es = (load_case(entry) for entry in find_entries("sunnybrook", root)[:2])
    drawn = np.where(np.isin(masks[0], (Label.LV, Label.MYO)), masks[0], UNLABELLED)
    np.testing.assert_array_equal(ed.mask, drawn)
    np.testing.assert_array_equal(es.mask, np.where(masks[2] == Label.LV, masks[2], UNLABELLED))
    np.testing.assert_array_equal(ed.image, images[0])
    np.testing.assert_array_equal(es.image, images[2])


def test_a_slice_without_contours_is_wholly_unlabelled(root, contours):
    for path in contours.glob("IM-0001-0001-*"):
        path.unlink()
    case = load_case(find_entries("sunnybrook", root)[0])
    assert (case.mask[0] == UNLABELLED).all()
    assert (case.mask[1] == Label.LV).any()


def test_a_stray_contour_on_one_slice_is_no_end_systole(root, contours):
    path = contours / "IM-0001-0002-icontour-manual.txt"
    path.write_text("27 19\n29 19\n29 21\n27 21\n")
    np.testing.assert_array_equal(load_case(find_entries("sunnybrook", root)[1]).image, toy_cine()[0][2])


def test_patients_without_contours_come_only_when_asked_for(root):
    contours = root / "SCD_ManualContours" / "SC-HF-I-01"
    contours.rename(contours.with_name("SC-HF-I-99"))
    assert {entry.patient for entry in find_entries("sunnybrook", root)} == {"sunnybrook-SCD0000201"}
    found = find_entries("sunnybrook", root, unlabelled=True)
    assert [entry.mask_path is None for entry in found] == [True, True, False, False]
    assert load_case(found[0]).motion is not None


def test_a_patient_of_the_table_without_a_folder_is_a_problem(root):
    shutil.rmtree(root / "SCD_IMAGES_01" / "SCD0000201")
    problems = []
    assert len(find_entries("sunnybrook", root, problems=problems)) == 2
    assert ["'SCD0000201' has a row and no files" in str(problem) for problem in problems] == [True]


def test_contours_of_another_patient_are_refused(root, contours):
    (contours / "IM-0001-0900-icontour-manual.txt").write_text("1 1\n2 1\n2 2\n")
    with refuses("IM-0001-0900-icontour-manual.txt", "no image", "0900"):
        load_case(find_entries("sunnybrook", root)[0])


@pytest.mark.parametrize(
    "text", ["", "1 1\n2 2\n", "1 1\n2 x\n3 3\n", "1 1 1\n" * 4, "1 nan\n1 2\n2 2\n", "1e9 1\n" * 3]
)
def test_a_damaged_contour_is_refused(root, contours, text):
    path = contours / "IM-0001-0001-icontour-manual.txt"
    path.write_text(text)
    with refuses(path):
        load_case(find_entries("sunnybrook", root)[0])


def test_two_short_axis_series_are_refused(root):
    (root / "SCD_IMAGES_01" / "SCD0000101" / "CINESAX_301").mkdir()
    with refuses("SCD0000101", "CINESAX_300, CINESAX_301"):
        find_entries("sunnybrook", root)
