import pytest
from dataset_contract import LabelledContract
from layouts_more import write_mnms2
from refusals import refuses

from cmrfed.config import UserError
from cmrfed.datasets import find_entries

VENDORS = ("SIEMENS", "Philips Medical Systems", "GE MEDICAL SYSTEMS")


@pytest.fixture
def root(tmp_path):
    write_mnms2(tmp_path, (1, 20, 133), VENDORS)
    return tmp_path


class TestMnms2(LabelledContract):
    name, patients = "mnms2", 3


def test_codes_are_padded_and_vendors_are_canonical(root):
    found = [(entry.patient, entry.vendor) for entry in find_entries("mnms2", root) if entry.phase == "ED"]
    assert found == [("mnms2-001", "Siemens"), ("mnms2-020", "Philips"), ("mnms2-133", "GE")]


def test_patients_without_masks_come_only_when_asked_for(root):
    for path in root.rglob("001_SA_*_gt.nii.gz"):
        path.unlink()
    assert len(find_entries("mnms2", root)) == 4
    assert [entry.mask_path for entry in find_entries("mnms2", root, unlabelled=True)][:2] == [None, None]


def test_one_mask_of_two_is_refused(root):
    (root / "dataset" / "020" / "020_SA_ES_gt.nii.gz").unlink()
    with refuses(root / "dataset" / "020", "020_SA_ES_gt"):
        find_entries("mnms2", root)


def test_every_faulty_patient_is_named_and_the_others_are_found(root):
    (root / "dataset" / "001" / "001_SA_ED.nii.gz").unlink()
    text = (root / "dataset_information.csv").read_text().replace("133,HCM", "134,HCM")
    (root / "dataset_information.csv").write_text(text)
    problems: list[UserError] = []
    found = find_entries("mnms2", root, problems=problems)
    assert {entry.patient for entry in found} == {"mnms2-020"}
    words = ("001_SA_ED", "patient 133 is not in", "patient '134' has a row and no files")
    assert [word in str(problem) for word, problem in zip(words, problems, strict=True)] == [True] * 3


def test_codes_that_a_program_wrote_as_numbers_with_decimals_are_found(root):
    before = find_entries("mnms2", root)
    path = root / "dataset_information.csv"
    path.write_text(path.read_text().replace("\n1,", "\n1.0,").replace("\n20,", "\n20.0,"))
    assert find_entries("mnms2", root) == before
