import logging
import shutil

import numpy as np
import pytest
from dataset_contract import LabelledContract
from layouts import write_mnms_patient, write_mnms_table
from refusals import refuses
from toy_hearts import SPACING_MM, toy_mask

from cmrfed.datasets import find_entries
from cmrfed.slices import collect
from cmrfed.volumes import FIND, canonical_vendor, load_case

ROWS = (
    "A0S9V9,Siemens,A,1,0,9,30,HCM,M,172,70",
    "B1D0Q7,Philips,B,2,1,3,43,NOR,F,,60",
    "C2K5P1,Canon,D,5,0,1,50,DCM,M,180,80",
    "Z9Z9Z9,GE,C,4,,,50,NOR,M,180,80",
)


@pytest.fixture
def root(tmp_path):
    data = tmp_path / "OpenDataset"
    write_mnms_table(data, ROWS)
    write_mnms_patient(data / "Training" / "Labeled" / "A0S9V9", 0, 9)
    write_mnms_patient(data / "Validation" / "B1D0Q7", 1, 3)
    write_mnms_patient(data / "Testing" / "C2K5P1", 0, 1)
    return tmp_path


@pytest.fixture
def table_path(root):
    return next((root / "OpenDataset").glob("*.csv"))


class TestMnms(LabelledContract):
    name, patients = "mnms", 3


class TestPhantomLayout(LabelledContract):
    name, patients = "phantom", 3

    @pytest.fixture
    def root(self, root):
        (root / "phantom.json").write_text("{}")
        return root


def test_the_data_folder_itself_may_be_the_root(root):
    assert find_entries("mnms", root / "OpenDataset") == find_entries("mnms", root)


def test_metadata_is_that_of_the_table(root):
    entry = find_entries("mnms", root)[3]
    assert (entry.patient, entry.phase, entry.frame) == ("mnms-B1D0Q7", "ES", 3)
    assert (entry.vendor, entry.centre, entry.pathology) == ("Philips", "2", "NOR")


def test_the_frames_read_are_those_of_the_table(root):
    ed, es = (load_case(entry) for entry in find_entries("mnms", root)[2:4])
    np.testing.assert_array_equal(ed.mask, toy_mask())
    np.testing.assert_array_equal(es.mask, toy_mask(scale=0.7))
    assert ed.spacing_mm == SPACING_MM


def test_a_patient_of_the_table_that_is_not_on_disk_is_left_out(root):
    assert "mnms-Z9Z9Z9" not in {entry.patient for entry in find_entries("mnms", root)}


def test_a_patient_of_the_table_that_is_not_on_disk_is_a_problem_that_stops_nobody(root):
    problems = []
    write_mnms_table(root / "OpenDataset", [*ROWS, "Y8Y8Y8,GE,C,4,0,5,50,NOR,M,180,80"])
    assert len(find_entries("mnms", root, problems=problems)) == len(find_entries("mnms", root)) == 6
    assert ["'Y8Y8Y8' has a row and no files on disk" in str(problem) for problem in problems] == [True]


def test_a_patient_without_frames_in_the_table_is_missed_only_where_unlabelled_ones_are_asked_for(root):
    problems = []
    assert len(find_entries("mnms", root, unlabelled=True, problems=problems)) == 6
    assert ["'Z9Z9Z9' has a row" in str(problem) for problem in problems] == [True]


@pytest.mark.parametrize("change", [lambda text: text.replace(",", ";"), lambda text: "sep=,\r\n" + text])
def test_the_table_of_a_spreadsheet_in_another_language_is_read(root, table_path, change):
    before = find_entries("mnms", root)
    table_path.write_bytes(change(table_path.read_text("utf-8-sig")).encode("utf-8-sig"))
    assert find_entries("mnms", root) == before


def test_frames_that_a_program_wrote_with_decimals_are_read(root):
    before = find_entries("mnms", root)
    write_mnms_table(root / "OpenDataset", [row.replace(",0,9,", ",0.0,9.0,") for row in ROWS])
    assert find_entries("mnms", root) == before


def test_unlabelled_patients_are_left_out_and_counted(root, caplog):
    write_mnms_patient(root / "OpenDataset" / "Training" / "Unlabeled" / "Z9Z9Z9", masks=False)
    with caplog.at_level(logging.INFO):
        assert len(find_entries("mnms", root)) == 6
    assert "1 patients without labels" in caplog.text


@pytest.mark.parametrize(
    ("row", "frames"), [("Z9Z9Z9,GE,C,4,,,50,NOR", (FIND, FIND)), ("Z9Z9Z9,GE,C,4,0,1,50,", (0, 1))]
)
def test_unlabelled_patients_come_when_asked_for_at_the_frames_of_the_table(root, row, frames):
    write_mnms_table(root / "OpenDataset", [*ROWS[:3], row])
    write_mnms_patient(root / "OpenDataset" / "Training" / "Unlabeled" / "Z9Z9Z9", masks=False)
    found = [entry for entry in find_entries("mnms", root, unlabelled=True) if entry.mask_path is None]
    assert [(entry.patient, entry.phase) for entry in found] == [("mnms-Z9Z9Z9", "ED"), ("mnms-Z9Z9Z9", "ES")]
    assert tuple(entry.frame for entry in found) == frames
    ed, es = (load_case(entry) for entry in found)
    np.testing.assert_array_equal(ed.motion, es.motion)
    np.testing.assert_allclose(ed.motion, np.abs(ed.image - es.image), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "vendor"),
    [
        ("Siemens", "Siemens"),
        ("SIEMENS Healthineers", "Siemens"),
        ("Philips", "Philips"),
        ("Philips Medical Systems", "Philips"),
        ("GE", "GE"),
        ("General Electric", "GE"),
        ("GE MEDICAL SYSTEMS", "GE"),
        ("Canon", "Canon"),
        ("TOSHIBA_MEC", "Canon"),
        ("Toshiba", "Canon"),
        ("GEMS", "GE"),
        ("unknown", "unknown"),
        ("United Imaging", "unknown"),
        ("UIH", "unknown"),
        ("Shanghai United Imaging Healthcare Co., Ltd.", "unknown"),
        ("HITACHI Medical Corporation", "unknown"),
        ("FUJIFILM", "unknown"),
        ("Hyperfine, Inc.", "unknown"),
        ("Neusoft", "unknown"),
    ],
)
def test_vendors_are_known_by_any_of_their_names(name, vendor):
    assert canonical_vendor(name, "table") == vendor


@pytest.mark.parametrize("name", ["Simens", "", "Genesis", "A", "Philip", "UIHC"])
def test_an_unknown_vendor_is_refused(root, name):
    path = write_mnms_table(root / "OpenDataset", [f"A0S9V9,{name},A,1,0,9,30,HCM,M,172,70", *ROWS[1:]])
    with refuses(path, "A0S9V9", repr(name), "Siemens, Philips, GE, Canon, unknown"):
        find_entries("mnms", root)


@pytest.mark.parametrize("column", ["External code", "VendorName", "Centre", "ED", "ES", "Pathology"])
def test_a_table_without_a_needed_column_is_refused(root, table_path, column):
    table_path.write_text(table_path.read_text("utf-8").replace(f",{column},", ",Other,", 1))
    with refuses(table_path, repr(column)):
        find_entries("mnms", root)


@pytest.mark.parametrize("value", ["", "-1", "1.5", "none"])
def test_a_frame_that_is_not_an_index_is_refused(root, value):
    path = write_mnms_table(root / "OpenDataset", [f"A0S9V9,Siemens,A,1,{value},9,30,HCM,M,172,70", *ROWS[1:]])
    with refuses(path, "A0S9V9", "ED", repr(value)):
        find_entries("mnms", root)


def test_a_patient_named_twice_in_the_table_is_refused(root):
    path = write_mnms_table(root / "OpenDataset", [*ROWS, ROWS[0]])
    with refuses(path, "5 rows name 4 patients"):
        find_entries("mnms", root)


def test_a_patient_on_disk_that_is_not_in_the_table_is_refused(root):
    path = write_mnms_table(root / "OpenDataset", ROWS[1:])
    with refuses("A0S9V9_sa.nii.gz", "A0S9V9 is not in", path.name):
        find_entries("mnms", root)


def test_a_labelled_patient_without_a_mask_is_refused(root):
    path = root / "OpenDataset" / "Validation" / "B1D0Q7" / "B1D0Q7_sa_gt.nii.gz"
    path.unlink()
    with refuses(path, "patient B1D0Q7"):
        find_entries("mnms", root)


def test_a_patient_in_two_folders_is_one_patient_and_a_copy_is_refused_when_it_is_read(root):
    data = root / "OpenDataset"
    shutil.copytree(data / "Validation" / "B1D0Q7", data / "Testing" / "B1D0Q7")
    found = find_entries("mnms", root)
    visits = {entry.visit for entry in found if entry.patient == "mnms-B1D0Q7"}
    assert visits == {"OpenDataset/Testing/B1D0Q7", "OpenDataset/Validation/B1D0Q7"}
    with refuses("mnms-B1D0Q7", "keep one copy"):
        collect(map(load_case, found))


@pytest.mark.parametrize("tables", [0, 2])
def test_no_table_or_two_are_refused(root, table_path, tables):
    if tables == 0:
        table_path.unlink()
    else:
        shutil.copy(table_path, table_path.with_name("copy.csv"))
    with refuses(root / "OpenDataset", "one information table"):
        find_entries("mnms", root)


def test_a_table_that_is_not_utf8_is_refused(root, table_path):
    table_path.write_bytes(b"\xff\xfe\x00" * 9)
    with refuses(table_path, "UTF-8"):
        find_entries("mnms", root)


def test_an_empty_centre_or_pathology_is_unknown(root):
    write_mnms_table(root / "OpenDataset", ["A0S9V9,Siemens,A,,0,9,30,,M,172,70", *ROWS[1:]])
    entry = find_entries("mnms", root)[0]
    assert (entry.centre, entry.pathology) == ("unknown", "unknown")
