import sys

import numpy as np
import pytest
from dataset_contract import UnlabelledContract
from image_files import toy_cine
from layouts_more import write_ocmr
from refusals import refuses

from cmrfed.datasets import find_entries
from cmrfed.volumes import load_case


@pytest.fixture
def root(tmp_path):
    write_ocmr(tmp_path, ("fs_0012_3T.h5", "fs_0053_1_5T.h5"))
    return tmp_path


class TestOcmr(UnlabelledContract):
    name, patients = "ocmr", 2


def test_images_are_reconstructed_without_the_oversampled_readout(root):
    images, _ = toy_cine()
    ed, es = (load_case(entry) for entry in find_entries("ocmr", root, unlabelled=True)[:2])
    np.testing.assert_allclose(ed.image, images[0], atol=0.01)
    np.testing.assert_allclose(es.image, images[2], atol=0.01)


def test_without_h5py_the_extra_to_install_is_named(root, monkeypatch):
    entry = find_entries("ocmr", root, unlabelled=True)[0]
    monkeypatch.setitem(sys.modules, "h5py", None)
    with refuses("fs_0012_3T.h5", "cmrfed[ocmr]"):
        load_case(entry)


def test_a_file_that_is_not_in_the_table_is_refused(root):
    (root / "data" / "fs_0077_3T.h5").write_bytes(b"?")
    with refuses("fs_0077_3T.h5", "ocmr_data_attributes.csv"):
        find_entries("ocmr", root, unlabelled=True)
