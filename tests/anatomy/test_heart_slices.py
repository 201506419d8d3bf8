"""Hearts in memory are those of a folder, on a generator's grid, and each is told as it measures."""

import numpy as np
import pytest

from cmrfed.anatomy import draw_folder, heart_slices
from cmrfed.conditions import CONDITIONS
from cmrfed.config import HeartConfig, PreprocessingConfig, VoxelsConfig
from cmrfed.preprocessing import prepare_mask
from cmrfed.volumes import read_mask

REQUESTS = [HeartConfig(pathology="HCM", severity=0.5), HeartConfig(pathology="RV")]
GRID = PreprocessingConfig(size=32)
VOXELS = VoxelsConfig(slice_mm=10)


@pytest.fixture(scope="module")
def slices():
    return heart_slices(REQUESTS, VOXELS, GRID, seed=4)


def test_they_are_the_hearts_of_a_folder_by_the_same_seed(slices, tmp_path):
    draw_folder(REQUESTS, VOXELS, 4, tmp_path / "hearts")
    drawn = []
    for name in ("heart00000_ED", "heart00000_ES", "heart00001_ED", "heart00001_ES"):
        mask, spacing_mm = read_mask(tmp_path / "hearts" / f"{name}.nii.gz", {label: label for label in range(4)})
        drawn.append(prepare_mask(mask, spacing_mm, GRID, name).masks)
    np.testing.assert_array_equal(slices.masks, np.concatenate(drawn))


def test_each_heart_is_nobody_with_two_stacks_told_of_its_phase_and_disease(slices):
    assert slices.patient_names == ("heart00000", "heart00001") and not slices.images.any()
    for patient, disease in enumerate(("HCM", "RV")):
        rows = slices.of_patient(patient)
        assert len(np.unique(slices.stacks[rows])) == 2
        assert {CONDITIONS["phase"].values[one] for one in slices.conditions["phase"][rows]} == {"ED", "ES"}
        assert {CONDITIONS["pathology"].values[one] for one in slices.conditions["pathology"][rows]} == {disease}
    levels = slices.conditions["slice_level"]
    assert levels.min() == 0 and levels.max() == 1 and np.isnan(slices.conditions["style"]).all()
