from collections import Counter, defaultdict

import numpy as np
import pytest
from dataset_contract import LabelledContract
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from image_files import toy_cine
from layouts import save_labels, save_scaled
from layouts_more import write_folder
from refusals import refuses

from cmrfed.datasets import count_patients, find_entries
from cmrfed.slices import collect
from cmrfed.volumes import load_case

ROWS = ("P1,cine.nii.gz,cine.nii.gz,,SIEMENS", "P2,cine.nii.gz,cine.nii.gz,ED,", "P2,cine.nii.gz,cine.nii.gz,ES,")


@pytest.fixture
def root(tmp_path):
    write_folder(tmp_path, ROWS)
    return tmp_path


class TestFolder(LabelledContract):
    name, patients = "folder", 2


def entries_of(root, *rows, columns="patient,image,mask,phase,vendor", unlabelled=True):
    write_folder(root, rows, columns)
    return find_entries("folder", root, unlabelled)


def test_the_frames_found_are_those_of_the_largest_and_the_smallest_cavity(root):
    _, masks = toy_cine()
    ed, es = (load_case(entry) for entry in find_entries("folder", root)[:2])
    np.testing.assert_array_equal(ed.mask, masks[0])
    np.testing.assert_array_equal(es.mask, masks[2])


def test_rows_without_a_mask_come_only_when_asked_for(tmp_path):
    rows = ("P1,cine.nii.gz,cine.nii.gz,,", "P2,series,,,")
    assert len(entries_of(tmp_path, *rows, unlabelled=False)) == 2
    found = entries_of(tmp_path, *rows)
    assert [(entry.patient, entry.phase, entry.vendor) for entry in found[2:]] == [
        ("folder-P2", "ED", "Siemens"),
        ("folder-P2", "ES", "Siemens"),
    ]
    np.testing.assert_array_equal(load_case(found[3]).image, toy_cine()[0][2])


def test_only_patient_and_image_are_needed(tmp_path):
    (entry,) = entries_of(tmp_path, "P1,ed.nii.gz", columns="patient,image")
    assert (entry.phase, entry.vendor, entry.centre, entry.pathology) == ("unknown",) * 4
    assert load_case(entry).motion is None


def test_a_frame_that_is_given_is_read(tmp_path):
    (entry,) = entries_of(tmp_path, "P1,cine.nii.gz,1", columns="patient,image,frame")
    assert (entry.phase, entry.frame) == ("unknown", 1)
    (entry,) = entries_of(tmp_path, "P1,cine.nii.gz,3,ES", columns="patient,image,frame,phase")
    assert (entry.phase, entry.frame) == ("ES", 3)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("P1,../cases.csv,,,", ["lies outside"]),
        ("P1,../../../../etc/passwd,,,", ["lies outside"]),
        ("P1,/etc/passwd,,,", ["lies outside"]),
        ("P1,,,,", ["lies outside"]),
        ("P1,link.nii.gz,,,", ["lies outside"]),
        ("P1,none.nii.gz,,,", ["is not in"]),
        ("P1,ed.nii.gz,../images/ed.nii.gz,,", ["lies outside", "masks"]),
        ("P1,ed.nii.gz,,systole,", ["'systole'", "ED, ES"]),
        ("P1,ed.nii.gz,,,Simens", ["'Simens'", "Siemens"]),
        (",ed.nii.gz,,,", ["patient is ''"]),
        ('"P\n1",ed.nii.gz,,,', ["patient is 'P\\n1'"]),
        ("P1,cine.nii.gz,,unknown,", ["4 frames", "column frame"]),
    ],
)
def test_a_bad_row_is_refused_by_its_number(tmp_path, row, words):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "link.nii.gz").symlink_to("/etc/passwd")
    with refuses(tmp_path / "cases.csv", "row 1", *words):
        entries_of(tmp_path, row)


def write_visits(root, rows, columns="patient,image,mask,phase,frame,vendor,visit"):
    """A folder with three cines, and a 3-D image and mask of ED and ES for each of four visits, all different."""
    write_folder(root, rows, columns)
    images, masks = toy_cine()
    for number in range(3):
        save_scaled(root / "images" / f"cine{number}.nii.gz", images.T + number)
    for number in range(4):
        for phase, frame in (("ED", 0), ("ES", 2)):
            save_scaled(root / "images" / f"{phase}{number}.nii.gz", images[frame].T + number)
            save_labels(root / "masks" / f"{phase}{number}.nii.gz", masks[frame].T)
    return find_entries("folder", root, unlabelled=True)


def visits_of(entries):
    """The images of every patient's visits, in order."""
    visits = defaultdict(list)
    for entry in entries:
        visits[entry.patient, entry.visit].append(entry.image_path.name.removesuffix(".nii.gz"))
    return [sorted(images) for _, images in sorted(visits.items())]


def test_visits_are_one_patient_and_each_has_its_own_ed_and_es(tmp_path):
    rows = [
        f"P1,{phase}{number}.nii.gz,{phase}{number}.nii.gz,{phase},,GE," for number in (0, 1) for phase in ("ED", "ES")
    ]
    found = write_visits(tmp_path, rows)
    assert count_patients(found) == 1
    assert visits_of(found) == [["ED0", "ES0"], ["ED1", "ES1"]]
    slices = collect(map(load_case, found))
    assert (slices.number_of_patients, set(slices.visits), len(set(slices.stacks))) == (1, {0, 1}, 4)
    assert len(slices.of_patient(0)) == len(slices) == sum(len(load_case(entry).image) for entry in found)


def test_the_column_visit_says_which_visit_a_row_is_of(tmp_path):
    rows = ["P1,ED0.nii.gz,,ED,,GE,2020", "P1,ES0.nii.gz,,ES,,GE,2020", "P1,ES1.nii.gz,,ES,,GE,2021"]
    assert visits_of(write_visits(tmp_path, rows)) == [["ED0", "ES0"], ["ES1"]]


def test_cines_of_one_patient_are_a_visit_each(tmp_path):
    rows = [
        "P1,cine0.nii.gz,,,,GE,",
        "P1,cine1.nii.gz,,,,GE,",
        "P1,cine2.nii.gz,,ED,0,GE,",
        "P1,cine2.nii.gz,,ES,2,GE,",
    ]
    assert visits_of(write_visits(tmp_path, rows)) == [["cine0"] * 2, ["cine1"] * 2, ["cine2"] * 2]


def test_one_visit_has_no_number(tmp_path):
    rows = ["P1,ED0.nii.gz,,ED,,GE,", "P1,ES0.nii.gz,,ES,,GE,", "P2,cine0.nii.gz,,,,GE,"]
    assert {entry.visit for entry in write_visits(tmp_path, rows)} == {""}


images = st.lists(
    st.tuples(st.sampled_from(["P1", "P2"]), st.sampled_from(["ED", "ES"]), st.integers(0, 3)), unique=True, max_size=16
)


@given(images)
@settings(max_examples=30, deadline=None)
def test_no_row_is_lost_and_no_visit_has_two_images_of_a_phase(tmp_path_factory, rows):
    """Whatever rows there are; and where the numbers of ED and ES differ, no ED is put beside an ES."""
    assume(rows)
    root = tmp_path_factory.mktemp("visits")
    found = write_visits(root, [f"{patient},{phase}{number}.nii.gz,,{phase},,GE," for patient, phase, number in rows])
    assert Counter((entry.patient, entry.phase) for entry in found) == Counter((f"folder-{p}", h) for p, h, _ in rows)
    assert len({(entry.patient, entry.visit, entry.phase) for entry in found}) == len(rows)
    for patient in {entry.patient for entry in found}:
        own = [entry for entry in found if entry.patient == patient]
        at = Counter(entry.phase for entry in own)
        paired = len(own) - len({entry.visit for entry in own})
        assert paired == (at["ED"] if at["ED"] == at["ES"] else 0)


@pytest.mark.parametrize("again", ["P1,cine0.nii.gz,,,,GE,", "P1,link.nii.gz,,,,GE,", "P1,cine0.nii.gz,,ED,3,GE,b"])
def test_one_file_is_no_two_visits(tmp_path, again):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "link.nii.gz").symlink_to("cine0.nii.gz")
    with refuses(tmp_path, "folder-P1", "found twice at ED", "keep one copy"):
        write_visits(tmp_path, ["P1,cine0.nii.gz,,,,GE,", again])


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_with_other_separators_and_decimal_commas_is_read(tmp_path, separator):
    columns, row = (
        separator.join(of.split("|")) for of in ("patient|image|phase|frame|age", "P1|cine.nii.gz|ES|2,0|70,5")
    )
    (entry,) = entries_of(tmp_path, row, columns=columns)
    assert (entry.phase, entry.frame) == ("ES", 2)


def test_masks_of_single_frames_are_read_beside_their_cine(tmp_path):
    rows = ["P1,cine0.nii.gz,ED0.nii.gz,ED,0,GE,", "P1,cine0.nii.gz,ES0.nii.gz,ES,2,GE,"]
    _, masks = toy_cine()
    ed, es = map(load_case, write_visits(tmp_path, rows))
    np.testing.assert_array_equal(ed.mask, masks[0])
    np.testing.assert_array_equal(es.mask, masks[2])


def test_a_maker_without_a_style_is_unknown(tmp_path):
    (entry,) = entries_of(tmp_path, "P1,ed.nii.gz,,,United Imaging")
    assert entry.vendor == "unknown"
