"""Verification finds what is wrong with a data set, names it, says nothing of a clean one, and keeps no image."""

import shutil
import weakref
from dataclasses import replace
from pathlib import Path

import damaged_data as damaged
import numpy as np
import pytest

from cmrfed import volumes
from cmrfed.config import DataConfig, PhantomConfig, UserError
from cmrfed.phantom import write_phantom
from cmrfed.shapes import Label
from cmrfed.verification import Verification, facts, find_patients, find_sources, verify
from cmrfed.verification.doubts import STACK_CHECKS, VISIT_CHECKS, doubts_about


@pytest.fixture(scope="session")
def clean_phantom(tmp_path_factory):
    """Two vendors, two patients each; tests must leave it as it is."""
    root = tmp_path_factory.mktemp("clean") / "phantom"
    write_phantom(root, PhantomConfig(patients_per_vendor=2, vendors=("Siemens", "GE")))
    return root


@pytest.fixture
def phantom(clean_phantom, tmp_path):
    """A copy to be damaged."""
    return Path(shutil.copytree(clean_phantom, tmp_path / "phantom"))


def look(root: Path, workers: int | None = None) -> Verification:
    return verify(find_patients(find_sources(DataConfig(root=str(root), sources={}))), workers=workers)


WARNINGS = {
    "ED and ES swapped": damaged.swap_frames,
    "RV larger at ES": damaged.grow_rv,
    "ED and ES the same image": damaged.repeat_frame,
    "ventricles swapped": damaged.swap_labels,
    "mirrored": damaged.mirror,
    "implausible volume": damaged.shrink,
    "gap in the mask": damaged.leave_gap,
    "mask at the border": damaged.crop_through_heart,
    "mask elsewhere": damaged.move_mask,
    "nearly constant": damaged.flatten,
    "blank slices": damaged.blank_slice,
    "spacing lost": damaged.lose_spacing,
    "spacing told twice": damaged.contradict_spacing,
    "slices too close": damaged.squeeze,
    "few slices": damaged.keep_few_slices,
}
PROBLEMS = [
    damaged.cut_short,
    damaged.flip_checksum,
    damaged.pack_garbage,
    damaged.crop_mask,
    damaged.empty_mask,
    damaged.make_constant,
    damaged.forget_row,
]


def test_a_clean_phantom_of_every_vendor_gives_neither_problem_nor_warning(tmp_path):
    write_phantom(tmp_path / "phantom", PhantomConfig(patients_per_vendor=1, seed=3))
    found = look(tmp_path / "phantom")
    assert found.problems == ()
    assert found.warnings == ()
    assert found.number_of_patients == 4


@pytest.mark.parametrize("kind", WARNINGS)
def test_what_looks_wrong_is_a_warning_that_names_the_file_and_no_problem(phantom, kind):
    patient = damaged.patients_of(phantom)[1]
    WARNINGS[kind](patient)
    found = look(phantom)
    assert found.problems == ()
    lines = [warning.line for warning in found.warnings if warning.kind == kind]
    assert lines
    assert all(f"/{patient.name}_sa" in line for line in lines), "and nobody else is suspected"
    assert all("; " in line and "\n" not in line for line in lines), "what was found; what to do"
    assert all(patient.name in warning.line for warning in found.warnings)


def test_every_check_is_tried():
    told_from_facts = {"one phase only", "heart not to be found"}
    assert set(WARNINGS) | told_from_facts == {*VISIT_CHECKS, *STACK_CHECKS}


def test_a_patient_with_one_phase_an_unknown_vendor_or_a_heart_nobody_can_find_is_told(clean_phantom):
    stack = look(clean_phantom).stacks[0]
    nothing = dict.fromkeys(stack.voxels, 0)
    lost = replace(stack, vendor="unknown", unlabelled=1.0, voxels=nothing, heart_slices=(), has_motion=False)
    kinds = {finding.kind: finding.line for finding in doubts_about([lost])}
    assert set(kinds) == {"one phase only", "heart not to be found", "vendor unknown"}
    assert "unlabelled_centre=image" in kinds["heart not to be found"]
    assert not list(
        doubts_about(
            [
                replace(lost, vendor="GE", has_motion=True),
                replace(lost, vendor="GE", phase="ES", image_hash="", has_motion=True),
            ]
        )
    )


def test_unknown_vendors_are_one_line_a_data_set(phantom):
    for patient in damaged.patients_of(phantom):
        damaged.forget_vendor(patient)
    found = look(phantom)
    assert [warning.kind for warning in found.warnings] == ["vendor unknown"]
    assert "for 4 of its patients" in found.warnings[0].line


def test_pixels_of_1_mm_are_believed_of_one_patient_and_not_of_all(phantom):
    patients = damaged.patients_of(phantom)
    damaged.change_both(patients[0], zooms=(1, 1, 8))
    assert not look(phantom).warnings
    for patient in patients[1:]:
        damaged.change_both(patient, zooms=(1, 1, 9))
    lines = [warning.line for warning in look(phantom).warnings if warning.kind == "pixel spacing lost"]
    assert len(lines) == 1
    assert lines[0].startswith("phantom: pixels of every patient are exactly 1 x 1 mm")


@pytest.mark.parametrize("damage", PROBLEMS, ids=lambda damage: damage.__name__)
def test_what_cannot_be_used_is_a_problem_of_that_file_and_the_others_are_read(phantom, damage):
    patient = damaged.patients_of(phantom)[2]
    damage(patient)
    found = look(phantom)
    assert found.problems
    assert all(patient.name in problem.line and "\n" not in problem.line for problem in found.problems)
    assert {stack.patient for stack in found.stacks} >= {
        f"phantom-{other.name}" for other in damaged.patients_of(phantom) if other != patient
    }


def test_all_problems_are_listed_and_each_file_once(phantom):
    first, second, third, _ = damaged.patients_of(phantom)
    damaged.cut_short(first)
    damaged.crop_mask(second)
    damaged.forget_row(third)
    found = look(phantom)
    assert len(found.problems) == 3
    for patient in (first, second, third):
        assert sum(patient.name in problem.line for problem in found.problems) == 1
    assert found.number_of_patients == 1


def test_one_patient_under_two_names_is_found_once_and_both_names_are_said(phantom):
    patient = damaged.patients_of(phantom)[0]
    damaged.add_under_another_name(patient)
    found = look(phantom)
    assert [problem.kind for problem in found.problems] == ["one patient twice"]
    assert f"phantom-{patient.name}" in found.problems[0].line
    assert "phantom-Z9Z9Z9" in found.problems[0].line


@pytest.mark.parametrize("only", ["image", "mask", "one phase"])
def test_a_patient_is_recognised_by_image_or_mask_or_one_phase_alone(phantom, only):
    patient = damaged.patients_of(phantom)[0]
    damaged.add_under_another_name(patient)
    copy = patient.with_name("Z9Z9Z9")

    def slightly(frames: np.ndarray) -> np.ndarray:
        frames[0, 0, 0] += 1
        return frames

    if only == "mask":
        damaged.change(damaged.image_of(copy), slightly)
    else:
        damaged.change(damaged.mask_of(copy), lambda mask: np.where(mask == Label.RV, 0, mask).astype(np.uint8))
    if only == "one phase":
        damaged.change(damaged.image_of(copy), lambda frames: np.stack([frames[..., 0] + 1, frames[..., 0]], axis=-1))
    assert [problem.kind for problem in look(phantom).problems] == ["one patient twice"]


def test_many_names_of_one_patient_are_told_once_each(phantom):
    patient = damaged.patients_of(phantom)[0]
    for name in ("Z7Z7Z7", "Z8Z8Z8", "Z9Z9Z9"):
        damaged.add_under_another_name(patient, name)
    assert len(look(phantom).problems) == 3


def test_one_patient_in_two_data_sets_is_found(clean_phantom, tmp_path):
    for name in ("mnms", "phantom"):
        shutil.copytree(clean_phantom, tmp_path / "all" / name)
    (tmp_path / "all" / "mnms" / "phantom.json").unlink()
    found = look(tmp_path / "all")
    assert {stack.dataset for stack in found.stacks} == {"mnms", "phantom"}
    assert [problem.kind for problem in found.problems] == ["one patient twice"] * 4


def test_a_patient_of_the_table_whose_folder_is_gone_is_a_problem(phantom):
    patient = damaged.patients_of(phantom)[1]
    shutil.rmtree(patient)
    found = look(phantom)
    assert [problem.kind for problem in found.problems] == ["not on disk"]
    assert f"patient {patient.name!r} has a row and no files on disk" in found.problems[0].line
    assert found.number_of_patients == 3


def test_visits_are_one_patient_measured_visit_by_visit(phantom, clean_phantom):
    before = look(clean_phantom)
    visit = damaged.add_visit(damaged.patients_of(phantom)[0])
    damaged.swap_frames(visit)
    found = look(phantom)
    assert found.problems == ()
    assert (found.number_of_patients, len(found.stacks)) == (4, len(before.stacks) + 2)
    assert sum(site.patients for site in found.sites()) == 4
    swapped = [warning.line for warning in found.warnings if warning.kind == "ED and ES swapped"]
    assert len(swapped) == 1 and str(visit) in swapped[0], "its other visit is as it was"
    (whole,), (as_before,) = found.sites(["dataset"]), before.sites(["dataset"])
    assert whole.lv_edv_ml[2] == as_before.lv_edv_ml[2]
    assert whole.lv_ejection_fraction[0] < 0 < as_before.lv_ejection_fraction[0]


def test_a_copy_is_no_second_visit_and_both_files_are_said(phantom):
    patient = damaged.patients_of(phantom)[0]
    copy = damaged.add_visit(patient, brighter=0)
    found = look(phantom)
    assert [problem.kind for problem in found.problems] == ["one image twice"] * 2
    for problem in found.problems:
        assert str(damaged.image_of(patient)) in problem.line and str(damaged.image_of(copy)) in problem.line


@pytest.mark.parametrize("names", [("P7", "p7"), ("P 7", "P7"), ("7", "007"), ("1.00E+05", "100000")])
def test_names_that_may_be_one_person_are_a_warning_with_both(phantom, names):
    for patient, name in zip(damaged.patients_of(phantom), names, strict=False):
        damaged.rename_patient(patient, name)
    found = look(phantom)
    assert found.problems == ()
    lines = [warning.line for warning in found.warnings if warning.kind == "doubtful name"]
    assert "may be one patient" in lines[0] and all(repr(name) in lines[0] for name in names)


def test_no_case_is_kept_after_its_summary(clean_phantom, monkeypatch):
    read: list[weakref.ref] = []
    most_alive = 0

    def load_case(entry: volumes.Entry) -> volumes.Case:
        nonlocal most_alive
        most_alive = max(most_alive, sum(case() is not None for case in read))
        case = volumes.load_case(entry)
        read.append(weakref.ref(case))
        return case

    monkeypatch.setattr(facts, "load_case", load_case)
    found = look(clean_phantom, workers=0)
    assert len(read) == 8
    assert most_alive == 0
    assert not any(isinstance(value, np.ndarray) for stack in found.stacks for value in vars(stack).values())


def test_workers_find_what_one_process_finds(phantom):
    damaged.swap_frames(damaged.patients_of(phantom)[0])
    damaged.cut_short(damaged.patients_of(phantom)[1])
    assert look(phantom, workers=2) == look(phantom, workers=0)


def test_an_error_no_reader_foresaw_is_a_line_about_that_file(clean_phantom, monkeypatch):
    def load_case(entry: volumes.Entry) -> volumes.Case:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(facts, "load_case", load_case)
    found = look(clean_phantom)
    assert len(found.problems) == 4
    assert "ZeroDivisionError odd" in found.problems[0].line


def test_sites_count_every_patient_once_and_measure_what_the_masks_say(clean_phantom):
    found = look(clean_phantom)
    sites = found.sites()
    assert [site.site["vendor"] for site in sites] == ["GE", "Siemens"]
    assert sum(site.patients for site in sites) == 4
    assert sum(site.slices for site in sites) == found.number_of_slices
    (whole,) = found.sites(["dataset"])
    case = volumes.load_case(find_patients({"phantom": clean_phantom}).patients[0][0])
    volume_ml = (case.mask == Label.LV).sum() * np.prod(case.spacing_mm) / 1000
    assert whole.lv_edv_ml[0] <= volume_ml <= whole.lv_edv_ml[2]
    assert found.stacks[0].volume_ml(Label.LV) == pytest.approx(volume_ml)
    assert 0 < whole.lv_ejection_fraction[0] < whole.lv_ejection_fraction[2] < 1
    assert whole.phases == {"ED": 4, "ES": 4}
    assert whole.stored_as == {"LPS": 8}


def test_a_folder_of_data_sets_is_looked_into(clean_phantom, tmp_path):
    shutil.copytree(clean_phantom, tmp_path / "b")
    (tmp_path / "a" / "training" / "patient001").mkdir(parents=True)
    (tmp_path / "a" / "training" / "patient001" / "Info.cfg").write_text("")
    (tmp_path / ".trash").mkdir()
    (tmp_path / "notes.txt").write_text("")
    assert find_sources(DataConfig(root=str(tmp_path), sources={})) == {
        "acdc": tmp_path / "a",
        "phantom": tmp_path / "b",
    }


@pytest.mark.parametrize("name", ["a b", "x=1,y", 'it\'s "q"', "ünï ☃", "${HOME}", "[1]", "100%"])
def test_folders_may_have_any_name(clean_phantom, tmp_path, name):
    shutil.copytree(clean_phantom, tmp_path / name / "our phantom")
    assert find_sources(DataConfig(root=str(tmp_path / name), sources={})) == {
        "phantom": tmp_path / name / "our phantom"
    }


def test_a_folder_that_is_not_understood_is_refused_with_what_could_be_there(clean_phantom, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        look(tmp_path / "nowhere")
    with pytest.raises(UserError, match="laid out like any of acdc, mnms"):
        look(tmp_path)
    for name in ("one", "two"):
        shutil.copytree(clean_phantom, tmp_path / "both" / name)
    with pytest.raises(UserError, match="one at a time"):
        look(tmp_path / "both")


def test_a_volume_that_may_not_be_read_is_not_called_damaged(clean_phantom, tmp_path, monkeypatch):
    shutil.copytree(clean_phantom, tmp_path / "phantom")
    forbidden = next((tmp_path / "phantom").rglob("*_sa.nii.gz"))
    opened = facts.gzip.open

    def open_unless_forbidden(path):
        if path == forbidden:
            raise PermissionError(13, "Permission denied")
        return opened(path)

    monkeypatch.setattr(facts.gzip, "open", open_unless_forbidden)
    with pytest.raises(UserError, match="may not read it"):
        facts.read_header(forbidden, None)
    assert facts.read_header(forbidden.with_name(forbidden.name.replace("_sa", "_sa_gt")), None)
