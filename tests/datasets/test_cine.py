import numpy as np
import pytest
from dataset_contract import UnlabelledContract
from image_files import toy_cine, write_dicom_series
from layouts import save_scaled
from refusals import refuses

from cmrfed.datasets import find_entries
from cmrfed.volumes import load_case


@pytest.fixture
def root(tmp_path):
    images, _ = toy_cine()
    write_dicom_series(tmp_path / "P1", images)
    save_scaled(tmp_path / "P2.nii.gz", images.T)
    (tmp_path / "P3").mkdir()
    save_scaled(tmp_path / "P3" / "export.nii.gz", images.T)
    (tmp_path / "notes.txt").write_text("ask Kim about P3")
    return tmp_path


class TestCine(UnlabelledContract):
    name, patients = "cine", 3


def test_the_vendor_is_that_of_the_dicom_header_and_names_inside_are_not_read(root):
    entry = find_entries("cine", root, unlabelled=True)[0]
    assert (entry.patient, entry.vendor) == ("cine-P1", "Siemens")
    assert "Doe" not in repr(load_case(entry))


def test_end_systole_is_found_as_the_frame_that_differs_most_where_the_heart_moves(root):
    images, _ = toy_cine()
    ed, es = (load_case(entry) for entry in find_entries("cine", root, unlabelled=True)[:2])
    np.testing.assert_array_equal(ed.image, images[0])
    np.testing.assert_array_equal(es.image, images[2])


def test_a_single_frame_is_one_case_of_unknown_phase_without_motion(tmp_path):
    save_scaled(tmp_path / "P4.nii.gz", toy_cine()[0][0].T)
    (entry,) = find_entries("cine", tmp_path, unlabelled=True)
    assert (entry.phase, load_case(entry).motion) == ("unknown", None)


def test_two_nifti_files_of_one_patient_are_refused(root):
    save_scaled(root / "P3" / "other.nii.gz", toy_cine()[0].T)
    with refuses(root / "P3", "2 NIfTI files"):
        find_entries("cine", root, unlabelled=True)


def test_a_folder_without_images_is_named_and_the_others_are_found(root):
    (root / "P5").mkdir()
    problems = []
    assert len(find_entries("cine", root, unlabelled=True, problems=problems)) == 6
    assert ["P5: holds no MR image" in str(problem) for problem in problems] == [True]
