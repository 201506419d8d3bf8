import os
import unicodedata

import pytest
from image_files import toy_cine
from layouts import save_scaled, write_acdc_patient, write_mnms_table
from layouts_more import write_folder
from refusals import refuses

from cmrfed.datasets import DATASETS, find_entries, recognise


def test_an_unknown_data_set_is_refused(tmp_path):
    with refuses("ukbb", "acdc, mnms, mnms2, sunnybrook"):
        find_entries("ukbb", tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_folder_is_refused(tmp_path, name):
    with refuses(tmp_path / "nowhere", f"data.sources.{name}"):
        find_entries(name, tmp_path / "nowhere")


@pytest.mark.parametrize("name", DATASETS)
def test_an_empty_folder_is_refused(tmp_path, name):
    with refuses(tmp_path):
        find_entries(name, tmp_path)


def test_a_table_without_any_patient_on_disk_is_refused(tmp_path):
    write_mnms_table(tmp_path, ["A0S9V9,Siemens,A,1,0,9,30,HCM,M,172,70"])
    with refuses(tmp_path, "no labelled patients"):
        find_entries("mnms", tmp_path)


def test_an_empty_folder_is_no_data_set_and_a_missing_one_is_refused(tmp_path):
    assert recognise(tmp_path) == []
    with refuses(tmp_path / "nowhere", "no such folder"):
        recognise(tmp_path / "nowhere")


def test_a_name_is_one_however_its_accents_are_written(tmp_path):
    for phase, form in (("ED", "NFC"), ("ES", "NFD")):
        write_folder(tmp_path / phase, [f"{unicodedata.normalize(form, 'José')},ed.nii.gz,ed.nii.gz,{phase},GE"])
    names = {find_entries("folder", tmp_path / phase)[0].patient for phase in ("ED", "ES")}
    assert names == {"folder-José"}
    for form in ("NFC", "NFD"):
        write_acdc_patient(tmp_path / form / f"patient{unicodedata.normalize(form, 'é')}")
    assert {find_entries("acdc", tmp_path / form)[0].patient for form in ("NFC", "NFD")} == {"acdc-patienté"}


@pytest.mark.parametrize("name", ["P\n1", "P\u202e1", os.fsdecode(b"P\xe41")])
def test_a_name_that_cannot_be_printed_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    save_scaled(tmp_path / name / "cine.nii.gz", toy_cine()[0].T)
    with refuses("cannot be printed", "rename"):
        find_entries("cine", tmp_path, unlabelled=True)


def test_every_problem_is_collected_and_patients_without_one_are_found(tmp_path):
    for number in (1, 2, 3, 4):
        write_acdc_patient(tmp_path / "training" / f"patient00{number}")
    (tmp_path / "testing").mkdir()
    (tmp_path / "testing" / "patient004").symlink_to(tmp_path / "training" / "patient004")
    (tmp_path / "training" / "patient001" / "Info.cfg").unlink()
    (tmp_path / "training" / "patient003" / "patient003_frame12_gt.nii.gz").unlink()
    problems = []
    entries = find_entries("acdc", tmp_path, problems=problems)
    assert {entry.patient for entry in entries} == {"acdc-patient002"}
    named = ("patient001", "patient003", "patient004 is found twice at ED", "patient004 is found twice at ES")
    assert [word in str(problem) for problem, word in zip(problems, named, strict=True)] == [True] * 4
    with refuses("patient001"):
        find_entries("acdc", tmp_path)
