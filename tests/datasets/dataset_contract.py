"""What every data set promises. A data set's test inherits this and gives a `root` fixture and its `name`."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from refusals import refuses
from scipy.ndimage import binary_dilation

from cmrfed.conditions import UNLABELLED, VENDORS
from cmrfed.datasets import count_patients, find_entries, recognise
from cmrfed.shapes import STRUCTURES, Label
from cmrfed.volumes import Case, Entry, load_case


class DatasetContract:
    """What holds for labelled and unlabelled sets alike."""

    name: str
    patients: int
    phases: tuple[str, ...] = ("ED", "ES")
    unlabelled = False

    @pytest.fixture
    def entries(self, root: Path) -> list[Entry]:
        return find_entries(self.name, root, self.unlabelled)

    @pytest.fixture
    def cases(self, entries: list[Entry]) -> list[Case]:
        return [load_case(entry) for entry in entries]

    def test_finds_every_patient_once_at_every_phase(self, entries):
        phases = defaultdict(list)
        for entry in entries:
            phases[entry.patient].append(entry.phase)
        assert set(map(tuple, phases.values())) == {self.phases}
        assert count_patients(entries) == len(phases) == self.patients

    def test_patient_names_carry_the_name_of_the_data_set(self, entries):
        assert all(entry.patient.startswith(f"{self.name}-") for entry in entries)
        assert {entry.dataset for entry in entries} == {self.name}

    def test_entries_are_in_order_of_patient_and_phase(self, entries):
        assert entries == sorted(entries, key=lambda entry: (entry.patient, entry.phase))

    def test_vendor_centre_and_pathology_are_known(self, entries):
        assert {entry.vendor for entry in entries} <= set(VENDORS)
        assert all(entry.centre and entry.pathology for entry in entries)

    def test_a_case_carries_what_its_entry_says(self, entries, cases):
        for entry, case in zip(entries, cases, strict=True):
            for field in ("patient", "dataset", "vendor", "centre", "phase", "pathology"):
                assert getattr(case, field) == getattr(entry, field)

    def test_images_are_finite_and_not_constant(self, cases):
        for case in cases:
            assert np.isfinite(case.image).all()
            assert case.image.min() < case.image.max()

    def test_spacing_is_slice_row_column(self, cases):
        for case in cases:
            slice_mm, row_mm, column_mm = case.spacing_mm
            assert slice_mm > max(row_mm, column_mm)

    def test_a_case_has_motion_only_where_it_has_no_structure(self, cases):
        for case in cases:
            labelled = np.isin(case.mask, STRUCTURES).any()
            assert not labelled or case.motion is None
            assert case.motion is None or (case.motion.shape == case.image.shape and (case.motion >= 0).all())

    def test_the_layout_is_recognised(self, root):
        assert recognise(root) == [self.name]

    def test_a_list_of_problems_stays_empty(self, root):
        problems = []
        find_entries(self.name, root, self.unlabelled, problems)
        assert problems == []


class UnlabelledContract(DatasetContract):
    """What holds where nothing is labelled and every file is a cine."""

    unlabelled = True

    def test_unlabelled_patients_come_only_when_asked_for(self, root):
        with refuses(root, f"no labelled patients of {self.name}"):
            find_entries(self.name, root)

    def test_nothing_is_labelled_and_the_heart_is_what_moves(self, cases):
        for case in cases:
            assert (case.mask == UNLABELLED).all()
            moving = case.motion > np.quantile(case.motion, 0.98)
            rows, columns = np.nonzero(moving)[1:]
            assert np.hypot(np.median(rows) - 20, np.median(columns) - 28) < 4


class LvContract(DatasetContract):
    """What holds where the left ventricle is drawn."""

    def test_the_lv_is_surrounded_by_myocardium(self, cases):
        for case in cases:
            assert share_of_rim(case.mask, Label.LV, Label.MYO) > 0.8

    def test_the_lv_is_smaller_at_end_systole(self, cases):
        if self.phases == ("ED", "ES"):
            volumes = [np.count_nonzero(case.mask == Label.LV) * np.prod(case.spacing_mm) for case in cases]
            assert np.mean(volumes[0::2]) > np.mean(volumes[1::2])


class LabelledContract(LvContract):
    """What holds where both ventricles are drawn."""

    def test_the_rv_is_not_surrounded_by_myocardium(self, cases):
        for case in cases:
            assert share_of_rim(case.mask, Label.RV, Label.MYO) < 0.6

    def test_the_rv_lies_to_the_left_of_the_lv_in_the_image(self, cases):
        # True of a data set on the whole: hearts turn, so a single real patient may differ.
        assert np.median([mean_column(case.mask, Label.LV) - mean_column(case.mask, Label.RV) for case in cases]) > 0


def share_of_rim(mask: np.ndarray, inner: Label, outer: Label) -> float:
    """Of the labelled pixels that touch `inner` in its slice, how many are `outer`; all where none is labelled."""
    in_plane = np.zeros((3, 3, 3), bool)
    in_plane[1] = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    rim = binary_dilation(mask == inner, in_plane) & (mask != inner) & (mask != UNLABELLED)
    return float((mask[rim] == outer).mean()) if rim.any() else 1.0


def mean_column(mask: np.ndarray, label: Label) -> float:
    return float(np.nonzero(mask == label)[2].mean())
