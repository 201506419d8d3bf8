"""The contract on real patients: CMRFED_DATA, or shared/data beside the clone, holds acdc/ and mnms/; else skipped."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dataset_contract import LabelledContract

from cmrfed.config import PreprocessingConfig
from cmrfed.datasets import find_entries
from cmrfed.preprocessing import prepare
from cmrfed.slices import collect
from cmrfed.volumes import load_case

DATA = Path(os.environ.get("CMRFED_DATA", Path(__file__).parents[3] / "shared" / "data"))


class RealDataContract(LabelledContract):
    """Reads every volume once for all tests of a data set."""

    @pytest.fixture
    def root(self):
        return DATA / self.name

    @pytest.fixture(scope="class")
    @classmethod
    def entries(cls):
        return find_entries(cls.name, DATA / cls.name)

    @pytest.fixture(scope="class")
    @classmethod
    def cases(cls, entries):
        return [load_case(entry) for entry in entries]

    def test_every_case_can_be_prepared(self, cases):
        slices = collect(prepare(case, PreprocessingConfig()) for case in cases)
        assert slices.number_of_patients == self.patients
        assert np.abs(slices.images).max() <= 1
        assert (slices.masks > 0).any(axis=(1, 2)).all()


@pytest.mark.skipif(not (DATA / "acdc").is_dir(), reason="real ACDC data is not on this machine")
class TestRealAcdc(RealDataContract):
    name, patients = "acdc", 50

    def test_holds_ten_patients_of_each_diagnosis(self, entries):
        assert Counter(entry.pathology for entry in entries) == dict.fromkeys(("NOR", "DCM", "HCM", "MINF", "RV"), 20)


@pytest.mark.skipif(not (DATA / "mnms").is_dir(), reason="real M&Ms data is not on this machine")
class TestRealMnms(RealDataContract):
    name, patients = "mnms", 100

    def test_holds_fifty_patients_of_each_vendor(self, entries):
        assert Counter(entry.vendor for entry in entries) == {"Siemens": 100, "Philips": 100}
