import numpy as np
import pytest
from dataset_contract import LabelledContract
from layouts_more import write_mscmrseg_patient
from refusals import refuses
from toy_hearts import toy_mask

from cmrfed.datasets import find_entries
from cmrfed.volumes import load_case


@pytest.fixture
def root(tmp_path):
    for number in (1, 2, 11):
        write_mscmrseg_patient(tmp_path, number)
    return tmp_path


class TestMsCmrSeg(LabelledContract):
    name, patients, phases = "mscmrseg", 3, ("unknown",)


def test_labels_are_translated(root):
    np.testing.assert_array_equal(load_case(find_entries("mscmrseg", root)[0]).mask, toy_mask())


def test_patients_without_masks_come_only_when_asked_for(root):
    write_mscmrseg_patient(root, 36, mask=False)
    assert len(find_entries("mscmrseg", root)) == 3
    assert find_entries("mscmrseg", root, unlabelled=True)[-1].mask_path is None


def test_a_mask_without_an_image_is_refused(root):
    (root / "c0t2lge" / "patient2_C0.nii.gz").unlink()
    with refuses("patient2_C0_manual.nii.gz", "0 images and 1 masks"):
        find_entries("mscmrseg", root)
