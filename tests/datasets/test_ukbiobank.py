import numpy as np
import pytest
from dataset_contract import LabelledContract, UnlabelledContract
from image_files import toy_cine
from layouts_more import write_ukbiobank_subject
from refusals import refuses

from cmrfed.datasets import find_entries
from cmrfed.volumes import FIND, load_case


@pytest.fixture
def root(tmp_path):
    write_ukbiobank_subject(tmp_path / "1000001")
    write_ukbiobank_subject(tmp_path / "1000002")
    return tmp_path


class TestUkBiobank(LabelledContract):
    name, patients = "ukbiobank", 2


class TestUnlabelledUkBiobank(UnlabelledContract):
    name, patients = "ukbiobank", 1

    @pytest.fixture
    def root(self, tmp_path):
        write_ukbiobank_subject(tmp_path / "1000003", masks=())
        return tmp_path


def test_unlabelled_subjects_are_read_from_the_cine_at_the_phases_found_in_it(root):
    write_ukbiobank_subject(root / "1000003", masks=())
    ed, es = find_entries("ukbiobank", root, unlabelled=True)[-2:]
    assert (ed.image_path.name, ed.frame) == ("sa.nii.gz", FIND)
    images, _ = toy_cine()
    np.testing.assert_allclose(load_case(ed).image, images[0].clip(0, 127.5), atol=0.5)
    np.testing.assert_allclose(load_case(es).image, images[2].clip(0, 127.5), atol=0.5)


def test_without_the_cine_the_single_frames_are_read(root):
    write_ukbiobank_subject(root / "1000003", masks=(), cine=False)
    found = find_entries("ukbiobank", root, unlabelled=True)[-2:]
    assert [entry.image_path.name for entry in found] == ["sa_ED.nii.gz", "sa_ES.nii.gz"]


def test_a_single_labelled_phase_is_one_case(root):
    write_ukbiobank_subject(root / "1000003", masks=("ED",))
    assert [entry.phase for entry in find_entries("ukbiobank", root)] == ["ED", "ES", "ED", "ES", "ED"]


def test_a_mask_without_its_image_is_refused(root):
    (root / "1000001" / "sa_ES.nii.gz").unlink()
    with refuses(root / "1000001", "sa_ES.nii.gz"):
        find_entries("ukbiobank", root)
