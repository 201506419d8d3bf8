import nibabel as nib
import numpy as np
import pytest
from dataset_contract import LabelledContract
from layouts_more import whole_heart, write_mmwhs_patient
from refusals import refuses

from cmrfed.datasets import find_entries
from cmrfed.shapes import Label
from cmrfed.volumes import load_case

APEX = np.array([-0.6, 0.64, -0.48])
"""To the patient's left, anterior and inferior, as the long axis runs."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mmwhs")
    write_mmwhs_patient(folder / "mr_train", 1001, APEX)
    write_mmwhs_patient(folder / "mr_train", 1002, APEX, (0, 1, 2))
    return folder


class TestMmWhs(LabelledContract):
    name, patients, phases = "mmwhs", 2, ("unknown",)

    @pytest.fixture(scope="class")
    @classmethod
    def cases(cls, root):
        return [load_case(entry) for entry in find_entries(cls.name, root)]

    def test_the_cut_holds_the_whole_of_each_ventricle(self, cases):
        numbers = whole_heart(APEX)
        for case in cases:
            for label, number in ((Label.LV, 500), (Label.MYO, 205), (Label.RV, 600)):
                volume_mm3 = np.count_nonzero(case.mask == label) * np.prod(case.spacing_mm)
                assert volume_mm3 == pytest.approx(np.count_nonzero(numbers == number) * 8.0, rel=0.1)

    def test_the_lv_is_round_and_in_the_middle_of_every_slice_it_is_in(self, cases):
        for case in cases:
            for labels in case.mask[(case.mask == Label.LV).any(axis=(1, 2))]:
                rows, columns = np.nonzero(labels == Label.LV)
                assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=2)

    def test_slices_run_from_the_base_to_the_apex(self, cases):
        for case in cases:
            areas = (case.mask == Label.LV).sum(axis=(1, 2))
            assert areas[: len(areas) // 2].sum() > areas[len(areas) // 2 :].sum()

    def test_atria_and_vessels_are_background(self, cases):
        for case in cases:
            assert set(np.unique(case.mask)) == {0, 1, 2, 3}

    def test_the_order_of_the_stored_axes_makes_no_difference(self, cases):
        first, second = cases
        assert (first.mask == second.mask).mean() > 0.995


def test_a_volume_without_an_atrium_is_refused(root, tmp_path):
    for path in (root / "mr_train").glob("mr_train_1001*"):
        image = nib.load(path)
        array = np.asarray(image.dataobj)
        nib.save(
            nib.Nifti1Image(np.where((array == 420) | (array == 421), 0, array), image.affine), tmp_path / path.name
        )
    with refuses("mr_train_1001_label.nii.gz", "left atrium (420)"):
        load_case(find_entries("mmwhs", tmp_path)[0])


def test_an_image_without_labels_is_refused(root, tmp_path):
    (tmp_path / "mr_train_1001_image.nii.gz").write_bytes((root / "mr_train/mr_train_1001_image.nii.gz").read_bytes())
    with refuses("mr_train_1001_image.nii.gz", "no mr_train_1001_label.nii.gz"):
        find_entries("mmwhs", tmp_path)
